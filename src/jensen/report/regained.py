r"""Cells hidden from a model, filled in, and compared with what they were.

One observed held-out cell in ten is hidden, by a fixed seed; the model fills it in from the rest of
its row. Beside it stands what needs no model: the column's training mean, or its most frequent
training value. The gain is the share of the error that the model takes away,

    numbers     1 - Σ (x̂ - x)² / Σ (m - x)²
    others      1 - #{x̂ ≠ x} / #{mode ≠ x}

0 where it does no better than without a row to look at, 1 where every cell is right, below 0 where
it does worse. Its interval holds the central 95% of 1,000 resamples of the cells.

Cells are hidden at random: the figures hold for gaps that do not depend on what is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jensen.evaluation.likelihood import Gaussian
from jensen.fitting import TableLatent

SHARE = 0.1
"""Share of the observed cells that are hidden."""

_SEED = 20_260_101
_RESAMPLES = 1000
_FEWEST = 5  # cells: fewer give no interval worth the name


@dataclass(frozen=True)
class Regained:
    """What imputation made of the hidden cells of one column.

    Attributes:
        name: the column.
        number: whether errors are distances, and not right or wrong.
        n: hidden cells.
        model: root mean squared error, in the column's unit, or the share that is right.
        simple: the same of the training mean, or of the most frequent value.
        gain: share of the error that the model takes away; nan where there was none.
        low: of its 95% interval.
        high: of its 95% interval.
    """

    name: str
    number: bool
    n: int
    model: float
    simple: float
    gain: float
    low: float
    high: float


def regained(latent: TableLatent, baseline: Gaussian, rows: np.ndarray) -> list[Regained]:
    """Hide cells of the rows, fill them in, and return how each column came out.

    Args:
        latent: the trained model.
        baseline: what is known of the training rows without it.
        rows: encoded held-out rows `(n, columns)` that the model gives a probability; NaN where a
            cell is missing.

    Returns:
        One entry for each column with a hidden cell, in the order of the table.
    """
    gaps = hidden_cells(rows, list(latent.preprocess.schema.constant))
    filled = latent.impute(np.where(gaps, np.nan, rows))
    simple = simple_values(latent, baseline)
    schema, types = latent.preprocess.schema, latent.plan.types
    found = []
    for j in (*schema.continuous, *schema.categorical):
        at = gaps[:, j]
        if at.any():
            number = types[j] not in ("binary", "categorical")
            cells = rows[at, j], filled[at, j]
            found.append((j, compared(schema.names[j], *cells, simple[j], number=number)))
    return [one for _, one in sorted(found, key=lambda entry: entry[0])]


def hidden_cells(rows: np.ndarray, constant: list[int]) -> np.ndarray:
    """Return which cells to hide `(n, columns)`: observed ones, never a row's last.

    Args:
        rows: encoded rows; NaN where a cell is missing.
        constant: columns of which nothing is hidden.
    """
    drawn = np.random.default_rng(_SEED).random(rows.shape)
    seen = ~np.isnan(rows)
    seen[:, constant] = False
    hidden = seen & (drawn < SHARE)
    last = hidden.any(axis=1) & (hidden.sum(axis=1) == seen.sum(axis=1))
    kept = np.argmax(np.where(seen, drawn, -1.0), axis=1)
    hidden[last, kept[last]] = False
    return hidden


def simple_values(latent: TableLatent, baseline: Gaussian) -> np.ndarray:
    """Return the training mean, or the most frequent training value, of each column `(columns,)`.

    A column of zeros and ones has a most frequent value; a constant column has its own.
    """
    schema = latent.preprocess.schema
    out = np.full(len(schema.columns), np.nan)
    out[list(schema.continuous)] = baseline.preprocess.mean
    for j in schema.continuous:
        if latent.plan.types[j] == "binary":
            out[j] = float(out[j] > 0.5)
    for j, table in zip(schema.categorical, baseline.frequencies, strict=True):
        out[j] = float(np.argmax(table))
    return out


def compared(
    name: str, truth: np.ndarray, filled: np.ndarray, simple: float, *, number: bool
) -> Regained:
    """Return how one column came out.

    Args:
        name: the column.
        truth: the hidden cells `(n,)`.
        filled: what they were filled with `(n,)`.
        simple: what they would be filled with without a model.
        number: whether errors are distances.

    Example:
        >>> found = compared("a", np.array([0.0, 2.0]), np.array([0.0, 1.0]), 1.0, number=True)
        >>> found.gain, round(found.model, 4), found.simple
        (0.5, 0.7071, 1.0)
    """
    errors = np.stack([filled - truth, simple - truth])
    losses = errors**2 if number else (errors != 0).astype(float)
    mine, other = (float(loss.mean()) for loss in losses)
    low, high = _interval(losses)
    return Regained(
        name,
        number,
        len(truth),
        math.sqrt(mine) if number else 1.0 - mine,
        math.sqrt(other) if number else 1.0 - other,
        1.0 - mine / other if other > 0 else math.nan,
        low,
        high,
    )


def _interval(losses: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of the gain, of losses `(2, n)`; nan where it cannot be told."""
    n = losses.shape[1]
    if n < _FEWEST:
        return math.nan, math.nan
    random = np.random.default_rng(_SEED)
    means = [losses[:, random.integers(n, size=n)].mean(axis=1) for _ in range(_RESAMPLES)]
    mine, other = np.array(means).T
    gains = 1.0 - mine[other > 0] / other[other > 0]
    if len(gains) < _RESAMPLES // 2:
        return math.nan, math.nan
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)
