"""Missing cells: refused unless asked for, then NaN, and no other cell changes its meaning."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sklearn.base import BaseEstimator

from gaps import mask_of, punched
from jensen._errors import InputError
from jensen.data.column import Column
from jensen.data.missing import count_missing
from jensen.data.output import TableWriter
from jensen.data.schema import Schema, fingerprint, read
from jensen.data.source import open_table
from jensen.estimators.shared import encode_rows, read_rows

RNG = np.random.default_rng(0)
N = 400
FULL = pa.table(
    {
        "count": pa.array(RNG.poisson(3, N), pa.int32()),
        "level": RNG.choice(["lo", "hi", "mid"], N),
        "x": RNG.standard_normal(N),
        "flag": RNG.uniform(size=N) < 0.3,
        "unit": ["cm"] * N,
        "const": [2.5] * N,
        "tenth": np.round(RNG.uniform(4, 8, N), 1),
        "single": pa.array(RNG.standard_normal(N).astype(np.float32)),
        "named": pa.array(RNG.choice(["20", "3"], N)).dictionary_encode(),
    }
)
HOLED, MASK = punched(FULL, 0.2), mask_of((N, FULL.num_columns), 0.2)
HINT = "use --model vae, which takes missing cells"


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def test_columns_are_learned_from_the_cells_that_are_there() -> None:
    whole, matrix = read(open_table(FULL))
    schema, holed = read(open_table(HOLED), missing=True)
    assert schema == whole
    assert same(holed, np.where(MASK, np.nan, matrix))


def test_a_complete_table_is_read_alike_either_way() -> None:
    for data in (FULL, "iris", "digits"):
        (strict, a), (lenient, b) = (read(open_table(data), missing=m) for m in (False, True))
        assert strict == lenient
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arrow", "pandas", "nullable", "polars"])
def test_every_carrier_of_missing_cells_gives_the_same_rows(ending: str, tmp_path: Any) -> None:
    """Integers and booleans keep their type wherever the carrier has one for them."""
    schema, matrix = read(open_table(HOLED), missing=True)
    path = tmp_path / f"t{ending}"
    data: Any = path
    if ending == ".csv":
        pyarrow.csv.write_csv(HOLED, path)
    elif ending == ".parquet":
        pq.write_table(HOLED, path, row_group_size=97)
    elif ending == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, HOLED.schema) as stream:
            stream.write_table(HOLED, max_chunksize=31)
    elif ending == "polars":
        data = pl.from_arrow(HOLED)
    else:
        frame = HOLED.to_pandas()
        assert frame["count"].dtype == np.float64, "pandas makes floats of integers with gaps"
        data = frame if ending == "pandas" else frame.convert_dtypes()
    found, rows = read(open_table(data), missing=True)
    assert np.array_equal(np.isnan(rows), MASK)
    numeric = [j for j, name in enumerate(schema.names) if name not in ("single", "named")]
    assert same(rows[:, numeric], matrix[:, numeric])
    if ending != ".csv":  # which does not say that a column of numbers names categories
        assert same(rows, matrix)
    assert [found.columns[j].kind for j in numeric] == [schema.columns[j].kind for j in numeric]
    types = {column.name: column.dtype for column in found.columns}
    narrow = ending in (".parquet", ".arrow", "polars")
    assert (types["count"], types["flag"]) == ("int32" if narrow else "int64", "bool")
    encoded = np.concatenate([schema.encode(b, missing=True) for b in open_table(data).batches(50)])
    assert np.allclose(encoded, matrix, rtol=1e-6, equal_nan=True)


def test_missing_cells_are_refused_unless_asked_for() -> None:
    with pytest.raises(InputError, match=r"missing cells: .* in column 'count'.*" + HINT):
        read(open_table(HOLED))
    schema, _ = read(open_table(FULL))
    (batch,) = open_table(HOLED).batches()
    with pytest.raises(InputError, match=r"a missing cell in column 'count'.*" + HINT):
        schema.encode(batch)
    infinite = FULL.set_column(2, "x", pa.array([np.inf, None] + [1.0] * (N - 2)))
    (batch,) = open_table(infinite).batches()
    for action in (
        lambda: read(open_table(infinite), missing=True),
        lambda: schema.encode(batch, missing=True),
    ):
        with pytest.raises(InputError, match=r"infin.*'x'") as caught:
            action()
        assert HINT not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"b": pa.array([None] * 3, pa.float64())}, "all cells of column 'b' are missing"),
        ({"b": [None] * 3}, "all cells of column 'b' are missing.*leave the column out"),
        ({"b": pa.array([None] * 3, pa.string())}, "all cells of column 'b' are missing"),
        ({"b": [np.nan] * 3, "c": [None] * 3}, "all cells of columns 'b', 'c' are missing"),
        ({"b": ["u", None, "v"]}, "only different values"),
        ({"b": ["1", None, "2"]}, "numbers stored as text"),
        ({"b": ["1", None, "2", "q", "7"], "a": [1, 2, 3, 4, 5]}, "text 'q' in column 'b'.*row 4"),
    ],
)
def test_what_cannot_be_learned(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(open_table(pa.table({"a": [1.0, 2.0, 4.0]} | columns)), missing=True)


def test_an_all_missing_column_of_a_csv_file(tmp_path: Any) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,\n2,NA\n3,NaN\n")
    with pytest.raises(InputError, match=r"all cells of column 'b' are missing — .*a\.csv"):
        read(open_table(path), missing=True)


def test_a_csv_column_whose_first_cell_comes_late(tmp_path: Any, monkeypatch: Any) -> None:
    """A column that is empty in the first block still has the type of its cells."""
    monkeypatch.setattr("jensen.data.text.BLOCK_BYTES", 1024)
    path = tmp_path / "late.csv"
    path.write_text("a,n,b,t,e\n" + "1.5,,,,\n" * 1000 + "2.5, 3,true,x,\n,4,,y,\n3,,false,x,\n")
    with pytest.raises(InputError, match="all cells of column 'e' are missing"):
        read(open_table(path), missing=True)
    path.write_text(path.read_text().replace(",e\n", ",e\n9,9,true,z,x\n", 1))
    complete, _ = read(open_table(path), missing=True)
    path.write_text("a,n,b,t\n" + "1.5,,,\n" * 1000 + "2.5, 3,true,x\n,4,,y\n3,,false,x\n")
    schema, matrix = read(open_table(path), missing=True)
    kinds = [(c.kind, c.dtype) for c in schema.columns]
    assert kinds == [(c.kind, c.dtype) for c in complete.columns[:4]]
    assert kinds[1:] == [("integer", "int64"), ("integer", "bool"), ("categorical", "string")]
    assert same(matrix[1000:, 1:], np.array([[3, 1, 0], [4, np.nan, 1], [np.nan, 0, 0]]))
    with pytest.raises(InputError, match="missing cells: 1 in column 'a'"):
        read(open_table(path))


@pytest.mark.parametrize(
    ("cells", "kind", "dtype"),
    [
        ([1.0, np.nan, 3.0], "integer", "int64"),
        ([1.0, np.nan, 1.0], "constant", "int64"),
        ([1.5, np.nan, 3.0], "continuous", "double"),
        ([2.0**53, np.nan, 3.0], "continuous", "double"),
        ([-(2.0**60), np.nan, 3.0], "continuous", "double"),
        ([1.0, 2.0, 3.0], "integer", "double"),
        (np.array([1.0, np.nan, 3.0], np.float32), "integer", "float"),
        (pd.array([1.0, None, 3.0], "Float64"), "integer", "double"),
        (pd.array([1, None, 3], "Int16"), "integer", "int16"),
        ([True, None, False], "integer", "bool"),
        ([True, np.nan, True], "constant", "bool"),
        (["p", np.nan, "p"], "constant", "string"),
    ],
)
def test_pandas_columns(cells: Any, kind: str, dtype: str) -> None:
    frame = pd.DataFrame({"other": [0.5, 1.25, 2.0], "v": cells})
    column = read(open_table(frame), missing=True)[0].columns[1]
    assert (column.kind, column.dtype) == (kind, dtype)


def test_infinity_does_not_make_a_pandas_column_whole() -> None:
    frame = pd.DataFrame({"v": [1.0, np.nan, np.inf]})
    with pytest.raises(InputError, match="infinite cell: 1 in column 'v'"):
        read(open_table(frame), missing=True)


def test_floats_for_a_text_column_may_miss() -> None:
    """NaN among numbers that name categories is a missing cell, not the level "nan"."""
    schema = Schema((Column("c", "categorical", levels=("1.5", "2", "2.5"), dtype="string"),))
    for cells, codes in (
        ([1.5, np.nan, 2.5], [0, np.nan, 2]),
        ([2.0, np.nan, None], [1, *[np.nan] * 2]),
    ):
        batch = pa.RecordBatch.from_pydict({"c": pa.array(cells, pa.float64())})
        assert same(schema.encode(batch, missing=True)[:, 0], np.array(codes))
        with pytest.raises(InputError, match=r"a missing cell in column 'c'.*row 2"):
            schema.encode(batch)


def test_every_kind_of_column_may_miss_at_scoring() -> None:
    schema, _ = read(open_table(FULL))
    blank = pa.table({name: pa.nulls(3) for name in FULL.column_names})
    (batch,) = open_table(blank).batches()
    assert np.isnan(schema.encode(batch, missing=True)).all()
    unseen = FULL.slice(0, 3).set_column(1, "level", pa.array(["lo", None, "new"]))
    (batch,) = open_table(unseen).batches()
    with pytest.raises(InputError, match=r"'new' in column 'level' did not occur.*row 3"):
        schema.encode(batch, missing=True)
    odd = FULL.slice(0, 3).set_column(4, "unit", pa.array(["mm", None, "cm"]))
    (batch,) = open_table(odd).batches()
    assert same(schema.encode(batch, missing=True)[:, 4], np.array([1.0, np.nan, 0.0]))


def test_nan_is_never_decoded_silently() -> None:
    schema, matrix = read(open_table(FULL))
    for j, column in enumerate(schema.columns):
        rows = matrix[:5].copy()
        rows[2, j] = np.nan
        if column.kind == "constant":
            assert schema.decode(rows)[column.name].tolist() == [column.value] * 5
        else:
            with pytest.raises(InputError, match=repr(column.name)):
                schema.decode(rows)
        cells = schema.decode(rows, missing=True)
        expected = FULL[column.name].to_pylist()[:5]
        expected[2] = None
        assert cells[column.name].tolist() == expected
        assert [name for name, c in cells.items() if np.ma.isMA(c)] == [column.name]
        bare = np.ma.getdata(cells[column.name])
        assert bare.dtype.kind != "f" or np.isnan(bare[2]), "a mask that gets lost leaves NaN"


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npy"])
def test_missing_cells_are_written_and_read_back(ending: str, tmp_path: Any) -> None:
    table = HOLED.drop_columns(["level", "unit", "named"]) if ending == ".npy" else HOLED
    schema, matrix = read(open_table(table), missing=True)
    path = tmp_path / f"a{ending}"
    with TableWriter(path) as writer:
        for start in range(0, N, 150):
            writer.write(schema.decode(matrix[start : start + 150], missing=True))
    (batch,) = open_table(path).batches()
    back = schema.encode(batch, missing=True)
    assert np.allclose(back, matrix, rtol=1e-6 if ending == ".csv" else 0, equal_nan=True)


def test_the_fingerprint_does_not_depend_on_how_a_cell_is_missing() -> None:
    odd = np.array([0xFFF8_0000_0000_0001, 0x7FF8_0000_0000_07A2], np.uint64).view(np.float64)
    prints = set()
    for gap in (None, np.nan, *odd):
        cells = np.array([1.0, 2.5, np.nan if gap is None else gap, 7.0])
        column = pa.array(cells, from_pandas=gap is None)
        assert column.null_count == (gap is None)
        schema, matrix = read(open_table(pa.table({"a": column})), missing=True)
        prints.add(fingerprint(matrix, schema.names))
    assert len(prints) == 1


def test_blank_rows_are_kept_and_counted() -> None:
    table = pa.table(
        {"a": [1.0, None, None, 2.0], "b": ["x", None, "y", "x"], "c": [3, None, 3, 3]}
    )
    schema, matrix = read(open_table(table), missing=True)
    found = count_missing(schema, matrix)
    assert (found.n_rows, found.n_cells, found.cells, found.rows, found.blank_rows) == (
        4,
        12,
        4,
        2,
        1,
    )
    assert found.columns == {"a": 2, "b": 1, "c": 1}
    assert found.remark().startswith("4 of 12 cells are missing (33.3%), in 2 of 4 rows; 1 row has")
    complete = count_missing(schema, matrix[[0, 3]])
    assert (complete.cells, complete.columns, complete.remark()) == (0, {}, "")


def test_random_tables_with_gaps() -> None:
    """Whatever is missing, a table is refused with a reason, or every cell comes back as it was."""
    kept, reasons = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 30))
        columns = {
            "i": pa.array(rng.integers(-3, 3, n)),
            "f": pa.array(np.round(rng.standard_normal(n), 1)),
            "t": pa.array(rng.choice(["a", "b"], n)),
            "b": pa.array(rng.uniform(size=n) < 0.5),
        }
        table = punched(pa.table(columns), float(rng.uniform(0, 0.9)), seed)
        try:
            schema, matrix = read(open_table(table), missing=True)
        except InputError as refused:
            reasons.append(str(refused))
            continue
        cells = schema.decode(matrix, missing=True)
        assert {name: c.tolist() for name, c in cells.items()} == table.to_pydict()
        kept += 1
    assert kept >= 20
    assert all(re.search("missing|constant|identifier", reason) for reason in reasons)


CELLS: dict[str, list[Any]] = {
    "a": [1, 2, None, 4],
    "b": [True, None, False, True],
    "c": [0.5, None, 1.5, 2.5],
}
X = {
    "numpy": np.array(list(CELLS.values()), dtype=float).T,
    "pandas": pd.DataFrame(CELLS),
    "nullable": pd.DataFrame(CELLS).convert_dtypes(),
    "polars": pl.DataFrame(CELLS),
    "arrow": pa.table(CELLS),
}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("kind", X)
def test_estimators_take_missing_cells(kind: str, mixed: bool) -> None:
    data: Any = X[kind]
    text = ["x", None, "y", "x"]
    if mixed and kind == "numpy":
        pytest.skip("an array has no text")
    if mixed and kind == "polars":
        data = data.with_columns(pl.Series("s", text))
    elif mixed:
        data = data.append_column("s", pa.array(text)) if kind == "arrow" else data.assign(s=text)
    estimator: Any = BaseEstimator()
    schema, matrix = read_rows(estimator, data, missing=True)
    assert same(matrix[:, :3], X["numpy"])
    assert estimator.n_features_in_ == 3 + mixed
    assert kind == "numpy" or schema.names == tuple(estimator.feature_names_in_)
    assert schema.named == (kind != "numpy")
    assert same(encode_rows(estimator, data, schema, missing=True), matrix)
    with pytest.raises(ValueError, match="missing"):
        read_rows(BaseEstimator(), data)
    with pytest.raises(ValueError, match="missing"):
        encode_rows(estimator, data, schema)


def test_estimators_name_the_column_that_is_all_missing() -> None:
    frame = pd.DataFrame({"age": [1.5, 2.0, 3.0], "size": [np.nan] * 3})
    with pytest.raises(InputError, match="all cells of column 'size' are missing"):
        read_rows(BaseEstimator(), frame, missing=True)
    with pytest.raises(ValueError, match="infinity"):
        read_rows(BaseEstimator(), np.array([[1.0, np.inf], [np.nan, 2.0]]), missing=True)
