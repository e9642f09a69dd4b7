"""What every command shares: the application, its options, and how results are shown."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jensen._errors import InputError

app = typer.Typer(
    name="jensen",
    help=(
        "Deep generative models whose every number can be trusted.\n\n"
        "Fit a density to a table, score and sample it, and flag anomalies at a stated "
        "false-alarm rate. DATA is a file (.csv .tsv .parquet .arrow .npy .npz .idx[.gz]), a "
        "folder or glob of these, or a built-in set: digits, breast-cancer, wine, iris, "
        "swiss-roll, moons, ring, grid, spiral (NAME:train, :test, :normal, :anomaly where it "
        "has the part). Start with: jensen demo"
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Jobs = Annotated[
    int, typer.Option("--jobs", help="Processes that score; the results are the same.")
]
Out = Annotated[Path, typer.Option("--out", help="Output file: .csv, .parquet or .npy.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `fit` wrote.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help="A file, folder, glob or built-in name.")]


def note(text: str) -> None:
    """Print a remark to standard error."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def plain(value: Any) -> Any:
    """Return the value as JSON can hold it: no NaN, no infinity, no numpy scalar."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """Print the result as one JSON document, or as lines."""
    if as_json:
        print(json.dumps(plain(result), allow_nan=False))
    else:
        print("\n".join(lines))


def aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows of a table as lines, every column as wide as its widest cell but the last."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip()
        for row in rows
    ]


def settings_of(pairs: list[str] | None) -> dict[str, Any]:
    """Return name → text of every `--set name=value`.

    Raises:
        InputError: for a pair that is not one.
    """
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise InputError(f"cannot read {pair!r}", "--set", "write --set key=value")
        settings[name.strip()] = value.strip()
    return settings
