"""Importance-sampled evidence against exact log p, and what it says of its own errors."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_models import LinearModel, linear_model

from jensen._errors import InputError
from jensen._typing import Array
from jensen.evaluation.evidence import (
    PARTICLES,
    Evidence,
    evidence,
    log_weights,
    row_keys,
    rows_at_once,
    summarised,
)
from jensen.models.latent import Latent
from jensen.models.posteriors import DiagonalPosterior
from jensen.nn.mlp import MLP


@pytest.fixture(scope="module")
def good() -> LinearModel:
    """A model whose posterior is nearly right: finite variance of the weights, k well below ½."""
    return linear_model(np.random.default_rng(5), 4, 1, 0.1)


@pytest.fixture(scope="module")
def rows(good: LinearModel) -> np.ndarray:
    return good.rows(np.random.default_rng(6), 400)


def test_log_p_and_its_error_against_the_truth(good: LinearModel, rows: np.ndarray) -> None:
    """z = (log p̂ - log p)/se is about N(0, 1): the mean of 400 z² is 1 ± √(2/400) (5 of these);
    a 6-sigma z in 400 rows has probability 1e-6."""
    found = evidence(good.model, rows, 1000)
    z = (found.log_prob - good.log_prob(rows)) / found.se
    assert np.abs(z).max() < 6
    assert abs(np.mean(z**2) - 1) < 5 * math.sqrt(2 / 400)
    assert abs(np.mean(z)) < 5 / 20
    assert found.trusted
    assert found.kind == "iwae"
    assert (found.log_prob.dtype, found.k) == (np.float64, 1000)


def test_effective_sample_size_matches_the_error(good: LinearModel, rows: np.ndarray) -> None:
    """se² = 1/(K-1) (K/ESS - 1): both are the weights' coefficient of variation."""
    found = evidence(good.model, rows[:20], 200)
    np.testing.assert_allclose(found.se**2, (200 / found.ess - 1) / 199, rtol=1e-8)


def test_exact_posterior_gives_log_p_for_every_k() -> None:
    exact = linear_model(np.random.default_rng(7), 3, 1, 0.0)
    rows = exact.rows(np.random.default_rng(8), 5)
    for k in (1, 5, 120):
        found = evidence(exact.model, rows, k)
        np.testing.assert_allclose(found.log_prob, exact.log_prob(rows), atol=1e-5)
        np.testing.assert_allclose(found.ess, k, rtol=1e-5)
    assert found.trusted


class Filled(eqx.Module):
    """An encoder that sees 0 where a cell is missing."""

    encoder: MLP

    def __call__(self, x: Array) -> Array:
        return self.encoder(jnp.nan_to_num(x))


def test_missing_cells_are_marginalised_out(good: LinearModel, rows: np.ndarray) -> None:
    wide = eqx.tree_at(lambda m: m.biases, good.model.posterior.encoder, (jnp.zeros(2),))
    model = Latent(good.model.prior, good.model.likelihood, DiagonalPosterior(Filled(wide)))
    holes = np.where(np.random.default_rng(0).uniform(size=(30, 4)) < 0.4, np.nan, rows[:30])
    found = evidence(model, holes, 2000)
    z = (found.log_prob - good.log_prob(holes)) / np.maximum(found.se, 1e-5)
    assert np.abs(z[~found.flagged]).max() < 6
    assert np.mean(found.flagged) < 0.2


def test_figures_do_not_depend_on_batch_order_or_chunk(good: LinearModel, rows: np.ndarray) -> None:
    many = np.tile(rows, (4, 1)) + np.repeat(np.arange(4.0), 400)[:, None]
    assert len(many) > rows_at_once(good.model, 4)
    whole = evidence(good.model, many, 60)
    order = np.random.default_rng(0).permutation(len(many))
    shuffled, few = evidence(good.model, many[order], 60), evidence(good.model, many[700:703], 60)
    for name in ("log_prob", "se", "ess", "pareto_k"):
        np.testing.assert_array_equal(getattr(whole, name)[order], getattr(shuffled, name))
        np.testing.assert_array_equal(getattr(whole, name)[700:703], getattr(few, name))


def test_first_particles_of_more_are_the_same(good: LinearModel, rows: np.ndarray) -> None:
    more = log_weights(good.model, rows[:9], 2 * PARTICLES + 7)
    assert more.shape == (9, 2 * PARTICLES + 7)
    np.testing.assert_array_equal(more[:, :30], log_weights(good.model, rows[:9], 30))
    assert len(np.unique(more)) > 0.99 * more.size  # no block repeats another's noise


def test_noise_of_a_row_is_its_own(good: LinearModel, rows: np.ndarray) -> None:
    """Equal rows have equal noise; rows that hardly differ have independent noise: correlations of
    1000 weights are below 5/√1000 (6e-7); another seed is other noise."""
    three = np.stack([rows[0], rows[0] * (1 + 2e-7), rows[0]])
    assert np.float32(three[1, 0]) != np.float32(three[0, 0])
    log_w = log_weights(good.model, three, 1000)
    np.testing.assert_array_equal(log_w[0], log_w[2])
    assert abs(np.corrcoef(log_w[0], log_w[1])[0, 1]) < 5 / math.sqrt(1000)
    other = log_weights(good.model, three[:1], 1000, seed=1)[0]
    assert abs(np.corrcoef(log_w[0], other)[0, 1]) < 5 / math.sqrt(1000)


