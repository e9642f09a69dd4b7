"""Run `jensen verify` and keep what it finds for the documentation: `docs/verified/`.

    python docs/verified.py

Kept are the JSON document of the command and the PNG figures, whose paths are made relative to the
folder; figures of earlier runs go. Status 1 if a claim fails: the pages then say so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "verified"


def keep(found: dict[str, Any], folder: Path) -> None:
    """Write a run of `jensen verify` to a folder that is its own.

    Args:
        found: what the command printed, with the paths of its figures.
        folder: for `verify.json` and a folder of PNG files for each study; replaced as a whole.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for study in found["studies"]:
        figures = [Path(path) for path in study["figures"] if path.endswith(".png")]
        study["figures"] = [f"{study['study']}/{path.name}" for path in figures]
        for path, name in zip(figures, study["figures"], strict=True):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / name)
    text = json.dumps(found, ensure_ascii=False, indent=1)
    (folder / "verify.json").write_text(f"{text}\n", encoding="utf-8")


def main() -> int:
    """Run every study and keep the run."""
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", "jensen", "verify", "--json", "--out", work]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):
            return done.returncode
        keep(json.loads(done.stdout), HERE)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
