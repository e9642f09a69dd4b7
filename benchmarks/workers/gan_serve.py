"""What the GAN workers share: the sizes, and JSON lines that build a run, make it and time it.

A worker holds one library. A run makes `steps` training steps, each of one discriminator and one
generator step, from fresh weights. Requests:

    {"op": "versions"}                            versions of what was imported
    {"op": "run", "name", "data", "steps"}        one run on the rows of a .npy file

The reply to a run holds `seconds` of all of it, `step`, the seconds of one step, and `loss`, the
discriminator's mean loss over the last epoch. The first run of a worker includes compilation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

import numpy as np
from serve import answer_lines

SWISS = {
    "dim": 2,
    "latent": 1,
    "discriminator": (128, 128),
    "generator": (32,),
    "batch": 64,
    "rate": 5e-4,
}
MODES = {
    "dim": 2,
    "latent": 2,
    "discriminator": (128, 128, 128),
    "generator": (128, 128, 128),
    "batch": 256,
    "rate": 1e-3,
}
Run = Callable[[np.ndarray, int], tuple[float, float | None]]
"""`run(rows, steps) -> (discriminator's loss, seconds of the steps or None for all of the run)`."""


def serve_runs(runs: Mapping[str, Run], packages: tuple[str, ...]) -> None:
    """Serve runs by name; `packages` are the ones whose versions to report."""

    def run(name: str, data: str, steps: int) -> dict:
        rows = np.load(data).astype(np.float32)
        start = time.perf_counter()
        loss, inner = runs[name](rows, steps)
        seconds = time.perf_counter() - start
        if not np.isfinite(loss):
            raise ArithmeticError(f"the discriminator's loss of {name} is {loss}")
        return {"seconds": seconds, "step": (inner or seconds) / steps, "loss": loss}

    answer_lines({"versions": lambda: {p: version(p) for p in packages}, "run": run})
