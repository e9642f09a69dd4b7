"""A GAN's page: what its losses imply, its figures, its words, and what is left out."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from test_report_html import Page

from jensen._errors import InputError
from jensen.objectives.adversarial import LOSSES, Logistic, loss_named
from jensen.report import render
from jensen.report.columns import most_related
from jensen.report.content import Game, Report
from jensen.report.duel import game_curves, level_shares, neighbours, told_apart
from jensen.report.game import GAME
from jensen.report.images import tiles
from jensen.report.implied import implied_by, losses_if_same
from jensen.report.samples import growing

LOG_2 = math.log(2.0)
P, Q = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.3, 0.6])


def kl(p, q):
    return float(np.sum(p * np.log(p / q)))


def weighted(w):
    """Return the divergence of f(u) = u log u/(u+w) + w log w/(w+u) + (1+w) log(1+w) - w log w."""
    u = P / Q
    f = u * np.log(u / (u + w)) + w * np.log(w / (w + u))
    return float(np.sum(Q * f)) + (1 + w) * math.log1p(w) - w * math.log(w)


M = (P + Q) / 2
TRUTHS = {
    "minimax": 0.5 * kl(P, M) + 0.5 * kl(Q, M),
    "non-saturating": 0.5 * kl(P, M) + 0.5 * kl(Q, M),
    "jensen-shannon": 0.5 * kl(P, M) + 0.5 * kl(Q, M),
    "least-squares": 0.5 * float(np.sum((P - Q) ** 2 / (P + Q))),
    "hinge": 0.5 * float(np.abs(P - Q).sum()),
    "kl": kl(P, Q),
    "reverse-kl": kl(Q, P),
    "pearson": float(np.sum((P - Q) ** 2 / Q)),
    "neyman": float(np.sum((P - Q) ** 2 / P)),
    "hellinger": 0.5 * float(np.sum((np.sqrt(P) - np.sqrt(Q)) ** 2)),
    "total-variation": 0.5 * float(np.abs(P - Q).sum()),
}


def best_loss(loss, p=P, q=Q):
    """Return the discriminator's loss at its best logit, for discrete laws p and q."""
    logit = loss.optimum(jax.numpy.log(p) - jax.numpy.log(q))
    return float(np.sum(p * np.asarray(loss.real(logit)) + q * np.asarray(loss.fake(logit))))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"wasserstein"}))
def test_the_best_loss_implies_the_divergence(name):
    loss = loss_named(name)
    found = implied_by(loss)
    logit_limit = name == "total-variation"  # tanh stands in for the sign: ±∞ is its best
    with jax.enable_x64(True):
        loss_d = best_loss(loss)
    # float64; the logits at ±∞ are cut at the end of tanh's range
    assert found.of(np.array(loss_d)) == pytest.approx(
        TRUTHS[name], rel=1e-3 if logit_limit else 1e-9
    )
    assert TRUTHS[name] < found.most
    assert (found.unit == "nats") == (name not in NO_NATS)


NO_NATS = {"least-squares", "hinge", "pearson", "neyman", "hellinger", "total-variation"}


def test_a_weight_moves_what_the_loss_implies():
    with jax.enable_x64(True):
        for w in (0.25, 3.0, 500.0):
            found = implied_by(Logistic(w))
            assert found.of(np.array(best_loss(Logistic(w)))) == pytest.approx(
                weighted(w), rel=1e-9
            )
            assert found.of(np.array(0.0)) == pytest.approx(found.most)  # told apart: no loss


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_of_perfect_samples_are_the_least_there_are(name):
    loss = loss_named(name)
    with jax.enable_x64(True):
        of_d, of_g = losses_if_same(loss)
        if name == "wasserstein":
            assert (of_d, math.isnan(of_g)) == (0.0, True)
            return
        grid = jax.numpy.linspace(-3, 3, 6001)
        sums = loss.real(grid) + loss.fake(grid)
        assert of_d == pytest.approx(float(sums.min()), abs=1e-6)  # the grid's curvature
        found = implied_by(loss)
        assert found.of(np.array(of_d)) == pytest.approx(0.0, abs=1e-12)
    assert math.isfinite(of_g)


def metrics(n=20):
    step = np.arange(n) * 100.0
    nan = np.r_[np.nan, np.zeros(n - 1)]  # no loss before the first step
    return {
        "step": step,
        "jsd": np.abs(np.linspace(0.5, -0.2, n)) + 0.01,
        "jsd_se": np.full(n, 0.02),
        "discriminator": nan + 1.3,
        "generator": nan + 0.8,
        "gradient_norm": nan + np.linspace(1, 2, n),
    }


def axes_of(fig):
    assert isinstance(fig, Figure)
    fig.canvas.draw()
    return fig.axes


