r"""The run folder: a trained model as plain files, checked when it is read.

    RUN/spec.json           what was trained, on what, how, with which versions; and checksums
    RUN/model.safetensors   weights, preprocessing, baseline and calibration scores
    RUN/metrics.parquet     one row per evaluation
    RUN/heldout.parquet     calibration rows, then validation rows, for the report
    RUN/checkpoints/        the training state, to resume from
    RUN/report.html         written by `jensen report`

Nothing is a pickle. Every file is written whole or not at all. `model.safetensors` is a function of
data, options and seed alone: a killed and resumed run gives the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import DivergedError, InputError, nearest
from jensen.anomaly.calibrate import Conformal
from jensen.data.output import TableWriter, write_bytes
from jensen.data.preprocess import Preprocess
from jensen.data.schema import Schema, fingerprint, read
from jensen.data.source import Source, open_table
from jensen.data.split import Split, check_seed, split_rows
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.evaluation.likelihood import Gaussian, fit_gaussian, mean_and_error
from jensen.fitting import MODELS, Recipe, fit_table, flow_init
from jensen.models.table import TableDensity
from jensen.spec import FORMAT, check_folder, make_folder, read_spec, versions, write_spec

_HELD_OUT_ROWS = 2000
_FEWEST_ROWS = 3  # one to train on, one to stop by, one to calibrate on
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Run:
    """A finished run, read back from its folder.

    Args:
        folder: where it is.
        spec: the content of `spec.json`.
        density: the trained model in data units.
        baseline: the Gaussian fitted to the same rows.
        conformal: the calibrated scores.
    """

    folder: Path
    spec: dict[str, Any]
    density: TableDensity
    baseline: Gaussian
    conformal: Conformal

    @property
    def schema(self) -> Schema:
        """The columns of the training table."""
        return self.density.preprocess.schema


def fit_run(
    data: Any,
    folder: str | os.PathLike[str],
    *,
    model: str = "flow",
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    resume: bool = False,
    report: Report = silent,
) -> Run:
    """Train a model on a table and keep everything in a run folder.

    Args:
        data: anything `open_table` opens.
        folder: the run folder; must not hold a run unless `resume`.
        model: the family; one of `MODELS`.
        settings: name → value, see `Recipe`.
        seed: all randomness of the run.
        resume: go on with the run in the folder; more epochs than it had extend it.
        report: called with the progress.

    Returns:
        The finished run.

    Raises:
        InputError: for data, options or a folder that cannot be used.
        DivergedError: if training leaves the finite numbers; the last good checkpoint stays.
    """
    if model not in MODELS:
        raise InputError(
            f"unknown model {model!r}{nearest(model, MODELS)}",
            "--model",
            f"choose one of {', '.join(MODELS)}",
        )
    recipe = Recipe.from_settings(settings or {})
    check_seed(seed)
    folder = check_folder(Path(folder), resume)
    source = open_table(data)
    schema, matrix = read(source)
    if len(matrix) < _FEWEST_ROWS:
        raise InputError(
            f"there are only {len(matrix)} rows",
            source.label,
            f"a run needs at least {_FEWEST_ROWS}, and wants hundreds",
        )
    spec = _new_spec(source, schema, matrix, model, recipe, seed)
    if resume and (folder / "spec.json").exists():
        spec = _continued(folder, spec, settings or {})
        if spec["status"] == "complete":
            return open_run(folder)
    make_folder(folder)
    write_spec(folder, spec)
    return _trained(folder, spec, schema, matrix, report)


def _trained(
    folder: Path, spec: dict[str, Any], schema: Schema, matrix: np.ndarray, report: Report
) -> Run:
    """Train what the spec says, write the folder's other files, and return the finished run."""
    split = split_rows(len(matrix), spec["seed"], calibrate=True)
    checkpoints = Checkpoints(folder / "checkpoints")
    started = time.monotonic()
    try:
        density, result = fit_table(
            schema,
            matrix,
            Recipe.from_settings(spec["recipe"]),
            seed=spec["seed"],
            split=split,
            checkpoints=checkpoints,
            report=report,
        )
    except DivergedError as error:
        write_spec(folder, {**spec, "status": "diverged"})
        raise DivergedError(error.what, str(folder), error.mend) from error
    finally:
        checkpoints.close()
    run = _finished(folder, spec, density, matrix, split)
    _write_metrics(folder, result.metrics)
    _write_held_out(folder, schema, matrix, split)
    spec = {
        **run.spec,
        "status": "complete",
        "seconds": spec["seconds"] + time.monotonic() - started,
        "steps": result.steps,
        "stopped_early": result.stopped_early,
        "figures": _figures(run, matrix, split),
    }
    write_spec(folder, spec)
    return replace(run, spec=spec)


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Read a finished run, checking that it is whole and unchanged.

    Raises:
        InputError: if the folder is missing, unfinished, truncated, changed, or of a newer format.
    """
    folder = Path(folder)
    spec = read_spec(folder)
    if spec["status"] != "complete":
        raise InputError(
            f"this run is not finished (status: {spec['status']})",
            str(folder),
            "train into another --out with a lower learning_rate"
            if spec["status"] == "diverged"
            else "run the same `jensen fit` with --resume",
        )
    path = folder / _WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            "the run folder has no weights", str(path), "restore the file or train again"
        ) from error
    if hashlib.sha256(data).hexdigest() != spec["weights"]["sha256"]:
        raise InputError(
            "the weights are not those this run wrote (truncated or changed)",
            str(path),
            "restore the file or train again",
        )
    return _loaded(folder, spec, data)


def _new_spec(
    source: Source, schema: Schema, matrix: np.ndarray, model: str, recipe: Recipe, seed: int
) -> dict[str, Any]:
    split = split_rows(len(matrix), seed, calibrate=True)
    recipe = recipe.chosen_for(len(split.train))
    return {
        "format": FORMAT,
        "versions": versions(),
        "model": model,
        "status": "training",
        "seed": seed,
        "recipe": recipe.to_settings(),
        "schema": schema.to_dict(),
        "data": {
            "source": source.label,
            "rows": len(matrix),
            "columns": len(schema.columns),
            "fingerprint": fingerprint(matrix, schema.names),
        },
        "split": {
            "train": len(split.train),
            "validation": len(split.validation),
            "calibration": len(split.calibration),
        },
        "seconds": 0.0,
    }


def _continued(folder: Path, new: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the spec to go on with: the folder's, with more epochs if these were asked for."""
    old = read_spec(folder)
    if old["data"]["fingerprint"] != new["data"]["fingerprint"]:
        raise InputError(
            "the data is not what this run was trained on",
            str(folder),
            f"give {old['data']['source']} as it was, or choose another --out",
        )
    recipe = dict(old["recipe"])
    for name in settings:
        if name != "epochs" and new["recipe"][name] != recipe[name]:
            raise InputError(
                f"this run has {name}={recipe[name]}, not {new['recipe'][name]}",
                str(folder),
                "resume with the run's own options, or choose another --out",
            )
    if new["seed"] != old["seed"]:
        raise InputError(
            f"this run has seed {old['seed']}, not {new['seed']}",
            str(folder),
            "resume with the run's own seed, or choose another --out",
        )
    if "epochs" in settings and new["recipe"]["epochs"] != recipe["epochs"]:
        recipe["epochs"] = new["recipe"]["epochs"]
        return {**old, "recipe": recipe, "status": "training"}
    return old if old["status"] == "complete" else {**old, "status": "training"}


