"""The page of a model with latent variables: its figures against closed forms, and what it says."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.axes import Axes
from scipy import stats
from test_report_html import Page

from jensen._errors import InputError
from jensen.data.source import open_table
from jensen.evaluation.gaps import ACTIVE
from jensen.report import html
from jensen.report.content import Hidden, Report
from jensen.report.decode import Decoded, decoded, prior_plane
from jensen.report.duel import level_shares
from jensen.report.facts import Asked
from jensen.report.hidden import LATENT, certificate_card, name_of, regained_card
from jensen.report.inner import (
    activities,
    bound_curves,
    gains,
    missing_shares,
    r_squared,
    rebuilt_columns,
    responses,
)
from jensen.report.latent import as_seen, latent_content
from jensen.report.regained import Regained, compared, hidden_cells, regained, simple_values
from jensen.report.run import PAGES, report_run
from jensen.report.scores import fresh_rows, score_fields
from jensen.runs import Run, fit_run, open_run

N = 260
RNG = np.random.default_rng(0)
CITY = RNG.choice(["lima", "oslo", "rome"], N, p=[0.2, 0.3, 0.5])
X = RNG.standard_normal(N)
TABLE = {
    "x": X,
    "y": 3.0 * X + 0.1 * RNG.standard_normal(N),
    "kids": RNG.poisson(1.5, N).astype(float),
    "owner": (X > 0).astype(float),
    "city": CITY,
    "fixed": np.full(N, 7.0),
}
SMALL = {"width": 8, "depth": 1, "latent_dim": 2, "batch_size": 64, "score_particles": 25}


def with_gaps(table: dict[str, np.ndarray]) -> pa.Table:
    """The table with one cell in eight of its columns missing."""
    gaps = np.random.default_rng(1).random((len(table), N)) < 1 / 8
    return pa.table(
        {
            name: pa.array(column, mask=gap if name != "fixed" else None)
            for gap, (name, column) in zip(gaps, table.items(), strict=True)
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a mixed table with gaps, and a run of images made bits."""
    place = tmp_path_factory.mktemp("latent")
    pq.write_table(with_gaps(TABLE), place / "table.parquet")
    settings = {**SMALL, "epochs": 20, "learning_rate": 0.01}
    fit_run(place / "table.parquet", place / "table", model="vae", settings=settings)
    np.save(place / "images.npy", np.asarray(open_digits()[:300]).reshape(-1, 8, 8))
    bits = {"likelihood": "bernoulli", "binarise": "dynamic", "prior": "vamp", "components": 3}
    fit_run(
        place / "images.npy",
        place / "images",
        model="iwae",
        settings={**SMALL, **bits, "latent_dim": 3, "posterior": "diagonal", "epochs": 2},
    )
    return place


def open_digits() -> np.ndarray:
    source = open_table("digits")
    return np.concatenate(
        [
            np.column_stack([batch[name] for name in batch.column_names])
            for batch in source.batches()
        ]
    )


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return open_run(folder / "table")


@pytest.fixture(scope="module")
def images(folder: Path) -> Run:
    return open_run(folder / "images")


@pytest.fixture(scope="module")
def report(run: Run) -> Report:
    return latent_content(run, Asked(None, None, None, print))


