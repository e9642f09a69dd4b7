r"""Progress: a bar on a terminal, plain lines elsewhere, always on standard error."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

Report = Callable[[int, int, dict[str, Any] | None], None]
"""`report(step, total, newest row of metrics or None)`."""


Losses = tuple[tuple[str, str, str], ...]
"""Which columns of the metrics are shown, each with its name and its unit (empty: none)."""

DENSITY: Losses = (("train_loss", "train", "nats"), ("validation_loss", "validation", "nats"))
"""A density's losses are -log p, or a bound of it."""

GAME: Losses = (
    ("train_loss", "discriminator", ""),
    ("train_loss_2", "generator", ""),
    ("validation_loss", "held-out JSD", "nats"),
)
"""The losses of a game of two have no unit in common (a Wasserstein loss is a distance, a hinge or
a square a number, and penalties are added), and its validation is a divergence."""

MATCHING: Losses = (("train_loss", "train", ""), ("validation_loss", "validation", ""))
"""The loss of flow matching is a squared velocity."""

_BY_FAMILY = {"gan": GAME}


def losses_of(family: str, settings: Mapping[str, Any] | None = None) -> Losses:
    """Return what to show of the training of a family of models.

    Args:
        family: its name in `--model`.
        settings: name → value, as a user gives them.

    Example:
        >>> [name for _, name, _ in losses_of("gan")]
        ['discriminator', 'generator', 'held-out JSD']
    """
    told = settings or {}
    if told.get("architecture") == "continuous" and told.get("objective") != "likelihood":
        return MATCHING
    return _BY_FAMILY.get(family, DENSITY)


def silent(step: int, total: int, row: dict[str, Any] | None) -> None:
    """Report nothing."""


class Progress:
    """Shows how far a run is; use as a context manager, call as a `Report`.

    Args:
        label: what is being trained.
        losses: what to show of the newest row of metrics.
        stream: where to show it.
        every: fewest seconds between two plain lines.
    """

    def __init__(
        self,
        label: str,
        losses: Losses = DENSITY,
        stream: TextIO | None = None,
        every: float = 5.0,
    ) -> None:
        self.label, self.losses, self.every = label, losses, every
        self.stream = stream if stream is not None else sys.stderr
        self._bar: Any = None
        self._task: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> Progress:
        if self.stream.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(file=self.stream), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=None)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, step: int, total: int, row: dict[str, Any] | None) -> None:
        """Show step `step` of at most `total`, and the newest losses."""
        text = self.label
        for column, name, unit in self.losses:
            loss = math.nan if row is None else row[column]
            if not math.isnan(loss):  # before the first step, or without validation rows
                text += f"  {name} {loss:.4f} {unit}".rstrip()
        if self._bar is not None:
            self._bar.update(self._task, completed=step, total=total, description=text)
        elif time.monotonic() - self._last >= self.every:
            self._last = time.monotonic()
            print(f"{text}  step {step}/{total}", file=self.stream, flush=True)
