r"""The gradient field of a game.

A game has players x = (x_1, …, x_n), each with a loss to *minimise*, L_i(x). Its field is

    v(x) = (∇_{x_1} L_1(x), …, ∇_{x_n} L_n(x)).

A game with one player is an ordinary minimisation, and v its gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax

from jensen._typing import Array, PyTree

Losses = Callable[[tuple[PyTree, ...]], tuple[Array, ...]]


@dataclass(frozen=True)
class Field:
    """The gradient field of the players' losses.

    Args:
        losses: maps the players (a tuple of pytrees of arrays) to one scalar loss each.

    Example:
        >>> import jax.numpy as jnp
        >>> bilinear = Field(lambda p: (p[0] * p[1], -p[0] * p[1]))
        >>> [float(g) for g in bilinear((jnp.array(2.0), jnp.array(3.0)))[1]]
        [3.0, -2.0]
    """

    losses: Losses

    def gradient(self, i: int, players: tuple[PyTree, ...]) -> tuple[Array, PyTree]:
        """Return player i's loss and its gradient with respect to player i alone."""

        def loss_of(player: PyTree) -> Array:
            return self.losses((*players[:i], player, *players[i + 1 :]))[i]

        return jax.value_and_grad(loss_of)(players[i])

    def __call__(self, players: tuple[PyTree, ...]) -> tuple[tuple[Array, ...], tuple[PyTree, ...]]:
        """Return every player's loss and the field v."""
        pairs = [self.gradient(i, players) for i in range(len(players))]
        return tuple(loss for loss, _ in pairs), tuple(grad for _, grad in pairs)

    def v(self, players: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
        """Return the field alone."""
        return self(players)[1]