class TestHiddenCells:
    def test_one_in_ten_of_what_is_there_and_never_a_whole_row(self) -> None:
        rows = np.random.default_rng(0).normal(size=(4000, 5))
        rows[np.random.default_rng(1).random(rows.shape) < 0.3] = np.nan
        rows[:50, 1:] = np.nan
        hidden = hidden_cells(rows, [4])
        assert not hidden[np.isnan(rows)].any()
        assert not hidden[:, 4].any()
        assert not hidden[:50].any()  # their only cell
        share = hidden[50:].sum() / (~np.isnan(rows[50:, :4])).sum()
        # 11,000 cells, one in ten: five standard errors; a row's last cell is rare
        assert abs(share - 0.1) < 5 * math.sqrt(0.09 / 11_000) + 0.002
        left = ~np.isnan(np.where(hidden, np.nan, rows))[:, :4]
        had = ~np.isnan(rows)[:, :4]
        assert np.all(left.any(axis=1) | ~had.any(axis=1))
        np.testing.assert_array_equal(hidden, hidden_cells(rows, [4]))

    def test_gains_are_those_of_the_definition(self) -> None:
        truth, filled = np.array([0.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0])
        number = compared("a", truth, filled, 2.0, number=True)
        assert number.gain == pytest.approx(1 - 2 / 8)
        assert number.model == pytest.approx(math.sqrt(2 / 3))
        assert math.isnan(number.low)  # three cells say nothing of an interval
        other = compared("b", np.array([0, 1, 1, 2.0]), np.array([0, 1, 2, 2.0]), 1.0, number=False)
        assert (other.model, other.simple, other.gain) == (0.75, 0.5, 0.5)
        sure = compared("c", np.zeros(9), np.zeros(9), 0.0, number=False)
        assert math.isnan(sure.gain)  # nothing to gain

    @pytest.mark.slow
    def test_the_interval_covers(self) -> None:
        # errors of sd 1 and 2: the gain is 1 - 1/4. 200 tables of 60 cells; the stated 95% may be
        # down to 0.87 (bootstrap of a ratio, and 5 binomial standard errors of 0.015)
        inside = 0
        for seed in range(200):
            random = np.random.default_rng(seed)
            truth = 2.0 * random.standard_normal(60)
            found = compared("a", truth, truth + random.standard_normal(60), 0.0, number=True)
            inside += found.low <= 0.75 <= found.high
        assert inside >= 174

    def test_perfect_cells_gain_all_and_means_gain_nothing(self, run: Run) -> None:
        latent, baseline = run.latent, run.baseline
        rows = np.concatenate(run.held_out())
        simple = simple_values(latent, baseline)
        parts = {"preprocess": latent.preprocess, "plan": latent.plan}
        for filled, gain in ((rows, 1.0), (np.broadcast_to(simple, rows.shape), 0.0)):
            oracle = SimpleNamespace(
                **parts, impute=lambda given, f=filled: np.where(np.isnan(given), f, given)
            )
            found = regained(oracle, baseline, rows)  # type: ignore[arg-type]
            assert [one.name for one in found] == ["x", "y", "kids", "owner", "city"]
            assert [one.gain for one in found] == pytest.approx([gain] * 5)
            assert [one.number for one in found] == [True, True, True, False, False]

    def test_the_simple_values_are_those_of_the_training_rows(self, run: Run) -> None:
        simple = simple_values(run.latent, run.baseline)
        split = run.spec["split"]["train"]
        assert simple[0] == pytest.approx(X.mean(), abs=5 / math.sqrt(split))
        assert simple[3] in (0.0, 1.0)
        assert run.schema.columns[4].levels[int(simple[4])] == "rome"


class TestDecode:
    def test_the_training_mean_is_zero_and_a_deviation_one(self, run: Run) -> None:
        base = run.baseline
        units = base.preprocess
        shares = tuple(np.exp(table)[None].repeat(2, axis=0) for table in base.frequencies)
        numbers = np.stack([units.mean, units.mean + units.scale])
        found = Decoded(numbers, shares).scaled(base)
        levels = next(c for c in units.schema.columns if c.name == "city").levels
        assert list(found)[-3:] == [f"city = {level}" for level in levels]
        assert sorted(levels) == ["lima", "oslo", "rome"]
        for name, column in found.items():
            expected = [0.0, 0.0] if name.startswith("city") else [0.0, 1.0]
            np.testing.assert_allclose(column, expected, atol=1e-12)
        certain = Decoded(numbers, tuple(np.eye(len(table))[:2] for table in base.frequencies))
        share = float(np.exp(base.frequencies[0][0]))  # of a level that is there or not: one more
        there, gone = certain.scaled(base)[f"city = {levels[0]}"]
        assert there - gone == pytest.approx(1 / math.sqrt(share * (1 - share)))

    def test_means_are_those_of_draws_of_the_likelihood(self, run: Run) -> None:
        import jax

        latent, z = run.latent, np.array([[0.3, -0.5]])
        keys = jax.random.split(jax.random.key(0), 20_000)
        draws = jax.vmap(lambda key: latent.model.likelihood.sample(key, z[0]))(keys)
        rows = latent.preprocess.backward(np.asarray(draws))
        found = decoded(latent, z)
        numbers = rows[:, list(run.schema.continuous)]
        error = 5 * numbers.std(axis=0) / math.sqrt(len(rows)) + 1e-5  # five standard errors
        assert (np.abs(numbers.mean(axis=0) - found.numbers[0]) <= error).all()
        shares = np.bincount(rows[:, 4].astype(int), minlength=3) / len(rows)
        assert (np.abs(shares - found.levels[0][0]) <= 5 * math.sqrt(0.25 / len(rows))).all()
        back = found.rows(latent)
        assert back[0, 5] == 7.0
        assert back[0, 4] == np.argmax(found.levels[0][0])

    def test_the_standard_prior_is_drawn_exactly(self, run: Run) -> None:
        x, y, p = prior_plane(run.latent, (0, 1), np.array([[6.0, -6.0]]))
        assert (x[-1], y[0]) == (6.0, -6.0)
        exact = np.exp(-0.5 * (x**2 + y[:, None] ** 2)) / (2 * np.pi)
        np.testing.assert_allclose(p, exact, rtol=1e-6)

    def test_another_prior_is_smoothed_and_has_mass_one(self, images: Run) -> None:
        x, y, p = prior_plane(images.latent, (0, 2), np.zeros((1, 2)))
        mass = np.trapezoid(np.trapezoid(p, x, axis=1), y)
        assert mass == pytest.approx(1.0, abs=0.03)  # tails beyond the outermost of 4,000 draws


