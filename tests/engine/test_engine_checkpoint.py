"""Checkpoints: what is saved comes back bit for bit, and what cannot be saved is said in a line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.engine.checkpoint import Checkpoints

STATE = {
    "weights": jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32),
    "count": jnp.asarray(7, jnp.int32),
    "stopped": jnp.asarray([True, False]),
    "odd": jnp.asarray([jnp.inf, -0.0, 1e-45]),
}
ROWS = [{"step": 0, "loss": 0.1}, {"step": 5, "loss": float("nan")}]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[Checkpoints]:
    made = Checkpoints(tmp_path / "checkpoints")
    yield made
    made.close()


def bits(state: Any) -> dict[str, bytes]:
    return {name: np.asarray(leaf).tobytes() for name, leaf in state.items()}


def test_a_state_comes_back_bit_for_bit(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None
    checkpoints.save(5, STATE, ROWS)
    like = {name: jnp.zeros_like(leaf) for name, leaf in STATE.items()}
    step, state, rows = checkpoints.restore(like)
    assert (step, bits(state)) == (5, bits(STATE))
    assert rows[0] == ROWS[0]
    assert np.isnan(rows[1]["loss"])


def test_the_newest_two_are_kept(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3):
        checkpoints.save(step, STATE, ROWS)
    checkpoints.save(3, {**STATE, "count": jnp.asarray(8, jnp.int32)}, ROWS)
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ["2", "3"]
    assert int(checkpoints.restore(STATE)[1]["count"]) == 7, "a step is written once"


@pytest.mark.parametrize("change", ["shape", "more", "fewer"])
def test_a_checkpoint_of_another_model_is_refused(checkpoints: Checkpoints, change: str) -> None:
    checkpoints.save(1, STATE, ROWS)
    other = {
        "shape": {**STATE, "weights": jnp.zeros((3, 5))},
        "more": {**STATE, "weights2": jnp.zeros(3)},
        "fewer": {name: leaf for name, leaf in STATE.items() if name != "weights"},
    }[change]
    with pytest.raises(InputError, match="does not fit"):
        checkpoints.restore(other)


def test_a_damaged_checkpoint_is_refused(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, STATE, ROWS)
    for path in (checkpoints.folder / "1" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        checkpoints.restore(STATE)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ValueError('RESOURCE_EXHAUSTED: Failed writing: "a": No space left on device [code=28]'),
    ],
    ids=["by-python", "by-tensorstore"],
)
def test_a_full_disk_is_said_and_nothing_half_written_stays(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    checkpoints.save(1, STATE, ROWS)

    def fail(*args: Any, **options: Any) -> None:
        (checkpoints.folder / "2.orbax-checkpoint-tmp").mkdir()
        raise error

    monkeypatch.setattr(checkpoints._manager, "save", fail)
    with pytest.raises(InputError, match="No space left on device") as caught:
        checkpoints.save(2, STATE, ROWS)
    assert "[code" not in str(caught.value)
    assert [p.name for p in checkpoints.folder.iterdir()] == ["1"]


def test_what_a_kill_left_half_written_is_removed(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(1, STATE, ROWS)
    copy = Path(
        shutil.copytree(
            checkpoints.folder / "1", tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
        )
    )
    again = Checkpoints(checkpoints.folder)
    assert again.latest() == 1
    assert not copy.exists()
    again.close()
