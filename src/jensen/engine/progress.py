r"""Progress: a bar on a terminal, plain lines elsewhere, always on standard error."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

Report = Callable[[int, int, dict[str, Any] | None], None]
"""`report(step, total, newest row of metrics or None)`."""


def silent(step: int, total: int, row: dict[str, Any] | None) -> None:
    """Report nothing."""


class Progress:
    """Shows how far a run is; use as a context manager, call as a `Report`.

    Args:
        label: what is being trained.
        stream: where to show it.
        every: fewest seconds between two plain lines.
    """

    def __init__(self, label: str, stream: TextIO | None = None, every: float = 5.0) -> None:
        self.label, self.every = label, every
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
        for name in ("train", "validation"):
            loss = math.nan if row is None else row[f"{name}_loss"]
            if not math.isnan(loss):  # before the first step, or without validation rows
                text += f"  {name} {loss:.4f} nats"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, total=total, description=text)
        elif time.monotonic() - self._last >= self.every:
            self._last = time.monotonic()
            print(f"{text}  step {step}/{total}", file=self.stream, flush=True)
