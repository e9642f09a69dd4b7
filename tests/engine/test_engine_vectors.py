"""Players become vectors and come back the same, whatever they hold."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.engine.vectors import packed

ROWS = np.zeros((8, 1), "f4")


@pytest.mark.parametrize("members", [1, 3])
def test_players_come_back(members: int) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(members, 2, 3)).astype("f4")
    half = rng.normal(size=(members, 4)).astype("f2")  # of another precision
    order = jnp.tile(jnp.array([1, 0]), (members, 1))  # whole numbers are not trained
    keys = jnp.stack([jax.random.key(7)] * members)
    player = {"m": jnp.asarray(matrix), "h": jnp.asarray(half), "o": order, "k": keys, "n": "tanh"}
    vectors, whole = packed((player, {"f": order}))
    assert [v.shape for v in vectors] == [(members, 10), (members, 0)]
    back, fixed = whole.stacked(tuple(jnp.asarray(v) for v in vectors))
    np.testing.assert_array_equal(back["m"], matrix)
    np.testing.assert_array_equal(back["h"], half)
    assert back["h"].dtype == np.float16
    np.testing.assert_array_equal(back["o"], order)
    np.testing.assert_array_equal(fixed["f"], order)
    assert (back["k"] == keys).all()
    assert back["n"] == "tanh"
    one, _ = whole(tuple(jnp.asarray(v[-1]) for v in vectors))
    np.testing.assert_array_equal(one["m"], matrix[-1])
    np.testing.assert_array_equal(one["o"], [1, 0])


def test_whole_numbers_that_depend_on_the_key_are_refused() -> None:
    with pytest.raises(InputError, match="depend on the key"):
        packed(({"o": jnp.array([[0, 1], [1, 0]])},))


@pytest.mark.parametrize("members", [1, 2])
def test_a_player_without_parameters_may_watch(members: int) -> None:
    def init(key: jax.Array) -> tuple[Any, ...]:
        return (jnp.ones(2), jnp.arange(2))

    def objective(players: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss = jnp.sum(players[0] ** 2) + jnp.sum(players[1])
        return loss, -loss

    training = Training(epochs=2, optimisation=Optimisation(batch_size=8))
    found = train(Game(init, objective, objective), ROWS, None, training, members=members)
    assert found.players[0].shape == (members, 2)
    np.testing.assert_array_equal(found.players[1], [[0, 1]] * members)
