"""Quadrature against linear-Gaussian models and mixtures with known log p."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from linear_models import LinearModel, affine, linear_model
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm
from scipy.stats import t as student

from jensen._errors import InputError
from jensen._typing import Array
from jensen.evaluation.quadrature import quadrature
from jensen.models.distributions import Distribution, Known
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior, Posterior
from jensen.models.priors import Prior, StandardNormal

POSTERIOR = DiagonalPosterior(affine(np.zeros((2, 2)), np.zeros(2)))
TOLERANCE = 2e-4
"""Twice what is asked of quadrature: its stated error is a change, not a bound."""


@pytest.mark.parametrize(("d", "latents", "sigma"), [(3, 1, 0.5), (3, 1, 0.01), (3, 2, 0.5)])
def test_linear_gaussian(d: int, latents: int, sigma: float) -> None:
    made = linear_model(np.random.default_rng(0), d, latents, 0.0, sigma)
    rows = made.rows(np.random.default_rng(1), 12)
    rows[0, 1] = np.nan
    value, error = quadrature(made.model, rows)
    assert np.all(error < TOLERANCE)
    np.testing.assert_allclose(value, made.log_prob(rows), atol=TOLERANCE)


def test_rows_far_outside_the_prior_widen_the_box() -> None:
    """x = W z at z = 30: p(x) is known, and the prior's draws end at 4."""
    made = linear_model(np.random.default_rng(0), 3, 1, 0.0, 0.5)
    rows = 30.0 * made.weight.T + made.offset
    value, error = quadrature(made.model, rows)
    truth = made.log_prob(rows)
    assert abs(value[0] - truth[0]) < error[0] + 1e-5 * abs(truth[0])


class Spiral(eqx.Module):
    """A curve of length about 10 in the plane."""

    def __call__(self, z: Array) -> Array:
        t = 2.0 + 1.5 * z[0]
        return 0.35 * t * jnp.stack([jnp.cos(2 * t), jnp.sin(2 * t)])


@pytest.mark.parametrize("sigma", [0.08, 0.01])
def test_narrow_likelihood_around_a_curve(sigma: float) -> None:
    """The truth: a sum over 2,000,001 equidistant points, exact for a smooth integrand."""
    model = Latent(StandardNormal(1), Likelihood(Spiral(), Gaussian(2, sigma)), POSTERIOR)
    rng = np.random.default_rng(2)
    t = 2.0 + 1.5 * rng.normal(size=6)
    on_curve = 0.35 * t[:, None] * np.stack([np.cos(2 * t), np.sin(2 * t)], axis=1)
    rows = on_curve + sigma * rng.normal(size=(6, 2))
    value, error = quadrature(model, rows)
    z = np.linspace(-10, 10, 2_000_001)
    t = 2.0 + 1.5 * z
    curve = 0.35 * t * np.stack([np.cos(2 * t), np.sin(2 * t)])
    base = norm.logpdf(z) + np.log(z[1] - z[0])
    truth = [logsumexp(base + norm.logpdf(row[:, None], curve, sigma).sum(axis=0)) for row in rows]
    assert np.all(error < TOLERANCE)
    np.testing.assert_allclose(value, truth, atol=5 * TOLERANCE)  # float32 decoder, σ = 0.01


class StudentPrior(Prior):
    """A prior that is not normal, far from 0."""

    def distribution(self, posterior: Posterior) -> Distribution:
        return Known(dist.StudentT(5.0, 40.0 * jnp.ones(1), 2.0).to_event(1))


def test_any_prior_by_its_log_prob_alone() -> None:
    likelihood = Likelihood(affine(np.ones((1, 1)), np.zeros(1)), Gaussian(1, 0.7))
    value, error = quadrature(Latent(StudentPrior(), likelihood, POSTERIOR), np.array([[43.0]]))
    density = lambda z: student.pdf(z, 5.0, 40.0, 2.0) * norm.pdf(43, z, 0.7)  # noqa: E731
    truth = np.log(quad(density, 20, 60, points=[40, 43])[0])
    assert error[0] < TOLERANCE
    assert abs(value[0] - truth) < TOLERANCE


def test_a_row_without_cells_has_log_p_zero() -> None:
    made = linear_model(np.random.default_rng(0), 3, 1, 0.0)
    value, error = quadrature(made.model, np.full((1, 3), np.nan))
    assert abs(value[0]) < error[0] < TOLERANCE


def test_a_row_does_not_depend_on_the_others() -> None:
    made = linear_model(np.random.default_rng(0), 3, 1, 0.0, 0.5)
    rows = made.rows(np.random.default_rng(1), 300)
    rows[7] = 30.0 * made.weight[:, 0] + made.offset  # needs another box
    together, alone = quadrature(made.model, rows), quadrature(made.model, rows[::-1][:100])
    np.testing.assert_array_equal(together[0][::-1][:100], alone[0])


def test_too_few_nodes_are_seen_in_the_error() -> None:
    made: LinearModel = linear_model(np.random.default_rng(0), 3, 1, 0.0, 1e-4)
    rows = made.rows(np.random.default_rng(1), 20)
    assert quadrature(made.model, rows, nodes=2048)[1].max() > 0.1


def test_bad_input() -> None:
    made = linear_model(np.random.default_rng(0), 3, 3, 0.0)
    with pytest.raises(InputError, match="this model has 3"):
        quadrature(made.model, np.zeros((1, 3)))
    small = linear_model(np.random.default_rng(0), 3, 1, 0.0)
    with pytest.raises(InputError, match="at least 2048"):
        quadrature(small.model, np.zeros((1, 3)), nodes=100)
