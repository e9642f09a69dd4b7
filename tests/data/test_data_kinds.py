"""Statistical types: what each column's values can come from, and how often chance misleads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom

from jensen._errors import InputError
from jensen.data.kinds import TYPES, statistical_types
from jensen.data.schema import Column, Schema, read
from jensen.data.source import open_table

N = 500


def types(columns: dict, *, missing: bool = False) -> dict[str, str]:
    schema, matrix = read(open_table(pa.table(columns)), missing=missing)
    return dict(zip(schema.names, statistical_types(schema, matrix), strict=True))


def draws(seed: int = 0, n: int = N) -> dict:
    rng = np.random.default_rng(seed)
    rate = rng.gamma(2.0, 2.0, n)
    return {
        "text": rng.choice(["a", "b"], n),
        "flag": rng.uniform(size=n) < 0.4,
        "zero_one": rng.integers(0, 2, n),
        "zero_one_float": rng.integers(0, 2, n).astype(float),
        "minus_one_one": 2 * rng.integers(0, 2, n) - 1,
        "poisson": rng.poisson(1.0, n),
        "mixture": rng.poisson(rate),
        "age": rng.integers(18, 90, n),
        "rating": rng.integers(0, 11, n),
        "year": rng.integers(1990, 2020, n),
        "signed": rng.poisson(1.0, n) - 1,
        "underdispersed": rng.binomial(4, 0.4, n),
        "huge": np.where(rng.uniform(size=n) < 0.5, 0, 20_000 * rng.integers(0, 5, n)),
        "tenth": np.round(rng.uniform(0, 5, n), 1),
        "real": rng.standard_normal(n),
        "unit": ["cm"] * n,
        "zero": [0] * n,
    }


EXPECTED = {
    "text": "categorical", "flag": "binary", "zero_one": "binary", "zero_one_float": "binary",
    "minus_one_one": "ordinal", "poisson": "count", "mixture": "count", "age": "ordinal",
    "rating": "ordinal", "year": "ordinal", "signed": "ordinal", "underdispersed": "ordinal",
    "huge": "ordinal", "tenth": "ordinal", "real": "real", "unit": "constant", "zero": "constant",
}  # fmt: skip


def test_types() -> None:
    assert types(draws()) == EXPECTED
    assert set(EXPECTED.values()) == set(TYPES)


def test_types_do_not_depend_on_missing_cells() -> None:
    rng = np.random.default_rng(1)
    columns = {
        name: pa.array(np.asarray(c), mask=rng.uniform(size=N) < 0.2) for name, c in draws().items()
    }
    assert types(columns, missing=True) == EXPECTED


def test_rows_decide_what_is_binary() -> None:
    """Whole numbers of which the rows show one value are no coin, unless they are booleans."""
    schema = Schema((Column("i", "integer", 1.0), Column("b", "integer", 1.0, dtype="bool")))
    assert statistical_types(schema, np.zeros((9, 2))) == ("ordinal", "binary")
    assert statistical_types(schema, np.full((9, 2), np.nan)) == ("ordinal", "binary")
    assert statistical_types(schema, np.array([[0, 0], [1, 0], [np.nan, 1]])) == ("binary",) * 2
    assert statistical_types(schema, np.array([[0, 0], [1, 0], [2, 1]]))[0] == "ordinal"


def test_pixels_are_of_one_type() -> None:
    schema, matrix = read(open_table("digits"))
    assert {*statistical_types(schema, matrix)} == {"ordinal", "constant"}
    on = (matrix.reshape(-1, 8, 8) > 7).astype(np.uint8)
    schema, matrix = read(open_table(on))
    assert {*statistical_types(schema, matrix)} == {"binary", "constant"}
    assert {*statistical_types(schema, np.zeros_like(matrix))} == {"binary", "constant"}


@pytest.mark.parametrize(
    ("law", "rate"),
    [
        (lambda rng: rng.poisson(1.0, N), 0.97),
        (lambda rng: rng.negative_binomial(1, 0.1, N), 0.97),
        (lambda rng: rng.integers(0, 11, N), 0.0),
        (lambda rng: rng.binomial(10, 0.5, N), 0.0),
    ],
)
def test_chance_seldom_misleads(law, rate: float) -> None:
    """Counts are found in at least 97% of tables, and others called counts in at most 3% of them.

    Each law's own rate is 0.1% or less (Poisson: three standard errors of its dispersion) or 2.3%
    (symmetric: two of its skewness, fewer for the short tails here); at 200 tables a rate of 2.3%
    gives more than 14 failures with a probability below 1e-4.
    """
    schema = Schema((Column("n", "integer", 1.0),))
    tables, allowed = 200, int(binom.isf(1e-4, 200, 0.023))
    found = sum(
        statistical_types(schema, law(np.random.default_rng(seed)).astype(float)[:, None])[0]
        == "count"
        for seed in range(tables)
    )
    wrong = tables - found if rate else found
    assert wrong <= allowed


def test_another_number_of_columns() -> None:
    schema, _ = read(open_table("iris"))
    with pytest.raises(InputError, match=r"give shape \(n, 4\)"):
        statistical_types(schema, np.zeros((3, 5)))
