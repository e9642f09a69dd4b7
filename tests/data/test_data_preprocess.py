"""Standard units: exact moments of the cells that are there, raw columns, missing cells kept."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from gaps import punched
from jensen._errors import InputError
from jensen.data.column import Column
from jensen.data.preprocess import fit_preprocess, whitening
from jensen.data.schema import Schema, read
from jensen.data.source import open_table

RNG = np.random.default_rng(0)
N = 300
FULL = pa.table(
    {
        "count": RNG.poisson(3, N),
        "city": RNG.choice(["rome", "oslo"], N),
        "x": 5.0 + 2.0 * RNG.standard_normal(N),
        "const": [2.5] * N,
        "flag": RNG.uniform(size=N) < 0.3,
        "unit": ["cm"] * N,
    }
)
HOLED = punched(FULL, 0.3)


def test_moments_are_those_of_the_cells_that_are_there() -> None:
    schema, matrix = read(open_table(HOLED), missing=True)
    preprocess = fit_preprocess(schema, matrix)
    for i, (name, step) in enumerate((("count", 1.0), ("x", 0.0), ("flag", 1.0))):
        cells = np.array([float(v) for v in HOLED[name].to_pylist() if v is not None])
        assert preprocess.mean[i] == pytest.approx(cells.mean(), rel=1e-12)
        assert preprocess.scale[i] == pytest.approx(np.sqrt(cells.var() + step / 12), rel=1e-12)
    assert preprocess.constants.tolist() == [2.5, 0.0]


def test_missing_cells_go_through_and_come_back() -> None:
    schema, matrix = read(open_table(HOLED), missing=True)
    preprocess = fit_preprocess(schema, matrix)
    vectors = preprocess.forward(matrix)
    assert vectors.dtype == np.float32
    columns = [*schema.continuous, *schema.categorical]
    assert np.array_equal(np.isnan(vectors), np.isnan(matrix[:, columns]))
    complete = fit_preprocess(*read(open_table(FULL))).forward(read(open_table(FULL))[1])
    seen = ~np.isnan(vectors[:, 3:])
    assert np.array_equal(vectors[:, 3:][seen], complete[:, 3:][seen])
    back = preprocess.backward(vectors)
    assert np.allclose(back[:, columns], matrix[:, columns], rtol=1e-6, atol=1e-6, equal_nan=True)
    assert (back[:, list(schema.constant)] == [2.5, 0.0]).all(), "a constant's gap is its value"


def test_a_missing_cell_of_a_constant_column_is_possible() -> None:
    schema, matrix = read(open_table(HOLED), missing=True)
    preprocess = fit_preprocess(schema, matrix)
    assert np.isnan(matrix[:, list(schema.constant)]).any()
    assert preprocess.possible(matrix).all()
    matrix[3, 3] = 2.75
    matrix[4, 5] = 1.0
    assert np.flatnonzero(~preprocess.possible(matrix)).tolist() == [3, 4]
    matrix[3, 5] = np.nan
    assert not preprocess.possible(matrix)[3], "one gap does not excuse another value"


def test_constants_that_miss_in_the_training_rows() -> None:
    schema, matrix = read(open_table(FULL))
    matrix[:, [3, 5]] = np.nan
    assert fit_preprocess(schema, matrix).constants.tolist() == [2.5, 0.0]
    matrix[7, 3] = 9.0
    assert fit_preprocess(schema, matrix).constants.tolist() == [9.0, 0.0]


@pytest.mark.parametrize("name", ["count", "city", "x"])
def test_a_column_without_a_training_cell(name: str) -> None:
    schema, matrix = read(open_table(FULL))
    matrix[:, schema.names.index(name)] = np.nan
    with pytest.raises(InputError, match=f"all cells of column '{name}' are missing"):
        fit_preprocess(schema, matrix)


def test_spread_of_a_column_with_one_cell() -> None:
    """One cell shows no spread, whatever the number of rows; two equal ones show it is small."""
    schema = Schema((Column("a", "continuous"), Column("b", "continuous")))
    rows = np.array([[7.0, 7.0], [np.nan, 7.0], [np.nan, np.nan]])
    assert fit_preprocess(schema, rows).scale.tolist() == pytest.approx([7.0, 7e-3])


def test_raw_columns_keep_their_units() -> None:
    schema, matrix = read(open_table(FULL))
    standard, raw = fit_preprocess(schema, matrix), fit_preprocess(schema, matrix, raw=[0, 4])
    assert raw.mean.tolist() == [0.0, standard.mean[1], 0.0]
    assert raw.scale.tolist() == [1.0, standard.scale[1], 1.0]
    vectors = raw.forward(matrix)
    assert vectors[:, 0].tolist() == FULL["count"].to_pylist()
    assert vectors[:, 2].tolist() == FULL["flag"].to_pylist()
    assert raw.noise.tolist() == [1.0, 0.0, 1.0]
    assert raw.log_det == pytest.approx(-np.log(standard.scale[1]))
    assert np.allclose(raw.backward(vectors), matrix, rtol=1e-6)
    for wrong in (1, 3, 6, -1):
        with pytest.raises(InputError, match=rf"column {wrong} is not numeric"):
            fit_preprocess(schema, matrix, raw=[wrong])


def test_whitening_wants_complete_rows() -> None:
    schema, matrix = read(open_table(HOLED), missing=True)
    preprocess = fit_preprocess(schema, matrix)
    with pytest.raises(InputError, match="complete rows"):
        whitening(preprocess, preprocess.forward(matrix))
    seen = ~np.isnan(matrix).any(axis=1)
    assert np.isfinite(whitening(preprocess, preprocess.forward(matrix[seen]))).all()
