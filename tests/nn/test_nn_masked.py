"""The masked network: its structure, and a recursion that is exact at the price of one pass."""

from __future__ import annotations

from functools import cache
from itertools import pairwise, product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import key, randomise
from jensen.bijections import AffineTransformer, MaskedAutoregressive, SplineTransformer
from jensen.nn.masked import MaskedMLP, hidden_degrees
from jensen.nn.mlp import thinned

DIMS = (1, 2, 3, 8, 43)
HIDDEN = ((16, 16), (5,), (64, 64), (5, 5, 5))


def run_recursion(net: MaskedMLP, x: jax.Array, c: jax.Array | None) -> jax.Array:
    """Return the parameters `(D, P)`, each row asked for when only x_1 … x_{d-1} are known."""
    step = net.recursion(c)

    def one(state: tuple, d: jax.Array) -> tuple[tuple, jax.Array]:
        state, params = step(state, d)
        known = jax.lax.dynamic_update_index_in_dim(state[0], x[d], d, 0)
        return (known, *state[1:]), params

    # what is not known yet stands at zero, as in sampling
    return jax.lax.scan(one, net.initial_state(jnp.zeros_like(x)), jnp.arange(net.dim))[1]


@eqx.filter_jit
def both(net: MaskedMLP, x: jax.Array, c: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    return run_recursion(net, x, c), net(x, c)


@pytest.mark.parametrize(("dim", "hidden"), list(product(DIMS, HIDDEN)))
def test_the_recursion_equals_the_network(dim, hidden):
    rng = np.random.default_rng(dim)
    for residual, n_context in product((False, True), (0, 2)):
        with jax.enable_x64(True):
            net = MaskedMLP(key(), dim, 3, hidden, context_dim=n_context, residual=residual)
            net = randomise(net, 1.0, seed=dim, dtype=np.float64)
            c = jnp.asarray(rng.standard_normal(n_context)) if n_context else None
            one, other = both(net, jnp.asarray(rng.standard_normal(dim)), c)
            assert one.shape == (dim, 3)
            scale = 1 + np.abs(np.asarray(other)).max()
            assert np.abs(np.asarray(one - other)).max() < 1e-12 * scale


@pytest.mark.parametrize("residual", [False, True])
def test_the_recursion_of_a_thinned_network_equals_the_network(residual):
    net = thinned(key(), randomise(MaskedMLP(key(), 8, 3, (16, 16), residual=residual), 1.0), 0.3)
    one, other = both(net, jnp.linspace(-1.0, 1.0, 8), None)
    scale = 1 + np.abs(np.asarray(other)).max()
    assert np.abs(np.asarray(one - other)).max() < 1e-5 * scale


@cache
def jacobians(dim: int, hidden: tuple[int, ...], residual: bool, n_context: int, kind: str) -> Any:
    transformer = AffineTransformer() if kind == "affine" else SplineTransformer(4, 4.0)
    layer = MaskedAutoregressive(
        key(), dim, transformer, hidden, context_dim=n_context, residual=residual,
        activation="tanh",
    )  # fmt: skip
    with jax.enable_x64(True):
        layer = randomise(layer, 0.7, dtype=np.float64)
        c = jnp.full(n_context, 0.3) if n_context else None
        x = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, dim))

        @eqx.filter_jit
        def run(layer: Any, x: Any) -> Any:
            def inverse(x: Any) -> Any:
                return layer.inverse_and_log_det(x, c)[0]

            def forward(z: Any) -> Any:
                return layer.forward_and_log_det(z, c)[0]

            z = inverse(x)
            return jax.jacfwd(inverse)(x), jax.jacfwd(forward)(z)

        return [np.asarray(j) for j in run(layer, x)]


STRUCTURES = [
    (2, (5,), False, 0, "affine"),
    (5, (16, 16), False, 0, "affine"),
    (5, (16, 16), True, 2, "spline"),
    (8, (7, 7), False, 0, "spline"),
    (8, (5,), False, 0, "affine"),
    (1, (5,), False, 2, "affine"),
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_the_jacobian_is_lower_triangular_with_an_exactly_zero_upper_part(structure):
    for jacobian in jacobians(*structure):
        assert (jacobian[np.triu_indices(structure[0], 1)] == 0).all()
        assert (np.diag(jacobian) > 0).all()


@pytest.mark.parametrize("structure", [s for s in STRUCTURES if min(s[1]) >= s[0] - 1], ids=str)
def test_every_dimension_depends_on_all_earlier_ones(structure):
    for jacobian in jacobians(*structure):
        assert (np.abs(jacobian[np.tril_indices(structure[0], -1)]) > 1e-9).all()


@pytest.mark.parametrize("n_context", [0, 1])
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("width", [1, 5, 16, 64])
def test_degrees_are_sorted_spread_and_in_range(dim, width, n_context):
    degrees = hidden_degrees(width, dim, n_context > 0)
    low = 0 if n_context or dim == 1 else 1
    assert (np.diff(degrees) >= 0).all()
    assert degrees.min() == low
    assert degrees.max() <= max(dim - 1, low)
    levels = np.bincount(degrees, minlength=low + 1)[low:]
    if width >= max(dim - low, 1):
        assert len(levels) == max(dim - low, 1)
        assert levels.max() - levels.min() <= 1


def multiply_adds(jaxpr: Any, times: int = 1) -> int:
    """Count the multiply-adds of every product in a jaxpr, loops unrolled."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contract, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            inner = int(np.prod([shape[i] for i in contract]))
            total += times * inner * int(np.prod(equation.outvars[0].aval.shape))
        repeats = times * equation.params.get("length", 1)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += multiply_adds(inner, repeats)
    return total


@pytest.mark.parametrize("transformer", [AffineTransformer(), SplineTransformer()], ids=str)
@pytest.mark.parametrize(("dim", "hidden"), [(8, (128, 128)), (43, (128, 128)), (43, (64, 64))])
def test_sampling_multiplies_no_more_than_three_dense_passes(dim, hidden, transformer):
    layer = MaskedAutoregressive(key(), dim, transformer, hidden)
    sampling, density = (
        multiply_adds(jax.make_jaxpr(lambda v, verb=verb: verb(v))(jnp.zeros(dim)).jaxpr)
        for verb in (layer.forward_and_log_det, layer.inverse_and_log_det)
    )
    sizes = (dim, *hidden, dim * transformer.n_params)
    assert density == sum(a * b for a, b in pairwise(sizes))
    assert 0 < sampling <= 3 * density