def _finished(
    folder: Path, spec: dict[str, Any], density: TableDensity, matrix: np.ndarray, split: Split
) -> Run:
    """Write the weights, and return the run as it reads back."""
    from safetensors.numpy import save

    scores, _ = density.log_prob(matrix[split.calibration])
    baseline = fit_gaussian(density.preprocess, matrix[split.train])
    arrays = {f"model{name}": value for name, value in _named_arrays(density.members).items()}
    p = density.preprocess
    for name in ("mean", "scale", "step", "constants"):
        arrays[f"preprocess.{name}"] = getattr(p, name)
    arrays["baseline.whiten"] = baseline.whiten
    for i, table in enumerate(baseline.frequencies):
        arrays[f"baseline.frequencies.{i}"] = table
    arrays["calibration.scores"] = scores
    data = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
    write_bytes(folder / _WEIGHTS, data)
    weights = {"file": _WEIGHTS, "sha256": hashlib.sha256(data).hexdigest()}
    return _loaded(folder, {**spec, "weights": weights}, data)


def _named_arrays(members: Any) -> dict[str, np.ndarray]:
    arrays = eqx.filter(members, eqx.is_array)
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)
    }


def _loaded(folder: Path, spec: dict[str, Any], data: bytes) -> Run:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    schema = Schema.from_dict(spec["schema"])
    recipe = Recipe.from_settings(spec["recipe"])
    try:
        arrays = load(data)
        names = ("mean", "scale", "step", "constants")
        preprocess = Preprocess(
            **{name: arrays[f"preprocess.{name}"] for name in names}, schema=schema
        )
        whiten = arrays["baseline.whiten"]
        members = _skeleton(recipe, schema, whiten)
        filled = jax.tree_util.tree_map_with_path(
            lambda path, leaf: _filled(arrays, path, leaf), members
        )
        frequencies = tuple(
            arrays[f"baseline.frequencies.{i}"] for i in range(len(schema.categorical))
        )
        conformal = Conformal(arrays["calibration.scores"])
        if len(preprocess.mean) != len(schema.continuous) or len(preprocess.constants) != len(
            schema.constant
        ):
            raise ValueError("the columns")
    except (KeyError, ValueError, SafetensorError) as error:
        raise InputError(
            f"the weights do not fit the spec ({error})", str(folder), "train again"
        ) from error
    density = TableDensity(filled, preprocess)
    return Run(folder, spec, density, Gaussian(preprocess, whiten, frequencies), conformal)


