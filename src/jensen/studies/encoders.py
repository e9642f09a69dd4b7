r"""Affine encoders that see some columns, trained for a model that is given.

The player is the posterior alone: max over φ of E_q[log p(x, z) - log q_φ(z | x)], p held fixed.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array, Key
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.models.latent import Latent
from jensen.models.posteriors import DiagonalPosterior, Posterior
from jensen.nn.mlp import MLP
from jensen.objectives.bounds import ELBO
from jensen.objectives.gradients import Estimator, StickingTheLanding, lower_bound, stopped
from jensen.objectives.likelihood import Mean
from jensen.studies.autoencoders import Linear, affine


class SeenOnly(eqx.Module):
    """An affine encoder that sees some columns.

    Args:
        net: from what it sees to means and log-variances.
        seen: the columns.
    """

    net: MLP
    seen: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        """Return `(2L,)` for one x `(D,)`."""
        return self.net(x[jnp.asarray(self.seen)])


class EncoderLoss(eqx.Module):
    """-ELBO of each row, the model's prior and likelihood given: the player is the posterior."""

    model: Latent
    estimator: Estimator

    def __call__(self, players: tuple[Posterior], rows: Array, key: Key) -> Array:
        """Return `(B,)` for rows `(B, D)`, nats."""
        held = Latent(stopped(self.model.prior), stopped(self.model.likelihood), players[0])
        keys = jax.random.split(key, len(rows))
        return -jax.vmap(lambda x, k: lower_bound(held, x, k, ELBO(4), self.estimator))(rows, keys)


def trained_encoder(known: Linear, rows: np.ndarray, seen: tuple[int, ...], seed: int) -> MLP:
    """Return an affine encoder of the columns `seen`, trained on rows `(n, D)`."""
    L = known.W.shape[1]
    net = affine(np.zeros((2 * L, len(seen)), np.float32), np.zeros(2 * L, np.float32))
    start = DiagonalPosterior(SeenOnly(net, seen))
    loss = EncoderLoss(known.model(start), StickingTheLanding())
    game = Game(lambda key: (start,), Mean(loss), loss)
    method = Optimisation(batch_size=200, learning_rate=0.01, clip=None, warmup=0, ema=0.998)
    training = Training(100, method, evaluate_every=10_000)
    result = train(game, rows.astype(np.float32), None, training, seed=seed)
    return jax.tree.map(lambda a: np.asarray(a[0], float), result.players[0].encoder.net)
