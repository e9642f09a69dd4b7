r"""Payoff matrices in: arrays, nested lists, CSV, TSV and NPY.

A file of text holds one line for each action of the row player, numbers only, or with the names of
the column player's actions on the first line, of the row player's in the first column, or both.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jensen._errors import InputError, nearest
from jensen.data.table import number_or_none

DELIMITERS = {".csv": ",", ".tsv": "\t"}
NUMBERS = "give a matrix of numbers, one row for each action of the row player"


@dataclass(frozen=True)
class Payoff:
    """A zero-sum game in normal form.

    Args:
        matrix: `(m, n)` the row player's payoff; the column player pays it.
        rows: the names of the row player's actions; empty where none were given.
        columns: the names of the column player's actions; empty where none were given.
    """

    matrix: np.ndarray
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


def read_payoff(source: Any) -> Payoff:
    """Read a payoff matrix.

    Args:
        source: a path that ends in `.csv`, `.tsv` or `.npy`; a matrix as an array or nested
            lists; or a `Payoff`, which is checked and returned.

    Returns:
        The matrix `(m, n)` in float64 with the names of the actions.

    Raises:
        InputError: no such file, not a matrix, empty, ragged, or a cell that is no finite number;
            it names the row and the column, counted from 1 as a spreadsheet does.

    Example:
        >>> read_payoff([[4, 1], [1, 2]]).matrix.tolist()
        [[4.0, 1.0], [1.0, 2.0]]
    """
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source))
    if isinstance(source, Payoff):
        return Payoff(_from_array(source.matrix, "payoff"), source.rows, source.columns)
    return Payoff(_from_array(source, "payoff"))


def _from_file(path: Path) -> Payoff:
    label, ending = str(path), path.suffix.lower()
    if not path.is_file():
        hint = ""
        if path.parent.is_dir():
            hint = nearest(path.name, [p.name for p in path.parent.iterdir()])
        raise InputError(f"the payoff file does not exist{hint}", label, "check the path")
    if ending not in (*DELIMITERS, ".npy"):
        raise InputError(
            f"cannot tell the format from the name {path.name!r}",
            label,
            f"use one of the endings {' '.join((*DELIMITERS, '.npy'))}",
        )
    try:
        if ending == ".npy":
            return Payoff(_from_array(np.load(path, allow_pickle=False), label))
        return _from_text(path, label, DELIMITERS[ending])
    except PermissionError as error:
        raise InputError("the file may not be read", label, "change its permissions") from error
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8 text", label, "save it as UTF-8") from error
    except (csv.Error, EOFError, OSError) as error:
        raise InputError(f"the file cannot be read: {error}", label, "write it again") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            "the file is not an NPY array of numbers", label, "write it with numpy.save"
        ) from error


def _from_array(source: Any, label: str) -> np.ndarray:
    try:
        cells = np.asarray(source)
    except ValueError as error:
        raise InputError(_why_no_array(source), label, NUMBERS) from error
    if cells.ndim != 2:
        raise InputError(
            f"a payoff has two dimensions, and this has {cells.ndim}: shape {cells.shape}",
            label,
            "give an array of shape (m, n); a game with one row is [[a, b, c]]",
        )
    if not cells.size:
        raise InputError(f"the payoff is empty: shape {cells.shape}", label, NUMBERS)
    if cells.dtype.kind not in "biuf":
        cells = _cell_by_cell(cells, label)
    matrix = np.array(cells, np.float64)
    if not np.isfinite(matrix).all():
        i, j = np.argwhere(~np.isfinite(matrix))[0].tolist()
        raise _bad_cell(str(matrix[i, j]), i + 1, j + 1, label)
    return matrix


def _why_no_array(source: Any) -> str:
    if isinstance(source, Sequence) and all(isinstance(row, Sequence) for row in source):
        widths = [len(row) for row in source]
        for i, width in enumerate(widths, 1):
            if width != widths[0]:
                return f"row {i} has {width} cells where row 1 has {widths[0]}"
    return "the rows of the payoff have unequal lengths"


def _cell_by_cell(cells: np.ndarray, label: str) -> np.ndarray:
    """Read an array of objects or text, for the sake of the cell that is no number."""
    matrix = np.empty(cells.shape)
    for i, row in enumerate(cells.tolist()):
        for j, cell in enumerate(row):
            number = None
            if isinstance(cell, str):
                number = number_or_none(cell)
            elif cell is not None and hasattr(cell, "__float__"):
                number = float(cell)
            if number is None:
                raise _bad_cell(str(cell), i + 1, j + 1, label)
            matrix[i, j] = number
    return matrix


def _from_text(path: Path, label: str, delimiter: str) -> Payoff:
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = [
            (number, [cell.strip() for cell in cells])
            for number, cells in enumerate(csv.reader(file, delimiter=delimiter), 1)
            if any(cell.strip() for cell in cells)
        ]
    if not lines:
        raise InputError("the file is empty", label, NUMBERS)
    first, width = lines[0][0], len(lines[0][1])
    for number, cells in lines:
        if len(cells) != width:
            raise InputError(
                f"row {number} has {len(cells)} cells where row {first} has {width}",
                label,
                "give every row as many cells",
            )
    columns: tuple[str, ...] = ()
    if _is_header(lines[0][1], delimiter, label):
        columns, lines = tuple(lines[0][1]), lines[1:]
        if not lines:
            raise InputError("there are names but no payoffs", label, NUMBERS)
    rows: tuple[str, ...] = ()
    if width > 1 and all(number_or_none(cells[0]) is None and cells[0] for _, cells in lines):
        rows, columns = tuple(cells[0] for _, cells in lines), columns[1:]
    offset = bool(rows)
    matrix = np.empty((len(lines), width - offset))
    for i, (number, cells) in enumerate(lines):
        for j, cell in enumerate(cells[offset:]):
            value = number_or_none(cell)
            if value is None or not np.isfinite(value):
                raise _bad_cell(cell, number, j + 1 + offset, label)
            matrix[i, j] = value
    return Payoff(matrix, rows, columns)


def _is_header(cells: list[str], delimiter: str, label: str) -> bool:
    """Say whether the first line holds names: no cell is a number, the corner may be empty."""
    if len(cells) == 1 and number_or_none(cells[0]) is None:
        for other, called in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
            if other in cells[0] and other != delimiter:
                raise InputError(
                    f"the cells seem to be separated by {called}",
                    label,
                    "write .csv with commas, or .tsv with tabs",
                )
    names = cells[1:] if len(cells) > 1 else cells
    return all(cell and number_or_none(cell) is None for cell in names) and (
        number_or_none(cells[0]) is None
    )


def _bad_cell(cell: str, row: int, column: int, label: str) -> InputError:
    found = f"{cell[:40]!r} is no finite number" if cell else "the cell is empty"
    return InputError(
        f"{found}: row {row}, column {column} (cell {_letters(column)}{row})",
        label,
        "write every payoff as a finite decimal number",
    )


def _letters(column: int) -> str:
    """Return the column's letters in a spreadsheet: 1 is A, 27 is AA."""
    letters = ""
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters
