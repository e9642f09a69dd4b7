r"""Whole numbers by a density of real ones, with noise that is learned.

    P(x) = ∫_cell p(x + u) du = E_{q(u | x)}[p(x + u) / q(u | x)],       u ∈ (-½, ½)^D

Uniform noise is q = 1. Its one draw bounds log P(x) from below by E log p(x + u), and the bound is
loose where p changes within a cell. A q that is trained with p by the same bound,

    E_q[log p(x + u) - log q(u | x)] ≤ log P(x),

puts its noise where p is. Here q is a flow over Gaussian noise given x, and u = Φ(·) - ½: it starts
as the uniform one. More draws in the mean inside the logarithm tighten the bound either way.

Source: Ho et al. 2019 (arXiv:1902.00275), sec. 3.1, eq. 12; importance weights: Burda et al. 2016.
Deviation: Φ in place of a sigmoid, so that the start is uniform.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from jensen._typing import Array, Key
from jensen.models.flow import Flow

_EDGE = 1e-6  # a share of the cell that no noise comes nearer to its edge: Φ⁻¹ stays finite


class Dequantised(eqx.Module):
    """A density of grey levels: a flow of images, and a flow of the noise given the image.

    Args:
        flow: p, of dequantised images `(D,)`.
        noise: of a vector `(D,)` given the image as its context, whose Φ is the place in the cell.
        order: in which the pixels of the context come `(D,)`.
        levels: L, the grey levels, as an array.

    Example:
        >>> import jax
        >>> from jensen.models.flow import RealNVP
        >>> flow = RealNVP(jax.random.key(0), 2, n_layers=1, hidden=(4,))
        >>> noise = RealNVP(jax.random.key(1), 2, n_layers=2, hidden=(4,), context_dim=2)
        >>> model = Dequantised(flow, noise, (0, 1), jnp.array(4))
        >>> x, u = jnp.array([1.0, 0.0]), jnp.array([0.2, -0.1])
        >>> bool(jnp.allclose(model.log_weight(x, u), flow.log_prob(x + u), atol=1e-4))
        True
    """

    flow: Flow
    noise: Flow
    order: tuple[int, ...] = eqx.field(static=True)
    levels: Array

    @property
    def categories(self) -> None:
        """None: pixels are numbers."""
        return

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """Return log p(x) in nats, a scalar, for one dequantised image `(D,)`."""
        return self.flow.log_prob(x, context)

    def sample(self, key: Key) -> Array:
        """Return one dequantised image `(D,)`."""
        return self.flow.sample(key)

    def log_weight(self, x: Array, shift: Array) -> Array:
        """Return log p(x + u) - log q(u | x) in nats, a scalar.

        Its exp has the mean P(x) where `shift` is uniform.

        Args:
            x: grey levels `(D,)`.
            shift: in (-½, ½), `(D,)`: what u is where q is uniform.
        """
        context = x[np.array(self.order)] / self.levels - 0.5
        z = ndtri(jnp.clip(shift + 0.5, _EDGE, 1.0 - _EDGE))
        y, log_det = self.noise.bijection.forward_and_log_det(z, context)
        log_q = jnp.sum(0.5 * (y**2 - z**2)) - log_det
        return self.flow.log_prob(x + ndtr(y) - 0.5) - log_q
