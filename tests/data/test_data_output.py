"""Outputs are whole or not at all, hold what was written, and never overwrite an input."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jensen._errors import InputError
from jensen.data.output import TableWriter, check_output, write_bytes, write_text

ENDINGS = (".csv", ".parquet", ".npy")
BLOCK = {"log_prob": np.array([0.1, -np.inf, 1 / 3]), "flag": np.array([True, False, True])}


def write_all(path: Path, blocks) -> None:
    with TableWriter(path) as writer:
        for block in blocks:
            writer.write(block)


def listing(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_csv_text(tmp_path):
    path = tmp_path / "a.csv"
    with TableWriter(path) as writer:
        for _ in range(2):
            writer.write(
                {
                    'a, "b"': np.array([1e-7, -np.inf, np.nan, 1 / 3]),
                    "n": np.array([1, 2, 3, 4]),
                    "t": np.array(["x", 'q"', "y,z", ""]),
                }
            )
    lines = path.read_text().splitlines()
    assert lines[0] == '"a, ""b""",n,t'
    assert lines[1:5] == ['1e-7,1,"x"', '-inf,2,"q"""', 'nan,3,"y,z"', '0.3333333333333333,4,""']
    assert lines[5:] == lines[1:5]


def test_parquet_keeps_types(tmp_path):
    path = tmp_path / "a.parquet"
    with TableWriter(path) as writer:
        writer.write(
            {"f": np.float32([1.5]), "i": np.int8([3]), "t": np.array(["x"])} | {"b": [True]}
        )
    table = pq.read_table(path)
    assert [str(t) for t in table.schema.types] == ["float", "int8", "string", "bool"]


def test_npy_is_one_float64_array(tmp_path):
    path = tmp_path / "a.npy"
    with TableWriter(path) as writer:
        for _ in range(123):
            writer.write(BLOCK)
    array = np.load(path)
    assert (array.shape, array.dtype) == ((369, 2), np.float64)
    assert array[:3].tolist() == [[0.1, 1.0], [-np.inf, 0.0], [1 / 3, 1.0]]
    with (
        pytest.raises(InputError, match="cannot hold the text column 't'"),
        TableWriter(tmp_path / "b.npy") as writer,
    ):
        writer.write({"t": np.array(["x"])})
    assert listing(tmp_path) == ["a.npy"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_error_leaves_the_old_file(tmp_path, ending, error):
    path = tmp_path / f"a{ending}"
    path.write_text("old")

    def blocks():
        yield BLOCK
        raise error

    with pytest.raises(error):
        write_all(path, blocks())
    assert path.read_text() == "old"
    assert listing(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_appears_before_the_end(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    with TableWriter(path) as writer:
        writer.write(BLOCK)
        assert not path.exists()
    assert listing(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_at_the_end(tmp_path, monkeypatch, ending, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with (
        pytest.raises(InputError, match=r"could not write: No space left.*free some space"),
        TableWriter(tmp_path / f"a{ending}") as writer,
    ):
        writer.write(BLOCK)
    assert listing(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("rows", [3, 300_000])
def test_a_full_disk_while_writing(tmp_path, monkeypatch, ending, rows):
    """Every byte goes to a device that is really full."""

    def full(*_):
        return Path("/dev/full").open("wb")

    monkeypatch.setattr("jensen.data.output.open", full, raising=False)
    block = {"x": np.random.default_rng(0).standard_normal(rows)}
    with pytest.raises(InputError, match=r"could not write: .*No space left"):
        write_all(tmp_path / f"a{ending}", [block] * 3)
    assert listing(tmp_path) == []


def test_misuse(tmp_path):
    with pytest.raises(InputError, match="no rows were written"), TableWriter(tmp_path / "a.csv"):
        pass
    with pytest.raises(InputError, match="columns changed"):
        write_all(tmp_path / "a.csv", [{"a": np.zeros(2)}, {"b": np.zeros(2)}])
    with pytest.raises(InputError, match="not open"):
        TableWriter(tmp_path / "a.csv").write(BLOCK)
    assert listing(tmp_path) == []


def test_outputs_that_cannot_be(tmp_path, monkeypatch):
    for name, message in (
        ("a.txt", "use one of the endings .csv .parquet .npy"),
        ("a.parket", "did you mean '.parquet'"),
        ("a", "ending ''"),
        ("no/a.csv", "the folder does not exist"),
        ("", "is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            check_output(tmp_path / name)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="may not be written"):
        check_output(tmp_path / "a.csv")


def test_the_output_is_never_an_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in.csv"
    source.write_text("a\n1\n")
    (tmp_path / "link.csv").symlink_to(source)
    os.link(source, tmp_path / "hard.csv")
    for name in ("in.csv", "./in.csv", str(source), "link.csv", "hard.csv"):
        with pytest.raises(InputError, match="the output is also the input"):
            check_output(name, [tmp_path / "other.csv", source])
    assert check_output("out.csv", [source]) == Path("out.csv")


def test_a_link_is_followed_and_the_umask_kept(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    with TableWriter(tmp_path / "link.csv") as writer:
        writer.write({"a": np.zeros(1)})
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "a\n0\n"
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "real.csv").stat().st_mode == plain.stat().st_mode


def test_bytes_and_text(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a.bin", b"\x00\x01")
    write_text(tmp_path / "a.json", "ü")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\x01"
    assert (tmp_path / "a.json").read_bytes() == "ü".encode()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_text(tmp_path / "a.json", "new")
    with pytest.raises(InputError, match="could not write"):
        write_text(tmp_path / "no" / "a.json", "new")
    assert (tmp_path / "a.json").read_bytes() == "ü".encode()
    assert listing(tmp_path) == ["a.bin", "a.json"]
