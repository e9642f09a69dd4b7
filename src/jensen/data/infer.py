"""What a column holds, learned from its cells in one pass.

A column of text is categorical, unless at least half of its cells read as numbers: then the other
cells are the mistake. Text with more than 100 levels, or with another level in every row, is an
identifier and no category. A column of numbers is constant, integer, or continuous, and then
perhaps on a grid (see `jensen.data.lattice`). All of this is learned from the cells that are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jensen._errors import InputError
from jensen.data.column import NUMPY_TYPES, Column, check_type
from jensen.data.lattice import find_grid
from jensen.data.table import is_text, number_or_none, numbers, parsed, texts
from jensen.data.text import text_in_numbers

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LEVELS = 100


class Fault:
    """Counts bad cells and remembers the first."""

    def __init__(self) -> None:
        self.count, self.first_row = 0, 0

    def add(self, wrong: np.ndarray, first_row: int) -> None:
        """Count the cells marked in `wrong`, shape `(n,)`, whose rows start at `first_row`."""
        if wrong.any():
            self.first_row = self.first_row or first_row + int(wrong.argmax())
            self.count += int(wrong.sum())


class ColumnReader:
    """Takes the cells of one column block by block and then says what the column is.

    Args:
        name: the column's name.
        label: what messages call the data.
        typed: whether the format tells 1 from 1.0.
    """

    def __init__(self, name: str, label: str, typed: bool) -> None:
        self.name, self.label, self.typed = name, label, typed
        self.missing, self.infinite = Fault(), Fault()
        self._types: set[str] = set()
        self._text: bool | None = None
        self._declared = False
        self._levels: dict[str, int] = {}
        self._numeric_cells = self._text_cells = 0
        self._odd_cell: tuple[int, str] | None = None

    def take(self, cells: pa.Array, first_row: int) -> np.ndarray:
        """Turn the next cells into float64 of shape `(n,)`; texts become codes by first occurrence.

        Raises:
            InputError: the cells are neither numbers nor text, are text among numbers, or have too
                many levels.
        """
        import pyarrow as pa

        check_type(self.name, cells.type, self.label)
        if not pa.types.is_null(cells.type):
            self._types.add(str(cells.type))
            if self._text is None:
                self._text = is_text(cells.type)
            self._declared |= pa.types.is_dictionary(cells.type)
        if self._text:
            values = self._take_text(cells, first_row)
        elif is_text(cells.type):
            values, wrong = parsed(cells)
            if wrong.any():
                at = int(wrong.argmax())
                raise text_in_numbers(
                    self.name, first_row + at, texts(cells)[at].as_py(), self.label
                )
        else:
            values = numbers(cells)
        self.missing.add(np.isnan(values), first_row)
        self.infinite.add(np.isinf(values), first_row)
        return values

    def _take_text(self, cells: pa.Array, first_row: int) -> np.ndarray:
        coded = texts(cells).dictionary_encode()
        found = coded.dictionary.to_pylist()
        codes = numbers(coded.indices)
        present = ~np.isnan(codes)
        counts = np.bincount(codes[present].astype(np.int64), minlength=len(found))
        numeric = np.array([number_or_none(text) is not None for text in found], bool)
        self._numeric_cells += int(counts[numeric].sum())
        self._text_cells += int(counts[~numeric].sum())
        if self._odd_cell is None and not numeric.all():
            at = int(np.argmax(np.isin(codes, np.flatnonzero(~numeric))))
            self._odd_cell = first_row + at, found[int(codes[at])]
        for text in found:
            self._levels.setdefault(text, len(self._levels))
        if len(self._levels) > MAX_LEVELS:
            self._check_not_numbers()
            raise self._identifier()
        ours = np.array([self._levels[text] for text in found] + [np.nan])
        return ours[np.where(present, codes, len(found)).astype(np.int64)]

    def _check_not_numbers(self) -> None:
        if self._declared or self._numeric_cells < max(1, self._text_cells):
            return
        if self._odd_cell is not None:
            raise text_in_numbers(self.name, *self._odd_cell, self.label)
        raise InputError(
            f"column {self.name!r} holds numbers stored as text",
            self.label,
            "store it as numbers, or as a dictionary (category) column if they are names",
        )

    def _identifier(self) -> InputError:
        many = f"more than {MAX_LEVELS}" if len(self._levels) > MAX_LEVELS else "only"
        return InputError(
            f"text column {self.name!r} has {many} different values; it looks like an identifier",
            self.label,
            "leave it out, or group its values",
        )

    def finish(self, values: np.ndarray) -> tuple[Column, np.ndarray]:
        """Say what the column is.

        Args:
            values: all its cells as `take` gave them, shape `(n,)`: finite, or NaN where missing,
                at least one of them finite.

        Returns:
            The column, and its cells encoded as this column encodes; every missing cell is the
            same NaN.

        Raises:
            InputError: it holds numbers stored as text, or looks like an identifier.
        """
        if not self.missing.count:
            return self._finish(values)
        seen = ~np.isnan(values)
        column, found = self._finish(values[seen])
        out = np.full(len(values), np.nan)
        out[seen] = found
        return column, out

    def _finish(self, values: np.ndarray) -> tuple[Column, np.ndarray]:
        return self._finish_text(values) if self._text else (self._finish_numbers(values), values)

    def _finish_text(self, values: np.ndarray) -> tuple[Column, np.ndarray]:
        self._check_not_numbers()
        met, first = np.unique(values.astype(np.int64), return_index=True)
        names = list(self._levels)
        # in the order of their first cells: another naming of the levels then changes no code
        levels = tuple(names[met[i]] for i in np.argsort(first))
        if len(levels) == 1:
            return Column(self.name, "constant", value=levels[0], dtype="string"), values
        if len(levels) == len(values):
            raise self._identifier()
        place = {text: code for code, text in enumerate(levels)}
        codes = np.array([place.get(text, np.nan) for text in names], np.float64)
        column = Column(self.name, "categorical", levels=levels, dtype="string")
        return column, codes[values.astype(np.int64)]

    def _finish_numbers(self, values: np.ndarray) -> Column:
        whole = bool(np.all((values == np.rint(values)) & (np.abs(values) < 2.0**53)))
        dtype = next(iter(self._types)) if len(self._types) == 1 else "double"
        dtype = dtype if dtype in NUMPY_TYPES else "double"
        if whole and not self.typed and dtype == "double":
            dtype = "int64"
        if values.min() == values.max():
            return Column(self.name, "constant", value=float(values[0]), dtype=dtype)
        if whole:
            return Column(self.name, "integer", step=1.0, dtype=dtype)
        stored = {"float": np.float32, "halffloat": np.float16}.get(dtype, np.float64)
        step, offset = find_grid(values, stored)
        return Column(self.name, "continuous", step=step, offset=offset, dtype=dtype)
