"""How often a detector errs, measured on labelled rows, with intervals.

The convention is that of the scores themselves: **a higher score is more normal**, and a row is
flagged when its score is at or below a threshold. With normal scores $s_1 … s_n$ and anomaly
scores $t_1 … t_m$,

- type I error at threshold c: the share of $s_i ≤ c$ (false alarms);
- type II error at threshold c: the share of $t_j > c$ (anomalies missed);
- AUROC: $P(t < s) + ½ P(t = s)$, the chance that an anomaly scores below a normal row.

Counts carry the exact binomial interval of Clopper and Pearson; the area carries the standard
error of DeLong, DeLong and Clarke-Pearson. Scores of $-∞$ (a row of zero density) are ordinary
values here: they rank below everything else. NaN is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from jensen._errors import InputError


def binomial_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper–Pearson) interval of a proportion seen as `k` out of `n`.

    Args:
        k: number of events, `0 <= k <= n`.
        n: number of trials, at least 1.
        level: coverage of the interval, in (0, 1).

    Returns:
        `(low, high)`, both in [0, 1]; the interval covers the true proportion with probability
        at least `level`, whatever that proportion is.

    Raises:
        InputError: when `n < 1`, `k` is outside [0, n] or `level` is outside (0, 1).

    Source:
        Clopper and Pearson (1934), Biometrika 26, written with beta quantiles.

    Example:
        >>> low, high = binomial_interval(5, 100)
        >>> round(low, 4), round(high, 4)
        (0.0164, 0.1128)
    """
    if n < 1 or not 0 <= k <= n:
        raise InputError(
            f"a proportion needs 0 <= k <= n and n >= 1, got k = {k}, n = {n}", "binomial_interval"
        )
    if not 0.0 < level < 1.0:
        raise InputError(f"level must lie in (0, 1), got {level}", "binomial_interval")
    tail = (1.0 - level) / 2.0
    low = 0.0 if k == 0 else float(stats.beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(stats.beta.ppf(1.0 - tail, k + 1, n - k))
    return low, high


def auroc(normal_scores: ArrayLike, anomaly_scores: ArrayLike) -> tuple[float, float]:
    r"""Return the area under the ROC curve and its DeLong standard error.

    With midranks, $\hat A = \frac{1}{mn} \sum_{ij} [t_j < s_i] + ½ [t_j = s_i]$; each normal row
    and each anomaly contributes a placement value, and
    $\mathrm{se}^2 = \mathrm{var}(V_{10}) / m + \mathrm{var}(V_{01}) / n$.

    Args:
        normal_scores: `(n,)` scores of normal rows, higher = more normal, nats or any unit.
        anomaly_scores: `(m,)` scores of anomalies, same unit.

    Returns:
        `(value, se)`: the area in [0, 1] (1 = every anomaly below every normal row) and its
        standard error; the error is NaN when either side has a single row, and 0 when the two
        sides do not overlap, where it says nothing.

    Raises:
        InputError: when a side is empty or holds NaN.

    Source:
        DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44; computed from midranks as in
        Sun and Xu (2014), IEEE Signal Processing Letters 21.

    Example:
        >>> value, se = auroc([3.0, 2.0, 1.0, 0.5], [0.0, 0.7, -1.0])
        >>> round(value, 4), round(se, 4)
        (0.9167, 0.1179)
    """
    normal = _scores(normal_scores, "normal_scores")
    anomaly = _scores(anomaly_scores, "anomaly_scores")
    n, m = normal.size, anomaly.size
    pooled = stats.rankdata(np.concatenate([normal, anomaly]))
    of_normal = (pooled[:n] - stats.rankdata(normal)) / m  # share of anomalies below each row
    of_anomaly = 1.0 - (pooled[n:] - stats.rankdata(anomaly)) / n  # share of normal rows above
    if min(n, m) < 2:
        return float(of_normal.mean()), float("nan")
    variance = of_normal.var(ddof=1) / n + of_anomaly.var(ddof=1) / m
    return float(of_normal.mean()), float(np.sqrt(variance))


def roc_curve(normal_scores: ArrayLike, anomaly_scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the false-alarm rate and the detection rate at every threshold.

    Args:
        normal_scores: `(n,)` scores of normal rows, higher = more normal.
        anomaly_scores: `(m,)` scores of anomalies, same unit.

    Returns:
        `(fpr, tpr)`, each `(t + 1,)` for `t` distinct scores, both rising from 0 to 1: entry `i`
        flags every row whose score is at or below the `i`-th smallest distinct score, and entry
        0 flags none.

    Raises:
        InputError: when a side is empty or holds NaN.

    Example:
        >>> fpr, tpr = roc_curve([2.0, 3.0], [1.0, 2.0])
        >>> fpr.tolist(), tpr.tolist()
        ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    normal = np.sort(_scores(normal_scores, "normal_scores"))
    anomaly = np.sort(_scores(anomaly_scores, "anomaly_scores"))
    thresholds = np.unique(np.concatenate([normal, anomaly]))
    fpr = np.searchsorted(normal, thresholds, side="right") / normal.size
    tpr = np.searchsorted(anomaly, thresholds, side="right") / anomaly.size
    return np.concatenate([[0.0], fpr]), np.concatenate([[0.0], tpr])


def _scores(values: ArrayLike, name: str) -> np.ndarray:
    """Return `values` as a flat float64 array, refusing emptiness and NaN."""
    scores = np.asarray(values, dtype=np.float64).ravel()
    if scores.size == 0:
        raise InputError("no scores to measure errors on", name, "give at least one row")
    if np.isnan(scores).any():
        bad = int(np.isnan(scores).sum())
        raise InputError(f"{bad} of {scores.size} scores are NaN", name, "drop or mend those rows")
    return scores
