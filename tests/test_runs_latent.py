"""Runs of latent-variable models: mixed tables with gaps, exact start, the same bytes on resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from gaps import punched
from jensen._errors import InputError
from jensen.apply import (
    evaluate_table,
    impute_table,
    sample_table,
    score_table,
)
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.detecting import detect_table
from jensen.evaluation.likelihood import fit_gaussian
from jensen.runs import Run, fit_run, open_run

SMALL = {"width": 8, "depth": 1, "batch_size": 64, "evaluate_every": 20, "epochs": 10}
N = 400
RNG = np.random.default_rng(0)
CITY = RNG.choice(["lima", "oslo", "rome"], N, p=[0.2, 0.3, 0.5])
SIZE = RNG.standard_normal(N) + 2.0 * (CITY == "lima")
COLUMNS = {
    "x": SIZE + 0.3 * RNG.standard_normal(N),
    "calls": RNG.poisson(np.exp(0.4 * SIZE)),
    "temp": np.round(20 + 2 * SIZE + RNG.normal(0, 0.5, N), 1),
    "vip": SIZE > 1,
    "city": CITY,
    "fixed": np.full(N, 2.5),
}


def nothing(_: str) -> None:
    """Take no note."""


def train(data: Path, folder: Path, model: str = "vae", **changes: Any) -> Run:
    options = {key: changes.pop(key) for key in ("seed", "resume") if key in changes}
    return fit_run(data, folder, model=model, settings={**SMALL, **changes}, **options)


@pytest.fixture(scope="module")
def whole() -> pa.Table:
    return pa.table(COLUMNS)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, whole: pa.Table) -> Path:
    path = tmp_path_factory.mktemp("data") / "mixed.parquet"
    pq.write_table(punched(whole, 0.1), path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Run:
    return train(table, tmp_path_factory.mktemp("run") / "vae")


def test_every_column_gets_the_likelihood_of_its_type(run: Run) -> None:
    assert run.latent.plan.types == (
        "real",
        "count",
        "ordinal",
        "binary",
        "categorical",
        "constant",
    )
    assert "missing" in " ".join(run.spec["adaptations"])


def test_samples_have_the_types_and_ranges_of_the_table(run: Run, tmp_path: Path) -> None:
    sample_table(run, 300, tmp_path / "new.parquet", 1)
    new = pq.read_table(tmp_path / "new.parquet")
    old = pa.table(COLUMNS)
    assert [f.type for f in new.schema] == [f.type for f in old.schema]
    for name in ("x", "calls", "temp"):
        a, b = new[name].to_numpy(), old[name].to_numpy()
        assert a.min() >= b.min()
        assert a.max() <= b.max()
    assert np.allclose(np.round(new["temp"].to_numpy(), 1), new["temp"].to_numpy())
    assert set(new["city"].to_pylist()) <= {"lima", "oslo", "rome"}
    assert set(new["fixed"].to_pylist()) == {2.5}


def test_it_reads_back_and_scores_the_same(run: Run, table: Path, tmp_path: Path) -> None:
    again = open_run(run.folder)
    matrix = read(open_table(table), missing=True)[1]
    first, second = run.density.log_prob(matrix), again.density.log_prob(matrix)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_scores_do_not_depend_on_batch_or_order(run: Run, table: Path) -> None:
    matrix = read(open_table(table), missing=True)[1]
    scores, errors = run.density.log_prob(matrix)
    order = np.random.default_rng(3).permutation(len(matrix))
    assert np.array_equal(run.density.log_prob(matrix[order])[0], scores[order])
    assert np.array_equal(run.density.log_prob(matrix[7:8])[0], scores[7:8])
    parts = [run.density.log_prob(matrix[i : i + 130])[1] for i in range(0, N, 130)]
    assert np.array_equal(np.concatenate(parts), errors)


def test_imputation_fills_gaps_alone_and_beats_the_mean(
    run: Run, table: Path, whole: pa.Table, tmp_path: Path
) -> None:
    done = impute_table(run, table, tmp_path / "full.parquet", nothing)
    full, holes = pq.read_table(tmp_path / "full.parquet"), pq.read_table(table)
    assert done["filled"] == sum(c.null_count for c in holes.columns)
    worse = []
    for name in ("x", "calls", "temp"):
        gap = np.array(holes[name].is_null())
        truth, found = whole[name].to_numpy(), full[name].to_numpy()
        assert np.array_equal(truth[~gap], found[~gap])
        mean = truth[~gap].mean()
        worse.append(
            np.sqrt(np.mean((found - truth)[gap] ** 2) / np.mean((mean - truth)[gap] ** 2))
        )
    # the columns share one factor: without the others' help the ratio is 1
    assert max(worse) < 0.8
    assert full["city"].null_count == 0
    assert full["fixed"].to_pylist() == [2.5] * N


def test_resume_gives_the_same_bytes(table: Path, tmp_path: Path) -> None:
    at_once = train(table, tmp_path / "a", epochs=4)
    train(table, tmp_path / "b", epochs=2)
    train(table, tmp_path / "b", epochs=4, resume=True)
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in "ab"]
    assert weights[0] == weights[1]
    assert at_once.spec["status"] == "complete"


def test_a_linear_start_is_the_gaussian_of_the_table(tmp_path: Path) -> None:
    """Before the first step a table of reals has the density of its factor analysis.

    With as many factors as columns allow, 2,000 rows of a Gaussian of rank one plus noise give a
    mean log p within 0.03 nats of the Ledoit-Wolf Gaussian's (both have 11 parameters or fewer to
    err by, 11/(2·2000) nats each, plus the importance-sampling error).
    """
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(3000, 1)) @ np.ones((1, 4)) + 0.5 * rng.normal(size=(3000, 4))
    np.save(tmp_path / "rows.npy", rows)
    settings = {**SMALL, "epochs": 1, "learning_rate": 1e-9}
    run = fit_run(tmp_path / "rows.npy", tmp_path / "run", model="iwae", settings=settings)
    log_prob, error = run.density.log_prob(rows)
    baseline = fit_gaussian(run.baseline.preprocess, rows).log_prob(rows)
    assert abs(np.mean(log_prob) - np.mean(baseline)) < 0.03
    assert np.max(error) < 1e-3  # the start's posterior is exact: every weight is p(x)


def test_detect_and_evaluate(run: Run, table: Path, tmp_path: Path) -> None:
    found = detect_table(run, table, 0.1, tmp_path / "d.csv", nothing)
    assert 0 <= found["flagged"] <= N
    assert found["calibration_n"] > 0
    figures = evaluate_table(run, table, nothing)
    assert figures["log_prob"]["kind"] == "iwae"
    assert figures["log_prob"]["pareto_k"] is not None
    assert "certificate" in figures
    assert np.isfinite(figures["gaussian"]["mean"])
    score_table(run, table, tmp_path / "s.csv", nothing)
    scores = pc.read_csv(tmp_path / "s.csv")
    assert abs(np.mean(scores["log_prob"].to_numpy()) - figures["log_prob"]["mean"]) < 1e-9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"likelihood": "bernoulli"}, "column 'x'"),
        ({"likelihood": "poisson"}, "column 'x'"),
        ({"likelihood": "logistic"}, "not on a grid"),
        ({"bound": "iwae", "n_particles": 0}, "n_particles"),
        ({"bound": "elbo", "n_particles": 5}, "no meaning"),
        ({"gradient": "vimco"}, "VIMCO"),
        ({"binarise": "dynamic"}, "likelihood=bernoulli"),
        ({"posterior": "hierarchical", "prior": "vamp"}, "VampPrior"),
    ],
)
def test_bad_options_say_what_and_how(
    table: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        train(table, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_flow_has_no_latent_variables(table: Path, whole: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--model vae"):
        train(table, tmp_path / "gaps", model="flow", width=8)
    pq.write_table(whole, tmp_path / "whole.parquet")
    flow = {"width": 8, "depth": 1, "epochs": 1, "members": 1, "n_layers": 1}
    run = fit_run(tmp_path / "whole.parquet", tmp_path / "flow", settings=flow)
    with pytest.raises(InputError, match="no latent variables"):
        impute_table(run, tmp_path / "whole.parquet", tmp_path / "out.csv", nothing)
    assert not (tmp_path / "out.csv").exists()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "prior",
    ["vamp", *(pytest.param(p, marks=SLOW) for p in ("diagonal", "mixture", "flow"))],
)
def test_every_prior_trains(table: Path, tmp_path: Path, prior: str) -> None:
    run = train(table, tmp_path / "run", model="iwae", prior=prior, epochs=2, n_particles=2)
    assert np.isfinite(run.spec["figures"]["validation"]["log_prob"])
    assert open_run(run.folder).latent.sample(3, 0).shape == (3, 6)


@pytest.mark.parametrize(
    "posterior",
    ["hierarchical", *(pytest.param(p, marks=SLOW) for p in ("diagonal", "full", "flow"))],
)
def test_every_posterior_trains(table: Path, tmp_path: Path, posterior: str) -> None:
    run = train(table, tmp_path / "run", posterior=posterior, epochs=2, latent_dim=2, n_samples=1)
    assert np.isfinite(run.spec["figures"]["validation"]["log_prob"])
    assert open_run(run.folder).latent.codes(np.full((2, 6), np.nan)).shape[0] == 2


@pytest.mark.slow
def test_grey_levels_become_bits(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 17, (120, 4, 4)).astype(np.uint8)
    images[:, 0, 0] = 0  # a pixel that never varies in training
    np.save(tmp_path / "images.npy", images)
    settings = {**SMALL, "likelihood": "bernoulli", "binarise": "dynamic", "epochs": 2}
    run = fit_run(tmp_path / "images.npy", tmp_path / "run", model="vae", settings=settings)
    assert run.spec["recipe"]["binarise"] == "dynamic"
    lit = images.reshape(120, -1).astype(float)
    lit[0, 0] = 16.0
    assert np.all(np.isfinite(run.density.log_prob(lit)[0]))  # a new image may light it
    assert set(np.unique(run.density.sample(50, 0))) <= {0.0, 16.0}
