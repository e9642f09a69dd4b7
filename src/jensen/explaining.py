r"""Explanations of the rows of tables of any size, by a trained run.

The score is the one that the run is calibrated by (log p, or the pooled score of a detector), the
normal rows are the calibration rows that its folder keeps: see
`jensen.anomaly.explain`. Rows stream through in bounded memory, and a row's explanation depends on
the row alone.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from jensen.anomaly.explain import Background, Explanation, explain
from jensen.apply import Note, encoded
from jensen.data.output import TableWriter, check_output
from jensen.data.source import open_table
from jensen.runs import Run
from jensen.scoring import is_log_prob

PREFIX = "because:"
"""What the column of a contribution begins with."""


class Explainer:
    """Explains rows by a run.

    Args:
        run: a finished run of a density.
        alpha: rows with a p-value at or below it are told what would make them normal.

    Raises:
        InputError: for a GAN, or an α that the run cannot reach.
    """

    def __init__(self, run: Run, alpha: float) -> None:
        self.run = run
        self.threshold = run.conformal.threshold(alpha)
        self.background = Background.of(self.score, run.held_out()[0], run.schema.columns)

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Return the score `(m,)` of encoded rows `(m, columns)`, nats."""
        return self.run.density.judge(rows)[0]

    def explain(self, rows: np.ndarray) -> Explanation:
        """Return the explanation of encoded rows `(m, columns)`."""
        name = "log p" if is_log_prob(self.run, "default") else "the score"
        return explain(self.score, rows, self.background, threshold=self.threshold, score_name=name)


def default_alpha(run: Run) -> float:
    """Return 0.05, or the smallest false-alarm rate above it that the run reaches."""
    return max(0.05, run.conformal.smallest_alpha)


def explain_table(
    run: Run, data: Any, out: str | os.PathLike[str], note: Note, alpha: float | None = None
) -> dict[str, Any]:
    """Write why each row scores as it does, one row per row of `data`.

    The columns are `log_prob` (nats; `score` for the pooled score of a detector), `p_value`,
    `is_anomaly`, for each column of the table its contribution `because:NAME` (nats; they sum to
    that first column, the lowest are to blame), and `changes`: for flagged rows, what would make
    them normal, in words. An array (`.npy`) holds no text, so it has no `changes`.

    Args:
        run: a finished run of a density.
        data: anything `open_table` opens.
        out: the file to write.
        note: receives remarks.
        alpha: the false-alarm rate; None for `default_alpha`.

    Returns:
        `n`, `alpha`, `flagged`, `threshold`, `orders` (behind each contribution), `seconds`, `out`.

    Raises:
        InputError: for a run, data, an output, or an α that cannot be used.
    """
    started = time.monotonic()
    level = default_alpha(run) if alpha is None else alpha
    explainer = Explainer(run, level)
    source = open_table(data)
    path = check_output(out, source.paths)
    wordless = path.suffix.lower() == ".npy"
    if wordless:
        note("an array holds no text: write .csv or .parquet for the column `changes`")
    n = flagged = orders = 0
    with TableWriter(path) as writer:
        for matrix in encoded(run, source, note):
            found = explainer.explain(matrix)
            writer.write(_columns(run, found, wordless))
            n, flagged, orders = n + len(matrix), flagged + int(found.flagged.sum()), found.orders
    return {
        "n": n,
        "alpha": level,
        "flagged": flagged,
        "threshold": explainer.threshold,
        "orders": orders,
        "seconds": time.monotonic() - started,
        "out": str(path),
    }


def _columns(run: Run, found: Explanation, wordless: bool) -> dict[str, np.ndarray]:
    words = {} if wordless else {"changes": np.array(found.sentences(), dtype=object)}
    return {
        "log_prob" if is_log_prob(run, "default") else "score": found.score,
        "p_value": run.conformal.p_values(found.score),
        "is_anomaly": found.flagged,
        **{PREFIX + name: found.contributions[:, d] for d, name in enumerate(found.names)},
        **words,
    }
