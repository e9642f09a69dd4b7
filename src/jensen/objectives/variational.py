r"""Training a latent-variable model: -1/B Σ_i V(x_i), a game with one player.

Grey images under a Bernoulli likelihood are intensities r ∈ [0, 1]; with dynamic binarisation every
step sees fresh x ~ Bernoulli(r) (Salakhutdinov & Murray 2008), training and validation alike.
"""

from __future__ import annotations

import equinox as eqx
import jax

from jensen._typing import Array, Key
from jensen.models.latent import Latent
from jensen.objectives.bounds import Bound
from jensen.objectives.gradients import Estimator, lower_bound

_PARTICLES_AT_ONCE = 20_000  # of a validation block: bounded memory


class NegativeBound(eqx.Module):
    """The per-example loss -V(x), nats, of the one player (a `Latent`).

    Args:
        bound: V.
        estimator: of its gradient.
        dynamic: draw x ~ Bernoulli(r) at every call, for rows r in [0, 1].

    Raises:
        InputError: if the estimator is not for this bound.
    """

    bound: Bound
    estimator: Estimator
    dynamic: bool = eqx.field(static=True, default=False)

    def __post_init__(self) -> None:
        self.estimator.check(self.bound)

    def __call__(self, players: tuple[Latent, ...], batch: Array, key: Key) -> Array:
        """Return -V(x) `(B,)` for rows `(B, D)`."""
        if self.dynamic:
            for_data, key = jax.random.split(key)
            batch = binarised(for_data, batch)
        keys = jax.random.split(key, batch.shape[0])
        return -jax.vmap(lambda x, k: lower_bound(players[0], x, k, self.bound, self.estimator))(
            batch, keys
        )


class HeldOutBound(eqx.Module):
    """The same for held-out rows, in blocks of bounded memory.

    Args:
        loss: the loss that is trained.
    """

    loss: NegativeBound

    def __call__(self, players: tuple[Latent, ...], rows: Array, key: Key) -> Array:
        """Return -V(x) `(n,)` for rows `(n, D)`."""
        n_draws = self.loss.bound.n_samples * self.loss.bound.n_particles
        keys = jax.random.split(key, rows.shape[0])
        return jax.lax.map(
            lambda row: self.loss(players, row[0][None], row[1])[0],
            (rows, keys),
            batch_size=max(_PARTICLES_AT_ONCE // n_draws, 1),
        )


def binarised(key: Key, intensities: Array) -> Array:
    """Return x ~ Bernoulli(r) for intensities r in [0, 1], missing ones staying missing.

    Example:
        >>> import jax.numpy as jnp
        >>> binarised(jax.random.key(0), jnp.array([0.0, 1.0])).tolist()
        [0.0, 1.0]
    """
    draw = jax.random.uniform(key, intensities.shape, intensities.dtype)
    return jax.numpy.where(
        jax.numpy.isnan(intensities), intensities, (draw < intensities).astype(intensities.dtype)
    )
