"""Reverse KL: its value, both gradients against the closed form, tempering, support."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.bijections import Affine
from jensen.models.base import NormalBase
from jensen.models.flow import Flow
from jensen.objectives.reverse import Rescaled, ReverseKL


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def gaussian(mean: float, log_sd: float) -> Flow:
    return Flow(Affine(jnp.array([mean]), jnp.array([log_sd])), NormalBase(1))


def target(x):
    """N(1, 2²) times e³."""
    return -0.5 * ((x[0] - 1) / 2) ** 2 - jnp.log(2.0) - 0.5 * jnp.log(2 * jnp.pi) + 3.0


def exact(mean: float, log_sd: float) -> float:
    """KL(N(m, s²) ‖ N(1, 4)) - 3, in closed form."""
    s2 = np.exp(2 * log_sd)
    return float(np.log(2) - log_sd + (s2 + (mean - 1) ** 2) / 8 - 0.5 - 3)


N = 20_000
ROWS = jnp.zeros((N, 1))
AT = (-2.0, 0.7)


def slopes(path: bool) -> np.ndarray:
    """Return the gradient of each draw's loss `(N, 2)` by mean and log sd, far from the optimum."""
    loss = ReverseKL(target, path=path)

    def one(key):
        def value(at):
            flow = Flow(Affine(at[:1], at[1:]), NormalBase(1))
            return loss((flow,), ROWS[:1], key)[0]

        return jax.grad(value)(jnp.array(AT))

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), N)))


def test_the_value_is_the_divergence_up_to_log_z() -> None:
    found = np.asarray(ReverseKL(target)((gaussian(*AT),), ROWS, jax.random.key(0)))
    # false alarms: 6e-5
    assert abs(found.mean() - exact(*AT)) < 4 * found.std() / np.sqrt(N)


@pytest.mark.parametrize("path", [True, False])
def test_both_gradients_are_unbiased_far_from_the_optimum(path: bool) -> None:
    truth = np.array([(AT[0] - 1) / 4, np.exp(2 * AT[1]) / 4 - 1])
    found = slopes(path)
    # false alarms: 2 × 6e-5
    assert np.all(np.abs(found.mean(axis=0) - truth) < 4 * found.std(axis=0) / np.sqrt(N))


def test_the_path_gradient_vanishes_for_each_draw_at_the_optimum() -> None:
    best = gaussian(1.0, float(np.log(2.0)))
    arrays, static = eqx.partition(best, eqx.is_inexact_array)

    def slope(path: bool) -> float:
        loss = ReverseKL(target, path=path)
        f = lambda a: jnp.sum(loss((eqx.combine(a, static),), ROWS[:1], jax.random.key(5)))  # noqa: E731
        return max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(jax.grad(f)(arrays)))

    assert slope(True) < 1e-12
    assert slope(False) > 1e-3


def test_tempering_goes_from_the_gaussian_to_the_target() -> None:
    flow, key = gaussian(0.3, -0.2), jax.random.key(1)
    whiten = jnp.array([[0.5]])  # N(0, 2²)
    x = jax.vmap(flow.sample)(jax.random.split(key, 4))
    base = -0.5 * (x[:, 0] / 2) ** 2 - jnp.log(2.0) - 0.5 * jnp.log(2 * jnp.pi)
    log_q, log_p = jax.vmap(flow.log_prob)(x), jax.vmap(target)(x)
    for beta in (0.0, 0.25, 1.0):
        loss = ReverseKL(target, beta, whiten)((flow,), ROWS[:4], key)
        np.testing.assert_allclose(loss, log_q - beta * log_p - (1 - beta) * base, rtol=1e-12)


def test_draws_outside_the_support_count_as_the_worst_and_have_no_slope() -> None:
    half = lambda x: jnp.where(x[0] > 0, -x[0], -jnp.inf)  # noqa: E731
    flow, key = gaussian(0.0, 0.0), jax.random.key(2)
    loss = np.asarray(ReverseKL(half)((flow,), ROWS[:64], key))
    x = np.asarray(jax.vmap(flow.sample)(jax.random.split(key, 64)))[:, 0]
    assert (x < 0).any()
    assert np.all(np.isfinite(loss))
    np.testing.assert_array_equal(loss[x < 0], loss[x > 0].max())


def test_rescaling_keeps_the_integral() -> None:
    y = jnp.linspace(-30, 30, 6001)[:, None]
    scaled = jax.vmap(Rescaled(target, jnp.array([5.0]), jnp.array([0.7])))(y)
    assert abs(float(jnp.log(jnp.sum(jnp.exp(scaled)) * 0.01)) - 3.0) < 1e-9
