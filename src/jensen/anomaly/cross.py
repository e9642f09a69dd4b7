r"""Cross-conformal p-values: every row trains and every row calibrates, for small tables.

K densities are trained, the k-th without fold k. With $s_{-k}$ the score of the k-th density and
k(i) the fold of row i,

    p(x) = (1 + Σ_i 1{s_{−k(i)}(x_i) ≤ s_{−k(i)}(x)}) / (n + 1),       flag x when p(x) ≤ α.

K = n is the jackknife+, and K = 1 with a density trained elsewhere is split-conformal prediction.
The K densities depend on each other's rows, so that the price of using every row twice is a weaker
promise. With $a = ⌊α(n+1)⌋$ and exchangeable rows,

    P(p ≤ α) ≤ 2 (a + K − 1)/(n + K)              any folds,
    P(p ≤ α) ≤ (2a + m − 2)/(n + m)               K folds of m = n/K rows each.

The first is twice the mean, weighted by m_k + 1, of the folds' own p-values (twice a mean of
p-values is a p-value; so is the mean over its largest weight, which is less for K ≤ 2):
2α + 2(1−α)(K−1)/(n+K) at most. The second counts, in a tournament of K + 1 folds, how many rows can
lose to a share 1 − α of the others: 2α + (m−1)/(n+m) at most, and below 2α at K = n. With densities
that hardly change when a fold is left out, P(p ≤ α) is close to α.

Sources: Vovk 2015 (cross-conformal predictors, arXiv:1208.0806); Vovk et al. 2018 (cross-conformal
predictive distributions), Vovk and Wang 2020 (arXiv:1212.4966) for the first bound; Barber et al.
2021 (predictive inference with the jackknife+, arXiv:1905.02928), theorem 4, for the second, kept
here before its last rounding upwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jensen._errors import InputError
from jensen.anomaly.calibrate import check_alpha
from jensen.anomaly.rules import SLACK, percent


@dataclass(frozen=True)
class CrossConformal:
    """Out-of-fold scores, by fold.

    Args:
        folds: K arrays; the k-th holds the scores `(m_k,)` of the rows of fold k under the density
            that has not seen them; nats, higher = more normal; -inf is legal.

    Raises:
        InputError: without folds, for an empty one, or for a NaN.

    Example:
        >>> cross = CrossConformal((np.arange(10.0), np.arange(9.0)))
        >>> cross.p_values(np.array([[-1.0, -1.0], [0.0, 1.0]])).tolist()
        [0.05, 0.2]
        >>> round(cross.bound(0.1), 4)
        0.2727
    """

    folds: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        folds = tuple(np.sort(np.asarray(fold, np.float64).ravel()) for fold in self.folds)
        if not folds or any(fold.size == 0 or np.isnan(fold).any() for fold in folds):
            raise InputError(
                f"cross-conformal calibration needs folds of scores that are numbers, got "
                f"{len(folds)} folds of sizes {[fold.size for fold in folds][:10]} with "
                f"{sum(int(np.isnan(fold).sum()) for fold in folds)} NaN",
                "calibration rows",
                "score every row by the density trained without its fold",
            )
        object.__setattr__(self, "folds", folds)

    @classmethod
    def of(cls, scores: np.ndarray, fold_of: np.ndarray) -> CrossConformal:
        """Return the calibration of out-of-fold scores `(n,)` with fold numbers `(n,)` in 0..K−1.

        Raises:
            InputError: for arrays of other shapes, or a fold without rows.

        Example:
            >>> CrossConformal.of(np.array([3.0, 1.0, 2.0]), np.array([0, 1, 0])).sizes
            (2, 1)
        """
        scores, fold_of = np.asarray(scores), np.asarray(fold_of)
        if scores.shape != fold_of.shape or scores.ndim != 1 or scores.size == 0:
            raise InputError(
                f"each score needs its fold, got shapes {scores.shape} and {fold_of.shape}",
                "cross-conformal calibration",
                "give two arrays of shape (n,)",
            )
        return cls(tuple(scores[fold_of == k] for k in range(int(fold_of.max()) + 1)))

    @property
    def n(self) -> int:
        """The number of calibration rows: all rows."""
        return sum(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The rows of each fold."""
        return tuple(fold.size for fold in self.folds)

    @property
    def smallest_alpha(self) -> float:
        """1/(n+1): the smallest level that can be reached."""
        return 1.0 / (self.n + 1)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """Return p(x) of new rows.

        Args:
            scores: `(m, K)`, column k the scores by the density trained without fold k, nats.

        Returns:
            `(m,)` in (0, 1].

        Raises:
            InputError: for another number of columns.
        """
        scores = np.asarray(scores, np.float64)
        if scores.ndim != 2 or scores.shape[1] != len(self.folds):
            raise InputError(
                f"new rows need a score from each of {len(self.folds)} densities, got shape "
                f"{scores.shape}",
                "cross-conformal p-values",
                f"give an array of shape (rows, {len(self.folds)})",
            )
        count = np.ones(len(scores))
        for k, fold in enumerate(self.folds):
            count += np.searchsorted(fold, scores[:, k], side="right")
        return count / (self.n + 1.0)

    def flags(self, scores: np.ndarray, alpha: float) -> np.ndarray:
        """Return whether each row of scores `(m, K)` is flagged at level α, `(m,)` of bool.

        Raises:
            InputError: for α outside (0, 1), or below the smallest that n rows can reach.
        """
        return self.p_values(scores) * (self.n + 1.0) <= self._allowed(alpha) + 0.5

    def bound(self, alpha: float) -> float:
        """Return the largest chance, whatever the densities, that a new normal row is flagged.

        Raises:
            InputError: for α outside (0, 1), or below the smallest that n rows can reach.
        """
        allowed, n, k = self._allowed(alpha), self.n, len(self.folds)
        largest = max(self.sizes)
        twice = min(2.0, (n + k) / (largest + 1.0))
        bounds = [1.0, twice * (allowed + k - 1) / (n + k)]
        if largest == min(self.sizes) and k > 1:
            bounds.append((2 * allowed + largest - 2) / (n + largest))
        return min(bounds)

    def promise(self, alpha: float) -> str:
        """Return, in plain words, what holds at level α."""
        bound, usual = self.bound(alpha), self._allowed(alpha) / (self.n + 1)
        return (
            f"on average over tables at most {percent(bound)} of new normal rows are flagged, "
            f"whatever the densities; close to {percent(usual)} where leaving out a fold hardly "
            "changes a density"
        )

    def _allowed(self, alpha: float) -> int:
        check_alpha(alpha)
        allowed = math.floor(alpha * (self.n + 1) + SLACK)
        if allowed < 1:
            raise InputError(
                f"alpha {alpha:g} is below {self.smallest_alpha:.4g}, the smallest that {self.n} "
                "rows can reach",
                "alpha",
                f"use a larger alpha, or at least {math.ceil(1.0 / alpha - 1.0 - SLACK)} rows",
            )
        return allowed
