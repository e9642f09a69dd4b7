"""Two tables compared: the verdict, where they differ, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jensen._errors import InputError
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.evaluation.divergences import LOG_2
from jensen.evaluation.marginals import Cells
from jensen.evaluation.two_sample import TwoSample, two_sample

RNG = np.random.default_rng(0)


def real(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a built-in table, shuffled, and as many rows of the Gaussian fitted to it."""
    schema, matrix = read(open_table(name))
    rng = np.random.default_rng(1)
    made = rng.multivariate_normal(matrix.mean(0), np.cov(matrix.T), len(matrix))
    order = rng.permutation(len(matrix))
    return (
        pd.DataFrame(matrix[order], columns=list(schema.names)),
        pd.DataFrame(made, columns=list(schema.names)),
    )


@pytest.fixture(scope="module")
def against_gaussian() -> TwoSample:
    return two_sample(*real("breast-cancer"))


@pytest.mark.slow
def test_two_halves_of_a_real_table_are_not_told_apart() -> None:
    """One exact p-value at 5%: a false alarm once in 20 seeds; the seed is fixed."""
    table, _ = real("breast-cancer")
    half = len(table) // 2
    found = two_sample(table[:half], table[half:])
    assert not found.distinguishable
    assert found.jsd < 3 * found.se + 1e-9
    assert found.lines()[0].startswith("Not distinguished")
    assert str(f"{found.detectable:.2g}") in found.lines()[2]


@pytest.mark.slow
def test_a_real_table_against_its_gaussian_says_where(against_gaussian: TwoSample) -> None:
    """`area error` is skewed (the largest is 40 times the median): no Gaussian is like it."""
    found = against_gaussian
    assert found.p_value <= 0.001
    assert found.jsd > 5 * found.se
    columns = {c["name"]: c for c in found.columns}
    skewed, symmetric = columns["area error"], columns["worst smoothness"]
    assert skewed["jsd"] > 0.08 > 0.03 > symmetric["jsd"]
    assert skewed["p_value"] < 1e-4
    said = " ".join(found.lines())
    assert said.startswith("Distinguishable")
    assert "area error" in said


@pytest.mark.slow
def test_a_small_table_against_its_gaussian() -> None:
    found = two_sample(*real("wine"))
    assert found.p_value <= 0.005
    assert found.jsd > 2 * found.se


def test_the_dictionary_is_the_contracts(against_gaussian: TwoSample) -> None:
    plain = json.loads(json.dumps(against_gaussian.to_dict()))
    assert {"jsd", "se", "p_value", "n", "columns"} <= set(plain)
    assert {"name", "jsd"} <= set(plain["columns"][0])
    assert len(plain["columns"]) == 30
    assert plain["n"] == 2 * 199
    assert plain["rows"] == {"a": 569, "b": 569}
    assert 0 <= plain["jsd"] <= LOG_2
    assert plain["verdict"] == against_gaussian.lines()
    rows = [entry["row"] for entry in plain["worst"]["a"]]
    assert all(1 <= row <= 569 for row in rows)
    ratios = [entry["log_ratio"] for entry in plain["worst"]["a"]]
    assert ratios == sorted(ratios, reverse=True)


@pytest.mark.slow
def test_right_columns_with_a_wrong_correlation_are_explained() -> None:
    """JSD of N(0, C) with ρ = 0.8 from N(0, I) by Monte Carlo of the true ratio: 0.1337."""
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(3000, 4)), rng.normal(size=(3000, 4))
    X[:, 1] = 0.8 * X[:, 0] + 0.6 * X[:, 1]
    found = two_sample(X, Y)
    x, y = rng.normal(size=(2, 400_000, 2))
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]

    def ratio(v: np.ndarray) -> np.ndarray:
        squares = v[:, 0] ** 2 - 1.6 * v[:, 0] * v[:, 1] + v[:, 1] ** 2
        return 0.5 * (v**2).sum(1) - 0.5 * squares / 0.36 - math.log(0.6)

    true = LOG_2 - 0.5 * (np.logaddexp(0, -ratio(x)).mean() + np.logaddexp(0, ratio(y)).mean())
    assert found.jsd < true + 3 * found.se
    assert found.jsd > true - 3 * found.se - 0.01
    assert max(c["jsd"] for c in found.columns) < 0.01
    drops = sorted(found.columns, key=lambda c: -c["drop"])
    assert {drops[0]["name"], drops[1]["name"]} == {"x0", "x1"}
    assert found.pairs[0]["names"] == ["x0", "x1"]
    said = " ".join(found.lines())
    assert "No column differs on its own" in said
    assert "x0 with x1" in said


