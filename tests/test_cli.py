"""The command line at work: what it prints, writes, and leaves behind when it is stopped."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pytest

from cli_tools import ROWS, TINY_OPTIONS, Cli, caller, write_table


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_table(folder / "good.csv", ROWS, "a,b,c")
    return folder


@pytest.fixture
def run(place: Path, cli: Cli) -> Path:
    if not (place / "run").exists():
        code, _, _ = cli("fit", place / "good.csv", "--out", place / "run", *TINY_OPTIONS)
        assert code == 0
    return place / "run"


def table(path: Path) -> dict[str, np.ndarray]:
    read = pc.read_csv(path)
    return {name: read[name].to_numpy(zero_copy_only=False) for name in read.column_names}


KEYS = {
    "fit": {"run", "model", "seed", "steps", "seconds", "train", "validation"},
    "score": {"n", "seconds", "out"},
    "sample": {"n", "seconds", "out"},
    "detect": {"n", "alpha", "flagged", "threshold", "calibration_n", "smallest_alpha"},
    "evaluate": {"run", "n", "log_prob", "bits_per_dim"},
    "report": {"report"},
}


@pytest.mark.parametrize("command", KEYS)
def test_json_is_one_document_with_the_keys_of_the_contract(
    command: str, run: Path, place: Path, tmp_path: Path, cli: Cli
) -> None:
    data, out = place / "good.csv", tmp_path / "out.csv"
    arguments = {
        "fit": ["fit", data, "--out", tmp_path / "run", *TINY_OPTIONS],
        "score": ["score", run, data, "--out", out],
        "sample": ["sample", run, "-n", 5, "--out", out],
        "detect": ["detect", run, data, "--alpha", 0.1, "--out", out],
        "evaluate": ["evaluate", run, data],
        "report": ["report", run],
    }[command]
    code, text, _ = cli(*arguments, "--json")
    assert code == 0
    document = json.loads(text)
    assert KEYS[command] <= document.keys()
    assert text.count("\n") == 1
    if command == "fit":
        assert {"log_prob", "kind"} <= document["train"].keys()
        assert {"log_prob", "se", "kind", "n"} <= document["validation"].keys()
    if command == "evaluate":
        assert {"mean", "se", "kind", "k", "ess", "pareto_k"} <= document["log_prob"].keys()


def test_figures_agree_between_the_commands(
    run: Path, place: Path, tmp_path: Path, cli: Cli
) -> None:
    data = place / "good.csv"
    cli("score", run, data, "--out", tmp_path / "s.csv")
    _, text, _ = cli("detect", run, data, "--alpha", 0.1, "--out", tmp_path / "d.csv", "--json")
    detected = json.loads(text)
    scores, flags = table(tmp_path / "s.csv"), table(tmp_path / "d.csv")
    np.testing.assert_array_equal(scores["log_prob"], flags["log_prob"])
    np.testing.assert_array_equal(scores["log_prob_se"], 0.0)
    np.testing.assert_array_equal(flags["is_anomaly"], flags["p_value"] <= 0.1 + 1e-12)
    np.testing.assert_array_equal(flags["is_anomaly"], flags["log_prob"] < detected["threshold"])
    assert detected["flagged"] == flags["is_anomaly"].sum()
    assert detected["smallest_alpha"] == 1 / (detected["calibration_n"] + 1)
    _, text, _ = cli("evaluate", run, data, "--json")
    assert json.loads(text)["log_prob"]["mean"] == scores["log_prob"].mean()


def test_samples_are_a_function_of_the_seed(run: Path, tmp_path: Path, cli: Cli) -> None:
    for name, seed, n in (("a", 1, 50), ("b", 1, 50), ("c", 2, 50), ("d", 1, 80)):
        assert (
            cli("sample", run, "-n", n, "--seed", seed, "--out", tmp_path / f"{name}.csv")[0] == 0
        )
    a, b, c, d = (table(tmp_path / f"{name}.csv") for name in "abcd")
    assert list(a) == ["a", "b", "c"]
    np.testing.assert_array_equal(a["a"], b["a"])
    np.testing.assert_array_equal(a["a"], d["a"][:50])
    assert not np.array_equal(a["a"], c["a"])


def test_one_column_is_a_table(tmp_path: Path, cli: Cli) -> None:
    data = write_table(tmp_path / "one.csv", ROWS[:, :1], "x")
    assert cli("fit", data, "--out", tmp_path / "run", *TINY_OPTIONS)[0] == 0
    assert cli("detect", tmp_path / "run", data, "--out", tmp_path / "d.csv")[0] == 0
    assert cli("sample", tmp_path / "run", "-n", 9, "--out", tmp_path / "s.npy")[0] == 0
    assert np.load(tmp_path / "s.npy").shape == (9, 1)


def test_a_new_value_in_a_constant_column_is_impossible(tmp_path: Path, cli: Cli) -> None:
    rows = np.column_stack([ROWS[:, :2], np.full(len(ROWS), 7.0)])
    data = write_table(tmp_path / "d.csv", rows, "a,b,k")
    code, _, lines = cli("fit", data, "--out", tmp_path / "run", *TINY_OPTIONS)
    assert code == 0
    assert any(line.startswith("note:") and line.endswith(" k") for line in lines)
    rows[3, 2] = 8.0
    changed = write_table(tmp_path / "e.csv", rows, "a,b,k")
    _, text, _ = cli("detect", tmp_path / "run", changed, "--out", tmp_path / "o.csv", "--json")
    out = table(tmp_path / "o.csv")
    assert np.flatnonzero(np.isneginf(out["log_prob"])).tolist() == [3]
    assert out["p_value"][3] == 1 / (json.loads(text)["calibration_n"] + 1)
    assert out["is_anomaly"][3]
    code, text, lines = cli("evaluate", tmp_path / "run", changed, "--json")
    assert (code, json.loads(text)["impossible"], lines) == (0, 1, [])
    cli("sample", tmp_path / "run", "-n", 5, "--out", tmp_path / "s.csv")
    np.testing.assert_array_equal(table(tmp_path / "s.csv")["k"], 7)


def test_columns_of_text_and_whole_numbers(tmp_path: Path, cli: Cli) -> None:
    rng = np.random.default_rng(0)
    colour, count = rng.choice(["blue", "green", "red"], 120), rng.integers(0, 9, 120)
    lines = [f"{a!r},{c},{n}" for a, c, n in zip(ROWS[:, 0].tolist(), colour, count, strict=True)]
    data = tmp_path / "mixed.csv"
    data.write_text("\n".join(["a,colour,n", *lines]) + "\n")
    run, out = tmp_path / "run", tmp_path / "o.csv"
    assert cli("fit", data, "--out", run, *TINY_OPTIONS)[0] == 0
    for command in (["score", run, data], ["detect", run, data], ["sample", run, "-n", 40]):
        assert cli(*command, "--out", out)[0] == 0
    drawn = table(out)
    assert set(drawn["colour"]) <= {"blue", "green", "red"}
    assert drawn["n"].dtype.kind == "i"
    (tmp_path / "new.csv").write_text("a,colour,n\n0.5,blue,3\n0.5,pink,3\n")
    code, text, lines = cli("score", run, tmp_path / "new.csv", "--out", tmp_path / "p.csv")
    assert (code, text) == (2, "")
    assert "'pink'" in lines[-1]
    assert "row 2" in lines[-1]
    assert not (tmp_path / "p.csv").exists()
    assert "text column" in cli("sample", run, "-n", 3, "--out", tmp_path / "s.npy")[2][-1]


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Let no file grow beyond `limit` bytes: what a full disk looks like to a program."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
def test_a_full_disk_leaves_no_output(ending: str, run: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / f"s.{ending}"
    with small_files(10_000):
        code, text, lines = cli("sample", run, "-n", 2000, "--out", out)
    assert (code, text) == (2, "")
    assert lines[-1].startswith("error: could not write")
    assert list(tmp_path.iterdir()) == []


# 2,500 bytes lie between spec.json, 1,724, and the largest file of a checkpoint, 3,069 or more
@pytest.mark.parametrize("limit", [1, 2500])
def test_a_full_disk_during_training_leaves_a_resumable_run(
    limit: int, run: Path, place: Path, tmp_path: Path, cli: Cli
) -> None:
    fit = ("fit", place / "good.csv", "--out", tmp_path / "run", *TINY_OPTIONS)
    with small_files(limit):
        code, text, lines = cli(*fit)
    assert (code, text) == (2, "")
    assert lines[-1].startswith("error: ")
    left = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert left <= {"spec.json"}
    assert cli(*fit, "--resume")[0] == 0
    weights = "model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (run / weights).read_bytes()


def test_a_full_disk_during_training_shows_one_line(place: Path, tmp_path: Path) -> None:
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500));"
        "from jensen.cli import main; main()"
    )
    fit = command("fit", place / "good.csv", "--out", tmp_path / "run", *TINY_OPTIONS)[3:]
    done = subprocess.run(
        [sys.executable, "-c", limited, *fit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cannot write a checkpoint: ")
    assert done.stderr.count("\n") == 1


def test_divergence_ends_with_status_3(place: Path, tmp_path: Path, cli: Cli) -> None:
    fit = ["fit", place / "good.csv", "--out", tmp_path / "run", *TINY_OPTIONS]
    code, text, lines = cli(*fit, "--set", "learning_rate=1e30", "--epochs", 60)
    assert (code, text) == (3, "")
    assert [line.startswith("error: training diverged") for line in lines[-1:]] == [True]
    assert not (tmp_path / "run" / "model.safetensors").exists()
    code, _, lines = cli("score", tmp_path / "run", place / "good.csv", "--out", tmp_path / "s.csv")
    assert code == 2
    assert "not finished" in lines[-1]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "jensen", *map(str, arguments)]


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing happened in {seconds} s")
        time.sleep(0.05)


def test_ctrl_c_ends_with_130_and_leaves_a_resumable_run(place: Path, tmp_path: Path) -> None:
    fit = ["fit", place / "good.csv", "--out", tmp_path / "run", *TINY_OPTIONS, "--set", "chunk=50"]
    endless = [*fit, "--epochs", 1_000_000, "--set", "patience=100000000"]
    log = tmp_path / "log"
    with (
        log.open("w") as err,
        subprocess.Popen(
            command(*endless), stdout=subprocess.PIPE, stderr=err, text=True
        ) as process,
    ):
        try:
            until(lambda: "step" in log.read_text())  # training is under way
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert log.read_text().splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in log.read_text()
    steps = [int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir()]
    assert max(steps) > 0
    again = subprocess.run(
        command(*fit, "--set", "patience=100000000", "--epochs", 1, "--resume", "--json"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0
    assert json.loads(again.stdout)["steps"] >= max(steps)


def test_python_m_jensen_is_the_command() -> None:
    done = subprocess.run(
        command("score", "nowhere", "iris", "--out", "s.csv"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no such run folder")
