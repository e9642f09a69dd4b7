"""The report of a flow's run: its figures read off the run folder and held-out rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from jensen.fitting import Recipe
from jensen.models.pool import TablePool
from jensen.report.content import Report
from jensen.report.facts import (
    SHOWN,
    Asked,
    beside,
    data_facts,
    is_image,
    metrics_of,
    training_facts,
)
from jensen.report.scores import fresh_rows, sampled, score_fields, subtitle
from jensen.runs import Run


def flow_content(run: Run, asked: Asked) -> Report:
    """Return the content of the report of a flow.

    Args:
        run: a finished run.
        asked: what the user asks of it.

    Raises:
        InputError: for data that does not fit the run, or an α it cannot reach.
    """
    fresh = fresh_rows(run, asked)
    log_prob = run.density.log_prob(fresh.rows)[0]
    return Report(
        title=f"{run.spec['data']['source']}: {run.spec['model']} density",
        subtitle=subtitle(run, fresh),
        data_facts=data_facts(run),
        model_facts=_model_facts(run),
        metrics=_metrics(run),
        loss_unit="squared velocity" if _matched(run) else "nats per example",
        **score_fields(run, asked, fresh, log_prob),
        **_columns(run, np.concatenate([fresh.calibration, fresh.rows])),
        notes=fresh.notes,
    )


def _matched(run: Run) -> bool:
    """Return whether the run was trained by flow matching, whose loss is no log-likelihood."""
    return Recipe.from_settings(run.spec["recipe"]).options.matched


def _model_facts(run: Run) -> list[tuple[str, object]]:
    recipe = run.spec["recipe"]
    size = f"{recipe['n_layers']} layers, {recipe['depth']} × {recipe['width']} units"
    return [
        ("Family", run.spec["model"]),
        ("Architecture", f"{recipe['architecture']}, {size}"),
        ("Members", recipe["members"]),
        *_score_facts(run),
        *training_facts(run),
    ]


def _score_facts(run: Run) -> list[tuple[str, object]]:
    if not isinstance(run.density, TablePool):
        return []
    rows = run.density.kernel.members.centres.shape[1]
    return [
        ("Score", f"½ log p of the flow + ½ log p of a kernel density of {rows:,} rows"),
        ("Blur of the flow", f"{run.density.flow.blur:g} standard deviations of each column"),
        ("Bandwidth of the kernels", f"{run.density.kernel.blur:.3g} standard deviations"),
    ]


def _metrics(run: Run) -> dict[str, np.ndarray] | None:
    columns = metrics_of(run)
    if columns is None:
        return None
    members = range(run.spec["recipe"]["members"])
    return {
        "step": columns["step"],
        "learning_rate": columns["rate"] * run.spec["recipe"]["learning_rate"],
        **{
            name: np.stack([columns[f"{name}_member_{m}"] for m in members], axis=1)
            for name in ("train_loss", "validation_loss")
        },
    }


def _columns(run: Run, rows: np.ndarray) -> dict[str, Any]:
    """Return held-out rows and as many samples: of the columns that are numbers, or as images."""
    numeric = list(run.schema.continuous)
    if not numeric:
        return {}
    shown = rows[: 2 * SHOWN]
    samples = sampled(run, len(shown))
    if is_image(run.schema):  # pixels are looked at together
        return {"images": beside(run.schema, shown, samples)["images"]}
    names = [run.schema.names[i] for i in numeric]
    return {"names": names, "data": shown[:, numeric], "samples": samples[:, numeric]}
