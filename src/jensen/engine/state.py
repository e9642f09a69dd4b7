r"""The state of a run, and the two pure functions that move it.

`advance` makes the steps [start, stop) of every member of an ensemble in one compiled program;
`assess` looks at the validation loss and keeps the best weights. Both are pure: the data order and
every key are functions of (member's key, step), so the numbers do not depend on how a run is cut
into chunks, killed, resumed or spread over devices.

* Epoch e visits the rows in the order permutation(fold_in(order key, e)). The last batch of an
  epoch is completed from the epoch's first rows: no row is dropped, none is visited twice unless
  the batch size does not divide the number of rows.
* Step i draws its noise from fold_in(noise key, i).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._typing import Array, Key, PyTree
from jensen._xla import quickly_compiled
from jensen.engine.config import Optimisation
from jensen.engine.devices import shard_batch
from jensen.engine.vectors import Whole
from jensen.games.field import Field
from jensen.games.rules import Update, rule

Objective = Callable[[tuple[Any, ...], PyTree, Key], tuple[Array, ...]]
"""`objective(players, batch, key) -> one scalar loss per player`."""

_ORDER, _NOISE, _INIT, _CHECK = range(4)  # what a member's key is folded with, per use


class Weights(NamedTuple):
    """All that a step changes: players, optimiser states, rule memory, moving average.

    In a run every player is a vector (`jensen.engine.vectors`); any tree of arrays will do.
    """

    players: tuple[PyTree, ...]
    states: tuple[Any, ...]
    memory: PyTree
    average: tuple[PyTree, ...]


class Member(NamedTuple):
    """One run of an ensemble: its weights, the best so far, and what early stopping remembers."""

    weights: Weights
    best: Weights
    best_loss: Array
    best_step: Array
    rate: Array  # factor on the learning rate
    since: Array  # evaluations since the last best
    falls: Array  # of the learning rate
    stopped: Array
    loss_sum: Array  # per player, since the last evaluation
    norm_sum: Array  # of the field, since the last evaluation
    steps: Array  # since the last evaluation


def member_keys(seed: int, members: int) -> Key:
    """Return one key per member, a pure function of (seed, member)."""
    return _folded(jax.random.key(seed), jnp.arange(members))


@jax.jit
def _folded(key: Key, numbers: Array) -> Key:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)


@quickly_compiled()
def initial_players(init: Callable[[Key], tuple[Any, ...]], keys: Key) -> tuple[Any, ...]:
    """Return the players of every member, stacked on a first axis."""
    return eqx.filter_vmap(lambda key: init(jax.random.fold_in(key, _INIT)))(keys)


@quickly_compiled()
def initial_members(arrays: tuple[PyTree, ...], optimisation: Optimisation) -> Member:
    """Return the state before the first step, for stacked players' arrays."""

    def one(players: tuple[PyTree, ...]) -> Member:
        states = tuple(optimisation.optimiser_of(i).init(p) for i, p in enumerate(players))
        weights = Weights(players, states, rule(optimisation.rule).init(players), players)
        count = jnp.zeros((), jnp.int32)
        return Member(
            weights=weights,
            best=weights,
            best_loss=jnp.inf * jnp.ones(()),
            best_step=count,
            rate=jnp.ones(()),
            since=count,
            falls=count,
            stopped=jnp.zeros((), bool),
            loss_sum=jnp.zeros(len(players)),
            norm_sum=jnp.zeros(()),
            steps=count,
        )

    return jax.vmap(one)(arrays)


