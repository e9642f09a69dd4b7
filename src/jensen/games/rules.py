r"""Update rules: how the field of a game becomes a step.

With step size η, field v, Jacobian J = ∂v/∂x and projection P onto the players' sets (the identity
where there are none), the rules are, for plain gradient steps,

    simultaneous         x⁺ = P(x - η v(x))
    alternating          x_i⁺ = P(x_i - η v_i(x_1⁺, …, x_{i-1}⁺, x_i, …)), player after player
    extragradient        x⁺ = P(x - η v(x̃)),             x̃ = P(x - η v(x))
    past-extragradient   x⁺ = P(x - η v(x̃)),             x̃ = P(x - η v(x̃⁻)): one field a step
    optimistic           x⁺ = P(x - 2η v(x) + η v(x⁻)),  x⁻ the point before
    consensus            x⁺ = x - η (v + γ Jᵀ v)
    symplectic           x⁺ = x - η (v + γ Aᵀ v),        A = (J - Jᵀ)/2
    proximal             x⁺ = x - η v(x⁺)

The last three have no projected form here: on the edge of a set the first two rest elsewhere than
the game, and the third would need the projection inside its equation.

Each takes an `Update`, so that "-η v" may be Adam's step: the extrapolations of the extragradient
rules leave the optimiser's moments alone, and the optimistic rule extrapolates the optimiser's
steps (for Adam: Optimistic Adam of Daskalakis et al.). Different η per player give a two-timescale
rule. The proximal rule is an implicit equation in plain gradient steps and refuses others.

Sources: Korpelevich 1976; Popov 1980; Daskalakis et al. 2018 (arXiv:1711.00141); Mescheder et al.
2017 (arXiv:1705.10461); Balduzzi et al. 2018 (arXiv:1802.05642); Rockafellar 1976.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.flatten_util
import jax.numpy as jnp
from jax.scipy.sparse.linalg import gmres

from jensen._errors import check_name
from jensen._typing import Array, PyTree
from jensen.games.field import Field

Players = tuple[PyTree, ...]


@dataclass(frozen=True)
class Update:
    """How one player moves along a gradient.

    Args:
        change: `change(i, gradient, optimiser_state, player) -> (change, optimiser_state)`.
        project: `project(i, player) -> player`, onto player i's set; None where there are none.
    """

    change: Callable[[int, PyTree, Any, PyTree], tuple[PyTree, Any]]
    project: Callable[[int, PyTree], PyTree] | None = None

    def move(self, i: int, player: PyTree, change: PyTree) -> PyTree:
        """Return P(player + change)."""
        moved = _plus(player, change, 1.0)
        return moved if self.project is None else self.project(i, moved)

    def __call__(self, i: int, gradient: PyTree, state: Any, player: PyTree) -> tuple[PyTree, Any]:
        """Return player i after one step of its optimiser, and the optimiser's state."""
        change, state = self.change(i, gradient, state, player)
        return self.move(i, player, change), state

    def all(
        self, gradients: Players, states: tuple[Any, ...], players: Players
    ) -> tuple[Players, tuple[Any, ...]]:
        """Return every player after one step."""
        rows = enumerate(zip(gradients, states, players, strict=True))
        pairs = [self(i, g, s, p) for i, (g, s, p) in rows]
        return tuple(p for p, _ in pairs), tuple(s for _, s in pairs)


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

    plain_steps_only: ClassVar[bool] = False
    """Whether the rule is defined for plain gradient steps alone."""
    spectral: ClassVar[bool] = False
    """Whether the step near a stationary point is a function of the Jacobian alone, so that its
    radius follows from the Jacobian's eigenvalues (for one step size for all players)."""

    def init(self, players: Players) -> PyTree:
        """Return the rule's memory before the first step (empty unless the rule has one)."""
        return ()

    @abc.abstractmethod
    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return the state after one step."""


def _plus(a: PyTree, b: PyTree, weight: float) -> PyTree:
    return jax.tree.map(lambda x, y: x + weight * y, a, b)


@dataclass(frozen=True)
class Simultaneous(Rule):
    """All players step from the same point."""

    spectral: ClassVar[bool] = True

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return P(x - η v(x))."""
        losses, gradients = field(players)
        players, states = update.all(gradients, states, players)
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

    spectral: ClassVar[bool] = True

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return P(x - η v(P(x - η v(x)))); the optimiser's state advances once."""
        losses, gradients = field(players)
        ahead, _ = update.all(gradients, states, players)
        players, states = update.all(field.v(ahead), states, players)
        return Step(players, states, memory, losses, gradients)


