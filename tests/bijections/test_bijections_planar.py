"""Planar, radial and Sylvester maps beyond the laws: large weights, edges, gradients, refusals."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jensen._errors import InputError
from jensen.bijections import Planar, Radial, Sylvester
from jensen.bijections.planar import FLOOR, bounded, log_slope, tanh, unbend
from jensen.bijections.sylvester import _columns

KINDS = {"planar": Planar, "radial": Radial, "sylvester": Sylvester}


@pytest.fixture(autouse=True)
def _float64(request):
    with jax.enable_x64("single" not in request.node.name):
        yield


def layers(make: Any, dim: int, dtype: Any, n: int, scale: float = 20.0) -> Any:
    """Return n layers along a first axis, every number uniform within ±scale."""
    rng = np.random.default_rng(0)
    arrays, static = eqx.partition(make(jax.random.key(0), dim), eqx.is_inexact_array)
    drawn = jax.tree.map(
        lambda a: jnp.asarray(rng.uniform(-scale, scale, (n, *a.shape)).astype(dtype)), arrays
    )
    return eqx.combine(drawn, static)


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(0, 0))
@eqx.filter_vmap(in_axes=(None, 0))
def there_and_back(layer: Any, z: Any) -> tuple:
    x, log_det = layer.forward_and_log_det(z)
    back, log_det_back = layer.inverse_and_log_det(x)
    inverse = jax.jacfwd(lambda x: layer.inverse_and_log_det(x)[0])(x)
    return x, back, jnp.abs(inverse).sum(-1).max(), log_det + log_det_back


@pytest.mark.parametrize("dim", [1, 2, 8])
@pytest.mark.parametrize("name", ["planar", "radial"])
def test_round_trip_at_large_weights(name, dim):
    """Entries up to ±20: to 1e-12."""
    made = layers(KINDS[name], dim, np.float64, 100)
    z = np.random.default_rng(1).standard_normal((100, 100, dim))
    x, back, _, both = (np.asarray(v) for v in there_and_back(made, jnp.asarray(z)))
    assert np.abs(x - z).max() > 5
    assert np.abs(back - z).max() < 1e-12
    assert np.abs(both).max() < 1e-9  # log-slopes: the round trip's error times ‖w‖ ≤ 20√8 and c


@pytest.mark.parametrize("dim", [1, 2, 8])
@pytest.mark.parametrize("name", ["planar", "radial"])
def test_round_trip_at_large_weights_in_single_precision(name, dim):
    """Entries up to ±20: to 1e-6 of |z| + (1 + ‖∂z/∂x‖)(|x| + 20), what rounding x and b moves."""
    made = layers(KINDS[name], dim, np.float32, 100)
    z = np.random.default_rng(1).standard_normal((100, 100, dim)).astype(np.float32)
    x, back, condition, _ = (np.asarray(v) for v in there_and_back(made, jnp.asarray(z)))
    error, size = np.abs(back - z).max(-1), np.abs(z).max(-1)
    assert (error <= 1e-6 * (size + (1 + condition) * (np.abs(x).max(-1) + 20))).all()
    assert np.median(error) < 1e-6


def test_sylvester_round_trip_at_large_weights():
    """A triangular system of M equations multiplies condition numbers: measured against them."""
    made = layers(Sylvester, 4, np.float64, 100)
    z = np.random.default_rng(1).standard_normal((100, 100, 4))
    x, back, condition, _ = (np.asarray(v) for v in there_and_back(made, jnp.asarray(z)))
    error, size = np.abs(back - z).max(-1), np.abs(z).max(-1)
    assert (error <= 1e-13 * (size + condition * (np.abs(x).max(-1) + 20))).all()


def test_sylvester_of_rank_one_is_planar():
    made = jax.tree.map(lambda a: a[0], layers(Sylvester, 3, np.float64, 1, 2.0))
    flat = eqx.tree_at(
        lambda s: (s.reflections, s.right, s.left, s.b),
        made,
        (made.reflections[:1], made.right[:1, :1], made.left[:1, :1], made.b[:1]),
    )
    q = _columns(flat.reflections)[:, 0]
    planar = eqx.tree_at(
        lambda p: (p.w, p.u, p.b),
        Planar(jax.random.key(0), 3),
        (flat.right[0, 0] * q, flat.left[0, 0] * q, flat.b[0]),
    )
    x = jnp.array([0.3, -1.0, 2.0])
    for verb in ("forward_and_log_det", "inverse_and_log_det"):
        for a, b in zip(getattr(flat, verb)(x), getattr(planar, verb)(x), strict=True):
            assert np.allclose(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("m", "dim"), [(1, 1), (2, 5), (5, 5)])
def test_columns_are_orthonormal(m, dim):
    q = _columns(jnp.asarray(np.random.default_rng(m).standard_normal((m, dim))))
    assert np.abs(np.asarray(q.T @ q) - np.eye(m)).max() < 1e-14
    q = _columns(jnp.zeros((m, dim)))
    assert (q == jnp.eye(dim, m)).all()


class TestBend:
    def test_slope_stays_above_its_floor_and_leaves_nothing_out(self):
        a = np.concatenate([-np.geomspace(1e30, 1e-30, 200), [0], np.geomspace(1e-30, 1e30, 200)])
        for dtype in (np.float32, np.float64):
            k, slope = (np.asarray(v, np.float64) for v in bounded(jnp.asarray(a, dtype)))
            assert (slope >= FLOOR * (1 - 1e-6)).all()
            rounding = 4 * np.finfo(dtype).eps * slope[1:]
            assert (np.diff(slope) >= -rounding).all()
            assert (k[a >= 0] == 1).all()
        k, slope = (np.asarray(v) for v in bounded(jnp.asarray(a)))
        assert np.abs(1 + k * a - slope)[np.abs(a) < 1e3].max() < 1e-12
        # every allowed c = k a is reached: a = c / (1 + c / (1 − δ)) for c < 0
        c = np.linspace(-0.94, -0.01, 50)
        k, slope = bounded(jnp.asarray(c / (1 + c / (1 - FLOOR))))
        assert np.abs(np.asarray(slope) - (1 + c)).max() < 1e-13

    @pytest.mark.parametrize("slope", [0.05, 0.3, 1.0, 7.0, 1e4])
    def test_log_slope_and_derivative_do_not_cancel(self, slope):
        y = np.array([-40.0, -12.0, -3.0, -1e-3, 0.0, 1e-9, 0.5, 1.0, 18.0])
        with np.errstate(all="ignore"):
            wide = y.astype(np.longdouble)
            sech = 1 / np.cosh(wide) ** 2
            want = np.log(np.tanh(wide) ** 2 + np.longdouble(slope) * sech)
        ours = np.asarray(log_slope(jnp.asarray(slope), jnp.asarray(y)))
        assert np.abs(ours - want).max() < 1e-15 * (4 + abs(np.log(slope)))
        derivative = np.asarray(jax.vmap(jax.grad(tanh))(jnp.asarray(y)))
        assert np.abs(derivative / sech - 1).max() < 1e-14

    @pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["single", "double"])
    def test_root_is_exact_to_its_conditioning(self, dtype):
        rng = np.random.default_rng(0)
        slope = np.append(np.full(200, FLOOR), 10 ** rng.uniform(-1.3, 3.5, 2000)).astype(dtype)
        r = (rng.standard_normal(2200) * 10 ** rng.uniform(-6, 3, 2200)).astype(dtype)
        y = np.asarray(jax.jit(jax.vmap(unbend))(slope, r)).astype(np.longdouble)
        c, wide = slope.astype(np.longdouble) - 1, r.astype(np.longdouble)
        bend = c * np.tanh(y)
        here = np.tanh(y) ** 2 + (1 + c) / np.cosh(np.clip(y, -500, 500)) ** 2
        error = np.abs((y + bend - wide) / here)
        limit = 4 * np.finfo(dtype).eps * (np.abs(y) + (np.abs(wide) + np.abs(bend)) / here)
        assert (error <= limit).all()
        assert (np.abs(y - wide) <= np.abs(c) + 1e-6 * np.abs(wide)).all()


@pytest.mark.parametrize("name", KINDS)
def test_gradient_of_log_prob_is_that_of_finite_differences(name):
    """The density of data, by every parameter: what forward KL follows."""
    made = jax.tree.map(lambda a: a[0], layers(KINDS[name], 3, np.float64, 1, 1.5))
    x = jnp.array([0.4, -1.1, 0.9])

    def log_prob(layer):
        z, log_det = layer.inverse_and_log_det(x)
        return log_det - z @ z / 2

    arrays, static = eqx.partition(made, eqx.is_inexact_array)
    flat, shape = ravel_pytree(arrays)
    f = jax.jit(lambda p: log_prob(eqx.combine(shape(p), static)))
    h, unit = 1e-5, jnp.eye(len(flat))
    by_hand = [float(f(flat + h * e) - f(flat - h * e)) / (2 * h) for e in unit]
    gradient = jax.grad(f)(flat)
    assert np.abs(np.asarray(gradient)).max() > 0.05
    # truncation h² and rounding eps/h, each about 1e-10
    assert np.abs(np.asarray(gradient) - by_hand).max() < 1e-8
    assert np.allclose(jax.jacfwd(f)(flat), gradient, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("verb", ["forward_and_log_det", "inverse_and_log_det"])
@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_finite_at_zero_and_at_large_weights_in_single_precision(name, verb):
    zero = jax.tree.map(lambda a: a[0] * 0, layers(KINDS[name], 3, np.float32, 1))
    large = jax.tree.map(lambda a: a[0], layers(KINDS[name], 3, np.float32, 1, 200.0))
    for made in (zero, large):
        for x in (jnp.zeros(3), jnp.full(3, 1e4), getattr(made, "centre", jnp.ones(3))):

            def total(layer, x=x):
                value, log_det = getattr(layer, verb)(x)
                return jnp.sum(value) + log_det

            gradients = jax.tree.leaves(eqx.filter_grad(total)(made))
            assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", KINDS)
def test_bad_sizes_and_contexts_are_refused(name):
    with pytest.raises(InputError, match="dim"):
        KINDS[name](jax.random.key(0), 0)
    plain, conditional = (KINDS[name](jax.random.key(0), 2, context_dim=d) for d in (0, 3))
    for made, context in ((plain, jnp.ones(1)), (conditional, None), (conditional, jnp.ones(2))):
        with pytest.raises(InputError, match="context of length"):
            made.forward_and_log_det(jnp.ones(2), context)


@pytest.mark.parametrize("rank", [0, 3])
def test_a_rank_out_of_range_is_refused(rank):
    with pytest.raises(InputError, match="rank"):
        Sylvester(jax.random.key(0), 2, rank=rank)