def n_rows(data: PyTree) -> int:
    """Return the number of rows of the data, the length of every array's first axis."""
    return jax.tree.leaves(data)[0].shape[0]


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return how many batches visit every row: ⌈rows / batch⌉."""
    return -(-rows // min(batch_size, rows))


def over_members(function: Callable, in_axes: tuple[int | None, ...]) -> Callable:
    """Return `function` mapped over the members.

    One member is run without the axis: on a CPU a product with a batch axis of length 1 is up to
    twice as slow as the product without it.
    """

    def mapped(*args: PyTree) -> PyTree:
        member = args[in_axes.index(0)]
        if jax.tree.leaves(member)[0].shape[0] != 1:
            return eqx.filter_vmap(function, in_axes=in_axes)(*args)
        one = [
            jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, arg) if axis == 0 else arg
            for axis, arg in zip(in_axes, args, strict=True)
        ]
        return jax.tree.map(lambda a: a[None] if eqx.is_array(a) else a, function(*one))

    return mapped


def make_step(
    whole: Whole, objective: Objective, optimisation: Optimisation
) -> Callable[[Member, Key, Array, Array, PyTree], Member]:
    """Return `step(member, key, order, i, data) -> member`, one step of one member."""
    method = rule(optimisation.rule)

    def step(member: Member, key: Key, order: Array, i: Array, data: PyTree) -> Member:
        rows = n_rows(data)
        size = min(optimisation.batch_size, rows)
        at = (i % steps_per_epoch(rows, size)) * size + jnp.arange(size)
        index = order[at % rows]
        batch = shard_batch(jax.tree.map(lambda a: a[index], data))
        noise = jax.random.fold_in(jax.random.fold_in(key, _NOISE), i)
        players, states, memory, average = member.weights

        def losses(vectors: tuple[Array, ...]) -> tuple[Array, ...]:
            return objective(whole(vectors), batch, noise)

        def change(j: int, gradient: PyTree, state: Any, player: PyTree) -> tuple[PyTree, Any]:
            updates, state = optimisation.optimiser_of(j).update(gradient, state, player)
            return jax.tree.map(lambda u: member.rate * u, updates), state

        out = method.step(Field(losses), Update(change), players, states, memory)
        average = _average(average, out.players, optimisation.ema, i)
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(out.gradients)))
        return member._replace(
            weights=Weights(out.players, out.states, out.memory, average),
            loss_sum=member.loss_sum + jnp.stack(out.losses),
            norm_sum=member.norm_sum + norm,
            steps=member.steps + 1,
        )

    return step


def _average(average: PyTree, players: PyTree, decay: float, i: Array) -> PyTree:
    """Return the moving average after step i; the decay rises to its value over the first steps."""
    if decay == 0:
        return players
    d = jnp.minimum(decay, (1.0 + i) / (10.0 + i))
    return jax.tree.map(lambda a, p: a + (1 - d).astype(a.dtype) * (p - a), average, players)


def epoch_order(key: Key, epoch: Array, rows: int) -> Array:
    """Return the order `(rows,)` in which an epoch visits the rows."""
    return jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, _ORDER), epoch), rows)


@quickly_compiled(donate="all-except-first")
def advance(
    fixed: tuple[PyTree, Key, Array, Array, Whole, Objective, Optimisation],
    members: Member,
) -> Member:
    """Return the members after the steps [start, stop), in one program for any start and stop.

    Args:
        fixed: the data, the members' keys, start, stop, how vectors become the players, the
            game and how a step is made; what is here is not overwritten.
        members: the state before step `start`; its buffers are reused.
    """
    data, keys, start, stop, whole, objective, optimisation = fixed
    step = over_members(make_step(whole, objective, optimisation), (0, 0, 0, None, None))
    rows = n_rows(data)
    length = steps_per_epoch(rows, optimisation.batch_size)

    def epoch(e: Array, members: Member) -> Member:
        orders = jax.vmap(lambda key: epoch_order(key, e, rows))(keys)
        low, high = jnp.maximum(start, e * length), jnp.minimum(stop, (e + 1) * length)
        return jax.lax.fori_loop(low, high, lambda i, m: step(m, keys, orders, i, data), members)

    return jax.lax.fori_loop(start // length, -(-stop // length), epoch, members)


@quickly_compiled(donate="all-except-first")
def single_step(
    fixed: tuple[PyTree, Key, Array, Array, Whole, Objective, Optimisation],
    members: Member,
) -> Member:
    """Return the members after step i; for models with convolutions, slow inside a loop on CPUs.

    Args:
        fixed: the data, the members' keys, their orders `(E, rows)`, i, how vectors become the
            players, the game and how a step is made; what is here is not overwritten.
        members: the state before step i; its buffers are reused.
    """
    data, keys, orders, i, whole, objective, optimisation = fixed
    step = over_members(make_step(whole, objective, optimisation), (0, 0, 0, None, None))
    return step(members, keys, orders, i, data)


@quickly_compiled()
def check(
    members: Member, whole: Whole, data: PyTree, keys: Key, validate: Callable
) -> tuple[Array, Array]:
    """Return the mean validation loss `(E,)` of the members' moving averages, and its error.

    The key is the member's and the same at every evaluation: losses of two evaluations differ by
    the weights alone.
    """

    def one(member: Member, key: Key) -> Array:
        players = whole(member.weights.average)
        return validate(players, data, jax.random.fold_in(key, _CHECK))

    losses = over_members(one, (0, 0))(members, keys)
    losses = losses.reshape(losses.shape[0], -1)
    error = jnp.mean(jnp.std(losses, axis=1)) / losses.shape[1] ** 0.5
    return jnp.mean(losses, axis=1), error


@quickly_compiled()
def assess(
    members: Member,
    losses: Array | None,
    i: Array,
    patience: int,
    reductions: int,
    reduction: float,
) -> Member:
    """Return the members after an evaluation before step i, with mean losses `(E,)`.

    Without validation losses the newest weights count as the best.
    """

    def one(member: Member, loss: Array) -> Member:
        better = (loss < member.best_loss) if losses is not None else jnp.ones((), bool)
        best = _choose(better, member.weights, member.best)
        since = jnp.where(better, 0, member.since + 1)
        fall = since >= patience
        falls = member.falls + fall
        return member._replace(
            weights=_choose(fall, best, member.weights),
            best=best,
            best_loss=jnp.where(better, loss, member.best_loss),
            best_step=jnp.where(better, i, member.best_step),
            rate=jnp.where(fall, member.rate * reduction, member.rate),
            since=jnp.where(fall, 0, since),
            falls=falls,
            stopped=member.stopped | (falls > reductions),
            loss_sum=jnp.zeros_like(member.loss_sum),
            norm_sum=jnp.zeros_like(member.norm_sum),
            steps=jnp.zeros_like(member.steps),
        )

    mean = losses if losses is not None else jnp.zeros(members.rate.shape)
    new = jax.vmap(one)(members, mean)
    return jax.vmap(_choose)(members.stopped, members, new)  # a stopped member keeps its best


def _choose(where: Array, yes: PyTree, no: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(where, a, b), yes, no)
