"""The studies of games hold, and each sees the mistakes that are easily made.

A planted mistake replaces one part of the study; the claims named beside it must then fail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jensen._errors import DivergedError
from jensen.games import builtin
from jensen.games import play as playing
from jensen.studies import dirac_gan, robust_logistic, rock_paper_scissors
from jensen.studies.notebook import Notebook


def failed(study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> set[str]:
    """Run a study without its figures; return the claims that fail."""
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    monkeypatch.setattr(study, "_draw", lambda *_: None, raising=False)
    book = Notebook(tmp_path, quick=True, **options)
    study.study(book)
    assert len(book.claims) >= 6
    return {claim.id for claim in book.claims if not claim.holds}


STUDIES = [robust_logistic, dirac_gan, rock_paper_scissors]


@pytest.mark.parametrize(
    "study", [robust_logistic, rock_paper_scissors], ids=lambda s: s.__name__.rpartition(".")[2]
)
def test_every_claim_holds(study, tmp_path, monkeypatch):
    assert failed(study, tmp_path, monkeypatch) == set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.__name__.rpartition(".")[2])
def test_every_claim_holds_for_other_seeds(study, seed, tmp_path, monkeypatch):
    assert failed(study, tmp_path, monkeypatch, seed=seed) == set()


def weak_price(X, Y, lam):
    return builtin.RobustLogistic(X, Y, 0.001)


def price_without_step(X, Y, lam):
    return builtin.RobustLogistic(X, Y, lam / robust_logistic.BETA)


class BothDescend(builtin.RobustLogistic):
    def sample(self, players, sample):
        value, _ = super().sample(players, sample)
        return value, value


class SumForMean(builtin.RobustLogistic):
    def sample(self, players, sample):
        value, _ = super().sample(players, sample)
        return 30 * value, -30 * value


@pytest.mark.parametrize(
    ("game", "seen"),
    [
        (weak_price, {"numpy-loop", "phi-reaches-maximiser"}),
        (SumForMean, {"numpy-loop"}),
    ],
)
def test_robust_logistic_sees(game, seen, tmp_path, monkeypatch):
    monkeypatch.setattr(robust_logistic, "RobustLogistic", game)
    assert seen <= failed(robust_logistic, tmp_path, monkeypatch)


@pytest.mark.parametrize("game", [price_without_step, BothDescend])
def test_robust_logistic_says_that_it_diverged(game, tmp_path, monkeypatch):
    monkeypatch.setattr(robust_logistic, "RobustLogistic", game)
    with pytest.raises((DivergedError, RuntimeWarning), match=r"left the finite numbers|overflow"):
        failed(robust_logistic, tmp_path, monkeypatch)


def test_robust_logistic_sees_alternating_steps(tmp_path, monkeypatch):
    """The statement moves both players from the same point."""
    real = playing.play

    def alternating(*args, **options):
        return real(*args, rule="alternating", **options)

    monkeypatch.setattr(robust_logistic, "play", alternating)
    assert failed(robust_logistic, tmp_path, monkeypatch) == {"numpy-loop"}


class WholePenalty(builtin.DiracGAN):
    """R₁ with weight γ where the statement has γ/2."""

    def __call__(self, players):
        discriminator, generator = super().__call__(players)
        return discriminator + 0.5 * self.gamma * players[0][0] ** 2, generator


class DecayOfAll(builtin.DiracGAN):
    """Weight decay on the bias too: R₁ is not that."""

    def __call__(self, players):
        discriminator, generator = super().__call__(players)
        return discriminator + 0.5 * self.gamma * players[0][1] ** 2, generator


class Ascending(builtin.DiracGAN):
    """A generator that climbs."""

    def __call__(self, players):
        discriminator, generator = super().__call__(players)
        return discriminator, -generator


@pytest.mark.parametrize(
    ("game", "seen"),
    [
        (WholePenalty, {"velocity", "eigenvalues-0.3", "eigenvalues-3", "radii-1.5"}),
        pytest.param(
            DecayOfAll,
            {"velocity", "eigenvalues-0.3", "eigenvalues-1.5"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Ascending,
            {"velocity", "eigenvalues-0", "verdict-0", "conserved"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_dirac_gan_sees(game, seen, tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "DiracGAN", game)  # what `dirac_gan` builds
    monkeypatch.setattr(dirac_gan, "DiracGAN", game)
    monkeypatch.setattr(dirac_gan, "_paths", lambda *_: {})
    assert seen <= failed(dirac_gan, tmp_path, monkeypatch)


def test_rock_paper_scissors_sees_another_game(tmp_path, monkeypatch):
    other = rock_paper_scissors.M.copy()
    other[0, 1] = 2.0  # paper beats rock by two points
    monkeypatch.setattr(rock_paper_scissors, "M", other)
    assert {"thirds", "value"} <= failed(rock_paper_scissors, tmp_path, monkeypatch)


def test_rock_paper_scissors_sees_a_game_of_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rock_paper_scissors, "M", np.zeros((3, 3)))
    found = failed(rock_paper_scissors, tmp_path, monkeypatch)
    assert {"unique", "only-centre-safe", "descent-ascent-cycles"} <= found


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.__name__.rpartition(".")[2])
def test_figures_and_animations_are_written(study, tmp_path):
    book = Notebook(tmp_path, quick=True, animate=study is not robust_logistic)
    study.study(book)
    assert book.figures
    for path in book.figures:
        assert path.stat().st_size > 1000
        if path.suffix in {".png", ".gif"}:
            with Image.open(path) as image:
                assert min(image.size) > 300
