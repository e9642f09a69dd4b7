r"""Training rows that may be anomalies themselves: found, and left out.

With a share c at most of contaminated rows, the ⌊2cn⌋ rows that stand most alone are left out,
"alone" by the distance to the k-th neighbour with k = 2cn: no group of cn anomalies, however dense,
holds enough rows to vouch for one of its own. Twice the share is left out because the outskirts of
the normal rows stand as much alone as hidden anomalies do. Of the calibration rows the ⌊cn⌋
lowest scores are left out as well. If these were normal after all, the rate may be exceeded by c:

    P(flag a normal row) ≤ α + c                 ≈ α where what was left out was anomalous

Sources: the trimmed likelihood of Neykov & Neytchev 1990; distances to the k-th neighbour as in
Ramaswamy et al. 2000.
"""

from __future__ import annotations

from numbers import Real

import numpy as np

from jensen._errors import InputError

_REFERENCE = 5000  # rows that distances are taken to, at most
_BLOCK = 1024


def check_share(name: str, share: float) -> None:
    """Raise InputError unless the share is a number in [0, ½)."""
    if not (isinstance(share, Real) and 0.0 <= share < 0.5):
        raise InputError(
            f"{name} must lie in [0, 0.5), got {share}",
            name,
            "0.05: one training row in 20 may be an anomaly",
        )


def suspects(vectors: np.ndarray, share: float) -> np.ndarray:
    """Return the numbers of the ⌊2 · share · n⌋ rows that stand most alone, sorted.

    Args:
        vectors: `(n, D)` rows in units that can be compared, such as standard deviations.
        share: c, the largest share of anomalies among them; at most half of the rows are left out.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(100, 2))
        >>> rows[95:] = 9.0
        >>> set(range(95, 100)) <= set(suspects(rows, 0.05).tolist())
        True
    """
    n = len(vectors)
    count = min(int(2.0 * share * n + 1e-9), n // 2)
    if count == 0 or n < 4:
        return np.zeros(0, int)
    others = vectors[np.random.default_rng(n).permutation(n)[:_REFERENCE]]
    k = int(np.clip(count * len(others) / n, 5, len(others) - 1))
    alone = np.concatenate(
        [_to_neighbour(vectors[i : i + _BLOCK], others, k) for i in range(0, n, _BLOCK)]
    )
    return np.sort(np.argsort(-alone, kind="stable")[:count])


def _to_neighbour(rows: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance of each row to its k-th neighbour, itself not counted."""
    squares = np.sum(rows**2, axis=1)[:, None] + np.sum(others**2, axis=1) - 2.0 * rows @ others.T
    return np.partition(squares, k, axis=1)[:, k]


def trimmed(scores: np.ndarray, share: float) -> np.ndarray:
    """Return the scores without the ⌊share · n⌋ lowest, sorted.

    Example:
        >>> trimmed(np.array([3.0, -9.0, 1.0, 2.0]), 0.25).tolist()
        [1.0, 2.0, 3.0]
    """
    return np.sort(scores)[int(share * len(scores) + 1e-9) :]
