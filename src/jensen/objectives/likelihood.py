r"""Maximum likelihood: the forward Kullback–Leibler divergence from the data.

    L(θ) = -1/B Σ_i log p_θ(x_i)   →   KL(p_data ‖ p_θ) + const

For columns known only to a resolution δ (integers: δ = 1) the data are dequantised:
x̃ = x + δ u, u ~ U(-½, ½) fresh at every step. Then E_u log p(x̃) is a lower bound of the log of the
average density over the cell, and p cannot fall into the trap of infinite density on a grid.

A *blurred* density is that of the data plus noise, x + b ε with ε ~ N(0, I) fresh at every step:
the density that a kernel estimator of bandwidth b estimates, with a network in place of the sum
over rows. It falls off with the distance to the data in every direction, also where they are thin.

*Dropout* is part of the loss too: each example is scored by a model of its own whose networks have
lost a share of their hidden units. Validation uses the loss without it.

Source: Theis et al. 2016 (arXiv:1511.01844), sec. 3.1; noise in training as smoothing: Rothfuss et
al. 2019 (arXiv:1907.08982).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._typing import Array, Key, PyTree
from jensen.models.dequantised import Dequantised
from jensen.nn.masked import MaskedMLP
from jensen.nn.mlp import MLP, thinned


class Density(Protocol):
    """A model with a log-density of one example."""

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """Return log p(x | c) in nats."""
        ...


def dequantise(key: Key, x: Array, step: Array) -> Array:
    """Return x + step · u with u ~ U(-½, ½) for each entry.

    Args:
        key: randomness.
        x: `(…, D)`.
        step: `(D,)`, the resolution of each column; 0 where it is continuous.
    """
    return x + step * (jax.random.uniform(key, x.shape, x.dtype) - 0.5)


def noisy(key: Key, x: Array, step: Array | None, blur: Array | None) -> Array:
    """Return x dequantised and blurred, x + step · u + blur · ε.

    Args:
        key: randomness of u and ε.
        x: `(…, D)`.
        step: `(D,)` resolution of the columns, or None where all are continuous.
        blur: `(D,)` b, standard deviation of the noise on each column, or None.
    """
    if step is not None:
        x = dequantise(key, x, step)
    if blur is not None:
        x = x + blur * jax.random.normal(jax.random.fold_in(key, 1), x.shape, x.dtype)
    return x


class NegativeLogProb(eqx.Module):
    """The per-example loss -log p(x), nats, of a one-player game.

    Args:
        step: `(D,)` resolution of the columns, or None where all are continuous.
        blur: `(D,)` b, standard deviation of the noise on each column, or None.
        dropout: share of the hidden units that each example loses, at random.

    Example:
        >>> from jensen.models.flow import MAF
        >>> flow = MAF(jax.random.key(0), 2, n_layers=1, hidden=(4,))
        >>> NegativeLogProb()((flow,), jnp.zeros((3, 2)), jax.random.key(1)).shape
        (3,)
    """

    step: Array | None = None
    blur: Array | None = None
    dropout: float = eqx.field(static=True, default=0.0)

    def __call__(
        self, players: tuple[Density, ...], batch: Array | tuple[Array, Array], key: Key
    ) -> Array:
        """Return -log p(x̃ | c) `(B,)` for rows x `(B, D)`, or rows and contexts `(B, C)`."""
        x, context = batch if isinstance(batch, tuple) else (batch, None)
        x = noisy(key, x, self.step, self.blur)
        axes = 0, None if context is None else 0
        if not self.dropout:
            return -jax.vmap(players[0].log_prob, in_axes=axes)(x, context)

        def one(key: Key, x: Array, context: Array | None) -> Array:
            return -with_dropout(key, players[0], self.dropout).log_prob(x, context)

        keys = jax.random.split(jax.random.fold_in(key, 2), x.shape[0])
        return jax.vmap(one, in_axes=(0, *axes))(keys, x, context)


def with_dropout(key: Key, model: PyTree, rate: float) -> PyTree:
    """Return a model each of whose networks has lost hidden units, see `jensen.nn.mlp.thinned`.

    Only a loss calls this, with a key of each example: a model that is scored or sampled is whole,
    and its code knows nothing of keys.
    """

    def is_net(node: Any) -> bool:
        return isinstance(node, MaskedMLP | MLP)

    nodes, structure = jax.tree.flatten(model, is_leaf=is_net)
    return structure.unflatten(
        thinned(jax.random.fold_in(key, i), node, rate) if is_net(node) else node
        for i, node in enumerate(nodes)
    )


class DequantisedLoss(eqx.Module):
    """The per-example loss -(log p(x + u) - log q(u | x)), one draw of u, nats.

    Example:
        >>> from jensen.models.dequantised import Dequantised
        >>> from jensen.models.flow import RealNVP
        >>> parts = [RealNVP(jax.random.key(0), 2, n_layers=1, context_dim=c) for c in (0, 2)]
        >>> model = Dequantised(*parts, (0, 1), jnp.array(4))
        >>> DequantisedLoss()((model,), jnp.ones((3, 2)), jax.random.key(1)).shape
        (3,)
    """

    def __call__(self, players: tuple[Dequantised, ...], batch: PyTree, key: Key) -> Array:
        """Return the loss `(B,)` of grey levels `(B, D)`."""
        shift = jax.random.uniform(key, batch.shape, batch.dtype, -0.5, 0.5)
        return -jax.vmap(players[0].log_weight)(batch, shift)


class Mean(eqx.Module):
    """The one-player objective that averages a per-example loss over the batch.

    Args:
        per_example: `loss(players, batch, key) -> (B,)`.
    """

    per_example: Callable[..., Array]

    def __call__(self, players: tuple[Any, ...], batch: PyTree, key: Key) -> tuple[Array]:
        """Return the mean loss, a scalar, in a tuple of one."""
        return (jnp.mean(self.per_example(players, batch, key)),)
