"""The command line on a GAN's run: rows with given values, and the report of its family."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli_tools import ROWS, TINY, Cli, caller, write_table
from jensen._errors import InputError
from jensen.data.output import TableWriter
from jensen.report.facts import Asked
from jensen.report.gan import gan_content
from jensen.report.run import PAGES, report_run
from jensen.runs import Run, fit_run, open_run

N = 200
RNG = np.random.default_rng(0)
CITY = RNG.choice(["lima", "oslo", "rome"], N, p=[0.2, 0.3, 0.5])
TABLE = {
    "x": RNG.standard_normal(N),
    "y": RNG.standard_normal(N) + 3 * (CITY == "lima"),
    "kids": RNG.poisson(1.5, N),
    "city": CITY,
}
SMALL = {"width": 8, "depth": 1, "batch_size": 64, "epochs": 4, "evaluate_every": 3}


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a GAN's run, and a flow's run."""
    folder = tmp_path_factory.mktemp("gan")
    pq.write_table(pa.table(TABLE), folder / "table.parquet")
    fit_run(folder / "table.parquet", folder / "gan", model="gan", settings=SMALL)
    fit_run(write_table(folder / "good.csv", ROWS, "a,b,c"), folder / "flow", settings=TINY)
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Run:
    """A copy of the GAN's run."""
    return open_run(shutil.copytree(place / "gan", tmp_path / "gan"))


