"""Tables to files, whole or not at all.

Rows are streamed into a temporary file in the folder of the output, which is flushed to the disk
and then renamed over the output in one step; after any failure it is removed, and an older output
stands as it was. CSV holds every float in the shortest decimal form that reads back as the same
number, and `-inf`, `inf`, `nan`; Parquet holds the columns in their own types; NPY one float64
array of shape `(n, columns)`. A masked cell is an empty cell of CSV, a null of Parquet, NaN in NPY.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from jensen._errors import InputError, nearest

OUTPUT_ENDINGS = (".csv", ".parquet", ".npy")


def check_output(path: str | os.PathLike[str], inputs: Iterable[Path] = ()) -> Path:
    """Check, before any work is done, that a table can be written.

    Args:
        path: where the table is to go.
        inputs: the files that are read; none of them may be overwritten.

    Returns:
        The path.

    Raises:
        InputError: the ending is unknown, the folder is missing or may not be written to, the path
            is a folder, or it is one of the inputs.

    Example:
        >>> check_output("scores.csv").name
        'scores.csv'
    """
    path = Path(path)
    if path.is_dir():
        raise InputError("the output is a folder", str(path), "name a file in it")
    if path.suffix.lower() not in OUTPUT_ENDINGS:
        raise InputError(
            f"cannot write a table to a name ending {path.suffix!r}"
            f"{nearest(path.suffix, OUTPUT_ENDINGS)}",
            str(path),
            f"use one of the endings {' '.join(OUTPUT_ENDINGS)}",
        )
    if not path.parent.is_dir():
        raise InputError("the folder does not exist", str(path.parent), "make it first")
    locked = path.exists() and not os.access(path, os.W_OK)
    if locked or not os.access(path.parent, os.W_OK):
        raise InputError(
            "the output may not be written", str(path), "choose another place or its permissions"
        )
    for other in inputs:
        if path.resolve() == Path(other).resolve() or _same_file(path, Path(other)):
            raise InputError("the output is also the input", str(path), "write to another file")
    return path


def _same_file(a: Path, b: Path) -> bool:
    return a.exists() and b.exists() and a.samefile(b)


class TableWriter:
    """Writes columns block by block; the file appears when the `with` block ends without an error.

    Args:
        path: the output, ending in `.csv`, `.parquet` or `.npy`.

    Raises:
        InputError: see `check_output`; or the disk is full, the columns change between blocks,
            text goes into NPY, or nothing was written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with TableWriter(Path(folder, "a.csv")) as writer:
        ...         writer.write({"x": np.array([0.1, -np.inf])})
        ...     print(Path(folder, "a.csv").read_text().split())
        ['x', '0.1', '-inf']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_output(path)
        self._stack = ExitStack()
        self._sink: _Sink | None = None
        self._names: tuple[str, ...] = ()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> TableWriter:
        self._file = self._stack.enter_context(replacing(self.path))
        return self

    def write(self, columns: dict[str, np.ndarray]) -> None:
        """Add rows.

        Args:
            columns: arrays of shape `(n,)` by name, masked where cells are missing; names and order
                are those of the first block.

        Raises:
            InputError: the columns are not those of the first block, or writing failed.
        """
        if self._file is None:
            raise InputError("the table is not open", str(self.path), "use it in a `with` block")
        names = tuple(columns)
        with _explained(self.path):
            if self._sink is None:
                self._names = names
                sink = _ArraySink if self.path.suffix.lower() == ".npy" else _ArrowSink
                self._sink = sink(self._file, columns, self.path)
            if names != self._names:
                raise InputError(
                    "the columns changed between blocks", str(self.path), f"keep to {self._names}"
                )
            self._sink.write(columns)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file = None
        if self._sink is not None and error is not None:
            self._sink.abandon()
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if self._sink is None:
                raise InputError("no rows were written", str(self.path), "write at least one block")
            with _explained(self.path):
                self._sink.close()


def output_folder(out: Path) -> None:
    """Make a folder where it is missing.

    Raises:
        InputError: if it is a file, or cannot be made.
    """
    if out.exists() and not out.is_dir():
        raise InputError("the output folder is a file", str(out), "choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the output folder ({error.strerror})", str(out), "choose another --out"
        ) from error


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    with replacing(Path(path)) as file, _explained(Path(path)):
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, text.encode())


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of `path` when the block ends without an error.

    Args:
        path: the file to make or replace; a link is followed.

    Returns:
        A binary file open for writing, to be used in a `with` block.

    Raises:
        InputError: the file cannot be written.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    with _explained(path):
        file = open(temporary, "xb")  # noqa: SIM115
    try:
        yield file
        with _explained(path):
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):  # the error on its way says more than one from closing
            file.close()
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an operating system's error into one that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        mend = "free some space" if error.errno == errno.ENOSPC else "choose another place"
        raise InputError(f"could not write: {reason}", str(path), mend) from error


class _ArrowSink:
    """Writes CSV or Parquet through Arrow."""

    def __init__(self, file: IO[bytes], columns: dict[str, np.ndarray], path: Path) -> None:
        import pyarrow.csv as pc
        import pyarrow.parquet as pq

        self._schema = self._table(columns).schema
        if path.suffix.lower() == ".csv":
            header = io.StringIO(newline="")
            csv.writer(header, lineterminator="\n").writerow(columns)
            file.write(header.getvalue().encode())
            options = pc.WriteOptions(include_header=False)
            self._writer = pc.CSVWriter(file, self._schema, write_options=options)
        else:
            self._writer = pq.ParquetWriter(file, self._schema)

    @staticmethod
    def _table(columns: dict[str, np.ndarray]) -> Any:
        import pyarrow as pa

        return pa.table(
            {
                name: pa.array(np.ma.getdata(c), mask=np.ma.getmaskarray(c))
                if isinstance(c, np.ma.MaskedArray)
                else pa.array(np.asarray(c))
                for name, c in columns.items()
            }
        )

    def write(self, columns: dict[str, np.ndarray]) -> None:
        self._writer.write_table(self._table(columns).cast(self._schema))

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        with suppress(OSError):  # the error on its way says more than one from closing
            self._writer.close()


class _ArraySink:
    """Writes NPY: room for the header first, the rows, then the header with their number."""

    def __init__(self, file: IO[bytes], columns: dict[str, np.ndarray], path: Path) -> None:
        texts = [name for name, c in columns.items() if np.asarray(c).dtype.kind not in "biuf"]
        if texts:
            raise InputError(
                f"NPY cannot hold the text column {texts[0]!r}", str(path), "write .csv or .parquet"
            )
        self._file, self._rows, self._width = file, 0, len(columns)
        self._write_header()

    def _write_header(self) -> None:
        np.lib.format.write_array_header_1_0(
            self._file,
            {"descr": "<f8", "fortran_order": False, "shape": (self._rows, self._width)},
        )

    def write(self, columns: dict[str, np.ndarray]) -> None:
        block = np.column_stack([_floats(c) for c in columns.values()])
        self._file.write(block.astype("<f8", copy=False).tobytes())
        self._rows += len(block)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()  # numpy pads it, so that a longer number of rows fits

    def abandon(self) -> None:
        """Do nothing: the file is closed and removed by its owner."""


def _floats(cells: np.ndarray) -> np.ndarray:
    """Return the cells as float64, NaN where one is masked."""
    if isinstance(cells, np.ma.MaskedArray):
        return np.ma.filled(cells.astype(np.float64), np.nan)
    return np.asarray(cells, np.float64)


_Sink = _ArrowSink | _ArraySink
