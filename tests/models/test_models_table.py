"""A table's density: normalised in the table's own units, mixed equally, row by row."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pyarrow as pa
import pytest
from scipy.special import logsumexp

from conftest import randomise
from jensen.data.preprocess import fit_preprocess, whitening
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.fitting import Recipe, flow_init
from jensen.models.margins import Start
from jensen.models.table import BLOCK, N_NOISE, TableDensity

RNG = np.random.default_rng(0)
N = 400
COLUMNS: dict[str, Any] = {
    "continuous": RNG.normal(50.0, 20.0, N),
    "integer": RNG.poisson(40.0, N),
    "colour": RNG.choice(["blue", "green", "red"], N),
    "shape": RNG.choice(["disc", "square"], N),
}


def density(*names: str, members: int = 2, scale: float = 0.2) -> TableDensity:
    """Return a density with random weights: far from a Gaussian, and not trained."""
    table = pa.table({name: COLUMNS[name] for name in names})
    schema, matrix = read(open_table(table))
    preprocess = fit_preprocess(schema, matrix)
    settings = {"n_layers": 1, "width": 8, "depth": 1, "members": members, "bins": 4}
    whiten = whitening(preprocess, preprocess.forward(matrix))
    init = flow_init(Recipe.from_settings(settings), schema, Start(whiten))
    keys = jax.random.split(jax.random.key(0), members)
    players = eqx.filter_vmap(lambda key: init(key)[0])(keys)
    arrays, static = eqx.partition(players, eqx.is_inexact_array)
    noise = randomise(arrays, scale)
    return TableDensity(
        eqx.combine(jax.tree.map(lambda a, b: a + b, arrays, noise), static), preprocess
    )


def member(model: TableDensity, e: int) -> TableDensity:
    one = jax.tree.map(lambda a: a[e : e + 1] if eqx.is_array(a) else a, model.members)
    return TableDensity(one, model.preprocess)


def test_members_are_mixed_equally_in_probability() -> None:
    model, rows = density("continuous", members=3), np.linspace(-20, 120, 50)[:, None]
    each = np.stack([member(model, e).log_prob(rows)[0] for e in range(3)])
    assert np.ptp(each, axis=0).max() > 0.1
    # float32: 24 bits of |log p| ≲ 50
    np.testing.assert_allclose(
        model.log_prob(rows)[0], logsumexp(each, axis=0) - np.log(3), atol=1e-4
    )


def test_a_continuous_column_integrates_to_one_in_its_units() -> None:
    model = density("continuous")
    grid = np.linspace(-400.0, 500.0, 90_001)  # 22 sd to either side; trapezoid, step 0.01
    log_prob, error = model.log_prob(grid[:, None])
    assert (model.kind, model.n_points) == ("exact", 1)
    assert (error == 0).all()
    assert np.trapezoid(np.exp(log_prob), grid) == pytest.approx(1.0, abs=1e-3)


def test_an_integer_column_sums_to_one_over_the_integers() -> None:
    """The points of a cell, over all cells, are 16 unit lattices: exact for a smooth density."""
    model = density("integer")
    log_prob, error = model.log_prob(np.arange(-200.0, 300.0)[:, None])
    assert (model.kind, model.n_points) == ("iwae", N_NOISE)
    assert (error > 0).any()
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=2e-3)


def test_categories_sum_to_one() -> None:
    model = density("colour", "shape", scale=1.0)
    codes = np.array([[i, j] for i in range(3) for j in range(2)], float)
    p = np.exp(model.log_prob(codes)[0])
    assert np.ptp(p) > 0.05
    assert p.sum() == pytest.approx(1.0, abs=1e-5)


def test_a_mixed_row_is_a_density_times_a_probability() -> None:
    model = density("continuous", "shape", scale=0.3)
    grid = np.linspace(-400.0, 500.0, 9001)
    rows = [np.column_stack([grid, np.full(len(grid), code)]) for code in (0.0, 1.0)]
    parts = [np.trapezoid(np.exp(model.log_prob(r)[0]), grid) for r in rows]
    assert sum(parts) == pytest.approx(1.0, abs=1e-3)
    assert min(parts) > 0.01


@pytest.mark.parametrize("names", [("continuous",), ("continuous", "shape")])
def test_samples_follow_the_density(names: tuple[str, ...]) -> None:
    """Mean log p of 20,000 samples against minus the entropy by quadrature; |z| < 4.9 (1e-6)."""
    model = density(*names, scale=0.3)
    grid = np.linspace(-400.0, 500.0, 9001)
    total = 0.0
    for code in range(1 if len(names) == 1 else 2):
        rows = np.column_stack([grid, np.full(len(grid), float(code))])[:, : len(names)]
        log_prob = model.log_prob(rows)[0]
        total += np.trapezoid(np.exp(log_prob) * log_prob, grid)
    drawn = model.log_prob(model.sample(20_000, seed=3))[0]
    z = (drawn.mean() - total) / (drawn.std(ddof=1) / np.sqrt(len(drawn)))
    assert abs(z) < 4.9


def test_the_stated_error_is_the_spread_over_points() -> None:
    """exp(figure) is the mean of 16 densities; the error is their relative standard error."""
    model = density("integer")
    continuous = TableDensity(
        model.members, model.preprocess.__class__(**{**vars(model.preprocess), "step": np.zeros(1)})
    )
    row, noise = 37.0, model.noise()
    assert noise is not None
    shifts = noise[:, 0].astype(float) * model.preprocess.scale[0]
    assert (np.abs(shifts) <= 0.5).all()
    values = np.exp(continuous.log_prob((row + shifts)[:, None])[0])
    log_prob, error = model.log_prob(np.array([[row]]))
    assert log_prob[0] == pytest.approx(np.log(values.mean()), abs=1e-4)
    expected = values.std(ddof=1) / (values.mean() * np.sqrt(N_NOISE))
    assert error[0] == pytest.approx(expected, rel=1e-2)


def test_samples_begin_the_same_whatever_their_number() -> None:
    model = density("continuous", "shape")
    many = model.sample(2 * BLOCK + 3, seed=1)
    np.testing.assert_array_equal(model.sample(5, seed=1), many[:5])
    np.testing.assert_array_equal(
        np.concatenate(list(model.sample_blocks(BLOCK + 1, 1))), many[: BLOCK + 1]
    )
    assert len(np.unique(many[:, 0])) == len(many)
    assert model.sample(0, seed=1).shape == (0, 2)


def test_no_rows_have_no_scores() -> None:
    log_prob, error = density("continuous").log_prob(np.empty((0, 1)))
    assert log_prob.shape == error.shape == (0,)


def test_far_rows_have_finite_scores_and_low_ones() -> None:
    model = density("continuous")
    log_prob = model.log_prob(np.array([[50.0], [1e4], [1e6], [-1e8]]))[0]
    assert np.isfinite(log_prob).all()
    assert (np.diff(log_prob) < 0).all()
