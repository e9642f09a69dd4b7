r"""The spec of a run folder: what was trained, on what, how, with which versions.

`spec.json` holds plain data and its own SHA-256, so that a change is noticed when it is read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from jensen._errors import InputError
from jensen.data.output import write_text

FORMAT = 1
"""Version of the run folder; a newer one is refused."""

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
