r"""The simplex method on a dense tableau: a matrix game and its dual at once, for small games.

A game with positive payoffs C is the pair of programs (Dantzig 1951)

    max Σ_j y_j,  C y ≤ 1,  y ≥ 0        min Σ_i x_i,  Cᵀ x ≥ 1,  x ≥ 0,

with equal optima 1/v: q = v y and p = v x are optimal strategies and v is the value. The first has
the feasible basis y = 0, so one phase is enough, and the last row of its final tableau holds x. The
tableau keeps only the columns that are not basic, `(m+1, n+1)`, and a pivot is one rank-one update.
The result is a candidate: whoever calls certifies it.
"""

from __future__ import annotations

import numpy as np

SMALLEST_PIVOT = 1e-10
"""Entries below it, with payoffs in [1, 3], are taken for rounding errors."""


def solve_tableau(payoff: np.ndarray) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Solve the game with payoffs in [-1, 1] by pivoting.

    The entering column has the most negative reduced cost; after 2 (m + n) pivots Bland's rule
    takes over, under which no basis comes back.

    Args:
        payoff: `(m, n)` the row player's payoff, between -1 and 1.

    Returns:
        `(p, q, pivots)` with p `(m,)` and q `(n,)`, both vertices, or None where rounding errors
        kept the method from ending.

    Source: Dantzig 1951; Bland 1977, rule I.

    Example:
        >>> solve_tableau(np.array([[1.0, -1.0], [-1.0, 0.0]]))[0]
        array([0.333..., 0.666...])
    """
    m, n = payoff.shape
    t = np.empty((m + 1, n + 1))
    t[:m, :n] = payoff + 2.0
    t[:m, n] = 1.0
    t[m, :n] = -1.0
    t[m, n] = 0.0
    inside, outside = np.arange(n, n + m), np.arange(n)  # y is 0..n-1, the slacks are n..n+m-1
    careful = 2 * (m + n)
    for pivots in range(20 * (m + n)):
        column = _entering(t[m, :n], outside, pivots >= careful)
        if column is None:
            return _strategies(t, inside, outside, pivots)
        row = _leaving(t[:m, column], t[:m, n], inside, pivots >= careful)
        if row is None:
            return None
        _pivot(t, row, column)
        inside[row], outside[column] = outside[column], inside[row]
    return None


def _entering(cost: np.ndarray, labels: np.ndarray, bland: bool) -> int | None:
    if bland:
        falling = np.flatnonzero(cost < -SMALLEST_PIVOT)
        return int(falling[labels[falling].argmin()]) if len(falling) else None
    column = int(cost.argmin())
    return column if cost[column] < -SMALLEST_PIVOT else None


def _leaving(entries: np.ndarray, right: np.ndarray, labels: np.ndarray, bland: bool) -> int | None:
    """Return the row with the least ratio; of equal ones the largest entry, or the least label."""
    rows = np.flatnonzero(entries > SMALLEST_PIVOT)
    if not len(rows):
        return None
    ratios = right[rows] / entries[rows]
    tied = rows[ratios <= ratios.min() + 1e-12]
    return int(tied[labels[tied].argmin()] if bland else tied[entries[tied].argmax()])


def _pivot(t: np.ndarray, row: int, column: int) -> None:
    inverse = 1.0 / t[row, column]
    scaled, entries = t[row] * inverse, t[:, column].copy()
    entries[row] = 0.0
    t -= entries[:, None] * scaled
    t[row] = scaled
    t[:, column] = -entries * inverse
    t[row, column] = inverse


def _strategies(
    t: np.ndarray, inside: np.ndarray, outside: np.ndarray, pivots: int
) -> tuple[np.ndarray, np.ndarray, int] | None:
    m, n = len(inside), len(outside)
    x, y = np.zeros(m), np.zeros(n)
    basic, slack = inside < n, outside >= n
    y[inside[basic]] = t[:m, n][basic]
    x[outside[slack] - n] = t[m, :n][slack]
    x, y = np.maximum(x, 0.0), np.maximum(y, 0.0)
    total = x.sum(), y.sum()
    if not (np.isfinite(total[0] + total[1]) and min(total) > 0.0):
        return None
    return x / total[0], y / total[1], pivots
