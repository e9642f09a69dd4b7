"""The loop: games of one and two players, stopping, ensembles, chunks, resume, devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import DivergedError, InputError
from jensen.engine import run as engine_run
from jensen.engine import state as st
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.engine.vectors import packed
from jensen.games.rules import RULES


class Mean(eqx.Module):
    """A model of the mean: one player whose loss is the squared distance to the rows."""

    at: jax.Array


def _loss(players: tuple[Mean], batch: jax.Array, key: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum((batch - players[0].at) ** 2, axis=1)


def _objective(players: tuple[Mean], batch: jax.Array, key: jax.Array) -> tuple[jax.Array]:
    return (jnp.mean(_loss(players, batch, key)),)


def _init(key: jax.Array) -> tuple[Mean]:
    return (Mean(jax.random.normal(key, (2,))),)


MEAN = Game(_init, _objective, _loss)
ROWS = np.random.default_rng(0).normal(3.0, 1.0, size=(70, 2)).astype("f4")


def _training(**changes: Any) -> Training:
    optimisation = {"batch_size": 16, "learning_rate": 0.1, "warmup": 0, "ema": 0.0}
    optimisation |= {k: changes.pop(k) for k in list(changes) if hasattr(Optimisation(), k)}
    return Training(optimisation=Optimisation(**optimisation), **{"epochs": 20, **changes})


def _bytes(result: Any) -> bytes:
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(result.players))


def test_one_player_finds_the_mean() -> None:
    result = train(MEAN, ROWS, ROWS, _training(optimiser="sgd", epochs=60))
    # sgd with step η at the optimum of a quadratic has variance η σ²/(B(2-η)): 5 sd of that
    tolerance = 5 * (0.1 / (16 * 1.9)) ** 0.5
    np.testing.assert_allclose(result.players[0].at[0], ROWS.mean(axis=0), atol=tolerance)


@pytest.mark.parametrize("name", sorted(RULES))
def test_two_players_under_every_rule(name: str) -> None:
    """min_x max_y ½x² + xy - ½y²: strongly monotone, every rule converges to (0, 0)."""

    def objective(players: Any, batch: Any, key: Any) -> tuple[jax.Array, jax.Array]:
        x, y = players
        value = 0.5 * x**2 + x * y - 0.5 * y**2
        return value, -value

    def validate(players: Any, data: Any, key: Any) -> jax.Array:
        return players[0] ** 2 + players[1] ** 2

    game = Game(lambda key: (jnp.ones(()), jnp.ones(())), objective, validate)
    training = _training(rule=name, optimiser="sgd", epochs=200, clip=None)
    result = train(game, ROWS, ROWS, training)
    # the slowest rule contracts by at least (1-η)² + η² = 0.82 in squared norm a step
    assert result.losses[0] < 2 * 0.82**1000 + 1e-12
    assert "train_loss_2" in result.metrics[-1]


def test_every_chunk_length_gives_the_same_bits() -> None:
    whole = train(MEAN, ROWS, ROWS, _training(ema=0.9))
    for chunk in (1, 3, 7):
        assert _bytes(train(MEAN, ROWS, ROWS, _training(ema=0.9, chunk=chunk))) == _bytes(whole)


def test_resumed_epochs_equal_epochs_at_once(tmp_path: Path) -> None:
    at_once = train(MEAN, ROWS, ROWS, _training(epochs=31))
    for epochs in (13, 31):
        checkpoints = Checkpoints(tmp_path / "run")
        resumed = train(MEAN, ROWS, ROWS, _training(epochs=epochs), checkpoints=checkpoints)
        checkpoints.close()
    assert _bytes(resumed) == _bytes(at_once)
    assert [row["step"] for row in resumed.metrics] == [row["step"] for row in at_once.metrics]


def test_a_killed_run_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(MEAN, ROWS, ROWS, _training(chunk=4))
    monkeypatch.setattr(engine_run, "_CHECKPOINT_SECONDS", 0.0)

    class KilledError(Exception):
        pass

    def killer(at: int) -> Any:
        def report(step: int, total: int, row: Any) -> None:
            if step >= at:
                raise KilledError

        return report

    for at in (9, 40, 41, 77):
        checkpoints = Checkpoints(tmp_path / "run")
        with pytest.raises(KilledError):
            train(MEAN, ROWS, ROWS, _training(chunk=4), checkpoints=checkpoints, report=killer(at))
        checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "run")
    resumed = train(MEAN, ROWS, ROWS, _training(chunk=4), checkpoints=checkpoints)
    checkpoints.close()
    assert _bytes(resumed) == _bytes(whole)


def test_an_epoch_visits_every_row() -> None:
    keys = st.member_keys(0, 1)
    order = np.asarray(st.epoch_order(keys[0], jnp.asarray(3), 70))
    assert sorted(order) == list(range(70))
    size, length = 16, st.steps_per_epoch(70, 16)
    at = np.concatenate([(i * size + np.arange(size)) % 70 for i in range(length)])
    assert set(order[at]) == set(range(70))
    other = np.asarray(st.epoch_order(keys[0], jnp.asarray(4), 70))
    assert not np.array_equal(order, other)


def test_members_are_separate_runs() -> None:
    together = train(MEAN, ROWS, ROWS, _training(epochs=5), members=3)
    keys = st.member_keys(0, 3)
    arrays = st.initial_players(_init, keys)
    for m in range(3):
        one = jax.tree.map(lambda a, m=m: a[m : m + 1], arrays)
        vectors, whole = packed(one)
        state = st.initial_members(vectors, _training().optimisation)
        steps = 5 * st.steps_per_epoch(70, 16)
        fixed = (jnp.asarray(ROWS), keys[m : m + 1], jnp.asarray(0), jnp.asarray(steps))
        state = st.advance((*fixed, whole, _objective, _training().optimisation), state)
        np.testing.assert_allclose(
            np.asarray(whole.stacked(state.weights.players)[0].at[0]),
            np.asarray(together.players[0].at[m]),
            rtol=1e-5,  # 25 float32 steps of a contraction: a few ulp each
        )


def test_early_stopping_returns_the_best_weights_and_goes_back_to_them() -> None:
    """Validation rows far from the training rows: the start is best, then ever worse."""
    far = np.full((5, 2), -50.0, "f4")
    patience = {"patience": 2, "reductions": 1, "evaluate_every": 5}
    result = train(MEAN, ROWS, far, _training(epochs=200, **patience))
    keys = st.member_keys(0, 1)
    start = st.initial_players(_init, keys)
    np.testing.assert_array_equal(result.players[0].at, start[0].at)
    assert result.stopped_early
    # two falls of the rate, two evaluations each, five steps apart (one epoch)
    assert result.steps == 4 * st.steps_per_epoch(70, 16)
    assert [row["rate"] for row in result.metrics][:3] == [1.0, 1.0, 1.0]


def test_going_back_restores_the_optimiser_state() -> None:
    optimisation = Optimisation(warmup=0)
    arrays = st.initial_players(_init, st.member_keys(0, 1))
    best = st.initial_members(arrays, optimisation)
    moved = jax.tree.map(lambda a: a + 1 if a.dtype == jnp.float32 else a, best.weights)
    state = best._replace(weights=moved, best_loss=jnp.zeros(1), since=jnp.ones(1, jnp.int32))
    after = st.assess(state, jnp.ones(1), jnp.asarray(7), 2, 3, 0.5)
    for back, was in zip(
        jax.tree.leaves(after.weights), jax.tree.leaves(best.weights), strict=True
    ):
        np.testing.assert_array_equal(back, was)
    assert float(after.rate[0]) == 0.5


def test_divergence_is_reported_and_the_checkpoint_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_run, "_CHECKPOINT_SECONDS", 0.0)
    checkpoints = Checkpoints(tmp_path / "run")
    training = _training(optimiser="sgd", learning_rate=50.0, clip=None, chunk=2, epochs=50)
    with pytest.raises(DivergedError, match="not finite"):
        train(MEAN, ROWS, ROWS, training, checkpoints=checkpoints)
    assert checkpoints.latest() is not None
    checkpoints.close()


class Pixels(eqx.Module):
    """A player with a convolution."""

    conv: eqx.nn.Conv2d

    def __init__(self, key: jax.Array) -> None:
        self.conv = eqx.nn.Conv2d(1, 1, 3, key=key)


def test_a_convolution_is_stepped_and_gives_the_looped_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loss(players: Any, batch: Any, key: Any) -> jax.Array:
        return jax.vmap(lambda x: jnp.mean((players[0].conv(x) - 1.0) ** 2))(batch)

    game = Game(lambda key: (Pixels(key),), lambda p, b, k: (jnp.mean(loss(p, b, k)),), loss)
    rows = np.random.default_rng(0).normal(size=(20, 1, 5, 5)).astype("f4")
    stepped = train(game, rows, rows, _training(epochs=3))
    called = []
    monkeypatch.setattr(engine_run._Run, "_convolves", lambda self: called.append(1) or False)
    looped = train(game, rows, rows, _training(epochs=3))
    assert called
    np.testing.assert_allclose(
        stepped.players[0].conv.weight, looped.players[0].conv.weight, rtol=1e-4, atol=1e-6
    )
    monkeypatch.undo()
    chosen = []
    stepwise = engine_run._Run._stepwise
    monkeypatch.setattr(
        engine_run._Run, "_stepwise", lambda self, *a: chosen.append(1) or stepwise(self, *a)
    )
    train(game, rows, rows, _training(epochs=1))
    assert chosen
    chosen.clear()
    train(MEAN, ROWS, ROWS, _training(epochs=1))
    assert not chosen


@pytest.mark.slow
def test_two_devices_give_the_same_result() -> None:
    code = """
