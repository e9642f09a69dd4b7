r"""Normal rows that others are set beside: which is nearest, and what values are normal.

The reference of a row x minimises, over the rows b of B without the tenth that scores lowest,

    Σ_d t_d / (1 + t_d),    t_d = |x_d - b_d| / scale_d,

with the interquartile range of B over 1.349 as the scale, its standard deviation where that is 0.
Categories, constants and missing cells count 0 where they agree and 1 where not. A column counts
at most 1, so that a wild cell does not choose the reference. Codes of categories are never
compared but for equality; the first of equally near rows is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.anomaly.changes import Scorer, candidates, numeric
from jensen.data.schema import Column

_DISTANCES = 1 << 18  # kept at once
_LOWEST = 0.1  # the share of B, lowest scores first, that no reference is taken from


@dataclass(frozen=True)
class Background:
    """Normal rows that others are set beside.

    Args:
        columns: what the `D` columns hold.
        rows: `(n, D)` encoded normal rows that references are taken from.
        score: `(n,)` their scores.
        scale: `(D,)` the unit of each column; 0 where only equality counts.
        values: per column, the values that are tried to make a row normal.
    """

    columns: tuple[Column, ...]
    rows: np.ndarray
    score: np.ndarray
    scale: np.ndarray
    values: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls, score: Scorer, rows: ArrayLike, columns: Sequence[Column] | None = None
    ) -> Background:
        """Return the background of normal rows.

        Args:
            score: encoded rows `(m, D)` → scores `(m,)`.
            rows: `(n, D)` encoded normal rows.
            columns: what the columns hold; numbers without names if None.

        Raises:
            InputError: without rows, for columns that do not fit, or where all rows are impossible.
        """
        table = np.asarray(rows, np.float64)
        if table.ndim != 2 or 0 in table.shape:
            raise InputError(
                f"an explanation needs normal rows, got an array of shape {table.shape}",
                "background",
                "give encoded rows of shape (n, columns), n ≥ 1",
            )
        if columns is None:
            columns = [Column(f"column {d + 1}", "continuous") for d in range(table.shape[1])]
        if len(columns) != table.shape[1]:
            raise InputError(
                f"{len(columns)} columns are described, the background has {table.shape[1]}",
                "columns",
                "give one description for each column",
            )
        scores = scored(score, table)
        kept = np.isfinite(scores)
        if not kept.any():
            raise InputError(
                "all normal rows have score -inf", "background", "give rows the model allows"
            )
        kept &= scores >= np.quantile(scores[kept], _LOWEST, method="lower")
        table, scores = table[kept], scores[kept]
        return cls(
            tuple(columns),
            table,
            scores,
            np.array([_scale(c, table[:, d]) for d, c in enumerate(columns)]),
            tuple(candidates(c, table[:, d]) for d, c in enumerate(columns)),
        )

    def nearest(self, rows: np.ndarray) -> np.ndarray:
        """Return which of the normal rows is the reference of each row, `(m,)`."""
        found = np.empty(len(rows), int)
        size = max(1, _DISTANCES // len(self.rows))
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            distance = np.zeros((len(block), len(self.rows)))
            for d, scale in enumerate(self.scale):
                distance += _apart(block[:, d, None], self.rows[:, d], scale)
            found[start : start + size] = distance.argmin(axis=1)
        return found


def scored(score: Scorer, rows: np.ndarray) -> np.ndarray:
    """Return the scores of rows as float64, `(m,)`.

    Raises:
        InputError: for a score that gives NaN or +inf, or not one number a row.
    """
    scores = np.asarray(score(rows), np.float64)
    if scores.shape != (len(rows),) or np.isnan(scores).any() or np.isposinf(scores).any():
        raise InputError(
            f"a score of {len(rows)} rows must be as many numbers, NaN and +inf excluded, got "
            f"shape {scores.shape}",
            "score",
            "give a function of encoded rows (m, D) that returns (m,)",
        )
    return scores


def _scale(column: Column, values: np.ndarray) -> float:
    """Return the unit of a column's distances; 0 where only equality counts."""
    there = values[~np.isnan(values)]
    if not numeric(column) or not len(there):
        return 0.0
    low, high = np.quantile(there, [0.25, 0.75])
    return float((high - low) / 1.349 if high > low else there.std())


def _apart(x: np.ndarray, b: np.ndarray, scale: float) -> np.ndarray:
    """Return how much cells count as apart, in [0, 1]."""
    if scale > 0:
        with np.errstate(over="ignore"):
            apart = 1.0 - 1.0 / (1.0 + np.abs(x - b) / scale)
    else:
        apart = np.where(x != b, 1.0, 0.0)
    gap, other = np.isnan(x), np.isnan(b)
    return np.where(gap | other, np.where(gap & other, 0.0, 1.0), apart)
