r"""Learning dynamics in matrix games: both players adapt, and their average play converges.

Two learners of `jensen.games.learners` play a game against each other. The sum of their regrets
bounds the gap of their average strategies (Freund and Schapire 1999), which is what is returned as
an `Equilibrium`; the strategies themselves need not converge, and on cyclic games most do not.

The loop is one compiled program in float64: a scan over the recorded iterations, a loop between.
Only the method and the shapes are compiled in; payoffs, starts and iterations are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError, check_name
from jensen._typing import Array
from jensen.games.learners import LEARNERS, Learner, Pair, Step
from jensen.games.matrix import Equilibrium, as_strategy, scaled

LOG_POINTS = 128
"""Iterations recorded, at most, when none are asked for; equally spaced in their logarithm."""
MOST_POINTS = 100_000
"""Iterations recorded, at most, when they are asked for."""


@dataclass(frozen=True)
class Learned:
    """What two learners came to, and how.

    Args:
        method: the name in `LEARNERS`.
        equilibrium: the average strategies with their certificate; `unique` is not examined.
        last_row: `(m,)` the row player's strategy after the last iteration.
        last_column: `(n,)` the column player's.
        iterations: `(K,)` the iterations recorded.
        gap: `(K,)` the gap of the averages, in the payoff's units.
        last_gap: `(K,)` the gap of the strategies themselves.
        bound: `(K,)` the method's theoretical bound on `gap`; nan where none holds.
        rate: the bound's order, in words.
        proved: whether the bound is a theorem; otherwise it shows a conjectured slope.
        row_path: `(K, m)` the row player's strategy.
        column_path: `(K, n)` the column player's.
        row_average: `(K, m)` the row player's average.
        column_average: `(K, n)` the column player's.
    """

    method: str
    equilibrium: Equilibrium
    last_row: np.ndarray
    last_column: np.ndarray
    iterations: np.ndarray
    gap: np.ndarray
    last_gap: np.ndarray
    bound: np.ndarray
    rate: str
    proved: bool
    row_path: np.ndarray
    column_path: np.ndarray
    row_average: np.ndarray
    column_average: np.ndarray


def learn_game(
    payoff: Any,
    method: str = "regret-matching+",
    iterations: int = 10_000,
    start: tuple[Any, Any] | None = None,
    step_size: float | None = None,
    every: int | None = None,
) -> Learned:
    """Let two learners play a zero-sum game against each other.

    Args:
        payoff: `(m, n)` the row player's payoff, or whatever `read_payoff` reads.
        method: a name in `LEARNERS`.
        iterations: T.
        start: both players' strategies at first, `(m,)` and `(n,)`; uniform if None. Regret
            matching also plays it while it has no positive regret.
        step_size: η for payoffs in [-1, 1]; by default √(2 D/T) with D = max_i -log p₀_i for
            hedge, ½ for optimistic hedge and 0.1 for the replicator; the others have none.
        every: record each `every`-th iteration; by default at most 128, equally spaced in
            their logarithm.

    Returns:
        The averages with their certificate, the last strategies and the curves. All is
        computed in float64.

    Raises:
        InputError: an unusable payoff, an unknown method, or an option out of range.

    Example:
        >>> learned = learn_game([[4, 1], [1, 2]], iterations=2000)
        >>> learned.equilibrium.row.round(2), learned.equilibrium.gap < 1e-2
        (array([0.25, 0.75]), True)
    """
    game = scaled(payoff)
    learner = _learner(method)
    p, q = _start(start, game.matrix.shape, learner.interior, method)
    with np.errstate(divide="ignore"):
        spread = np.array([np.max(-np.log(s)) for s in (p, q)])
    eta = _step_sizes(learner, method, spread, _positive(iterations, "iterations"), step_size)
    grid, lengths = _grid(iterations, every)
    with jax.enable_x64(True):
        curves = _play(game.matrix, (p, q), tuple(eta), lengths, learner.step, learner.power)
        rows, columns, row_mean, column_mean = (np.asarray(c)[: len(grid)] for c in curves)
    return Learned(
        method=method,
        equilibrium=game.equilibrium(row_mean[-1], column_mean[-1], method, iterations),
        last_row=rows[-1],
        last_column=columns[-1],
        iterations=grid,
        gap=game.scale * _gaps(game.matrix, row_mean, column_mean),
        last_gap=game.scale * _gaps(game.matrix, rows, columns),
        bound=game.scale * learner.bound(grid.astype(float), game.matrix.shape, spread, eta),
        rate=learner.rate,
        proved=learner.proved,
        row_path=rows,
        column_path=columns,
        row_average=row_mean,
        column_average=column_mean,
    )


def _learner(method: str) -> Learner:
    check_name(method, LEARNERS, "learning method", "learn_game")
    return LEARNERS[method]


def _positive(number: Any, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise InputError(f"{name} must be a whole number from 1, got {number!r}", "learn_game")
    return int(number)


def _start(
    start: tuple[Any, Any] | None, shape: tuple[int, ...], interior: bool, method: str
) -> tuple[np.ndarray, np.ndarray]:
    m, n = shape
    if start is None:
        return np.full(m, 1.0 / m), np.full(n, 1.0 / n)
    if not isinstance(start, tuple | list) or len(start) != 2:
        raise InputError(
            "the start must be two strategies", "learn_game", "give start=(row, column)"
        )
    pair = as_strategy(start[0], m, "row"), as_strategy(start[1], n, "column")
    if interior and min(s.min() for s in pair) == 0.0:
        raise InputError(
            f"{method} never plays an action that has probability 0 at the start",
            "learn_game",
            "give every action a positive probability",
        )
    return pair


def _step_sizes(
    learner: Learner, method: str, spread: np.ndarray, iterations: int, size: float | None
) -> np.ndarray:
    if size is None:
        return np.ones(2) if learner.eta is None else learner.eta(spread, iterations)
    if learner.eta is None:
        raise InputError(f"{method} has no step size", "learn_game", "leave step_size out")
    if not (np.isfinite(size) and size > 0.0):
        raise InputError(f"the step size must be a positive number, got {size!r}", "learn_game")
    return np.full(2, float(size))


def _grid(iterations: int, every: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the iterations to record, and how many to make before each, padded with 0."""
    if every is None:
        grid = np.unique(np.round(np.geomspace(1.0, iterations, LOG_POINTS)).astype(np.int64))
        size = LOG_POINTS
    else:
        size = -(-iterations // _positive(every, "every"))
        if size > MOST_POINTS:
            raise InputError(
                f"{size:,} iterations to record, and at most {MOST_POINTS:,} can be",
                "learn_game",
                f"set every to at least {-(-iterations // MOST_POINTS)}",
            )
        grid = np.minimum(np.arange(1, size + 1) * every, iterations)
    lengths = np.zeros(size, np.int64)
    lengths[: len(grid)] = np.diff(grid, prepend=0)
    return grid, lengths


@partial(jax.jit, static_argnames=("step", "power"))
def _play(
    b: Array, start: Pair, eta: Pair, lengths: Array, step: Step, power: int
) -> tuple[Array, ...]:
    """Return the strategies and their averages after each stretch of iterations."""

    def one(_: Array, carry: Any) -> Any:
        t, memory, now, sums, total = carry
        memory, now, played = step(b, memory, now, start, eta)
        weight = (t + 1.0) ** power
        sums = sums[0] + weight * played[0], sums[1] + weight * played[1]
        return t + 1.0, memory, now, sums, total + weight

    def stretch(carry: Any, length: Array) -> tuple[Any, tuple[Array, ...]]:
        carry = jax.lax.fori_loop(0, length, one, carry)
        sums, total = carry[3], carry[4]
        return carry, (*carry[2], sums[0] / total, sums[1] / total)

    nothing = jnp.zeros_like(start[0]), jnp.zeros_like(start[1])
    zero = jnp.zeros(())
    return jax.lax.scan(stretch, (zero, nothing, start, nothing, zero), lengths)[1]


def _gaps(b: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.maximum((columns @ b.T).max(axis=1) - (rows @ b).min(axis=1), 0.0)
