r"""One strictly increasing scalar equation, solved to the last bits, with implicit derivatives.

    f(θ, y) = 0,   ∂f/∂y > 0,   the root between two given points

Newton's step is taken where it stays inside the bracket and the last one halved |f|; elsewhere the
bracket is halved. Every iterate lies strictly inside the bracket and becomes one of its ends, so
the iteration cannot cycle, and it has no limit on its steps that could end it early. It ends where
f = 0, where f or Newton's step is below the rounding of y, or where no number lies between the
ends. With f convex or concave between the two points and the first of them on the side from which
Newton's method is monotone, no halving happens.

The derivative is that of the equation, not of the iteration:

    dy = −(∂f/∂y)⁻¹ (∂f/∂θ) dθ

a rule linear in dθ, which automatic differentiation transposes for reverse mode and differentiates
again for higher orders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jensen._typing import Array, PyTree

Residual = Callable[[PyTree, Array], Array]


class _State(NamedTuple):
    low: Array
    high: Array
    y: Array
    size: Array  # |f| one step before
    active: Array


def increasing_root(f: Residual, params: PyTree, start: Array, other: Array) -> Array:
    r"""Return the y between `start` and `other` with f(params, y) = 0.

    Args:
        f: a function of the module level (it must hold no traced values), strictly increasing in
            the scalar y, which enters with weight one, f = y + …, so that f is known to the
            rounding of y at best.
        params: θ, arrays that the root is differentiated by.
        start: where the iteration begins, a scalar.
        other: a scalar with f(start) f(other) ≤ 0. Neither point is differentiated by.

    Returns:
        y, a scalar; not a number where f is none.

    Source: Newton's method safeguarded by bisection (Press et al. 2007, Numerical Recipes, sec.
    9.4). Deviations: what ends it, and the implicit derivative.

    Example:
        >>> def cubic(r, y):
        ...     return y + y**3 - r
        >>> y = increasing_root(cubic, jnp.array(10.0), jnp.array(10.0), jnp.array(0.0))
        >>> round(float(y), 6)
        2.0
        >>> slope = jax.grad(lambda r: increasing_root(cubic, r, r, 0 * r))(jnp.array(10.0))
        >>> round(float(slope) * 13, 5)
        1.0
    """
    return _root(f, params, start, other)


def _implicit(f: Residual, params: PyTree, start: Array, other: Array) -> Array:
    eps = jnp.finfo(start.dtype).eps

    def step(state: _State) -> _State:
        value, slope = _value_and_slope(f, params, state.y)
        low = jnp.where(value <= 0, state.y, state.low)
        high = jnp.where(value >= 0, state.y, state.high)
        move = value / slope
        newton = state.y - move
        halved = jnp.abs(value) <= state.size / 2
        new = jnp.where((newton > low) & (newton < high) & halved, newton, low + (high - low) / 2)
        size = jnp.abs(state.y) * (2 * eps)
        close = (jnp.abs(value) <= size) | (jnp.abs(move) <= size)
        new = jnp.where(close, jnp.clip(newton, low, high), new)
        active = ~close & (new > low) & (new < high) & ~jnp.isnan(value)
        return _State(low, high, jnp.where(jnp.isnan(value), value, new), jnp.abs(value), active)

    first = _State(
        jnp.minimum(start, other),
        jnp.maximum(start, other),
        start,
        jnp.full_like(start, jnp.inf),
        jnp.ones_like(start, bool),
    )
    return jax.lax.while_loop(lambda state: state.active, step, first).y


_root = jax.custom_jvp(_implicit, nondiff_argnums=(0,))


@_root.defjvp
def _root_jvp(f: Residual, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    params, start, other = primals
    y = _root(f, params, start, other)
    _, slope = _value_and_slope(f, params, y)
    _, change = jax.jvp(lambda p: f(p, y), (params,), (tangents[0],))
    return y, -change / slope


def _value_and_slope(f: Residual, params: PyTree, y: Array) -> tuple[Array, Array]:
    return jax.jvp(lambda y: f(params, y), (y,), (jnp.ones_like(y),))
