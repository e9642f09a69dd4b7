r"""The radial flow: a contraction or expansion about a point, with an inverse in closed form.

    x = z + β h (z − z₀),      h = 1/(α + r),   r = ‖z − z₀‖,   α > 0,  F = 1 + β/α > 0

Radii go to R = ‖x − z₀‖ = r (r + αF)/(r + α), increasing for F > 0, and

    log |det ∂x/∂z| = (D − 1) log((r + αF)/(r + α)) + log((r² + 2αr + α²F)/(r + α)²).

The inverse solves r² + (αF − R) r − αR = 0, whose positive root is

    r = (q + √(q² + 4αR)) / 2  for q = R − αF ≥ 0,      2αR / (√(q² + 4αR) − q)  for q < 0,

then x − z₀ shrinks by s = (r + α)/(r + αF). Nothing in it cancels, and the point is written

    z = s x + (1 − s) z₀,      1 − s = β/(r + αF),

as is x in z, so that each term is rounded relative to its own share of the result.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.bijections.base import Bijection
from jensen.bijections.planar import added, bounded, context_net
from jensen.nn.mlp import MLP

_SMALLEST = 1e-3  # of α, the width of the region that is changed


class Radial(Bijection):
    r"""The radial map x = z + β (z − z₀)/(α + ‖z − z₀‖).

    It starts as the identity, β = 0, about a random point. With a context, an `MLP` of it is added
    to (z₀, α, β) before they are bounded.

    Args:
        key: randomness of the point z₀, and of the network.
        dim: D ≥ 1.
        context_dim: length of the context; 0 for none.
        hidden: widths of the context's network.
        activation: name of its activation.

    Raises:
        InputError: for D < 1.

    Source: Rezende & Mohamed 2015 (arXiv:1505.05770), eqs. 13–14 and appendix A.2. Deviations:
    β = α(F − 1) with the slope F = 1 + β/α bounded as that of the planar map (above δ = 0.05), so
    that β = 0 at the start; α > 0.001; the inverse in closed form.

    Example:
        >>> layer = Radial(jax.random.key(0), 2)
        >>> [round(v, 6) for v in layer.inverse_and_log_det(jnp.ones(2))[0].tolist()]
        [1.0, 1.0]
    """

    centre: Array
    raw_alpha: Array
    raw_beta: Array
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
            raise InputError(f"a radial map needs dim ≥ 1, got {dim}", "Radial(dim)")
        point, network = jax.random.split(key)
        self.centre = jax.random.normal(point, (dim,))
        self.raw_alpha = jnp.zeros(())
        self.raw_beta = jnp.zeros(())
        self.net = context_net(network, context_dim, dim + 2, hidden, activation)

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return z + β (z − z₀)/(r + α), and the logarithm above."""
        centre, alpha, slope = self._params(context)
        r = _norm(z - centre)
        stretch, rest = (r + alpha * slope) / (r + alpha), alpha * (1 - slope) / (r + alpha)
        return stretch * z + rest * centre, _log_det(r, alpha, slope, z.shape[0])

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return x − β (x − z₀)/(r + αF) for the radius r of z, and minus the logarithm."""
        centre, alpha, slope = self._params(context)
        r = _radius(_norm(x - centre), alpha, slope)
        end = r + alpha * slope
        shrink, rest = (r + alpha) / end, alpha * (slope - 1) / end
        return shrink * x + rest * centre, -_log_det(r, alpha, slope, x.shape[0])

    def _params(self, context: Array | None) -> tuple[Array, Array, Array]:
        """Return z₀, α and F."""
        own = self.centre, self.raw_alpha, self.raw_beta
        centre, raw_alpha, raw_beta = added(self.net, context, own)
        return centre, jax.nn.softplus(raw_alpha) + _SMALLEST, bounded(raw_beta)[1]


def _norm(v: Array) -> Array:
    """Return ‖v‖, with derivative 0 at v = 0."""
    square = v @ v
    away = square > 0
    return jnp.where(away, jnp.sqrt(jnp.where(away, square, 1)), 0)


def _radius(big: Array, alpha: Array, slope: Array) -> Array:
    """Return the r ≥ 0 with r (r + αF)/(r + α) = R."""
    q = big - alpha * slope
    root = jnp.sqrt(q**2 + 4 * alpha * big)
    return jnp.where(q >= 0, (q + root) / 2, 2 * alpha * big / (root + jnp.abs(q)))


def _log_det(r: Array, alpha: Array, slope: Array, dim: int) -> Array:
    """Return log |det ∂x/∂z| at radius r, in nats."""
    log_across = jnp.log(r + alpha * slope) - jnp.log(r + alpha)
    log_along = jnp.log(r * (r + 2 * alpha) + alpha**2 * slope) - 2 * jnp.log(r + alpha)
    return (dim - 1) * log_across + log_along
