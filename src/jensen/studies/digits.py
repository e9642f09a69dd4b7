r"""Handwritten digits for the studies: from a data folder where it has them, else embedded ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jensen.data.source import open_table
from jensen.data.table import numbers


def idx_folder(data: Path | None, name: str, parts: tuple[str, ...]) -> Path | None:
    """Return the folder with the IDX files of images, or None.

    Args:
        data: the folder that was given, or None.
        name: of the folder in it that is tried first.
        parts: of the set, such as `train` and `t10k`; all must be there.
    """
    for folder in () if data is None else (data / name, data):
        if all(idx_file(folder, part).exists() for part in parts):
            return folder
    return None


def idx_file(folder: Path, part: str) -> Path:
    """Return the file of images of a part, packed where it is there so."""
    packed = folder / f"{part}-images-idx3-ubyte.gz"
    return packed if packed.exists() else packed.with_suffix("")


def image_rows(data: Path | str, wanted: int | None = None) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the first rows `(n, D)` of a stack of images, float32, and the images' shape."""
    source = open_table(data)
    blocks, n = [], 0
    for batch in source.batches(wanted or 65536):
        blocks.append(np.stack([numbers(column) for column in batch.columns], axis=1))
        n += len(blocks[-1])
        if wanted is not None and n >= wanted:
            break
    height, width = (source.shape or (1, 1))[:2]
    return np.concatenate(blocks)[:wanted].astype(np.float32), (height, width)


def absent(data: Path | None, what: str) -> str:
    """Return why full-size data is not used, in words."""
    where = "no --data folder was given" if data is None else f"none in {data}"
    return f"{what} is absent ({where})"
