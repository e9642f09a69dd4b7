"""Mixed tables: each column by its own law, in the order of the table."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from conftest import key
from jensen._errors import InputError
from jensen.data.column import Column
from jensen.data.preprocess import Preprocess, fit_preprocess
from jensen.data.schema import Schema
from jensen.models.columns import Columns, columns_for, take
from jensen.models.discrete import Categorical, DiscretisedLogistic, Poisson
from jensen.models.latent import Likelihood
from jensen.models.observations import Bernoulli, Gaussian, StudentT

SCHEMA = Schema(
    (
        Column("sold", "integer", 1.0),
        Column("colour", "categorical", levels=("blue", "green", "red")),
        Column("price", "continuous"),
        Column("unit", "constant", value=1.0),
        Column("year", "integer", 1.0),
        Column("new", "integer", 1.0),
        Column("shape", "categorical", levels=("long", "round")),
        Column("weight", "continuous", 0.25, offset=0.1),
    )
)
TYPES = ("count", "categorical", "real", "constant", "ordinal", "binary", "categorical", "ordinal")


def table(n: int = 60) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack(
        [
            rng.poisson(2.5, n),
            rng.integers(0, 3, n),
            rng.normal(40.0, 9.0, n),
            np.ones(n),
            rng.integers(1990, 2024, n),
            rng.integers(0, 2, n),
            rng.integers(0, 2, n),
            0.1 + 0.25 * rng.integers(-9, 9, n),
        ]
    )


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def preprocess() -> Preprocess:
    return fit_preprocess(SCHEMA, table(), raw=[0, 5])


def test_every_type_gets_its_law(preprocess):
    mixed = columns_for(TYPES, preprocess)
    # x: sold, price, year, new, weight, then colour, shape
    assert dict(zip(map(type, mixed.parts), mixed.places, strict=True)) == {
        Gaussian: (1,),
        DiscretisedLogistic: (2, 4),
        Bernoulli: (3,),
        Poisson: (0,),
        Categorical: (5, 6),
    }
    assert mixed.n_params == 10
    heavy = columns_for(TYPES, preprocess, real="student-t", scale="network")
    assert isinstance(heavy.parts[0], StudentT)
    assert heavy.n_params == 13


def test_log_probs_are_each_columns_own_in_the_tables_units(preprocess):
    mixed = columns_for(TYPES, preprocess)
    params = np.array([0.2, 0.3, -0.4, 0.9, 1.1, 0.5, -0.2, 0.1, 0.7, -0.7])
    x, rows = preprocess.forward(table()).astype("f8"), table()
    each = jax.jit(jax.vmap(mixed.log_probs, (0, None)))(jnp.asarray(x), jnp.asarray(params))
    m, s = preprocess.mean, preprocess.scale
    each = np.asarray(each) - np.log(np.r_[s, 1.0, 1.0])
    width = np.sqrt(3) / np.pi

    def cell(v, at, d, step):
        law = stats.logistic(m[d] + s[d] * at, s[d] * width)
        return np.log((law.cdf(v + step / 2) - law.cdf(v - step / 2)) / step)

    exact = np.column_stack(
        [
            stats.poisson(np.exp(1.1)).logpmf(rows[:, 0]),
            stats.norm(m[1] + 0.2 * s[1], s[1]).logpdf(rows[:, 2]),
            cell(rows[:, 4], 0.3, 2, 1.0),
            stats.bernoulli(special.expit(0.9)).logpmf(rows[:, 5].astype(int)),
            cell(rows[:, 7], -0.4, 4, 0.25),
            special.log_softmax([0.5, -0.2, 0.1])[rows[:, 1].astype(int)],
            special.log_softmax([0.7, -0.7])[rows[:, 6].astype(int)],
        ]
    )
    # the rows are float32 in the model's units: 1e-7 of 60 cells of weight
    assert np.abs(each - exact).max() < 1e-4


def test_samples_are_rows_of_the_table(preprocess):
    mixed = columns_for(
        TYPES,
        preprocess,
        low=np.full(8, -np.inf),
        high=np.r_[np.full(4, 0.0), 2000.0, np.full(3, np.inf)],
    )
    draw = jax.jit(jax.vmap(mixed.sample, (0, None)))
    x = np.asarray(
        draw(jax.random.split(key(), 500), jnp.asarray(mixed.bias(preprocess.forward(table()))))
    )
    assert mixed.possible(x).all()
    rows = preprocess.backward(x)
    assert np.abs(rows[:, [0, 1, 4, 5, 6]] - np.rint(rows[:, [0, 1, 4, 5, 6]])).max() < 1e-9
    assert np.abs((rows[:, 7] - 0.1) / 0.25 - np.rint((rows[:, 7] - 0.1) / 0.25)).max() < 1e-9
    assert rows[:, 4].max() == 2000.0
    assert rows[:, 0].min() >= 0
    assert set(rows[:, 1]) == {0.0, 1.0, 2.0}
    assert set(rows[:, 5]) == set(rows[:, 6]) == {0.0, 1.0}


def test_means_at_the_bias_are_those_of_the_rows(preprocess):
    mixed = columns_for(TYPES, preprocess)
    x = preprocess.forward(table()).astype("f8")
    x[:5, 2], x[5:9, 6] = np.nan, np.nan
    means = np.asarray(mixed.means(jnp.asarray(mixed.bias(x))))
    shares = [np.mean(x[:, 5] == c) for c in range(3)]
    shares += [np.mean(x[~np.isnan(x[:, 6]), 6] == c) for c in range(2)]
    # half a count for each level, of 56 rows
    assert means == pytest.approx([*np.nanmean(x[:, :5], axis=0), *shares], abs=1 / 56)


def test_missing_cells_are_marginalised(preprocess):
    mixed = columns_for(TYPES, preprocess)
    likelihood = Likelihood(lambda z: jnp.tile(z, 5), mixed)
    x, z = jnp.asarray(preprocess.forward(table())[0].astype("f8")), jnp.array([0.3, -0.2])
    each = np.asarray(mixed.log_probs(x, jnp.tile(z, 5)))
    gaps = np.array([1, 0, 1, 1, 0, 0, 1], bool)
    slope = eqx.filter_jit(jax.value_and_grad(lambda z, x: likelihood.log_prob(x, z)))
    value, at_gaps = slope(z, jnp.where(gaps, jnp.nan, x))
    assert float(value) == pytest.approx(each[~gaps].sum(), abs=1e-12)
    assert np.isfinite(at_gaps).all()
    assert mixed.possible(np.full((1, 7), np.nan)).all()


def test_what_cannot_occur_is_named_by_its_cell(preprocess):
    mixed = columns_for(TYPES, preprocess)
    x = preprocess.forward(table())[:1].repeat(3, axis=0)
    x[0, 0], x[1, 3], x[2, 5] = -1.0, 0.5, 3.0
    assert np.argwhere(~mixed.possible(x)).tolist() == [[0, 0], [1, 3], [2, 5]]


def test_take_is_indexing():
    values = jnp.arange(7.0)
    for places in ([0, 1, 2, 3, 4, 5, 6], [3, 4, 0, 6, 5, 1, 2], [2]):
        assert take(values, places).tolist() == [float(i) for i in places]


def test_what_columns_refuses(preprocess):
    with pytest.raises(InputError, match="exactly one part"):
        Columns([(Gaussian(1), (0,)), (Bernoulli(1), (0,))])
    with pytest.raises(InputError, match="numbers first"):
        Columns([(Categorical((2,)), (0,)), (Gaussian(1), (1,))])
    with pytest.raises(InputError, match="2 places"):
        Columns([(Gaussian(1), (0, 1))])
    with pytest.raises(InputError, match="'sold' is count, but was standardised"):
        columns_for(TYPES, fit_preprocess(SCHEMA, table()))
    with pytest.raises(InputError, match="unknown type 'reel'"):
        columns_for(("reel", *TYPES[1:]), preprocess)
    with pytest.raises(InputError, match="types for 8 columns"):
        columns_for(TYPES[1:], preprocess)
    with pytest.raises(InputError, match="categorical"):
        columns_for(("categorical", *TYPES[1:]), preprocess)
