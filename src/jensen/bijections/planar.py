r"""The planar flow: a bend along one direction, with an exact inverse.

    x = z + û tanh(wᵀz + b),      log |det ∂x/∂z| = log(1 + c sech² y),   y = wᵀz + b,  c = wᵀû

It is invertible for c > −1. Projecting on w leaves one scalar equation for y,

    y + c tanh y = r,      r = wᵀx + b,      then      z = x − û tanh y,

whose left side increases strictly, with slope between F = 1 + c and 1. Its root is found to machine
precision (`jensen.bijections.root`): the density of data is exact, forward KL and reverse KL both
train the layer.

**Bracket.** |tanh y| ≤ 1 gives |y − r| ≤ |c|, and y and r have one sign. As tanh is concave on the
half-line, |r|/F bounds |y| from below for c > 0 and from above for c < 0, as |r| − c does; the
better of the two is an end from which Newton's method approaches the root monotonically, and r is
the other end.

**No cancellation.** With F computed as a sum of positive terms, the slope is written
tanh² y + F sech² y, and far from zero the equation as (y − (r ∓ c)) ∓ 2c e^{−2|y|}/(1 + e^{−2|y|}).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.bijections.base import Bijection
from jensen.bijections.root import increasing_root
from jensen.nn.mlp import MLP, check_context

FLOOR = 0.05
"""δ, the smallest slope of a bend: one layer contracts by at most 1/δ = 20, or 3 nats."""


def bounded(a: Array) -> tuple[Array, Array]:
    r"""Return the factor k and the slope F = 1 + k a > δ that a free product a is given.

        k = 1 / (1 + max(0, −a)/(1 − δ)),      F = 1 + k a

    k a runs over (−1 + δ, ∞) once as a runs over the numbers; k = 1 for a ≥ 0. For a < 0 the slope
    is (1 + δ' |a|) / (1 + |a|/(1 − δ)) with δ' = δ/(1 − δ): positive whatever the rounding.

    Example:
        >>> k, slope = bounded(jnp.array([-1e6, 0.0, 3.0]))
        >>> [round(v, 4) for v in slope.tolist()]
        [0.05, 1.0, 4.0]
    """
    below = jnp.maximum(-a, 0) / (1 - FLOOR)
    k = 1 / (1 + below)
    return k, (1 + FLOOR * below) * k + jnp.maximum(a, 0)


def squared_sech(y: Array) -> Array:
    """Return sech² y, accurate relative to itself."""
    e = jnp.exp(-2 * jnp.abs(y))
    return 4 * e / (1 + e) ** 2


@jax.custom_jvp
def tanh(y: Array) -> Array:
    """Return tanh y; its derivative is sech² y to relative rounding, where 1 − tanh² y cancels."""
    return jnp.tanh(y)


tanh.defjvps(lambda change, _, y: change * squared_sech(y))


def log_slope(slope: Array, y: Array) -> Array:
    """Return log(1 + (F − 1) sech² y) in nats, for F = `slope` > 0."""
    return jnp.log(jnp.tanh(y) ** 2 + slope * squared_sech(y))


def unbend(slope: Array, r: Array) -> Array:
    """Return the y with y + (F − 1) tanh y = r, for scalars F = `slope` > 0 and r.

    Example:
        >>> y = unbend(jnp.array(0.1), jnp.array(2.0))
        >>> round(float(y - 0.9 * jnp.tanh(y)), 5)
        2.0
    """
    c = slope - 1
    ends = jnp.abs(r) - c, jnp.abs(r) / slope
    start = jnp.sign(r) * jnp.where(c > 0, jnp.maximum(*ends), jnp.minimum(*ends))
    return increasing_root(_residual, (c, r), start, r)


def _residual(params: tuple[Array, Array], y: Array) -> Array:
    c, r = params
    e = jnp.exp(-2 * jnp.abs(y))
    end = jnp.where(y < 0, -c, c)
    return jnp.where(
        jnp.abs(y) < 1, (y - r) + c * jnp.tanh(y), (y - (r - end)) - end * (2 * e / (1 + e))
    )


class Planar(Bijection):
    r"""The planar map x = z + û tanh(wᵀz + b).

    It starts as the identity, u = 0, with a random direction w and b = 0: the bend is where a
    standardised table has its mean. With a context, an `MLP` of it is added to (w, u, b).

    Args:
        key: randomness of the direction w, and of the network.
        dim: D ≥ 1.
        context_dim: length of the context; 0 for none.
        hidden: widths of the context's network.
        activation: name of its activation.

    Raises:
        InputError: for D < 1.

    Source: Rezende & Mohamed 2015 (arXiv:1505.05770), eqs. 10–12 and appendix A.1. Deviations: û is
    u shortened, k u, and not u moved along w: it allows the same û, needs no division by ‖w‖² and
    is u itself wherever u is allowed with wᵀu ≥ 0; the slope has the floor δ = 0.05; the map is
    inverted for data, which the paper leaves out.

    Example:
        >>> layer = Planar(jax.random.key(0), 2)
        >>> layer.inverse_and_log_det(jnp.ones(2))[0].tolist()
        [1.0, 1.0]
    """

    w: Array
    u: Array
    b: Array
    net: MLP | None

    def __init__(
        self,
        key: Key,
        dim: int,
        *,
        context_dim: int = 0,
        hidden: tuple[int, ...] = (32,),
        activation: str = "relu",
    ) -> None:
        if dim < 1:
            raise InputError(f"a planar map needs dim ≥ 1, got {dim}", "Planar(dim)")
        direction, network = jax.random.split(key)
        self.w = jax.random.normal(direction, (dim,))
        self.u = jnp.zeros(dim)
        self.b = jnp.zeros(())
        self.net = context_net(network, context_dim, 2 * dim + 1, hidden, activation)

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return z + û tanh y and log(1 + c sech² y), with y = wᵀz + b."""
        w, u, b, slope = self._params(context)
        y = w @ z + b
        return z + u * tanh(y), log_slope(slope, y)

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return x − û tanh y and −log(1 + c sech² y), where y + c tanh y = wᵀx + b."""
        w, u, b, slope = self._params(context)
        y = unbend(slope, w @ x + b)
        return x - u * tanh(y), -log_slope(slope, y)

    def _params(self, context: Array | None) -> tuple[Array, Array, Array, Array]:
        """Return w, û, b and F."""
        w, u, b = added(self.net, context, (self.w, self.u, self.b))
        k, slope = bounded(w @ u)
        return w, k * u, b, slope


def context_net(
    key: Key, context_dim: int, n_out: int, hidden: tuple[int, ...], activation: str
) -> MLP | None:
    """Return a network from the context to the parameters, zero at first, or None without one."""
    return MLP(key, context_dim, n_out, hidden, activation) if context_dim else None


def added(net: MLP | None, context: Array | None, params: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return the parameters with the network's output at the context added.

    Raises:
        InputError: if the context is missing, of another length, or not expected.
    """
    check_context(0 if net is None else net.weights[0].shape[1], context)
    if net is None or context is None:
        return params
    out, moved, start = net(context), [], 0
    for param in params:
        moved.append(param + out[start : start + param.size].reshape(param.shape))
        start += param.size
    return tuple(moved)
