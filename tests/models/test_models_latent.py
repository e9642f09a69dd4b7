r"""Latent-variable models: log-weights by their formula, evidence on average, draws of p(x).

The models are linear-Gaussian, so that p(x) and the moments of its draws are known.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from conftest import randomise
from jensen.evaluation.linear_gaussian import log_prob
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli, Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import DiagonalNormal
from jensen.models.scales import LearnedScale
from jensen.nn.mlp import MLP
from jensen.objectives.bounds import IWAE
from jensen.objectives.gradients import GRADIENTS, lower_bound

KEY = jax.random.key(4)
X = np.array([0.7, -1.1, 0.2])
ROWS = np.array([X, [np.nan, -1.1, 0.2], [0.7, np.nan, np.nan], [np.nan] * 3])
"""One example, with more and more of its cells missing."""


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


class Filled(eqx.Module):
    """An encoder that is shown zeros for missing cells, and which cells are missing."""

    network: MLP

    def __call__(self, x: jax.Array) -> jax.Array:
        missing = jnp.isnan(x)
        return self.network(jnp.concatenate([jnp.where(missing, 0.0, x), missing]))


def model() -> Any:
    made = Latent(
        DiagonalNormal(2),
        Likelihood(MLP(KEY, 2, 3, ()), Gaussian(3, LearnedScale(3))),
        DiagonalPosterior(Filled(MLP(KEY, 6, 4, ()))),
    )
    made = randomise(made, 0.5, 2, np.float64)
    # q wider than the posterior: the weights are bounded, and their mean has a variance
    wide = made.posterior.encoder.network.biases[0].at[2:].set(0.8)
    return eqx.tree_at(lambda m: m.posterior.encoder.network.biases[0], made, wide)


def test_log_weights_are_their_formula() -> None:
    """log p(x | z) + log p(z) - log q(z | x) at the z that the posterior draws from this key."""
    m = model()
    z, _ = m.posterior(jnp.asarray(X)).sample_and_log_prob(KEY, 6)
    (w,), (b,) = m.likelihood.decoder.weights, m.likelihood.decoder.biases
    noise = np.exp(np.asarray(m.likelihood.observation.scale.log_variance) / 2)
    mean, log_v = np.split(np.asarray(m.posterior.encoder(jnp.asarray(X))), 2)
    prior = norm.logpdf(z, m.prior.mean, np.exp(m.prior.log_variance / 2)).sum(1)
    posterior = norm.logpdf(z, mean, np.exp(log_v / 2)).sum(1)
    expected = norm.logpdf(X, z @ w.T + b, noise).sum(1) + prior - posterior
    np.testing.assert_allclose(m.log_weights(KEY, jnp.asarray(X), 6), expected, rtol=1e-12)


def test_mean_weight_is_the_evidence_of_the_observed_cells() -> None:
    """100,000 weights a row; the chance of one false alarm in the four z-tests is 10⁻⁶."""
    m, n = model(), 100_000
    weights = jax.jit(jax.vmap(lambda k, x: m.log_weights(k, x, n)))
    truth = log_prob(m, ROWS)
    found = np.exp(
        np.asarray(weights(jax.random.split(KEY, 4), jnp.asarray(ROWS))) - truth[:, None]
    )
    error = found.std(1) / n**0.5
    assert np.all(error < 0.02)  # else agreement would say little
    assert np.all(np.abs(found.mean(1) - 1.0) < norm.isf(1e-6 / 8) * error)


@pytest.mark.parametrize("observation", [Gaussian(3, 0.5), Bernoulli(3)])
def test_missing_cells_are_left_out_of_the_likelihood(observation: Any) -> None:
    decoder = randomise(MLP(KEY, 2, 3, ()), 1.0, 3, np.float64)
    likelihood, z = Likelihood(decoder, observation), jnp.array([0.3, -0.8])
    x = jnp.array([1.0, jnp.nan, 0.0])
    each = observation.log_probs(jnp.array([1.0, 0.0, 0.0]), decoder(z))
    assert float(likelihood.log_prob(x, z)) == pytest.approx(float(each[0] + each[2]), rel=1e-14)
    assert float(likelihood.log_prob(jnp.full(3, jnp.nan), z)) == 0.0


@pytest.mark.parametrize("gradient", ["reparameterised", "doubly-reparameterised", "vimco"])
def test_missing_cells_leave_finite_gradients(gradient: str) -> None:
    """A cell that is not there moves neither the decoder's row for it nor any number to NaN."""

    @eqx.filter_jit
    def slope(m: Latent, x: jax.Array) -> Latent:
        return eqx.filter_grad(lower_bound)(m, x, KEY, IWAE(3), GRADIENTS[gradient]())

    for row in ROWS[1:]:
        found: Any = slope(model(), jnp.asarray(row))
        assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(found))
        of_row = found.likelihood.decoder.weights[0]
        assert np.all((np.abs(of_row) > 0).any(1) == ~np.isnan(row))


def test_draws_have_the_moments_of_p() -> None:
    """x ~ N(W m + b, W diag(s²) Wᵀ + diag σ²): whitened means and covariances of 20,000 draws.

    Each of the 3 + 6 numbers is normal to within 1/√n; one false alarm has a chance of 10⁻⁶.
    """
    m, n = model(), 20_000
    draws = np.asarray(jax.jit(jax.vmap(m.sample))(jax.random.split(KEY, n)))
    (w,), (b,) = m.likelihood.decoder.weights, m.likelihood.decoder.biases
    noise = np.exp(m.likelihood.observation.scale.log_variance)
    covariance = np.asarray((w * jnp.exp(m.prior.log_variance)) @ w.T + jnp.diag(noise))
    white = np.linalg.solve(np.linalg.cholesky(covariance), (draws - (w @ m.prior.mean + b)).T)
    z = norm.isf(1e-6 / 18)
    assert np.all(np.abs(white.mean(1)) < z / n**0.5)
    deviation = white @ white.T / n - np.eye(3)
    assert np.all(np.abs(deviation) < z * np.sqrt((1 + np.eye(3)) / n))
    assert np.abs(covariance - np.eye(3)).max() > 0.3


def test_the_evidence_is_the_density_of_the_draws() -> None:
    """The closed form that everything is compared with, against scipy's."""
    m = model()
    (w,), (b,) = m.likelihood.decoder.weights, m.likelihood.decoder.biases
    noise = np.exp(m.likelihood.observation.scale.log_variance)
    law = multivariate_normal(
        np.asarray(w @ m.prior.mean + b),
        np.asarray((w * jnp.exp(m.prior.log_variance)) @ w.T + jnp.diag(noise)),
    )
    assert log_prob(m, X[None])[0] == pytest.approx(law.logpdf(X), rel=1e-12)


def test_means_are_of_x_given_z() -> None:
    m, z = model(), jnp.array([0.4, -1.0])
    np.testing.assert_allclose(m.likelihood.means(z), m.likelihood.decoder(z), rtol=1e-15)
    draws = jax.vmap(lambda k: m.likelihood.sample(k, z))(jax.random.split(KEY, 20_000))
    noise = np.exp(m.likelihood.observation.scale.log_variance / 2)
    z_values = (draws.mean(0) - m.likelihood.means(z)) / noise * 20_000**0.5
    assert np.all(np.abs(z_values) < norm.isf(1e-6 / 6))  # one false alarm in 10⁶