@dataclass(frozen=True)
class PastExtragradient(Rule):
    """Extragradient that extrapolates along the field it saw last: one field a step.

    On plain steps without sets, x̃ moves as `Optimistic` does, after the first step. Losses and
    gradients are those at x̃.
    """

    spectral: ClassVar[bool] = True

    def init(self, players: Players) -> PyTree:
        """Return the zero field: the first extrapolation stays where it is."""
        return jax.tree.map(jnp.zeros_like, players)

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return P(x - η v(x̃)) with x̃ = P(x - η v(x̃⁻)), and remember v(x̃)."""
        ahead, _ = update.all(memory, states, players)
        losses, gradients = field(ahead)
        players, states = update.all(gradients, states, players)
        return Step(players, states, gradients, losses, gradients)


@dataclass(frozen=True)
class Optimistic(Rule):
    """Twice the optimiser's step less the step before it; the first step is made once."""

    spectral: ClassVar[bool] = True

    def init(self, players: Players) -> PyTree:
        """Return (no step made yet, zero step)."""
        return jnp.zeros((), bool), jax.tree.map(jnp.zeros_like, players)

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return P(x + 2u - u⁻) with the optimiser's step u = -η v(x), and remember u."""
        seen, before = memory
        losses, gradients = field(players)
        rows = enumerate(zip(gradients, states, players, strict=True))
        pairs = [update.change(i, g, s, p) for i, (g, s, p) in rows]
        steps = tuple(u for u, _ in pairs)
        twice = jax.tree.map(lambda u, b: u + jnp.where(seen, u - b, 0.0), steps, before)
        moved = tuple(
            update.move(i, p, u) for i, (p, u) in enumerate(zip(players, twice, strict=True))
        )
        memory = jnp.ones((), bool), steps
        return Step(moved, tuple(s for _, s in pairs), memory, losses, gradients)


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
        players, states = update.all(direction, states, players)
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
        players, states = update.all(direction, states, players)
        return Step(players, states, memory, losses, gradients)


@dataclass(frozen=True)
class Proximal(Rule):
    """The implicit step: along the field at the point where it ends.

    F(y) = y - x + η v(y) = 0 is solved by Newton's method from y = x, its linear systems densely up
    to 64 unknowns and by GMRES from Jacobian-vector products beyond. It is the proximal point
    method where v is monotone; without sets, and with plain gradient steps, alone. Where Newton's
    method finds no such y the players become NaN.

    Args:
        iterations: Newton steps at most.
    """

    iterations: int = 20
    plain_steps_only: ClassVar[bool] = True
    spectral: ClassVar[bool] = True

    def step(
        self, field: Field, update: Update, players: Players, states: tuple[Any, ...], memory: Any
    ) -> Step:
        """Return the y with y = x - η v(y)."""
        losses, gradients = field(players)

        def excess(y: Players) -> Players:
            return _plus(y, update.all(field.v(y), states, players)[0], -1.0)

        def newton(carry: tuple[Players, Array]) -> tuple[Players, Array]:
            y, count = carry
            value, slope = jax.linearize(excess, y)
            return _plus(y, _solve(slope, value), -1.0), count + 1

        def unsolved(carry: tuple[Players, Array]) -> Array:
            y, count = carry
            worst = _largest(excess(y))
            return (count < self.iterations) & (worst > self._small(worst, y, players))

        start = newton((players, jnp.zeros((), jnp.int32)))
        y, _ = jax.lax.while_loop(unsolved, newton, start)
        worst = _largest(excess(y))
        solved = worst <= 1e3 * self._small(worst, y, players)
        y = jax.tree.map(lambda a: jnp.where(solved, a, jnp.nan), y)
        _, states = update.all(field.v(y), states, players)
        return Step(y, states, memory, losses, gradients)

    @staticmethod
    def _small(worst: Array, y: Players, x: Players) -> Array:
        """Return the rounding of y - x + η v(y)."""
        return 16 * jnp.finfo(worst.dtype).eps * (1 + _largest(y) + _largest(x))


def _solve(slope: Callable[[Players], Players], value: Players) -> Players:
    """Return the t with slope(t) = value."""
    flat, unravel = jax.flatten_util.ravel_pytree(value)
    if flat.shape[0] > 64:
        return gmres(slope, value, tol=4 * float(jnp.finfo(flat.dtype).eps))[0]
    matrix = jax.jacfwd(lambda t: jax.flatten_util.ravel_pytree(slope(unravel(t)))[0])(flat)
    return unravel(jnp.linalg.solve(matrix, flat))


def _largest(tree: PyTree) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))


RULES: dict[str, type[Rule]] = {
    "simultaneous": Simultaneous,
    "alternating": Alternating,
    "extragradient": Extragradient,
    "past-extragradient": PastExtragradient,
    "optimistic": Optimistic,
    "consensus": Consensus,
    "symplectic": Symplectic,
    "proximal": Proximal,
}


def rule(name: str) -> Rule:
    """Return the rule called `name`, with its default settings.

    Raises:
        InputError: if there is no rule of that name.

    Example:
        >>> rule("extragradient")
        Extragradient()
    """
    check_name(name, RULES, "rule")
    return RULES[name]()
