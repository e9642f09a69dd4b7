r"""The loop: repeat the rule, look at the validation loss, keep the best, stop when it is time.

A run is a game (an objective with one or more players), data, and a `Training`. An ensemble is the
same run with several keys, advanced together in one compiled program.

    while steps remain and a member is not stopped:
        advance to the next evaluation, in chunks          (jensen.engine.state.advance)
        losses = validation losses of the moving averages  (jensen.engine.state.check)
        keep the best, lower the rate or stop              (jensen.engine.state.assess)

Any chunk length, any kill-and-resume and any number of further epochs give the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import DivergedError, InputError
from jensen._typing import Key, PyTree
from jensen.engine import state as st
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.config import Training
from jensen.engine.devices import replicate
from jensen.engine.interrupt import deferred_interrupt
from jensen.engine.progress import Report, silent
from jensen.engine.vectors import Whole, packed

Watch = Callable[[int, tuple[Any, ...]], None]
"""`watch(step, players)`: shown the averaged weights at evaluation 0, 1, 2, 4, 8, …"""

_CHECKPOINT_SECONDS = 20.0


@dataclass(frozen=True)
class Result:
    """A trained game.

    Attributes:
        players: the best weights (their moving average), every member stacked on a first axis.
        losses: best validation loss `(E,)` per member, nats; inf without validation data.
        metrics: one row per evaluation.
        steps: steps made.
        stopped_early: whether every member stopped before the epochs were over.
    """

    players: tuple[Any, ...]
    losses: np.ndarray
    metrics: list[dict[str, Any]]
    steps: int
    stopped_early: bool


@dataclass(frozen=True)
class Game:
    """What is trained: how players begin, their losses, and what validation measures.

    Args:
        init: `init(key) -> players`, a tuple of pytrees.
        objective: `objective(players, batch, key) -> (loss_1, …)`, to minimise.
        validate: `validate(players, data, key) -> (rows,)` or a scalar, to minimise.
    """

    init: Callable[[Key], tuple[Any, ...]]
    objective: st.Objective
    validate: Callable[..., Any]


def train(
    game: Game,
    data: PyTree,
    validation: PyTree | None,
    training: Training,
    *,
    seed: int = 0,
    members: int = 1,
    checkpoints: Checkpoints | None = None,
    report: Report = silent,
    watch: Watch | None = None,
) -> Result:
    """Train a game, resuming from the newest checkpoint where there is one.

    Args:
        game: what is trained.
        data: pytree of arrays with the rows on the first axis.
        validation: the same for held-out rows, or None: then the last weights are the result.
        training: optimisation, evaluation and stopping.
        seed: with the member's number, the only source of randomness.
        members: E, trained side by side in one program.
        checkpoints: where to keep the state; None to keep it in memory only.
        report: called after every chunk.
        watch: shown the first member's averaged weights at evaluation 0, 1, 2, 4, 8, …: the same
            steps however long the run is and however it is cut; a resumed run may show one again.

    Returns:
        The best weights of every member, with the metrics of every evaluation.

    Raises:
        InputError: if there are no rows, or the checkpoint is of another model.
        DivergedError: if a loss or a gradient stops being finite; the last good checkpoint is kept.
    """
    if st.n_rows(data) < 1:
        raise InputError("no rows to train on")
    keys = replicate(st.member_keys(seed, members))
    vectors, whole = packed(st.initial_players(game.init, keys))
    run = _Run(game, whole, replicate(_on_device(data)), keys, training)
    run.watch = watch
    run.validation = None if validation is None else replicate(_on_device(validation))
    state, step, rows = st.initial_members(vectors, training.optimisation), 0, []
    if checkpoints is not None and checkpoints.latest() is not None:
        step, state, rows = checkpoints.restore(state)
    state = replicate(state)
    final, step, rows = run.loop(state, step, rows, checkpoints, report)
    return Result(
        players=whole.stacked(final.best.average),
        losses=np.asarray(final.best_loss),
        metrics=rows,
        steps=step,
        stopped_early=bool(np.all(final.stopped)),
    )


class _Run:
    """The parts of a run that do not change while it lasts."""

    validation: PyTree | None
    watch: Watch | None

    def __init__(
        self, game: Game, whole: Whole, data: PyTree, keys: Key, training: Training
    ) -> None:
        self.game, self.whole, self.data, self.keys = game, whole, data, keys
        self.training = training
        rows = st.n_rows(data)
        self.length = st.steps_per_epoch(rows, training.optimisation.batch_size)
        self.total = training.most_steps(self.length)
        self.interval = self.length * -(-training.evaluate_every // self.length)
        self.started = time.monotonic()
        self.validation = None
        self.watch = None

    def loop(
        self,
        state: st.Member,
        step: int,
        rows: list[dict[str, Any]],
        checkpoints: Checkpoints | None,
        report: Report,
    ) -> tuple[st.Member, int, list[dict[str, Any]]]:
        """Return the state after the last step, with the best weights chosen, and the metrics."""
        advance = self._stepwise if self._convolves() else self._chunk
        saved_at, good = time.monotonic(), step
        if step == 0 and not rows:  # the weights before the first step are a candidate too
            state, row = self._evaluate(state, 0)
            rows = [row]
            self._show(state, 0)
            if checkpoints is not None:
                checkpoints.save(0, state, rows)
        with deferred_interrupt() as interrupt:
            while step < self.total and not np.all(np.asarray(state.stopped)):
                stop = min(step + self.training.chunk, (step // self.interval + 1) * self.interval)
                state = advance(state, step, min(stop, self.total))
                step = min(stop, self.total)
                if not _finite(state):
                    raise _diverged(good, step)
                good = step
                if step % self.interval == 0:
                    state, row = self._evaluate(state, step)
                    rows = [*rows, row]
                    self._show(state, step)
                report(step, self.total, rows[-1])
                due = time.monotonic() - saved_at > _CHECKPOINT_SECONDS
                if checkpoints is not None and (due or interrupt.pressed):
                    checkpoints.save(step, state, rows)
                    saved_at = time.monotonic()
                if interrupt.pressed:
                    raise KeyboardInterrupt
        if checkpoints is not None:
            checkpoints.save(step, state, rows)
        if step % self.interval:  # epochs end between two evaluations: look, but keep no trace
            state, row = self._evaluate(state, step)
            rows = [*rows, row]
        return state, step, rows

    def _show(self, state: st.Member, step: int) -> None:
        """Show the averaged weights at evaluation 0 and at every power of two."""
        place = step // self.interval
        if self.watch is not None and place & (place - 1) == 0:
            first = self.whole.stacked(state.weights.average)
            self.watch(step, jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, first))

    def _chunk(self, state: st.Member, start: int, stop: int) -> st.Member:
        return st.advance(self._fixed(self.keys, jnp.asarray(start), jnp.asarray(stop)), state)

    def _fixed(self, keys: Key, *where: Any) -> tuple[Any, ...]:
        """Return what a step takes and does not change."""
        how = self.whole, self.game.objective, self.training.optimisation
        return (self.data, keys, *where, *how)

    def _stepwise(self, state: st.Member, start: int, stop: int) -> st.Member:
        rows = st.n_rows(self.data)
        for i in range(start, stop):
            if i == start or i % self.length == 0:
                epoch = jnp.asarray(i // self.length)
                orders = jax.vmap(lambda key, e=epoch: st.epoch_order(key, e, rows))(self.keys)
            state = st.single_step(self._fixed(self.keys, orders, jnp.asarray(i)), state)
        return state

    def _convolves(self) -> bool:
        """Return whether a player holds a convolution, which XLA's CPU loops run 8 times slower."""
        parts = jax.tree.leaves(self.whole, is_leaf=lambda part: isinstance(part, eqx.nn.Conv))
        return any(isinstance(part, eqx.nn.Conv) for part in parts)

    def _evaluate(self, state: st.Member, step: int) -> tuple[st.Member, dict[str, Any]]:
        training = self.training
        steps = np.maximum(np.asarray(state.steps), 1 if step else np.nan)
        train_loss = np.asarray(state.loss_sum) / steps[:, None]
        norm = np.asarray(state.norm_sum) / steps
        rate = np.asarray(state.rate)
        means, spread = None, None
        if self.validation is not None:
            means, spread = st.check(
                state, self.whole, self.validation, self.keys, self.game.validate
            )
        state = st.assess(
            state,
            means,
            jnp.asarray(step),
            training.patience,
            training.reductions,
            training.reduction,
        )
        row: dict[str, Any] = {"step": step, "epoch": step / self.length}
        row["train_loss"] = float(train_loss[:, 0].mean())
        for j in range(1, train_loss.shape[1]):
            row[f"train_loss_{j + 1}"] = float(train_loss[:, j].mean())
        row["validation_loss"] = float("nan") if means is None else float(np.mean(means))
        row["validation_se"] = float("nan") if spread is None else float(spread)
        for m in range(train_loss.shape[0]):
            row[f"train_loss_member_{m}"] = float(train_loss[m, 0])
            row[f"validation_loss_member_{m}"] = float("nan") if means is None else float(means[m])
        row["gradient_norm"] = float(norm.mean())
        row["rate"] = float(rate.mean())
        row["seconds"] = time.monotonic() - self.started
        return state, row


def _diverged(good: int, step: int) -> DivergedError:
    return DivergedError(
        f"training diverged between steps {good} and {step}: a loss or gradient is not finite",
        "the last good checkpoint is kept",
        "lower learning_rate or clip, or look for extreme values in the data",
    )


def _finite(state: st.Member) -> bool:
    """Return whether every member still training has finite losses and gradients."""
    finite = np.isfinite(state.norm_sum) & np.all(np.isfinite(state.loss_sum), axis=1)
    return bool(np.all(finite | np.asarray(state.stopped)))


def _on_device(data: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, data)