def test_keys_of_different_rows_differ() -> None:
    """20,000 binary rows: a collision of 64 bits has probability 1e-11; of one half about 5%."""
    rows = np.unique(np.random.default_rng(0).integers(0, 2, (20_000, 40)), axis=0).astype(float)
    data = np.asarray(jax.random.key_data(row_keys(rows, 0)))
    assert len(np.unique(data, axis=0)) == len(rows)
    blank = np.array([[np.nan, 0.0], [-np.nan, -0.0]])
    assert len(np.unique(np.asarray(jax.random.key_data(row_keys(blank, 0))), axis=0)) == 1


def test_memory_is_bounded_by_fewer_rows_at_once(good: LinearModel) -> None:
    wide = MLP(jax.random.key(0), 1, 4, (4000, 4000))
    large = eqx.tree_at(lambda m: m.likelihood.decoder, good.model, wide)
    n = rows_at_once(large, 4)
    assert n * PARTICLES * 2 * 4000 <= 2**22 < 64 * n * PARTICLES * 2 * 4000
    assert rows_at_once(good.model, 4) > 8 * n


def test_summary_by_hand() -> None:
    log_w = np.log(np.array([[1.0, 3.0], [2.0, 2.0]])) - 1000.0
    log_prob, se, ess, k_hat = summarised(log_w)
    np.testing.assert_allclose(log_prob, math.log(2) - 1000)
    np.testing.assert_allclose(se, [math.sqrt(2) / math.sqrt(2) / 2, 0.0], atol=1e-12)
    np.testing.assert_allclose(ess, [16 / 10, 2.0])
    assert np.all(np.isnan(k_hat))
    nothing = summarised(np.full((1, 3), -np.inf))
    assert [float(a[0]) for a in nothing[:3]] == [-np.inf, 0.0, 0.0]
    assert np.isnan(summarised(np.zeros((1, 1)))[1][0])


def made(log_prob: list[float], se: float, k_hat: list[float], kind: str = "iwae") -> Evidence:
    n = len(log_prob)
    return Evidence(np.array(log_prob), np.full(n, se), np.ones(n), np.array(k_hat), kind, 1000)


def test_mean_and_its_error_by_hand() -> None:
    spread = made([-1.0, -3.0, -2.0], 0.01, [0.0] * 3).mean()
    assert spread == (-2.0, pytest.approx(1 / math.sqrt(3), rel=1e-4))
    alike = made([-2.0] * 4, 0.1, [0.0] * 4)
    assert alike.mean()[1] == pytest.approx(math.hypot(0.1 / 2, 0.1**2 / 2))
    assert made([-2.0], 0.1, [0.0]).mean()[1] == pytest.approx(0.1, rel=0.01)
    mean, error = made([-1.0, -np.inf], 0.1, [0.0, np.nan]).mean()
    assert mean == -np.inf
    assert math.isnan(error)


@pytest.mark.parametrize(
    ("k_hat", "kind", "words", "trusted"),
    [
        ([0.1] * 20, "iwae", "can be read as log p, within", True),
        ([0.71, *[0.1] * 19], "iwae", "1 of 20 rows (5.0%)", True),
        ([0.71, 0.8, *[0.1] * 18], "iwae", "lower bounds of log p in expectation only", False),
        ([0.71] * 20, "ais", "more temperatures", False),
        ([np.nan] * 20, "iwae", "too few", False),
        ([-np.inf] * 20, "iwae", "can be read as log p, within", True),
    ],
)
def test_verdict(k_hat: list[float], kind: str, words: str, trusted: bool) -> None:
    judged = made([0.0] * 20, 0.1, k_hat, kind)
    assert words in judged.verdict()
    assert judged.trusted == trusted


def test_bad_input(good: LinearModel, rows: np.ndarray) -> None:
    with pytest.raises(InputError, match="n_particles"):
        evidence(good.model, rows, 0)
    with pytest.raises(InputError, match="shape"):
        evidence(good.model, rows[0])
    with pytest.raises(InputError, match="row 1, column 0"):
        evidence(good.model, np.array([[0.0] * 4, [np.inf, 0.0, 0.0, 0.0]]))
    with pytest.raises(InputError, match="row 2"):
        evidence(good.model, np.concatenate([rows[:2], rows[:1] * np.nan]))  # an affine encoder


def correct_or_flagged(n_models: int, sizes: list[tuple[int, int, float]]) -> int:
    """Return of how many fresh models, each with its own wrong q, the mean evidence of 50 rows is
    within 3 of its own errors of the truth, or not trusted.

    Args:
        n_models: how many.
        sizes: D, L and σ to choose from.
    """
    rng, count = np.random.default_rng(11), 0
    for i in range(n_models):
        d, latents, sigma = sizes[rng.integers(len(sizes))]
        fresh = linear_model(rng, d, latents, rng.uniform(0, 0.6), sigma)
        rows = fresh.rows(rng, 50)
        found = evidence(fresh.model, rows, 1000, seed=i)
        off = abs(np.mean(found.log_prob - fresh.log_prob(rows))) / found.monte_carlo_error()
        count += off < 3 or not found.trusted
    return count


@pytest.mark.slow
def test_fresh_models_are_right_or_flagged() -> None:
    """With a true rate of 99%, 17 or fewer of 20 have probability 0.1%."""
    assert correct_or_flagged(20, [(2, 1, 0.7), (4, 2, 1.0), (3, 3, 0.5)]) >= 18


@pytest.mark.slow
def test_hundred_fresh_models_are_right_or_flagged() -> None:
    sizes = [
        (d, latents, sigma) for d in (1, 3, 9) for latents in (1, 2, 4, 6) for sigma in (0.4, 1.0)
    ]
    assert correct_or_flagged(100, sizes) >= 95
