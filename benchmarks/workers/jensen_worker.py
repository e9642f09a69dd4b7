"""Jensen: `MAF` and `SplineAutoregressive`, trained by the engine's own compiled steps.

The engine is told what the peers do: plain Adam, without warm-up, clipping or moving average. Its
shuffling of the rows is part of the measured step.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from serve import BATCH, BINS, HIDDEN, LEARNING_RATE, N_LAYERS, TAIL_BOUND, serve

from jensen.engine import state as engine
from jensen.engine.config import Optimisation
from jensen.engine.vectors import packed
from jensen.models.flow import MAF, Flow, SplineAutoregressive
from jensen.models.table import block_rows
from jensen.objectives.likelihood import Mean, NegativeLogProb

_OPTIMISATION = Optimisation(
    batch_size=BATCH, learning_rate=LEARNING_RATE, clip=None, warmup=0, ema=0.0
)
_objective = Mean(NegativeLogProb())
_log_prob = eqx.filter_jit(lambda flow, x: jax.vmap(flow.log_prob)(x))
_sample = eqx.filter_jit(lambda flow, key, n: flow.sample(key, (n,)))


def _init(family: str, dim: int, key: jax.Array) -> tuple[Flow]:
    """Return the one player of the game: a flow of a family, "affine" or "spline"."""
    if family == "affine":
        return (MAF(key, dim, n_layers=N_LAYERS, hidden=HIDDEN),)
    return (
        SplineAutoregressive(
            key, dim, n_layers=N_LAYERS, hidden=HIDDEN, bins=BINS, bound=TAIL_BOUND
        ),
    )


class JensenFlow:
    """A run of the engine with one member: the flow of a family on its data."""

    def __init__(self, family: str, data: np.ndarray) -> None:
        self._data = jnp.asarray(data)
        self._keys = engine.member_keys(0, 1)
        players = engine.initial_players(lambda key: _init(family, data.shape[1], key), self._keys)
        vectors, self._whole = packed(players)
        self._members = engine.initial_members(vectors, _OPTIMISATION)
        self._step, self._key = 0, jax.random.key(1)

    def train(self, n_steps: int) -> None:
        """Take `n_steps` Adam steps, in one call of the engine's compiled program."""
        start, stop = jnp.asarray(self._step), jnp.asarray(self._step + n_steps)
        self._members = engine.advance(
            (self._data, self._keys, start, stop, self._whole, _objective, _OPTIMISATION),
            self._members,
        )
        self._step += n_steps
        jax.block_until_ready(self._members)

    def _flow(self) -> Flow:
        flow = self._whole.stacked(self._members.weights.players)[0]
        return jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, flow)

    def log_prob(self, n_rows: int) -> np.ndarray:
        """Return log_prob of the first rows, in blocks as the library scores tables."""
        flow, rows = self._flow(), self._data[:n_rows]
        size = block_rows(flow)
        if n_rows <= size:
            return np.asarray(_log_prob(flow, rows))
        blocks = [_log_prob(flow, rows[i : i + size]) for i in range(0, n_rows, size)]
        return np.concatenate([np.asarray(block) for block in blocks])

    def sample(self, n_rows: int) -> np.ndarray:
        """Return samples, from one compiled program."""
        self._key, key = jax.random.split(self._key)
        return np.asarray(_sample(self._flow(), key, n_rows))


if __name__ == "__main__":
    serve(JensenFlow, ("jensen", "jax", "jaxlib", "equinox", "optax", "numpy"))
