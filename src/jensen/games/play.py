r"""Playing a game: a rule repeated on bare losses, and the path it takes.

    x_0 = start,   x_{t+1} = rule(v, x_t),   v the field of the losses

The losses are any JAX functions of the players (a tuple of pytrees of arrays), of the full game or
of one sample a step. Steps run in one compiled program; the size of a step and the parameters of
losses that are Equinox modules, where arrays, may change without compiling again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jensen._errors import InputError
from jensen._typing import Array, PyTree
from jensen.games.field import Field, Losses
from jensen.games.rules import Consensus, Players, Rule, Symplectic, Update, rule
from jensen.games.sets import ConvexSet

StepSize = float | optax.GradientTransformation | Sequence[float | optax.GradientTransformation]
"""One step size η or optax optimiser for all players, or one per player."""


@dataclass(frozen=True)
class Trajectory:
    """The path of a game.

    Attributes:
        steps: number of steps before each record `(r,)`, the first 0.
        points: the players at each record, stacked on a first axis.
    """

    steps: np.ndarray
    points: Players

    @property
    def end(self) -> Players:
        """The players after the last step."""
        return jax.tree.map(lambda a: a[-1], self.points)

    def flat(self) -> np.ndarray:
        """Return the records as rows `(r, d)`: all players' entries side by side."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.points)]
        return np.concatenate([leaf.reshape(len(self.steps), -1) for leaf in leaves], axis=1)

    @property
    def diverged_at(self) -> int | None:
        """The first recorded step with an entry that is not finite, or None."""
        bad = ~np.isfinite(self.flat()).all(axis=1)
        return int(self.steps[np.argmax(bad)]) if bad.any() else None

    def curves(self, losses: Losses) -> tuple[np.ndarray, np.ndarray]:
        """Return every player's loss `(r, players)` and gradient norm `(r, players)`."""
        values, norms = _curves(losses, self.points)
        return np.asarray(values), np.asarray(norms)


@eqx.filter_jit
def _curves(losses: Losses, points: Players) -> tuple[Array, Array]:
    def one(players: Players) -> tuple[Array, Array]:
        values, gradients = Field(losses)(players)
        return jnp.stack(values), jnp.stack([optax.tree.norm(g) for g in gradients])

    return jax.vmap(one)(points)


