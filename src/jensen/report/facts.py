r"""What every report reads off a run folder, whatever the family: rows, facts, metrics, samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen._errors import InputError
from jensen.apply import Note
from jensen.data.schema import Schema
from jensen.runs import Run

SHOWN = 2000
"""Rows drawn in the figures, and samples compared with them."""


@dataclass(frozen=True)
class Asked:
    """What a user asks of a report.

    Args:
        normal: fresh normal rows, anything `open_table` opens; None for the run's held-out rows.
        anomalies: known anomalies, or None.
        alpha: stated false-alarm rate; None for 0.05, or the smallest the run reaches above it.
        note: receives remarks.
    """

    normal: Any
    anomalies: Any
    alpha: float | None
    note: Note


def data_facts(run: Run) -> list[tuple[str, object]]:
    """Return what is said of the data."""
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


def training_facts(run: Run) -> list[tuple[str, object]]:
    """Return what is said of how the model was trained."""
    spec = run.spec
    stopped = "early stopping" if spec["stopped_early"] else "all epochs"
    return [
        ("Seed", spec["seed"]),
        ("Training", f"{spec['steps']:,} steps in {spec['seconds']:.0f} s ({stopped})"),
        ("Versions", ", ".join(f"{name} {v}" for name, v in spec["versions"].items())),
    ]


def metrics_of(run: Run) -> dict[str, np.ndarray] | None:
    """Return the columns of `metrics.parquet`, None where there is no such file.

    Raises:
        InputError: if the file is damaged.
    """
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
    return {name: table[name].to_numpy() for name in table.column_names}


def in_table(schema: Schema, rows: np.ndarray) -> np.ndarray:
    """Return encoded samples as a reader of `jensen sample`'s table would see them.

    Args:
        schema: the columns.
        rows: encoded rows `(n, columns)`.
    """
    out = rows.copy()
    for j in schema.continuous:
        out[:, j] = np.asarray(schema.columns[j].decode(rows[:, j]), np.float64)
    return out


def beside(schema: Schema, rows: np.ndarray, samples: np.ndarray) -> dict[str, Any]:
    """Return data and samples of a report: the columns that are numbers, levels, and images.

    Args:
        schema: the columns.
        rows: encoded rows `(n, columns)`.
        samples: encoded samples `(m, columns)`, as `in_table` gives them.

    Returns:
        The fields `names`, `data` and `samples`, `levels` and `images` of a `Report`, those that
        there are.
    """
    found: dict[str, Any] = {}
    if numeric := list(schema.continuous):
        found["names"] = [schema.names[j] for j in numeric]
        found["data"], found["samples"] = rows[:, numeric], samples[:, numeric]
    if schema.categorical:
        found["levels"] = {
            schema.names[j]: _shares(schema, j, rows, samples) for j in schema.categorical
        }
    if is_image(schema):
        found["images"] = {"data": as_images(schema, rows), "samples": as_images(schema, samples)}
    return found


def is_image(schema: Schema) -> bool:
    """Return whether the rows are images: of shape (H, W), (H, W, 1) or (H, W, 3)."""
    shape = schema.shape or ()
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def as_images(schema: Schema, rows: np.ndarray) -> np.ndarray:
    """Return rows `(n, columns)` as images `(n, *schema.shape)`; constant columns keep their value.

    Args:
        schema: the columns, with a shape.
        rows: encoded rows.
    """
    return rows.reshape(len(rows), *(schema.shape or ()))


def _shares(
    schema: Schema, j: int, rows: np.ndarray, samples: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Return level → its share of the rows and of the samples."""
    levels = schema.columns[j].levels
    found = []
    for table in (rows, samples):
        codes = table[np.isfinite(table[:, j]), j].astype(int)
        found.append(np.bincount(codes, minlength=len(levels)) / max(len(codes), 1))
    return {name: (float(a), float(b)) for name, a, b in zip(levels, *found, strict=True)}
