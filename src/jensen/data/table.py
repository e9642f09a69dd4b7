"""A source of rows, and the column arithmetic shared by every format.

A table is a sequence of rows with named columns. It is read as a stream of Arrow record batches, so
that memory is bounded by one batch whatever the length of the file; a source can be read again from
the start. An image stack of shape `(n, H, W)` is a table of `H * W` columns with an example shape.

Every cell becomes one binary64 number: integers, booleans and decimals by the nearest double,
binary16 and binary32 exactly, decimal text by the nearest double. The number therefore depends on
the cell alone, not on the format that carried it. A missing cell is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen._errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

CELLS_PER_BATCH = 2**23
_UNNAMED = {b"jensen.names": b"invented"}


@dataclass(frozen=True)
class Source:
    """Rows that can be read from the start as often as wanted, one bounded batch at a time.

    Args:
        label: what messages call it: a path, a built-in name, or `array` and the like.
        names: the columns.
        named: False where the names were invented because the data has none.
        shape: the shape of one example where it is an image, such as `(28, 28)`; else None.
        path: the file or folder it came from, if any.
        paths: every file that is read, for the check that an output does not overwrite an input.
        n_rows: the number of rows where it is known without reading, else None.
        typed: False where the format has no number types (CSV), so that 1 and 1.0 are the same.
        stream: opens the rows anew, in batches of at most the given number of rows.
    """

    label: str
    names: tuple[str, ...]
    stream: Callable[[int], Iterator[pa.RecordBatch]] = field(repr=False)
    named: bool = True
    shape: tuple[int, ...] | None = None
    path: Path | None = None
    paths: tuple[Path, ...] = ()
    n_rows: int | None = None
    typed: bool = True

    def __post_init__(self) -> None:
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})[:3]
        if repeated:
            raise InputError(
                f"the column name {', '.join(map(repr, repeated))} occurs more than once",
                self.label,
                "give every column its own name",
            )
        if not self.names:
            raise InputError("there are no columns", self.label, "give at least one column")
        if self.n_rows == 0:
            raise InputError("there are no rows", self.label, "give at least one row of data")

    def batches(self, rows: int = 65536) -> Iterator[pa.RecordBatch]:
        """Read the rows from the start.

        Args:
            rows: the largest number of rows in one batch; a wide table gets fewer, so that a batch
                never holds more than 2²³ cells.

        Returns:
            An iterator over record batches whose columns are `names`, in this order.

        Raises:
            InputError: the file is damaged, or holds text in a column of numbers.
        """
        limit = max(1, min(rows, CELLS_PER_BATCH // len(self.names)))
        metadata = None if self.named else _UNNAMED
        for batch in self.stream(limit):
            for start in range(0, batch.num_rows, limit):
                yield batch.slice(start, limit).replace_schema_metadata(metadata)


def is_named(batch: pa.RecordBatch) -> bool:
    """Say whether the columns of a batch carry names of their own."""
    return (batch.schema.metadata or {}).get(b"jensen.names") != b"invented"


def cell_names(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Name the cells of one example: `x0, x1, …` of a vector, `p{row}_{column}` of an image.

    Example:
        >>> cell_names((2,)), cell_names((1, 2))
        (('x0', 'x1'), ('p0_0', 'p0_1'))
    """
    if len(shape) == 1:
        return tuple(f"x{i}" for i in range(shape[0]))
    return tuple("p" + "_".join(map(str, index)) for index in np.ndindex(*shape))


def batch_of(block: np.ndarray, names: tuple[str, ...]) -> pa.RecordBatch:
    """Make a record batch of a numeric block whose trailing axes are flattened into columns."""
    import pyarrow as pa

    flat = block.reshape(len(block), -1)
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    columns = [pa.array(np.ascontiguousarray(flat[:, j])) for j in range(flat.shape[1])]
    return pa.RecordBatch.from_arrays(columns, names=list(names))


def is_text(kind: pa.DataType) -> bool:
    """Say whether a column of this type holds labels: text, or a dictionary of anything."""
    import pyarrow.types as t

    return (
        t.is_string(kind)
        or t.is_large_string(kind)
        or t.is_string_view(kind)
        or (t.is_dictionary(kind))
    )


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column of this type holds numbers (booleans are the numbers 0 and 1)."""
    import pyarrow.types as t

    return (
        t.is_integer(kind)
        or t.is_floating(kind)
        or t.is_boolean(kind)
        or t.is_decimal(kind)
        or t.is_null(kind)
    )


def numbers(column: pa.Array) -> np.ndarray:
    """Turn a column of numbers into float64, with NaN where a cell is missing."""
    import pyarrow as pa

    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def texts(column: pa.Array) -> pa.Array:
    """Turn any column into text, so that the whole number 3 reads `3` whatever its type."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        coded: Any = column
        return texts(coded.dictionary).take(coded.indices)
    if pa.types.is_floating(column.type):
        values = numbers(column)
        seen = values[np.isfinite(values)]
        if np.all((seen == np.rint(seen)) & (np.abs(seen) < 2**53)):
            column = pa.array(values, from_pandas=True).cast(pa.int64(), safe=False)
        elif np.isnan(values).any():  # missing, not the text "nan"
            column = pa.array(column.cast(pa.string()).to_numpy(False), mask=np.isnan(values))
    return column.cast(pa.string())


def parsed(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Read a column of text as numbers.

    Returns:
        The numbers (NaN where missing or not a number) and a mask of the cells that hold text which
        is not a number, both of shape `(n,)`.
    """
    import pyarrow.compute as pc

    coded = texts(column).dictionary_encode()
    levels = [number_or_none(text) for text in coded.dictionary.to_pylist()]
    table = np.array([np.nan if v is None else v for v in levels] + [np.nan])
    wrong = np.array([v is None for v in levels] + [False])
    codes = pc.fill_null(coded.indices, len(levels)).to_numpy(zero_copy_only=False)
    return table[codes], wrong[codes]


def number_or_none(text: str) -> float | None:
    """Read one cell of text as a number; None where it is none.

    Example:
        >>> number_or_none(" 2.5 "), number_or_none("n/a?"), number_or_none("1_000")
        (2.5, None, None)
    """
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
