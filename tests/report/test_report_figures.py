"""Every figure on small made data and at its edges: shapes, labels, what is drawn, same bytes."""

import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import jensen.report as report
from jensen._errors import InputError


def table(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def names(d):
    return [f"c{j}" for j in range(d)]


def drawn(fig):
    """Lay a figure out and draw it, and return it."""
    assert isinstance(fig, Figure)
    fig.canvas.draw()
    return fig


def texts(fig):
    return [t.get_text() for ax in fig.axes for t in ax.texts] + [
        ax.get_title(loc="left") for ax in fig.axes
    ]


def legend_of(ax):
    return [t.get_text() for t in ax.get_legend().get_texts()]


class TestLearningCurves:
    step = np.arange(1, 21) * 10

    def test_single_run_marks_its_best_step(self):
        loss = np.r_[np.linspace(3, 1, 15), np.linspace(1.1, 2, 5)]
        fig = drawn(
            report.learning_curves(
                {"step": self.step, "train_loss": loss - 0.2, "validation_loss": loss}
            )
        )
        assert len(fig.axes) == 1
        assert "best, step 150" in legend_of(fig.axes[0])
        assert fig.axes[0].get_xlabel() == "step"
        assert "nats" in fig.axes[0].get_ylabel()

    def test_ensemble_marks_each_member(self):
        loss = np.abs(self.step[:, None] - np.array([50, 100, 150])) / 100 + 1.0
        fig = drawn(
            report.learning_curves(
                {
                    "step": self.step,
                    "train_loss": loss,
                    "validation_loss": loss,
                    "learning_rate": np.full(20, 1e-3),
                }
            )
        )
        assert len(fig.axes) == 2
        assert "best, steps 50 to 150" in legend_of(fig.axes[0])
        assert "validation, mean of 3" in legend_of(fig.axes[0])
        assert fig.axes[1].get_ylabel() == "learning rate"

    def test_first_steps_may_leave_the_axis_and_it_says_so(self):
        loss = np.r_[1e4, 1e3, np.linspace(3, 1, 18)]
        fig = drawn(report.learning_curves({"step": self.step, "train_loss": loss}))
        assert fig.axes[0].get_ylim()[1] < 10
        assert any("start at 1e+04" in t for t in texts(fig))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite_entries_are_skipped(self, bad):
        validation = np.where(np.arange(20) % 5 == 4, 2.0, bad)
        fig = drawn(
            report.learning_curves(
                {"step": self.step, "train_loss": np.full(20, bad), "validation_loss": validation}
            )
        )
        assert "best, step 50" in legend_of(fig.axes[0])

    def test_one_evaluation(self):
        drawn(report.learning_curves({"step": [1], "train_loss": [2.0], "validation_loss": [2.1]}))

    def test_a_member_that_never_was_finite(self):
        loss = np.column_stack([np.full(20, np.nan), np.linspace(2, 1, 20)])
        fig = drawn(report.learning_curves({"step": self.step, "validation_loss": loss}))
        assert "best, step 200" in legend_of(fig.axes[0])

    @pytest.mark.parametrize(
        "metrics",
        [
            {"train_loss": [1.0]},
            {"step": [1]},
            {"step": [1, 2], "train_loss": [1.0]},
            {"step": [1, 2], "train_loss": [1.0, 2.0], "learning_rate": [0.1]},
        ],
    )
    def test_refusals(self, metrics):
        with pytest.raises(InputError):
            report.learning_curves(metrics)


class TestLikelihood:
    def test_values_are_written_with_their_error(self):
        fig = drawn(report.likelihood_bars([("flow", -3.1042, 0.0521), ("Gaussian", -4.5, 0.061)]))
        assert "−3.104\u00a0±\u00a00.052" in texts(fig)
        assert "−4.500\u00a0±\u00a00.061" in texts(fig)

    def test_minus_infinity_is_written_not_drawn(self):
        fig = drawn(report.likelihood_bars([("flow", -np.inf, np.nan), ("Gaussian", -4.5, np.nan)]))
        assert "−∞" in texts(fig)
        assert np.isfinite(fig.axes[0].get_xlim()).all()

    def test_nothing_is_refused(self):
        with pytest.raises(InputError):
            report.likelihood_bars([])


class TestColumns:
    @pytest.mark.parametrize("d", [1, 2, 3, 5, 12])
    def test_marginals_have_a_panel_a_column(self, d):
        fig = drawn(report.marginals(names(d), table(60, d), table(50, d, 1)))
        assert len(fig.axes) == d
        assert "unit" in fig.get_supxlabel()

    def test_forty_columns_show_the_worst_first(self):
        samples = table(200, 40, 1)
        samples[:, 33] += 5.0
        samples[:, 7] += 2.0
        fig = drawn(report.marginals(names(40), table(300, 40), samples))
        titles = [ax.get_title(loc="left") for ax in fig.axes]
        assert len(titles) == 12
        assert [t.split(" ")[0] for t in titles[:2]] == ["c33", "c7"]

    def test_distance_is_scipys(self):
        from scipy.stats import ks_2samp

        x, y = table(80, 1).round(1), table(70, 1, 3).round(1) * 1.3
        fig = report.marginals(["a"], x, y)
        expected = ks_2samp(x[:, 0], y[:, 0]).statistic
        assert fig.axes[0].get_title(loc="left") == f"a · KS {expected:.2f}"

    def test_constant_integer_and_missing_columns(self):
        x, y = table(80, 5), table(70, 5, 1)
        x[:, 0] = y[:, 0] = 3.0  # constant, whole
        x[:, 1] = y[:, 1] = 0.1  # constant
        x[:, 2] = np.random.default_rng(2).poisson(3, 80)
        x[:, 3], y[::2, 3] = np.nan, np.inf
        x[::3, 4] = np.nan
        drawn(report.marginals(names(5), x, y))
        fig = drawn(report.pairs(names(3), x[:, :3], y[:, :3]))
        assert len(fig.axes) == 9

    def test_samples_far_away_do_not_squash_the_data(self):
        y = table(100, 1, 1)
        y[0] = 1e30
        fig = drawn(report.marginals(["a"], table(100, 1), y))
        assert fig.axes[0].get_xlim()[1] < 10

    def test_two_columns_give_one_pair_of_clouds_on_the_same_axes(self):
        fig = drawn(report.pairs(names(2), table(60, 2), 2 * table(50, 2, 1)))
        assert len(fig.axes) == 2
        assert fig.axes[0].get_xlim() == fig.axes[1].get_xlim()
        assert fig.axes[0].get_ylim() == fig.axes[1].get_ylim()

    def test_pairs_show_the_pair_reproduced_worst(self):
        x, y = table(400, 40), table(400, 40, 1)
        x[:, 31] = x[:, 11] + 0.1 * x[:, 31]
        fig = drawn(report.pairs(names(40), x, y))
        shown = {ax.get_xlabel() for ax in fig.axes} - {""}
        assert len(fig.axes) == 25
        assert {"c11", "c31"} <= shown
        assert len(shown) == 5

    def test_rows_of_nothing_finite_still_draw(self):
        x = np.full((5, 3), np.nan)
        drawn(report.marginals(names(3), x, table(4, 3)))
        drawn(report.pairs(names(3), x, table(4, 3)))

    def test_names_are_drawn_as_they_are(self):
        fig = drawn(
            report.marginals(["$x_{", "a\nb\x00" + "z" * 90], table(30, 2), table(30, 2, 1))
        )
        first, second = (ax.get_title(loc="left") for ax in fig.axes)
        assert first.startswith("$x_{")
        assert second.startswith("a b zz")
        assert "…" in second

    @pytest.mark.parametrize("draw", [report.marginals, report.pairs])
    @pytest.mark.parametrize(
        ("d", "x", "y"), [(2, (9, 3), (9, 3)), (3, (9, 3), (9, 2)), (3, (0, 3), (9, 3))]
    )
    def test_shapes_that_do_not_fit_are_refused(self, draw, d, x, y):
        with pytest.raises(InputError, match="fit together"):
            draw(names(d), np.ones(x), np.ones(y))

    def test_pairs_of_one_column_are_refused(self):
        with pytest.raises(InputError, match="two columns"):
            report.pairs(["a"], table(5, 1), table(5, 1))


class TestPit:
    def test_band_holds_uniform_values_and_not_others(self):
        rng = np.random.default_rng(0)
        inside = []
        for _ in range(40):
            fig = report.pit_histogram(rng.uniform(size=400))
            ax = fig.axes[0]
            bars = [p for p in ax.patches if p.get_width() < 0.9]
            band = next(p for p in ax.patches if p.get_width() > 0.9)
            low, high = band.get_y(), band.get_y() + band.get_height()
            inside.append(all(low <= bar.get_height() <= high for bar in bars))
        assert np.mean(inside) >= 0.85
        fig = drawn(report.pit_histogram(rng.beta(4, 4, 400)))
        assert "below 0.001" in fig.axes[0].get_title(loc="left")

    def test_few_values_and_missing_ones(self):
        fig = drawn(report.pit_histogram([0.0, 1.0, 0.4, np.nan, -np.inf]))
        assert fig.axes[0].get_title(loc="left").endswith("3 values, 2 not finite left out")

    @pytest.mark.parametrize("u", [[], [np.nan], [0.2, 1.2], [-0.1]])
    def test_refusals(self, u):
        with pytest.raises(InputError):
            report.pit_histogram(u)


class TestDetection:
    scores = np.random.default_rng(0).normal(-3, 1, 300)

    def test_scores_far_left_are_gathered_and_counted(self):
        anomalies = np.r_[np.full(4, -np.inf), -1e9, self.scores - 2]
        fig = drawn(report.score_histogram(self.scores, self.scores, anomalies, -4.6, 0.05))
        assert fig.axes[0].get_title(loc="left") == "First bar gathers lower scores: 5 anomalies"
        low, high = fig.axes[0].get_xlim()
        assert -20 < low < -4.6 < high < 2

    @pytest.mark.parametrize("normal", [None, scores])
    def test_without_anomalies(self, normal):
        fig = drawn(report.score_histogram(self.scores, normal, None, -4.6, 0.05))
        told = [t.get_text() for t in fig.legends[0].get_texts()]
        assert "threshold −4.6, α = 0.05" in told
        assert not any("anomalies" in t for t in told)

    @pytest.mark.parametrize("threshold", [-np.inf, 50.0, -90.0])
    def test_thresholds_far_from_the_scores(self, threshold):
        drawn(report.score_histogram(self.scores, self.scores, None, threshold, 0.001))

    def test_all_scores_equal_and_nan_left_out(self):
        drawn(report.score_histogram(np.full(9, -1.0), [-1.0, np.nan], None, -1.0, 0.1))

    def test_only_anomalies_are_finite(self):
        drawn(report.score_histogram([-np.inf], None, self.scores, -3.0, 0.1))

    def test_nothing_finite_is_refused(self):
        with pytest.raises(InputError):
            report.score_histogram([-np.inf], None, None, -1.0, 0.1)

    def test_roc(self):
        fig = drawn(report.roc([0, 0.5, 1], [0, 0.9, 1], 0.7, (0.6, 0.8), point=(0.5, 0.9)))
        assert fig.axes[0].get_title(loc="left") == "AUROC 0.700 (95% interval 0.600 to 0.800)"
        assert "at the threshold" in legend_of(fig.axes[0])
        fig = drawn(report.roc([0, 1], [0, 1], 0.5, (np.nan, np.nan)))
        assert fig.axes[0].get_title(loc="left") == "AUROC 0.500"

    @pytest.mark.parametrize(("fpr", "tpr"), [([], []), ([0, 1], [1])])
    def test_roc_refusals(self, fpr, tpr):
        with pytest.raises(InputError):
            report.roc(fpr, tpr, 0.5, (0, 1))


class TestSaving:
    def test_same_bytes_twice_and_whole_svg(self, tmp_path):
        def make(folder):
            fig = report.pairs(["a--b", "<c>"], table(50, 2), table(40, 2, 1))
            return report.save(fig, folder, "pairs")

        first, second = make(tmp_path / "1" / "deep"), make(tmp_path / "2")
        assert [p.name for p in first] == ["pairs.png", "pairs.svg"]
        for a, b in zip(first, second, strict=True):
            assert a.read_bytes() == b.read_bytes()
        ET.parse(first[1])
        assert first[0].read_bytes().startswith(b"\x89PNG")
        assert b"date" not in first[1].read_bytes()

    def test_names_never_break_the_svg(self, tmp_path):
        odd = ["a--b-->", "\x01\x1f<&\"'"]
        _, svg = report.save(report.marginals(odd, table(30, 2), table(30, 2)), tmp_path, "m")
        ET.parse(svg)

    def test_clouds_become_png_and_lines_svg(self):
        cloud = report.pairs(names(3), table(50, 3), table(40, 3, 1))
        assert report.to_data_uri(cloud).startswith("data:image/png;base64,")
        lines = report.roc([0, 1], [0, 1], 0.5, (0.4, 0.6))
        assert report.to_data_uri(lines).startswith("data:image/svg+xml;base64,")

    def test_no_global_state_is_touched(self):
        before = dict(matplotlib.rcParams)
        report.to_data_uri(report.pit_histogram(np.linspace(0, 1, 50)))
        assert dict(matplotlib.rcParams) == before
