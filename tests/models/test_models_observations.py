"""Every observation is a distribution of its values, the one scipy has, and does not overflow."""

from __future__ import annotations

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import observation_laws as laws
import pytest
from observation_laws import OBSERVATIONS
from scipy import stats

from conftest import key
from jensen._errors import InputError
from jensen.models import columns, discrete, observations, scales
from jensen.models.columns import Columns
from jensen.models.discrete import Categorical, DiscretisedLogistic, Poisson
from jensen.models.observations import Bernoulli, Gaussian, Observation, StudentT
from jensen.models.scales import FixedScale, LearnedScale, NetworkScale, scale_named

ALARM = 1e-4
DRAWS = 4000


@pytest.fixture(autouse=True)
def _float64(request):
    with jax.enable_x64("single" not in request.node.name):
        yield


def test_every_observation_has_a_row():
    concrete = {
        c.__name__
        for module in (observations, discrete, columns)
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Observation) and not inspect.isabstract(c)
    }
    assert {name.split("-")[0] for name in OBSERVATIONS} == concrete


@pytest.fixture(params=OBSERVATIONS)
def row(request):
    return OBSERVATIONS[request.param]


@pytest.fixture(scope="module")
def draws():
    """Draws `(DRAWS, D)` of a row; each is drawn once."""
    kept = {}

    def get(row):
        if row.make not in kept:
            draw = jax.jit(jax.vmap(row.make().sample, (0, None)))
            keys = jax.random.split(key(3), DRAWS)
            kept[row.make] = np.asarray(draw(keys, jnp.asarray(row.params)))
        return kept[row.make]

    return get


def test_log_probs_are_scipys(row):
    log_p = laws.log_probs(row.make(), row.points, row.params)
    assert log_p.shape == row.points.shape
    # an expit of scipy near 1 leaves 1e-16 of the cell next to it: compare what that resolves
    near = row.log_p > -20
    assert np.abs(log_p - row.log_p)[near].max() < 1e-7


def test_sums_to_one(row):
    p = np.exp(laws.log_probs(row.make(), row.points, row.params))
    # the trapezoid rule over |x| < 1e7: Student's tail of ν = 3 beyond it is below 1e-20
    assert np.abs((p * row.weights).sum(axis=0) - 1).max() < 1e-9


def test_means_are_those_of_the_law(row):
    observation = row.make()
    mass = np.exp(laws.log_probs(observation, row.points, row.params)) * row.weights
    means = np.asarray(observation.means(jnp.asarray(row.params)))
    if isinstance(observation, Categorical):
        assert means == pytest.approx(mass.T.ravel(), abs=1e-12)
        return
    if isinstance(observation, Columns):
        assert means == pytest.approx([mass[1, 0], *mass[:, 1]], abs=1e-12)
        return
    # the integral in a discretised mean is said to be exact to 1e-4 of a cell; t₃'s tail beyond
    # the last node, 1e7, holds 1e-14 of the mean
    tolerance = 1e-4 * row.weights[0, 0] if isinstance(observation, DiscretisedLogistic) else 1e-8
    assert np.abs(means - (row.points * mass).sum(axis=0)).max() < tolerance


def test_samples_follow_the_law(row, draws):
    observation, x = row.make(), draws(row)
    assert x.shape == (DRAWS, row.points.shape[1])
    assert observation.possible(x).all()
    mass = np.exp(laws.log_probs(observation, row.points, row.params)) * row.weights
    for d in range(x.shape[1]):
        points, p = row.points[:, d], mass[:, d]
        if row.discrete:
            place = np.argmin(np.abs(x[:, d, None] - points), axis=1)
            assert np.abs(x[:, d] - points[place]).max() < 1e-9
            counts = np.bincount(place, minlength=len(points)).astype(float)
            often = p * DRAWS >= 5
            expected = np.append(p[often] * DRAWS, p[~often].sum() * DRAWS + 1e-9)
            observed = np.append(counts[often], counts[~often].sum())
            statistic = ((observed - expected) ** 2 / np.maximum(expected, 1)).sum()
            # each coordinate alarms with probability ALARM / 2
            assert stats.chi2.sf(statistic, len(expected) - 1) > ALARM / 2
        else:
            below = np.cumsum(p) - 0.5 * p
            u = np.interp(x[:, d], points, below)
            assert stats.kstest(u, "uniform").pvalue > ALARM / 2
    if x.shape[1] == 2 and not isinstance(observation, Columns):
        assert stats.spearmanr(x[:, 0], x[:, 1]).pvalue > ALARM


