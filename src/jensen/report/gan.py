r"""The report of a GAN's run: how far samples are from rows that neither player has seen.

* *Divergence*: the run's own figure (`jensen.fitting.judge`): a discriminator trained anew on the
  training rows and judged on calibration rows, which took no part.
* *Where*: held-out rows against as many samples, column by column
  (`jensen.evaluation.two_sample`).
* *Neighbours*: precision, recall, density and coverage of samples among the examples that the
  players see, against half of the held-out rows. The other half is judged the same way: that is
  what rows of the same law have.
* *Modes*: of a made set, whose modes are known, beside as many rows of the true law.
* *Samples through training*: read off `RUN/samples/STEP.parquet`, for each of some steps a table of
  what `gan.sample(n, seed)` gave then, in the columns of the data; without that folder there is no
  such part of the page.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jensen._errors import InputError
from jensen.apply import encoded
from jensen.data.source import open_table
from jensen.data.toys import TOYS
from jensen.evaluation.coverage import toy_coverage
from jensen.evaluation.discriminator import MIN_ROWS
from jensen.evaluation.samples import precision_recall
from jensen.report.content import Game, Report
from jensen.report.facts import (
    SHOWN,
    Asked,
    as_images,
    beside,
    data_facts,
    in_table,
    is_image,
    metrics_of,
    training_facts,
)
from jensen.report.implied import implied_by, losses_if_same
from jensen.runs import Run

_NEIGHBOUR = 5
_MODE_ROWS = 2500  # the protocol's number, see jensen.evaluation.coverage
_PICTURES = 7  # of samples during training, beside the data and the finished model
_COLUMNS = {
    "step": "step",
    "discriminator": "train_loss",
    "generator": "train_loss_2",
    "gradient_norm": "gradient_norm",
    "jsd": "validation_loss",
    "jsd_se": "validation_se",
}


def gan_content(run: Run, asked: Asked) -> Report:
    """Return the content of the report of a GAN.

    Args:
        run: a finished run.
        asked: what the user asks of it; fresh rows alone, for there are no scores.

    Raises:
        InputError: for rows that do not fit the run, or for anomalies or a false-alarm rate.
    """
    if asked.anomalies is not None or asked.alpha is not None:
        raise InputError(
            "a GAN gives no scores, so it flags no anomalies",
            "--alpha" if asked.anomalies is None else "--anomalies",
            "leave the option out, or train with --model flow",
        )
    calibration, validation = run.held_out()
    rows, origin = np.concatenate([calibration, validation]), "rows held out from training"
    if asked.normal is not None:
        source = open_table(asked.normal)
        rows, origin = np.concatenate(list(encoded(run, source, asked.note))), source.label
        rows = rows[: 2 * SHOWN]
    samples = in_table(run.schema, run.gan.sample(len(rows), run.spec["seed"] + 1))
    split, data = run.spec["split"], run.spec["data"]
    return Report(
        title=f"{data['source']}: GAN",
        subtitle=(
            f"Trained on {split['train']:,} of the {data['rows']:,} rows of {data['source']}; "
            f"{split['validation']:,} chose the weights, {split['calibration']:,} took no part."
        ),
        data_facts=data_facts(run),
        model_facts=_model_facts(run),
        **beside(run.schema, rows, samples),
        notes=[*run.spec.get("adaptations", []), *_notes(run, asked, len(rows))],
        game=Game(
            **_curves(run),
            packing=run.gan.options.packing,
            judged=run.spec["figures"]["validation"],
            verdict=_verdict(run, rows, samples),
            origin=origin,
            **_neighbours(run, rows, samples),
            modes=_modes(run),
            trail=_trail(run, rows),
        ),
    )


def _model_facts(run: Run) -> list[tuple[str, object]]:
    o = run.gan.options
    penalties = {"R₁": o.r1, "R₂": o.r2, "gradient penalty": o.gradient_penalty}
    used = [f"{name} {value:.3g}" for name, value in penalties.items() if value]
    weight = f", generated rows weighted {o.fake_weight:g}" if o.fake_weight != 1 else ""
    spectral = ", spectral normalisation" if o.normalisation == "spectral" else ""
    return [
        ("Family", "GAN"),
        ("Loss", f"{o.loss}{weight}"),
        ("Discriminator", f"{o.depth} × {o.width} units, {o.activation}{spectral}"),
        ("Generator", f"{o.generator_depth} × {o.generator_width} units, {o.latent_dim} latents"),
        ("Penalties", used),
        ("Rows judged at once", o.packing),
        ("Rule", run.spec["recipe"]["rule"]),
        *training_facts(run),
    ]


def _notes(run: Run, asked: Asked, n: int) -> list[str]:
    """Return what to keep in mind of the rows behind the figures."""
    found = []
    if asked.normal is None:
        found.append(
            "No fresh rows were given: pictures, columns and neighbours rest on the held-out rows "
            f"of the run, of which {run.spec['split']['validation']:,} chose the weights. Give "
            "fresh rows with --normal."
        )
    if n < MIN_ROWS:
        found.append(
            f"There are only {n} held-out rows: at least {MIN_ROWS} are needed to say whether "
            "samples differ from them."
        )
    return found


def _curves(run: Run) -> dict[str, Any]:
    """Return the metrics, and what the discriminator's loss means."""
    loss = run.gan.objective.loss
    found: dict[str, Any] = {"losses_if_same": losses_if_same(loss)}
    columns = metrics_of(run)
    if columns is None:
        return found
    metrics = {name: columns[column] for name, column in _COLUMNS.items()}
    implied = implied_by(loss)
    if implied is not None:
        found["implied"] = {
            "name": implied.name,
            "unit": implied.unit,
            "most": implied.most,
            "values": implied.of(metrics["discriminator"]),
        }
    return {**found, "metrics": metrics}


