r"""What would have to change for a row to be normal: the nearest normal values of guilty columns.

Cells that alone make a row impossible are set to those of its reference. The other columns of a
flagged row are taken from the guiltiest on, five at most. Of each, the values that normal rows
have are tried (of numbers up to 64 quantiles that occur, of a category its levels), and

1. if some of them lift the score to the threshold t, the one nearest to the row's own is taken;
2. otherwise the one with the highest score, if it is a gain, and the next column follows.

Where that does not do, all five are set to the values of the reference, if that scores higher: what
goes together is then changed together. At last every change is looked at again, the first one
first: the row's own value and all others that keep the score at t or above are tried and the
nearest taken, so that no change is larger than it needs to be and none is left that is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jensen.data.schema import Column

MOST = 5
"""Columns that are changed at most, besides impossible cells."""

CANDIDATES = 64
"""Values of a column that are tried at most, besides that of the reference."""

Scorer = Callable[[np.ndarray], np.ndarray]
"""Encoded rows `(m, D)` → scores `(m,)`, higher = more normal."""


@dataclass(frozen=True)
class Change:
    """One cell and the nearest normal value.

    Args:
        column: its name.
        now: the cell as it is: a number, a level, or None where it is missing.
        normal: what it would have to be.
        text: both, and what normal rows have, in plain words.
    """

    column: str
    now: float | str | None
    normal: float | str | None
    text: str


def numeric(column: Column) -> bool:
    """Return whether a column's values have distances: it is a number and varies."""
    return column.kind in ("continuous", "integer")


def candidates(column: Column, values: np.ndarray) -> np.ndarray:
    """Return values of normal rows `(≤ CANDIDATES,)` to try in a column, rising.

    Args:
        column: the column.
        values: `(n,)` encoded cells of normal rows; NaN where one is missing.

    Example:
        >>> candidates(Column("a", "continuous"), np.arange(1000.0))[[0, 1, -1]].tolist()
        [0.0, 16.0, 999.0]
    """
    seen = np.unique(values[~np.isnan(values)])
    if not numeric(column) or len(seen) <= CANDIDATES:
        return seen
    there = values[~np.isnan(values)]
    return np.unique(np.quantile(there, np.linspace(0, 1, CANDIDATES), method="nearest"))


