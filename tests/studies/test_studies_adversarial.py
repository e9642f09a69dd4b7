"""The studies of adversarial models hold, and each sees the mistakes that are easily made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jensen.evaluation.discriminator import Discriminator
from jensen.evaluation.divergences import Estimate
from jensen.studies import (
    density_ratio,
    discriminator_jsd,
    dual_gan,
    gan_optimum,
    swiss_roll_gan,
    weighted_gan,
)
from jensen.studies.notebook import Notebook


def failed(study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> set[str]:
    """Run a study in its short form without figures; return the claims that fail."""
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    book = Notebook(tmp_path, quick=True, **options)
    study.study(book)
    assert len(book.claims) >= 5
    return {claim.id for claim in book.claims if not claim.holds}


QUICK = [weighted_gan, dual_gan]
SLOW = [gan_optimum, discriminator_jsd, swiss_roll_gan, density_ratio]
name_of = lambda study: study.__name__.rpartition(".")[2]  # noqa: E731


@pytest.mark.parametrize("study", QUICK, ids=name_of)
def test_every_claim_holds(study, tmp_path, monkeypatch):
    assert failed(study, tmp_path, monkeypatch) == set()


@pytest.mark.slow
@pytest.mark.parametrize("study", [*SLOW, *QUICK], ids=name_of)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_claim_holds_for_two_seeds(study, seed, tmp_path, monkeypatch):
    assert failed(study, tmp_path, monkeypatch, seed=seed) == set()


@pytest.mark.slow
@pytest.mark.parametrize("study", [*SLOW, *QUICK], ids=name_of)
def test_figures_are_written(study, tmp_path):
    book = Notebook(tmp_path, quick=True)
    study.study(book)
    assert book.figures
    assert all(path.stat().st_size > 1000 for path in book.figures)


def claims_of(part: Any, tmp_path: Path) -> set[str]:
    """Run one part of a study; return the claims that fail."""
    book = Notebook(tmp_path, quick=True)
    part(book)
    assert book.claims
    return {claim.id for claim in book.claims if not claim.holds}


def test_the_optimum_is_log_four_not_log_two(tmp_path, monkeypatch):
    assert claims_of(gan_optimum._by_quadrature, tmp_path) == set()
    monkeypatch.setattr(gan_optimum, "LOG_4", np.log(2.0))
    assert claims_of(gan_optimum._by_quadrature, tmp_path) == {"identity", "least-value"}


def test_the_optimum_sees_a_divergence_without_its_half(tmp_path, monkeypatch):
    real = gan_optimum.jsd
    monkeypatch.setattr(gan_optimum, "jsd", lambda p, q: 2 * real(p, q))
    assert claims_of(gan_optimum._by_quadrature, tmp_path) == {"identity"}


def test_weights_see_a_discriminator_that_forgets_them(tmp_path, monkeypatch):
    class Forgets(weighted_gan.Logistic):
        def optimum(self, log_ratio):
            return log_ratio

    monkeypatch.setattr(weighted_gan, "Logistic", Forgets)
    assert {"trained-0.2", "trained-5", "errors"} <= claims_of(weighted_gan._trained, tmp_path)


def test_weights_see_a_missing_constant(tmp_path, monkeypatch):
    real = weighted_gan.f
    monkeypatch.setattr(weighted_gan, "f", lambda u, lam: real(u, lam) + lam * np.log(lam))
    assert claims_of(weighted_gan._identity, tmp_path) == {"f-at-1"}


def test_the_table_sees_a_bound_without_its_half(tmp_path, monkeypatch):
    real = discriminator_jsd.quadrature
    monkeypatch.setattr(discriminator_jsd, "quadrature", lambda *a: 2 * real(*a))
    assert claims_of(discriminator_jsd._quadrature, tmp_path) == {"quadrature"}


def test_the_table_sees_an_estimate_on_training_rows(tmp_path, monkeypatch):
    """An estimate that is too high, as one on the rows that trained would be."""
    monkeypatch.setattr(Discriminator, "jensen_shannon", lambda *_: Estimate(0.5, 0.01))
    found = object.__new__(Discriminator)

    def part(book: Notebook) -> None:
        discriminator_jsd._estimates(book, found, 2.0, 1.0)

    assert "not-above-2-1-0.5" in claims_of(part, tmp_path)


def test_a_ratio_that_forgets_the_class_sizes_is_seen(tmp_path, monkeypatch):
    real = Discriminator.log_ratio
    monkeypatch.setattr(Discriminator, "log_ratio", lambda self, x: real(self, x) + np.log(4))
    bad = failed(density_ratio, tmp_path, monkeypatch)
    assert {"unbiased-1-4", "unbiased-2-4"} <= bad


def test_the_dual_sees_a_sum_for_a_mean(tmp_path, monkeypatch):
    real = dual_gan.solve_discriminator
    monkeypatch.setattr(
        dual_gan, "solve_discriminator", lambda X, y, c, **told: real(X, y, c / len(X), **told)
    )
    assert {"link", "scikit-learn"} <= claims_of(dual_gan._duality, tmp_path)


FIGURES = {"coverage": 1.0, "near": 0.98, "mmd": 0.0, "jsd": 0.0, "se": 0.003}
AWAY = {"coverage": 0.6, "near": 0.4, "mmd": 0.1, "jsd": 0.3, "se": 0.005}
GOOD = {"GAN": AWAY | {"near": 0.9, "mmd": 0.02}, "oracle": FIGURES, "Gaussian": AWAY}


@pytest.mark.parametrize(
    ("who", "wrong", "seen"),
    [
        ("oracle", {"jsd": 0.2}, {"oracle-jsd"}),  # of the rows that trained the classifier
        ("oracle", {"coverage": 0.9}, {"oracle-coverage"}),  # bins beyond the curve's ends
        ("oracle", {"mmd": 0.3}, {"mmd-above-oracle"}),  # a scale for each pair
        ("GAN", AWAY, {"nearer-than-gaussian"}),
        ("GAN", {"se": 0.2}, {"told-apart"}),  # spread of the rows for error of the mean
    ],
)
def test_the_swiss_roll_sees_a_wrong_judge(who, wrong, seen, tmp_path):
    def claims(judged: dict[str, dict[str, float]]) -> set[str]:
        return claims_of(lambda book: swiss_roll_gan._claims(book, judged), tmp_path)

    assert claims(GOOD) == set()
    assert claims(GOOD | {who: GOOD[who] | wrong}) == seen


@pytest.mark.parametrize(
    ("logit", "seen"),
    [
        (-np.log(500.0), set()),
        (0.0, {"weight-500-logit", "weight-500-loss"}),  # the weight forgotten
        (np.log(500.0), {"weight-500-logit", "weight-500-loss"}),  # on the wrong term
    ],
)
def test_the_swiss_roll_sees_a_wrong_weight(logit, seen, tmp_path, monkeypatch):
    class Generator:
        sample = staticmethod(lambda key: jnp.zeros(2))

    players = lambda x: jnp.asarray(logit) + 0 * x[0], Generator()
    monkeypatch.setattr(swiss_roll_gan, "trained", lambda *_: ({}, players))
    data = np.zeros((swiss_roll_gan.ROWS, 2))
    assert claims_of(lambda book: swiss_roll_gan._variant(book, data, 1), tmp_path) == seen
