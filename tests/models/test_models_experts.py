"""The factor analysis of a table with gaps, and the posterior that starts as its exact one."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.models.experts import AffinePlus, ExpertsPosterior, PrecisionNormal
from jensen.models.factors import factor_analysis
from jensen.nn.features import Features
from jensen.nn.mlp import MLP

RNG = np.random.default_rng(0)
W = RNG.normal(size=(5, 2))
NOISE = np.array([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.fixture(autouse=True)
def _double() -> object:
    with jax.enable_x64(True):
        yield


def rows_of(n: int) -> np.ndarray:
    return RNG.normal(size=(n, 2)) @ W.T + np.sqrt(NOISE) * RNG.normal(size=(n, 5))


def experts() -> ExpertsPosterior:
    features = Features(5, (), missing=True)
    net = MLP(jax.random.key(0), features.size, 4, (3,))
    arrays = (W, -np.log(NOISE), np.zeros(5), np.ones(5))
    return ExpertsPosterior(features, *(jnp.asarray(a) for a in arrays), net)


@pytest.mark.parametrize("gaps", [[], [1], [0, 2, 4], [0, 1, 2, 3, 4]])
def test_the_start_is_the_exact_posterior_for_any_gaps(gaps: list[int]) -> None:
    x = rows_of(1)[0]
    x[gaps] = np.nan
    seen = ~np.isnan(x)
    # by the joint Gaussian of (z, x), not by precisions
    cross = W[seen]
    gain = cross.T @ np.linalg.inv(cross @ cross.T + np.diag(NOISE[seen]))
    mean, covariance = gain @ x[seen], np.eye(2) - gain @ cross
    q = experts()(jnp.asarray(x))
    assert isinstance(q, PrecisionNormal)
    found = np.linalg.inv(np.asarray(q.cholesky @ q.cholesky.T))
    assert np.allclose(q.mean, mean, atol=1e-10)
    assert np.allclose(found, covariance, atol=1e-10)


def test_draws_follow_the_density() -> None:
    """Moments of 40,000 draws within 4.5 standard errors: a false alarm in 1 of 30,000 runs."""
    q = experts()(jnp.asarray(rows_of(1)[0]))
    z, log_q = q.sample_and_log_prob(jax.random.key(1), 40_000)
    assert np.allclose(log_q, jax.vmap(q.log_prob)(z), atol=1e-9)
    covariance = np.linalg.inv(np.asarray(q.cholesky @ q.cholesky.T))
    standard = np.linalg.solve(np.linalg.cholesky(covariance), np.asarray(z - q.mean).T)
    assert np.all(np.abs(standard.mean(axis=1)) < 4.5 / 200)
    assert np.all(np.abs(np.cov(standard) - np.eye(2)) < 4.5 * np.sqrt(2) / 200)


def test_log_prob_is_normalised() -> None:
    q = PrecisionNormal(jnp.array([0.3]), jnp.array([[2.0]]))
    grid = jnp.linspace(-8.0, 8.0, 20_001)
    mass = jnp.trapezoid(jnp.exp(jax.vmap(q.log_prob)(grid[:, None])), grid)
    assert abs(float(mass) - 1.0) < 1e-9


def test_every_leaf_gets_a_gradient() -> None:
    x = jnp.asarray(np.array([0.3, np.nan, 1.0, -1.0, np.nan]))

    def value(posterior: ExpertsPosterior) -> jax.Array:
        z, log_q = posterior(x).sample_and_log_prob(jax.random.key(0), 3)
        return jnp.sum(z**2) + jnp.sum(log_q)

    for leaf in jax.tree.leaves(eqx.filter_grad(value)(experts())):
        assert bool(jnp.all(jnp.isfinite(leaf)))


def test_factor_analysis_finds_the_covariance_through_gaps() -> None:
    rows = rows_of(20_000)
    scale = rows.std(axis=0)
    rows = np.where(RNG.uniform(size=rows.shape) < 0.3, np.nan, rows / scale)
    truth = (W @ W.T + np.diag(NOISE)) / np.outer(scale, scale)
    found = factor_analysis(rows, 2, 300).covariance
    # entries of a correlation matrix from about 10,000 pairs have standard errors of 0.01
    assert np.max(np.abs(found - truth)) < 0.05
    filled = np.where(np.isnan(rows), np.nanmean(rows, axis=0), rows)
    assert np.max(np.abs(np.cov(filled.T) - truth)) > 0.1  # filling in means does not


def test_an_affine_decoder_starts_affine() -> None:
    decoder = AffinePlus(jnp.asarray(W), jnp.ones(5), MLP(jax.random.key(0), 2, 5, (4,)))
    z = jnp.array([0.5, -1.0])
    assert np.allclose(decoder(z), W @ np.asarray(z) + 1.0)