def nearest_normal(
    score: Scorer,
    rows: np.ndarray,
    reference: np.ndarray,
    guilt: np.ndarray,
    values: Sequence[np.ndarray],
    columns: Sequence[Column],
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows changed in few columns so that their scores reach the threshold, where they can.

    Args:
        score: encoded rows → scores; each row's own, whatever it is scored with.
        rows: `(m, D)` encoded rows, all below the threshold.
        reference: `(m, D)` a normal row for each; its values are tried too.
        guilt: `(m, D)` contributions to the score, the lowest guiltiest.
        values: per column, values of normal rows to try.
        columns: what the columns hold.
        threshold: t.

    Returns:
        The changed rows `(m, D)` and their scores `(m,)`; below t where MOST columns do not do.
    """
    impossible = np.isneginf(guilt)
    mended = np.where(impossible, reference, rows)
    reached = score(mended)
    order = np.argsort(guilt, axis=1, kind="stable")
    tries = np.minimum(MOST + impossible.sum(axis=1), rows.shape[1])

    def settle(which: np.ndarray, column: np.ndarray) -> None:
        """Set column[i] of each row i in `which` to its nearest normal value."""
        tried = [
            np.concatenate([values[d], [reference[i, d], rows[i, d]]])
            for i, d in zip(which, column, strict=True)
        ]
        lengths = [len(one) for one in tried]
        trial = np.repeat(mended[which], lengths, axis=0)
        trial[np.arange(len(trial)), np.repeat(column, lengths)] = np.concatenate(tried)
        found = np.split(score(trial), np.cumsum(lengths)[:-1])
        for i, d, options, scores in zip(which, column, tried, found, strict=True):
            best = _best(options, scores, float(rows[i, d]), columns[d], threshold)
            if scores[best] >= threshold or scores[best] > reached[i]:
                mended[i, d], reached[i] = options[best], scores[best]

    for step in range(tries.max(initial=0)):
        short = np.flatnonzero((reached < threshold) & (step < tries))
        if len(short):
            settle(short, order[short, step])
    tried = (np.argsort(order, axis=1) < tries[:, None]) & (reached < threshold)[:, None]
    borrowed = np.where(tried, reference, mended)
    together = score(borrowed)
    better = np.flatnonzero(together > reached)
    mended[better], reached[better] = borrowed[better], together[better]
    for step in range(tries.max(initial=0)):
        again = np.flatnonzero((reached >= threshold) & (step < tries))
        changed = mended[again, order[again, step]] != rows[again, order[again, step]]
        if changed.any():
            settle(again[changed], order[again[changed], step])
    return mended, reached


def _best(
    options: np.ndarray, scores: np.ndarray, own: float, column: Column, threshold: float
) -> int:
    """Return which value to take: the nearest that does; of equals, or if none does, the best."""
    enough = scores >= threshold
    far = np.where(enough, _far(options, own, column), np.inf)
    return int(np.lexsort((-scores, far, ~enough))[0])


def _far(options: np.ndarray, own: float, column: Column) -> np.ndarray:
    """Return how far each option is from the row's own value."""
    if np.isnan(own) or not numeric(column):
        return np.where((options == own) | (np.isnan(options) & np.isnan(own)), 0.0, 1.0)
    return np.abs(np.where(np.isnan(options), np.inf, options) - own)


def change_of(column: Column, now: float, normal: float, seen: np.ndarray) -> Change:
    """Return a change in plain words.

    Args:
        column: the column.
        now: its encoded cell.
        normal: the encoded cell it would have to be.
        seen: the values that are tried of it, rising.

    Example:
        >>> change_of(Column("glucose", "continuous"), 7.2, 1.4, np.array([0.9, 1.4, 2.3])).text
        'glucose 7.2 → 1.4 (0.9 … 2.3 in normal rows)'
    """
    digits = 4
    while digits < 17 and shown(column, now, digits) == shown(column, normal, digits):
        digits += 1
    told = f"{column.name} {shown(column, now, digits)} → {shown(column, normal, digits)}"
    if numeric(column) and len(seen):
        low, high = shown(column, seen[0]), shown(column, seen[-1])
        told += f" ({low} … {high} in normal rows)"
    elif column.kind == "constant" or len(seen) == 1:
        told += " (the same in all normal rows)"
    return Change(column.name, _plain(column, now), _plain(column, normal), told)


def shown(column: Column, value: float, digits: int = 4) -> str:
    """Return an encoded cell as text, numbers with `digits` significant digits.

    Example:
        >>> shown(Column("a", "continuous"), -1.23456), shown(Column("a", "integer", 1.0), 12345.0)
        ('−1.235', '12345')
    """
    plain = _plain(column, value)
    if plain is None:
        return "missing"
    if isinstance(plain, str):
        return plain
    if plain == round(plain) and abs(plain) < 1e15 and (column.kind == "integer" or column.step):
        return f"{plain:.0f}".replace("-", "−")
    return shown_number(plain, digits)


def shown_number(value: float, digits: int = 4) -> str:
    """Return a number as text with `digits` significant digits and a minus sign."""
    return f"{value:.{digits}g}".replace("-", "−")


def _plain(column: Column, value: float) -> float | str | None:
    """Return an encoded cell as a user knows it: a number, a level, None where it is missing."""
    if np.isnan(value):
        return None
    if column.kind == "categorical":
        return column.levels[int(value)] if column.levels else f"category {value:g}"
    if isinstance(column.value, str):
        return column.value if value == 0 else "another value"
    return float(value)
