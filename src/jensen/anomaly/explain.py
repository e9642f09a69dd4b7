r"""Why a row scores as it does: contributions of its columns that sum to its score.

For any score s (higher = more normal) and normal rows B, a row x is set beside its reference r, the
nearest row of B (`jensen.anomaly.background`), and

    c_d = φ_d + s(r)/D,        Σ_d c_d = s(x),

where φ_d is the Shapley value of column d in going over from r to x (`jensen.anomaly.shapley`).
Columns with the lowest c_d are to blame. What would have to change is told by
`jensen.anomaly.changes`.

**Impossible rows**, s(x) = -∞: a column whose cell alone makes r impossible is guilty, c_d = -∞
(if there is none, one that makes r impossible together with columns before it); the others
contribute as they do with the guilty cells set back to those of r. Where a mixture of two possible
rows is impossible, it counts as the least likely of the row's possible mixtures.

A row's explanation is a function of the row, of s and of B: not of the rows explained with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.anomaly.background import Background, scored
from jensen.anomaly.changes import (
    CANDIDATES,
    Change,
    Scorer,
    change_of,
    nearest_normal,
    shown_number,
)
from jensen.anomaly.shapley import Orders, Subsets, game_of
from jensen.data.schema import Column

__all__ = ["Background", "Change", "Explanation", "explain"]

_CELLS = 1 << 22  # of mixtures scored at once
_GAMES = 1 << 18  # values of games kept at once


@dataclass(frozen=True)
class Explanation:
    """Why rows score as they do.

    Args:
        columns: what the `D` columns hold.
        rows: `(m, D)` the encoded rows.
        score: `(m,)` their scores, nats.
        contributions: `(m, D)`, nats; they sum to the score. -∞ where a cell alone makes the row
            impossible.
        se: `(m, D)` standard errors between pairs of orders; 0 where the values are exact.
        reference: `(m, D)` the normal row that each is set beside.
        reference_score: `(m,)` their scores.
        threshold: the score below which a row is flagged; None where none was given.
        mended: `(m, D)` flagged rows with guilty cells set to the nearest normal values, others as
            they are.
        score_after: `(m,)` the scores of those.
        changes: for each row the cells changed, guiltiest first.
        orders: orders behind each contribution.
        score_name: what the score is called in sentences.
    """

    columns: tuple[Column, ...]
    rows: np.ndarray
    score: np.ndarray
    contributions: np.ndarray
    se: np.ndarray
    reference: np.ndarray
    reference_score: np.ndarray
    threshold: float | None
    mended: np.ndarray
    score_after: np.ndarray
    changes: tuple[tuple[Change, ...], ...]
    orders: int
    score_name: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def flagged(self) -> np.ndarray:
        """Whether each row is below the threshold, `(m,)` of bool; False without one."""
        if self.threshold is None:
            return np.zeros(len(self.score), bool)
        return self.score < self.threshold

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """Return for each row the `k` guiltiest columns, with their contributions in nats."""
        order = np.argsort(self.contributions, axis=1, kind="stable")[:, :k]
        return [
            [(self.names[d], float(self.contributions[i, d])) for d in best]
            for i, best in enumerate(order)
        ]

    def sentences(self) -> list[str]:
        """Return for each row one sentence on what would make it normal; empty where it is."""
        told = []
        for i, flagged in enumerate(self.flagged):
            if self.threshold is None or not flagged:
                told.append("")
                continue
            limit, after = f"(threshold {shown_number(self.threshold)})", self.score_after[i]
            listed = ", ".join(change.text for change in self.changes[i])
            still = "" if after >= self.threshold else "still "
            end = f"{self.score_name} is {still}{shown_number(after)} {limit}"
            told.append(
                f"{listed}; then {end}" if listed else f"no change of few cells helps; {end}"
            )
        return told


def explain(
    score: Scorer,
    rows: ArrayLike,
    background: ArrayLike | Background,
    *,
    columns: Sequence[Column] | None = None,
    threshold: float | None = None,
    score_name: str = "log p",
) -> Explanation:
    """Return contributions of the columns that sum to the score of each row.

    Args:
        score: encoded rows `(m, D)` → scores `(m,)`, nats, higher = more normal; -∞ is legal.
            Deterministic, and each row's score its own whatever it is scored with.
        rows: `(m, D)` encoded rows (see `jensen.data.schema`).
        background: `(n, D)` encoded normal rows, or a `Background` made of them.
        columns: what the columns hold, such as `schema.columns`; numbers without names if None.
        threshold: rows with a lower score are flagged, and told what would make them normal.
        score_name: what the score is called in sentences.

    Returns:
        The explanation. Each row takes 2^D scores up to eight columns, about 8 D up to 64, 4 D
        beyond; fewer where cells equal those of the reference.

    Raises:
        InputError: for rows that do not fit the background, or a score that gives NaN.

    Example:
        >>> normal = np.random.default_rng(0).normal(size=(200, 3))
        >>> found = explain(lambda x: -0.5 * (x**2).sum(axis=1), [[0.1, 9.0, 0.2]], normal)
        >>> found.top(1)[0][0][0], bool(np.isclose(found.contributions.sum(), found.score[0]))
        ('column 2', True)
    """
    known = background
    if not isinstance(known, Background):
        known = Background.of(score, known, columns)
    table = _fitting(rows, known)
    at = known.nearest(table)
    reference, scores = known.rows[at], scored(score, table)
    guilty = _impossible(score, table, reference, scores)
    contributions, se = _contributions(score, table, reference, guilty, scores, known.score[at])
    mended, after = _mended(score, known, table, reference, contributions, scores, threshold)
    return Explanation(
        known.columns,
        table,
        scores,
        contributions,
        se,
        reference,
        known.score[at],
        threshold,
        mended,
        after,
        tuple(_changes(known, *parts) for parts in zip(table, mended, contributions, strict=True)),
        game_of(table.shape[1]).orders,
        score_name,
    )


def _fitting(rows: ArrayLike, known: Background) -> np.ndarray:
    table = np.asarray(rows, np.float64)
    if table.ndim != 2 or table.shape[1] != len(known.columns):
        raise InputError(
            f"rows of shape {table.shape} beside a background of {len(known.columns)} columns",
            "rows",
            f"give encoded rows of shape (m, {len(known.columns)})",
        )
    return table


def _mended(
    score: Scorer,
    known: Background,
    rows: np.ndarray,
    reference: np.ndarray,
    guilt: np.ndarray,
    scores: np.ndarray,
    threshold: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows, those below the threshold changed to reach it, and their scores."""
    mended, after = rows.copy(), scores.copy()
    if threshold is None:
        return mended, after
    flagged = np.flatnonzero(scores < threshold)
    size = max(1, _CELLS // (rows.shape[1] * (CANDIDATES + 2)))
    for start in range(0, len(flagged), size):
        which = flagged[start : start + size]
        mended[which], after[which] = nearest_normal(
            lambda trial: scored(score, trial),
            rows[which],
            reference[which],
            guilt[which],
            known.values,
            known.columns,
            threshold,
        )
    return mended, after


def _contributions(
    score: Scorer,
    rows: np.ndarray,
    reference: np.ndarray,
    guilty: np.ndarray,
    scores: np.ndarray,
    reference_score: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return contributions and their standard errors `(m, D)`."""
    m, width = rows.shape
    game = game_of(width)
    found, se = np.empty((m, width)), np.empty((m, width))
    size = max(1, _GAMES // game.size)
    for start in range(0, m, size):
        part = slice(start, start + size)
        x = np.where(guilty[part], reference[part], rows[part])
        values = _values(score, game, x, reference[part])
        lowest = np.min(np.where(np.isneginf(values), np.inf, values), axis=1, keepdims=True)
        values = np.maximum(values, lowest)
        shares, se[part] = game.shares(values)
        # in one layout, so that a sum is rounded alike however many rows there are
        shares = np.ascontiguousarray(shares + reference_score[part, None] / width)
        # the sum is s(x) up to rounding: the largest takes what is left
        left = np.where(guilty[part].any(axis=1), 0.0, scores[part] - shares.sum(axis=1))
        shares[np.arange(len(x)), np.abs(shares).argmax(axis=1)] += left
        found[part] = np.where(guilty[part], -np.inf, shares)
    return found, se


def _values(
    score: Scorer, game: Subsets | Orders, x: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Return v(S) `(m, size)` of all coalitions, each mixture scored once."""
    changed = (x != reference) & ~(np.isnan(x) & np.isnan(reference))
    stands = game.standing_for(changed)
    asked = np.zeros(stands.shape, bool)
    np.put_along_axis(asked, stands, True, axis=1)
    row, coalition = np.nonzero(asked)
    scores = np.empty(len(row))
    step = max(_CELLS // x.shape[1], 1024)
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        inside = game.members(coalition[part])
        scores[part] = scored(score, np.where(inside, x[row[part]], reference[row[part]]))
    values = np.empty(stands.shape)
    values[row, coalition] = scores
    return np.take_along_axis(values, stands, axis=1)


def _impossible(
    score: Scorer, rows: np.ndarray, reference: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Return which cells make a row impossible, `(m, D)` of bool."""
    guilty = np.zeros(rows.shape, bool)
    width = rows.shape[1]
    for i in np.flatnonzero(np.isneginf(scores)):
        single = np.where(np.eye(width, dtype=bool), rows[i], reference[i])
        guilty[i] = np.isneginf(scored(score, single))
        mixed = np.where(guilty[i], reference[i], rows[i])
        if np.isfinite(scored(score, mixed[None])[0]):
            continue
        mixed = reference[i].copy()
        for d in np.flatnonzero(~guilty[i]):
            own, mixed[d] = mixed[d], rows[i, d]
            if np.isneginf(scored(score, mixed[None])[0]):
                guilty[i, d], mixed[d] = True, own
    return guilty


def _changes(
    known: Background, row: np.ndarray, mended: np.ndarray, contributions: np.ndarray
) -> tuple[Change, ...]:
    """Return the cells in which a row was changed, guiltiest first."""
    different = np.flatnonzero((row != mended) & ~(np.isnan(row) & np.isnan(mended)))
    order = different[np.argsort(contributions[different], kind="stable")]
    return tuple(
        change_of(known.columns[d], float(row[d]), float(mended[d]), known.values[d]) for d in order
    )
