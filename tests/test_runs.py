"""Run folders: the same bytes however a run came to its end, and the same scores ever after."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from cli_tools import ROWS, TINY, write_table
from jensen._errors import DivergedError, InputError
from jensen.apply import score_table
from jensen.data.source import open_table
from jensen.runs import Run, fit_run, open_run

LONG = {**TINY, "patience": 10**6, "batch_size": 32}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "good.csv", ROWS, "a,b,c")


@pytest.fixture(scope="module")
def whole(table: Path) -> Run:
    """A run of 12 epochs, never interrupted."""
    return fit_run(table, table.parent / "whole", settings={**LONG, "epochs": 12})


def test_twice_and_any_chunk_give_the_same_bytes(table: Path, whole: Run, tmp_path: Path) -> None:
    fit_run(table, tmp_path / "a", settings={**LONG, "epochs": 12, "chunk": 7})
    assert weights(tmp_path / "a") == weights(whole.folder)
    fit_run(table, tmp_path / "b", settings={**LONG, "epochs": 12}, seed=1)
    assert weights(tmp_path / "b") != weights(whole.folder)


def test_further_epochs_equal_epochs_at_once(table: Path, whole: Run, tmp_path: Path) -> None:
    for epochs in (5, 6, 12):
        run = fit_run(table, tmp_path / "a", settings={**LONG, "epochs": epochs}, resume=True)
    assert weights(tmp_path / "a") == weights(whole.folder)
    assert run.spec["steps"] == whole.spec["steps"]
    assert run.spec["figures"] == whole.spec["figures"]


def test_a_finished_run_is_read_back_and_not_repeated(table: Path, whole: Run) -> None:
    before = (whole.folder / "spec.json").stat().st_mtime_ns
    again = fit_run(table, whole.folder, settings={**LONG, "epochs": 12}, resume=True)
    assert (whole.folder / "spec.json").stat().st_mtime_ns == before
    assert again.spec["steps"] == whole.spec["steps"]


@pytest.mark.slow
def test_what_is_read_is_what_was_trained(table: Path, tmp_path: Path) -> None:
    run = fit_run(table, tmp_path / "run", settings={**TINY, "members": 2, "tails": "student-t"})
    read = open_run(tmp_path / "run")
    assert {k: v for k, v in run.spec.items() if k != "checksum"} == {
        k: v for k, v in read.spec.items() if k != "checksum"
    }
    np.testing.assert_array_equal(run.density.log_prob(ROWS)[0], read.density.log_prob(ROWS)[0])
    np.testing.assert_array_equal(run.conformal.scores, read.conformal.scores)
    np.testing.assert_array_equal(run.baseline.log_prob(ROWS), read.baseline.log_prob(ROWS))
    np.testing.assert_array_equal(run.density.sample(5, 0), read.density.sample(5, 0))


def test_a_folder_holds_plain_files(whole: Run) -> None:
    names = {p.name for p in whole.folder.iterdir()}
    assert names == {
        "spec.json", "model.safetensors", "metrics.parquet", "heldout.parquet", "checkpoints"
    }  # fmt: skip
    for path in whole.folder.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith(b"\x80\x04"), f"{path.name} is a pickle"
    spec = json.loads((whole.folder / "spec.json").read_text())
    assert {"recipe", "schema", "versions", "seed", "data", "split"} <= spec.keys()
    assert len(pq.read_table(whole.folder / "metrics.parquet")) >= 2


KILLED = """
import sys
import jensen.engine.run as run
from jensen.runs import fit_run
run._CHECKPOINT_SECONDS = 0.05
fit_run(sys.argv[1], sys.argv[2], settings={settings}, resume=True)
"""


def newest(folder: Path) -> int:
    return max((int(p.name) for p in folder.glob("checkpoints/*") if p.name.isdigit()), default=-1)


@pytest.mark.slow
def test_sigkill_at_any_moment_then_resume(table: Path, tmp_path: Path) -> None:
    """Killed while compiling, while training and while a checkpoint is written."""
    settings: dict[str, Any] = {**LONG, "epochs": 400, "chunk": 10, "learning_rate": 1e-3}
    fit_run(table, tmp_path / "whole", settings=settings)
    code, killed = KILLED.format(settings=settings), tmp_path / "killed"

    def writing() -> bool:
        return any(killed.glob("checkpoints/*tmp*"))

    for moment in (
        lambda: killed.exists(),
        lambda: newest(killed) > 0,
        lambda: newest(killed) > 100 and writing(),
        lambda: newest(killed) > 500,
    ):
        process = subprocess.Popen([sys.executable, "-c", code, str(table), str(killed)])
        while not moment() and process.poll() is None:
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert not (killed / "model.safetensors").exists(), "the kill came too late"
        with pytest.raises(InputError, match=r"not a run|not finished"):
            open_run(killed)
    fit_run(table, killed, settings=settings, resume=True)
    assert weights(killed) == weights(tmp_path / "whole")
    assert not writing()


def test_a_run_killed_before_its_spec_was_whole_starts_again(table: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / ".spec.json.0123abcd.part").write_text("{")
    fit_run(table, folder, settings=TINY)
    assert not list(folder.glob(".*"))


def test_divergence_keeps_the_last_good_checkpoint(table: Path, tmp_path: Path) -> None:
    settings = {**LONG, "epochs": 30, "learning_rate": 1e30}
    with pytest.raises(DivergedError, match="diverged"):
        fit_run(table, tmp_path / "run", settings=settings)
    assert newest(tmp_path / "run") >= 0
    assert json.loads((tmp_path / "run" / "spec.json").read_text())["status"] == "diverged"


# --- scores -------------------------------------------------------------------------------------

N_ROWS = 3000


def _tables() -> dict[str, pa.Table]:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(N_ROWS, 2))
    counts = rng.poisson(4.0, N_ROWS)
    return {
        "continuous": pa.table({"a": values[:, 0], "b": values[:, 1]}),
        "integer": pa.table({"a": values[:, 0], "n": counts}),
        "mixed": pa.table({"a": values[:, 0], "c": rng.choice(["x", "y", "z"], N_ROWS)}),
    }


TABLES = _tables()


@pytest.fixture(scope="module", params=TABLES)
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    rows = TABLES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    run = fit_run(rows, folder / "run", settings={**TINY, "epochs": 2, "members": 2})
    return run, rows, scores(run, rows, folder)


def scores(run: Run, data: Any, folder: Path) -> np.ndarray:
    """Return `(n, 2)`: what `jensen score` writes."""
    score_table(run, data, folder / "out.npy", lambda text: None)
    return np.load(folder / "out.npy")


def test_a_score_does_not_depend_on_the_order_or_number_of_rows(
    fitted: Any, tmp_path: Path
) -> None:
    run, rows, expected = fitted
    assert np.isfinite(expected).all()
    order = np.random.default_rng(2).permutation(N_ROWS)
    np.testing.assert_array_equal(scores(run, rows.take(order), tmp_path), expected[order])
    for row in (0, 1500, N_ROWS - 1):
        alone = scores(run, rows.slice(row, 1), tmp_path)
        np.testing.assert_array_equal(alone, expected[row : row + 1])
    np.testing.assert_array_equal(
        scores(run, rows.slice(7, 1024 + 5), tmp_path), expected[7 : 7 + 1024 + 5]
    )


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 100, 1023, 1024, 1025])
def test_a_score_does_not_depend_on_the_chunks_of_the_source(
    size: int, fitted: Any, tmp_path: Path
) -> None:
    run, rows, expected = fitted
    n = 300 if size <= 100 else N_ROWS
    reader = pa.Table.from_batches(rows.slice(0, n).to_batches(max_chunksize=size))
    pq.write_table(reader, tmp_path / "t.parquet", row_group_size=size)
    np.testing.assert_array_equal(scores(run, tmp_path / "t.parquet", tmp_path), expected[:n])
    blocks = open_table(rows.slice(0, n)).batches(size)
    parts = [run.density.log_prob(run.schema.encode(block)) for block in blocks]
    np.testing.assert_array_equal(np.concatenate([p[0] for p in parts]), expected[:n, 0])


def test_a_score_does_not_depend_on_the_format(fitted: Any, tmp_path: Path) -> None:
    run, rows, expected = fitted
    columns = {name: rows[name].to_pylist() for name in rows.column_names}
    lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    pq.write_table(rows, tmp_path / "t.parquet")
    pyarrow.feather.write_feather(rows, tmp_path / "t.arrow", compression="uncompressed")
    files = ["t.csv", "t.parquet", "t.arrow"]
    if "c" not in columns:
        np.save(tmp_path / "t.npy", np.array(list(columns.values()), float).T)
        files.append("t.npy")
    for name in files:
        np.testing.assert_array_equal(
            scores(run, tmp_path / name, tmp_path), expected, err_msg=name
        )
    for backwards in (rows.select(rows.column_names[::-1]), rows.to_pandas(), rows.to_batches()):
        table = pa.Table.from_batches(backwards) if isinstance(backwards, list) else backwards
        np.testing.assert_array_equal(scores(run, table, tmp_path), expected)
