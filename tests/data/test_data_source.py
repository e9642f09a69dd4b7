"""Every format, frame and built-in name gives the same rows, again and again, batch by batch."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from jensen._errors import InputError
from jensen.data.builtin import BUILTIN
from jensen.data.output import TableWriter
from jensen.data.schema import fingerprint, read
from jensen.data.source import ENDINGS, open_table

HARD = np.concatenate(
    [
        np.random.default_rng(0).standard_normal(500) * 10.0 ** np.arange(-250, 250),
        [
            5e-324,
            2.2250738585072014e-308,
            1.7976931348623157e308,
            0.1 + 0.2,
            -0.0,
            123456789012345.6,
        ],
        np.random.default_rng(1).integers(0, 2**62, 494).view(np.float64),
    ]
).reshape(-1, 2)


def rows_of(source, rows: int = 65536) -> np.ndarray:
    batches = list(source.batches(rows))
    return np.concatenate(
        [np.column_stack([c.to_numpy(False) for c in b.columns]) for b in batches]
    )


def write_all(folder: Path, x: np.ndarray) -> list[Path]:
    """Write a table in every format there is."""
    table = pa.table({f"x{j}": x[:, j] for j in range(x.shape[1])})
    paths = [folder / f"t{e}" for e in (".csv", ".tsv", ".parquet", ".arrow", ".feather", ".npy")]
    lines = [",".join(table.column_names)] + [",".join(map(repr, row)) for row in x.tolist()]
    paths[0].write_text("\n".join(lines))
    paths[1].write_text("\r\n".join(lines).replace(",", "\t") + "\r\n")
    pq.write_table(table, paths[2], row_group_size=97)
    with pa.OSFile(str(paths[3]), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=101)
    feather.write_feather(table, paths[4], chunksize=103)
    np.save(paths[5], x)
    np.save(folder / "fortran.npy", np.asfortranarray(x))
    np.savez_compressed(folder / "t.npz", X=x, y=np.zeros(len(x)))
    np.savez(folder / "fortran.npz", a=np.asfortranarray(x))
    extra = [folder / name for name in ("fortran.npy", "t.npz", "fortran.npz")]
    return [*paths, *extra]


def test_every_format_gives_the_same_numbers_bit_for_bit(tmp_path):
    for path in write_all(tmp_path, HARD):
        source = open_table(path)
        got = rows_of(source, 64)
        assert got.tobytes() == HARD.tobytes(), path.name
        assert rows_of(source).tobytes() == HARD.tobytes(), "a source can be read again"
        assert source.names == ("x0", "x1")
        assert source.path == path
        assert source.paths == (path,)
        assert source.n_rows in (None, len(HARD))


def test_fingerprint_does_not_depend_on_the_format(tmp_path):
    x = np.random.default_rng(2).standard_normal((50, 3))
    prints = set()
    for path in write_all(tmp_path, x):
        schema, matrix = read(open_table(path))
        prints.add(fingerprint(matrix, schema.names))
    assert len(prints) == 1
    assert prints != {fingerprint(matrix[::-1], schema.names)}
    assert prints != {fingerprint(matrix, ["a", "b", "c"])}


def test_what_is_written_reads_back_the_same(tmp_path):
    for ending in (".csv", ".parquet", ".npy"):
        path = tmp_path / f"out{ending}"
        with TableWriter(path) as writer:
            for start in range(0, len(HARD), 77):
                block = HARD[start : start + 77]
                writer.write({"x0": block[:, 0], "x1": block[:, 1]})
        assert rows_of(open_table(path)).tobytes() == HARD.tobytes(), ending


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_batches_never_exceed_the_asked_rows(tmp_path, rows):
    for path in write_all(tmp_path, HARD[:200]):
        assert max(b.num_rows for b in open_table(path).batches(rows)) <= rows, path.name


def test_wide_tables_come_in_bounded_batches(monkeypatch):
    monkeypatch.setattr("jensen.data.table.CELLS_PER_BATCH", 100)
    assert {b.num_rows for b in open_table(np.zeros((20, 10))).batches()} == {10}


def test_a_file_is_read_no_further_than_asked(tmp_path):
    """Streaming is by construction: damage far down is met only when a reader gets there."""
    path = tmp_path / "big.csv"
    path.write_text("a,b\n" + "1.5,2.5\n" * 1_200_000 + "1.5,oops\n")
    batches = open_table(path).batches(1000)
    assert next(batches).num_rows == 1000
    with pytest.raises(InputError, match=r"'oops' in column 'b'.*row 1200001 of"):
        for _ in batches:
            pass


def test_a_file_that_vanishes(tmp_path):
    for path in write_all(tmp_path, HARD[:9]):
        source = open_table(path)
        path.unlink()
        with pytest.raises(InputError, match="cannot be read"):
            rows_of(source)


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".feather"])
def test_damaged_typed_files_are_refused_or_still_read(tmp_path, ending):
    """Cut anywhere they are refused; with flipped bytes nothing but a clear error may come out."""
    table = pa.table({"a": np.arange(300.0), "b": ["x", "yy", "zzz"] * 100})
    path, rng = tmp_path / f"t{ending}", np.random.default_rng(0)
    if ending == ".parquet":
        pq.write_table(table, path)
    elif ending == ".feather":
        feather.write_feather(table, path, compression="uncompressed")
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    whole = path.read_bytes()
    for size in [0, 3, 8, 40, *rng.integers(50, len(whole) - 60, 20)]:
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            read(open_table(path))
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            read(open_table(path))


FRAMES = {
    "pandas": lambda x: pd.DataFrame(x, columns=["a", "b"], index=np.arange(len(x)) + 7),
    "polars": lambda x: pl.DataFrame({"a": x[:, 0], "b": x[:, 1]}),
    "pyarrow table": lambda x: pa.table({"a": x[:, 0], "b": x[:, 1]}),
    "pyarrow batch": lambda x: pa.RecordBatch.from_pydict({"a": x[:, 0], "b": x[:, 1]}),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind):
    source = open_table(FRAMES[kind](HARD))
    assert source.names == ("a", "b")
    assert source.named
    for _ in range(2):
        assert rows_of(source, 100).tobytes() == HARD.tobytes()


def test_a_one_shot_stream_says_so_when_it_is_read_again():
    table = pa.table({"a": [1.0, 2.0]})
    source = open_table(pa.RecordBatchReader.from_batches(table.schema, table.to_batches()))
    assert rows_of(source).tolist() == [[1.0], [2.0]]
    with pytest.raises(InputError, match="read already"):
        rows_of(source)


def test_any_object_with_an_arrow_stream():
    class Frame:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"a": [1.0, 2.0]}).__arrow_c_stream__(requested_schema)

    source = open_table(Frame())
    assert [rows_of(source).tolist() for _ in range(2)] == [[[1.0], [2.0]]] * 2


def test_a_pandas_frame_without_names_has_invented_ones(tmp_path):
    source = open_table(pd.DataFrame(HARD))
    assert source.names == ("x0", "x1")
    assert not source.named
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=["p", "q"])
    frame.to_parquet(tmp_path / "indexed.parquet")
    assert open_table(tmp_path / "indexed.parquet").names == ("a",)
    assert open_table(frame["a"]).names == ("a",)


def test_mixed_objects_in_a_pandas_frame_name_the_cell():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": pd.Series([1, "oops", 3], dtype=object)})
    with pytest.raises(InputError, match=r"text 'oops' in column 'b'.*row 2 of DataFrame"):
        open_table(frame)


def test_arrays_and_image_stacks():
    stack = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    source = open_table(stack)
    assert source.shape == (2, 3)
    assert source.names == ("p0_0", "p0_1", "p0_2", "p1_0", "p1_1", "p1_2")
    assert rows_of(source, 3).reshape(stack.shape).tolist() == stack.tolist()
    assert open_table(np.zeros((2, 1, 2, 3))).names[-1] == "p0_1_2"
    assert open_table(np.zeros(5)).names == ("x0",)
    swapped = np.array([[1.5, 2.5]], dtype=">f4")
    assert rows_of(open_table(swapped)).tolist() == [[1.5, 2.5]]
    assert open_table(source) is source


def test_folders_and_globs_are_one_table_in_the_order_of_the_names(tmp_path):
    (tmp_path / "b.csv").write_text("u,v\n3,4\n")
    np.save(tmp_path / "notes.npy", np.zeros((1, 5)))
    pq.write_table(pa.table({"v": [2.0], "u": [1.0]}), tmp_path / "a.parquet")
    (tmp_path / "notes.md").write_text("not data")
    (tmp_path / "_SUCCESS.csv").write_text("")
    with pytest.raises(InputError, match="columns are not those of"):
        open_table(tmp_path)
    (tmp_path / "notes.npy").unlink()
    for data in (tmp_path, str(tmp_path / "[ab].*")):
        source = open_table(data)
        assert source.names == ("v", "u")
        assert rows_of(source).tolist() == [[2.0, 1.0], [4.0, 3.0]]
        assert source.path == tmp_path
        assert [p.name for p in source.paths] == ["a.parquet", "b.csv"]
    (tmp_path / "c.csv").write_text("u,w\n3,4\n")
    with pytest.raises(InputError, match="'v', 'w'"):
        open_table(tmp_path)


def test_arrays_in_a_folder_go_by_position(tmp_path):
    pq.write_table(pa.table({"u": [1.0], "v": [2.0]}), tmp_path / "a.parquet")
    np.save(tmp_path / "b.npy", np.array([[3.0, 4.0]]))
    source = open_table(tmp_path)
    assert rows_of(source).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert source.n_rows == 2


def test_npz_keys(tmp_path):
    x, path = np.ones((3, 2)), tmp_path / "a.npz"
    np.savez(path, train=x, test=2 * x, y=np.zeros((3, 1)))
    with pytest.raises(InputError, match=r"several arrays.*train \(3, 2\), test \(3, 2\)"):
        open_table(path)
    assert rows_of(open_table(f"{path}:test")).tolist() == (2 * x).tolist()
    assert rows_of(open_table(path, part="test")).tolist() == (2 * x).tolist()
    with pytest.raises(InputError, match=r"no array 'tets' .did you mean 'test'"):
        open_table(f"{path}:tets")
    np.savez(path, x=x, other=3 * x)
    assert rows_of(open_table(path)).tolist() == x.tolist()
    np.savez(path, train=x, y=np.zeros((3, 1)))
    assert rows_of(open_table(path)).tolist() == x.tolist()
    np.savez(path, a=np.arange(3.0))
    assert open_table(path).names == ("x0",)
    np.savez(path)
    with pytest.raises(InputError, match="no arrays"):
        open_table(path)


def test_a_file_wins_over_a_built_in_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("iris").mkdir()
    Path("iris/a.csv").write_text("q\n1\n2\n")
    assert open_table("iris").names == ("q",)


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_sets(name):
    for part in (None, *BUILTIN[name]):
        source = open_table(name, part=part)
        assert rows_of(source).shape == (source.n_rows, len(source.names))
        assert source.label == (f"{name}:{part}" if part else name)
        assert open_table(source.label).n_rows == source.n_rows
    train, test = (rows_of(open_table(f"{name}:{p}")) for p in ("train", "test"))
    again = rows_of(open_table(f"{name}:train"))
    assert train.tobytes() == again.tobytes()
    total = len(train) + len(test)
    if "normal" in BUILTIN[name]:
        normal, anomaly = (rows_of(open_table(f"{name}:{p}")) for p in ("normal", "anomaly"))
        assert total == len(normal)
        assert len(normal) + len(anomaly) == open_table(name).n_rows
        both = np.concatenate([train, test])
        assert np.array_equal(both[np.lexsort(both.T)], normal[np.lexsort(normal.T)])
    elif name in ("digits", "iris"):
        assert total == open_table(name).n_rows


def test_built_in_counts_and_names():
    rows = {n: open_table(n).n_rows for n in ("digits", "iris", "wine", "breast-cancer", "moons")}
    assert rows == {"digits": 1797, "iris": 150, "wine": 178, "breast-cancer": 569, "moons": 5000}
    parts = {
        p: open_table(p).n_rows for p in ("breast-cancer:anomaly", "wine:anomaly", "grid:test")
    }
    assert parts == {"breast-cancer:anomaly": 212, "wine:anomaly": 59, "grid:test": 10000}
    assert open_table("breast-cancer").names[0] == "mean radius"
    digits = open_table("digits")
    assert digits.shape == (8, 8)
    assert rows_of(digits).max() == 16


@pytest.mark.parametrize(
    ("data", "part", "message"),
    [
        ("dgits", None, "did you mean 'digits'"),
        ("iris:normal", None, "its parts are: iris:train, iris:test"),
        ("wine", "trian", "did you mean 'train'"),
        ("gone.csv", None, "does not exist"),
        ("no/such/gone.csv", None, "there is no folder 'no/such'"),
        ("*.nothing", None, "no files to read"),
        ({"a": 1}, None, "type dict"),
        (3, None, "type int"),
        (np.zeros((2, 2)), "train", "no part 'train'"),
        (np.zeros((2, 2, 2, 2, 2)), None, "neither a table nor a stack"),
        (np.array(1.0), None, "neither a table nor a stack"),
        (np.zeros((0, 2)), None, "no rows"),
        (np.zeros((2, 0)), None, "no columns"),
        (np.array([["a"]]), None, "holds text"),
        (np.array([[1, "a"]], dtype=object), None, "Python objects"),
        (np.ones((2, 2), complex), None, "complex numbers"),
        (pd.DataFrame(), None, "no columns"),
        (pd.DataFrame({"a": []}), None, "no rows"),
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), None, "'a' occurs more than"),
    ],
)
def test_what_cannot_be_opened(data, part, message):
    with pytest.raises(InputError, match=message):
        open_table(data, part=part)


def test_unknown_endings_and_parts_of_files(tmp_path):
    path = tmp_path / "a.xlsx"
    path.write_text("x")
    with pytest.raises(InputError, match="cannot tell the format") as caught:
        open_table(path)
    assert all(ending in str(caught.value) for ending in ENDINGS)
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    with pytest.raises(InputError, match="no part"):
        open_table(tmp_path / "a.csv", part="train")
    with pytest.raises(InputError, match=r"did you mean 'a.csv'"):
        open_table(tmp_path / "b.csv")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no files to read"):
        open_table(empty)


def test_importing_the_room_loads_neither_pyarrow_nor_sklearn():
    rooms = "builtin column columnar images infer lattice output schema source table text toys"
    imports = "; ".join(f"import jensen.data.{name}" for name in rooms.split())
    check = "import sys; print([m for m in ('pyarrow', 'sklearn', 'pandas') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; {check}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
