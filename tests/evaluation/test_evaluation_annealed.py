"""Annealed importance sampling against exact log p, where plain importance sampling fails."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_models import LinearModel, linear_model
from scipy.stats import multivariate_normal

from jensen._errors import InputError
from jensen.evaluation.annealed import Bridge, Plan, _transition, annealed, schedule
from jensen.evaluation.evidence import Evidence, evidence


@pytest.fixture(scope="module")
def bad() -> LinearModel:
    """Three correlated latents, and a q whose scales are wrong by up to e^±4."""
    return linear_model(np.random.default_rng(5), 4, 3, 2.0, 0.3)


@pytest.fixture(scope="module")
def rows(bad: LinearModel) -> np.ndarray:
    return bad.rows(np.random.default_rng(4), 10)


@pytest.fixture(scope="module")
def found(bad: LinearModel, rows: np.ndarray) -> Evidence:
    return annealed(bad.model, rows, n_chains=32, n_temperatures=300)


def off(bad: LinearModel, rows: np.ndarray, found: Evidence) -> np.ndarray:
    return (found.log_prob - bad.log_prob(rows)) / found.se


def test_agrees_with_exact_log_p_where_a_bad_q_fails(
    bad: LinearModel, rows: np.ndarray, found: Evidence
) -> None:
    """Ten z of about N(0, 1): one beyond 3 has probability 2.7%, so the bound for all is 4 (6e-4)
    and for nine of ten 3."""
    plain = evidence(bad.model, rows, 1000)
    assert np.sum(np.abs(off(bad, rows, plain)) > 3) >= 5
    assert not plain.trusted
    z = off(bad, rows, found)
    assert np.sum(np.abs(z) < 3) >= 9
    assert np.abs(z).max() < 4
    missed = np.median(np.abs(plain.log_prob - bad.log_prob(rows)))
    assert np.median(found.se) < missed  # narrow enough to tell the one from the other
    assert (found.kind, found.k) == ("ais", 32)


@pytest.mark.slow
def test_starting_from_the_prior_agrees_too(bad: LinearModel, rows: np.ndarray) -> None:
    z = off(bad, rows, annealed(bad.model, rows, 32, 300, start="prior"))
    assert np.sum(np.abs(z) < 3) >= 9


def test_a_row_does_not_depend_on_the_others(
    bad: LinearModel, rows: np.ndarray, found: Evidence
) -> None:
    """The blocks have one shape for given counts, so that equality is exact."""
    some = annealed(bad.model, rows[[3, 1]], n_chains=32, n_temperatures=300)
    np.testing.assert_array_equal(some.log_prob, found.log_prob[[3, 1]])


def test_one_temperature_is_importance_sampling() -> None:
    """With the exact posterior as q every weight is p(x), and nothing moves."""
    exact = linear_model(np.random.default_rng(7), 3, 1, 0.0)
    rows = exact.rows(np.random.default_rng(8), 4)
    found = annealed(exact.model, rows, 4, 1)
    np.testing.assert_allclose(found.log_prob, exact.log_prob(rows), atol=1e-5)
    np.testing.assert_allclose(found.ess, 4, rtol=1e-5)


def test_a_transition_leaves_its_target_as_it_is() -> None:
    """Chains that start in a correlated normal stay in it after 20 transitions: with 20,000 chains
    mean and covariance are within 5 of their standard errors (6e-7 each), and the step
    is so long that not all are accepted, so that a missing Metropolis step would show."""
    covariance = np.array([[1.0, 0.3], [0.3, 1.5]])
    precision = jnp.asarray(np.linalg.inv(covariance))
    bridge = Bridge(lambda z: jnp.zeros(()), lambda z: -0.5 * z @ precision @ z, Plan(1, 1, 3, ""))
    z = jnp.asarray(multivariate_normal([0, 0], covariance).rvs(20_000, random_state=0))
    size, scale, one = jnp.asarray(1.5), jnp.array([1.0, 1.2]), jnp.ones(())

    @jax.jit
    def step(z: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(key, z.shape[0])
        return jax.vmap(lambda k, zc: _transition(bridge, one, k, zc, size, scale))(keys, z)

    for i in range(20):
        z, accepted = step(z, jax.random.fold_in(jax.random.key(1), i))
    assert 0.3 < float(jnp.mean(accepted)) < 0.95
    error = 1 / np.sqrt(len(z))
    assert np.all(np.abs(np.mean(z, axis=0)) < 5 * error * np.sqrt(np.diag(covariance)))
    spread = np.sqrt(covariance**2 + np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.all(np.abs(np.cov(np.asarray(z).T) - covariance) < 5 * error * spread)


def test_schedule_rises_from_0_to_1() -> None:
    betas = schedule(100)
    assert (betas[0], betas[-1]) == (0.0, 1.0)
    assert np.all(np.diff(betas) > 0)


def test_bad_input(bad: LinearModel, rows: np.ndarray) -> None:
    with pytest.raises(InputError, match="n_temperatures"):
        annealed(bad.model, rows, n_temperatures=0)
    with pytest.raises(InputError, match="start"):
        annealed(bad.model, rows, start="data")