class TestScores:
    def test_rows_of_the_model_with_gaps_have_a_uniform_pit(self, run: Run) -> None:
        rows = run.latent.sample(400, 99)
        rows[np.random.default_rng(2).random(rows.shape) < 0.4] = np.nan
        fresh = dataclasses.replace(fresh_rows(run, Asked(None, None, None, print)), rows=rows)
        log_prob = run.latent.log_prob(rows)[0]
        asked = Asked(None, None, None, print)
        found = score_fields(run, asked, fresh, log_prob)
        # false alarms: 1 in 1,000; without the gaps in the samples p is below 1e-20
        assert stats.kstest(found["pit"], "uniform").pvalue > 1e-3

    @pytest.mark.slow
    def test_bits_are_compared_with_independent_bits(self, images: Run) -> None:
        content = latent_content(images, Asked(None, None, None, print))
        baseline = content.baseline or {}
        assert baseline["name"] == "Bernoulli"
        _, rows = images.held_out()
        bits = images.latent.vectors(rows)
        assert set(np.unique(bits)) == {0.0, 1.0}
        grey = as_seen(images.latent, rows)
        np.testing.assert_array_equal(grey > 8, bits > 0.5)  # grey levels go to 16
        n = images.spec["split"]["train"]
        rate = images.baseline.preprocess.mean / 16
        rate = (n * rate + 1) / (n + 2)
        exact = stats.bernoulli.logpmf(bits.astype(int), rate).sum(axis=1)
        assert baseline["mean"] == pytest.approx(exact.mean(), rel=1e-9)