def play(
    losses: Any,
    start: Sequence[PyTree],
    *,
    rule: str | Rule = "simultaneous",
    step: StepSize = 0.1,
    steps: int = 1000,
    every: int = 1,
    sets: Sequence[ConvexSet | None] | None = None,
    data: PyTree = None,
    index: Any = None,
) -> Trajectory:
    """Return the path of `steps` steps of a rule.

    Args:
        losses: `losses(players) -> (loss_1, …)`, each to minimise; with `data`,
            `losses(players, sample)`.
        start: the players at first, one pytree of floating arrays or numbers each.
        rule: a rule or its name, see `jensen.games.rules`.
        step: η or an optax optimiser, for all players or one each (two timescales).
        steps: how many steps.
        every: steps between two records.
        sets: where each player lives, None for everywhere; see `jensen.games.sets`.
        data: arrays with samples on the first axis, for a stochastic game.
        index: `(steps, …)` which samples each step sees; None for all of them at every step.

    Returns:
        The path, with its start; a path may leave the finite numbers, see `diverged_at`.

    Raises:
        InputError: if losses, players, options, rule, optimiser and sets do not go together.

    Example:
        >>> path = play(lambda p: (p[0] * p[1], -p[0] * p[1]), (1.0, 1.0), steps=200)
        >>> round(float((path.flat()[-1] ** 2).sum()), 3)  # 2 (1 + η²)²⁰⁰
        14.632
    """
    method = _method(rule)
    players = as_players(start)
    _check_counts(steps, every)
    optimisers = _optimisers(step, players, method)
    check_sets(sets, players, optimisers, method)
    data = jax.tree.map(lambda a: jnp.asarray(a, _number_type(a)), data)
    if index is not None:
        index = _checked_index(index, data, steps)
    sample = data if index is None else jax.tree.map(lambda a: a[index[0]], data)
    check_losses(losses if data is None else lambda p: losses(p, sample), players)
    if index is not None:
        index = index.reshape(steps // every, every, *index.shape[1:])
    points = _simulate(
        (losses, method, tuple(sets) if sets else None),
        (optimisers, players, data, index),
        (steps // every, every),
    )
    return Trajectory(np.arange(steps // every + 1) * every, points)


def _check_counts(steps: Any, every: Any) -> None:
    whole = all(isinstance(n, int | np.integer) and n >= 1 for n in (steps, every))
    if not whole or steps % every:
        raise InputError(
            f"cannot make {steps} steps with a record every {every}",
            "steps, every",
            "give whole numbers, steps a multiple of every",
        )


def _checked_index(index: Any, data: PyTree, steps: int) -> Array:
    """Return the index of the samples as an array, every entry within the data."""
    if data is None:
        raise InputError("index without data", "index", "give the data too")
    rows = np.asarray(index)
    if rows.ndim < 1 or len(rows) != steps or not np.issubdtype(rows.dtype, np.integer):
        raise InputError(
            f"index {rows.shape} of {rows.dtype} for {steps} steps",
            "index",
            "give one row of whole numbers a step",
        )
    sizes = {a.shape[0] if a.ndim else 0 for a in jax.tree.leaves(data)}
    if len(sizes) != 1 or rows.min() < 0 or rows.max() >= min(sizes):
        raise InputError(
            f"index from {rows.min()} to {rows.max()} for {sorted(sizes)} samples",
            "index",
            "count from 0, and give arrays with the same number of samples",
        )
    return jnp.asarray(rows)


@eqx.filter_jit
def _simulate(
    static: tuple[Any, Rule, tuple[ConvexSet | None, ...] | None],
    arrays: tuple[tuple[Any, ...], Players, PyTree, Array | None],
    counts: tuple[int, int],
) -> Players:
    losses, method, sets = static
    optimisers, start, data, index = arrays

    def change(i: int, gradient: PyTree, state: Any, player: PyTree) -> tuple[PyTree, Any]:
        optimiser = optimisers[i]
        if isinstance(optimiser, optax.GradientTransformation):
            return optimiser.update(gradient, state, player)
        return jax.tree.map(lambda g: -optimiser * g, gradient), state

    def project(i: int, player: PyTree) -> PyTree:
        within = sets[i] if sets else None
        return player if within is None else within.project(player)

    update = Update(change, project if sets else None)

    def one(carry: tuple[Players, Any, Any], at: Array | None) -> tuple[Any, None]:
        players, states, memory = carry
        sample = data if at is None else jax.tree.map(lambda a: a[at], data)
        game = losses if data is None else lambda p: losses(p, sample)
        out = method.step(Field(game), update, players, states, memory)
        return (out.players, out.states, out.memory), None

    def record(carry: Any, rows: Array | None) -> tuple[Any, Players]:
        carry, _ = jax.lax.scan(one, carry, rows, length=counts[1])
        return carry, carry[0]

    states = tuple(
        o.init(p) if isinstance(o, optax.GradientTransformation) else ()
        for o, p in zip(optimisers, start, strict=True)
    )
    carry = (start, states, method.init(start))
    _, points = jax.lax.scan(record, carry, index, length=counts[0])
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, points)


def _method(named: str | Rule) -> Rule:
    return rule(named) if isinstance(named, str) else named


def as_players(start: Sequence[PyTree]) -> Players:
    """Return the players as a tuple of pytrees of floating arrays.

    Raises:
        InputError: if there are none, or an entry is not a finite number.
    """
    if not isinstance(start, list | tuple) or not start:
        raise InputError(
            f"the players must be a tuple, got {type(start).__name__}", "start", "give one a player"
        )
    try:
        players = jax.tree.map(lambda a: jnp.asarray(a, dtype=_floating(a)), tuple(start))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a player is not numeric ({error})", "start", "give numbers or arrays of numbers"
        ) from error
    for i, player in enumerate(players):
        leaves = jax.tree.leaves(player)
        full = leaves and all(leaf.size for leaf in leaves)
        if not full or not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves):
            raise InputError(
                f"player {i + 1} is empty or not finite", "start", "give finite numbers"
            )
    return players


def _number_type(value: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(np.asarray(value).dtype)


def _floating(value: Any) -> Any:
    dtype = getattr(value, "dtype", None)
    kept = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
    return jax.dtypes.canonicalize_dtype(dtype if kept else float)


def check_losses(losses: Any, players: Players) -> None:
    """Raise unless the losses give a tuple with one real scalar per player.

    Raises:
        InputError: saying what they gave.
    """
    try:
        shapes = jax.eval_shape(losses, players)
    except (Exception, SystemExit) as error:
        first = str(error).strip().splitlines()
        raise InputError(
            f"the losses fail on the players ({type(error).__name__}: "
            f"{first[0] if first else 'no message'})",
            getattr(losses, "__name__", type(losses).__name__),
            "write losses(players) with jax.numpy, one scalar a player",
        ) from error
    bundled = isinstance(shapes, list | tuple)
    leaves = list(shapes) if bundled else [shapes]
    if not bundled or len(leaves) != len(players) or not all(_real_scalar(s) for s in leaves):
        given = ", ".join(_described(s) for s in leaves)
        raise InputError(
            f"{len(players)} players but {'a tuple of' if bundled else 'a single'} {given}",
            getattr(losses, "__name__", type(losses).__name__),
            "return a tuple with one floating scalar loss per player",
        )


def _real_scalar(found: Any) -> bool:
    if getattr(found, "shape", None) != ():
        return False
    return bool(jnp.issubdtype(found.dtype, jnp.floating))


def _described(found: Any) -> str:
    dtype = getattr(found, "dtype", None)
    return type(found).__name__ if dtype is None else f"{dtype}{list(found.shape)}"


def _optimisers(step: StepSize, players: Players, method: Rule) -> tuple[Any, ...]:
    each: tuple[Any, ...] = (step,) * len(players)
    if isinstance(step, list | tuple) and not isinstance(step, optax.GradientTransformation):
        each = tuple(step)
    if len(each) != len(players):
        raise InputError(
            f"{len(each)} step sizes for {len(players)} players", "step", "give one, or one each"
        )
    dtype = jax.tree.leaves(players)[0].dtype
    found = []
    for i, one in enumerate(each):
        if isinstance(one, optax.GradientTransformation):
            _check_optimiser(one, players[i], method)
            found.append(one)
        elif np.ndim(one) == 0 and _above_zero(one):
            found.append(jnp.asarray(one, dtype))
        else:
            raise InputError(
                f"the step must be a number above 0 or an optax optimiser, got {one!r}",
                "step",
                "give 0.1, say",
            )
    return tuple(found)


def _above_zero(step: Any) -> bool:
    try:
        return bool(0 < step < np.inf)
    except TypeError:
        return False


def _check_optimiser(optimiser: Any, player: PyTree, method: Rule) -> None:
    if method.plain_steps_only:
        raise InputError(
            f"{type(method).__name__} is an implicit equation in plain gradient steps",
            "step",
            "give step sizes as numbers, or choose extragradient",
        )
    try:
        jax.eval_shape(lambda p: optimiser.update(p, optimiser.init(p), p), player)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"this optimiser needs more than a gradient ({error})",
            "step",
            "players of a game share no objective to search along: use sgd, adam or their like",
        ) from error


def check_sets(
    sets: Sequence[ConvexSet | None] | None,
    players: Players,
    optimisers: tuple[Any, ...],
    method: Rule,
) -> None:
    """Raise unless rule and optimisers keep the stationary points of the constrained game.

    Raises:
        InputError: saying which do not, and why.
    """
    if sets is None:
        return
    if len(sets) != len(players):
        raise InputError(
            f"{len(sets)} sets for {len(players)} players", "sets", "give one each, or None"
        )
    if isinstance(method, Consensus | Symplectic) and any(s is not None for s in sets):
        raise InputError(
            f"{type(method).__name__} steps along more than the field: on the edge of a set they "
            "move the stationary points",
            "sets",
            "use extragradient",
        )
    for within, optimiser in zip(sets, optimisers, strict=True):
        if within is None:
            continue
        name = type(within).__name__
        if method.plain_steps_only:
            raise InputError(
                f"{type(method).__name__} has no projected form here", "sets", "use extragradient"
            )
        if isinstance(optimiser, optax.GradientTransformation) and not within.separable:
            raise InputError(
                f"a projection onto a {name} after an optimiser's step may move the stationary "
                "points",
                "sets",
                "give step sizes as numbers, or a Box",
            )
