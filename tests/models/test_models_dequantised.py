"""Learned dequantisation: an unbiased probability of whole numbers, whatever the noise."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from conftest import randomise
from jensen.bijections import Affine
from jensen.models.base import NormalBase
from jensen.models.dequantised import Dequantised
from jensen.models.flow import Flow, RealNVP

SHIFT, LOG_SCALE = np.array([1.2, -0.3]), np.array([0.4, 0.1])


def model(scale: float) -> Dequantised:
    """A Gaussian of two pixels, whose cells have known probabilities, and noise off its start."""
    noise = RealNVP(jax.random.key(1), 2, n_layers=2, hidden=(6,), context_dim=2)
    gaussian = Flow(Affine(jnp.asarray(SHIFT), jnp.asarray(LOG_SCALE)), NormalBase(2))
    noise = randomise(noise, scale, dtype=np.float64) if scale else noise
    return Dequantised(gaussian, noise, (1, 0), jnp.array(4))


def test_weights_have_the_probability_of_the_cell_as_their_mean():
    x = np.array([2.0, 0.0])
    cell = [norm.cdf(x + side, SHIFT, np.exp(LOG_SCALE)) for side in (-0.5, 0.5)]
    known = np.prod(cell[1] - cell[0])
    with jax.enable_x64(True):
        weigh = eqx.filter_jit(lambda m, u: jax.vmap(lambda s: m.log_weight(jnp.asarray(x), s))(u))
        for scale in (0.0, 0.3):
            u = np.random.default_rng(3).uniform(-0.5, 0.5, (20_000, 2))
            weights = np.exp(np.asarray(weigh(model(scale), jnp.asarray(u))))
            error = weights.std() / len(weights) ** 0.5
            # fails by chance once in 16,000 runs
            assert abs(weights.mean() - known) < 4 * error
            assert np.log(weights).mean() < np.log(known)


def test_noise_starts_uniform():
    m, x = model(0.0), jnp.array([1.0, 3.0])
    u = jnp.array([0.21, -0.4])
    assert np.isclose(m.log_weight(x, u), m.flow.log_prob(x + u), atol=1e-4)


def test_noise_depends_on_the_image():
    m, u = model(0.3), jnp.array([0.2, -0.1])
    weights = [
        float(m.log_weight(x, u) - m.flow.log_prob(x)) for x in (jnp.zeros(2), jnp.full(2, 3.0))
    ]
    assert abs(weights[0] - weights[1]) > 1e-3
