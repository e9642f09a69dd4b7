r"""The run of a density: a flow fitted to a user's unnormalised log-density, in a run folder.

The folder is that of every run (`jensen.runs`). There are no rows: `heldout.parquet` holds draws
of the target as independent annealed chains found them, drawn by their weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from jensen.data.split import Split, check_seed
from jensen.engine.progress import Report, silent
from jensen.fitting import Recipe, Target, TargetFamily, load_density
from jensen.fitting.target import found_by_search, schema_of
from jensen.runs import Run, continued, open_run, trained
from jensen.spec import FORMAT, check_folder, read_spec, versions

_ROWS = 2000  # of the chains, kept


def fit_density_run(
    density: str,
    folder: str | os.PathLike[str],
    *,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    resume: bool = False,
    report: Report = silent,
) -> Run:
    """Fit a flow to a density by reverse KL and keep everything in a run folder.

    Args:
        density: `path.py:log_density`, see `jensen.fitting.target_file`.
        folder: the run folder; must not hold a run unless `resume`.
        settings: name → value, see `TargetOptions`, `Training` and `Optimisation`.
        seed: all randomness of the run.
        resume: go on with the run in the folder; more epochs than it had extend it.
        report: called with the progress.

    Returns:
        The finished run.

    Raises:
        InputError: for a density, options or a folder that cannot be used.
        DivergedError: if training leaves the finite numbers; the last good checkpoint stays.
    """
    folder = check_folder(Path(folder), resume)
    begun = resume and (folder / "spec.json").exists()
    known = {"dim": read_spec(folder)["recipe"].get("dim")} if begun else {}
    recipe = TargetFamily().recipe({**known, **(settings or {})})
    check_seed(seed)
    target = load_density(density, recipe.options)
    recipe = Recipe(target.options, recipe.training)
    spec = _new_spec(target, recipe, seed)
    if begun:
        spec = continued(folder, spec, settings or {})
        if spec["status"] == "complete":
            return open_run(folder)
    options = TargetFamily().recipe(spec["recipe"]).options
    chains = found_by_search(target.log_density, options, seed, check=True)
    rows = chains.resampled(_ROWS, seed)
    none = np.empty(0, int)
    table = schema_of(target.names), rows, Split(none, np.arange(_ROWS), none)
    family = TargetFamily(target.log_density, chains, options.draws)
    return trained(folder, spec, family, table, report)


def _new_spec(target: Target, recipe: Recipe, seed: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "versions": versions(),
        "model": "target",
        "status": "training",
        "seed": seed,
        "recipe": recipe.to_settings(),
        "adaptations": [],
        "schema": schema_of(target.names).to_dict(),
        "data": {
            "source": target.label,
            "rows": 0,
            "columns": len(target.names),
            "fingerprint": target.fingerprint,
        },
        "split": {"train": 0, "validation": _ROWS, "calibration": 0},
        "seconds": 0.0,
    }
