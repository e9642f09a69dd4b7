r"""The report of a run with latent variables: what is read off the run and asked of the model.

* *Codes*: posterior means E[z | x] of held-out rows. A latent variable is active where their
  variance is above 0.01; the others have learned to be the prior.
* *Rebuilt*: the decoder's means at the codes, beside what was observed.
* *Sweeps*: the decoder's means along one latent variable, the others resting at the mean code.
* *Certificate*: the evidence of the held-out rows with the K of the scores; the mean over some of
  them for several K, which rises towards log p, and log p itself by numerical integration where
  there are no more than two latent variables.
* *Regained*: cells hidden from the model and filled in, see `regained.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jensen.data.missing import count_missing
from jensen.evaluation.evidence import Evidence
from jensen.evaluation.gaps import ACTIVE, active_units
from jensen.evaluation.likelihood import mean_and_error
from jensen.evaluation.quadrature import FIRST, quadrature
from jensen.fitting import TableLatent
from jensen.report.content import Hidden, Report
from jensen.report.decode import Decoded, decoded, prior_draws, prior_plane
from jensen.report.facts import (
    Asked,
    as_images,
    beside,
    data_facts,
    in_table,
    is_image,
    metrics_of,
    training_facts,
)
from jensen.report.regained import regained
from jensen.report.scores import Fresh, fresh_rows, score_fields, subtitle
from jensen.runs import Run

_CODED = 1000  # rows whose codes are looked at
_LADDER = 300  # rows whose evidence is looked at for several K
_NODES = 512
_SWEPT, _IMAGES_SWEPT = 4, 6  # latent variables
_PICTURES = 12
_LEVELS = 8
_BOUNDS = {
    "elbo": "ELBO",
    "iwae": "IWAE bound of {n_particles} particles",
    "miwae": "MIWAE bound, {n_samples} × {n_particles} particles",
    "ciwae": "CIWAE bound of {n_particles} particles, {mix:g} ELBO",
    "piwae": "PIWAE bound, {n_samples} × {n_particles} particles",
    "renyi": "Rényi bound of order {alpha:g}, {n_particles} particles",
}


def latent_content(run: Run, asked: Asked) -> Report:
    """Return the content of the report of a VAE or an IWAE.

    Args:
        run: a finished run.
        asked: what the user asks of it.

    Raises:
        InputError: for data that does not fit the run, or an α it cannot reach.
    """
    latent, fresh = run.latent, fresh_rows(run, asked)
    found = latent.evidence(fresh.rows)
    held_out = np.concatenate([fresh.calibration, fresh.rows])
    rows = held_out[latent.possible(held_out, latent.vectors(held_out))]
    seen = as_seen(latent, rows)
    samples = in_table(run.schema, latent.sample(len(rows), run.spec["seed"] + 1))
    shown = beside(run.schema, seen, samples)
    if is_image(run.schema):  # pixels are looked at together
        means = decoded(latent, prior_draws(latent, 24, run.spec["seed"])).rows(latent)
        shown["images"]["means of samples"] = as_images(run.schema, means)
        shown = {"images": shown["images"]}
    return Report(
        title=f"{run.spec['data']['source']}: {run.spec['model'].upper()}",
        subtitle=subtitle(run, fresh),
        data_facts=data_facts(run),
        model_facts=_model_facts(run),
        **score_fields(run, asked, fresh, found.log_prob, _independent_bits(run, fresh.rows)),
        **shown,
        notes=[*run.spec.get("adaptations", []), *fresh.notes, *_notes(latent)],
        hidden=_hidden(run, fresh, found, rows, seen),
    )


def as_seen(latent: TableLatent, rows: np.ndarray) -> np.ndarray:
    """Return encoded rows as the model sees them: bits where grey levels are made bits."""
    if latent.plan.options.binarise == "none":
        return rows
    return latent.preprocess.backward(latent.vectors(rows))


def _hidden(run: Run, fresh: Fresh, found: Evidence, rows: np.ndarray, seen: np.ndarray) -> Hidden:
    latent, image = run.latent, is_image(run.schema)
    some = np.unique(np.linspace(0, len(rows) - 1, _CODED).astype(int))
    rows, seen = rows[some], seen[some]
    codes = latent.codes(rows)
    activity = np.zeros(codes.shape[1])
    if len(rows) > 1:
        activity = active_units(latent.model, latent.vectors(rows), run.spec["seed"])[0]
    order = np.argsort(-activity, kind="stable")
    made = decoded(latent, codes)
    counted = count_missing(run.schema, np.concatenate([fresh.calibration, fresh.rows]))
    return Hidden(
        bound=_bound(latent),
        curves=_curves(run, rows),
        certificate=_certificate(found),
        **_ladder(latent, rows[:_LADDER]),
        activity=activity,
        active=ACTIVE,
        plane=_plane(run, rows, codes, order),
        **(_pictures(latent, rows, seen, made) if image else _rebuilt(latent, rows, made)),
        **_sweep(run, codes, order[: _IMAGES_SWEPT if image else _SWEPT]),
        missing=counted.columns,
        regained=[] if image else regained(latent, run.baseline, rows),
        n=counted.n_rows,
    )


def _model_facts(run: Run) -> list[tuple[str, object]]:
    o = run.latent.plan.options
    mixture = f" of {o.components} components" if o.prior in ("mixture", "vamp") else ""
    kinds = "by the type of each column" if o.likelihood == "auto" else o.likelihood
    bits = "" if o.binarise == "none" else f", grey levels made bits ({o.binarise})"
    beta = f", KL divergence weighted {o.beta:g}" if o.beta != 1 else ""
    return [
        ("Family", run.spec["model"]),
        ("Latent variables", o.latent_dim),
        ("Prior", f"{o.prior}{mixture}"),
        ("Posterior", o.posterior),
        ("Likelihood", f"{kinds}{bits}"),
        ("Networks", f"{o.network}, {o.depth} × {o.width} units, {o.activation}"),
        ("Trained by", f"{_bound(run.latent)}{beta}, {o.n_samples * o.n_particles} draws a row"),
        ("Gradient", o.gradient),
        ("Weights in each score", run.latent.n_points),
        *training_facts(run),
    ]


def _bound(latent: TableLatent) -> str:
    options = latent.plan.options
    values = {name: getattr(options, name) for name in ("n_samples", "n_particles", "mix", "alpha")}
    return _BOUNDS[options.bound].format(**values)


def _notes(latent: TableLatent) -> list[str]:
    if latent.plan.options.binarise == "none":
        return []
    return [
        "Grey levels are made bits: likelihoods are log-probabilities of the bits that this run "
        "draws of an image, and other draws have others. The baseline (Bernoulli) has independent "
        "bits, with the mean grey levels of the training rows."
    ]


def _independent_bits(run: Run, rows: np.ndarray) -> tuple[str, np.ndarray] | None:
    """Return log p `(n,)` of bits that are independent, where grey levels are made bits."""
    if run.latent.plan.options.binarise == "none":
        return None
    return "Bernoulli", run.baseline_log_prob(rows)


def _curves(run: Run, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the bounds in the units of the table, by the mean Jacobian of the rows."""
    columns = metrics_of(run)
    if columns is None:
        return {}
    shift = float(np.mean(run.latent.log_det(run.latent.vectors(rows))))
    return {
        "step": columns["step"],
        "training": shift - columns["train_loss"],
        "validation": shift - columns["validation_loss"],
        "rate": columns["rate"] * run.spec["recipe"]["learning_rate"],
    }