def _filled(arrays: dict[str, np.ndarray], path: Any, leaf: Any) -> Any:
    """Return the array of a leaf of the skeleton; other leaves as they are."""
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    name = f"model{jax.tree_util.keystr(path)}"
    array = arrays[name]
    if array.shape != leaf.shape or array.dtype != leaf.dtype:
        raise ValueError(f"{name} is {array.shape}, not {leaf.shape}")
    return jnp.asarray(array)


def _skeleton(recipe: Recipe, schema: Schema, whiten: np.ndarray) -> Any:
    """Return the model of a spec with shapes in place of arrays."""
    init = flow_init(recipe, schema, whiten)
    keys = jax.random.split(jax.random.key(0), recipe.options.members or 1)
    return eqx.filter_eval_shape(lambda k: eqx.filter_vmap(lambda key: init(key)[0])(k), keys)


def _figures(run: Run, matrix: np.ndarray, split: Split) -> dict[str, Any]:
    """Return the log-likelihood of (at most 5,000) training rows and of the validation rows."""
    density, baseline = run.density, run.baseline
    rows = matrix[split.train[:5000]]
    train_mean, _ = mean_and_error(density.log_prob(rows)[0])
    log_prob, _ = density.log_prob(matrix[split.validation])
    mean, error = mean_and_error(log_prob)
    base = baseline.log_prob(matrix[split.validation])
    base_mean, base_error = mean_and_error(base)
    _, difference = mean_and_error(log_prob - base)
    return {
        "train": {"log_prob": train_mean, "kind": density.kind},
        "validation": {"log_prob": mean, "se": error, "kind": density.kind, "n": len(log_prob)},
        "baseline": {"log_prob": base_mean, "se": base_error, "difference_se": difference},
    }


def _write_metrics(folder: Path, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    with TableWriter(folder / "metrics.parquet") as writer:
        writer.write({name: np.array([row[name] for row in rows]) for name in rows[0]})


def _write_held_out(folder: Path, schema: Schema, matrix: np.ndarray, split: Split) -> None:
    rows = np.concatenate([split.calibration[:_HELD_OUT_ROWS], split.validation[:_HELD_OUT_ROWS]])
    with TableWriter(folder / "heldout.parquet") as writer:
        writer.write(schema.decode(matrix[rows]))
