r"""Update rules: how the field of a game becomes a step.

With step size η, field v and Jacobian J = ∂v/∂x, the rules are, for plain gradient steps,

    simultaneous     x⁺ = x - η v(x)
    alternating      x_i⁺ = x_i - η v_i(x_1⁺, …, x_{i-1}⁺, x_i, …), player after player
    extragradient    x⁺ = x - η v(x - η v(x))
    optimistic       x⁺ = x - η (2 v(x) - v(x⁻)),  x⁻ the point before
    consensus        x⁺ = x - η (v + γ Jᵀ v)
    symplectic       x⁺ = x - η (v + γ Aᵀ v),      A = (J - Jᵀ)/2

Each takes the players' `update`s (an optimiser's step), so that "η v" may be Adam's step; the
extrapolation of extragradient leaves the optimiser's moments alone.

Sources: Korpelevich 1976; Daskalakis et al. 2018 (arXiv:1711.00141); Mescheder et al. 2017
(arXiv:1705.10461); Balduzzi et al. 2018 (arXiv:1802.05642).
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jensen._errors import InputError, nearest
from jensen._typing import Array, PyTree
from jensen.games.field import Field

Players = tuple[PyTree, ...]
Update = Callable[[int, PyTree, Any, PyTree], tuple[PyTree, Any]]
"""`update(i, gradient, optimiser_state, player) -> (player, optimiser_state)`."""


@dataclass(frozen=True)
class Step:
    """What a rule returns: the new players, optimiser states and memory, and what it saw."""

    players: Players
    states: tuple[Any, ...]
    memory: PyTree
    losses: tuple[Array, ...]
    gradients: Players


class Rule(abc.ABC):
    """A way to step along the field of a game."""

    def init(self, players: Players) -> PyTree:
        """Return the rule's memory before the first step (empty unless the rule has one)."""
        return ()

    @abc.abstractmethod
    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return the state after one step."""


def _update_all(
    update: Update, gradients: Players, states: tuple[Any, ...], players: Players
) -> tuple[Players, tuple[Any, ...]]:
    pairs = [
        update(i, g, s, p)
        for i, (g, s, p) in enumerate(zip(gradients, states, players, strict=True))
    ]
    return tuple(p for p, _ in pairs), tuple(s for _, s in pairs)


def _plus(a: PyTree, b: PyTree, weight: float) -> PyTree:
    return jax.tree.map(lambda x, y: x + weight * y, a, b)


@dataclass(frozen=True)
class Simultaneous(Rule):
    """All players step from the same point."""

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return x - η v(x)."""
        losses, gradients = field(players)
        players, states = _update_all(update, gradients, states, players)
        return Step(players, states, memory, losses, gradients)


@dataclass(frozen=True)
class Alternating(Rule):
    """Players step one after the other, each seeing the steps already made.

    Args:
        inner: how many steps each player but the last makes in its turn.
    """

    inner: int = 1

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return the point after every player's turn."""
        now, states_now = list(players), list(states)
        losses, gradients = [], []
        for i in range(len(players)):
            turns = self.inner if i < len(players) - 1 else 1
            for _ in range(turns):
                loss, gradient = field.gradient(i, tuple(now))
                now[i], states_now[i] = update(i, gradient, states_now[i], now[i])
            losses.append(loss)
            gradients.append(gradient)
        return Step(tuple(now), tuple(states_now), memory, tuple(losses), tuple(gradients))


@dataclass(frozen=True)
class Extragradient(Rule):
    """A step from here along the field at the extrapolated point."""

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return x - η v(x - η v(x)); the optimiser's state advances once."""
        losses, gradients = field(players)
        ahead, _ = _update_all(update, gradients, states, players)
        players, states = _update_all(update, field.v(ahead), states, players)
        return Step(players, states, memory, losses, gradients)


@dataclass(frozen=True)
class Optimistic(Rule):
    """A step along 2 v(x) - v(x⁻); the first step uses v(x) alone."""

    def init(self, players: Players) -> PyTree:
        """Return (no step made yet, zero field)."""
        return jnp.zeros((), bool), jax.tree.map(jnp.zeros_like, players)

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return x - η (2 v(x) - v(x⁻)) and remember v(x)."""
        seen, before = memory
        losses, gradients = field(players)
        direction = jax.tree.map(lambda g, b: g + jnp.where(seen, g - b, 0.0), gradients, before)
        players, states = _update_all(update, direction, states, players)
        return Step(players, states, (jnp.ones((), bool), gradients), losses, gradients)


@dataclass(frozen=True)
class Consensus(Rule):
    """A step along v + γ ∇ ½‖v‖² = v + γ Jᵀ v.

    Args:
        weight: γ.
    """

    weight: float = 0.1

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return x - η (v + γ Jᵀ v)."""
        losses, gradients = field(players)
        _, pullback = jax.vjp(field.v, players)
        direction = _plus(gradients, pullback(gradients)[0], self.weight)
        players, states = _update_all(update, direction, states, players)
        return Step(players, states, memory, losses, gradients)


@dataclass(frozen=True)
class Symplectic(Rule):
    """A step along v + γ Aᵀ v with A the antisymmetric part of the Jacobian.

    Args:
        weight: γ.
    """

    weight: float = 0.1

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return x - η (v + γ (Jᵀ v - J v)/2)."""
        losses, gradients = field(players)
        _, pullback = jax.vjp(field.v, players)
        _, jv = jax.jvp(field.v, (players,), (gradients,))
        twist = _plus(pullback(gradients)[0], jv, -1.0)
        direction = _plus(gradients, twist, 0.5 * self.weight)
        players, states = _update_all(update, direction, states, players)
        return Step(players, states, memory, losses, gradients)


RULES: dict[str, type[Rule]] = {
    "simultaneous": Simultaneous,
    "alternating": Alternating,
    "extragradient": Extragradient,
    "optimistic": Optimistic,
    "consensus": Consensus,
    "symplectic": Symplectic,
}


def rule(name: str) -> Rule:
    """Return the rule called `name`, with its default settings.

    Raises:
        InputError: if there is no rule of that name.

    Example:
        >>> rule("extragradient")
        Extragradient()
    """
    if name not in RULES:
        raise InputError(
            f"unknown rule {name!r}{nearest(name, RULES)}",
            mend=f"choose one of {', '.join(RULES)}",
        )
    return RULES[name]()