@pytest.mark.slow
def test_mixed_tables_by_name_in_any_order_and_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)

    def table(n: int, shares: list[float]) -> pa.Table:
        return pa.table(
            {
                "size": rng.gamma(2.0, size=n),
                "colour": rng.choice(["red", "green", "blue"], n, p=shares),
                "count": rng.poisson(3.0, n),
                "old": rng.random(n) < 0.3,
                "unit": ["cm"] * n,
            }
        )

    a, b = table(900, [0.2, 0.3, 0.5]), table(300, [0.6, 0.3, 0.1])
    b.select(["old", "unit", "count", "colour", "size"]).to_pandas().to_csv(
        tmp_path / "b.csv", index=False
    )
    a = a.set_column(3, "old", pa.array(a["old"].to_pylist(), pa.bool_()))
    b = b.set_column(3, "old", pa.array(b["old"].to_pylist(), pa.bool_()))
    found = two_sample(a, b.select(["old", "unit", "count", "colour", "size"]), trees=30)
    assert found.distinguishable
    ranked = sorted(found.columns, key=lambda c: -c["jsd"])
    assert ranked[0]["name"] == "colour"
    assert found.rows == (900, 300)
    assert any("unit" in remark for remark in found.remarks)
    # JSD of the colours alone, the only difference
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    m = (p + q) / 2
    true = 0.5 * float(p @ np.log(p / m) + q @ np.log(q / m))
    assert abs(ranked[0]["jsd"] - true) < 4 * ranked[0]["se"] + 0.005
    assert found.jsd < true + 3 * found.se


def test_a_constant_that_differs_tells_the_tables_apart() -> None:
    rng = np.random.default_rng(4)
    a = pd.DataFrame({"x": rng.normal(size=80), "unit": "cm", "k": 1})
    b = pd.DataFrame({"x": rng.normal(size=80), "unit": "inch", "k": 1})
    found = two_sample(a, b, trees=30)
    assert found.jsd > 0.6
    columns = {c["name"]: c["jsd"] for c in found.columns}
    assert columns["unit"] > 0.6
    assert columns["k"] == 0.0
    with pytest.raises(InputError, match="constant"):
        two_sample(a[["k"]], b[["k"]])


@pytest.mark.slow
def test_copied_and_repeated_rows_do_not_leak() -> None:
    """B repeats 60 rows five times: were copies split up, the test would call equal laws different.

    And a copy of A is A: never told apart.
    """
    rng = np.random.default_rng(5)
    a = rng.normal(size=(300, 3))
    copy = two_sample(a, a[rng.permutation(300)], trees=30)
    assert not copy.distinguishable
    assert any(r.endswith("among the rows of B: 300 (100.0%).") for r in copy.remarks)
    seen = []
    for seed in range(3):
        repeated = np.repeat(rng.normal(size=(60, 3)), 2, axis=0)
        found = two_sample(a, repeated, trees=30, random_state=seed)
        assert any(r == "Rows of B that repeat another row of B: 60." for r in found.remarks)
        seen.append(found.p_value)
    assert np.median(seen) > 0.01


