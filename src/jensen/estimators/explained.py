"""What an estimator's scores rest on: explanations and self-checks, on arrays and on tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np

from jensen.anomaly.explain import Explanation, explain
from jensen.anomaly.selfcheck import self_check
from jensen.data.schema import Schema, read
from jensen.data.source import open_table

Score = Callable[[np.ndarray], np.ndarray]

_SAMPLES = 1000  # of the model, beside normal rows


def explain_rows(detector: Any, X: Any, normal: Any, threshold: float) -> Explanation:
    """Return what each column adds to the score of each row of X.

    Args:
        detector: has `score_samples`.
        X: rows as the detector takes them.
        normal: normal rows: an array, or an Arrow table where there are categories.
        threshold: rows with a lower score are flagged.
    """
    schema, background, rows, score = _encoded(detector, normal, X)
    names = getattr(detector, "feature_names_in_", schema.names)
    columns = [replace(c, name=str(n)) for c, n in zip(schema.columns, names, strict=True)]
    return explain(
        score, rows, background, columns=columns, threshold=threshold, score_name="the score"
    )


def check_self(detector: Any, density: Any, normal: Any) -> tuple[str, ...]:
    """Return remarks on what high scores mean, see `jensen.anomaly.selfcheck`.

    Args:
        detector: has `score_samples`.
        density: the fitted density within it; sampled where it can be.
        normal: normal rows that it was not fitted to: an array, or an Arrow table.
    """
    drawn = density.sample(_SAMPLES, random_state=0) if _can_be_sampled(density) else None
    if isinstance(drawn, dict):
        import pyarrow as pa

        drawn = pa.table(drawn)
    schema, background, samples, score = _encoded(detector, normal, drawn)
    numeric = np.isin(np.arange(len(schema.columns)), schema.continuous)
    return self_check(score, background, numeric, samples if len(samples) else None)


def _can_be_sampled(density: Any) -> bool:
    return hasattr(density, "sample") and "random_state" in signature(density.sample).parameters


def _encoded(detector: Any, normal: Any, X: Any) -> tuple[Schema, np.ndarray, np.ndarray, Score]:
    """Return columns, encoded normal rows, encoded rows of X, and the score of encoded rows."""
    if isinstance(normal, np.ndarray):
        schema, background = read(open_table(normal))
        rows = background[:0] if X is None else np.asarray(X, np.float64)
        return schema, background, rows, detector.score_samples
    import pyarrow as pa

    parts = [normal] if X is None else [normal, pa.table(X).select(normal.column_names)]
    schema, cells = read(open_table(pa.concat_tables(parts, promote_options="permissive")))

    def score(matrix: np.ndarray) -> np.ndarray:
        return detector.score_samples(pa.table(schema.decode(matrix)))

    return schema, cells[: len(normal)], cells[len(normal) :], score