class TestFigures:
    def test_curves_mark_what_was_kept(self):
        top, losses, norm = axes_of(game_curves(metrics(), losses_if_same=(1.386, 0.693)))
        kept = int(metrics()["jsd"].argmin())
        words = [t.get_text() for t in top.get_legend().get_texts()]
        assert f"kept, step {kept * 100:,}" in words
        assert "implied by the loss" not in words
        assert top.get_ylim()[1] > LOG_2
        assert [t.get_text() for t in top.texts] == ["0: the same law", "log 2: told apart"]
        assert losses.get_ylim()[0] < 0.693 < 1.386 < losses.get_ylim()[1]
        assert norm.get_yscale() == "log"
        assert norm.get_xlabel() == "step"

    def test_what_the_loss_implies_has_its_own_panel_unless_it_is_the_same_divergence(self):
        values = np.linspace(1, 0, 20)
        beside = axes_of(game_curves(metrics(), implied=("JSD\n(nats)", values, LOG_2)))
        assert len(beside) == 3
        words = [t.get_text() for t in beside[0].get_legend().get_texts()]
        assert "implied by the loss" in words
        own = axes_of(game_curves(metrics(), implied=("total variation\n(no unit)", values, 1.0)))
        assert [ax.get_ylabel() for ax in own][1] == "total variation\n(no unit)"

    def test_a_run_that_never_measured_anything_still_draws(self):
        nothing = {name: np.full(3, np.nan) for name in metrics()} | {"step": np.arange(3.0)}
        assert len(axes_of(game_curves(nothing))) == 3
        with pytest.raises(InputError, match="fit together"):
            game_curves({"step": [1, 2]})

    def test_columns_that_differ_are_full(self):
        (ax,) = axes_of(told_apart([("both", 0.6, 0.02, True), ("a" * 60, 0.0, np.nan, False)]))
        fills = [line.get_markerfacecolor() for line in ax.lines if len(line.get_xdata()) == 1]
        assert fills[0] != "white"
        assert "white" in fills
        assert ax.get_yticklabels()[1].get_text().endswith("…")
        with pytest.raises(InputError):
            told_apart([])

    def test_shares_beside_each_other(self):
        (ax,) = axes_of(neighbours({"samples": {"density": 1.4}, "real rows": {"density": 1.0}}))
        assert ax.get_xlim()[1] > 1.4
        with pytest.raises(InputError):
            neighbours({})

    def test_levels(self):
        a, b = axes_of(level_shares({"a": {"x": (0.2, 0.4), "y": (0.8, 0.6)}, "b": {"z": (1, 1)}}))
        assert [bar.get_width() for bar in a.patches] == [0.2, 0.8]
        assert list(a.lines[0].get_xdata()) == [0.4, 0.6]
        assert (a.get_title(loc="left"), b.get_title(loc="left")) == ("a", "b")
        with pytest.raises(InputError):
            level_shares({"a": {}})

    def test_tiles_show_each_image_where_it_belongs(self):
        images = np.zeros((3, 2, 2))
        images[1] = 4.0
        top, bottom = axes_of(tiles({"data": images, "samples": images + 9.0}, across=2))
        pixels = np.asarray(top.images[0].get_array())
        assert pixels.shape == (5, 5)
        assert pixels[:2, :2].max() == 0.0
        assert pixels[:2, 3:].min() == 1.0
        assert pixels[3:, :2].max() == 0.0
        assert pixels[2].min() == pixels[:, 2].min() == 1.0  # between tiles, and where none is
        assert np.asarray(bottom.images[0].get_array()).min() == 1.0  # cut at the data's largest
        colours = tiles({"data": np.zeros((1, 3, 3, 3))})
        assert np.asarray(colours.axes[0].images[0].get_array()).shape == (3, 3, 3)
        for bad in ({}, {"a": images, "b": np.zeros((1, 3, 3))}, {"a": np.zeros((0, 2, 2))}):
            with pytest.raises(InputError):
                tiles(bad)

    def test_clouds_in_different_units_get_axes_of_their_own(self):
        rows = np.array([[0.0, 0.0], [1.0, 1000.0]])
        ax = axes_of(growing({"data": rows}, same_unit=False))[0]
        assert ax.get_xlim() == pytest.approx((-0.25, 1.25))
        assert ax.get_ylim() == pytest.approx((-250, 1250))

    def test_the_related_pair_is_made_of_clouds(self):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(2, 200))
        flag = (x > 0).astype(float)  # goes with x most of all, but shows as two lines
        assert most_related(np.column_stack([flag, x, y, y + x])) in ([1, 3], [2, 3])
        assert most_related(np.column_stack([flag, 1 - flag])) == [0, 1]


def verdict(p=0.2):
    column = {"name": "<a>", "jsd": 0.02, "se": 0.01, "p_value": p, "drop": 0.0}
    return {
        "jsd": 0.05,
        "se": 0.01,
        "p_value": p,
        "distinguishable": p <= 0.05,
        "rows": {"a": 60, "b": 60},
        "accuracy": {"value": 0.61, "se": 0.05},
        "columns": [column, {**column, "name": "b", "jsd": 0.0, "p_value": 1.0}],
        "verdict": ["Jensen-Shannon divergence at least 0.05."],
    }


def shares(value):
    return dict.fromkeys(("precision", "recall", "density", "coverage"), value)


