"""What the tests of the command line share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jensen.cli import main

TINY = {"epochs": 1, "members": 1, "n_layers": 1, "width": 8}
"""The smallest model that is one."""

TINY_OPTIONS = [part for k, v in TINY.items() for part in ("--set", f"{k}={v}")]

Answer = tuple[int, str, list[str]]
Cli = Callable[..., Answer]

ROWS = np.random.default_rng(0).normal(size=(120, 3))


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return `cli(*arguments) -> (status, standard output, lines of standard error)`."""

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["jensen", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err.splitlines()

    return call


def write_table(path: Path, rows: np.ndarray, names: str) -> Path:
    """Write rows as CSV, every float as the shortest text that reads back as the same number."""
    cells = [",".join(repr(float(v)) for v in row) for row in rows]
    path.write_text("\n".join([names, *cells]) + "\n")
    return path
