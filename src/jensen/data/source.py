"""Open whatever holds rows: a path, a folder or glob, a built-in name, an object in memory.

The reader is chosen by the ending: `.csv .tsv .parquet .arrow .feather .npy .npz .idx[.gz]
-ubyte[.gz]`. A file that exists wins over a built-in set of the same name. A folder or glob is read
as one table, its files in the order of their names, and every file must have the same columns.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen._errors import InputError, nearest
from jensen.data.builtin import BUILTIN, builtin_source
from jensen.data.columnar import arrow_source, frame_source, parquet_source
from jensen.data.images import array_source, idx_source, npy_source, npz_source
from jensen.data.table import Source
from jensen.data.text import text_source

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ENDINGS", "Source", "open_table"]

_READERS: dict[str, Callable[[Path, str], Source]] = {
    ".csv": text_source,
    ".tsv": lambda path, label: text_source(path, label, "\t"),
    ".parquet": parquet_source,
    ".arrow": arrow_source,
    ".feather": arrow_source,
    ".npy": npy_source,
    ".npz": npz_source,
    ".idx": idx_source,
    ".idx.gz": idx_source,
    "-ubyte": idx_source,
    "-ubyte.gz": idx_source,
}
ENDINGS = tuple(_READERS)
"""The endings of the files that can be read."""


def open_table(data: Any, *, part: str | None = None) -> Source:
    """Open data for reading; nothing but the header is read yet.

    Args:
        data: a path, folder or glob; `FILE.npz:KEY`; a built-in name or `NAME:PART`; a numpy array
            `(n, D)`, `(n, H, W)` or `(n, H, W, C)`; a pandas or polars frame, a pyarrow table or
            reader, or any object with `__arrow_c_stream__`.
        part: the part of a built-in set, or the key of an NPZ file.

    Returns:
        A source of rows that can be read again and again.

    Raises:
        InputError: the data is missing, empty, damaged, or of an unknown kind.

    Example:
        >>> open_table("iris", part="train").n_rows
        105
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, str | os.PathLike):
        return _named_source(os.fspath(data), part)
    if part is not None:
        raise InputError(
            f"an object in memory has no part {part!r}", "", "select the rows yourself"
        )
    if isinstance(data, np.ndarray):
        return array_source(data)
    if hasattr(data, "__arrow_c_stream__") or type(data).__module__.startswith("pyarrow"):
        return frame_source(data)
    if hasattr(data, "__array__"):
        return array_source(np.asarray(data))
    raise InputError(
        f"cannot read rows from an object of type {type(data).__name__}",
        "",
        "give a path, a built-in name, a numpy array, or a pandas, polars or Arrow table",
    )


def _named_source(text: str, part: str | None) -> Source:
    path = Path(text)
    if path.is_dir():
        return _many(sorted(_readable(path)), text, path, part)
    if path.exists():
        return _file(path, text, part)
    head, _, tail = text.rpartition(":")
    if head.endswith(".npz"):
        return _named_source(head, part or tail)
    if glob.has_magic(text):
        return _many(sorted(map(Path, glob.glob(text, recursive=True))), text, path.parent, part)
    name, _, after = text.partition(":")
    if name in BUILTIN:
        return builtin_source(name, part or after or None)
    raise _missing(text, path)


def _missing(text: str, path: Path) -> InputError:
    folder = path.parent
    if not _reader(path) and folder == Path("."):
        hint = nearest(text.partition(":")[0], BUILTIN)
        return InputError(
            f"no file and no built-in data set {text!r}{hint}",
            "",
            f"give a path, or one of: {', '.join(BUILTIN)}",
        )
    if not folder.is_dir():
        return InputError("the file does not exist", text, f"there is no folder {str(folder)!r}")
    near = nearest(path.name, [p.name for p in folder.iterdir()])
    return InputError(f"the file does not exist{near}", text, "check the path")


def _reader(path: Path) -> Callable[..., Source] | None:
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if path.name.lower().endswith(ending):
            return _READERS[ending]
    return None


def _readable(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_file() and p.name[0] not in "._" and _reader(p)]


def _file(path: Path, label: str, part: str | None = None) -> Source:
    reader = _reader(path)
    if reader is None:
        raise InputError(
            f"cannot tell the format from the name {path.name!r}",
            label,
            f"use one of the endings {' '.join(ENDINGS)}",
        )
    if part is not None and reader is not npz_source:
        raise InputError(
            f"a file has no part {part!r}", label, "parts are for built-in sets and NPZ"
        )
    try:
        return npz_source(path, label, part) if reader is npz_source else reader(path, label)
    except PermissionError as error:
        raise InputError("the file may not be read", label, "change its permissions") from error


def _many(paths: list[Path], label: str, folder: Path, part: str | None) -> Source:
    """Read several files as one table."""
    if not paths:
        raise InputError(
            "there are no files to read", label, f"use one of the endings {' '.join(ENDINGS)}"
        )
    sources = [_file(path, str(path), part) for path in paths]
    first = sources[0]
    for other in sources[1:]:
        _check_same_columns(first, other)

    def stream(rows: int) -> Iterator[pa.RecordBatch]:
        for source in sources:
            for batch in source.stream(rows):
                same = set(source.names) == set(first.names)
                yield batch.select(list(first.names)) if same else _renamed(batch, first.names)

    counts = [source.n_rows for source in sources]
    return Source(
        label,
        first.names,
        stream,
        named=first.named,
        shape=first.shape,
        path=folder,
        paths=tuple(paths),
        n_rows=None if None in counts else sum(c for c in counts if c is not None),
        typed=all(source.typed for source in sources),
    )


def _renamed(batch: pa.RecordBatch, names: tuple[str, ...]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays(batch.columns, names=list(names))


def _check_same_columns(first: Source, other: Source) -> None:
    by_name = first.named and other.named
    same = set(first.names) == set(other.names) if by_name else first.shape == other.shape
    if same and len(first.names) == len(other.names):
        return
    if first.shape and other.shape and first.shape != other.shape:
        sizes = [" × ".join(map(str, source.shape or ())) for source in (first, other)]
        raise InputError(
            f"images of two sizes: {sizes[0]} in {first.label}, {sizes[1]} here",
            other.label,
            "give images of one size",
        )
    odd = sorted(set(first.names) ^ set(other.names))[:3] if by_name else []
    which = f" ({', '.join(map(repr, odd))})" if odd else ""
    raise InputError(
        f"the columns are not those of {first.label}{which}",
        other.label,
        "give files with the same columns",
    )
