r"""The Sylvester flow: M bends at once, in M orthonormal directions, with an exact inverse.

    x = z + Q R tanh(R̃ Qᵀz + b),     log |det ∂x/∂z| = Σ_i log(1 + T_ii sech² y_i)

Q `(D, M)` has orthonormal columns, R and R̃ `(M, M)` are upper triangular, y = R̃ Qᵀz + b and
T = R̃R, upper triangular too with T_ii = R̃_ii R_ii > −1. Projecting on the M directions leaves

    y + T tanh y = R̃ Qᵀx + b,

a triangular system: its last equation is the planar map's scalar equation, and each equation before
it becomes one as soon as those after it are solved. M scalar roots to machine precision give y, and
z = x − Q R tanh y.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.bijections.base import Bijection
from jensen.bijections.planar import added, bounded, context_net, log_slope, tanh, unbend
from jensen.nn.mlp import MLP


class Sylvester(Bijection):
    r"""The Sylvester map x = z + Q R tanh(R̃ Qᵀz + b).

    It starts as the identity, R = 0, with b = 0. Q is the first M columns of a product of M
    Householder reflections, which reaches every such Q up to signs. With a context, an `MLP` of it
    is added to R, R̃ and b.

    Args:
        key: randomness of the reflections and of R̃, and of the network.
        dim: D ≥ 1.
        rank: M, 1 ≤ M ≤ D; None for the smaller of D and 8.
        context_dim: length of the context; 0 for none.
        hidden: widths of the context's network.
        activation: name of its activation.

    Raises:
        InputError: for D < 1, or M out of range.

    Source: van den Berg et al. 2018 (arXiv:1803.05649), theorem 1 and sec. 3.2 (H-SNF). Deviations:
    M reflections; a diagonal of R that T_ii > −1 forbids is shortened as û is in the planar map,
    with its floor; the map is inverted for data, which the paper leaves out.

    Example:
        >>> layer = Sylvester(jax.random.key(0), 3)
        >>> layer.inverse_and_log_det(jnp.ones(3))[0].tolist()
        [1.0, 1.0, 1.0]
    """

    reflections: Array
    right: Array
    left: Array
    b: Array
    net: MLP | None

    def __init__(
        self,
        key: Key,
        dim: int,
        *,
        rank: int | None = None,
        context_dim: int = 0,
        hidden: tuple[int, ...] = (32,),
        activation: str = "relu",
    ) -> None:
        m = min(dim, 8) if rank is None else rank
        if not 1 <= m <= dim:
            raise InputError(
                f"a Sylvester map needs 1 ≤ rank ≤ dim, got rank={m}, dim={dim}",
                "Sylvester(dim, rank)",
            )
        turn, scale, network = jax.random.split(key, 3)
        self.reflections = jax.random.normal(turn, (m, dim))
        self.right = jnp.triu(jax.random.normal(scale, (m, m)))
        self.left = jnp.zeros((m, m))
        self.b = jnp.zeros(m)
        self.net = context_net(network, context_dim, 2 * m * m + m, hidden, activation)

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return z + Q R tanh y and Σ log(1 + T_ii sech² y_i), with y = R̃ Qᵀz + b."""
        q, left, right, b, slope = self._params(context)
        y = right @ (q.T @ z) + b
        return z + q @ (left @ tanh(y)), jnp.sum(log_slope(slope, y))

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return x − Q R tanh y and −Σ log(1 + T_ii sech² y_i), y from the last to the first."""
        q, left, right, b, slope = self._params(context)
        target, upper = right @ (q.T @ x) + b, jnp.triu(right @ left, 1)

        def solve(solved: Array, row: tuple[Array, ...]) -> tuple[Array, Array]:
            r, above, f, here = row
            y = unbend(f, r - above @ solved)
            return jnp.where(here, tanh(y), solved), y

        rows = (target, upper, slope, jnp.eye(len(target), dtype=bool))
        bends, y = jax.lax.scan(solve, jnp.zeros_like(target), rows, reverse=True)
        return x - q @ (left @ bends), -jnp.sum(log_slope(slope, y))

    def _params(self, context: Array | None) -> tuple[Array, Array, Array, Array, Array]:
        """Return Q, R, R̃, b and the slopes 1 + T_ii."""
        left, right, b = added(self.net, context, (self.left, self.right, self.b))
        k, slope = bounded(jnp.diag(left) * jnp.diag(right))
        left = jnp.triu(left, 1) + jnp.diag(k * jnp.diag(left))
        return _columns(self.reflections), left, jnp.triu(right), b, slope


def _columns(reflections: Array) -> Array:
    """Return the first M columns `(D, M)` of the product of the reflections along `(M, D)`."""
    m, dim = reflections.shape

    def reflect(columns: Array, v: Array) -> tuple[Array, None]:
        square = v @ v
        unit = v / jnp.sqrt(jnp.where(square > 0, square, 1))
        return columns - 2 * jnp.outer(unit, unit @ columns), None

    first = jnp.eye(dim, m, dtype=reflections.dtype)
    return jax.lax.scan(reflect, first, reflections)[0]
