"""One step at a time: moving average, clipping, warm-up, averaged weights in validation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.engine import state as st
from jensen.engine.config import Optimisation
from jensen.engine.vectors import packed

ROWS = jnp.asarray(np.random.default_rng(0).normal(3.0, 1.0, size=(8, 2)), jnp.float32)


def _objective(players: Any, batch: jax.Array, key: jax.Array) -> tuple[jax.Array]:
    return (0.5 * jnp.mean(jnp.sum((batch - players[0]) ** 2, axis=1)),)


def _path(optimisation: Optimisation, steps: int) -> list[st.Member]:
    """Return the state before each of the first steps, and after the last."""
    keys = st.member_keys(0, 1)
    players = st.initial_players(lambda key: (jnp.zeros(2),), keys)
    vectors, whole = packed(players)
    states = [st.initial_members(vectors, optimisation)]
    for i in range(steps):
        fixed = (ROWS, keys, jnp.asarray(i), jnp.asarray(i + 1))
        copy = jax.tree.map(jnp.copy, states[-1])
        states.append(st.advance((*fixed, whole, _objective, optimisation), copy))
    return states


def _at(state: st.Member) -> np.ndarray:
    return np.asarray(state.weights.players[0][0])


def test_moving_average_by_hand() -> None:
    """a ← a + (1 - d)(x - a), d = min(decay, (1 + i)/(10 + i))."""
    states = _path(Optimisation(optimiser="sgd", learning_rate=0.3, warmup=0, ema=0.2), 6)
    average = _at(states[0])
    for i, state in enumerate(states[1:]):
        decay = min(0.2, (1 + i) / (10 + i))
        average = average + (1 - decay) * (_at(state) - average)
        np.testing.assert_allclose(state.weights.average[0][0], average, rtol=1e-6)


def test_no_moving_average_means_the_weights_themselves() -> None:
    last = _path(Optimisation(ema=0.0, warmup=0), 3)[-1]
    np.testing.assert_array_equal(last.weights.average[0], last.weights.players[0])


@pytest.mark.parametrize("clip", [0.5, 1e6])
def test_clipping_bounds_the_step(clip: float) -> None:
    rate = 0.1
    states = _path(
        Optimisation(optimiser="sgd", learning_rate=rate, warmup=0, ema=0.0, clip=clip), 1
    )
    gradient = np.asarray(ROWS).mean(axis=0)  # minus the gradient at 0, the whole batch
    length = np.linalg.norm(gradient)
    expected = rate * gradient * min(1.0, clip / length)
    np.testing.assert_allclose(_at(states[1]), expected, rtol=1e-5)
    # what is reported is the field itself, before clipping
    np.testing.assert_allclose(states[1].norm_sum[0], length, rtol=1e-5)


def test_warm_up_is_linear_and_moves_at_once() -> None:
    """At step i < w the rate is η (i + 1)/(w + 1), up to rounding: optax counts from 0 to w."""
    rate, warmup = 0.1, 4
    states = _path(
        Optimisation(optimiser="sgd", learning_rate=rate, warmup=warmup, ema=0.0, clip=None), 6
    )
    mean = np.asarray(ROWS).mean(axis=0)
    for i in range(6):
        before, after = _at(states[i]), _at(states[i + 1])
        used = (after - before) / (mean - before)
        first = rate / (warmup + 1)
        expected = first + (rate - first) * min(i / warmup, 1.0)
        np.testing.assert_allclose(used, expected, rtol=1e-4)


def test_weight_decay_is_decoupled() -> None:
    with_decay = _path(Optimisation(warmup=0, ema=0.0, weight_decay=0.5, learning_rate=0.1), 2)
    without = _path(Optimisation(warmup=0, ema=0.0, learning_rate=0.1), 2)
    # the first step starts at 0, where decay does nothing; the second shrinks by η·decay
    np.testing.assert_array_equal(_at(with_decay[1]), _at(without[1]))
    np.testing.assert_allclose(
        _at(without[2]) - _at(with_decay[2]), 0.1 * 0.5 * _at(without[1]), rtol=1e-4
    )


def test_one_member_equals_the_first_of_two() -> None:
    """One member runs without the ensemble's axis: the same arithmetic, to rounding."""
    optimisation = Optimisation(warmup=0)
    results = []
    for members in (1, 2):
        keys = st.member_keys(0, members)
        players = st.initial_players(lambda key: (jax.random.normal(key, (2,)),), keys)
        vectors, whole = packed(players)
        state = st.initial_members(vectors, optimisation)
        fixed = (ROWS, keys, jnp.asarray(0), jnp.asarray(5))
        state = st.advance((*fixed, whole, _objective, optimisation), state)
        results.append(np.asarray(state.weights.players[0][0]))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)
