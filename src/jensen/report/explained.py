r"""The rows of a report that score lowest, and why, by `jensen.anomaly.explain`.

What is shown of a column is φ_d = c_d - s(r)/D, the nats that it adds in going over from the
nearest normal row r to the row x: with the score of r they sum to that of x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.anomaly.changes import shown
from jensen.anomaly.explain import Explanation
from jensen.anomaly.shapley import WIDE
from jensen.apply import Note, encoded
from jensen.data.source import open_table
from jensen.explaining import Explainer
from jensen.report.content import Case, Explained
from jensen.report.facts import as_images, is_image
from jensen.runs import Run

_MOST, _MOST_WIDE = 10, 4  # rows explained; fewer where there are many columns
_COLUMNS = 6  # shown of a row


@dataclass(frozen=True)
class Lowest:
    """The rows of a table that score lowest, lowest first.

    Args:
        rows: `(≤ 10, columns)` encoded.
        numbers: their places in the table, counted from 1.
        scores: their scores, nats.
        n: rows of the table.
        origin: what the table is called.
    """

    rows: np.ndarray
    numbers: np.ndarray
    scores: np.ndarray
    n: int
    origin: str


def lowest_of(rows: np.ndarray, scores: np.ndarray, origin: str) -> Lowest:
    """Return the lowest of encoded rows `(n, columns)` with scores `(n,)`."""
    order = np.argsort(scores, kind="stable")[:_MOST]
    return Lowest(rows[order], order + 1, scores[order], len(rows), origin)


def lowest_in(run: Run, data: Any, note: Note) -> tuple[np.ndarray, Lowest]:
    """Return the scores `(n,)` of the rows of a table, and the lowest of them.

    Args:
        run: a finished run of a density.
        data: anything `open_table` opens.
        note: receives remarks.

    Raises:
        InputError: for data that does not fit the run.
    """
    source = open_table(data)
    blocks: list[np.ndarray] = []
    kept: Lowest | None = None
    for matrix in encoded(run, source, note):
        scores = run.density.judge(matrix)[0]
        blocks.append(scores)
        here = lowest_of(matrix, scores, source.label)
        kept = here if kept is None else _merged(kept, here)
    if kept is None:
        kept = lowest_of(np.empty((0, len(run.schema.columns))), np.empty(0), source.label)
    return np.concatenate([np.empty(0), *blocks]), kept


def _merged(one: Lowest, two: Lowest) -> Lowest:
    """Return the lowest of two tables, the second after the first."""
    scores = np.concatenate([one.scores, two.scores])
    order = np.argsort(scores, kind="stable")[:_MOST]
    return Lowest(
        np.concatenate([one.rows, two.rows])[order],
        np.concatenate([one.numbers, two.numbers + one.n])[order],
        scores[order],
        one.n + two.n,
        one.origin,
    )


def explained(run: Run, lowest: Lowest, alpha: float) -> Explained:
    """Return why the lowest rows score as they do.

    Args:
        run: a finished run of a density.
        lowest: the rows.
        alpha: flagged rows are told what would make them normal.

    Raises:
        InputError: for an α that the run cannot reach.
    """
    most = _MOST if len(run.schema.columns) <= WIDE else _MOST_WIDE
    found = Explainer(run, alpha).explain(lowest.rows[:most])
    p_values = run.conformal.p_values(found.score)
    told = found.sentences()
    width = len(found.columns)
    shares = found.contributions - found.reference_score[:, None] / width
    pictures = is_image(run.schema)
    images = as_images(run.schema, found.rows) if pictures else [None] * len(found.rows)
    heat = as_images(run.schema, shares) if pictures else [None] * len(found.rows)
    cases = [
        Case(
            row=int(lowest.numbers[i]),
            score=float(found.score[i]),
            p_value=float(p_values[i]),
            reference_score=float(found.reference_score[i]),
            **_shares(found, shares[i], i),
            told=told[i],
            image=images[i],
            heat=heat[i],
        )
        for i in range(len(found.rows))
    ]
    return Explained(lowest.origin, lowest.n, cases, found.orders)


def _shares(found: Explanation, shares: np.ndarray, i: int) -> dict[str, Any]:
    """Return the columns that weigh most, guiltiest first, and what the others add together."""
    weigh = np.argsort(-np.abs(shares), kind="stable")[:_COLUMNS]
    weigh = weigh[np.argsort(shares[weigh], kind="stable")]
    rest = np.delete(shares, weigh)
    listed = [
        (
            found.names[d],
            shown(found.columns[d], float(found.rows[i, d])),
            shown(found.columns[d], float(found.reference[i, d])),
            float(shares[d]),
        )
        for d in weigh
    ]
    return {"shares": listed, "others": (float(rest.sum()), len(rest))}
