"""Examples: rows to whitened normal scores and one-hot vectors, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import kstest
from sklearn.covariance import ledoit_wolf

from jensen._errors import InputError
from jensen.data.examples import MARGINS, Examples, fit_examples
from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import Schema, read
from jensen.data.source import open_table

N = 3000
RNG = np.random.default_rng(0)
BASE = RNG.standard_normal(N)
COLUMNS = {
    "gauss": BASE,
    "tail": np.exp(1.2 * BASE + 1.6 * RNG.standard_normal(N)),
    "atom": np.where(RNG.uniform(size=N) < 0.7, 0.0, RNG.lognormal(5, 1, N)),
    "count": RNG.poisson(1.3, N),
    "price": np.round(RNG.uniform(10, 20, N), 1),
    "city": RNG.choice(["rome", "oslo", "lima"], N),
    "flag": RNG.uniform(size=N) < 0.2,
    "fixed": np.full(N, 2.5),
}


def table(columns: dict[str, Any]) -> tuple[Schema, np.ndarray]:
    return read(open_table(pa.table(columns)))


def fitted(margins: str = "normal-scores") -> tuple[Schema, np.ndarray, Examples]:
    schema, matrix = table(COLUMNS)
    return schema, matrix, fit_examples(fit_preprocess(schema, matrix), matrix, margins)


@pytest.mark.parametrize("margins", MARGINS)
def test_rows_come_back(margins: str) -> None:
    schema, matrix, examples = fitted(margins)
    vectors = examples.forward(matrix)
    assert vectors.shape == (N, 6 + 3)
    assert vectors.dtype == np.float32
    back = examples.backward(vectors)
    cells, found = schema.decode(matrix), schema.decode(back)
    for name in ("count", "price", "city", "flag", "fixed"):
        assert (cells[name] == found[name]).all(), name
    spread = np.std(matrix, axis=0)
    for name in ("gauss", "tail", "atom"):  # exact but for float32, and for the extreme quantiles
        j = schema.names.index(name)
        error = np.abs(back[:, j] - matrix[:, j]) / spread[j]
        assert np.quantile(error, 0.998) < 1e-4, name


def test_normal_scores_are_normal_and_whitened() -> None:
    schema, matrix, examples = fitted()
    vectors = examples.forward(matrix)[:, :6]
    scores = np.linalg.solve(examples.whiten, vectors.T).T
    for j, column in enumerate(np.array(schema.names)[list(schema.continuous)]):
        found = kstest(scores[:, j], "norm")
        if column in ("gauss", "tail"):
            assert found.statistic < 2 / 1000  # two quantiles
        else:  # places in jumps are drawn: a false alarm once in 10,000 seeds; this one is fixed
            assert found.pvalue > 1e-4
    shrunk, share = ledoit_wolf(scores, assume_centered=True)
    assert share < 0.03
    # a ridge of 1e-6, and scores that came through float32
    np.testing.assert_allclose(
        np.linalg.inv(examples.whiten.T @ examples.whiten), shrunk, atol=1e-5
    )
    np.testing.assert_allclose(np.cov(vectors.T), np.eye(6), atol=2 * share)


def test_an_atom_comes_back_with_its_weight() -> None:
    schema, matrix, examples = fitted()
    j = schema.names.index("atom")
    share = (matrix[:, j] == 0).mean()
    z = np.random.default_rng(1).standard_normal((20_000, 6))
    noise = np.concatenate([z, np.zeros((len(z), 3))], axis=1)
    back = examples.backward(noise)[:, j]
    # 4.5 standard errors and one quantile: a false alarm once in 100,000 seeds
    assert abs((back == 0).mean() - share) < 4.5 * (share * (1 - share) / len(z)) ** 0.5 + 1e-3


@pytest.mark.parametrize("margins", MARGINS)
def test_values_stay_in_the_observed_range(margins: str) -> None:
    schema, matrix, examples = fitted(margins)
    wild = np.random.default_rng(2).standard_normal((5000, 9)) * 30
    back = examples.backward(wild)
    cells = schema.decode(back)
    assert np.isfinite(back).all()
    assert (back.min(axis=0) >= matrix.min(axis=0)).all()
    assert (back.max(axis=0) <= matrix.max(axis=0)).all()
    assert cells["count"].max() <= COLUMNS["count"].max()
    assert set(cells["city"]) <= {"rome", "oslo", "lima"}


def test_unseen_values_are_finite_and_noise_has_a_seed() -> None:
    _, matrix, examples = fitted()
    beyond = matrix[:50].copy()
    beyond[:, :3] *= 1e6
    assert np.isfinite(examples.forward(beyond)).all()
    np.testing.assert_array_equal(examples.forward(matrix), examples.forward(matrix))
    assert (examples.forward(matrix, 1) != examples.forward(matrix)).any()


def test_tables_without_numbers_without_spread_or_with_one_row() -> None:
    schema, matrix = table(
        {"city": COLUMNS["city"], "flag": np.array(["a", "b"])[BASE.astype(int) % 2]}
    )
    examples = fit_examples(fit_preprocess(schema, matrix), matrix)
    np.testing.assert_array_equal(examples.backward(examples.forward(matrix)), matrix)
    schema, matrix = table({"x": np.arange(40.0) ** 2, "y": np.arange(40)})
    for rows in (matrix[:1], np.repeat(matrix[3:4], 5, axis=0), matrix[:2]):
        for margins in MARGINS:
            examples = fit_examples(fit_preprocess(schema, rows), rows, margins)
            vectors = examples.forward(matrix)
            assert np.isfinite(vectors).all()
            assert np.isfinite(examples.backward(vectors)).all()


def test_names_are_checked() -> None:
    schema, matrix = table(COLUMNS)
    with pytest.raises(InputError, match="did you mean 'standard'"):
        fit_examples(fit_preprocess(schema, matrix), matrix, "standart")
