r"""The report of a run: its figures read off the run folder, and its held-out rows.

* *PIT of the density*: u = share of the model's own samples with a lower log-density than the row.
  For rows of the model's distribution u is uniform on [0, 1]; a U-shape says too narrow, a hump too
  wide. It is one number per row, for any density.
* *Measured type I error*: on rows the user gives; otherwise on the validation rows, which the
  weights and the threshold have not seen (training only asked them when to stop).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jensen._errors import InputError
from jensen.apply import Note, encoded, log_probs
from jensen.data.source import Source, open_table
from jensen.evaluation.likelihood import mean_and_error
from jensen.report.content import Report
from jensen.report.html import write_report
from jensen.runs import Run

_SHOWN = 2000  # rows drawn in the figures, and samples compared with them


def report_run(
    run: Run,
    *,
    normal: Any = None,
    anomalies: Any = None,
    alpha: float | None = None,
    note: Note = print,
) -> Path:
    """Write `report.html` into the run folder.

    Args:
        run: a finished run.
        normal: fresh normal rows, anything `open_table` opens; the run's validation rows if None.
        anomalies: known anomalies, or None.
        alpha: stated false-alarm rate; None for 0.05, or the smallest the run reaches above it.
        note: receives remarks.

    Returns:
        The path of the page.

    Raises:
        InputError: for data that does not fit the run, or an α it cannot reach.
    """
    rows = _held_out(run)
    n_calibration = min(run.spec["split"]["calibration"], _SHOWN)
    calibration, validation = rows[:n_calibration], rows[n_calibration:]
    notes = []
    if normal is None:
        held_out, origin = validation, "validation rows"
        log_prob, base = run.density.log_prob(validation)[0], run.baseline.log_prob(validation)
        notes.append(
            "No fresh rows were given: the held-out figures are those of the validation rows, "
            "which decided when training stopped."
        )
    else:
        held_out = np.concatenate(list(encoded(run, open_table(normal), note)))
        origin = open_table(normal).label
        log_prob, _, base = log_probs(run, normal, note)
    anomaly_scores = None if anomalies is None else log_probs(run, anomalies, note)[0]
    level = max(0.05, run.conformal.smallest_alpha) if alpha is None else alpha
    report = Report(
        title=f"{run.spec['data']['source']}: {run.spec['model']} density",
        subtitle=_subtitle(run, origin, len(log_prob)),
        data_facts=_data_facts(run),
        model_facts=_model_facts(run),
        metrics=_metrics(run),
        log_prob=_log_prob(run, log_prob),
        baseline=_baseline(log_prob, base),
        **_columns(run, np.concatenate([calibration, held_out])),
        pit=_pit(run, log_prob),
        calibration_scores=run.conformal.scores,
        normal_scores=log_prob,
        anomaly_scores=anomaly_scores,
        alpha=level,
        # a row is flagged strictly below the threshold
        threshold=float(np.nextafter(run.conformal.threshold(level), -np.inf)),
        notes=notes,
    )
    return write_report(report, run.folder / "report.html")


def _held_out(run: Run) -> np.ndarray:
    source: Source = open_table(run.folder / "heldout.parquet")
    return np.concatenate(list(encoded(run, source, lambda text: None)))


def _subtitle(run: Run, origin: str, n: int) -> str:
    split, data = run.spec["split"], run.spec["data"]
    return (
        f"Fitted to {split['train']:,} of the {data['rows']:,} rows of {data['source']}, stopped "
        f"by {split['validation']:,}, calibrated on {split['calibration']:,}; held-out figures "
        f"from {n:,} rows ({origin})."
    )


def _data_facts(run: Run) -> list[tuple[str, object]]:
    schema, data = run.schema, run.spec["data"]
    kinds = [column.kind for column in schema.columns]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    facts: list[tuple[str, object]] = [
        ("Source", data["source"]),
        ("Rows", data["rows"]),
        ("Columns", f"{data['columns']} ({counted})"),
    ]
    constant = [schema.columns[i].name for i in schema.constant]
    if constant:
        facts.append(("Constant columns", ", ".join(constant[:10])))
    return [*facts, ("Fingerprint", data["fingerprint"][:16])]


def _model_facts(run: Run) -> list[tuple[str, object]]:
    recipe, spec = run.spec["recipe"], run.spec
    size = f"{recipe['n_layers']} layers, {recipe['depth']} × {recipe['width']} units"
    stopped = "early stopping" if spec["stopped_early"] else "all epochs"
    return [
        ("Family", spec["model"]),
        ("Architecture", f"{recipe['architecture']}, {size}"),
        ("Members", recipe["members"]),
        ("Seed", spec["seed"]),
        ("Training", f"{spec['steps']:,} steps in {spec['seconds']:.0f} s ({stopped})"),
        ("Versions", ", ".join(f"{name} {v}" for name, v in spec["versions"].items())),
    ]


def _metrics(run: Run) -> dict[str, np.ndarray] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.folder / "metrics.parquet"
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            "the metrics of the run are damaged", str(path), "remove or restore the file"
        ) from error
    columns = {name: table[name].to_numpy() for name in table.column_names}
    members = range(run.spec["recipe"]["members"])
    return {
        "step": columns["step"],
        "learning_rate": columns["rate"] * run.spec["recipe"]["learning_rate"],
        **{
            name: np.stack([columns[f"{name}_member_{m}"] for m in members], axis=1)
            for name in ("train_loss", "validation_loss")
        },
    }


def _log_prob(run: Run, log_prob: np.ndarray) -> dict[str, object]:
    mean, error = mean_and_error(log_prob)
    return {"mean": mean, "se": error, "kind": run.density.kind, "n": len(log_prob)}


def _baseline(log_prob: np.ndarray, base: np.ndarray) -> dict[str, object]:
    mean, error = mean_and_error(base)
    _, difference = mean_and_error(log_prob - base)
    return {"name": "Gaussian", "mean": mean, "se": error, "difference_se": difference}


def _columns(run: Run, rows: np.ndarray) -> dict[str, Any]:
    """Return names, held-out rows and as many samples, of the columns that are numbers."""
    numeric = list(run.schema.continuous)
    if not numeric:
        return {}
    names = [run.schema.names[i] for i in numeric]
    shown = rows[: 2 * _SHOWN, numeric]
    return {"names": names, "data": shown, "samples": _sampled(run, len(shown))[:, numeric]}


def _sampled(run: Run, n: int) -> np.ndarray:
    """Return encoded samples as a reader of `jensen sample`'s table would see them."""
    rows = run.density.sample(n, run.spec["seed"])
    for i in run.schema.continuous:
        column = run.schema.columns[i]
        rows[:, i] = np.asarray(column.decode(rows[:, i]), np.float64)
    return rows


def _pit(run: Run, log_prob: np.ndarray) -> np.ndarray:
    """Return `(n,)` the share of the model's samples with a log-density below each row's."""
    own = np.sort(run.density.log_prob(_sampled(run, _SHOWN))[0])
    return (np.searchsorted(own, log_prob) + 0.5) / (len(own) + 1.0)