class TestContent:
    def test_the_figures_are_those_of_the_run(self, run: Run, report: Report) -> None:
        stated = run.spec["figures"]["validation"]
        log_prob, hidden = report.log_prob or {}, report.hidden
        assert hidden is not None
        assert log_prob["mean"] == pytest.approx(stated["log_prob"], rel=1e-9)
        assert log_prob["kind"] == "iwae"
        gaps = np.isnan(np.concatenate(run.held_out())).sum(axis=0)
        assert hidden.missing == dict(zip(run.schema.names, gaps[:5], strict=False))
        assert list(hidden.ladder) == [1, 10, 25, 250]
        means = [mean for mean, _ in hidden.ladder.values()]
        assert means == sorted(means)
        assert hidden.exact is not None  # two latent variables
        # 250 weights are below the integral by their bias, and beside it by their noise
        assert abs(means[-1] - hidden.exact[0]) < 0.05
        assert means[0] < hidden.exact[0]

    def test_the_curve_ends_near_the_held_out_likelihood(self, report: Report) -> None:
        assert report.hidden is not None
        best = np.max(np.asarray(report.hidden.curves["validation"]))
        mean = float((report.log_prob or {})["mean"])  # type: ignore[arg-type]
        # the mean Jacobian is that of all held-out rows, and the bound has 16 particles of 25
        assert abs(best - mean) < 0.5

    def test_the_page_says_it(self, run: Run, report: Report) -> None:
        page = Page(html.render(report, LATENT))
        for title in (
            "Evidence certificate",
            "Learning",
            "Reconstructions",
            "Data beside samples",
            "Categories",
            "Latent variables",
            "What the latent variables do",
            "Missing cells",
            "Calibration",
            "Detection",
        ):
            assert title in page.text
        assert len(page.all("img")) == 14
        assert all(len(attributes["alt"]) > 20 for attributes in page.all("img"))
        assert "cells are missing" in page.words  # the run's own remark
        assert "Pareto k-hat" in page.words
        assert "nan" not in page.words.lower().replace("finance", "")

    @pytest.mark.slow
    def test_images_are_shown_as_images(self, images: Run) -> None:
        content = latent_content(images, Asked(None, None, None, print))
        assert content.hidden is not None
        assert content.images is not None
        assert list(content.images) == ["data", "samples", "means of samples"]
        pictures = content.hidden.pictures or {}
        assert list(pictures) == ["originals", "bits seen", "rebuilt"]
        assert {np.shape(table) for table in pictures.values()} == {(12, 8, 8)}
        sweep = content.hidden.sweep or {}
        assert {np.shape(row) for row in sweep.values()} == {(11, 8, 8)}
        assert content.hidden.regained == []
        words = Page(html.render(content, LATENT)).words
        assert "Grey levels are made bits" in words
        assert "Data beside samples" not in words

    @pytest.mark.slow
    def test_fresh_rows_with_impossible_values_and_anomalies(
        self, folder: Path, run: Run, tmp_path: Path
    ) -> None:
        rows = {name: column[:40].copy() for name, column in TABLE.items()}
        rows["owner"][0] = 2.0
        pq.write_table(pa.table(rows), tmp_path / "fresh.parquet")
        asked = Asked(tmp_path / "fresh.parquet", folder / "table.parquet", 0.2, print)
        content = latent_content(run, asked)
        assert (content.log_prob or {})["n"] == 40
        assert np.isneginf(np.asarray(content.normal_scores)[0])
        assert content.anomaly_scores is not None
        assert np.shape(content.anomaly_scores) == (N,)
        assert content.alpha == 0.2
        assert "fresh.parquet" in content.subtitle
        Page(html.render(content, LATENT))
        with pytest.raises(InputError, match="alpha"):
            latent_content(run, dataclasses.replace(asked, alpha=1e-6))

    @pytest.mark.slow
    def test_the_command_writes_the_page(self, folder: Path, tmp_path: Path) -> None:
        assert {"vae", "iwae"} <= set(PAGES)
        copy = open_run(shutil.copytree(folder / "table", tmp_path / "run"))
        (copy.folder / "metrics.parquet").unlink()  # then there are no curves
        page = Page(report_run(copy).read_text())
        assert "Learning" not in page.text
        assert "table.parquet: VAE" in page.words


class TestWords:
    def hidden(self, **changes: object) -> Report:
        k_hat = np.array([0.1, 0.8])
        certificate = {"ess": k_hat, "pareto_k": k_hat, "trusted": True, "verdict": "Fine."}
        return Report("r", hidden=Hidden("ELBO", certificate={**certificate, **changes}))

    def test_the_certificate_says_what_the_evidence_says(self) -> None:
        for report, said in (
            (self.hidden(), "Can be trusted"),
            (self.hidden(trusted=False), "A lower bound only"),
            (self.hidden(trusted=False, pareto_k=np.full(2, np.nan)), "Not judged"),
        ):
            card = certificate_card(report)
            assert card is not None
            assert (card.value, card.meaning) == (said, "Fine.")
        assert certificate_card(Report("r")) is None

    def test_imputation_counts_only_what_is_more_than_chance(self) -> None:
        def one(low: float, high: float) -> Regained:
            return Regained("a", True, 10, 1.0, 1.0, (low + high) / 2, low, high)

        found = [one(0.1, 0.5), one(-0.1, 0.5), one(-0.5, -0.1), one(math.nan, math.nan)]
        card = regained_card(Report("r", hidden=Hidden("ELBO", regained=found)))
        assert card is not None
        assert card.value == "1 of 4 columns"
        assert "1 is worse" in card.meaning
        assert "40 held-out cells" in card.meaning

    def test_names(self) -> None:
        assert [name_of(i) for i in (0, 9, 10)] == ["z₁", "z₁₀", "z₁₁"]


