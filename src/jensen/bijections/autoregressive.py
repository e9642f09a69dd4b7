r"""The masked autoregressive bijection: each dimension transformed given the ones before it.

    z_d = T(x_d; θ_d(x_1, …, x_{d-1}; c)),      log |det ∂z/∂x| = Σ_d log ∂z_d/∂x_d

x → z is one pass. z → x finds one dimension after the other; `MaskedMLP.recursion` computes
every hidden unit once, when its inputs are complete, so that the whole recursion multiplies as
much as one pass and is exact: no fixed-point iteration, no tolerance.

Source: Papamakarios et al. 2017 (arXiv:1705.07057), eqs. 3–5; with splines Durkan et al. 2019.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen._typing import Array, Key
from jensen.bijections.base import Bijection
from jensen.bijections.elementwise import Transformer
from jensen.nn.masked import MaskedMLP


class MaskedAutoregressive(Bijection):
    """A masked network with a transformer; fast from data to latent.

    `Inverse(MaskedAutoregressive(...))` is the inverse autoregressive bijection: fast to sample.

    Args:
        key: randomness of the network's initial weights.
        dim: D.
        transformer: the scalar map T.
        hidden: widths of the network.
        context_dim: length of the context; 0 for none.
        activation: name of the network's activation.
        residual: add each hidden layer after the first to its input.

    Example:
        >>> from jensen.bijections import AffineTransformer
        >>> layer = MaskedAutoregressive(jax.random.key(0), 3, AffineTransformer(), (8,))
        >>> layer.forward_and_log_det(jnp.ones(3))[0].tolist()
        [1.0, 1.0, 1.0]
    """

    net: MaskedMLP
    transformer: Transformer

    def __init__(
        self,
        key: Key,
        dim: int,
        transformer: Transformer,
        hidden: tuple[int, ...],
        *,
        context_dim: int = 0,
        activation: str = "relu",
        residual: bool = False,
    ) -> None:
        self.transformer = transformer
        self.net = MaskedMLP(
            key,
            dim,
            transformer.n_params,
            hidden,
            context_dim=context_dim,
            activation=activation,
            residual=residual,
        )

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return x, found dimension by dimension, and Σ log ∂x_d/∂z_d."""

        parameters = self.net.recursion(context)

        def step(carry: tuple, d: Array) -> tuple[tuple, None]:
            state, params = parameters(carry[0], d)
            x_d, log_slope = self.transformer.invert(params, z[d])
            x = jax.lax.dynamic_update_index_in_dim(state[0], x_d, d, 0)
            return ((x, *state[1:]), carry[1] + log_slope), None

        start = (self.net.initial_state(jnp.zeros_like(z)), jnp.zeros((), z.dtype))
        (state, total), _ = jax.lax.scan(step, start, jnp.arange(z.shape[0]))
        return state[0], total

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return z in one pass, and Σ log ∂z_d/∂x_d."""
        z, log_slope = self.transformer.apply(self.net(x, context), x)
        return z, jnp.sum(log_slope)
