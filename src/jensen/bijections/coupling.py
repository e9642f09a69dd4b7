r"""Coupling: one half of the dimensions transforms the other.

    x_A = z_A,    x_B = T⁻¹(z_B; net(x_A, c))

Both directions cost one pass. Source: Dinh et al. 2017 (arXiv:1605.08803), eqs. 4–8.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.bijections.base import Bijection
from jensen.bijections.elementwise import Transformer
from jensen.nn.mlp import check_context

Network = Callable[[Key, int, int], Callable[[Array], Array]]
"""`network(key, n_in, n_out)`: a network of this input and output, which starts at zero."""


class Coupling(Bijection):
    """The first `split` dimensions pass and set the parameters of the others.

    Args:
        key: randomness of the network's initial weights.
        dim: D ≥ 2.
        transformer: the scalar map T.
        network: makes the network, such as `partial(MLP, hidden=(64, 64))`.
        context_dim: length of the context; 0 for none.

    Raises:
        InputError: for D = 1, where there is nothing to couple.

    Example:
        >>> import jax
        >>> from functools import partial
        >>> from jensen.bijections import AffineTransformer
        >>> from jensen.nn.mlp import MLP
        >>> network = partial(MLP, hidden=(8,))
        >>> layer = Coupling(jax.random.key(0), 3, AffineTransformer(), network)
        >>> layer.forward_and_log_det(jnp.ones(3))[0].tolist()
        [1.0, 1.0, 1.0]
    """

    net: Callable[[Array], Array]
    transformer: Transformer
    split: int = eqx.field(static=True)
    context_dim: int = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        dim: int,
        transformer: Transformer,
        network: Network,
        *,
        context_dim: int = 0,
    ) -> None:
        if dim < 2:
            raise InputError(
                "a coupling needs at least two dimensions",
                f"dim={dim}",
                "use MaskedAutoregressive, which is also defined for one",
            )
        self.split, self.context_dim = dim // 2, context_dim
        self.transformer = transformer
        n_out = (dim - self.split) * transformer.n_params
        self.net = network(key, self.split + context_dim, n_out)

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return (z_A, T⁻¹(z_B)) and Σ log dx_B/dz_B."""
        x, log_slope = self.transformer.invert(self._params(z, context), z[self.split :])
        return jnp.concatenate([z[: self.split], x]), jnp.sum(log_slope)

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return (x_A, T(x_B)) and Σ log dz_B/dx_B."""
        z, log_slope = self.transformer.apply(self._params(x, context), x[self.split :])
        return jnp.concatenate([x[: self.split], z]), jnp.sum(log_slope)

    def _params(self, value: Array, context: Array | None) -> Array:
        seen = value[: self.split]
        check_context(self.context_dim, context)
        inputs = seen if context is None else jnp.concatenate([seen, context])
        return self.net(inputs).reshape(value.shape[0] - self.split, -1)
