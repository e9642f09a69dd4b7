r"""What a latent-variable model says of cells that are missing, and of a row's latent vector.

    E[f(x_missing) | x_seen] = ∫ E[f(x_missing) | z] p(z | x_seen) dz
                             ≈ Σ_k w̄_k E[f(x_missing) | z_k],    z_k ~ q(· | x_seen)

with w̄ the self-normalised importance weights: cells are independent given z, so what is known of
the missing ones is in z alone.

Source: Mattei & Frellsen 2019 (arXiv:1812.02633), sec. 2.3.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array, Key
from jensen.evaluation.evidence import checked, row_blocks, row_keys, rows_at_once
from jensen.models.latent import Latent

MOST_ROWS = 64
"""Rows at once: the means of all their particles are held together."""


def expectations(model: Latent, rows: np.ndarray, n_particles: int, seed: int = 0) -> np.ndarray:
    """Return E[x | seen cells] `(n, F)` for every cell: means of numbers, then of one-hot levels.

    Args:
        model: the latent-variable model.
        rows: `(n, D + k)` in the model's units; NaN where a cell is missing.
        n_particles: K.
        seed: of the noise; a row's noise is a function of the seed and the row.
    """
    return _weighted(model, rows, n_particles, seed, of_cells=True)


def posterior_means(model: Latent, rows: np.ndarray, n_particles: int, seed: int = 0) -> np.ndarray:
    """Return E[z | x] `(n, L)`, by self-normalised importance sampling from q.

    Args:
        model: the latent-variable model.
        rows: `(n, D + k)` in the model's units; NaN where a cell is missing.
        n_particles: K.
        seed: of the noise.
    """
    return _weighted(model, rows, n_particles, seed, of_cells=False)


def _weighted(
    model: Latent, rows: np.ndarray, n_particles: int, seed: int, *, of_cells: bool
) -> np.ndarray:
    rows = checked(rows, n_particles=n_particles)
    size = min(rows_at_once(model, rows.shape[1]), MOST_ROWS)
    parts = [
        np.asarray(_block(model, row_keys(block, seed), jnp.asarray(block), n_particles, of_cells))[
            :n
        ]
        for block, n in row_blocks(rows, size)
    ]
    return np.concatenate(parts).astype(np.float64)


@eqx.filter_jit
def _block(model: Latent, keys: Key, rows: Array, n_particles: int, of_cells: bool) -> Array:
    """Return Σ_k w̄_k E[x | z_k] `(R, F)`, or Σ_k w̄_k z_k `(R, L)`, of rows `(R, D + k)`."""
    prior = model.prior.distribution(model.posterior)

    def one(key: Key, x: Array) -> Array:
        z, log_q = model.posterior(x).sample_and_log_prob(key, n_particles)
        log_joint = jax.vmap(lambda zk: model.likelihood.log_prob(x, zk) + prior.log_prob(zk))(z)
        weights = jax.nn.softmax(log_joint - log_q)
        return weights @ (jax.vmap(model.likelihood.means)(z) if of_cells else z)

    return jax.vmap(one)(keys, rows)
