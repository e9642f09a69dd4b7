r"""A mixture of Gaussians over the numbers of a row, each with level frequencies of its own.

    p(v, c) = Σ_k π_k N(v; μ_k, Σ_k) Π_j f_kj(c_j)

One part is the Gaussian that every table gets for nothing: independent frequencies beside it.

Source: McLachlan & Peel 2000; the product over categories is that of latent class analysis.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._typing import Array, Key


class MixtureRows(eqx.Module):
    """A mixture of K parts for rows y `(D + k,)`: numbers, then codes.

    Args:
        log_weights: log π_k `(K,)`.
        means: μ_k `(K, D)`.
        whiten: `(K, D, D)` lower triangular W_k with W_kᵀW_k = Σ_k⁻¹.
        log_levels: for each categorical column, log f_kj `(K, L_j)`.

    Example:
        >>> model = MixtureRows(jnp.zeros(1), jnp.zeros((1, 2)), jnp.eye(2)[None], ())
        >>> round(float(model.log_prob(jnp.zeros(2))), 4)
        -1.8379
    """

    log_weights: Array
    means: Array
    whiten: Array
    log_levels: tuple[Array, ...]

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """Return log p(v, c) in nats, a scalar, for one row `(D + k,)`."""
        d = self.means.shape[1]
        z = jnp.einsum("kij,kj->ki", self.whiten, x[:d] - self.means)  # (K, D)
        volume = jnp.sum(jnp.log(jnp.diagonal(self.whiten, axis1=1, axis2=2)), axis=1)
        each = self.log_weights + volume - 0.5 * jnp.sum(z**2, axis=1)
        for j, table in enumerate(self.log_levels):
            each = each + table[:, x[d + j].astype(int)]
        return jax.nn.logsumexp(each) - 0.5 * d * jnp.log(2.0 * jnp.pi)

    def sample(self, key: Key) -> Array:
        """Return one row `(D + k,)`: a part, then its numbers and its codes."""
        d = self.means.shape[1]
        keys = jax.random.split(key, 2 + len(self.log_levels))
        k = jax.random.categorical(keys[0], self.log_weights)
        z = jax.random.normal(keys[1], (d,))
        numbers = self.means[k] + jax.scipy.linalg.solve_triangular(self.whiten[k], z, lower=True)
        codes = [
            jax.random.categorical(at, table[k])
            for at, table in zip(keys[2:], self.log_levels, strict=True)
        ]
        return jnp.concatenate([numbers, jnp.array(codes, numbers.dtype)])
