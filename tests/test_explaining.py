"""Explanations of tables by a run: what is written, and that it does not depend on the blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from cli_tools import TINY, Cli, caller
from jensen._errors import InputError
from jensen.apply import score_table
from jensen.detecting import detect_table
from jensen.explaining import PREFIX, Explainer, default_alpha, explain_table
from jensen.runs import Run, fit_run


def mixed(n: int, seed: int) -> pa.Table:
    """Return a table of two numbers, a category, counts and a constant."""
    rng = np.random.default_rng(seed)
    town = rng.choice(["oslo", "rome", "bonn"], n, p=[0.6, 0.3, 0.1])
    a = rng.normal(size=n) + 3.0 * (town == "rome")
    return pa.table(
        {
            "a": a,
            "log_prob": 2.0 * a + 0.1 * rng.normal(size=n),  # a name that is taken
            "town": town,
            "visits": rng.poisson(4.0, n),
            "unit": np.full(n, 7.5),
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explaining")
    odd = mixed(24, 1).to_pydict()
    odd["a"][0] = 9.0  # beside log_prob = 2 a
    odd["unit"][1] = 8.0
    odd["visits"][2] = 60
    pq.write_table(pa.table(odd), folder / "odd.parquet")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    return fit_run(mixed(240, 0), place / "run", settings={**TINY, "epochs": 3})


def written(path: Path) -> dict[str, np.ndarray]:
    read = pc.read_csv(path)
    return {name: read[name].to_numpy(zero_copy_only=False) for name in read.column_names}


def test_contributions_sum_to_what_score_and_detect_write(run: Run, place: Path) -> None:
    notes: list[str] = []
    done = explain_table(run, place / "odd.parquet", place / "why.csv", notes.append)
    detect_table(run, place / "odd.parquet", default_alpha(run), place / "d.csv", notes.append)
    why, flags = written(place / "why.csv"), written(place / "d.csv")
    names = [PREFIX + name for name in run.schema.names]
    assert [*why] == ["log_prob", "p_value", "is_anomaly", *names, "changes"]
    for name in ("log_prob", "p_value", "is_anomaly"):
        np.testing.assert_array_equal(why[name], flags[name])
    parts = np.column_stack([why[name] for name in names])
    assert not np.isnan(parts).any()
    np.testing.assert_array_equal(np.isneginf(why["log_prob"]), [False, True] + [False] * 22)
    finite = np.isfinite(why["log_prob"])
    np.testing.assert_allclose(parts[finite].sum(axis=1), why["log_prob"][finite], rtol=1e-10)
    assert np.isneginf(parts[1]).tolist() == [False] * 4 + [True]
    assert why["changes"][1].startswith("unit 8 → 7.5 (the same in all normal rows)")
    assert why["changes"][2].startswith("visits 60 → ")
    assert np.argmin(parts[2]) == 3
    np.testing.assert_array_equal(why["changes"] != "", why["is_anomaly"])
    assert done["flagged"] == int(why["is_anomaly"].sum()) >= 3
    assert notes == []


@pytest.mark.slow
def test_a_row_does_not_depend_on_its_table(run: Run, place: Path) -> None:
    explainer = Explainer(run, 0.1)
    rows = run.held_out()[1][:30].copy()
    rows[::3, 0] += 5.0
    whole = explainer.explain(rows)
    alone = explainer.explain(rows[[6]])
    np.testing.assert_array_equal(alone.contributions[0], whole.contributions[6])
    np.testing.assert_array_equal(alone.mended[0], whole.mended[6])
    np.testing.assert_array_equal(whole.score, run.density.log_prob(rows)[0])
    fixed = whole.mended[whole.flagged & (whole.score_after >= explainer.threshold)]
    assert len(fixed) > 0
    assert not run.conformal.flags(run.density.log_prob(fixed)[0], 0.1).any()


@pytest.mark.slow
def test_an_array_has_no_words(run: Run, place: Path) -> None:
    notes: list[str] = []
    explain_table(run, place / "odd.parquet", place / "why.npy", notes.append, 0.2)
    score_table(run, place / "odd.parquet", place / "s.npy", notes.append)
    found = np.load(place / "why.npy")
    assert found.shape == (24, 3 + 5)
    np.testing.assert_array_equal(found[:, 0], np.load(place / "s.npy")[:, 0])
    assert len(notes) == 1
    assert "an array holds no text" in notes[0]


def test_an_alpha_out_of_reach_is_refused(run: Run, place: Path) -> None:
    with pytest.raises(InputError, match="below"):
        explain_table(run, place / "odd.parquet", place / "no.csv", print, 1e-4)
    assert not (place / "no.csv").exists()


@pytest.mark.slow
def test_the_command(
    run: Run,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli: Cli = caller(monkeypatch, capsys)
    out = place / "cli.csv"
    code, text, _ = cli("explain", run.folder, place / "odd.parquet", "--out", out, "--json")
    assert code == 0
    document = json.loads(text)
    assert {"n", "alpha", "flagged", "threshold", "orders", "seconds", "out"} == document.keys()
    assert document["n"] == len(written(out)["changes"]) == 24
    code, text, errors = cli("explain", run.folder, place / "odd.parquet", "--out", place / "x.doc")
    assert code == 2
    assert "cannot write a table" in errors[-1]
