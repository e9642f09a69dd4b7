"""CSV and TSV: UTF-8 text, one header line with the column names, one line per row.

A cell is missing where it is empty or reads `NA`, `N/A`, `NaN`, `null` and the like. A column is a
column of numbers where every cell of the first block (4 MiB) that is not missing reads as a number;
all such columns are read as binary64, correctly rounded, so that `1, 2, 3.5` needs no luck. The
first block with a cell counts where a column misses all of the first. When a later cell does not
fit, the file is read once more, only to name the row, the column and the cell.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jensen._errors import InputError
from jensen.data.table import Source, number_or_none

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 4 * 2**20
MISSING = frozenset(
    (
        *("", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "#N/A", "#NA"),
        *("#N/A N/A", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"),
    )
)
_BOOLEANS = frozenset(("true", "false", "0", "1"))


def text_source(path: Path, label: str, delimiter: str = ",") -> Source:
    """Open a CSV or TSV file with a header.

    Args:
        path: the file.
        label: what messages call it.
        delimiter: what separates the cells.

    Returns:
        A source that parses the file block by block.

    Raises:
        InputError: no header, no rows, repeated names, or (while reading) rows of unequal length,
            text in a column of numbers, or bytes that are not UTF-8.
    """
    raw, types = _first_block(path, label, delimiter)
    names = tuple(name.strip() for name in raw)
    _check_header(names, label, delimiter)

    def stream(rows: int) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        try:
            with _open(
                path, delimiter, len(raw) == 1, dict(zip(raw, types, strict=True))
            ) as reader:
                for batch in reader:
                    yield pa.RecordBatch.from_arrays(batch.columns, names=list(names))
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise _fault(path, label, delimiter, names, types, error) from error
        except OSError as error:
            raise InputError(
                f"the file cannot be read: {error}", label, "check that it is still there"
            ) from error

    source = Source(label, names, stream, path=path, paths=(path,), typed=False)
    if next(source.batches(1), None) is None:
        raise _header_only(label)
    return source


def _empty(label: str) -> InputError:
    return InputError("the file is empty", label, "give a file with a header and rows")


def _header_only(label: str) -> InputError:
    return InputError(
        "there is a header but no rows", label, "add rows of data below the first line"
    )


def _open(
    path: Path,
    delimiter: str,
    single: bool,
    types: dict[str, pa.DataType] | None,
    only: Sequence[str] = (),
):
    import pyarrow.csv as pc

    return pc.open_csv(
        path,
        read_options=pc.ReadOptions(block_size=BLOCK_BYTES),
        parse_options=pc.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=not single
        ),
        convert_options=pc.ConvertOptions(
            strings_can_be_null=True,
            null_values=sorted(MISSING),
            column_types=types,
            include_columns=list(only) or None,
        ),
    )


def _first_block(
    path: Path, label: str, delimiter: str
) -> tuple[tuple[str, ...], list[pa.DataType]]:
    """Return the column names as they stand and the type each column is to be read with."""
    import pyarrow as pa

    if not path.stat().st_size:
        raise _empty(label)
    try:
        with _open(path, delimiter, False, None) as reader:
            schema = reader.schema
            names = tuple(schema.names)
        empty = [n for n, kind in zip(names, schema.types, strict=True) if pa.types.is_null(kind)]
        late = _late_types(path, delimiter, len(names) == 1, empty) if empty else {}
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _fault(path, label, delimiter, (), [], error) from error
    kinds = []
    for name, kind in zip(names, schema.types, strict=True):
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            kinds.append(pa.float64())
        else:
            kinds.append(kind if pa.types.is_boolean(kind) else late.get(name, pa.string()))
    return names, kinds


def _late_types(
    path: Path, delimiter: str, single: bool, names: Sequence[str]
) -> dict[str, pa.DataType]:
    """Return the types of columns that miss all of the first block, if a later one has a cell."""
    import pyarrow as pa

    found: dict[str, pa.DataType] = {}
    with _open(path, delimiter, single, dict.fromkeys(names, pa.string()), names) as reader:
        for batch in reader:
            for name, cells in zip(names, batch.columns, strict=True):
                if name not in found and cells.null_count < len(cells):
                    found[name] = _type_of(cells)
            if len(found) == len(names):
                break
    return found


def _type_of(cells: pa.Array) -> pa.DataType:
    """Return the type that all the cells of text can be read with: a number, a boolean, or text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = pc.utf8_trim_whitespace(cells)  # type: ignore[attr-defined]
    for kind in (pa.float64(), pa.bool_()):
        with suppress(pa.ArrowInvalid):
            cells.cast(kind)
            return kind
    return pa.string()


def _check_header(names: tuple[str, ...], label: str, delimiter: str) -> None:
    if len(names) == 1:
        for other, called in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
            if other in names[0] and other != delimiter:
                raise InputError(
                    f"the cells seem to be separated by {called}",
                    label,
                    "write .csv with commas, or .tsv with tabs",
                )
    unnumbered = names != tuple(map(str, range(len(names))))
    if unnumbered and all(number_or_none(name) is not None for name in names):
        raise InputError(
            "there is no header: the first line holds numbers",
            label,
            "put the column names on the first line",
        )
    if "" in names:
        raise InputError(
            f"column {names.index('') + 1} has no name",
            label,
            "name it, or leave it out (pandas: to_csv(..., index=False))",
        )


def _fault(
    path: Path,
    label: str,
    delimiter: str,
    names: tuple[str, ...],
    types: list[pa.DataType],
    error: Exception,
) -> InputError:
    """Find the first cell or row of the file that does not fit, and say so."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter=delimiter)
            width = len(next((cells for cells in lines if cells), []))
            if not width:
                return _empty(label)
            found = _first_misfit(lines, label, width, names, types)
    except UnicodeDecodeError:
        return InputError("the file is not UTF-8 text", label, "save it as UTF-8")
    except csv.Error as bad:
        return InputError(f"the file cannot be read as text: {bad}", label, "write it again as CSV")
    return found or InputError(
        f"the file cannot be read as CSV: {error}", label, "write it again as CSV"
    )


def _first_misfit(
    lines: Iterator[list[str]],
    label: str,
    width: int,
    names: tuple[str, ...],
    types: list[pa.DataType],
) -> InputError | None:
    import pyarrow.types as t

    row = 0
    for cells in lines:
        if not cells and width != 1:
            continue
        row += 1
        if cells and len(cells) != width:
            return InputError(
                f"row {row} has {len(cells)} cells where the header has {width}",
                label,
                "give every row as many cells as the header",
            )
        for name, kind, cell in zip(names, types, cells, strict=False):
            if cell in MISSING or t.is_string(kind):
                continue
            if t.is_boolean(kind) and cell.strip().lower() not in _BOOLEANS:
                return text_in_numbers(name, row, cell, label, "true or false")
            if t.is_floating(kind) and number_or_none(cell) is None:
                return text_in_numbers(name, row, cell, label)
    return None if row else _header_only(label)


def text_in_numbers(
    name: str, row: int, cell: str, label: str, expected: str = "numbers"
) -> InputError:
    """Say that a column of numbers holds a cell of text."""
    return InputError(
        f"text {cell[:40]!r} in column {name!r}, which holds {expected}",
        f"row {row} of {label}",
        "correct or remove that row; leave out the column if it is not meant to be a number",
    )
