"""One column: what it holds, and how its cells become float64 and come back.

=============  ====================================================  ==========================
kind           holds                                                 encoded as
=============  ====================================================  ==========================
`continuous`   floats; `step` > 0 where they were rounded to a grid  the number
`integer`      whole numbers below 2⁵³ in size, booleans             the number
`categorical`  text, one of the `levels`, as first met              the level's index
`constant`     one number                                            the number, even a new one
`constant`     one text                                              0, anything else 1
=============  ====================================================  ==========================

A missing cell is NaN where the reader asks for that, and refused everywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from jensen._errors import InputError, nearest
from jensen.data.lattice import snap
from jensen.data.table import is_number, is_text, numbers, parsed, texts
from jensen.data.text import text_in_numbers

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["continuous", "integer", "categorical", "constant"]
KINDS = ("continuous", "integer", "categorical", "constant")
NUMPY_TYPES = {
    "double": "float64",
    "float": "float32",
    "halffloat": "float16",
    "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
TAKES_MISSING = ", or use --model vae, which takes missing cells"
"""What a message about missing cells ends with."""


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Args:
        name: its name.
        kind: `continuous`, `integer`, `categorical` or `constant`.
        step: the spacing of the grid its numbers lie on: 1 for integers, 0 where there is none.
        offset: a point of that grid.
        levels: the texts of a categorical column, in the order of their first cells.
        value: the one value of a constant column.
        dtype: the Arrow type samples are given back in: `int64`, `double`, `string`, `bool`, …
    """

    name: str
    kind: Kind
    step: float = 0.0
    levels: tuple[str, ...] = ()
    value: float | str | None = None
    dtype: str = "double"
    offset: float = 0.0

    def encode(
        self, cells: pa.Array, *, label: str, first_row: int, missing: bool = False
    ) -> np.ndarray:
        """Turn cells into float64.

        Args:
            cells: an Arrow array of length `n`.
            label: what messages call the data.
            first_row: the number of the first cell's row, counted from 1.
            missing: let missing cells through, as NaN.

        Returns:
            Float64 of shape `(n,)`, finite but for missing cells.

        Raises:
            InputError: a cell is missing (unless `missing`), infinite, text among numbers, or an
                unseen level.

        Example:
            >>> import pyarrow as pa
            >>> column = Column("a", "integer", 1.0, dtype="int64")
            >>> column.encode(pa.array([3, None]), label="data", first_row=1, missing=True)
            array([ 3., nan])
        """
        check_type(self.name, cells.type, label)
        if self.levels or isinstance(self.value, str):
            values = self._encode_text(cells, label, first_row)
        else:
            values = _encode_numbers(self.name, cells, label, first_row)
        if not np.isfinite(values).all():
            self._check_finite(values, label, first_row, missing)
        return values

    def _check_finite(self, values: np.ndarray, label: str, first_row: int, missing: bool) -> None:
        for wrong, what, mend in (
            (np.isnan(values) & (not missing), "a missing cell", TAKES_MISSING),
            (np.isinf(values), "infinity", ""),
        ):
            if wrong.any():
                row = first_row + int(wrong.argmax())
                raise InputError(
                    f"{what} in column {self.name!r}",
                    f"row {row} of {label}",
                    f"drop that row or fill it in{mend}",
                )

    def decode(self, values: np.ndarray, *, missing: bool = False) -> np.ndarray:
        """Turn encoded values into cells: whole numbers rounded, grids snapped to, texts named.

        Args:
            values: floats of shape `(n,)`.
            missing: keep NaN as a missing cell.

        Returns:
            Shape `(n,)`, in the column's own type; a constant column is filled with its value. With
            `missing`, a masked array where a cell is missing, also in a constant column.

        Raises:
            InputError: a value is NaN (unless `missing`, and but for a constant column), a whole
                number is not finite, or a code names no level.
        """
        if missing and (gaps := np.isnan(values)).any():
            cells = self.decode(np.where(gaps, 0.0, values))
            if cells.dtype.kind == "f":
                cells[gaps] = np.nan
            return np.ma.masked_array(cells, gaps)
        if self.kind == "constant":
            values = np.full(len(values), self.value)
            return values if isinstance(self.value, str) else _typed(values, self.dtype)
        if self.kind == "categorical":
            codes = np.rint(values)
            if not np.all((codes >= 0) & (codes < len(self.levels))):
                raise InputError(
                    f"a code of column {self.name!r} names none of its {len(self.levels)} levels",
                    "the rows to decode",
                    f"codes run from 0 to {len(self.levels) - 1}",
                )
            return np.array(self.levels)[codes.astype(np.int64)]
        if self.dtype in NUMPY_TYPES and np.dtype(NUMPY_TYPES[self.dtype]).kind in "iub":
            if not np.isfinite(values).all():
                raise InputError(
                    f"a value of the whole-number column {self.name!r} is not finite",
                    "the rows to decode",
                    "give finite values",
                )
            return _typed(np.rint(values), self.dtype)
        if self.step:
            values = snap(values, self.step, self.offset)
        values = _typed(values, self.dtype)
        if np.isnan(np.max(values, initial=0.0)):
            raise InputError(
                f"a value of column {self.name!r} is missing (NaN)",
                "the rows to decode",
                "fill it in first",
            )
        return values

    def _encode_text(self, cells: pa.Array, label: str, first_row: int) -> np.ndarray:
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = texts(cells)
        known = list(self.levels) or [self.value]
        codes = pc.index_in(cells, value_set=pa.array(known, pa.string()))  # type: ignore[attr-defined]
        values = numbers(codes)
        unseen = np.isnan(values) & cells.is_valid().to_numpy(zero_copy_only=False)
        if self.kind == "constant":
            return np.where(unseen, 1.0, values)
        if unseen.any():
            at = int(unseen.argmax())
            value = cells[at].as_py()
            raise InputError(
                f"{value[:40]!r} in column {self.name!r} did not occur in training"
                f"{nearest(value, self.levels)}",
                f"row {first_row + at} of {label}",
                f"the levels are {', '.join(self.levels[:10])}"
                f"{', …' if len(self.levels) > 10 else ''}; drop the row, or train with it",
            )
        return values


def check_type(name: str, kind: pa.DataType, label: str) -> None:
    """Refuse a column that holds neither numbers nor text."""
    if not (is_text(kind) or is_number(kind)):
        raise InputError(
            f"column {name!r} holds {kind}, neither numbers nor text",
            label,
            "turn it into a number, or leave it out",
        )


def _encode_numbers(name: str, cells: pa.Array, label: str, first_row: int) -> np.ndarray:
    if is_number(cells.type):
        return numbers(cells)
    values, wrong = parsed(cells)
    if wrong.any():
        at = int(wrong.argmax())
        cell = texts(cells)[at].as_py()
        raise text_in_numbers(name, first_row + at, cell, label)
    return values


def _typed(values: np.ndarray, dtype: str) -> np.ndarray:
    kind = np.dtype(NUMPY_TYPES.get(dtype, "float64"))
    if kind.kind in "iu":
        info = np.iinfo(kind)
        top = float(info.max)
        top = top if int(top) <= info.max else float(np.nextafter(top, 0))
        values = np.clip(values, float(info.min), top)
    elif kind.kind == "b":
        values = values > 0.5
    return values.astype(kind)
