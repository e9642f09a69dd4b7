r"""What a training run is told: optimiser, rule, and when to stop.

Nothing here depends on the total number of epochs, so a run of 2N epochs equals a run of N epochs
followed by a resumed run of N, bit for bit. The learning rate falls when validation says so: after
`patience` evaluations without a new best, training goes back to the best weights *and their
optimiser state* with the rate multiplied by `reduction`; after `reductions` such falls it stops.
"""

from __future__ import annotations

from dataclasses import dataclass

import optax

from jensen._errors import InputError, check_name
from jensen.games.rules import RULES

OPTIMISERS = ("adam", "sgd")


def _need(holds: bool, name: str, value: object, range_: str) -> None:
    if not holds:
        raise InputError(
            f"{name} must be {range_}, got {value}", mend=f"set {name} to a value {range_}"
        )


@dataclass(frozen=True)
class Optimisation:
    """How one step is made; everything that the compiled program depends on.

    Args:
        batch_size: rows per step (the whole data where there are fewer).
        learning_rate: step size η of every player, or one per player.
        optimiser: `adam` (decoupled weight decay) or `sgd`.
        weight_decay: decoupled weight decay per step, times η; None for a family's choice, else 0.
        beta1: decay of Adam's first moment.
        clip: largest global gradient norm; None for no clipping.
        warmup: steps over which η rises linearly from 0.
        ema: decay of the exponential moving average of the weights; 0 for none.
        rule: name of the update rule, see `jensen.games.rules`.

    Raises:
        InputError: for a value outside its range.
    """

    batch_size: int = 256
    learning_rate: float | tuple[float, ...] = 1e-3
    optimiser: str = "adam"
    weight_decay: float | None = 0.0
    beta1: float = 0.9
    clip: float | None = 5.0
    warmup: int = 100
    ema: float = 0.99
    rule: str = "simultaneous"

    def __post_init__(self) -> None:
        rates = (
            self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,)
        )
        _need(all(rate > 0 for rate in rates), "learning_rate", self.learning_rate, "above 0")
        _need(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        _need(0 <= self.ema < 1, "ema", self.ema, "in [0, 1)")
        _need(0 <= self.beta1 < 1, "beta1", self.beta1, "in [0, 1)")
        _need(self.clip is None or self.clip > 0, "clip", self.clip, "above 0, or none")
        _need(self.warmup >= 0, "warmup", self.warmup, "at least 0")
        decay = self.weight_decay
        _need(decay is None or decay >= 0, "weight_decay", decay, "at least 0")
        for name, value, choices in (
            ("optimiser", self.optimiser, OPTIMISERS),
            ("rule", self.rule, tuple(RULES)),
        ):
            check_name(value, choices, name)
        plain = self.optimiser == "sgd" and self.clip is None and not self.weight_decay
        if RULES[self.rule].plain_steps_only and not plain:
            raise InputError(
                f"the {self.rule} rule is an implicit equation in plain gradient steps",
                "rule",
                "set optimiser=sgd, clip=none and weight_decay=0, or choose extragradient",
            )

    def optimiser_of(self, player: int) -> optax.GradientTransformation:
        """Return the optax transformation of one player."""
        rate = self.learning_rate
        rate = rate[player] if isinstance(rate, tuple) else rate
        first = rate / (self.warmup + 1)  # not 0, which would waste the first batch
        schedule = optax.linear_schedule(first, rate, self.warmup) if self.warmup else rate
        decay = self.weight_decay or 0.0
        if self.optimiser == "adam":
            method = optax.adamw(schedule, b1=self.beta1, weight_decay=decay)
        else:
            method = optax.chain(optax.add_decayed_weights(decay), optax.sgd(schedule))
        return optax.chain(optax.clip_by_global_norm(self.clip), method) if self.clip else method


@dataclass(frozen=True)
class Training:
    """An optimisation and when to evaluate, to slow down and to stop.

    Args:
        epochs: passes over the data at most; None for about 6,400 steps, but 5 to 400 passes.
        optimisation: how one step is made.
        evaluate_every: fewest steps between two evaluations (rounded up to whole epochs).
        patience: evaluations without a new best before the learning rate falls.
        reductions: falls of the learning rate before training stops.
        reduction: factor of each fall.
        chunk: most steps between two looks at the clock; any value gives the same numbers.

    Raises:
        InputError: for a value outside its range.
    """

    epochs: int | None = None
    optimisation: Optimisation = Optimisation()
    evaluate_every: int = 25
    patience: int = 15
    reductions: int = 2
    reduction: float = 0.3
    chunk: int = 1000

    def __post_init__(self) -> None:
        for name in ("evaluate_every", "patience", "chunk"):
            _need(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _need(self.epochs is None or self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _need(self.reductions >= 0, "reductions", self.reductions, "at least 0")
        _need(0 < self.reduction < 1, "reduction", self.reduction, "in (0, 1)")

    def most_steps(self, steps_per_epoch: int) -> int:
        """Return how many steps training makes at most.

        Example:
            >>> Training().most_steps(16), Training(epochs=3).most_steps(16)
            (6400, 48)
        """
        epochs = self.epochs
        if epochs is None:
            epochs = min(max(-(-6400 // steps_per_epoch), 5), 400)
        return epochs * steps_per_epoch