def _certificate(found: Evidence) -> dict[str, Any]:
    return {
        "k": found.k,
        "ess": found.ess,
        "pareto_k": found.pareto_k,
        "monte_carlo": found.monte_carlo_error(),
        "flagged": int(found.flagged.sum()),
        "trusted": found.trusted,
        "verdict": found.verdict(),
    }


def _ladder(latent: TableLatent, rows: np.ndarray) -> dict[str, Any]:
    """Return the mean of log p̂ of some rows for several K, and exactly where that can be done."""
    counts = sorted({1, 10, latent.n_points, 10 * latent.n_points})
    ladder = {k: mean_and_error(latent.evidence(rows, k).log_prob) for k in counts}
    found: dict[str, Any] = {"ladder": ladder, "ladder_rows": len(rows)}
    if (
        latent.plan.options.latent_dim not in FIRST
        or latent.plan.options.posterior == "hierarchical"
    ):
        return found
    vectors = latent.vectors(rows)
    value, error = quadrature(latent.model, vectors, _NODES)
    if np.isfinite(value).all() and float(np.mean(error)) < 0.01:
        found["exact"] = (float(np.mean(value + latent.log_det(vectors))), float(np.mean(error)))
    return found


def _plane(
    run: Run, rows: np.ndarray, codes: np.ndarray, order: np.ndarray
) -> dict[str, Any] | None:
    """Return the two most active latent variables, by what their rows are told apart best."""
    if codes.shape[1] < 2:
        return None
    axes = tuple(int(i) for i in np.sort(order[:2]))
    points = codes[:, axes]
    by, labels = _labels(run, rows, points)
    density = prior_plane(run.latent, axes, points)
    return {"axes": axes, "means": points, "density": density, "by": by, "labels": labels}


