r"""Who trains, who stops the training, and who calibrates: three disjoint sets of rows.

A conformal threshold at level α flags a new normal row with probability ⌊α(n+1)⌋/(n+1), n the
number of calibration rows. That *is* α when n + 1 is a multiple of 1/α: so calibration sets have
100k - 1 rows (exact at 1%, 2%, 5%, 10%), or 20k - 1 where there are fewer (exact at 5% and 10%).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jensen._errors import InputError


@dataclass(frozen=True)
class Split:
    """Disjoint row numbers of a table."""

    train: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray


def check_seed(seed: int) -> None:
    """Raise InputError unless the seed lies in [0, 2³²)."""
    if not 0 <= seed < 2**32:
        raise InputError(
            f"the seed must lie in 0..{2**32 - 1}, got {seed}", "seed", "for example seed 0"
        )


def exact_size(target: float) -> int:
    """Return the largest n ≤ target with (n + 1) a multiple of 100, 20 or 10; ⌊target⌋ below 9.

    Example:
        >>> [exact_size(t) for t in (1040, 120, 60, 15, 5)]
        [999, 99, 59, 9, 5]
    """
    for unit in (100, 20, 10):
        if target >= unit - 1:
            return int((target + 1) // unit) * unit - 1
    return int(target)


def calibration_size(n: int, alpha: float | None = None) -> int:
    """Return how many of n rows to keep for calibration.

    A tenth of a large table, at most 4,999; a fifth of a smaller one, but 99 rows where that is at
    most two fifths: the rate of one detector scatters around α by about √(α/n) of n calibration
    rows. At least 19 rows from 50 on, and 9 from 20 on; where that does not reach `alpha`, as many
    as reach it, if half of the rows is left.

    Example:
        >>> calibration_size(5000), calibration_size(250), calibration_size(60)
        (499, 99, 19)
    """
    share = max(99.0, min(0.2 * n, max(199.0, 0.1 * n)))
    size = exact_size(min(0.4 * n, share, 4999.0))
    for least, rows in ((19, 50), (9, 20)):  # reach 5%, or at least 10%, also on a small table
        if n >= rows:
            size = max(size, least)
            break
    if alpha is not None:
        needed = math.ceil(1 / alpha - 1e-9) - 1
        if size < needed <= n // 2:
            return needed
    return max(size, 1)


def validation_size(n: int) -> int:
    """Return how many of n rows decide when training stops: 15%, but 500 or 5% of a large table.

    Example:
        >>> validation_size(100), validation_size(5000), validation_size(1_000_000)
        (15, 500, 5000)
    """
    return max(1, int(min(0.15 * n, max(500.0, 0.05 * n), 5000.0)))


def split_rows(n: int, seed: int, *, calibrate: bool) -> Split:
    """Return a random split of n rows, a pure function of its arguments.

    Args:
        n: number of rows, at least 2.
        seed: randomness.
        calibrate: keep calibration rows.
    """
    order = np.random.default_rng([seed, n]).permutation(n)
    c = min(calibration_size(n), max(n - 2, 0)) if calibrate else 0
    v = min(validation_size(n - c), n - c - 1)
    return Split(order[c + v :], order[c : c + v], order[:c])
