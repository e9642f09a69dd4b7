"""Rounded columns: find the grid that measured numbers were rounded to.

A column of floats that repeats itself (at most half as many distinct values as rows) may hold
numbers rounded to a grid, x = o + m d with whole m: lengths to 0.1 cm, or whole counts that were
standardised. A density must spread such values over their cell of width d, or its likelihood is
unbounded. Two grids are tried: the decimal one, d = g 10⁻ᵏ and o = 0 (the smallest k, then the
largest g), and the one whose step is the smallest gap between values. The decimal grid wins unless
the other is far coarser: thirds written as 0.333333 lie on thirds, not on millionths. A value fits
when it lies within 10⁻⁶ d (of the gap grid 10⁻³ d, for its step is only as exact as the digits
written) of a grid point, plus the rounding of the stored type.
"""

from __future__ import annotations

import numpy as np

MIN_ROWS = 20
MAX_DECIMALS = 12
TOLERANCE, GAP_TOLERANCE = 1e-6, 1e-3
COARSER = 20
_ROUNDING_ULPS = 4
_MAX_NOISE = 0.01  # of a step: below this resolution of the stored type no grid can be told


def find_grid(values: np.ndarray, dtype: type[np.floating] = np.float64) -> tuple[float, float]:
    """Find the grid of a column of floats.

    Args:
        values: finite float64 values of shape `(n,)`, not all equal.
        dtype: the type the values were stored in.

    Returns:
        The step d and the offset o; `(0.0, 0.0)` where there is no grid.

    Example:
        >>> find_grid(np.repeat([5.1, 4.9, 4.7, 5.0], 10))
        (0.1, 0.0)
    """
    n = len(values)
    if n < MIN_ROWS:
        return 0.0, 0.0
    distinct = np.unique(values)
    if len(distinct) > n / 2:
        return 0.0, 0.0
    noise = _ROUNDING_ULPS * float(np.spacing(dtype(np.abs(distinct).max())))
    decimal, (gap, offset) = _decimal_step(distinct, noise), _gap_grid(distinct, noise)
    return (decimal, 0.0) if decimal and gap <= COARSER * decimal else (gap, offset)


def snap(values: np.ndarray, step: float, offset: float) -> np.ndarray:
    """Move values to the nearest point of the grid `offset + m * step`.

    Example:
        >>> snap(np.array([0.26, 0.3000000001]), 0.1, 0.0).tolist()
        [0.3, 0.3]
    """
    decimals = next((k for k in range(MAX_DECIMALS + 1) if _whole(step * 10**k)), None)
    snapped = offset + step * np.rint((values - offset) / step)
    return snapped if decimals is None or offset else np.round(snapped, decimals)


def _whole(x: float) -> bool:
    return x > 0.5 and abs(x - round(x)) < 1e-9 * x


def _decimal_step(distinct: np.ndarray, noise: float) -> float:
    for k in range(MAX_DECIMALS + 1):
        if noise * 10**k > _MAX_NOISE or np.abs(distinct).max() * 10.0**k >= 2**53:
            return 0.0
        scaled = distinct * 10.0**k
        whole = np.rint(scaled)
        if np.all(np.abs(scaled - whole) <= TOLERANCE + noise * 10**k):
            return float(np.gcd.reduce(whole.astype(np.int64))) / 10**k
    return 0.0


def _gap_grid(distinct: np.ndarray, noise: float) -> tuple[float, float]:
    first, span = distinct[0], distinct[-1] - distinct[0]
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 2 * noise]
    if not len(gaps) or 2 * noise > _MAX_NOISE * gaps.min():
        return 0.0, 0.0
    step = float(gaps.min())
    step = float(span / np.rint(span / step))
    steps = (distinct - first) / step
    if np.any(np.abs(steps - np.rint(steps)) > GAP_TOLERANCE + 2 * noise / step):
        return 0.0, 0.0
    offset = float(first - step * np.rint(first / step))
    return step, 0.0 if abs(offset) <= TOLERANCE * step + noise else offset