def _labels(run: Run, rows: np.ndarray, points: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the column whose levels lie furthest apart in the plane, or thirds by log p."""
    schema, types = run.schema, run.latent.plan.types
    grey = run.latent.plan.options.binarise != "none"  # then what is modelled as bits is no label
    found: list[tuple[float, str, np.ndarray]] = []
    for j, column in enumerate(schema.columns):
        if types[j] != "categorical" and (types[j] != "binary" or grey or is_image(schema)):
            continue
        names = np.array([*(column.levels or ("0", "1")), "missing"])
        if len(names) > _LEVELS + 1:
            continue
        labels = names[np.where(np.isnan(rows[:, j]), len(names) - 1, rows[:, j]).astype(int)]
        found.append((_apart(points, labels), column.name, labels))
    if found:
        _, name, labels = max(found, key=lambda entry: entry[0])
        return name, labels
    scores = run.latent.log_prob(rows)[0]
    third = np.searchsorted(np.quantile(scores, [1 / 3, 2 / 3]), scores)
    return "log p, in thirds", np.array(["lowest", "middle", "top"])[third]


def _apart(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of the variance that lies between the labels."""
    centred = points - points.mean(axis=0)
    groups = [centred[labels == label] for label in np.unique(labels)]
    between = sum(len(group) * np.sum(group.mean(axis=0) ** 2) for group in groups)
    return float(between / max(np.sum(centred**2), 1e-300))


def _pictures(
    latent: TableLatent, rows: np.ndarray, seen: np.ndarray, made: Decoded
) -> dict[str, Any]:
    schema = latent.preprocess.schema
    tables = {"originals": rows}
    if latent.plan.options.binarise != "none":
        tables["bits seen"] = seen
    tables["rebuilt"] = made.rows(latent)
    return {"pictures": {k: as_images(schema, t[:_PICTURES]) for k, t in tables.items()}}


def _rebuilt(latent: TableLatent, rows: np.ndarray, made: Decoded) -> dict[str, Any]:
    """Return numbers beside what they were, and how many others are right."""
    schema, types, back = latent.preprocess.schema, latent.plan.types, made.rows(latent)
    numbers, told = {}, []
    for j, name in enumerate(schema.names):
        there = ~np.isnan(rows[:, j])
        if types[j] == "constant" or not there.any():
            continue
        observed, rebuilt = rows[there, j], back[there, j]
        if types[j] not in ("binary", "categorical"):
            numbers[name] = {"observed": observed, "rebuilt": rebuilt}
            continue
        right = int(np.sum(observed == np.round(rebuilt)))
        most = int(np.max(np.unique(observed, return_counts=True)[1]))
        told.append((name, right, most, len(observed)))
    return {"rebuilt": numbers, "told": told}


def _sweep(run: Run, codes: np.ndarray, axes: np.ndarray) -> dict[str, Any]:
    """Return the decoder's means along each of the axes, the others at the mean code."""
    latent, image = run.latent, is_image(run.schema)
    at = np.linspace(-2.5, 2.5, 11 if image else 41)
    found = {}
    for axis in axes:
        z = np.tile(codes.mean(axis=0), (len(at), 1))
        z[:, axis] += at * codes[:, axis].std()
        made = decoded(latent, z)
        found[int(axis)] = (
            as_images(run.schema, made.rows(latent)) if image else made.scaled(run.baseline)
        )
    return {"sweep": found, "sweep_at": at}
