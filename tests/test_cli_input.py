"""The command line under bad input: one line, the right status, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cli_tools import ROWS, TINY, TINY_OPTIONS, Cli, caller, write_table
from jensen.runs import fit_run


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


@pytest.fixture
def refused(cli: Cli) -> Callable[..., str]:
    """Return `refused(*arguments) -> the error line`, having checked how it was refused."""

    def call(*arguments: object, status: int = 2) -> str:
        code, out, lines = cli(*arguments)
        assert code == status
        assert out == ""
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
        assert not any("Traceback" in line for line in lines)
        return lines[-1]

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good table and a run fitted to it."""
    place = tmp_path_factory.mktemp("cli")
    table = write_table(place / "good.csv", ROWS, "a,b,c")
    fit_run(table, place / "run", settings=TINY)
    return place


@pytest.fixture
def here(folder: Path, tmp_path: Path) -> Path:
    """A fresh copy of that folder."""
    return Path(shutil.copytree(folder, tmp_path / "here"))


BAD_TABLES = {
    "empty": ("", "empty"),
    "header-only": ("a,b\n", "no rows"),
    "ragged": ("a,b\n1,2\n3\n4,5\n", "row 2 has 1 cells"),
    "text-in-numbers": ("a,b\n1,2\n3,oops\n4,5\n6,7\n", "'oops'"),
    "nan": ("a,b\n1,2\n3,NaN\n4,5\n", "missing cell"),
    "infinite": ("a,b\n1,2\n3,inf\n4,5.5\n", "infinite cell"),
    "missing-cell": ("a,b\n1,2\n3,\n4,5\n", "missing cell"),
    "one-row": ("a,b\n1,2\n", "only one row"),
    "two-rows": ("a,b\n1,2\n3,4\n", "only 2 rows"),
    "all-constant": ("a,b\n" + "1,2\n" * 20, "constant"),
    "duplicate-names": ("a,a\n1,2\n3,4\n5,6\n", "more than once"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_table_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    text, said = BAD_TABLES[name]
    (tmp_path / "bad.csv").write_text(text)
    line = refused("fit", tmp_path / "bad.csv", "--out", tmp_path / "run", *TINY_OPTIONS)
    assert said in line
    assert [p.name for p in tmp_path.iterdir()] == ["bad.csv"]


BAD_OPTIONS = {
    "command": (["fitt"], "'fit'"),
    "no-output": (["fit", "iris"], "--out"),
    "option": (["fit", "iris", "--out", "x", "--sed", "1"], "--seed"),
    "setting": (["fit", "iris", "--out", "x", "--set", "bin=3"], "'bins'"),
    "value": (["fit", "iris", "--out", "x", "--set", "bins=abc"], "whole number"),
    "range": (["fit", "iris", "--out", "x", "--set", "learning_rate=-1"], "above 0"),
    "choice": (["fit", "iris", "--out", "x", "--set", "tails=studentt"], "'student-t'"),
    "no-value": (["fit", "iris", "--out", "x", "--set", "bins"], "key=value"),
    "model": (["fit", "iris", "--out", "x", "--model", "flwo"], "'flow'"),
    "built-in": (["fit", "irsi", "--out", "x"], "'iris'"),
    "epochs": (["fit", "iris", "--out", "x", "--epochs", "0"], "at least 1"),
    "negative-seed": (["fit", "iris", "--out", "x", "--seed", "-1"], "seed"),
    "large-seed": (["fit", "iris", "--out", "x", "--seed", "99999999999999999999"], "seed"),
    "text-seed": (["fit", "iris", "--out", "x", "--seed", "one"], "integer"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_option_is_refused_and_the_nearest_suggested(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, said = BAD_OPTIONS[name]
    assert said in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


def reseal(run: Path, **changes: object) -> None:
    """Change a spec and give it a checksum that fits: tampering with care."""
    spec = json.loads((run / "spec.json").read_text())
    spec = {k: v for k, v in {**spec, **changes}.items() if v is not None and k != "checksum"}
    text = json.dumps(spec, sort_keys=True)
    spec["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    (run / "spec.json").write_text(json.dumps(spec))


def _cut(run: Path) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])


def _flip(run: Path) -> None:
    path = run / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))


def _other_seed(run: Path) -> None:
    path = run / "spec.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def _recipe(run: Path, **changes: object) -> None:
    reseal(run, recipe={**json.loads((run / "spec.json").read_text())["recipe"], **changes})


def _one_column_less(run: Path) -> None:
    schema = json.loads((run / "spec.json").read_text())["schema"]
    reseal(run, schema={**schema, "columns": schema["columns"][:-1]})


BAD_RUNS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (shutil.rmtree, "no such run"),
    "empty": (lambda run: (shutil.rmtree(run), run.mkdir()), "not a run"),
    "no-weights": (lambda run: (run / "model.safetensors").unlink(), "no weights"),
    "truncated": (_cut, "truncated or changed"),
    "bit-flipped": (_flip, "truncated or changed"),
    "spec-changed": (_other_seed, "was changed"),
    "spec-list": (lambda run: (run / "spec.json").write_text("[]"), "damaged"),
    "spec-binary": (lambda run: (run / "spec.json").write_bytes(b"\xff\xfe"), "damaged"),
    "spec-cut": (lambda run: (run / "spec.json").write_text('{"format": 1,'), "damaged"),
    "newer": (lambda run: reseal(run, format=2), "newer"),
    "unfinished": (lambda run: reseal(run, status="training"), "--resume"),
    "sealed-without-weights": (lambda run: reseal(run, weights=None), "lacks weights"),
    "sealed-without-schema": (lambda run: reseal(run, schema=None), "lacks schema"),
    "sealed-other-width": (lambda run: _recipe(run, width=16), "do not fit"),
    "sealed-other-members": (lambda run: _recipe(run, members=3), "do not fit"),
    "sealed-unknown-option": (lambda run: _recipe(run, widht=8), "'width'"),
    "sealed-fewer-columns": (_one_column_less, "do not fit"),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_bad_run_folder_is_refused(name: str, here: Path, refused: Callable[..., str]) -> None:
    damage, said = BAD_RUNS[name]
    damage(here / "run")
    line = refused("score", here / "run", here / "good.csv", "--out", here / "s.csv")
    assert said in line
    assert not (here / "s.csv").exists()


BAD_OUTPUTS = {
    "unknown-ending": ("out.txt", ".csv"),
    "missing-folder": ("nowhere/out.csv", "make it first"),
    "a-folder": ("run", "folder"),
    "the-input": ("good.csv", "also the input"),
    "the-input-by-link": ("link.csv", "also the input"),
}


@pytest.mark.parametrize("name", BAD_OUTPUTS)
def test_bad_output_is_refused(name: str, here: Path, refused: Callable[..., str]) -> None:
    (here / "link.csv").symlink_to(here / "good.csv")
    before = (here / "good.csv").read_bytes()
    target, said = BAD_OUTPUTS[name]
    assert said in refused("score", here / "run", here / "good.csv", "--out", here / target)
    assert (here / "good.csv").read_bytes() == before


@pytest.mark.parametrize("alpha", ["0", "1", "-1", "nan", "inf", "text", "0.001", "1e-300"])
def test_alpha_that_cannot_be_used_is_refused(
    alpha: str, here: Path, refused: Callable[..., str]
) -> None:
    line = refused(
        "detect", here / "run", here / "good.csv", "--alpha", alpha, "--out", here / "d.csv"
    )
    assert "alpha" in line
    assert len(line) < 200
    assert not (here / "d.csv").exists()


def test_columns_are_matched_by_name(here: Path, cli: Cli, refused: Callable[..., str]) -> None:
    shuffled = write_table(here / "shuffled.csv", ROWS[:, [2, 0, 1]], "c,a,b")
    extra = write_table(here / "extra.csv", np.column_stack([ROWS, ROWS[:, 0]]), "a,b,c,z")
    lacking = write_table(here / "lacking.csv", ROWS[:, :2], "a,b")
    outputs = []
    for i, table in enumerate([here / "good.csv", shuffled, extra]):
        code, _, lines = cli("score", here / "run", table, "--out", here / f"{i}.csv")
        assert code == 0
        outputs.append((here / f"{i}.csv").read_bytes())
        assert any("z" in line for line in lines if line.startswith("note")) == (table == extra)
    assert outputs[0] == outputs[1] == outputs[2]
    assert "'c'" in refused("score", here / "run", lacking, "--out", here / "s.csv")


@pytest.mark.parametrize("n", ["0", "-3", "x"])
def test_number_of_samples_is_checked(n: str, here: Path, refused: Callable[..., str]) -> None:
    assert "-n" in refused("sample", here / "run", "-n", n, "--out", here / "s.csv")
    assert "seed" in refused("sample", here / "run", "-n", 3, "--seed", -1, "--out", here / "s.csv")


def test_fit_refuses_a_folder_that_holds_something(here: Path, refused: Callable[..., str]) -> None:
    fit = ("fit", here / "good.csv", *TINY_OPTIONS)
    assert "--resume" in refused(*fit, "--out", here / "run")
    assert "is a file" in refused(*fit, "--out", here / "good.csv")
    assert "not empty" in refused(*fit, "--out", here)
    assert "seed 0" in refused(*fit, "--out", here / "run", "--resume", "--seed", 1)
    assert "bins=8" in refused(*fit, "--out", here / "run", "--resume", "--set", "bins=9")
    other = write_table(here / "other.csv", ROWS + 1.0, "a,b,c")
    assert "data" in refused("fit", other, "--out", here / "run", "--resume")


def test_damaged_parts_of_a_report_are_refused(here: Path, refused: Callable[..., str]) -> None:
    (here / "run" / "metrics.parquet").write_text("garbage")
    assert "metrics" in refused("report", here / "run")
    (here / "run" / "heldout.parquet").write_text("garbage")
    assert "heldout" in refused("report", here / "run")


def test_debug_shows_the_traceback_and_keeps_the_status(here: Path, cli: Cli) -> None:
    code, out, lines = cli("score", here / "none", here / "good.csv", "--out", "s.csv", "--debug")
    assert (code, out) == (2, "")
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("error: ")


def test_without_arguments_the_help_is_shown(cli: Cli) -> None:
    code, out, lines = cli()
    assert (code, lines) == (0, [])
    assert "jensen demo" in out
