"""Continuous flows: closed forms of linear fields, probes, gradients, failures, blocks."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from scipy.linalg import expm

from conftest import key, randomise
from jensen._errors import DivergedError, InputError
from jensen._typing import Array
from jensen.bijections import Affine, Chain, Continuous, Planar
from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.evaluation.equation import equation_error
from jensen.models.base import NormalBase
from jensen.models.continuous import ContinuousFlow, equation_of, parted, solved
from jensen.models.flow import Flow
from jensen.models.mixed import Mixed
from jensen.models.table import TableDensity

RNG = np.random.default_rng(0)
TURN = RNG.standard_normal((3, 3))


class Linear(eqx.Module):
    """dz/dt = A z: z(1) = exp(A) z(0), log |det| = tr A."""

    a: Array

    def __call__(self, t: Array, z: Array, context: Array | None = None) -> Array:
        return self.a @ z


class Late(eqx.Module):
    """dz/dt = t³: not linear in the time, z(1) = z(0) + 1/4."""

    def __call__(self, t: Array, z: Array, context: Array | None = None) -> Array:
        return t**3 * jnp.ones_like(z)


@eqx.filter_jit
def there_and_back(ode: Continuous, z: Array, x: Array) -> tuple[Array, ...]:
    return *ode.forward_and_log_det(z), *ode.inverse_and_log_det(x)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-9])
def test_a_linear_field_is_a_matrix_exponential(tolerance):
    with jax.enable_x64(True):
        z, there, back = np.array([1.0, -1.0, 2.0]), expm(TURN), expm(-TURN)
        ode = Continuous(Linear(jnp.asarray(TURN)), tolerance=tolerance)
        x, log_det, u, other = there_and_back(ode, jnp.asarray(z), jnp.asarray(z))
        # a dozen steps of one tolerance each, carried on by exp(±A), |exp(±A)| ≤ 12
        assert np.abs(np.asarray(x) - there @ z).max() < 100 * tolerance
        assert np.abs(np.asarray(u) - back @ z).max() < 100 * tolerance
        assert np.allclose([log_det, other], [np.trace(TURN), -np.trace(TURN)], atol=20 * tolerance)


def test_the_field_sees_the_time_and_its_direction():
    x, _, z, _ = there_and_back(Continuous(Late()), jnp.zeros(2), jnp.zeros(2))
    assert np.allclose(x, 0.25, atol=1e-5)
    assert np.allclose(z, -0.25, atol=1e-5)


def test_probes_estimate_the_trace_with_their_error():
    """Along A each probe gives εᵀAε: mean tr A, variance Σ_{i<j} (A_ij + A_ji)²."""
    m, x = 2000, jnp.ones(3)
    ode = Continuous(Linear(jnp.asarray(TURN, jnp.float32)), probes=m)
    sd = np.sqrt(np.sum(np.triu(TURN + TURN.T, 1) ** 2))
    error = float(ode.log_det_error(x))
    # the spread of 2,000 probes is known to 5%, false alarms below 1e-4
    assert error == pytest.approx(sd / m**0.5, rel=0.1)
    _, there, _, back = map(np.asarray, there_and_back(ode, x, x))
    assert abs(there - np.trace(TURN)) < 4 * error
    assert there != pytest.approx(np.trace(TURN), abs=1e-4)
    assert back == pytest.approx(-there, abs=1e-3)  # the same probes in both directions
    assert dataclasses.replace(ode, probes=0).log_det_error(x) == 0


@pytest.mark.slow
def test_the_gradient_through_the_equation_is_the_finite_difference():
    with jax.enable_x64(True):
        flow = randomise(ContinuousFlow(key(), 2, hidden=(5,), tolerance=1e-9), 0.5)
        flow = jax.tree.map(lambda a: jnp.asarray(a, float), flow)
        arrays, static = eqx.partition(flow, eqx.is_inexact_array)
        direction = randomise(arrays, 1.0, seed=3, dtype=np.float64)
        x = jnp.asarray(RNG.standard_normal((4, 2)))

        @jax.jit
        def loss(t: Array) -> Array:
            moved = eqx.combine(jax.tree.map(lambda a, d: a + t * d, arrays, direction), static)
            return jnp.mean(jax.vmap(moved.log_prob)(x))

        h = 1e-3  # central: h² of truncation, 1e-9/h of the solver's noise
        slope = float(jax.jit(jax.grad(loss))(0.0))
        assert abs(float(loss(h) - loss(-h)) / (2 * h) - slope) < 1e-4 * (1 + abs(slope))


def table_density(flow: Flow, rows: np.ndarray) -> tuple[TableDensity, np.ndarray]:
    names = [f"c{i}" for i in range(rows.shape[1])]
    schema, matrix = read(open_table(pa.table(dict(zip(names, rows.T, strict=True)))))
    members = eqx.filter_vmap(lambda m: m, axis_size=1, in_axes=None)(Mixed(flow, None))
    return TableDensity(members, fit_preprocess(schema, matrix)), matrix


@pytest.mark.slow
def test_a_rows_score_does_not_depend_on_the_rows_scored_with_it():
    """Each row's steps are its own, though a block is solved in one loop."""
    flow = randomise(ContinuousFlow(key(), 2, hidden=(16, 16), tolerance=1e-4), 0.5)
    density, matrix = table_density(flow, RNG.standard_normal((300, 2)) * np.array([1.0, 30.0]))
    whole, order = density.log_prob(matrix)[0], RNG.permutation(300)
    assert np.array_equal(density.log_prob(matrix[order])[0], whole[order])
    assert np.array_equal(density.log_prob(matrix[7:9])[0], whole[7:9])
    found = equation_error(density, matrix)
    error = found["log_prob_error"]
    assert (found["divergence"], found["tolerance"], error["n"]) == ("exact", 1e-4, 256)
    # a dozen steps of 1e-4 each, stretched by the field; and no figure is right to the last bit
    assert 1e-7 < error["largest"] < 0.1
    assert abs(error["mean"]) <= error["largest"]


def test_an_equation_that_is_not_solved_is_an_error():
    flow = randomise(ContinuousFlow(key(), 2, hidden=(16, 16), max_steps=3), 0.5)
    density, matrix = table_density(flow, RNG.standard_normal((5, 2)))
    with pytest.raises(DivergedError, match=r"of 5 rows is not a number.*the first such row"):
        density.log_prob(matrix)


def test_parts_of_a_model_with_an_equation():
    flow = ContinuousFlow(key(), 2, hidden=(4,))
    outer = Affine(jnp.zeros(2), jnp.zeros(2))
    nested = Flow(Chain((outer, Chain((outer, flow.bijection)))), NormalBase(2))
    maps, ode = parted(nested)
    assert len(maps.bijections) == 2
    assert ode is flow.bijection
    other = equation_of(solved(nested, tolerance=1e-3, probes=2))
    assert (other.tolerance, other.probes) == (1e-3, 2)
    assert equation_of(Flow(Planar(key(), 2), NormalBase(2))) is None
    with pytest.raises(InputError, match="no field"):
        parted(Flow(Chain((flow.bijection, outer)), NormalBase(2)))


@pytest.mark.parametrize(
    "options",
    [{"tolerance": 0.0}, {"tolerance": 1.0}, {"probes": -1}, {"max_steps": 0}, {"hidden": ()}],
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(InputError):
        ContinuousFlow(key(), 2, **options)
