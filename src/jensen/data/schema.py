"""The columns of a table, and how its rows become vectors of float64 and back.

The schema is learned from the training rows in one pass, and every later table is encoded by it:
columns by name in any order, or by position where one side has no names of its own. Nothing is
dropped or filled in silently: a missing or infinite cell, text among numbers and a level that did
not occur in training are errors that name the column, the row (counted from 1) and the value. A
constant column keeps new values when it is encoded, so that the model can flag them.

For a model that integrates over missing cells, `missing=True` lets these through as NaN. What a
column is (its kind, grid, levels, value) is then learned from its other cells. A row without any
cell is kept: its probability is 1, and `count_missing` counts it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen._errors import InputError, nearest
from jensen.data.column import KINDS, TAKES_MISSING, Column
from jensen.data.infer import ColumnReader, Fault
from jensen.data.table import Source, is_named

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Column", "Schema", "fingerprint", "read"]

_HASHED_ROWS = 65536


@dataclass(frozen=True)
class Schema:
    """The columns of a table.

    Args:
        columns: one `Column` each, in order.
        shape: the shape of one example where it is an image, else None.
        named: False where the names were invented.
    """

    columns: tuple[Column, ...]
    shape: tuple[int, ...] | None = None
    named: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def continuous(self) -> tuple[int, ...]:
        """The indices of the columns that are modelled as numbers: continuous and integer."""
        return self._of_kind("continuous", "integer")

    @property
    def categorical(self) -> tuple[int, ...]:
        """The indices of the categorical columns."""
        return self._of_kind("categorical")

    @property
    def constant(self) -> tuple[int, ...]:
        """The indices of the constant columns."""
        return self._of_kind("constant")

    def _of_kind(self, *kinds: str) -> tuple[int, ...]:
        return tuple(i for i, column in enumerate(self.columns) if column.kind in kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return a description that JSON can hold."""
        return {
            "columns": [
                {**asdict(column), "levels": list(column.levels)} for column in self.columns
            ],
            "shape": None if self.shape is None else list(self.shape),
            "named": self.named,
        }

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> Schema:
        """Build a schema from what `to_dict` returned.

        Raises:
            InputError: the description is not one of a schema.

        Example:
            >>> schema = Schema((Column("a", "integer", 1.0, dtype="int64"),))
            >>> Schema.from_dict(schema.to_dict()) == schema
            True
        """
        try:
            columns = tuple(
                Column(**{**entry, "levels": tuple(entry["levels"])})
                for entry in description["columns"]
            )
            shape = description["shape"]
            unknown = [column.kind for column in columns if column.kind not in KINDS]
            if unknown:
                raise ValueError(f"unknown kind {unknown[0]!r}")
            return cls(columns, None if shape is None else tuple(shape), bool(description["named"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the description of the columns is damaged: {error}",
                "schema",
                "train again, or restore the run folder",
            ) from error

    def extra_columns(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of `names` that this schema does not use."""
        known = set(self.names)
        return tuple(name for name in names if name not in known)

    def encode(
        self,
        batch: pa.RecordBatch,
        *,
        label: str = "data",
        first_row: int = 1,
        missing: bool = False,
    ) -> np.ndarray:
        """Turn rows into vectors.

        Args:
            batch: rows; its columns are matched by name in any order, further ones are ignored
                (see `extra_columns`), and by position where one side has no names of its own.
            label: what messages call the data.
            first_row: the number of the batch's first row, counted from 1.
            missing: let missing cells through, as NaN.

        Returns:
            Float64 of shape `(n, len(columns))`, every cell finite but for missing ones.

        Raises:
            InputError: columns are missing, or a cell is missing (unless `missing`), infinite, text
                among numbers, or a level that did not occur in training.
        """
        out = np.empty((batch.num_rows, len(self.columns)))
        positions = self._positions(batch, label)
        for j, (column, position) in enumerate(zip(self.columns, positions, strict=True)):
            cells = batch.column(position)
            out[:, j] = column.encode(cells, label=label, first_row=first_row, missing=missing)
        return out

    def _positions(self, batch: pa.RecordBatch, label: str) -> list[int]:
        place = {name: i for i, name in enumerate(batch.schema.names)}
        absent = [name for name in self.names if name not in place]
        if not absent and is_named(batch):
            return [place[name] for name in self.names]
        if not (self.named and is_named(batch)):
            if batch.num_columns == len(self.columns):
                return list(range(len(self.columns)))
            raise InputError(
                f"{batch.num_columns} columns where the model has {len(self.columns)}",
                label,
                "give the columns the model was trained on",
            )
        shown = ", ".join(map(repr, absent[:5])) + (", …" if len(absent) > 5 else "")
        hint = nearest(absent[0], self.extra_columns(place))
        raise InputError(
            f"missing column{'s' if len(absent) > 1 else ''}: {shown}{hint}",
            label,
            "give the columns the model was trained on, under the same names",
        )

    def decode(self, matrix: np.ndarray, *, missing: bool = False) -> dict[str, np.ndarray]:
        """Turn vectors back into columns.

        Args:
            matrix: encoded rows, shape `(n, len(columns))`.
            missing: keep NaN as a missing cell.

        Returns:
            The columns in order, each of shape `(n,)` and in its own type: whole numbers rounded,
            numbers on a grid snapped to it, categories as text, constants filled in. With
            `missing`, a column with missing cells is a masked array, which `TableWriter` takes.

        Raises:
            InputError: the matrix has another number of columns, a code names no level, or a cell
                is NaN (unless `missing`, and but for constant columns).

        Example:
            >>> Schema((Column("a", "integer", 1.0, dtype="int64"),)).decode(np.array([[2.3]]))
            {'a': array([2])}
        """
        if matrix.ndim != 2 or matrix.shape[1] != len(self.columns):
            raise InputError(
                f"rows of shape {matrix.shape}", "", f"give shape (n, {len(self.columns)})"
            )
        return {
            column.name: column.decode(matrix[:, j], missing=missing)
            for j, column in enumerate(self.columns)
        }


def read(source: Source, *, missing: bool = False) -> tuple[Schema, np.ndarray]:
    """Learn the columns of a table and read it whole, in one pass.

    Args:
        source: the rows, as `open_table` gives them.
        missing: let missing cells through, as NaN.

    Returns:
        The schema, and the encoded rows: float64 of shape `(n, len(columns))`, finite but for
        missing cells.

    Raises:
        InputError: there are fewer than two rows; a cell is missing (unless `missing`), infinite,
            or text among numbers; all cells of a column are missing; a text column looks like an
            identifier; or every column is constant.

    Example:
        >>> from jensen.data.source import open_table
        >>> schema, rows = read(open_table("iris"))
        >>> rows.shape, schema.columns[0].step
        ((150, 4), 0.1)
    """
    readers = [ColumnReader(name, source.label, source.typed) for name in source.names]
    blocks, row = [], 1
    for batch in source.batches():
        block = np.empty((batch.num_rows, len(readers)))
        for j, reader in enumerate(readers):
            block[:, j] = reader.take(batch.column(j), row)
        blocks.append(block)
        row += batch.num_rows
    if row <= 2:
        raise InputError(
            "there is only one row" if row == 2 else "there are no rows",
            source.label,
            "a density needs at least two rows, and wants hundreds",
        )
    if missing:
        _refuse_empty(source.label, [r.name for r in readers if r.missing.count == row - 1])
    else:
        faults = {r.name: r.missing for r in readers}
        _refuse(source.label, "missing", faults, TAKES_MISSING)
    _refuse(source.label, "infinite", {r.name: r.infinite for r in readers})
    matrix = _joined(blocks, row - 1)
    columns = []
    for j, reader in enumerate(readers):
        column, values = reader.finish(np.ascontiguousarray(matrix[:, j]))
        columns.append(column)
        matrix[:, j] = values
    if all(column.kind == "constant" for column in columns):
        which = "the only column is" if len(columns) == 1 else f"all {len(columns)} columns are"
        raise InputError(f"{which} constant", source.label, "give at least one column that varies")
    return Schema(tuple(columns), source.shape, source.named), matrix


def _joined(blocks: list[np.ndarray], n_rows: int) -> np.ndarray:
    """Stack the blocks, giving each back to the system as soon as it is copied."""
    matrix = np.empty((n_rows, blocks[0].shape[1]))
    blocks.reverse()
    start = 0
    while blocks:
        block = blocks.pop()
        matrix[start : start + len(block)] = block
        start += len(block)
    return matrix


def _refuse_empty(label: str, names: list[str]) -> None:
    if names:
        shown = ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
        raise InputError(
            f"all cells of column{'s' if len(names) > 1 else ''} {shown} are missing",
            label,
            "leave the column out, or give at least one of its values",
        )


def _refuse(label: str, what: str, faults: dict[str, Fault], mend: str = "") -> None:
    found = {name: fault for name, fault in faults.items() if fault.count}
    if not found:
        return
    listing = [
        f"{fault.count} in column {name!r} (first at row {fault.first_row})"
        for name, fault in list(found.items())[:3]
    ]
    more = f" and in {len(found) - 3} more columns" if len(found) > 3 else ""
    total = sum(fault.count for fault in found.values())
    raise InputError(
        f"{what} cell{'s' if total > 1 else ''}: {', '.join(listing)}{more}",
        label,
        f"drop those rows, fill the cells in, or leave the column out{mend}",
    )


def fingerprint(matrix: np.ndarray, names: Iterable[str]) -> str:
    """Return the SHA-256 of the names, the shape and the float64 cells, whatever the file format.

    Args:
        matrix: encoded rows of shape `(n, D)`.
        names: the `D` column names.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> fingerprint(np.zeros((2, 1)), ["a"])[:8]
        '8c87d1e6'
    """
    digest = hashlib.sha256(json.dumps([list(names), list(matrix.shape)]).encode())
    for start in range(0, len(matrix), _HASHED_ROWS):
        block = np.ascontiguousarray(matrix[start : start + _HASHED_ROWS], "<f8")
        digest.update(block.data)
    return digest.hexdigest()
