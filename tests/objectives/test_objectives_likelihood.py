"""Maximum likelihood: dequantisation, the loss, its gradient."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from conftest import FLOWS, randomise
from jensen.models.flow import Flow
from jensen.objectives.likelihood import Mean, NegativeLogProb, dequantise


def flow(name: str = "MAF", dtype: type = np.float32) -> Flow:
    return randomise(FLOWS[name].make(), 0.4, dtype=dtype)


def test_dequantised_values_stay_in_their_cell_and_are_uniform():
    x = jnp.asarray(np.random.default_rng(0).integers(-9, 9, (4000, 3)), jnp.float32)
    step = jnp.array([1.0, 0.25, 0.0])
    out = np.asarray(dequantise(jax.random.key(3), x, step))
    u = (out - np.asarray(x)) / np.array([1.0, 0.25, 1.0])
    assert out.shape == x.shape
    assert np.abs(u).max() <= 0.5
    assert (out[:, 2] == np.asarray(x)[:, 2]).all()
    assert (np.round(out[:, 0]) == np.asarray(x)[:, 0]).mean() > 0.999
    for d in (0, 1):
        # a false alarm once in 10,000 keys; this key is fixed
        assert kstest(u[:, d] + 0.5, "uniform").pvalue > 1e-4
        assert abs(u[:, d].mean()) < 4 * 12**-0.5 / 4000**0.5
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1]) < 4 / 4000**0.5


def test_dequantisation_changes_with_the_key_and_repeats_with_it():
    x, step = jnp.zeros((5, 2)), jnp.ones(2)
    one, same, other = (dequantise(jax.random.key(k), x, step) for k in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).all()


def test_the_loss_is_minus_log_prob_of_each_row():
    model, x = flow(), jnp.asarray(np.random.default_rng(1).standard_normal((5, 2)), jnp.float32)
    key = jax.random.key(0)
    losses = NegativeLogProb()((model,), x, key)
    assert losses.shape == (5,)
    assert np.allclose(losses, [-model.log_prob(row) for row in x], rtol=1e-5, atol=1e-5)
    (mean,) = Mean(NegativeLogProb())((model,), x, key)
    assert np.allclose(mean, losses.mean(), rtol=1e-6)


def test_the_loss_dequantises_with_its_key():
    model, x, step = flow(), jnp.zeros((4, 2)), jnp.array([1.0, 0.0])
    key = jax.random.key(7)
    losses = NegativeLogProb(step)((model,), x, key)
    noisy = dequantise(key, x, step)
    assert np.allclose(losses, NegativeLogProb()((model,), noisy, key))
    assert np.unique(np.asarray(losses)).size == 4


def test_the_gradient_is_the_finite_difference():
    with jax.enable_x64(True):
        model = flow("SplineAutoregressive", np.float64)
        x = jnp.asarray(np.random.default_rng(2).standard_normal((6, 2)))
        objective = Mean(NegativeLogProb())
        arrays, static = eqx.partition(model, eqx.is_inexact_array)
        rng = np.random.default_rng(4)
        direction = jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape)), arrays)

        @jax.jit
        def loss(t: jax.Array) -> jax.Array:
            moved = jax.tree.map(lambda a, d: a + t * d, arrays, direction)
            return objective((eqx.combine(moved, static),), x, jax.random.key(0))[0]

        # central difference, error h² f'''/6 + eps L/h; h is small beside kinks (ReLU, knots)
        h = 1e-6
        difference = (loss(h) - loss(-h)) / (2 * h)
        slope = jax.jit(jax.grad(loss))(0.0)
        assert abs(float(difference - slope)) < 1e-6 * (1 + abs(float(slope)))


@pytest.mark.slow
def test_dropout_is_of_each_row_and_of_the_key_and_trains_every_weight():
    model, x = flow("SplineAutoregressive"), jnp.ones((5, 2))
    whole, loss = NegativeLogProb(), NegativeLogProb(dropout=0.5)
    first, same, other = (loss((model,), x, jax.random.key(k)) for k in (0, 0, 1))
    assert (first == same).all()
    assert (first != other).any()
    assert np.unique(np.asarray(first)).size > 1  # five equal rows, five thinned models
    assert np.unique(np.asarray(whole((model,), x, jax.random.key(0)))).size == 1
    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    gradient = jax.grad(lambda a: Mean(loss)((eqx.combine(a, static),), x, jax.random.key(0))[0])(
        arrays
    )
    assert jax.tree.structure(gradient) == jax.tree.structure(arrays)