def full(**changes):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 2))
    game = Game(
        metrics=metrics(),
        losses_if_same=(1.3863, 0.6931),
        implied={
            "name": "Jensen–Shannon divergence",
            "unit": "nats",
            "most": LOG_2,
            "values": LOG_2 - metrics()["discriminator"] / 2,
        },
        judged={"jsd": 0.0123, "se": 0.004, "p_value": 0.3, "n": 30},
        verdict=verdict(),
        neighbours={"samples": shares(0.8), "real rows": shares(0.9)},
        n_neighbours=30,
        trail={"data": rows, "step 0": rows, "kept weights": rows},
    )
    return Report(
        title="table: GAN",
        names=["<a>", "b"],
        data=rows,
        samples=rng.normal(size=(60, 2)),
        levels={"city": {"<oslo>": (0.5, 0.4), "rome": (0.5, 0.6)}},
        images={"data": rng.uniform(size=(3, 4, 4)), "samples": rng.uniform(size=(3, 4, 4))},
        game=dataclasses.replace(game, **changes),
    )


@pytest.fixture
def undrawn(monkeypatch):
    """Build the figures but do not encode them: for tests that read words only."""
    monkeypatch.setattr("jensen.report.page.to_data_uri", lambda figure: "data:image/png,")


def test_full_page_is_whole():
    page = Page(render(full(verdict=verdict(1e-3)), GAME))
    assert len(page.all("img")) == 8
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert [a["href"] for a in page.all("a")] == [f"#{anchor}" for anchor in page.ids]
    assert "nats) of the density" not in page.words  # the footer of densities
    assert "<a>" in page.words  # escaped in the page, a name again to its reader


def test_cards_say_what_the_figures_mean(undrawn):
    words = Page(render(full(), GAME)).words
    assert "Divergence of samples from the data 0.050 ± 0.010 nats" in words  # the larger bound
    assert "trained on the training rows, 0.0123 ± 0.0040; trained on held-out rows, 0.050" in words
    assert "Not told apart" in words
    assert "p = 0.4, corrected for two tries" in words  # twice the smaller of 0.2 and 0.3
    assert "61% are told right, where 50% is guessing" in words
    assert "Samples where the data are 80%" in words
    assert "Fresh rows of the data reach 90%" in words


def test_told_apart_says_where(undrawn):
    words = Page(render(full(verdict=verdict(1e-3)), GAME)).words
    assert (
        "Told apart Samples of the same law would look as different this often: p = 0.002" in words
    )
    assert "The column that differs most by itself: <a>." in words
    once = Page(render(full(verdict=None), GAME)).words
    assert "p = 0.3." in once
    assert "corrected" not in once


def test_curves_are_read_beside_perfect_samples(undrawn):
    words = Page(render(full(), GAME)).words
    jsd = metrics()["jsd"]
    kept = int(jsd.argmin())
    assert f"kept (step {kept * 100:,}) last (step 1,900)" in words
    assert f"small classifier (nats) {jsd[kept]:.4f} {jsd[-1]:.4f} 0 0.6931" in words
    assert "divergence that the loss implies (nats) 0.0431 0.0431 0 0.6931" in words
    assert "Discriminator’s loss 1.3000 1.3000 1.3863 —" in words
    assert "before the first step were kept" not in words
    rising = {**metrics(), "jsd": np.linspace(0.1, 0.5, 20)}
    assert "before the first step were kept" in Page(render(full(metrics=rising), GAME)).words


def test_known_modes_come_before_neighbours(undrawn):
    found = {"covered": 7, "total": 8, "share": 0.9, "spread": 0.5, "imbalance": math.inf}
    oracle = {**found, "covered": 8, "share": 0.989, "spread": 1.0, "imbalance": 0.001}
    for name, what in (("ring", "modes"), ("moons", "parts of the curve")):
        modes = {"name": name, **found, "oracle": oracle}
        words = Page(render(full(modes=modes), GAME)).words
        assert f"Data where the samples are 7 of 8 {what}" in words
        assert "Samples where the data are 90%" in words
        assert "share of the samples within 3σ 90.0% 98.9%" in words


@pytest.mark.parametrize(
    ("change", "gone", "images"),
    [
        ({"metrics": {}}, "The game", 7),
        ({"implied": None}, "that the loss implies", 8),
        ({"judged": None}, "the larger of two", 8),
        ({"judged": {"jsd": math.nan, "se": None}}, "the larger of two", 8),
        ({"verdict": None}, "Where samples differ", 7),
        ({"neighbours": None}, "precision", 7),
        ({"trail": None}, "Samples through training", 7),
        ({"trail": {"data": np.zeros((4, 1))}}, "Samples through training", 7),
    ],
)
def test_a_section_without_values_is_left_out(undrawn, change, gone, images):
    page = Page(render(full(**change), GAME))
    assert gone not in page.words
    assert len(page.all("img")) == images


def test_images_through_training_are_tiles(undrawn):
    images = np.random.default_rng(0).uniform(size=(3, 4, 4))
    page = Page(render(full(trail={"data": images, "step 5": images, "kept": images}), GAME))
    assert any("drawn at 1 steps of training" in image["alt"] for image in page.all("img"))


def test_title_alone_is_a_page():
    assert Page(render(Report(title="A GAN"), GAME)).words.startswith("A GAN A GAN Made by Jensen")
