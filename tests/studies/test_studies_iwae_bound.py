"""The study of the importance-weighted bound holds, and sees the mistakes that are easily made."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.objectives.bounds import PowerMean
from jensen.studies import autoencoders, iwae_bound
from jensen.studies.notebook import Notebook


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    return Notebook(tmp_path, quick=True)


def failed(book: Notebook) -> set[str]:
    assert book.claims
    return {claim.id for claim in book.claims if not claim.holds}


@pytest.mark.slow
def test_the_known_models_hold(book, monkeypatch):
    monkeypatch.setattr(iwae_bound, "PARTICLES", (1, 4, 16, 64, 256))
    with jax.enable_x64(True):
        iwae_bound._true_posterior(book)
        iwae_bound._known(book)
    assert failed(book) == set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_claim_holds(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    book = Notebook(tmp_path, quick=True, seed=seed)
    iwae_bound.study(book)
    assert failed(book) == set()


def weighted_sum(bound, log_w):
    """Σ w̃ log w in the place of the bound."""
    return jnp.mean(jnp.sum(jax.nn.softmax(log_w, axis=1) * log_w, axis=1))


def sum_for_mean(bound, log_w):
    """Without the 1/K."""
    return jnp.mean(jax.nn.logsumexp(log_w, axis=1))


def mean_of_logs(bound, log_w):
    """K draws of an ELBO."""
    return jnp.mean(log_w)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (weighted_sum, {"linear-below"}),
        (sum_for_mean, {"linear-below"}),
        (mean_of_logs, {"linear-rises"}),
    ],
)
def test_a_wrong_bound_is_seen(value, seen, book, monkeypatch):
    monkeypatch.setattr(PowerMean, "value", value)
    monkeypatch.setattr(iwae_bound, "PARTICLES", (1, 4, 16, 64))
    jax.clear_caches()  # of the right bound
    with jax.enable_x64(True):
        iwae_bound._known(book)
    assert seen <= failed(book)
    jax.clear_caches()


def test_a_model_without_its_constant_is_seen(book, monkeypatch):
    log_weights = iwae_bound.log_weights
    monkeypatch.setattr(iwae_bound, "PARTICLES", (1, 4, 16, 64))
    monkeypatch.setattr(
        iwae_bound, "log_weights", lambda *args: log_weights(*args) + np.log(2 * np.pi)
    )
    with jax.enable_x64(True):
        iwae_bound._true_posterior(book)
        iwae_bound._known(book)
    assert {"true-posterior", "one-is-vae", "linear-below"} <= failed(book)


def test_the_moments_of_a_known_posterior(book):
    """q = N(m, v) and p(z | x) = N(m', v') in one dimension: log p, ELBO and χ² in closed form."""
    with jax.enable_x64(True):
        known = autoencoders.Linear(np.array([[0.8]]), np.array([0.3]), 0.5)
        rows = np.array([[0.0], [1.5]])
        variance, error = 0.8 * known.best_diagonal(), np.array([[0.1]])
        model = known.model(known.encoder(variance, error))
        log_p, elbo, chi2 = iwae_bound.exact_moments(model, rows, reach=40.0)
    v = 1 / known.precision[0, 0]
    shift = (rows - known.b)[:, 0] * error[0, 0]
    kl = 0.5 * (variance[0] / v + shift**2 / v - 1 - np.log(variance[0] / v))
    # ∫ N(m, v)²/N(m + shift, s) with 1/t = 2/v - 1/s
    s = variance[0]
    t = 1 / (2 / v - 1 / s)
    second = np.sqrt(t * s) / v * np.exp(shift**2 / (2 * s) + t * (shift / s) ** 2 / 2)
    np.testing.assert_allclose(log_p, known.log_prob(rows), atol=1e-10)
    np.testing.assert_allclose(elbo, known.log_prob(rows) - kl, atol=1e-10)
    np.testing.assert_allclose(chi2, second - 1, rtol=1e-9)


@pytest.mark.parametrize("heavy", [False, True])
def test_the_rate_is_that_of_weights_with_a_variance(heavy, book):
    """Log-normal weights fall like 1/K; with the tail x^-1.5 the mean has no variance."""
    random, s = np.random.default_rng(0), 0.4
    shape = (200, 8 * max(iwae_bound.PARTICLES))
    if heavy:
        log_w = -np.log(random.random(shape)) / 1.5 - np.log(3.0)  # Pareto of mean 3
    else:
        log_w = s * random.normal(size=shape) - s**2 / 2
    chi2 = np.full(len(log_w), np.expm1(s**2))
    iwae_bound._rate(book, log_w.astype(np.float32), np.zeros(len(log_w)), chi2)
    assert failed(book) == ({"rate"} if heavy else set())
