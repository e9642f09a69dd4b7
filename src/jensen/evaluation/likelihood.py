r"""Held-out log-likelihood with its standard error, and the baseline it must beat.

    mean = 1/n Σ_i log p(x_i),      se = sd / √n       (nats per row)

The baseline is the Gaussian with the training mean and the Ledoit–Wolf covariance, and independent
smoothed frequencies for categorical columns: what a table gets without a neural network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.data.preprocess import Preprocess, whitening
from jensen.models.factors import factor_analysis

_FACTOR_ROWS, _MOST_FACTORS = 3000, 16


def mean_and_error(log_prob: np.ndarray) -> tuple[float, float]:
    """Return the mean and its standard error, nats; (-inf, nan) where a row is impossible."""
    mean = float(np.mean(log_prob))
    if len(log_prob) < 2 or not math.isfinite(mean):
        return mean, math.nan
    return mean, float(np.std(log_prob, ddof=1) / math.sqrt(len(log_prob)))


def summarise(
    log_prob: np.ndarray, row_error: np.ndarray, kind: str, n_points: int, dim: int
) -> dict[str, Any]:
    """Return the figures of held-out rows.

    Args:
        log_prob: `(n,)` nats.
        row_error: `(n,)` Monte Carlo standard error of each row's figure, nats.
        kind: `exact` or `iwae`.
        n_points: K, points averaged in each row's figure.
        dim: number of modelled columns.

    Returns:
        `log_prob` (mean, se, kind, k, ess, pareto_k), `bits_per_dim`, `impossible` (rows of
        probability zero) and `row_se` (the mean Monte Carlo error of one row).

    Example:
        >>> summarise(np.array([-1.0, -3.0]), np.zeros(2), "exact", 1, 2)["log_prob"]["mean"]
        -2.0
    """
    mean, error = mean_and_error(log_prob)
    ess = None
    if kind != "exact":
        # of K points with relative error ε of the mean weight: ESS = K / (1 + (K - 1) ε²)
        ess = float(np.mean(n_points / (1.0 + (n_points - 1) * row_error**2)))
    return {
        "n": len(log_prob),
        "log_prob": {
            "mean": mean,
            "se": error,
            "kind": kind,
            "k": n_points,
            "ess": ess,
            "pareto_k": None,
        },
        "bits_per_dim": -mean / (dim * math.log(2.0)),
        "impossible": int(np.sum(np.isneginf(log_prob))),
        "row_se": float(np.mean(row_error)),
    }


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian baseline of a table.

    Args:
        preprocess: the map to standardised units.
        whiten: `(D, D)` W with WᵀW the inverse covariance of standardised rows.
        frequencies: for each categorical column, log-probabilities of its levels.
    """

    preprocess: Preprocess
    whiten: np.ndarray
    frequencies: tuple[np.ndarray, ...]

    def log_prob(self, matrix: np.ndarray) -> np.ndarray:
        """Return log p(x) `(n,)` in nats, for encoded rows `(n, columns)`.

        Missing cells (NaN) are integrated out: the margin of a Gaussian is one.
        """
        p = self.preprocess
        schema = p.schema
        y = (matrix[:, list(schema.continuous)] - p.mean) / p.scale
        total = np.empty(len(y))
        patterns, which = np.unique(~np.isnan(y), axis=0, return_inverse=True)
        for i, seen in enumerate(patterns):
            rows = which.ravel() == i
            w = self.whiten if seen.all() else self._margin(seen)
            z = y[np.ix_(rows, seen)] @ w.T
            total[rows] = -0.5 * np.sum(z**2, axis=1) - 0.5 * z.shape[1] * math.log(2 * math.pi)
            total[rows] += np.sum(np.log(np.diag(w))) - np.sum(np.log(p.scale[seen]))
        for j, table in zip(schema.categorical, self.frequencies, strict=True):
            gap = np.isnan(matrix[:, j])
            total += np.where(gap, 0.0, table[np.where(gap, 0, matrix[:, j]).astype(int)])
        return np.where(p.possible(matrix), total, -np.inf)

    def _margin(self, seen: np.ndarray) -> np.ndarray:
        """Return the whitening `(d, d)` of the columns that are seen `(D,)`."""
        root = np.linalg.inv(self.whiten)
        covariance = (root @ root.T)[np.ix_(seen, seen)]
        return np.tril(np.linalg.inv(np.linalg.cholesky(covariance)))


def fit_gaussian(preprocess: Preprocess, matrix: np.ndarray) -> Gaussian:
    """Return the baseline fitted to the encoded training rows `(n, columns)`.

    With missing cells the covariance is that of a factor analysis of the cells that are there, and
    no Ledoit–Wolf estimate.
    """
    frequencies = []
    for j in preprocess.schema.categorical:
        n_levels = len(preprocess.schema.columns[j].levels)
        codes = matrix[~np.isnan(matrix[:, j]), j].astype(int)
        counts = np.bincount(codes, minlength=n_levels) + 1.0
        frequencies.append(np.log(counts / counts.sum()))
    vectors = preprocess.forward(matrix)
    d = len(preprocess.mean)
    if not np.isnan(vectors[:, :d]).any():
        w = whitening(preprocess, vectors[:, :d])
    else:
        covariance = factor_analysis(vectors[:_FACTOR_ROWS, :d], min(d, _MOST_FACTORS)).covariance
        w = np.tril(np.linalg.inv(np.linalg.cholesky(covariance)))
    return Gaussian(preprocess, w, tuple(frequencies))
