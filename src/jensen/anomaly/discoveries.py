r"""False discoveries: which rows of a batch to flag, so that few of the flagged are normal.

A level α bounds the share of *normal* rows that are flagged. Of 1,000,000 normal rows 5% are 50,000
alarms, whatever the number of anomalies. The false discovery rate bounds the share of *flagged*
rows that are normal. The step-up procedure of Benjamini and Hochberg sorts the m p-values and flags
the rows of the i smallest, i the largest with

    p_(i) ≤ q i / m.

Conformal p-values of one batch share their calibration rows and so depend on each other, positively
(in the sense PRDS), under which the mean share of false discoveries is at most q m₀/m, m₀ the
number of normal rows: over batches and calibration sets, not for one.

Conformal p-values take the n + 1 values (r+1)/(n+1) alone, so that their counts by r carry all that
the procedure needs: a file larger than memory is read twice, once to count, once to flag.

Sources: Benjamini and Hochberg 1995; Benjamini and Yekutieli 2001 (PRDS); Bates et al. 2023
(arXiv:2104.08279) for conformal p-values.
"""

from __future__ import annotations

import math

import numpy as np

from jensen._errors import InputError
from jensen.anomaly.rules import SLACK, percent


def benjamini_hochberg(p_values: np.ndarray, q: float) -> np.ndarray:
    """Return which rows the step-up procedure flags.

    Args:
        p_values: `(m,)` in [0, 1], of one batch; split-conformal ones for the bound to hold.
        q: the bound on the mean share of normal rows among the flagged, in (0, 1).

    Returns:
        `(m,)` of bool; rows of equal p-values share their flag.

    Raises:
        InputError: for q outside (0, 1), or p-values outside [0, 1] or NaN.

    Source:
        Benjamini and Hochberg 1995, eq. 1; p ≤ qi/m up to a relative rounding of 1e-9, since
        conformal p-values often equal qi/m.

    Example:
        >>> benjamini_hochberg(np.array([0.02, 0.9, 0.06, 0.055]), 0.08).tolist()
        [True, False, True, True]
    """
    _check_q(q)
    p = np.asarray(p_values, np.float64).ravel()
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise InputError(
            f"p-values lie in [0, 1], got {int((~((p >= 0.0) & (p <= 1.0))).sum())} that do not",
            "p_values",
            "give the detector's p-values, not its scores",
        )
    ordered = np.sort(p)
    passing = np.flatnonzero(_passes(ordered, np.arange(1, p.size + 1), p.size, q))
    return p <= ordered[passing[-1]] if passing.size else np.zeros(p.size, bool)


def discovery_threshold(counts_by_rank: np.ndarray, n_calibration: int, q: float) -> float:
    """Return the largest conformal p-value that the step-up procedure flags, from counts alone.

    Args:
        counts_by_rank: `(n + 1,)`, how many rows have r = #{calibration scores ≤ s(x)} = 0, …, n.
        n_calibration: n.
        q: as in `benjamini_hochberg`.

    Returns:
        The largest p that is flagged, so that a second reading flags p ≤ it (p computed as
        (1 + r)/(n + 1)); 0 where none is.

    Raises:
        InputError: for q outside (0, 1), or counts that are negative or not n + 1.

    Example:
        >>> discovery_threshold(np.array([3, 0, 0, 0, 0, 0, 0, 0, 1, 1]), 9, 0.2)
        0.1
    """
    _check_q(q)
    counts = np.asarray(counts_by_rank)
    if counts.shape != (n_calibration + 1,) or (counts < 0).any():
        raise InputError(
            f"{n_calibration} calibration rows have {n_calibration + 1} ranks with counts from 0, "
            f"got shape {counts.shape}",
            "counts_by_rank",
            "count the rows by r = 0, …, n",
        )
    p = (1.0 + np.arange(n_calibration + 1)) / (n_calibration + 1.0)
    passes = _passes(p, np.cumsum(counts), int(counts.sum()), q)
    passing = np.flatnonzero(passes & (counts > 0))
    return float(p[passing[-1]]) if passing.size else 0.0


def fewest_discoveries(m: int, n_calibration: int, q: float) -> int:
    """Return how many of m rows must lie below all calibration rows before any can be flagged.

    The smallest p-value is 1/(n+1), so that i rows are flagged only where 1/(n+1) ≤ qi/m.

    Example:
        >>> fewest_discoveries(1000, 99, 0.1)
        100
    """
    _check_q(q)
    return max(1, math.ceil(m / (q * (n_calibration + 1.0)) * (1.0 - SLACK)))


def promise(q: float, m: int, n_calibration: int) -> str:
    """Return, in plain words, what the procedure holds for a batch of m rows.

    Example:
        >>> promise(0.1, 1000, 4999)  # doctest: +ELLIPSIS
        'of the rows flagged in a batch at most 10% are normal, on average over batches ...'
    """
    least = fewest_discoveries(m, n_calibration, q)
    return (
        f"of the rows flagged in a batch at most {percent(q)} are normal, on average over batches "
        f"and calibration sets; with {n_calibration} calibration rows a batch of {m} rows has "
        f"either no flagged row or at least {least}"
    )


def _passes(p: np.ndarray, at_most: np.ndarray, m: int, q: float) -> np.ndarray:
    return p * m <= q * at_most * (1.0 + SLACK)


def _check_q(q: float) -> None:
    if not 0.0 < q < 1.0:
        raise InputError(
            f"q must lie strictly between 0 and 1, got {q}",
            "q",
            "0.1 lets 10% of the flagged rows be normal, on average",
        )
