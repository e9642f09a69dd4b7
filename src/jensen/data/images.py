"""Arrays in files: IDX (MNIST's format), NPY and NPZ; tables, or stacks of images.

IDX: two zero bytes, one byte for the type (08 uint8, 09 int8, 0B int16, 0C int32, 0D float32,
0E float64), one byte for the number of axes, one big-endian uint32 per axis, then the cells in row
order, big-endian; the whole may be gzipped. NPY: a magic string, a header with type, order and
shape, then the cells; NPZ is a zip of NPY members. The first axis counts the examples.

Nothing is unpickled: an array of Python objects is refused.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from jensen._errors import InputError, nearest
from jensen.data.table import CELLS_PER_BATCH, Source, batch_of, cell_names

if TYPE_CHECKING:
    import pyarrow as pa

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
NPZ_KEYS = ("X", "x", "data", "images")
NPZ_LABELS = ("y", "Y", "label", "labels", "target", "targets")
_DAMAGE = (EOFError, OSError, ValueError, zlib.error, zipfile.BadZipFile, struct.error)


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool = False


@dataclass(frozen=True)
class _Format:
    name: str
    read_header: Callable[[IO[bytes]], _Header]


def array_source(array: np.ndarray, label: str = "array") -> Source:
    """Make a source of an array in memory.

    Args:
        array: `(n, D)` a table, `(n,)` one column, `(n, H, W)` or `(n, H, W, C)` a stack of images.
        label: what messages call it.

    Returns:
        A source with invented column names.

    Raises:
        InputError: the array does not hold numbers, or has no axis or too many.

    Example:
        >>> array_source(np.zeros((5, 2, 2))).names
        ('p0_0', 'p0_1', 'p1_0', 'p1_1')
    """

    def blocks(rows: int) -> Iterator[np.ndarray]:
        return (array[i : i + rows] for i in range(0, len(array), rows))

    return _source(_Header(array.dtype, array.shape), label, blocks)


def npy_source(path: Path, label: str) -> Source:
    """Open an NPY file; rows are read as they are asked for."""
    return _file_source(lambda: open(path, "rb"), NPY, path, label)


def idx_source(path: Path, label: str) -> Source:
    """Open an IDX file, gzipped or not (the bytes decide, not the name)."""

    def open_file() -> IO[bytes]:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return gzip.GzipFile(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]

    return _file_source(open_file, IDX, path, label)


def npz_source(path: Path, label: str, key: str | None = None) -> Source:
    """Open one array of an NPZ file.

    Args:
        path: the file.
        label: what messages call it.
        key: the array; without it the only array with at least two axes is taken, or else `X`,
            `x`, `data` or `images`; labels (`y`, `labels`, `target`) only when asked for.

    Returns:
        A source with invented column names.

    Raises:
        InputError: the file is damaged, or it is not clear which array is meant.
    """
    member = _npz_key(_npz_shapes(path, label), label, key) + ".npy"

    def open_member() -> IO[bytes]:
        with zipfile.ZipFile(path) as archive:
            return archive.open(member)  # keeps the file open until it is closed itself

    return _file_source(open_member, NPY, path, label)


def _npz_shapes(path: Path, label: str) -> dict[str, tuple[int, ...]]:
    shapes = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as member:
                        shapes[name.removesuffix(".npy")] = _npy_header(member).shape
    except _DAMAGE as error:
        raise _damaged(label, "NPZ", error) from error
    if not shapes:
        raise InputError("the NPZ file holds no arrays", label, "save one with numpy.savez")
    return shapes


def _npz_key(shapes: dict[str, tuple[int, ...]], label: str, key: str | None) -> str:
    listing = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if key is not None:
        if key not in shapes:
            hint = nearest(key, shapes)
            raise InputError(f"no array {key!r}{hint}", label, f"choose one of: {listing}")
        return key
    tables = [name for name, shape in shapes.items() if len(shape) >= 2 and name not in NPZ_LABELS]
    usual = [name for name in NPZ_KEYS if name in shapes]
    if len(tables) == 1:
        return tables[0]
    if usual:
        return usual[0]
    if len(shapes) == 1:
        return next(iter(shapes))
    raise InputError(
        "the NPZ file holds several arrays", label, f"pick one as FILE.npz:KEY; it has {listing}"
    )


def _file_source(
    open_file: Callable[[], IO[bytes]], form: _Format, path: Path, label: str
) -> Source:
    def blocks(rows: int) -> Iterator[np.ndarray]:
        try:
            with open_file() as file:
                yield from _read_blocks(file, form.read_header(file), rows)
        except _DAMAGE as error:
            raise _damaged(label, form.name, error) from error

    try:
        with open_file() as file:
            header = form.read_header(file)
    except _DAMAGE as error:
        raise _damaged(label, form.name, error) from error
    return _source(header, label, blocks, path)


def _source(
    header: _Header,
    label: str,
    blocks: Callable[[int], Iterator[np.ndarray]],
    path: Path | None = None,
) -> Source:
    _check(header, label)
    example = header.shape[1:] or (1,)
    names = cell_names(example)

    def stream(rows: int) -> Iterator[pa.RecordBatch]:
        return (batch_of(block, names) for block in blocks(rows))

    return Source(
        label=label,
        names=names,
        stream=stream,
        named=False,
        shape=example if len(example) > 1 else None,
        path=path,
        paths=(path,) if path else (),
        n_rows=header.shape[0],
    )


def _check(header: _Header, label: str) -> None:
    dtype, shape = header.dtype, header.shape
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        held = {"O": "Python objects", "U": "text", "S": "bytes", "c": "complex numbers"}
        what = held.get(dtype.kind, str(dtype))
        raise InputError(
            f"the array holds {what}, not real numbers", label, "convert it to float64"
        )
    if not 1 <= len(shape) <= 4:
        raise InputError(
            f"an array of shape {shape} is neither a table nor a stack of images",
            label,
            "give shape (n, D), (n, H, W) or (n, H, W, C)",
        )
    if math.prod(shape[1:]) > CELLS_PER_BATCH:
        raise InputError(
            f"one example of shape {shape[1:]} has more than {CELLS_PER_BATCH} cells",
            label,
            "the first axis counts the examples; give smaller examples",
        )


def _read_blocks(file: IO[bytes], header: _Header, rows: int) -> Iterator[np.ndarray]:
    n, example = header.shape[0], header.shape[1:]
    if header.fortran:
        yield from _fortran_blocks(file, header, rows)
        return
    size = header.dtype.itemsize * math.prod(example)
    for start in range(0, n, rows):
        count = min(rows, n - start)
        data = _read_exactly(file, count * size)
        yield np.frombuffer(data, header.dtype).reshape(count, *example)
    if file.read(1):
        raise ValueError(f"there are more bytes than its shape {header.shape} needs")


def _fortran_blocks(file: IO[bytes], header: _Header, rows: int) -> Iterator[np.ndarray]:
    if isinstance(file, io.BufferedReader):  # a plain file: map it; a packed one has to be read
        array = np.memmap(file, header.dtype, "r", file.tell(), header.shape, "F")
    else:
        data = _read_exactly(file, header.dtype.itemsize * math.prod(header.shape))
        array = np.frombuffer(data, header.dtype).reshape(header.shape, order="F")
    for start in range(0, len(array), rows):
        yield np.ascontiguousarray(array[start : start + rows])


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("the file ends before its last cell")
    return data


def _idx_header(file: IO[bytes]) -> _Header:
    zero, code, axes = struct.unpack(">HBB", _read_exactly(file, 4))
    if zero or code not in IDX_TYPES or not axes:
        raise ValueError("the first four bytes are not those of an IDX file")
    shape = struct.unpack(f">{axes}I", _read_exactly(file, 4 * axes))
    return _Header(np.dtype(IDX_TYPES[code]), shape)


def _npy_header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"NPY version {version} is for structured arrays")
    return _Header(dtype, shape, fortran and len(shape) > 1)


def _damaged(label: str, form: str, error: BaseException) -> InputError:
    return InputError(
        f"the {form} file cannot be read: {error}",
        label,
        "it is cut short, damaged, or of another format; write or download it again",
    )


NPY = _Format("NPY", _npy_header)
IDX = _Format("IDX", _idx_header)
