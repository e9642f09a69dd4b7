r"""Evidence against "nothing has changed": bets on p-values, mixed over when the change began.

If p_1, p_2, … are independent and uniform, a density f on (0, 1) is a fair bet: E f(p_t) = 1. With
bets f_b of weights w_b, and a prior γ_j over the row j where a change begins,

    M_t = Σ_b w_b Σ_{j ≤ t} γ_j Π_{i=j}^t f_b(p_i) + Σ_{j > t} γ_j

is a nonnegative martingale from M_0 = 1, and by Ville's inequality P(M_t ≥ 1/ε for any t) ≤ ε: a
stream that never changes ever reaches 1/ε with chance at most ε. Starting anew at every row keeps
old quiet from weighing on new evidence: a change at row j costs only log 1/γ_j more.
Here Σ_{j>t} γ_j = log a / log(a + t), a = 100, so that log 1/γ_j ≈ log j + 2 log log j: about 2.6
nats for each tenfold of quiet rows, and no rule with a bound on *ever* raising a false alarm does
with less than the log j.

The bets are likelihood ratios of changes that matter, in two families of equal weight:

    rare     1 − π + (π/ℓ) 1{p ≤ ℓ}                a share π of rows is among the ℓ least normal
    shape    N(z; δ, τ²)/N(z; 0, 1), z = Φ⁻¹(p)    all scores move by δ, or spread by τ

so that scores too high (δ > 0) or too alike (τ < 1: a stuck sensor) are evidence too.

Per bet, with L_t = Σ_{i≤t} log f(p_i), the sum over starts is exp(L_t) Σ_{j≤t} γ_j exp(−L_{j−1}):
two running sums, whatever the length of the stream.

Sources: Ville 1939; Vovk 2021 (testing randomness online, Statistical Science 36); Shiryaev 1963
and Roberts 1966 for the sum over starts; Shin, Ramdas and Rinaldo 2023 (e-detectors,
arXiv:2203.03532); Lai 1998 for the least delay.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import special

RARE = tuple(
    (share, level)
    for level, share in itertools.product((0.001, 0.01, 0.1), (0.01, 0.05, 0.2, 0.7))
    if share >= 2 * level
)
"""(π, ℓ) of the bets on rare rows of low p-values."""

SHAPE = (
    *((sign * size, 1.0) for size in (0.25, 0.5, 1.0, 2.0) for sign in (-1.0, 1.0)),
    (0.0, 2.0),
    (0.0, 0.5),
)
"""(δ, τ) of the bets on the normal scale."""

_LOG_WEIGHTS = -np.log(np.repeat([2.0 * len(RARE), 2.0 * len(SHAPE)], [len(RARE), len(SHAPE)]))
_PACE = 100.0  # a
_TOP = float(np.nextafter(1.0, 0.0))
_BLOCK = 4096


def log_bets(p_values: np.ndarray) -> np.ndarray:
    """Return log f_b(p), nats, `(bets, m)` for p-values `(m,)`; each f_b integrates to 1."""
    p = np.clip(p_values, np.finfo(np.float64).tiny, _TOP)
    z = special.ndtri(p)
    rare = [np.where(p <= a, np.log(1 - s + s / a), np.log(1 - s)) for s, a in RARE]
    square = 0.5 * z * z
    shape = [
        d * z - 0.5 * d * d if t == 1.0 else square - 0.5 * ((z - d) / t) ** 2 - np.log(t)
        for d, t in SHAPE
    ]
    return np.stack(rare + shape)


def log_later(rows: np.ndarray) -> np.ndarray:
    """Return log Σ_{j>t} γ_j, the prior mass of changes after row t = `rows`, `(m,)`."""
    return np.log(np.log(_PACE) / np.log(_PACE + rows))


def log_start(rows: np.ndarray) -> np.ndarray:
    """Return log γ_j for rows j = 1, 2, …, `(m,)`; the γ_j sum to 1."""
    before = np.log(_PACE + rows - 1.0)
    step = np.log1p(1.0 / (_PACE + rows - 1.0))
    return np.log(np.log(_PACE) * step / (before * (before + step)))


@dataclass(frozen=True)
class Evidence:
    """The running sums of every bet.

    Args:
        rows: t, rows seen.
        growth: `(bets,)` L_t, nats.
        starts: `(bets,)` log Σ_{j≤t} γ_j exp(−L_{j−1}), nats.
        lowest: `(bets,)` the smallest L_{j−1} so far, nats.
        lowest_row: `(bets,)` its j − 1: the number of rows before the best start.
    """

    rows: int
    growth: np.ndarray
    starts: np.ndarray
    lowest: np.ndarray
    lowest_row: np.ndarray

    @classmethod
    def none(cls, rows: int = 0) -> Evidence:
        """Return the evidence before the first row, or with none from `rows` rows."""
        n = len(RARE) + len(SHAPE)
        zero, never = np.zeros(n), np.full(n, np.inf)
        return cls(rows, zero, -never, never, np.zeros(n, np.int64))

    def advance(
        self, p_values: np.ndarray, threshold: float = np.inf
    ) -> tuple[Evidence, np.ndarray, int | None]:
        """Return the evidence after more rows, log M_t of each, and where a change seems to begin.

        Args:
            p_values: `(m,)` in [0, 1].
            threshold: of log M_t, nats.

        Returns:
            The new sums; log M_t `(m,)`, nats; and, if the threshold is reached in these rows, the
            number of rows before the best start of the bet that weighs most, as seen from the first
            row that reaches it.
        """
        now, logs, change = self, [np.empty(0)], None
        for first in range(0, len(p_values), _BLOCK):
            now, log_evidence, found = now._advance(p_values[first : first + _BLOCK], threshold)
            logs.append(log_evidence)
            change = found if change is None else change
        return now, np.concatenate(logs), change

    def _advance(
        self, p_values: np.ndarray, threshold: float
    ) -> tuple[Evidence, np.ndarray, int | None]:
        rows = self.rows + np.arange(p_values.size + 1)
        gains = np.concatenate([self.growth[:, None], log_bets(p_values)], axis=1)
        growth = np.add.accumulate(gains, axis=1)  # L_t, from the carried one: no regrouping
        fresh = log_start(rows[1:].astype(float)) - growth[:, :-1]
        starts = np.logaddexp.accumulate(
            np.concatenate([self.starts[:, None], fresh], axis=1), axis=1
        )
        bets = growth[:, 1:] + starts[:, 1:] + _LOG_WEIGHTS[:, None]
        later = log_later(rows[1:].astype(float))
        log_evidence = np.logaddexp(np.logaddexp.reduce(bets, axis=0), later)
        reached = np.flatnonzero(log_evidence >= threshold)
        change = None
        if reached.size:
            at = int(reached[0])
            bet = int(np.argmax(bets[:, at]))
            change = int(self._lowest(growth[:, : at + 1], rows[: at + 1])[1][bet])
        lowest, lowest_row = self._lowest(growth[:, :-1], rows[:-1])
        after = Evidence(int(rows[-1]), growth[:, -1], starts[:, -1], lowest, lowest_row)
        return after, log_evidence, change

    def _lowest(self, growth: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.argmin(growth, axis=1)
        values = growth[np.arange(len(growth)), at]
        lower = values < self.lowest
        return np.where(lower, values, self.lowest), np.where(lower, rows[at], self.lowest_row)