def test_bias_puts_the_means_where_the_rows_are(row, draws):
    observation, x = row.make(), draws(row)[:400].copy()
    x[:7, 0] = np.nan
    means = np.asarray(observation.means(jnp.asarray(observation.bias(x))))
    assert observation.bias(x).shape == (observation.n_params,)
    rows = [[np.nanmean(x[:, d] == c) for c in range(3)] for d in range(2)]
    if isinstance(observation, Categorical):
        rows[0] = [share / (1 - 7 / 400) for share in rows[0]]
        assert means == pytest.approx(np.ravel(rows), abs=1.5 / 393)
    elif isinstance(observation, Columns):
        assert means == pytest.approx([np.nanmean(x[:, 0]), *rows[1][:2]], abs=1 / 393)
    else:
        # half a count among 393 for the probabilities and rates; the tails' share for grey levels
        bounded = isinstance(observation, DiscretisedLogistic) and np.isfinite(observation.low[0])
        assert means == pytest.approx(np.nanmean(x, axis=0), abs=0.06 if bounded else 0.01)


def test_bias_of_a_network_scale_is_the_spread_of_the_rows():
    x = np.array([[0.0, 3.0], [2.0, np.nan], [np.nan, 3.0]])
    bias = Gaussian(2, NetworkScale(2, floor=0.5)).bias(x)
    assert bias[:2].tolist() == [1.0, 3.0]
    assert np.sqrt(0.25 + np.exp(bias[2])) == pytest.approx(1.0)
    assert np.isfinite(bias).all()


def test_bias_of_a_column_without_cells_is_finite(row):
    x = np.full((4, row.points.shape[1]), np.nan)
    assert np.isfinite(row.make().bias(x)).all()


EXTREMES = [-1e4, -120.0, -1e-30, 0.0, 120.0, 1e4]


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_extreme_parameters_in_single_precision(name):
    """log p and its slopes are finite, for η and for the learned leaves."""
    row = OBSERVATIONS[name]
    start, (arrays, static) = row.make(), eqx.partition(row.make(), eqx.is_inexact_array)
    values = jnp.asarray(np.quantile(row.points, [0.0, 0.5, 1.0], axis=0, method="nearest"))
    values = jnp.clip(values, -1e4, 1e4).astype(jnp.float32)

    @jax.jit
    def slopes(leaf, eta):
        leaves = jax.tree.map(lambda a: jnp.full_like(a, leaf), arrays)

        def total(leaves, params):
            observation = eqx.combine(leaves, static)
            return jnp.sum(jax.vmap(observation.log_probs, (0, None))(values, params))

        return jax.value_and_grad(total, (0, 1))(leaves, jnp.full(start.n_params, eta))

    for leaf in EXTREMES if jax.tree.leaves(arrays) else [0.0]:
        for eta in EXTREMES:
            for a in jax.tree.leaves(slopes(leaf, eta)):
                assert a.dtype == jnp.float32
                assert np.isfinite(np.asarray(a)).all(), (leaf, eta)


@pytest.mark.parametrize("distance", [0.0, 1.0, 30.0, 1e3, 1e6])
def test_far_tails_of_a_grid_in_single_precision(distance):
    """s from 1e-3 to 1e3 cells: what float32 resolves of the distance, and no more is lost."""
    for s in (1e-3, 0.3, 30.0, 1e3):
        cell = DiscretisedLogistic(np.ones(1), scale=s)
        for side in (-1.0, 1.0):
            x = jnp.array([side * distance], jnp.float32)
            found = float(cell.log_probs(x, jnp.zeros(1))[0])
            # on the left the cell's mass is e^(b) - e^(a) to the first order
            a, b = (-distance - 0.5) / s, (-distance + 0.5) / s
            log_a, log_b = -np.logaddexp(0, -a), -np.logaddexp(0, -b)
            exact = log_b + np.log(-np.expm1(log_a - log_b))
            assert found == pytest.approx(exact, rel=1e-5, abs=1e-5)


