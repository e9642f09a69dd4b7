"""Every row of the table obeys every law, at parameter scale 1, 5 and 20, in both precisions."""

from __future__ import annotations

from functools import partial

import bijection_laws as laws
import jax
import numpy as np
import pytest

import jensen.bijections
from conftest import BIJECTIONS, Case, randomise, unless_heavy
from jensen._errors import InputError
from jensen.bijections import (
    AffineTransformer,
    Bijection,
    Coupling,
    Elementwise,
    MaskedAutoregressive,
    Permutation,
    SplineTransformer,
)
from jensen.bijections.elementwise import Transformer
from jensen.nn.mlp import MLP

MOST = 0.5
"""The share of comparisons that must say something (see `bijection_laws`)."""
DEEP = {"Repeat-spline"}
"""Rows whose conditioning at scale 5 and 20 passes 1/eps: there finiteness carries the law."""


def exported(base: type) -> set[type]:
    found = (getattr(jensen.bijections, name) for name in jensen.bijections.__all__)
    return {c for c in found if issubclass(c, base) and c is not base}


def test_every_exported_bijection_has_a_row():
    assert {type(case.make()) for case in BIJECTIONS.values()} >= exported(Bijection)
    assert all(name.split("-")[0] in jensen.bijections.__all__ for name in BIJECTIONS)


@pytest.mark.parametrize("kind", [Elementwise, Coupling, MaskedAutoregressive])
def test_every_exported_transformer_has_a_row_in_each_kind(kind):
    made = [case.make() for case in BIJECTIONS.values()]
    assert {type(b.transformer) for b in made if type(b) is kind} >= exported(Transformer)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "scale"), [unless_heavy(n, s, spare=s > 1) for s in (1, 5, 20) for n in BIJECTIONS]
)
def test_laws(name, scale, dtype):
    sharp = laws.check(BIJECTIONS[name], scale, dtype)
    if dtype is np.float64 and not (name in DEEP and scale > 1):
        assert min(sharp.values()) >= MOST, sharp


@pytest.mark.parametrize("name", BIJECTIONS)
def test_one_example_equals_the_batch(name):
    case, dtype = BIJECTIONS[name], np.float32
    bijection, c = randomise(case.make(), case.scale), laws.context(case, dtype)
    x, z = laws.points(case, dtype, 1), laws.points(case, dtype, 2)
    batch = laws._run(laws.PROGRAMS.batch, bijection, z, x, c)
    order = np.random.default_rng(0).permutation(len(x))
    shuffled = laws._run(laws.PROGRAMS.batch, bijection, z[order], x[order], c)
    eps = case.error(dtype)
    with jax.enable_x64(True):
        exact = randomise(case.make(), case.scale, dtype=np.float64)
        reference = laws.Reference(
            exact, laws.context(case, np.float64), eps, laws.PROGRAMS.reference
        )
        _, width = reference.cloud(z.astype(float), x.astype(float))
    for i in range(4):
        single = laws._run(laws.PROGRAMS.single, bijection, z[i], x[i], c)
        for one, many, limit in zip(single[:4], batch[:4], width[:4], strict=True):
            assert (np.abs(one - many[i]) <= laws.SAFETY * limit[i]).all()
    for many, other, limit in zip(batch[:4], shuffled[:4], width[:4], strict=True):
        assert (np.abs(other - many[order]) <= laws.SAFETY * limit[order]).all()


@pytest.mark.parametrize("name", [n for n, case in BIJECTIONS.items() if case.context_dim])
def test_the_context_is_used(name):
    case = BIJECTIONS[name]
    bijection, x = randomise(case.make(), 1.0), laws.points(case, np.float32, 1)[:8]
    one, other = (
        laws._run(laws.PROGRAMS.batch, bijection, x, x, np.full(case.context_dim, v, np.float32))
        for v in (0.0, 1.0)
    )
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(one[:4], other[:4], strict=True))


