r"""What the pages of all densities share: held-out rows, their scores, and what the scores say.

* *PIT of the density*: u = share of the model's own samples with a lower log-density than the row.
  For rows of the model's distribution u is uniform on [0, 1]; a U-shape says too narrow, a hump too
  wide. It is one number per row, for any density. Where rows miss cells, samples miss the same.
* *Measured type I error*: on rows the user gives; otherwise on the validation rows, which the
  weights and the threshold have not seen (training only asked them when to stop).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.apply import encoded
from jensen.data.source import open_table
from jensen.evaluation.likelihood import mean_and_error
from jensen.explaining import default_alpha
from jensen.models.pool import TablePool
from jensen.report.explained import explained, lowest_in, lowest_of
from jensen.report.facts import SHOWN, Asked, in_table
from jensen.runs import Run


@dataclass(frozen=True)
class Fresh:
    """The rows that a density is judged on.

    Args:
        calibration: encoded rows that set the threshold and took no other part.
        rows: encoded rows `(n, columns)` that the weights have not seen.
        origin: where they are from, in plain words.
        notes: what to keep in mind of them.
    """

    calibration: np.ndarray
    rows: np.ndarray
    origin: str
    notes: tuple[str, ...]


def fresh_rows(run: Run, asked: Asked) -> Fresh:
    """Return the rows that the user gives, the validation rows where there are none.

    Args:
        run: a finished run.
        asked: what the user asks of the report.

    Raises:
        InputError: for data that does not fit the run.
    """
    calibration, validation = run.held_out()
    if asked.normal is None:
        note = (
            "No fresh rows were given: the held-out figures are those of the validation rows, "
            "which decided when training stopped."
        )
        return Fresh(calibration, validation, "validation rows", (note,))
    source = open_table(asked.normal)
    rows = np.concatenate(list(encoded(run, source, asked.note)))
    return Fresh(calibration, rows, source.label, ())


def subtitle(run: Run, fresh: Fresh) -> str:
    """Return one sentence: what was fitted on what, and judged by which rows."""
    split, data = run.spec["split"], run.spec["data"]
    return (
        f"Fitted to {split['train']:,} of the {data['rows']:,} rows of {data['source']}, stopped "
        f"by {split['validation']:,}, calibrated on {split['calibration']:,}; held-out figures "
        f"from {len(fresh.rows):,} rows ({fresh.origin})."
    )


def score_fields(
    run: Run,
    asked: Asked,
    fresh: Fresh,
    log_prob: np.ndarray,
    simple: tuple[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Return what a `Report` says of the scores, by the names of its fields.

    Args:
        run: a finished run of a density.
        asked: what the user asks of the report.
        fresh: the rows that the density is judged on.
        log_prob: their log-likelihoods `(n,)`, nats.
        simple: name and log-likelihoods `(n,)` of a simpler model; None for the run's Gaussian.

    Raises:
        InputError: for anomalies that do not fit the run, or an α it cannot reach.
    """
    level = default_alpha(run) if asked.alpha is None else asked.alpha
    score = run.density.judge(fresh.rows)[0]
    lowest = lowest_of(fresh.rows, score, fresh.origin)
    anomaly_scores = None
    if asked.anomalies is not None:
        anomaly_scores, lowest = lowest_in(run, asked.anomalies, asked.note)
    mean, error = mean_and_error(log_prob)
    name, base = simple or ("Gaussian", run.baseline.log_prob(fresh.rows))
    return {
        "log_prob": {"mean": mean, "se": error, "kind": run.density.kind, "n": len(log_prob)},
        "baseline": _baseline(name, log_prob, base),
        # the density of blurred rows is not that of rows: their PIT would look shifted
        "pit": None if isinstance(run.density, TablePool) else _pit(run, fresh.rows, log_prob),
        "calibration_scores": run.conformal.scores,
        "normal_scores": score,
        "anomaly_scores": anomaly_scores,
        "explained": explained(run, lowest, level),
        "alpha": level,
        # a row is flagged strictly below the threshold
        "threshold": float(np.nextafter(run.conformal.threshold(level), -np.inf)),
    }


def sampled(run: Run, n: int) -> np.ndarray:
    """Return encoded samples as a reader of `jensen sample`'s table would see them."""
    return in_table(run.schema, run.density.sample(n, run.spec["seed"]))


def _baseline(name: str, log_prob: np.ndarray, base: np.ndarray) -> dict[str, object]:
    mean, error = mean_and_error(base)
    _, difference = mean_and_error(log_prob - base)
    return {"name": name, "mean": mean, "se": error, "difference_se": difference}


def _pit(run: Run, rows: np.ndarray, log_prob: np.ndarray) -> np.ndarray:
    """Return `(n,)` the share of the model's samples with a log-density below each row's."""
    gaps = np.isnan(rows)[np.arange(SHOWN) % len(rows)]
    samples = np.where(gaps, np.nan, sampled(run, SHOWN))
    own = np.sort(run.density.log_prob(samples)[0])
    return (np.searchsorted(own, log_prob) + 0.5) / (len(own) + 1.0)
