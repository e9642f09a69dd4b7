r"""Checkpoints: the whole state of a run in one folder, written by Orbax.

A checkpoint holds every array of the state as it is (so a resumed run continues bit for bit), the
step, and the metrics so far. Orbax renames a finished checkpoint into place: a kill at any moment
leaves the one before. The newest two are kept.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jensen._errors import InputError
from jensen._typing import PyTree


class Checkpoints:
    """The checkpoints of one run folder.

    Args:
        folder: where they are; created when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        import orbax.checkpoint as ocp

        # Orbax logs every failure with its traceback, and raises it too: raising is enough
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.folder = folder.absolute()
        self._ocp = ocp
        self._remove_half_written()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=2, create=True, enable_async_checkpointing=False
            ),
        )

    def save(self, step: int, state: PyTree, metrics: list[dict[str, Any]]) -> None:
        """Write the state before step `step`; an existing checkpoint of that step is kept.

        Raises:
            InputError: if the folder cannot be written.
        """
        if step in self._manager.all_steps():
            return
        leaves = {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        args = self._ocp.args
        try:
            self._manager.save(
                step,
                args=args.Composite(
                    state=args.StandardSave(leaves), metrics=args.JsonSave({"rows": metrics})
                ),
            )
        except (OSError, ValueError) as error:  # Orbax tells a full disk as a ValueError
            self._remove_half_written()
            reason = _reason(str(error))
            raise InputError(
                f"cannot write a checkpoint: {reason}", str(self.folder), "free some space"
            ) from error

    def latest(self) -> int | None:
        """Return the newest complete checkpoint's step, or None."""
        return self._manager.latest_step()

    def restore(self, like: PyTree) -> tuple[int, PyTree, list[dict[str, Any]]]:
        """Return (step, state, metrics) of the newest checkpoint.

        Args:
            like: a state of the same structure, shapes and dtypes.

        Raises:
            InputError: if the checkpoint is of another model, or damaged.
        """
        step = self._manager.latest_step()
        leaves, tree = jax.tree.flatten(like)
        target = {f"{i:04d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        args = self._ocp.args
        try:
            found: Any = self._manager.restore(
                step,
                args=args.Composite(state=args.StandardRestore(target), metrics=args.JsonRestore()),
            )
            for name, leaf in target.items():  # Orbax does not compare the shapes
                if found.state[name].shape != leaf.shape:
                    raise ValueError(f"{name} is {found.state[name].shape}, not {leaf.shape}")
        except (ValueError, KeyError, OSError, TypeError) as error:
            raise InputError(
                "this checkpoint does not fit the run or is damaged",
                str(self.folder / str(step)),
                "train again into a new folder",
            ) from error
        state = [jax.numpy.asarray(found.state[name]) for name in sorted(target)]
        return int(step or 0), jax.tree.unflatten(tree, state), found.metrics["rows"]

    def _remove_half_written(self) -> None:
        """Remove what a kill or a full disk left of a checkpoint."""
        for half in self.folder.glob("*.orbax-checkpoint-tmp"):
            shutil.rmtree(half, ignore_errors=True)

    def close(self) -> None:
        """Release what Orbax holds."""
        self._manager.close()


def _reason(text: str) -> str:
    """Return what the operating system said, from a message of many parts."""
    return text.rpartition(": ")[2].partition(" [")[0] or text