def test_rows_with_given_values(place: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "new.csv"
    given = ["--given", "city=lima", "--given", "kids=1"]
    status, said, _ = cli("sample", place / "gan", "-n", 30, "--out", out, *given)
    assert (status, said.startswith("30 rows")) == (0, True)
    header, *lines = out.read_text().splitlines()
    assert header.replace('"', "") == "x,y,kids,city"
    assert {tuple(line.replace('"', "").split(",")[2:]) for line in lines} == {("1", "lima")}
    assert len(lines) == 30


@pytest.mark.parametrize(
    ("run", "given", "said"),
    [
        ("gan", ["town=lima"], "no column 'town'"),
        ("gan", ["cities=lima"], "did you mean 'city'?"),
        ("gan", ["city=lma"], "did not occur in training (did you mean 'lima'?)"),
        ("gan", ["x=1"], "'x' is continuous"),
        ("gan", ["kids=1.5"], "whole-number column 'kids'"),
        ("gan", ["kids=99"], "0 of"),
        ("gan", ["city"], "--given column=value"),
        ("gan", ["=lima"], "--given column=value"),
        ("gan", ["city=lima", "city=oslo"], "given twice"),
        ("flow", ["city=lima"], "train with --model gan"),
    ],
)
def test_given_values_that_cannot_be_are_refused(
    run: str, given: list[str], said: str, place: Path, tmp_path: Path, cli: Cli
) -> None:
    options = [part for pair in given for part in ("--given", pair)]
    status, out, lines = cli(
        "sample", place / run, "-n", 3, "--out", tmp_path / "new.csv", *options
    )
    assert (status, out) == (2, "")
    assert said in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_progress_of_a_gan_is_not_all_nats(
    place: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jensen.engine.progress as progress

    monkeypatch.setattr(progress.Progress.__init__, "__defaults__", (progress.DENSITY, None, 0.0))
    options = [part for k, v in SMALL.items() for part in ("--set", f"{k}={v}")]
    command = ("fit", place / "table.parquet", "--model", "gan", "--out", tmp_path / "r")
    _, _, lines = cli(*command, *options)
    shown = [line for line in lines if "step" in line]
    assert "  discriminator " in shown[-1]
    assert all(line.count("nats") == line.count("JSD") for line in shown)


def test_every_family_has_its_page(place: Path) -> None:
    assert {"flow", "gan"} <= set(PAGES)
    read = open_run(place / "gan")
    other = Run(read.folder, {**read.spec, "model": "unheard-of"}, read.model)
    with pytest.raises(InputError, match=r"no report of a unheard-of yet.*flow, detector, gan"):
        report_run(other)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jensen.report.page.to_data_uri", lambda figure: "data:image/png,")


@pytest.mark.usefixtures("undrawn")
def test_report_of_a_gan(run: Run, cli: Cli, place: Path) -> None:
    status, said, _ = cli("report", run.folder)
    assert (status, said.split()) == (0, ["report", str(run.folder / "report.html")])
    page = (run.folder / "report.html").read_text()
    for title in (
        "Data beside samples",
        "Categories",
        "The game",
        "Where samples differ",
        "Coverage",
    ):
        assert f">{title}</h2>" in page
    assert "Samples through training" in page
    judged = run.spec["figures"]["validation"]
    assert f"{judged['jsd']:.2f}" in page
    assert "0.6931" in page
    for option, value in (("--alpha", "0.1"), ("--anomalies", place / "table.parquet")):
        status, _, lines = cli("report", run.folder, option, value)
        assert status == 2
        assert f"flags no anomalies — {option}" in lines[-1]


def test_content_is_what_the_run_holds(run: Run) -> None:
    record = run.folder / "samples"
    shutil.rmtree(record)
    record.mkdir()
    kept = run.gan.sample(60, run.spec["seed"])
    for step in range(0, 1000, 100):
        with TableWriter(record / f"{step:09d}.parquet") as writer:
            writer.write(run.schema.decode(kept + np.array([step, 0, 0, 0])))
    report = gan_content(run, Asked(None, None, None, print))
    assert report.game is not None
    assert report.game.trail is not None
    names = list(report.game.trail)
    assert names[:2] == ["data", "step 0"]
    assert names[-2:] == ["step 900", "kept weights"]
    assert len(names) == 9  # seven of the ten, evenly taken
    tables = {name: np.asarray(rows) for name, rows in report.game.trail.items()}
    assert len({rows.shape for rows in tables.values()}) == 1
    np.testing.assert_allclose(tables["kept weights"] + np.array([900, 0, 0]), tables["step 900"])
    calibration, validation = run.held_out()
    rows = np.concatenate([calibration, validation])
    np.testing.assert_array_equal(report.data, rows[:, :3])
    assert report.levels is not None
    city = [row[0] for row in report.levels["city"].values()]
    np.testing.assert_allclose(city, np.bincount(rows[:, 3].astype(int)) / len(rows))
    metrics = pq.read_table(run.folder / "metrics.parquet")
    np.testing.assert_array_equal(report.game.metrics["jsd"], metrics["validation_loss"])
    np.testing.assert_array_equal(report.game.metrics["generator"], metrics["train_loss_2"])
    assert report.game.judged == run.spec["figures"]["validation"]


def test_fresh_rows_and_few_rows(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tmp_path / "few.parquet"
    pq.write_table(pa.table({name: column[:15] for name, column in TABLE.items()}), few)
    report = gan_content(run, Asked(few, None, None, print))
    assert report.game is not None
    assert np.asarray(report.data).shape == (15, 3)
    assert report.game.verdict is None
    assert any("only 15 held-out rows" in note for note in report.notes)
    assert report.game.n_neighbours == 7
    pq.write_table(pa.table({name: column[:9] for name, column in TABLE.items()}), few)
    report = gan_content(run, Asked(few, None, None, print))
    assert report.game is not None
    assert report.game.neighbours is None


def test_a_damaged_record_is_refused(run: Run) -> None:
    shutil.rmtree(run.folder / "samples")
    (run.folder / "samples").mkdir()
    (run.folder / "samples" / "000000100.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match=r"000000100\.parquet"):
        gan_content(run, Asked(None, None, None, print))


@pytest.fixture
def refused(cli: Cli) -> Callable[..., str]:
    def call(*arguments: object) -> str:
        status, _, lines = cli(*arguments)
        assert status == 2
        return lines[-1]

    return call


def test_damaged_metrics_are_refused(run: Run, refused: Callable[..., str]) -> None:
    (run.folder / "metrics.parquet").write_bytes(b"no")
    assert "metrics" in refused("report", run.folder)
