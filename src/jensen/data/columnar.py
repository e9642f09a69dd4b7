"""Typed tables: Parquet files, Arrow files and streams, and frames in memory.

Parquet is read page by page and Arrow files are memory-mapped, so that a file of any length takes
the memory of one batch. An object in memory is taken through the Arrow C stream interface
(`__arrow_c_stream__`: pyarrow, polars, pandas, duckdb, …). The index of a pandas frame is not a
column: neither in memory nor where `to_parquet` stored it as `__index_level_0__`. A pandas column
of floats with missing cells whose other cells are all whole is one of whole numbers: pandas itself
turns integers into floats as soon as a cell is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jensen._errors import InputError
from jensen.data.images import array_source
from jensen.data.table import Source, cell_names, number_or_none
from jensen.data.text import text_in_numbers

if TYPE_CHECKING:
    import pyarrow as pa

_INDEX = re.compile(r"__index_level_\d+__")
_READ_BYTES = 2**20


def parquet_source(path: Path, label: str) -> Source:
    """Open a Parquet file; rows are decoded as they are asked for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def open_file() -> pq.ParquetFile:
        return pq.ParquetFile(path, buffer_size=_READ_BYTES, page_checksum_verification=True)

    def stream(rows: int) -> Iterator[pa.RecordBatch]:
        try:
            with open_file() as file:
                for batch in file.iter_batches(batch_size=rows, columns=list(names)):
                    batch.validate(full=True)
                    yield batch
        except (pa.ArrowException, OSError) as error:
            raise _damaged(label, "Parquet", error) from error

    try:
        with open_file() as file:
            names = _columns(file.schema_arrow.names)
            n_rows = file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _damaged(label, "Parquet", error) from error
    return Source(label, names, stream, path=path, paths=(path,), n_rows=n_rows)


def arrow_source(path: Path, label: str) -> Source:
    """Open an Arrow IPC file (also called Feather) or stream."""
    import pyarrow as pa

    def stream(rows: int) -> Iterator[pa.RecordBatch]:
        del rows  # the batches are as they were written; Source cuts them
        try:
            for batch in _ipc_batches(path):
                batch.validate(full=True)  # Arrow itself would follow damaged offsets anywhere
                yield batch.select(list(names))
        except (pa.ArrowException, OSError) as error:
            raise _damaged(label, "Arrow", error) from error

    try:
        with pa.memory_map(str(path)) as file:
            names = _columns(_ipc_reader(file).schema.names)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(label, "Arrow", error) from error
    source = Source(label, names, stream, path=path, paths=(path,))
    return _not_empty(source)


def _ipc_reader(file: pa.NativeFile) -> Any:
    import pyarrow as pa

    if file.read(6) == b"ARROW1":
        return pa.ipc.open_file(file)
    file.seek(0)
    return pa.ipc.open_stream(file)


def _ipc_batches(path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        reader = _ipc_reader(file)
        if isinstance(reader, pa.RecordBatchFileReader):
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)
        else:
            yield from reader


def frame_source(data: Any) -> Source:
    """Take a table in memory: pandas, polars, pyarrow, or any object with `__arrow_c_stream__`.

    Args:
        data: the object. A one-shot stream (`pyarrow.RecordBatchReader`) can be read only once.

    Returns:
        A source over the object, without a copy where Arrow needs none.

    Raises:
        InputError: a column mixes text and numbers, or the stream was read before.
    """
    import pyarrow as pa

    if type(data).__module__.split(".")[0] == "pandas":
        return _pandas_source(data)
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return _table_source(data, "table", named=True)
    label = type(data).__name__
    if isinstance(data, pa.RecordBatchReader):
        schema, opened = data.schema, _once(data, label)
    else:
        schema = pa.RecordBatchReader.from_stream(data).schema
        opened = lambda: pa.RecordBatchReader.from_stream(data)  # noqa: E731

    def stream(rows: int) -> Iterator[pa.RecordBatch]:
        del rows
        try:
            yield from opened()
        except pa.ArrowException as error:
            raise _damaged(label, "Arrow", error) from error

    return Source(label, tuple(schema.names), stream)


def _once(reader: pa.RecordBatchReader, label: str) -> Callable[[], pa.RecordBatchReader]:
    unread = [reader]

    def opened() -> pa.RecordBatchReader:
        if not unread:
            raise InputError(
                "the stream has been read already", label, "give a table, or open the stream anew"
            )
        return unread.pop()

    return opened


def _pandas_source(frame: Any) -> Source:
    import pyarrow as pa

    frame = frame.to_frame() if hasattr(frame, "to_frame") else frame
    named = type(frame.columns).__name__ != "RangeIndex"
    if not len(frame.columns):
        return array_source(frame.to_numpy().reshape(len(frame), 0), "DataFrame")
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _mixed_column(frame, error) from error
    for i, dtype in enumerate(frame.dtypes):
        if dtype == "float64" and 0 < table.column(i).null_count < len(table):
            table = table.set_column(i, table.field(i).name, _whole_again(table.column(i)))
    return _table_source(table, "DataFrame", named)


def _whole_again(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of floats as int64, if all of its cells are whole numbers below 2⁵³."""
    import pyarrow as pa
    import pyarrow.compute as pc

    large = pc.max(pc.abs(cells)).as_py() >= 2.0**53  # type: ignore[attr-defined]
    if large or not pc.all(pc.equal(cells, pc.round(cells))).as_py():  # type: ignore[attr-defined]
        return cells
    return cells.cast(pa.int64())


def _mixed_column(frame: Any, error: Exception) -> InputError:
    """Find the first cell of text in a pandas column of objects that holds numbers as well."""
    for name in frame.columns:
        cells = frame[name].tolist()
        wrong = [isinstance(c, str) and number_or_none(c) is None for c in cells]
        if any(wrong):
            row = wrong.index(True)
            return text_in_numbers(str(name), row + 1, cells[row], "DataFrame")
    return InputError(
        f"the frame cannot be read: {error}", "DataFrame", "give each column one type"
    )


def _table_source(table: pa.Table, label: str, named: bool) -> Source:
    names = tuple(table.column_names) if named else cell_names((table.num_columns,))
    table = table.rename_columns(list(names))
    return Source(
        label,
        names,
        lambda rows: iter(table.to_batches(max_chunksize=rows)),
        named=named,
        n_rows=table.num_rows,
    )


def _columns(names: list[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not _INDEX.fullmatch(name))


def _not_empty(source: Source) -> Source:
    if next(source.batches(1), None) is None:
        raise InputError("there are no rows", source.label, "give at least one row of data")
    return source


def _damaged(label: str, form: str, error: BaseException) -> InputError:
    return InputError(
        f"the {form} file cannot be read: {error}",
        label,
        "it is cut short, damaged, or of another format; write or download it again",
    )
