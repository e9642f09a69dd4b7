"""Columns: what they hold is found, rows are encoded alike from everywhere, and come back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jensen._errors import InputError
from jensen.data.infer import MAX_LEVELS
from jensen.data.lattice import find_grid, snap
from jensen.data.schema import Column, Schema, read
from jensen.data.source import open_table

TABLE = pa.table(
    {
        "count": pa.array([1, 2, 3, 4], pa.int32()),
        "level": ["lo", "hi", "lo", "mid"],
        "x": [0.25, -1.5, 1e-3, 7.0],
        "flag": [True, False, True, True],
        "unit": ["cm"] * 4,
        "const": [2.5] * 4,
        "single": pa.array([0.1, 0.2, 0.30000001, 0.5], pa.float32()),
    }
)


def batch(**columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def changed(name: str, cells, base: pa.Table = TABLE) -> pa.Table:
    at = base.column_names.index(name)
    return base.set_column(at, name, pa.array(cells))


def test_kinds_types_and_codes():
    schema, matrix = read(open_table(TABLE))
    assert [(c.kind, c.dtype, c.value) for c in schema.columns] == [
        ("integer", "int32", None),
        ("categorical", "string", None),
        ("continuous", "double", None),
        ("integer", "bool", None),
        ("constant", "string", "cm"),
        ("constant", "double", 2.5),
        ("continuous", "float", None),
    ]
    assert schema.columns[1].levels == ("lo", "hi", "mid")
    assert (schema.continuous, schema.categorical, schema.constant) == ((0, 2, 3, 6), (1,), (4, 5))
    assert matrix[:, 1].tolist() == [0, 1, 0, 2]
    assert matrix[:, 3].tolist() == [1, 0, 1, 1]
    assert matrix[:, 4].tolist() == [0] * 4
    assert matrix.dtype == np.float64
    assert matrix.flags.c_contiguous


def test_read_encode_and_decode_agree():
    schema, matrix = read(open_table(TABLE))
    again = np.concatenate([schema.encode(b) for b in open_table(TABLE).batches(3)])
    assert again.tobytes() == matrix.tobytes()
    back = schema.decode(matrix)
    assert list(back) == TABLE.column_names
    for name, column in back.items():
        assert column.tolist() == TABLE[name].to_pylist()
    assert [back[n].dtype for n in ("count", "x", "flag", "single")] == [
        np.int32, np.float64, np.bool_, np.float32,
    ]  # fmt: skip


def test_json_round_trip():
    for data in (TABLE, np.arange(24.0).reshape(4, 2, 3)):
        schema, _ = read(open_table(data))
        assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("columns"),
        lambda d: d["columns"][0].pop("name"),
        lambda d: d["columns"][0].update(kind="odd"),
        lambda d: d["columns"][0].update(surprise=1),
        lambda d: d.update(shape=3),
    ],
)
def test_damaged_descriptions(damage):
    description = read(open_table(TABLE))[0].to_dict()
    damage(description)
    with pytest.raises(InputError, match="damaged"):
        Schema.from_dict(description)


def test_columns_by_name_in_any_order_and_extra_ones_named():
    schema, matrix = read(open_table(TABLE))
    shuffled = TABLE.select(list(reversed(TABLE.column_names))).append_column(
        "when", pa.array([0] * 4, pa.timestamp("s"))
    )
    (rows,) = open_table(shuffled).batches()
    assert schema.encode(rows).tobytes() == matrix.tobytes()
    assert schema.extra_columns(rows.schema.names) == ("when",)


def test_columns_by_position_where_a_side_has_no_names():
    x = np.random.default_rng(0).standard_normal((5, 2))
    named, bare = pa.table({"u": x[:, 0], "v": x[:, 1]}), x
    for first, second in ((named, bare), (bare, named)):
        schema, matrix = read(open_table(first))
        (rows,) = open_table(second).batches()
        assert schema.encode(rows).tobytes() == matrix.tobytes()
    schema, matrix = read(open_table(bare))
    swapped = pa.table({"x1": x[:, 1], "x0": x[:, 0]})
    (rows,) = open_table(swapped).batches()
    assert schema.encode(rows).tobytes() == matrix.tobytes(), "names win where they fit"
    (rows,) = open_table(np.zeros((3, 4))).batches()
    with pytest.raises(InputError, match="4 columns where the model has 2"):
        schema.encode(rows)


def test_missing_columns():
    schema = Schema(tuple(Column(n, "continuous") for n in ("alpha", "beta", "gamma")))
    with pytest.raises(InputError, match=r"missing columns: 'beta', 'gamma' .did you mean 'betta'"):
        schema.encode(batch(alpha=[1.0], betta=[1.0], c=[1.0]), label="new.csv")


@pytest.mark.parametrize(
    ("name", "cells", "message"),
    [
        ("x", [1.0, None, 2.0, 3.0], "a missing cell in column 'x'.*row 12 of new"),
        ("x", [1.0, 2.0, np.nan, 3.0], "a missing cell in column 'x'.*row 13 of new"),
        ("x", [1.0, 2.0, 3.0, -np.inf], "infinity in column 'x'.*row 14 of new"),
        ("x", ["1.5", "2", "?", "3"], r"text '\?' in column 'x'.*row 13 of new"),
        ("x", [None] * 4, "a missing cell in column 'x'.*row 11 of new"),
        ("level", ["lo", "low", "hi", "x"], "'low' in column 'level' did not occur.*mean 'lo'.*12"),
        ("level", ["lo", None, "hi", "lo"], "a missing cell in column 'level'.*row 12 of new"),
        ("level", [1, 2, 3, 4], "'1' in column 'level' did not occur"),
        ("unit", ["cm", None, "cm", "cm"], "a missing cell in column 'unit'.*row 12 of new"),
        ("const", [1.0, np.nan, 1.0, 1.0], "a missing cell in column 'const'.*row 12 of new"),
        ("x", [[1], [2], [3], [4]], "column 'x' holds list"),
    ],
)
def test_bad_cells_at_scoring(name, cells, message):
    schema, _ = read(open_table(TABLE))
    (rows,) = open_table(changed(name, cells)).batches()
    with pytest.raises(InputError, match=message):
        schema.encode(rows, label="new", first_row=11)


def test_numbers_as_text_are_numbers_to_a_column_of_numbers():
    schema, matrix = read(open_table(TABLE))
    (rows,) = open_table(changed("x", ["0.25", " -1.5", "1e-3", "7"])).batches()
    assert schema.encode(rows).tobytes() == matrix.tobytes()


def test_new_values_of_constant_columns_are_kept():
    schema, _ = read(open_table(TABLE))
    table = changed("unit", ["cm", "mm", "cm", "in"], changed("const", [2.5, 3.5, -1.0, 2.5]))
    (rows,) = open_table(table).batches()
    encoded = schema.encode(rows)
    assert encoded[:, 4].tolist() == [0, 1, 0, 1]
    assert encoded[:, 5].tolist() == [2.5, 3.5, -1.0, 2.5]
    assert schema.decode(encoded)["unit"].tolist() == ["cm"] * 4


CATEGORIES = {
    "pandas": pd.DataFrame({"v": range(4), "c": pd.Categorical(["b", "a", "b", "b"])}),
    "pandas numbers": pd.DataFrame({"v": range(4), "c": pd.Categorical([20, 3, 20, 20])}),
    "pandas text": pd.DataFrame({"v": range(4), "c": ["b", "a", "b", "b"]}),
    "polars": pl.DataFrame(
        {"v": range(4), "c": pl.Series(["b", "a", "b", "b"], dtype=pl.Categorical)}
    ),
    "polars text": pl.DataFrame({"v": range(4), "c": ["b", "a", "b", "b"]}),
    "arrow": pa.table({"v": range(4), "c": pa.array(["b", "a", "b", "b"]).dictionary_encode()}),
    "large": pa.table({"v": range(4), "c": pa.array(["b", "a", "b", "b"], pa.large_string())}),
    "view": pa.table({"v": range(4), "c": pa.array(["b", "a", "b", "b"], pa.string_view())}),
}


@pytest.mark.parametrize("kind", CATEGORIES)
def test_every_kind_of_category(kind):
    schema, matrix = read(open_table(CATEGORIES[kind]))
    levels = ("20", "3") if kind == "pandas numbers" else ("b", "a")
    assert schema.columns[1].levels == levels
    assert matrix[:, 1].tolist() == [0, 1, 0, 0]
    for rows in open_table(CATEGORIES[kind]).batches():
        assert schema.encode(rows).tobytes() == matrix.tobytes()


def test_categories_of_numbers_read_back_from_csv(tmp_path):
    schema, matrix = read(open_table(CATEGORIES["pandas numbers"]))
    (tmp_path / "a.csv").write_text("c,v\n20,0\n3,1\n20,2\n20,3\n")
    (rows,) = open_table(tmp_path / "a.csv").batches()
    assert schema.encode(rows).tobytes() == matrix.tobytes()


def test_levels_stand_in_the_order_of_their_first_cells(tmp_path):
    cells = ["m"] * 10 + ["z"] * 10 + ["a"] * 10
    pq.write_table(pa.table({"v": range(30), "c": cells}), tmp_path / "a.parquet", row_group_size=4)
    schema, matrix = read(open_table(tmp_path / "a.parquet"))
    assert schema.columns[1].levels == ("m", "z", "a")
    assert schema.decode(matrix)["c"].tolist() == cells


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0]}, "only one row"),
        ({"a": [1.0, 1.0], "b": ["x", "x"]}, "all 2 columns are constant"),
        ({"a": [1.0, None, 2.0]}, r"missing cell: 1 in column 'a' \(first at row 2\)"),
        ({c: [1.0, None] for c in "abcde"}, "and in 2 more columns"),
        ({"a": [np.inf, 1.0, -np.inf]}, r"infinite cells: 2 in column 'a' \(first at row 1\)"),
        ({"a": ["1", "2", "3"]}, "numbers stored as text"),
        ({"a": ["1", "2", "q", "4"]}, "text 'q' in column 'a'.*row 3 of"),
        ({"a": [f"u{i}" for i in range(500)] * 2}, f"more than {MAX_LEVELS} different"),
        ({"a": ["1", "q"] + [str(i) for i in range(300)]}, "text 'q' in column 'a'.*row 2 of"),
        ({"a": ["p", "q", "r"]}, "only different values"),
        ({"a": pa.array([0, 1], pa.date32())}, "column 'a' holds date32"),
        ({"a": pa.array([b"x", b"y"])}, "column 'a' holds binary"),
    ],
)
def test_bad_training_tables(columns, message):
    with pytest.raises(InputError, match=message):
        read(open_table(pa.table(columns)))


def test_files_of_a_folder_may_store_a_column_in_two_types(tmp_path):
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int8())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [3.0, 4.0]}), tmp_path / "b.parquet")
    schema, matrix = read(open_table(tmp_path))
    assert matrix[:, 0].tolist() == [1, 2, 3, 4]
    assert schema.columns[0].dtype == "double"
    pq.write_table(pa.table({"a": ["5", "oops"]}), tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"text 'oops' in column 'a'.*row 6 of"):
        read(open_table(tmp_path))


def test_whole_numbers_beyond_two_to_the_53_are_not_integers():
    schema, matrix = read(open_table(pa.table({"a": [2**53 + 1, 5, 7], "b": [1, 2, 3]})))
    assert [c.kind for c in schema.columns] == ["continuous", "integer"]
    assert schema.decode(matrix)["a"].tolist() == [2**53, 5, 7]


def test_decoding_rounds_clips_and_refuses():
    schema = Schema(
        (
            Column("u8", "integer", 1.0, dtype="uint8"),
            Column("i64", "integer", 1.0, dtype="int64"),
            Column("b", "integer", 1.0, dtype="bool"),
            Column("g", "continuous", 0.1),
            Column("c", "categorical", levels=("p", "q"), dtype="string"),
        )
    )
    back = schema.decode(np.array([[254.6, 1e30, 0.7, 5.149, 1.0], [-3.0, -1e30, -0.2, 0.3, 0.0]]))
    assert back["u8"].tolist() == [255, 0]
    assert back["i64"].tolist() == [2**63 - 1024, -(2**63)]
    assert back["b"].tolist() == [True, False]
    assert back["g"].tolist() == [5.1, 0.3]
    assert back["c"].tolist() == ["q", "p"]
    with pytest.raises(InputError, match="names none of its 2 levels"):
        schema.decode(np.array([[1.0, 1.0, 1.0, 1.0, 2.0]]))
    with pytest.raises(InputError, match="not finite"):
        schema.decode(np.array([[np.nan, 1.0, 1.0, 1.0, 0.0]]))
    with pytest.raises(InputError, match=r"give shape \(n, 5\)"):
        schema.decode(np.zeros((3, 4)))


CELLS = {
    "int64": st.integers(-(2**53) + 1, 2**53 - 1),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "string": st.sampled_from(["lo", "hi", "", "ü", "a,b", '"']),
    "bool": st.booleans(),
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_table_encodes_and_decodes_to_itself(data):
    n = data.draw(st.integers(7, 12))
    kinds = data.draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=5))
    columns = {
        f"c{i}": pa.array(
            data.draw(st.lists(CELLS[kind], min_size=n, max_size=n)), getattr(pa, NAMES[kind])()
        )
        for i, kind in enumerate(kinds)
    } | {"last": pa.array(range(n))}
    table = pa.table(columns)
    schema, matrix = read(open_table(table))
    (rows,) = open_table(table).batches()
    assert schema.encode(rows).tobytes() == matrix.tobytes()
    back = schema.decode(matrix)
    for name in table.column_names:
        assert back[name].tolist() == table[name].to_pylist()


NAMES = {"int64": "int64", "double": "float64", "float": "float32", "string": "string"}
NAMES["bool"] = "bool_"


@pytest.mark.parametrize(
    ("step", "offset", "dtype"),
    [
        (0.1, 0.0, np.float64),
        (0.1, 0.0, np.float32),
        (0.5, 0.0, np.float64),
        (0.05, 0.0, np.float64),
        (0.002, 0.0, np.float32),
        (1e-6, 0.0, np.float64),
        (1 / 3, 0.0, np.float64),
        (0.137, 0.0512, np.float64),
        (0.2916, -0.1133, np.float32),
        (1e-9 / 7, 0.0, np.float64),
    ],
)
def test_grids_are_found(step, offset, dtype):
    whole = np.random.default_rng(0).integers(-30, 60, 400)
    values = (offset + step * whole).astype(dtype).astype(np.float64)
    found, at = find_grid(values, dtype)
    if offset:
        assert at != 0 or np.isclose(step / found, np.rint(step / found), rtol=1e-4)
    assert np.allclose(snap(values, found, at), values, rtol=1e-6, atol=1e-12 + 1e-4 * step)
    assert np.isclose(step / found, np.rint(step / found), rtol=1e-4)
    if not offset:
        assert np.isclose(found, step, rtol=1e-6)


def test_standardised_counts_have_the_grid_of_one_count():
    counts = np.random.default_rng(1).poisson(6, 500).astype(np.float64)
    values = (counts - counts.mean()) / counts.std()
    step, offset = find_grid(values)
    assert np.isclose(step, 1 / counts.std(), rtol=1e-9)
    assert np.allclose(snap(values, step, offset), values, atol=1e-9)


@pytest.mark.parametrize("digits", [6, 8, 15])
def test_fractions_written_with_few_digits_keep_their_grid(digits):
    whole = np.random.default_rng(2).integers(0, 7, 300)
    step, offset = find_grid(np.round(whole / 6, digits))
    assert np.isclose(step, 1 / 6, rtol=1e-5)
    assert abs(offset) < 1e-5
    step, offset = find_grid(np.round((whole - 3.1) / 1.9, digits))
    assert np.isclose(step, 1 / 1.9, rtol=1e-5)
    assert find_grid(np.repeat([0.590493, 0.807558], 50))[0] == pytest.approx(0.217065)


def test_no_grid_where_there_is_none():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(400)
    assert find_grid(x) == (0.0, 0.0), "all distinct"
    assert find_grid(np.repeat(x, 4)) == (0.0, 0.0), "repeated, off any grid"
    assert find_grid(np.concatenate([x, np.zeros(1000)])) == (0.0, 0.0), "inflated zeros"
    assert find_grid(np.repeat([0.1, 0.2], 5)) == (0.0, 0.0), "too few rows"
    float32 = np.repeat(x.astype(np.float32).astype(np.float64), 4)
    assert find_grid(float32, np.float32) == (0.0, 0.0)


def test_floating_noise_does_not_hide_a_grid():
    values = np.repeat([0.1 + 0.2, 0.3, 0.7, 0.1 * 3, 0.4, 1.1], 10)
    assert find_grid(values)[0] == 0.1


@pytest.mark.parametrize("column", range(4))
def test_iris_lies_on_a_tenth(column):
    schema, matrix = read(open_table("iris"))
    assert (schema.columns[column].kind, schema.columns[column].step) == ("continuous", 0.1)
    back = schema.decode(matrix + 0.04)
    assert np.array_equal(np.column_stack(list(back.values())), matrix)
