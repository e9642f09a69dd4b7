"""What the latent-variable workers share: the sizes, and JSON lines that make a run and time it.

A worker holds one library. A run makes `steps` training steps of one model from fresh weights.
Requests:

    {"op": "versions"}                                            versions of what was imported
    {"op": "run", "name", "data", "steps", "batch", "particles"}  one run on the rows of a .npy file

The reply to a run holds `seconds` of all of it, `step`, the seconds of one step, and `loss`, the
mean negative bound, nats, of the last epoch (of all steps for jensen). The first run of a worker
includes compilation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

import numpy as np
from serve import answer_lines

SWISS = {"dim": 2, "latent": 1, "encoder": (128, 128), "decoder": (64, 64), "rate": 5e-4}
SWISS_VARIANCE = 1 / 150
IMAGE = {"dim": 784, "latent": 50, "hidden": (200, 200), "rate": 1e-3}
Run = Callable[[np.ndarray, int, int, int], tuple[float, float | None]]
"""`run(rows, steps, batch, particles) -> (loss, seconds of the steps or None for all of it)`."""


def serve_runs(runs: Mapping[str, Run], packages: tuple[str, ...]) -> None:
    """Serve runs by name; `packages` are the ones whose versions to report."""

    def run(name: str, data: str, steps: int, batch: int, particles: int) -> dict:
        rows = np.load(data).astype(np.float32)
        start = time.perf_counter()
        loss, inner = runs[name](rows, steps, batch, particles)
        seconds = time.perf_counter() - start
        if not np.isfinite(loss):
            raise ArithmeticError(f"the loss of {name} is {loss}")
        return {"seconds": seconds, "step": (inner or seconds) / steps, "loss": loss}

    answer_lines({"versions": lambda: {p: version(p) for p in packages}, "run": run})
