"""The layers next to the pixels: inverses, densities on bounded support, and smoothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logit
from scipy.stats import norm

from jensen.bijections.pixels import Histogram, Logit, chosen_smoothing

L, D = 20, 3
COUNTS = np.random.default_rng(0).integers(0, 30, (L, D)) * (np.arange(L) % 3 != 1)[:, None]
COUNTS[0, 2] = 100_000  # a pixel that is hardly ever anything but 0


def histogram() -> Histogram:
    return Histogram(jnp.asarray(COUNTS), jnp.array([4, 8, 2]), jnp.array(2))


LAYERS = {"histogram": histogram, "logit": lambda: Logit(jnp.array(L))}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip_and_log_determinants(name, dtype):
    """A place x comes back to within rounding of z: eps (1 + |z|) / (dz/dx), a hundredfold."""
    eps, rng = float(np.finfo(dtype).eps), np.random.default_rng(1)
    with jax.enable_x64(dtype is np.float64):
        layer = LAYERS[name]()

        @jax.jit
        def numbers(x):
            z, log_det = layer.inverse_and_log_det(x)
            back, log_back = layer.forward_and_log_det(z)
            there = jax.jacfwd(lambda v: layer.inverse_and_log_det(v)[0])(x)
            again = jax.jacfwd(lambda v: layer.forward_and_log_det(v)[0])(z)
            return z, log_det, back, log_back, jnp.diag(there), jnp.diag(again)

        x = rng.integers(0, L, (200, D)) + rng.uniform(-0.45, 0.45, (200, D))
        out = jax.vmap(numbers)(jnp.asarray(x, dtype))
        z, log_det, back, log_back, there, again = (np.asarray(o, np.float64) for o in out)
    limit = 100 * eps * (L + (1 + np.abs(z)) / there)
    assert (np.abs(back - x) <= limit).all()
    sharp = (limit < 0.04).all(axis=1)  # the others may come back to the next cell
    assert sharp.mean() > (0.99 if dtype is np.float64 else 0.2)
    log_det, log_back, there, again = (o[sharp] for o in (log_det, log_back, there, again))
    most = 1e3 * eps * (1 + np.abs(log_det).max())
    assert np.abs(log_det - np.log(there).sum(axis=1)).max() < most
    assert np.abs(log_back - np.log(again).sum(axis=1)).max() < most
    assert np.abs(log_det + log_back).max() < most


@pytest.mark.parametrize("name", LAYERS)
def test_the_density_of_a_pixel_integrates_to_one_and_is_zero_outside(name):
    with jax.enable_x64(True):
        layer = LAYERS[name]()
        others = jnp.full(D, 3.2)
        rest = others[1:]

        @jax.jit
        def log_density(x):
            z, log_det = layer.inverse_and_log_det(jnp.concatenate([x[None], rest]))
            return jnp.sum(jax.scipy.stats.norm.logpdf(z)) + log_det

        def density(x):
            return float(jnp.exp(log_density(jnp.asarray(x))))

        mass = sum(quad(density, k - 0.5, k + 0.5)[0] for k in range(L))
        # the other pixels' densities are those of the cell they stand in
        if name == "histogram":
            known = np.prod(np.asarray(layer.probabilities())[3, 1:])
            assert abs(mass / known - 1.0) < 1e-6
        else:
            slope = (1 - 2e-3) / L
            s = 1e-3 + slope * 3.7
            known = (norm.pdf(logit(s)) * slope / (s * (1 - s))) ** 2
            ends = norm.cdf(logit(1 - 1e-3)) - norm.cdf(logit(1e-3))
            assert abs(mass / known - ends) < 1e-6
        assert density(-0.6) == 0.0
        assert density(L - 0.4) == 0.0


def test_a_histogram_scores_a_cell_with_its_probability():
    layer = histogram()
    P = np.asarray(layer.probabilities(), np.float64)
    assert np.abs(P.sum(axis=0) - 1).max() < 1e-5
    rng = np.random.default_rng(2)
    levels = np.stack([rng.choice(L, 400, p=p / p.sum()) for p in P.T], axis=1)
    x = (levels + rng.uniform(-0.5, 0.5, levels.shape)).astype(np.float32)
    z, log_det = jax.vmap(layer.inverse_and_log_det)(x)
    log_prob = norm.logpdf(np.asarray(z, np.float64)).sum(axis=1) + np.asarray(log_det)
    assert np.abs(log_prob - np.log(P[levels, np.arange(D)]).sum(axis=1)).max() < 1e-4


def test_smoothing_is_chosen_by_what_the_pixels_share():
    rng = np.random.default_rng(3)
    noise = rng.multinomial(300, np.full(256, 1 / 256), 30).T
    own, even = chosen_smoothing(noise)
    assert np.median(own) > 10_000
    assert even > 10_000
    # pixels of their own: κ is small, and held-out bits are fewer than those of the pool
    shapes = rng.dirichlet(np.full(16, 0.2), 30)
    train = np.stack([rng.multinomial(400, p) for p in shapes], axis=1)
    smoothing = chosen_smoothing(train)
    assert np.median(smoothing[0]) <= 32
    layer = Histogram(jnp.asarray(train), *map(jnp.asarray, smoothing))
    P = np.asarray(layer.probabilities())
    cross = -(shapes.T * np.log(P)).sum(axis=0).mean()
    entropy = -np.sum(shapes * np.log(np.maximum(shapes, 1e-300)), axis=1).mean()
    assert entropy <= cross < entropy + 16 / 400  # (L - 1)/2n nats is what 400 values cost


def test_a_pixel_that_is_always_the_same_costs_next_to_nothing_and_may_change():
    rng = np.random.default_rng(4)
    counts = rng.multinomial(300, np.full(256, 1 / 256), 10).T
    counts[:, 0] = 300 * (np.arange(256) == 7)
    layer = Histogram(jnp.asarray(counts), *map(jnp.asarray, chosen_smoothing(counts)))
    P = np.asarray(layer.probabilities())[:, 0]
    assert -np.log2(P[7]) < 2 / 300 * np.log2(np.e)  # κ = 1 or 2
    assert (P > 0).all()
