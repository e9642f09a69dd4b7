r"""Where two tables differ: single columns and pairs of columns, by histograms, held out.

With k cells B and n_p(B), n_q(B) training rows in them, the piecewise-constant log ratio

    a(x) = log (n_p(B) + ½)/(n_p + k/2) - log (n_q(B) + ½)/(n_q + k/2),      x ∈ B

gives on held-out rows a lower bound of the Jensen–Shannon divergence of that column, or that pair:
a classifier without training. Cells are quantile intervals of the pooled training rows, or levels;
validation rows choose how many, one cell (a = 0) being a choice too. A value so frequent that it is
more than one quantile has a cell of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jensen.evaluation.calibration import balanced_loss
from jensen.evaluation.divergences import Estimate, held_out_bound

_BINS, _PAIR_BINS = (2, 4, 8, 16, 32, 64), (2, 3, 4, 6, 8)
_LEAST_PER_CELL = 5  # pooled training rows


@dataclass(frozen=True)
class Part:
    """The held-out bound of some of the columns.

    Args:
        columns: their indices.
        bound: of their Jensen–Shannon divergence, nats, not cut.
        p_value: of the hypothesis that both tables have the same law of them.
    """

    columns: tuple[int, ...]
    bound: Estimate
    p_value: float


@dataclass(frozen=True)
class Cells:
    """The rows of both tables, ready to be counted.

    Args:
        matrix: encoded rows `(N, columns)`.
        sign: +1 for rows of p, -1 for rows of q.
        folds: 0 train, 1 choose, 2 judge.
        levels: number of levels of each categorical column, 0 for numbers.
    """

    matrix: np.ndarray
    sign: np.ndarray
    folds: np.ndarray
    levels: tuple[int, ...]

    def place(self, j: int, bins: int) -> tuple[np.ndarray, int]:
        """Return the cell of every row in column j `(N,)`, and how many cells there are."""
        values = self.matrix[:, j]
        if self.levels[j]:
            return values.astype(int), self.levels[j]
        grid = np.linspace(0, 1, bins + 1)[1:-1]
        edges = np.quantile(values[self.folds == 0], grid, method="inverted_cdf")
        edges, count = np.unique(edges, return_counts=True)
        edges = np.union1d(edges, np.nextafter(edges[count > 1], -np.inf))  # {e}: a cell of its own
        return np.searchsorted(edges, values, side="left"), len(edges) + 1

    def judge(self, columns: tuple[int, ...]) -> Part:
        """Return the held-out bound of one column or a pair."""
        candidates = _BINS if len(columns) == 1 else _PAIR_BINS
        most = max(2.0, int(np.sum(self.folds == 0)) / _LEAST_PER_CELL)
        check, test = self.folds == 1, self.folds == 2
        best, ratio = math.log(2.0), np.zeros(len(self.sign))
        for bins in candidates:
            if bins ** len(columns) > most:
                break
            trained = self._log_ratio(columns, bins, self.folds == 0)
            loss = balanced_loss(trained[check], self.sign[check])
            if loss < best:
                best, ratio = loss, self._log_ratio(columns, bins, self.folds < 2)
        on_p, on_q = (ratio[test & (self.sign == label)] for label in (1.0, -1.0))
        bound = held_out_bound("jensen-shannon", on_p, on_q)
        return Part(columns, bound, _normal_p_value(np.tanh(0.5 * on_p), np.tanh(0.5 * on_q)))

    def _log_ratio(self, columns: tuple[int, ...], bins: int, rows: np.ndarray) -> np.ndarray:
        """Return a of every row, counted on the given rows."""
        place, total = np.zeros(len(self.sign), int), 1
        for j in columns:
            at, size = self.place(j, bins)
            place, total = place * size + at, total * size
        logs = []
        for label in (1.0, -1.0):
            chosen = place[rows & (self.sign == label)]
            counts = np.bincount(chosen, minlength=total) + 0.5
            logs.append(np.log(counts / counts.sum()))
        return (logs[0] - logs[1])[place]


def _normal_p_value(p: np.ndarray, q: np.ndarray) -> float:
    """Return the upper tail of the mean difference under relabelling, by its normal law."""
    both = np.concatenate([p, q])
    spread = both.std(ddof=1) * math.sqrt(1 / len(p) + 1 / len(q))
    if not spread > 0:
        return 1.0
    return 0.5 * math.erfc((p.mean() - q.mean()) / (spread * math.sqrt(2.0)))
