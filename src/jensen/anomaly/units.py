r"""Which columns lie apart from the training data, when most rows of a table are flagged.

    apart_d = (median_d of the table - median_d of normal rows)/s_d

with s_d the training standard deviation. A table in other units has all its rows flagged, and its
medians say why. Medians of a stream are those of rows evenly thinned to `ROWS` at most: which rows
stay is a function of their numbers, not of the blocks they came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

ROWS = 4096
"""Rows kept at most."""

LEAST = 20
"""Rows below which nothing is said of the share of flagged ones."""

_SHOWN = 3


class Thinned:
    """Rows of a stream, evenly thinned.

    Example:
        >>> thinned = Thinned()
        >>> sum(len(block) for block in thinned.watch([np.ones((5000, 1)), np.ones((1, 1))]))
        5001
        >>> len(thinned.rows)
        2501
    """

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._kept, self._seen, self._stride = 0, 0, 1

    @property
    def rows(self) -> np.ndarray:
        """The rows kept, `(m, columns)`, m ≤ `ROWS`."""
        return np.concatenate(self._blocks) if self._blocks else np.zeros((0, 0))

    def watch(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the blocks `(n, columns)` as they are, and keep some of their rows."""
        for block in blocks:
            first = -self._seen % self._stride
            self._blocks.append(np.array(block[first :: self._stride]))
            self._seen += len(block)
            self._kept += len(self._blocks[-1])
            while self._kept > ROWS:
                self._blocks = [self.rows[::2]]
                self._kept, self._stride = len(self._blocks[0]), 2 * self._stride
            yield block


def most(flagged: int, n: int) -> bool:
    """Return whether more than half of at least `LEAST` rows are flagged."""
    return n >= LEAST and 2 * flagged > n


def units_note(
    flagged: int,
    n: int,
    rows: np.ndarray,
    normal: np.ndarray,
    scale: np.ndarray,
    names: Sequence[str],
) -> str:
    """Return a remark on a table of which `most` rows are flagged.

    Args:
        flagged: how many rows are.
        n: of how many.
        rows: `(m, D)` numeric cells of the table; NaN where one is missing.
        normal: `(k, D)` numeric cells of normal rows.
        scale: `(D,)` training standard deviations.
        names: of the D columns.

    Example:
        >>> rows = np.full((20, 1), 1000.0)
        >>> units_note(20, 20, rows, np.ones((5, 1)), np.ones(1), ["a"])
        "20 of 20 rows are flagged: are they in the units of the training data? medians farthest \
from it: 'a' 1000, in training 1 (999 standard deviations apart)"
    """
    begin = f"{flagged:,} of {n:,} rows are flagged: are they in the units of the training data?"
    here, there = _medians(rows), _medians(normal)
    apart = np.nan_to_num(np.abs(here - there) / scale, nan=0.0)
    order = [int(d) for d in np.argsort(-apart, kind="stable")[:_SHOWN] if apart[d] >= 1.0]
    if not order:
        return (
            f"{begin} no column's median lies a standard deviation from that of the training data, "
            "so that it is not the units of single columns"
        )
    told = ", ".join(
        f"{names[d]!r} {here[d]:.6g}, in training {there[d]:.6g} "
        f"({apart[d]:.3g} standard deviations apart)"
        for d in order
    )
    return f"{begin} medians farthest from it: {told}"


def _medians(rows: np.ndarray) -> np.ndarray:
    """Return the median `(D,)` of the cells that are there; NaN where there are none."""
    gaps = np.isnan(rows).all(axis=0)
    filled = np.where(gaps, 0.0, rows)
    return np.where(gaps, np.nan, np.nanmedian(filled, axis=0))