def words_of(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


class TestFigures:
    def test_training_far_below_leaves_the_axis_and_is_counted(self) -> None:
        step = np.arange(10.0)
        training = np.linspace(-30, -20, 10)
        training[[0, 4]] = np.nan, -1e9
        columns = {"step": step, "validation": np.linspace(-28, -19, 10), "rate": np.full(10, 1e-3)}
        fig = bound_curves({**columns, "training": training}, "ELBO")
        fig.canvas.draw()
        top = fig.axes[0]
        low, high = top.get_ylim()
        assert -32 < low < -28 < -19 < high
        assert "1 training value not drawn, down to −1e+09" in top.get_title(loc="left")
        assert "kept, step 9" in words_of(top)
        with pytest.raises(InputError, match="metrics"):
            bound_curves(columns, "ELBO")

    def test_units_out_of_use_are_open_marks(self) -> None:
        fig = activities([1e-9, 0.5, 0.02], ACTIVE)
        ax = fig.axes[0]
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2", "3", "1"]
        active, rest = ax.lines[:2]
        assert (len(np.atleast_1d(active.get_xdata())), len(np.atleast_1d(rest.get_xdata()))) == (
            2,
            1,
        )
        assert ax.get_title(loc="left") == "1 below 0.0001 drawn there"
        with pytest.raises(InputError, match="latent"):
            activities([], ACTIVE)

    def test_r_squared(self) -> None:
        assert r_squared([0, 1, 2], [0, 1, 2]) == 1.0
        assert r_squared([0, 1, 2], [1, 1, 1]) == 0.0
        assert r_squared([0, 2], [2, 0]) == -3.0
        assert math.isnan(r_squared([1, 1], [1, 1]))

    def test_the_worst_columns_come_first_where_there_are_many(self) -> None:
        x = np.arange(5.0)
        columns = {f"c{i}": {"observed": x, "rebuilt": x * (1 - i / 10)} for i in range(4)}
        fig = rebuilt_columns(columns, most=2)
        assert [ax.get_title(loc="left")[:2] for ax in fig.axes] == ["c3", "c2"]

    def test_the_lines_that_move_most_are_drawn(self) -> None:
        at = np.linspace(-1, 1, 5)
        lines = {f"c{i}": i * at for i in range(9)}
        fig = responses({"z₁": lines, "z₂": {"c0": at}, "z₃": {"c0": at}}, at)
        assert words_of(fig.axes[0]) == ["c8", "c7", "c6", "c5", "c4", "c3"]
        assert len(fig.axes) == 3
        with pytest.raises(InputError, match="panel"):
            responses({}, at)

    def test_gains_without_an_interval_and_far_below(self) -> None:
        fig = gains(
            [
                ("a", 0.5, 0.2, 0.8, 9),
                ("b", -3.0, -4.0, -2.0, 9),
                ("c", 0.1, math.nan, math.nan, 3),
            ]
        )
        fig.canvas.draw()
        ax = fig.axes[0]
        assert [line.get_xdata().size for line in ax.lines[:2]] == [2, 1]  # type: ignore[union-attr]
        assert ax.get_xlim()[0] >= -1.1
        assert "drawn at the edge" in ax.get_title(loc="left")

    def test_missing_shares(self) -> None:
        fig = missing_shares({"a": 5, "b": 10}, 20)
        ax = fig.axes[0]
        assert [bar.get_width() for bar in ax.patches] == [0.5, 0.25]  # type: ignore[attr-defined]
        assert [text.get_text() for text in ax.texts] == ["10", "5"]
        with pytest.raises(InputError, match="missing"):
            missing_shares({}, 20)

    def test_shares_of_every_column_are_inside_the_axis(self) -> None:
        table = {"a": {"p": (0.5, 0.4), "q": (0.5, 0.6)}, "b": {"r": (1.0, 0.9), "s": (0.0, 0.1)}}
        assert all(ax.get_xlim() == pytest.approx((0, 1.05)) for ax in level_shares(table).axes)