def _verdict(run: Run, rows: np.ndarray, samples: np.ndarray) -> dict[str, Any] | None:
    """Return the comparison of held-out rows (A) with as many samples (B), None for few rows."""
    if len(rows) < MIN_ROWS:
        return None
    import pyarrow as pa

    from jensen.evaluation.two_sample import two_sample

    a, b = (pa.table(run.schema.decode(table)) for table in (rows, samples))
    return two_sample(a, b, random_state=run.spec["seed"]).to_dict()


def _neighbours(run: Run, rows: np.ndarray, samples: np.ndarray) -> dict[str, Any]:
    """Return precision and its kin of samples, and of real rows, against half of the real rows."""
    half = len(rows) // 2
    if half <= _NEIGHBOUR:
        return {}
    order = np.random.default_rng(run.spec["seed"]).permutation(len(rows))[: 2 * half]
    real, fake = run.gan.vectors(rows[order]), run.gan.vectors(samples[:half], 1)
    compared = {"samples": fake, "real rows": real[half:]}
    found = {
        name: dataclasses.asdict(precision_recall(real[:half], table, _NEIGHBOUR))
        for name, table in compared.items()
    }
    return {"neighbours": found, "n_neighbours": half}


def _modes(run: Run) -> dict[str, Any] | None:
    """Return how samples cover the modes of a made set, None for other data."""
    name = str(run.spec["data"]["source"]).partition(":")[0]
    if name not in TOYS or len(run.schema.continuous) != 2:
        return None
    seed = run.spec["seed"]
    samples = in_table(run.schema, run.gan.sample(_MODE_ROWS, seed + 2))
    found = toy_coverage(samples[:, list(run.schema.continuous)], name, seed=seed)
    return {"name": name, **found.to_dict()}


def _trail(run: Run, rows: np.ndarray) -> dict[str, np.ndarray] | None:
    """Return the data, rows drawn during training, and those of the finished model."""
    paths = sorted((run.folder / "samples").glob("*.parquet"), key=lambda path: path.stem)
    steps = [path for path in paths if path.stem.isdecimal()]
    if not steps:
        return None
    chosen = np.unique(np.linspace(0, len(steps) - 1, _PICTURES).round().astype(int))
    tables = {"data": rows}
    for path in (steps[i] for i in chosen):
        source = open_table(path)
        drawn = np.concatenate([run.schema.encode(batch) for batch in source.batches()])
        tables[f"step {int(path.stem):,}"] = drawn
    n = min(len(table) for table in tables.values())  # as many everywhere: clouds look as dense
    tables["kept weights"] = in_table(run.schema, run.gan.sample(n, run.spec["seed"]))
    tables = {name: table[:n] for name, table in tables.items()}
    if is_image(run.schema):
        return {name: as_images(run.schema, table) for name, table in tables.items()}
    numeric = list(run.schema.continuous)
    return {name: table[:, numeric] for name, table in tables.items()} if numeric else None
