"""`jensen detect`, `monitor` and `score` over several processes, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from cli_tools import TINY, Cli, caller
from jensen.anomaly.discoveries import benjamini_hochberg
from jensen.anomaly.rules import RULES
from jensen.data.output import TableWriter
from jensen.runs import Run, fit_run

NAMES = ("a", "b", "c")
TINY_LATENT = {"width": 8, "depth": 1, "epochs": 2, "score_particles": 50}


def normal(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 7]).normal([0.0, 5.0, -3.0], [1.0, 2.0, 0.5], (n, 3))


def put(path: Path, rows: np.ndarray) -> Path:
    pq.write_table(pa.table(dict(zip(NAMES, rows.T, strict=True))), path)
    return path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anomaly")
    put(folder / "train.parquet", normal(600, 0))
    mixed = normal(300, 1)
    mixed[::10] += 40.0  # 30 anomalies
    put(folder / "mixed.parquet", mixed)
    (folder / "parts").mkdir()
    for i, part in enumerate(np.split(mixed, [1, 100, 260])):
        put(folder / "parts" / f"{i}.parquet", part)
    return folder


@pytest.fixture(scope="module")
def flow(place: Path) -> Run:
    return fit_run(place / "train.parquet", place / "flow", settings={**TINY, "epochs": 2})


@pytest.fixture(scope="module")
def pool(place: Path) -> Run:
    return fit_run(
        place / "train.parquet", place / "pool", model="detector", settings={**TINY, "epochs": 2}
    )


@pytest.fixture(scope="module")
def vae(place: Path) -> Run:
    return fit_run(place / "train.parquet", place / "vae", model="vae", settings=TINY_LATENT)


def table(path: Path) -> dict[str, np.ndarray]:
    read = pc.read_csv(path)
    return {name: read[name].to_numpy(zero_copy_only=False) for name in read.column_names}


def detect(cli: Cli, run: Run, data: Path, out: Path, *options: object) -> tuple[dict, dict, list]:
    code, text, lines = cli("detect", run.folder, data, "--out", out, *options, "--json")
    assert code == 0, lines
    return json.loads(text), table(out), lines


@pytest.mark.parametrize("name", RULES)
def test_every_rule_flags_what_lies_below_its_threshold(
    name: str, flow: Run, place: Path, tmp_path: Path, cli: Cli
) -> None:
    data = place / "mixed.parquet"
    found, out, _ = detect(cli, flow, data, tmp_path / "o.csv", "--alpha", 0.05, "--rule", name)
    rule = RULES[name]()
    assert [*out] == ["log_prob", "p_value", "is_anomaly"]
    assert found["threshold"] == rule.threshold(flow.conformal, 0.05)
    assert found["promise"] == rule.promise(flow.conformal, 0.05)
    assert found["smallest_alpha"] == rule.smallest_alpha(flow.conformal)
    assert (found["rule"], found["score"], found["calibration_n"]) == (name, "default", 99)
    np.testing.assert_array_equal(out["is_anomaly"], out["log_prob"] < found["threshold"])
    np.testing.assert_array_equal(out["p_value"], rule.p_values(flow.conformal, out["log_prob"]))
    assert found["flagged"] == out["is_anomaly"].sum()
    assert out["is_anomaly"][::10].all()


def test_the_share_of_flags_is_printed_with_the_promise(
    flow: Run, place: Path, tmp_path: Path, cli: Cli
) -> None:
    code, text, _ = cli(
        "detect", flow.folder, place / "mixed.parquet", "--out", tmp_path / "o.csv", "--alpha", 0.05
    )
    first, second = text.splitlines()
    assert code == 0
    assert " of 300 rows flagged (" in first
    assert second == f"promise      {RULES['conformal']().promise(flow.conformal, 0.05)}"


REFUSALS = {
    "unreachable": (["--alpha", 0.001], "calibrate on at least 999 rows"),
    "unreachable-conditional": (["--alpha", 0.01, "--rule", "conditional"], "at least 299 rows"),
    "unreachable-discoveries": (["--discoveries", 0.001], "calibrate on at least 999 rows"),
    "outside": (["--discoveries", 1.5], "strictly between 0 and 1"),
    "both": (["--alpha", 0.1, "--discoveries", 0.1], "--alpha, --discoveries"),
    "rule-and-discoveries": (["--discoveries", 0.1, "--rule", "quantile"], "leave --rule out"),
    "rule": (["--rule", "conformel"], "did you mean 'conformal'"),
    "score": (["--score", "typical"], "did you mean 'typicality'"),
    "no-decoder": (["--score", "reconstruction"], "a flow has no decoder"),
    "background": (["--background", "nowhere"], "add --score ratio"),
    "no-background": (["--score", "ratio", "--background", "nowhere"], "no such run folder"),
    "jobs": (["--jobs", 0], "must be at least 1, got 0"),
    "trained-on": (["--calibration", "train.parquet"], "600 of the 600 calibration rows are rows"),
    "shuffled": (["--calibration", "shuffled.parquet"], "calibration rows are rows"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_say_how_to_mend(
    case: str, flow: Run, place: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    if case == "shuffled":
        put(place / "shuffled.parquet", np.random.default_rng(0).permutation(normal(600, 0)))
    options, told = REFUSALS[case]
    out = tmp_path / "o.csv"
    code, text, lines = cli("detect", flow.folder, "mixed.parquet", "--out", out, *options)
    assert (code, text) == (2, "")
    assert lines[-1].startswith("error: ")
    assert told in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_discoveries_are_those_of_the_procedure_in_memory(
    flow: Run, place: Path, tmp_path: Path, cli: Cli
) -> None:
    one = detect(cli, flow, place / "mixed.parquet", tmp_path / "o.csv", "--discoveries", 0.2)
    many = detect(cli, flow, place / "parts", tmp_path / "p.csv", "--discoveries", 0.2)
    found, out, _ = one
    expected = benjamini_hochberg(flow.conformal.p_values(out["log_prob"]), 0.2)
    assert 30 <= expected.sum() < 60
    np.testing.assert_array_equal(out["is_anomaly"], expected)
    np.testing.assert_array_equal(out["is_anomaly"], out["log_prob"] < found["threshold"])
    assert (found["discoveries"], found["alpha"], found["flagged"]) == (0.2, None, expected.sum())
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "p.csv").read_bytes()
    assert many[0]["threshold"] == found["threshold"]
    assert {p.name for p in tmp_path.iterdir()} == {"o.csv", "p.csv"}


def test_without_discoveries_there_is_no_threshold(
    flow: Run, place: Path, tmp_path: Path, cli: Cli
) -> None:
    quiet = put(tmp_path / "quiet.parquet", np.tile([[0.0, 5.0, -3.0]], (40, 1)))
    found, out, _ = detect(cli, flow, quiet, tmp_path / "o.csv", "--discoveries", 0.2)
    assert (found["flagged"], found["threshold"]) == (0, None)
    assert not out["is_anomaly"].any()


@pytest.mark.parametrize("score", ["default", "log-prob", "typicality", "ratio", "latent"])
def test_every_score_of_a_detector_is_calibrated_by_itself(
    score: str, pool: Run, place: Path, tmp_path: Path, cli: Cli
) -> None:
    options = ("--alpha", 0.1, "--score", score)
    found, out, _ = detect(cli, pool, place / "mixed.parquet", tmp_path / "o.csv", *options)
    own = score != "log-prob"
    assert [*out] == ["log_prob", "p_value", "is_anomaly"] + ["score"] * own
    ranked = out["score"] if own else out["log_prob"]
    np.testing.assert_array_equal(out["is_anomaly"], ranked < found["threshold"])
    held = np.array(pool.held_out()[0])
    put(tmp_path / "held.parquet", held)
    _, again, _ = detect(cli, pool, tmp_path / "held.parquet", tmp_path / "h.csv", *options)
    # the rows that calibrate a score take its ranks 1 … n themselves
    assert found["calibration_n"] == len(held) == 99
    np.testing.assert_allclose(np.sort(again["p_value"]), np.arange(2, 101) / 100)
    if score != "ratio":  # a Gaussian's tails may fall off as fast as the flow's
        assert out["is_anomaly"][::10].all()


@pytest.mark.parametrize("score", ["reconstruction", "latent"])
def test_scores_of_a_latent_model(
    score: str, vae: Run, place: Path, tmp_path: Path, cli: Cli
) -> None:
    options = ("--alpha", 0.1, "--score", score)
    found, out, _ = detect(cli, vae, place / "mixed.parquet", tmp_path / "o.csv", *options)
    _, parts, _ = detect(cli, vae, place / "parts", tmp_path / "p.csv", *options)
    assert (found["score"], found["calibration_n"]) == (score, 99)
    np.testing.assert_array_equal(out["score"], parts["score"])
    if score == "latent":
        assert (out["score"] < 1.5).all()  # minus a divergence, up to the noise of 50 draws


def test_a_run_is_its_own_background(flow: Run, place: Path, tmp_path: Path, cli: Cli) -> None:
    _, out, _ = detect(
        cli,
        flow,
        place / "mixed.parquet",
        tmp_path / "o.csv",
        *("--score", "ratio", "--background", flow.folder),
    )
    np.testing.assert_array_equal(out["score"], 0.0)
    assert not out["is_anomaly"].any()


def test_fresh_rows_calibrate(flow: Run, place: Path, tmp_path: Path, cli: Cli) -> None:
    fresh = put(tmp_path / "fresh.parquet", normal(1999, 5))
    found, out, lines = detect(
        cli,
        flow,
        place / "mixed.parquet",
        tmp_path / "o.csv",
        *("--alpha", 0.001, "--calibration", fresh),
    )
    assert found["calibration_n"] == 1999
    assert found["smallest_alpha"] == 1 / 2000
    assert out["p_value"].min() == 1 / 2000
    assert lines[0].startswith("note: calibrated on 1,999 rows of ")
    assert "not the table that the run was trained on" in lines[0]


def test_rows_of_the_kernel_density_may_not_calibrate(
    pool: Run, place: Path, tmp_path: Path, cli: Cli
) -> None:
    kernel = pool.density.kernel.members  # type: ignore[union-attr]
    trained = pool.density.preprocess.backward(np.asarray(kernel.centres[0]))[:60]
    rows = normal(600, 0)
    near = [int(np.argmin(np.abs(rows - row).sum(axis=1))) for row in trained]
    some = put(tmp_path / "some.parquet", np.concatenate([rows[near], normal(40, 9)]))
    code, _, lines = cli(
        "detect", pool.folder, place / "mixed.parquet", "--out", tmp_path / "o.csv",
        "--calibration", some,
    )  # fmt: skip
    assert code == 2
    assert "60 of the 100 calibration rows are rows that the run was trained on" in lines[-1]


def test_processes_and_splits_change_no_bit(
    pool: Run, place: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jensen.parallel.SLICE", 64)  # 5 blocks
    options = ("--discoveries", 0.2)
    detect(cli, pool, place / "mixed.parquet", tmp_path / "1.csv", *options)
    detect(cli, pool, place / "parts", tmp_path / "2.csv", *options, "--jobs", 2)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
    # an error in the middle of the file, while both processes are at work
    rows = normal(300, 1)
    rows[200, 1] = np.nan
    bad = put(tmp_path / "bad.parquet", rows)
    code, text, lines = cli("score", pool.folder, bad, "--out", tmp_path / "s.csv", "--jobs", 2)
    assert (code, text) == (2, "")
    assert lines[-1].startswith("error: a missing cell in column 'b' — row 201 of ")
    assert not (tmp_path / "s.csv").exists()


def test_other_units_are_noticed(flow: Run, tmp_path: Path, cli: Cli) -> None:
    rows = normal(50, 3)
    rows[:, 1] *= 1000.0
    data = put(tmp_path / "grams.parquet", rows)
    _, _, lines = detect(cli, flow, data, tmp_path / "o.csv", "--alpha", 0.05)
    assert len(lines) == 1
    assert lines[0].startswith("note: 50 of 50 rows are flagged: are they in the units of")
    assert f"'b' {np.median(rows[:, 1]):.6g}, in training {flow_median(flow):.6g}" in lines[0]
    assert "'a'" not in lines[0]
    few = put(tmp_path / "few.parquet", rows[:19])
    assert detect(cli, flow, few, tmp_path / "o.csv", "--alpha", 0.05)[2] == []


def flow_median(run: Run) -> float:
    return float(np.median(run.held_out()[0][:, 1]))


def test_a_column_named_like_a_label_is_noticed(tmp_path: Path, cli: Cli) -> None:
    with TableWriter(tmp_path / "t.csv") as writer:
        writer.write(dict(zip(("a", "b", "Target"), normal(600, 0).T, strict=True)))
    options = [part for k, v in TINY.items() for part in ("--set", f"{k}={v}")]
    _, _, lines = cli("fit", tmp_path / "t.csv", "--out", tmp_path / "run", *options)
    assert any(line.startswith("note: column 'Target' is named like a label") for line in lines)


def test_a_stream_that_shifts_raises_the_alarm_and_one_that_does_not_is_quiet(
    flow: Run, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jensen.anomaly.stream._REPEATS", 20)  # a stated delay takes seconds
    rows = normal(900, 11)
    quiet = put(tmp_path / "quiet.parquet", rows)
    rows[600:, 0] += 4.0
    loud = put(tmp_path / "loud.parquet", rows)
    watch = ("monitor", flow.folder)
    code, text, _ = cli(*watch, quiet, "--out", tmp_path / "q.csv", "--json")
    found, out = json.loads(text), table(tmp_path / "q.csv")
    assert code == 0
    assert [*out] == ["log_prob", "p_value", "log_evidence", "alarm"]
    # false alarms of one stream: at most 1 in 100
    assert (found["n"], found["alarm_row"], found["change_row"]) == (900, None, None)
    assert not out["alarm"].any()
    assert found["log_evidence_max"] == out["log_evidence"].max() < np.log(100)
    assert found.keys() >= {"rate", "calibration_n", "promise", "seconds", "out"}
    assert found["stated_delay"].keys() == {"share", "level", "rows"}
    code, text, _ = cli(*watch, loud, "--out", tmp_path / "l.csv", "--json")
    found, out = json.loads(text), table(tmp_path / "l.csv")
    assert code == 0  # an alarm is an answer, not a failure
    assert 600 < found["alarm_row"] < 700
    assert 550 < found["change_row"] <= found["alarm_row"]
    np.testing.assert_array_equal(out["alarm"], np.arange(1, 901) >= found["alarm_row"])
    code, text, _ = cli(*watch, loud, "--out", tmp_path / "l.csv", "--rate", 0.05)
    assert text.startswith("alarm at row ")
    code, text, lines = cli(*watch, loud, "--out", tmp_path / "x.csv", "--rate", 2)
    assert (code, text) == (2, "")
    assert "strictly between 0 and 1" in lines[-1]


@pytest.mark.slow
def test_ctrl_c_ends_every_process_and_leaves_no_file(flow: Run, tmp_path: Path) -> None:
    data = put(tmp_path / "long.parquet", np.tile(normal(2000, 0), (2000, 1)))
    (tmp_path / "out").mkdir()
    score = ["score", flow.folder, data, "--out", tmp_path / "out" / "s.csv", "--jobs", 2]
    with subprocess.Popen(
        [sys.executable, "-m", "jensen", *map(str, score)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            end = time.monotonic() + 300.0
            while not any(p.stat().st_size > 1000 for p in (tmp_path / "out").iterdir()):
                assert time.monotonic() < end
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.startswith("error: interrupted")
    assert err.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []
    end = time.monotonic() + 10.0
    while left := alive(process.pid):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def alive(group: int) -> list[int]:
    """Return the processes of a session that still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended meanwhile
            if os.getsid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
