r"""A run's folder and its spec: what was trained, on what, how, with which versions.

`spec.json` holds plain data and its own SHA-256, so that a change is noticed when it is read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from jensen._errors import InputError
from jensen.data.output import TableWriter, write_text
from jensen.data.schema import Schema
from jensen.data.split import Split

FORMAT = 1
"""Version of the run folder; a newer one is refused."""

HELD_OUT_ROWS = 2000
"""Calibration rows and validation rows that a folder keeps at most, of each."""

_HALF_WRITTEN = ".*.????????.part"  # the names of `jensen.data.output.replacing`
STATES = ("training", "diverged", "complete")
_ALWAYS = {"model", "seed", "recipe", "schema", "data", "split", "seconds", "versions"}
_COMPLETE = {"weights", "figures", "steps", "stopped_early"}


def versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    from importlib.metadata import version

    return {
        name: version(name) for name in ("jensen", "jax", "jaxlib", "equinox", "optax", "numpy")
    }


def checksum(spec: dict[str, Any]) -> str:
    """Return the SHA-256 of a spec without its own checksum, in hexadecimal."""
    content = {name: value for name, value in spec.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_spec(folder: Path, spec: dict[str, Any]) -> None:
    """Write `spec.json`, whole or not at all.

    Raises:
        InputError: if it cannot be written.
    """
    plain = json.loads(json.dumps(spec))
    plain["checksum"] = checksum(plain)
    write_text(folder / "spec.json", json.dumps(plain, indent=1, sort_keys=True) + "\n")


def read_spec(folder: Path) -> dict[str, Any]:
    """Read `spec.json`, checked.

    Raises:
        InputError: if the folder or the file is missing, damaged, changed, or of a newer format.
    """
    path = folder / "spec.json"
    if not folder.is_dir():
        raise InputError("there is no such run folder", str(folder), "give the --out of a fit")
    if not path.exists():
        raise InputError(
            "this folder is not a run (no spec.json)", str(folder), "give the --out of a fit"
        )
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        format_ = int(spec["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "spec.json is damaged", str(path), "restore the file or train again"
        ) from error
    if format_ > FORMAT:
        raise InputError(
            f"this run has format {format_}, newer than {FORMAT}",
            str(path),
            "install a newer jensen",
        )
    if spec.get("checksum") != checksum(spec) or spec.get("status") not in STATES:
        raise InputError(
            "spec.json was changed after the run wrote it",
            str(path),
            "restore the file or train again",
        )
    needed = _ALWAYS | (_COMPLETE if spec["status"] == "complete" else set())
    absent = sorted(needed - spec.keys())
    if absent:
        raise InputError(
            f"spec.json lacks {', '.join(absent)}", str(path), "restore the file or train again"
        )
    return spec


def check_folder(folder: Path, resume: bool) -> Path:
    """Return the folder of a run to be; nothing is written yet.

    Raises:
        InputError: if it is a file, holds something else, or a run that is not to be resumed.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("the run folder is a file", str(folder), "choose another --out")
    if (folder / "spec.json").exists():
        if not resume:
            raise InputError(
                "the folder already holds a run",
                str(folder),
                "choose another --out, or go on with --resume",
            )
    elif folder.exists() and not _empty(folder):
        raise InputError(
            "the folder is not empty and holds no run", str(folder), "choose another --out"
        )
    return folder


def _empty(folder: Path) -> bool:
    """Return whether the folder is empty, or as a run leaves it that was killed before its spec."""
    inside = [path for path in folder.iterdir() if path not in set(folder.glob(_HALF_WRITTEN))]
    if [path.name for path in inside] == ["checkpoints"] and inside[0].is_dir():
        inside = list(inside[0].iterdir())
    return not inside


def make_folder(folder: Path) -> None:
    """Make the folder of a run, and remove files that a kill left half-written.

    Raises:
        InputError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoints").mkdir(exist_ok=True)
        for path in folder.glob(_HALF_WRITTEN):
            path.unlink()
    except OSError as error:
        raise InputError(
            f"cannot make the run folder ({error.strerror})", str(folder), "choose another --out"
        ) from error


def write_metrics(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write `metrics.parquet`, one row per evaluation; nothing where there was none."""
    if not rows:
        return
    with TableWriter(folder / "metrics.parquet") as writer:
        writer.write({name: np.array([row[name] for row in rows]) for name in rows[0]})


def write_held_out(folder: Path, schema: Schema, matrix: np.ndarray, split: Split) -> None:
    """Write `heldout.parquet`: calibration rows, then validation rows."""
    rows = np.concatenate([split.calibration[:HELD_OUT_ROWS], split.validation[:HELD_OUT_ROWS]])
    with TableWriter(folder / "heldout.parquet") as writer:
        writer.write(schema.decode(matrix[rows], missing=True))