def test_poisson_in_single_precision():
    eta, x = jnp.array([-150.0, 5.0, 9.2]), jnp.array([1.0, 150.0, 9900.0])
    found = np.asarray(Poisson(3).log_probs(x, eta))
    exact = np.array([-150.0, *stats.poisson(np.exp([5.0, 9.2])).logpmf([150, 9900])])
    # x η and log x! are 9e4 there, each known to 1e-7 of itself
    assert np.abs(found - exact).max() < 0.05
    assert np.abs(found - exact)[:2].max() < 2e-4


def test_poisson_goes_on_along_its_tangent():
    rate = lambda eta: Poisson(1).means(jnp.asarray(eta))[0]  # noqa: E731
    at = np.exp(10.0)
    assert float(rate([10.0])) == pytest.approx(at)
    assert float(rate([12.5])) == pytest.approx(3.5 * at)
    bias = Poisson(1).bias(np.full((3, 1), 1e5))
    assert float(rate(bias)) == pytest.approx(1e5 + 1 / 6)


def test_discretised_means_across_widths():
    """δ/s from 1/8 to 64, at and off the grid and beyond the bounds, against the plain sum."""
    low, high = np.array([-np.inf, 0.0, 0.0, -np.inf]), np.array([np.inf, np.inf, 8.0, 8.0])
    cell = DiscretisedLogistic(np.ones(4), low=low, high=high, scale=NetworkScale(4))
    s, location = np.meshgrid(2.0 ** np.linspace(-6, 3, 19), [-0.9, 0.0, 0.27, 0.5, 3.9, 7.0, 11.0])
    params = np.repeat(np.stack([location.ravel(), 2 * np.log(s.ravel())], axis=1), 4, axis=1)
    x = np.arange(-700.0, 701.0)
    each = jax.vmap(jax.vmap(cell.log_probs, (0, None)), (None, 0))
    p = np.exp(jax.jit(each)(jnp.repeat(x[:, None], 4, axis=1), jnp.asarray(params)))
    p = np.where((x[:, None] >= low) & (x[:, None] <= high), p, 0.0)
    means = np.asarray(jax.vmap(cell.means)(jnp.asarray(params)))
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-9
    assert np.abs(means - (x[:, None] * p).sum(axis=1)).max() < 1e-4


def test_a_code_that_is_no_level_is_impossible():
    log_p = Categorical((2, 3)).log_probs(jnp.array([2.0, 0.5]), jnp.zeros(5))
    assert np.isneginf(np.asarray(log_p)).all()


POSSIBLE = [
    (Bernoulli(1), [0, 1, np.nan], [0.5, 2, -1, np.inf]),
    (Gaussian(1), [-1e30, 0, np.nan], [np.inf, -np.inf]),
    (StudentT(1), [-1e30, 0, np.nan], [np.inf, -np.inf]),
    (Poisson(1), [0, 7, np.nan], [-1, 0.5, np.inf]),
    (Categorical((3,)), [0, 2, np.nan], [3, -1, 0.5, np.inf]),
    (DiscretisedLogistic(np.ones(1), low=0.0, high=3.0), [0, 3, np.nan], [-1, 4, np.inf]),
    (DiscretisedLogistic(np.ones(1)), [-9, 3, np.nan], [np.inf, -np.inf]),
]


@pytest.mark.parametrize(("observation", "can", "cannot"), POSSIBLE)
def test_possible_values(observation, can, cannot):
    assert observation.possible(np.array(can, float)[:, None]).all()
    assert not observation.possible(np.array(cannot, float)[:, None]).any()


def test_learned_scales_start_where_they_are_told():
    for name in ("fixed", "shared", "per-coordinate"):
        scale = scale_named(name, 3, value=0.3, floor=0.1)
        sigma = np.broadcast_to(scale(jnp.zeros(scale.n_params)), 3)
        assert sigma == pytest.approx(np.full(3, 0.3))
    shapes = [np.shape(a) for n in scales.SCALES for a in jax.tree.leaves(scale_named(n, 3))]
    assert shapes == [(), (3,)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: FixedScale(0.0),
        lambda: LearnedScale(value=0.1, floor=0.2),
        lambda: NetworkScale(2, floor=-1.0),
        lambda: scale_named("learnt", 2),
        lambda: StudentT(1, df=1.5),
        lambda: Categorical((2, 0)),
        lambda: DiscretisedLogistic(np.array([1.0, 0.0])),
        lambda: DiscretisedLogistic(np.ones(1), low=1.0, high=1.0),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(InputError):
        make()
