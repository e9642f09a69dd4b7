r"""Training rows that may be anomalies themselves: found, and left out.

With a share c at most of contaminated rows, each half of the rows is scored by a density fitted to
the other half, so that no row vouches for itself; the ⌊c n⌋ rows with the lowest scores are left
out and the density is fitted anew. Of the calibration rows the ⌊c n⌋ lowest scores are left out as
well. If these were normal after all, the rule's rate is too low by c at most:

    P(flag a normal row) ≤ α + c                 ≈ α where what was left out was anomalous

Source: the trimmed likelihood of Neykov & Neytchev 1990, in one step, cross-fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

import numpy as np

from jensen._errors import InputError


def check_contamination(share: float) -> None:
    """Raise InputError unless the share is a number in [0, ½)."""
    if not (isinstance(share, Real) and 0.0 <= share < 0.5):
        raise InputError(
            f"contamination must lie in [0, 0.5), got {share}",
            "contamination",
            "0.05: one training row in 20 may be an anomaly",
        )


def untrusted(
    score: Callable[[np.ndarray, np.ndarray], np.ndarray], n: int, share: float, seed: int
) -> np.ndarray:
    """Return the numbers of the ⌊share · n⌋ rows that score lowest without themselves, sorted.

    Args:
        score: `(training rows, rows) -> scores` by a density fitted to the first, row numbers.
        n: number of rows.
        share: c, the largest share of anomalies among them.
        seed: of the halves.

    Example:
        >>> values = np.array([0.0, 0.1, -0.1, 9.0, 0.2, 0.0])
        >>> far = lambda train, rows: -np.abs(values[rows] - np.median(values[train]))
        >>> untrusted(far, 6, 0.2, 0).tolist()
        [3]
    """
    count = int(share * n + 1e-9)
    if count == 0 or n < 4:
        return np.zeros(0, int)
    order = np.random.default_rng([seed, n, 7]).permutation(n)
    halves = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
    scores = np.empty(n)
    for rows, train in (halves, halves[::-1]):
        scores[rows] = score(train, rows)
    return np.sort(np.argsort(scores, kind="stable")[:count])


def trimmed(scores: np.ndarray, share: float) -> np.ndarray:
    """Return the scores without the ⌊share · n⌋ lowest, sorted.

    Example:
        >>> trimmed(np.array([3.0, -9.0, 1.0, 2.0]), 0.25).tolist()
        [1.0, 2.0, 3.0]
    """
    return np.sort(scores)[int(share * len(scores) + 1e-9) :]