class TestSpline:
    spline = SplineTransformer(6, 4.0)

    def params(self, scale: float) -> jax.Array:
        return np.random.default_rng(3).standard_normal((self.spline.n_params,)) * scale

    @pytest.mark.parametrize("scale", [1, 5, 20, 1e3, 1e6])
    def test_is_increasing_and_joins_the_identity(self, scale):
        u = np.linspace(-4.5, 4.5, 4001)
        with jax.enable_x64(True):
            params = np.broadcast_to(self.params(scale), (len(u), self.spline.n_params))
            v, log_slope = jax.jit(self.spline.apply)(
                jax.numpy.asarray(params), jax.numpy.asarray(u)
            )
        v, outside = np.asarray(v), np.abs(u) >= 4
        assert (np.diff(v) > 0).all()
        assert (v[outside] == u[outside]).all()
        assert (np.asarray(log_slope)[outside] == 0).all()

    def test_both_answers_at_an_end_agree(self):
        """A program may find a value inside in one of its parts and outside in another."""
        u = np.float32([-9.0, -4.0, 4.0, 9.0])
        inside, safe = self.spline._within(jax.numpy.asarray(u))
        assert not inside.any()
        assert (safe == np.sign(u) * 4).all()
        u0, w, *_, d0, d1 = self.spline._bin(np.tile(self.params(5), (4, 1)), safe, by_height=False)
        slope = np.where((safe - u0) / w < 0.5, d0, d1)
        np.testing.assert_array_equal(slope, 1.0)

    def test_gradient_at_a_knot_is_the_slope_there(self):
        # zero parameters: the identity, with knots at -4 + 8 k / 6; a clip at a tie halves it
        knots = np.float32(-4 + 8 * np.arange(7) / 6)
        zero = jax.numpy.zeros(self.spline.n_params)
        for verb in (self.spline.apply, self.spline.invert):
            slopes = jax.jit(jax.vmap(jax.grad(lambda u, verb=verb: verb(zero, u)[0])))(knots)
            assert np.allclose(slopes, 1.0, atol=1e-5)

    @pytest.mark.parametrize("slope", [1e2, 1e4, 1e6])
    def test_float32_root_does_not_cancel_beside_steep_knots(self, slope):
        # with knot slopes of `slope` and bins of 4/3 the textbook root loses slope·eps of the bin
        raw = jax.numpy.zeros(self.spline.n_params).at[12:].set(slope)
        raw = raw.at[12::2].set(-slope)
        v = np.linspace(-3.9, 3.9, 200).astype(np.float32)
        single, _ = jax.jit(jax.vmap(self.spline.invert, (None, 0)))(raw, v)
        with jax.enable_x64(True):
            exact, _ = jax.jit(jax.vmap(self.spline.invert, (None, 0)))(
                jax.numpy.asarray(raw, float), v.astype(float)
            )
            ahead, _ = jax.jit(jax.vmap(self.spline.invert, (None, 0)))(
                jax.numpy.asarray(raw, float), v.astype(float) + 1e-6
            )
        limit = 4e-6 + 8 * np.abs(np.asarray(ahead) - np.asarray(exact))
        assert (np.abs(np.asarray(single) - np.asarray(exact)) <= limit).all()


@pytest.mark.parametrize("order", [(0, 0), (1, 2), (0, 2, 1, 1)])
def test_permutation_refuses_what_is_none(order):
    with pytest.raises(InputError, match="not a permutation"):
        Permutation(order)


def test_coupling_refuses_one_dimension():
    with pytest.raises(InputError, match="at least two"):
        Coupling(jax.random.key(0), 1, AffineTransformer(), partial(MLP, hidden=(4,)))


@pytest.mark.parametrize("name", BIJECTIONS)
def test_starts_as_an_isometry(name):
    """With its constructor's numbers a bijection stretches nothing: log-determinants are zero."""
    case: Case = BIJECTIONS[name]
    x, c = laws.points(case, np.float32, 1), laws.context(case, np.float32)
    out = laws._run(laws.PROGRAMS.batch, case.make(), x, x, c)
    assert np.abs(out.f_log_det).max() < 1e-5
    assert np.abs(out.g_log_det).max() < 1e-5
