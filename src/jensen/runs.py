r"""The run folder: a trained model as plain files, checked when it is read.

    RUN/spec.json           what was trained, on what, how, with which versions; and checksums
    RUN/model.safetensors   weights, preprocessing and all else that the model holds
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

import numpy as np

from jensen._errors import DivergedError, InputError
from jensen.anomaly.calibrate import Conformal
from jensen.data.labels import label_notes
from jensen.data.missing import count_missing
from jensen.data.output import write_bytes
from jensen.data.schema import Schema, fingerprint, read
from jensen.data.source import Source, open_table
from jensen.data.split import Split, check_seed, split_rows
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.evaluation.likelihood import Gaussian
from jensen.fitting import (
    DensityFit,
    Family,
    Recipe,
    TableGAN,
    TableLatent,
    TargetModel,
    family_named,
)
from jensen.models.table import TableDensity
from jensen.spec import (
    FORMAT,
    HELD_OUT_ROWS,
    check_folder,
    make_folder,
    read_spec,
    versions,
    write_held_out,
    write_metrics,
    write_spec,
)

_FEWEST_ROWS = 3  # one to train on, one to stop by, one to calibrate on
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Run:
    """A finished run, read back from its folder.

    Args:
        folder: where it is.
        spec: the content of `spec.json`.
        model: what its family keeps: a `DensityFit`, a `TargetModel` or a `TableGAN`.
    """

    folder: Path
    spec: dict[str, Any]
    model: DensityFit | TargetModel | TableGAN

    @property
    def schema(self) -> Schema:
        """The columns of the training table."""
        return self.model.preprocess.schema

    @property
    def takes_missing(self) -> bool:
        """Whether rows may have missing cells."""
        return family_named(self.spec["model"]).takes_missing

    @property
    def density(self) -> TableDensity | TableLatent:
        """The trained model in data units.

        Raises:
            InputError: for a GAN, which has none.
        """
        return self.model.density if isinstance(self.model, TargetModel) else self._fit().density

    @property
    def latent(self) -> TableLatent:
        """The trained latent-variable model: `model`, `evidence`, `codes`, `impute`.

        Raises:
            InputError: for a run of another family.
        """
        if isinstance(self.model, DensityFit) and isinstance(self.model.density, TableLatent):
            return self.model.density
        raise InputError(
            f"this run is a {self.spec['model']}: it has no latent variables",
            str(self.folder),
            "give a run of `jensen fit --model vae` or `--model iwae`",
        )

    @property
    def baseline(self) -> Gaussian:
        """The Gaussian fitted to the same rows.

        Raises:
            InputError: for a GAN, which is not compared with one by log p.
        """
        return self._fit().baseline

    @property
    def baseline_name(self) -> str:
        """What the density is compared with: `Gaussian`, or `independent bits`."""
        return self._fit().baseline_name

    def baseline_log_prob(self, matrix: np.ndarray) -> np.ndarray:
        """Return log p `(n,)` of encoded rows by the baseline, nats."""
        return self._fit().baseline_log_prob(matrix, self.spec["split"]["train"])

    @property
    def conformal(self) -> Conformal:
        """The calibrated scores.

        Raises:
            InputError: for a GAN, which has no scores.
        """
        return self._fit().conformal

    @property
    def gan(self) -> TableGAN:
        """The trained pair of players: `discriminator`, `generator`, `objective`, `vectors(rows)`.

        Raises:
            InputError: for a run of another family.
        """
        if isinstance(self.model, TableGAN):
            return self.model
        raise InputError(
            f"this run is a {self.spec['model']}: it has no discriminator and no generator",
            str(self.folder),
            "give a run of `jensen fit --model gan`",
        )

    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the encoded calibration rows and validation rows that the folder keeps.

        At most 2,000 of each; neither was trained on, the first did not choose the weights either.

        Raises:
            InputError: if the file is missing or damaged.
        """
        source = open_table(self.folder / "heldout.parquet")
        rows = np.concatenate(
            [self.schema.encode(batch, missing=self.takes_missing) for batch in source.batches()]
        )
        return tuple(np.split(rows, [min(self.spec["split"]["calibration"], HELD_OUT_ROWS)]))  # type: ignore[return-value]

    def _fit(self) -> DensityFit:
        if isinstance(self.model, DensityFit):
            return self.model
        if isinstance(self.model, TargetModel):
            raise InputError(
                "this run is of a density, not of rows: it has no calibration and no baseline",
                str(self.folder),
                "sample, score and report take it; train on rows with --model flow for the rest",
            )
        raise InputError(
            "a GAN gives no log p: it can be sampled, and its discriminator judges rows",
            str(self.folder),
            "train with --model flow to score rows and flag anomalies; `jensen compare-samples` "
            "judges samples",
        )


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
        model: the family; one of `FAMILIES`.
        settings: name → value, see `Recipe` and the options of the
            family: `FlowOptions`, `LatentOptions`, `GanOptions`.
        seed: all randomness of the run.
        resume: go on with the run in the folder; more epochs than it had extend it.
        report: called with the progress.

    Returns:
        The finished run.

    Raises:
        InputError: for data, options or a folder that cannot be used.
        DivergedError: if training leaves the finite numbers; the last good checkpoint stays.
    """
    recipe = family_named(model).recipe(settings or {})
    check_seed(seed)
    folder = check_folder(Path(folder), resume)
    source = open_table(data)
    schema, matrix = read(source, missing=family_named(model).takes_missing)
    if len(matrix) < _FEWEST_ROWS:
        raise InputError(
            f"there are only {len(matrix)} rows",
            source.label,
            f"a run needs at least {_FEWEST_ROWS}, and wants hundreds",
        )
    schema = family_named(model).columns(schema, recipe)
    spec = _new_spec(source, schema, matrix, model, recipe, seed)
    if resume and (folder / "spec.json").exists():
        spec = continued(folder, spec, settings or {})
        if spec["status"] == "complete":
            return open_run(folder)
    family = family_named(spec["model"])
    settled = family.recipe(spec["recipe"])
    split = split_rows(len(matrix), spec["seed"], calibrate=True)
    family.check(schema, matrix, settled, split)
    return trained(folder, spec, family, (schema, matrix, split), report)


def trained(
    folder: Path,
    spec: dict[str, Any],
    family: Family,
    table: tuple[Schema, np.ndarray, Split],
    report: Report,
) -> Run:
    """Train what the spec says, write the run folder, and return the finished run.

    Raises:
        DivergedError: if training leaves the finite numbers; the spec then says so.
    """
    make_folder(folder)
    write_spec(folder, spec)
    schema, matrix, split = table
    recipe = family.recipe(spec["recipe"])
    checkpoints = Checkpoints(folder / "checkpoints")
    started = time.monotonic()
    try:
        told = {"seed": spec["seed"], "split": split, "report": report}
        model, result = family.fit(schema, matrix, recipe, checkpoints=checkpoints, **told)
    except DivergedError as error:
        write_spec(folder, {**spec, "status": "diverged"})
        raise DivergedError(error.what, str(folder), error.mend) from error
    finally:
        checkpoints.close()
    run = _finished(folder, spec, family, model)
    write_metrics(folder, result.metrics)
    write_held_out(folder, schema, matrix, split)
    spec = {
        **run.spec,
        "status": "complete",
        "seconds": spec["seconds"] + time.monotonic() - started,
        "steps": result.steps,
        "stopped_early": result.stopped_early,
        "figures": family.figures(run.model, matrix, split, spec["seed"]),
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
    family = family_named(model)
    recipe = family.chosen_for(recipe, schema, len(split.train))
    gaps = count_missing(schema, matrix)
    return {
        "format": FORMAT,
        "versions": versions(),
        "model": model,
        "status": "training",
        "seed": seed,
        "recipe": recipe.to_settings(),
        "adaptations": [
            *family.adaptations(recipe, len(split.train)),
            *([gaps.remark()] if gaps.cells else []),
            *label_notes(schema.names),
        ],
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


def continued(folder: Path, new: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the spec to go on with: the folder's, with more epochs if these were asked for.

    Raises:
        InputError: if the folder's run is another one.
    """
    old = read_spec(folder)
    if old["data"]["fingerprint"] != new["data"]["fingerprint"]:
        raise InputError(
            "the data is not what this run was trained on",
            str(folder),
            f"give {old['data']['source']} as it was, or choose another --out",
        )
    own = "resume with the run's own {}, or choose another --out"
    if new["model"] != old["model"]:
        what = f"this run is a {old['model']}, not a {new['model']}"
        raise InputError(what, str(folder), own.format("--model"))
    recipe = dict(old["recipe"])
    for name in settings:
        if name != "epochs" and new["recipe"][name] != recipe[name]:
            what = f"this run has {name}={recipe[name]}, not {new['recipe'][name]}"
            raise InputError(what, str(folder), own.format("options"))
    if new["seed"] != old["seed"]:
        what = f"this run has seed {old['seed']}, not {new['seed']}"
        raise InputError(what, str(folder), own.format("seed"))
    if "epochs" in settings and new["recipe"]["epochs"] != recipe["epochs"]:
        recipe["epochs"] = new["recipe"]["epochs"]
        return {**old, "recipe": recipe, "status": "training"}
    return old if old["status"] == "complete" else {**old, "status": "training"}


def _finished(folder: Path, spec: dict[str, Any], family: Family, model: Any) -> Run:
    """Write the weights, and return the run as it reads back."""
    from safetensors.numpy import save

    arrays = family.arrays(model)
    data = save({name: np.asarray(value, order="C") for name, value in arrays.items()})
    write_bytes(folder / _WEIGHTS, data)
    weights = {"file": _WEIGHTS, "sha256": hashlib.sha256(data).hexdigest()}
    return _loaded(folder, {**spec, "weights": weights}, data)


def _loaded(folder: Path, spec: dict[str, Any], data: bytes) -> Run:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    family = family_named(spec["model"])
    schema = Schema.from_dict(spec["schema"])
    recipe = family.recipe(spec["recipe"])
    try:
        model = family.load(load(data), schema, recipe)
    except (KeyError, ValueError, SafetensorError) as error:
        raise InputError(
            f"the weights do not fit the spec ({error})", str(folder), "train again"
        ) from error
    return Run(folder, spec, model)
