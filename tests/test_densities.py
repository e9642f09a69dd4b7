"""A density from a user's file: fit, resume, sample, score, report, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from cli_tools import caller
from jensen._errors import InputError
from jensen.data.source import open_table
from jensen.densities import fit_density_run
from jensen.runs import open_run

TINY = {
    "epochs": "1",
    "annealing": "1",
    "n_layers": "2",
    "width": "8",
    "chains": "128",
    "temperatures": "20",
    "draws": "2000",
    "batch_size": "64",
}
OPTIONS = [part for k, v in TINY.items() for part in ("--set", f"{k}={v}")]

GAUSSIAN = """
import jax.numpy as jnp
columns = ["height", "weight"]
scale = 4.0
def log_density(x):  # N((1, -1), diag(1, 4)), times 2 pi 2 = 12.57
    return -0.5 * ((x[0] - 1) ** 2 + ((x[1] + 1) / 2) ** 2)
"""


@pytest.fixture(scope="module")
def density(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("density") / "mine.py"
    path.write_text(GAUSSIAN)
    return f"{path}:log_density"


@pytest.fixture(scope="module")
def folder(density: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    fit_density_run(density, out, settings=TINY, seed=3)
    return out


@pytest.fixture
def cli(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


def test_log_z_is_right_within_its_error(folder: Path) -> None:
    figures = open_run(folder).spec["figures"]
    z = figures["log_z"]
    assert abs(z["value"] - np.log(4 * np.pi)) < 4 * z["se"] + 1e-5  # false alarms: 6e-5
    assert {"train", "validation", "ess", "pareto_k", "verdict"} <= set(figures)
    assert figures["trusted"]


@pytest.mark.slow
def test_resumed_is_the_same_bytes(density: str, folder: Path, tmp_path: Path) -> None:
    fit_density_run(density, tmp_path / "again", settings=TINY, seed=3)
    weights = [p / "model.safetensors" for p in (folder, tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    longer = {**TINY, "epochs": "2"}
    fit_density_run(density, tmp_path / "again", settings=longer, seed=3, resume=True)
    fit_density_run(density, tmp_path / "whole", settings=longer, seed=3)
    weights = [tmp_path / n / "model.safetensors" for n in ("again", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_every_command_takes_the_run_or_says_why_not(folder: Path, cli, tmp_path: Path) -> None:
    new, scores = tmp_path / "new.csv", tmp_path / "scores.csv"
    assert cli("sample", folder, "-n", 300, "--out", new)[0] == 0
    assert open_table(new).names == ("height", "weight")
    assert cli("score", folder, new, "--out", scores)[0] == 0
    rows = np.loadtxt(new, delimiter=",", skiprows=1)
    exact = -0.5 * ((rows[:, 0] - 1) ** 2 + ((rows[:, 1] + 1) / 2) ** 2) - np.log(4 * np.pi)
    assert np.abs(np.loadtxt(scores, delimiter=",", skiprows=1)[:, 0] - exact).mean() < 0.3
    assert cli("report", folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert "log Z" in page
    assert "annealed chains" in page
    for command in (
        ("detect", folder, new, "--out", tmp_path / "x.csv"),
        ("evaluate", folder, new),
        ("report", folder, "--alpha", "0.1"),
    ):
        status, _, errors = cli(*command)
        assert status == 2
        assert "density" in errors[-1]


def test_fit_prints_the_contract_s_json(density: str, cli, tmp_path: Path) -> None:
    status, out, _ = cli(
        "fit", "--density", density, "--out", tmp_path / "r", *OPTIONS, "--seed", 3, "--json"
    )
    assert status == 0
    found = json.loads(out)
    keys = {"run", "model", "seed", "steps", "seconds", "train", "validation"}
    assert keys | {"log_z", "ess", "pareto_k", "verdict"} <= set(found)
    assert set(found["log_z"]) == {"value", "se"}
    assert (found["model"], found["steps"]) == ("target", 100)


WRONG = {
    "both": (("iris",), GAUSSIAN, "both DATA"),
    "family": (("--model", "vae"), GAUSSIAN, "a vae learns rows"),
    "no dim": ((), "def log_density(x):\n    return 0.0\n", "length of x is not known"),
    "bad dim": ((), "dim = 'two'\ndef log_density(x):\n    return 0.0\n", "is no length"),
    "names": (("--set", "dim=3"), GAUSSIAN, "not the names of 3"),
    "no function": ((), "dim = 2\ndef density(x):\n    return 0.0\n", "no function"),
    "nan": ((), GAUSSIAN + "    \n_f = log_density\ndef log_density(x):\n    return "
            "jnp.where(x[0] > 3, jnp.nan, _f(x))\n", "gives nan"),
    "batch": ((), GAUSSIAN.replace("(x[0]", "(x"), "not one number"),
    "short": ((), GAUSSIAN + "    \ndef log_density(x):\n    return x @ jnp.ones(5)\n", "fails"),
    "nowhere": ((), GAUSSIAN + "    \ndef log_density(x):\n    return -jnp.inf * (1 + x[0]**2)\n",
                "-inf at all"),
    "scale": ((), GAUSSIAN.replace("4.0", "-1.0", 1), "scale = -1.0"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_fitted_is_refused_in_one_line(name: str, cli, tmp_path: Path) -> None:
    options, text, message = WRONG[name]
    path = tmp_path / "mine.py"
    path.write_text(text)
    told = "fit", *options, "--density", f"{path}:log_density", "--out", tmp_path / "r", *OPTIONS
    status, _, errors = cli(*told)
    assert status == 2
    assert errors[-1].startswith("error: ")
    assert message in errors[-1]
    assert not (tmp_path / "r").exists()


def test_without_data_or_density_there_is_nothing_to_fit(cli, tmp_path: Path) -> None:
    status, _, errors = cli("fit", "--out", tmp_path / "r")
    assert (status, "nothing to fit" in errors[-1]) == (2, True)
    status, _, errors = cli("fit", "iris", "--model", "target", "--out", tmp_path / "r")
    assert (status, "--density" in errors[-1]) == (2, True)


def test_another_density_does_not_resume_a_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(GAUSSIAN.replace("- 1)", "- 2)"))
    with pytest.raises(InputError, match="not what this run was trained on"):
        fit_density_run(f"{tmp_path}/other.py:log_density", folder, settings=TINY, resume=True)


@pytest.mark.slow
def test_python_gives_the_flow_in_its_own_units() -> None:
    settings: dict[str, Any] = {k: float(v) if "." in v else int(v) for k, v in TINY.items()}
    fit = jn.fit_log_density(lambda x: -jnp.abs(x[0] - 30) / 2, 1, scale=30.0, **settings)
    assert abs(fit.log_z[0] - np.log(4.0)) < max(4 * fit.log_z[1], 0.05)
    x = fit.sample(5, seed=1)
    one = np.array([float(fit.flow.log_prob(jnp.asarray(row, jnp.float32))) for row in x])
    np.testing.assert_allclose(one, fit.log_prob(x), atol=1e-4)
    assert isinstance(fit.verdict, str)
    assert fit.ess > 0
    assert fit.pareto_k < 2
    assert isinstance(fit.warnings, list)


@pytest.mark.slow
def test_an_annealed_start_fits_too() -> None:
    settings: dict[str, Any] = {k: int(v) for k, v in TINY.items()} | {"annealing": 3}
    fit = jn.fit_log_density(lambda x: -0.5 * jnp.sum(x**2), 2, start="annealed", **settings)
    assert abs(fit.log_z[0] - np.log(2 * np.pi)) < 4 * fit.log_z[1] + 1e-5
