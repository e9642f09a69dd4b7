"""Continuous flows of tables: by flow matching and by likelihood, judged by log p."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from jensen._errors import InputError
from jensen.apply import evaluate_table
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.data.toys import TOYS
from jensen.engine.progress import silent
from jensen.fitting.flow import MATCHING, MATCHING_STEPS, _better_of, flow_recipe, settled
from jensen.fitting.recipe import Recipe
from jensen.models.families import FlowOptions
from jensen.runs import Run, fit_run, open_run

RNG = np.random.default_rng(0)
N = 300
TABLE = pa.table(
    {
        "size": RNG.normal(5.0, 2.0, N),
        "count": RNG.poisson(4.0, N),
        "colour": RNG.choice(["red", "blue"], N),
    }
)
SMALL = {
    "architecture": "continuous",
    "members": 2,
    "width": 8,
    "depth": 1,
    "epochs": 3,
    "tolerance": 1e-3,
}


def fitted(folder: Path, **settings: object) -> Run:
    fit_run(TABLE, folder, settings={**SMALL, **settings}, report=silent)
    return open_run(folder)


def checked(run: Run) -> dict:
    result = evaluate_table(run, TABLE, print)
    validation, base = run.spec["figures"]["validation"], run.spec["figures"]["baseline"]
    assert (result["log_prob"]["kind"], result["log_prob"]["k"]) == ("iwae", 16)
    # the start is this Gaussian, but for its levels, equally frequent by chance to 0.02 nats
    assert validation["log_prob"] > base["log_prob"] - 0.03
    rows = run.density.sample(5, 0)
    assert rows.shape == (5, 3)
    assert np.isfinite(rows).all()
    return result["equation"]


@pytest.mark.slow  # five programs with an equation in each: a minute of compiling
def test_a_table_of_every_type_is_fitted_by_flow_matching(tmp_path: Path) -> None:
    solved = checked(fitted(tmp_path / "run"))
    assert (solved["tolerance"], solved["divergence"], solved["probes"]) == (1e-3, "exact", 0)
    assert solved["log_prob_error"]["n"] == 256
    assert solved["log_prob_error"]["largest"] < 0.05


@pytest.mark.slow
def test_a_table_of_every_type_is_fitted_by_likelihood(tmp_path: Path) -> None:
    solved = checked(fitted(tmp_path / "run", objective="likelihood", probes=2))
    assert (solved["divergence"], solved["probes"]) == ("hutchinson", 2)


@pytest.mark.slow
def test_flow_matching_comes_near_a_known_density(tmp_path: Path) -> None:
    rows, fresh = TOYS["moons"].sample(0, 5000), TOYS["moons"].sample(1, 2000)
    run = fit_run(rows, tmp_path / "run", settings={"architecture": "continuous", "width": 64})
    gap = TOYS["moons"].log_prob(fresh) - run.density.log_prob(fresh)[0]
    assert gap.mean() < 0.05


def test_the_better_of_end_and_start_is_kept() -> None:
    end, start = (
        SimpleNamespace(log_prob=lambda rows, v=v: (np.full(len(rows), v), None)) for v in (-2, -1)
    )
    assert _better_of(end, start, np.zeros(3)) is start
    assert _better_of(start, end, np.zeros(3)) is start


def test_what_flow_matching_is_told() -> None:
    schema, _ = read(open_table(TABLE))
    recipe = settled(flow_recipe({"architecture": "continuous"}), schema, 10_000)
    assert recipe.training == replace(MATCHING, epochs=MATCHING_STEPS // 40)
    assert (recipe.options.width, recipe.options.depth, recipe.options.members) == (128, 4, 1)
    told = flow_recipe({"architecture": "continuous", "evaluate_every": 25, "ema": "0.9"})
    assert (told.training.evaluate_every, told.training.optimisation.ema) == (25, 0.9)
    through = flow_recipe({"architecture": "continuous", "objective": "likelihood"})
    assert settled(through, schema, 10_000).training == Recipe().training


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "flow-matching"},
        {"architecture": "continuous", "n_layers": 2},
        {"objective": "matching"},
        {"tolerance": 0.0},
        {"probes": -1},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict) -> None:
    with pytest.raises(InputError):
        FlowOptions(**options)