import jax, numpy as np
import jax.numpy as jnp
from jensen.engine.run import Game, train
from jensen.engine.config import Training, Optimisation
rows = np.random.default_rng(0).normal(3.0, 1.0, size=(64, 2)).astype("f4")
loss = lambda p, b, k: 0.5 * jnp.sum((b - p[0]) ** 2, axis=1)
game = Game(lambda k: (jax.random.normal(k, (2,)),), lambda p, b, k: (loss(p, b, k).mean(),), loss)
r = train(game, rows, rows, Training(epochs=9, optimisation=Optimisation(batch_size=16)))
print(jax.local_device_count(), *np.asarray(r.players[0][0]).tolist())
"""
    outputs = []
    for flags in ("", "--xla_force_host_platform_device_count=2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append([float(word) for word in done.stdout.split()])
    assert [out[0] for out in outputs] == [1, 2]
    np.testing.assert_allclose(outputs[0][1:], outputs[1][1:], rtol=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": 0.0},
        {"batch_size": 0},
        {"ema": 1.0},
        {"clip": -1.0},
        {"rule": "simultanous"},
        {"optimiser": "adamm"},
        {"epochs": 0},
        {"patience": 0},
        {"reduction": 1.0},
        {"chunk": 0},
    ],
    ids=str,
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        _training(**bad)


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="no rows"):
        train(MEAN, np.empty((0, 2), "f4"), None, _training())


def test_an_objective_may_hold_arrays():
    """Its buffers are the caller's: a step must not reuse them."""

    class Scaled(eqx.Module):
        scale: jax.Array

        def __call__(self, players, batch, key):
            return (self.scale * jnp.mean((batch - players[0]) ** 2),)

    objective = Scaled(jnp.asarray(2.0))
    game = Game(lambda key: (jnp.zeros(2),), objective, lambda *_: 0.0)
    for _ in range(2):
        train(game, jnp.ones((8, 2)), None, Training(epochs=3))
    assert float(objective.scale) == 2.0