def test_rounding_is_remarked_upon() -> None:
    rng = np.random.default_rng(6)
    a, b = np.round(rng.normal(size=(200, 1)), 1), rng.normal(size=(200, 1))
    found = two_sample(a, b, trees=30)
    assert any("On a grid in A but not in B: x0 (of 0.1)" in r for r in found.remarks)
    half = two_sample(a[:100], a[100:], trees=30)
    assert not any("grid" in r for r in half.remarks)


def test_many_rows_are_drawn_from() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(500, 2)), rng.normal(size=(120, 2))
    found = two_sample(a, b, max_rows=100, trees=30)
    assert found.rows == (500, 120)
    assert found.n == 70
    assert sum("drawn at random" in r for r in found.remarks) == 2


def test_equal_seeds_give_equal_figures() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(100, 2)), rng.normal(size=(120, 2))
    first, second = (two_sample(a, b, max_rows=100, trees=30).to_dict() for _ in range(2))
    first.pop("seconds")
    second.pop("seconds")
    assert first == second


def test_a_histogram_classifier_finds_the_divergence_of_a_column() -> None:
    rng = np.random.default_rng(9)
    values = np.concatenate([rng.normal(size=20_000), rng.normal(1.0, 1.0, 20_000)])
    sign, folds = np.repeat([1.0, -1.0], 20_000), rng.integers(3, size=40_000)
    part = Cells(values[:, None], sign, folds, (0,)).judge((0,))
    value, error = part.bound
    assert value < 0.1114214822 + 3.5 * error
    assert value > 0.1114214822 - 3.5 * error - 0.003  # what 64 cells lose at most
    assert part.p_value < 1e-12
    spike = np.where(
        rng.random(40_000) < np.where(sign > 0, 0.5, 0.0), 0.0, rng.normal(size=40_000)
    )
    found = Cells(spike[:, None], sign, folds, (0,)).judge((0,)).bound
    true = 0.25 * math.log(2) + 0.25 * math.log(2 / 3) + 0.5 * math.log(4 / 3)
    assert abs(found.value - true) < 4 * found.se + 0.005


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (pd.DataFrame({"x": [1.0] * 30}), pd.DataFrame({"y": [1.0] * 30}), "only one has 'x', 'y'"),
        (np.zeros((30, 2)), np.zeros((30, 3)), "3 columns"),
        (np.arange(19.0)[:, None], np.arange(30.0)[:, None], "19 rows"),
        (
            pd.DataFrame({"x": [1.0, None] * 15}),
            pd.DataFrame({"x": np.arange(30.0)}),
            "15 missing cells in column 'x'.*row 2",
        ),
        (
            pd.DataFrame({"x": np.arange(30.0)}),
            pd.DataFrame({"x": [1.0] * 29 + [np.inf]}),
            "infinite cells.*row 30",
        ),
        (
            pd.DataFrame({"x": np.arange(30.0)}),
            pd.DataFrame({"x": ["red"] * 30}),
            "row 1",
        ),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(a: object, b: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        two_sample(a, b)


def test_bad_options_are_refused() -> None:
    with pytest.raises(InputError, match="max_rows"):
        two_sample("iris:train", "iris:test", max_rows=5)
    with pytest.raises(InputError, match="seed"):
        two_sample("iris:train", "iris:test", random_state=-1)


def null_p_value(seed: int, n: int) -> float:
    rng = np.random.default_rng(20_000 + seed)
    a, b = (np.exp(rng.normal(size=(n, 3))) for _ in range(2))
    return two_sample(a, b, random_state=seed, trees=50).p_value


@pytest.mark.slow
def test_the_level_is_kept_on_equal_laws() -> None:
    """Of 8 exact p-values at 5%, four or more would be a false alarm of 0.04%."""
    assert sum(null_p_value(seed, 60) <= 0.05 for seed in range(8)) < 4


@pytest.mark.slow
def test_five_in_a_hundred_equal_laws_are_rejected() -> None:
    """5% ± 3%: for an exact test a count outside 4…16 comes once in 30; the seeds are fixed."""
    assert 4 <= sum(null_p_value(seed, 300) <= 0.05 for seed in range(200)) <= 16
