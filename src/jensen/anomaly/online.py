r"""Conformal p-values along a stream: independent and uniform as long as nothing changes.

Let row t be the t-th of all rows seen, calibration rows included. If the rows are exchangeable, the
rank of score s_t among the scores so far is uniform and independent of all earlier ranks, so that

    p_t = (#{i < t : s_i < s_t} + U_t (#{i < t : s_i = s_t} + 1)) / t,       U_t ~ Uniform(0, 1),

are independent and uniform on (0, 1): exactly, whatever the law of the scores. A p-value that
compares with the calibration rows alone is not: its errors are those of one calibration set, the
same in every row, and a stream that never changes would look changed in the end.

Ties are broken by one more uniform number per row, V_t, so that all keys (s, V) differ. To bound
the memory, the first `REFERENCE` keys are kept and divide the line into cells, and of later rows
only their number in each cell is kept. Equality then means "in the same cell": with g keys kept,
the next row falls into cell b with chance (1 + c_b)/(g + 1 + Σc), c the counts (a Pólya urn), and

    p_t = (Σ_{a<b} (1 + c_a) + U_t (1 + c_b)) / (g + 1 + Σc)

is still exactly uniform and independent of the past: only the resolution is that of g rows.

U_t and V_t are functions of (seed, t), and all else is counting: blocks of any size give the same
numbers to the last bit.

Sources: Vovk, Nouretdinov and Gammerman 2003 (testing exchangeability on-line); Vovk, Gammerman and
Shafer 2022 (algorithmic learning in a random world, 2nd ed.). The cells are this
library's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jensen._errors import InputError
from jensen.anomaly.calibrate import Conformal

REFERENCE = 4096
"""How many rows are kept, unless there are more calibration rows."""

_BLOCK = 256  # rows compared with each other at once


@dataclass(frozen=True)
class Reference:
    """The rows seen so far, in bounded memory.

    Args:
        keys: `(g,)` complex, sorted: scores as real parts, tie-breakers as imaginary parts.
        counts: `(g + 1,)` later rows in each cell between keys.
        capacity: rows are added to the keys until there are this many.
    """

    keys: np.ndarray
    counts: np.ndarray
    capacity: int

    @classmethod
    def of(cls, calibration: Conformal, seed: int, capacity: int = REFERENCE) -> Reference:
        """Return the reference before the stream: the calibration rows."""
        keys = _keys(calibration.scores, uniforms(seed, 0, calibration.n)[1])
        counts = np.zeros(calibration.n + 1, np.int64)
        return cls(np.sort(keys), counts, max(capacity, calibration.n))

    @property
    def n(self) -> int:
        """The number of rows seen, calibration rows included."""
        return self.keys.size + int(self.counts.sum())

    def extend(
        self, scores: np.ndarray, smooth: np.ndarray, ties: np.ndarray
    ) -> tuple[Reference, np.ndarray]:
        """Return the reference with more rows, and their p-values.

        Args:
            scores: `(m,)`, nats, higher = more normal; -inf is legal.
            smooth: `(m,)`, U_t.
            ties: `(m,)`, V_t.

        Returns:
            The new reference, and p `(m,)`.

        Raises:
            InputError: for NaN.
        """
        if np.isnan(scores).any():
            raise InputError(
                f"{int(np.isnan(scores).sum())} of {scores.size} scores are NaN",
                "stream",
                "drop or mend those rows",
            )
        keys, reference, p = _keys(scores, ties), self, np.empty(scores.size)
        start = 0
        while start < keys.size:
            room = reference.capacity - reference.keys.size
            stop = min(start + (min(_BLOCK, room) if room > 0 else _BLOCK), keys.size)
            part = slice(start, stop)
            add = reference._grow if room > 0 else reference._count
            reference, p[part] = add(keys[part], smooth[part])
            start = stop
        return reference, p

    def _grow(self, keys: np.ndarray, smooth: np.ndarray) -> tuple[Reference, np.ndarray]:
        before = np.tril(keys[None, :] < keys[:, None], -1).sum(1)
        below = np.searchsorted(self.keys, keys) + before
        p = (below + smooth) / (self.keys.size + 1.0 + np.arange(keys.size))
        joined = np.sort(np.concatenate([self.keys, keys]))
        return Reference(joined, np.zeros(joined.size + 1, np.int64), self.capacity), p

    def _count(self, keys: np.ndarray, smooth: np.ndarray) -> tuple[Reference, np.ndarray]:
        cell = np.searchsorted(self.keys, keys).astype(np.int32)
        weights = 1 + self.counts
        up_to = np.cumsum(weights)
        below = up_to[cell] - weights[cell] + np.tril(cell[None, :] < cell[:, None], -1).sum(1)
        weight = weights[cell] + np.tril(cell[None, :] == cell[:, None], -1).sum(1)
        p = (below + smooth * weight) / (up_to[-1] + 0.0 + np.arange(keys.size))
        counts = self.counts + np.bincount(cell, minlength=self.counts.size)
        return Reference(self.keys, counts, self.capacity), p


def uniforms(seed: int, first: int, n: int) -> np.ndarray:
    """Return U_t and V_t of rows t = first, …, first + n − 1, `(2, n)` in (0, 1).

    A pure function of (seed, t): Philox in counter mode, half a counter a row, 52 bits a number.

    Example:
        >>> bool((uniforms(7, 0, 9)[:, 4:] == uniforms(7, 4, 5)).all())
        True
    """
    skip = 2 * (first % 2)
    source = np.random.Philox(key=seed, counter=first // 2)
    raw = source.random_raw(skip + 2 * n)[skip:]
    return np.ascontiguousarray(((raw >> np.uint64(12)) + 0.5).reshape(n, 2).T) * 2.0**-52


def _keys(scores: np.ndarray, ties: np.ndarray) -> np.ndarray:
    keys = np.empty(scores.size, np.complex128)  # s + 1j·V would turn -inf into NaN
    keys.real, keys.imag = scores, ties
    return keys
