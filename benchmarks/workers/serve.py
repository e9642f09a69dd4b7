"""What every worker shares: the data, the timing of blocks, and JSON lines on stdin and stdout.

A worker holds one library. It reads one request a line, answers it with one line, and does nothing
in between, so that only one library is at work at a time. Requests:

    {"op": "versions"}                                  versions of what was imported
    {"op": "prepare", family, dim, warm_steps, seconds} build, compile, train, size the blocks
    {"op": "measure", family, dim, measure}             time one block; seconds per unit
    {"op": "first", family, dim}                        100 steps, then log_prob of 1,000 rows
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Protocol, TextIO

import numpy as np

BATCH = 256
N_LAYERS = 5
HIDDEN = (128, 128)
BINS = 8
TAIL_BOUND = 5.0
LEARNING_RATE = 1e-3

N_BATCHES = 100
LOG_PROB_ROWS = 10_000
SAMPLE_ROWS = 1_000
FIRST_STEPS = 100
FIRST_ROWS = 1_000


class Flow(Protocol):
    """One flow of one library, with its optimiser and its data."""

    def train(self, n_steps: int) -> None:
        """Take `n_steps` Adam steps on −mean log_prob of a batch, and wait until they are done."""
        ...

    def log_prob(self, n_rows: int) -> np.ndarray:
        """Return log_prob of the first `n_rows` rows of the data."""
        ...

    def sample(self, n_rows: int) -> np.ndarray:
        """Return `n_rows` samples."""
        ...


Build = Callable[[str, np.ndarray], Flow]


def make_data(dim: int) -> np.ndarray:
    """Return `(N_BATCHES * BATCH, dim)` standardised float32 rows, each column bent by the last."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N_BATCHES * BATCH, dim))
    for d in range(1, dim):
        x[:, d] = 0.5 * x[:, d] + np.sin(2.0 * x[:, d - 1])
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


class Bench:
    """The flows of one library that are ready to be timed, with the size of their blocks."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.flows: dict[tuple[str, int], Flow] = {}
        self.counts: dict[tuple[str, int, str], int] = {}

    def prepare(self, family: str, dim: int, warm_steps: int, seconds: float) -> dict:
        """Build and train one flow, and choose how many units make a block of `seconds`."""
        flow = self.flows[family, dim] = self.build(family, make_data(dim))
        flow.train(warm_steps)
        for measure in ("train", "log_prob", "sample"):
            self._unit(family, dim, measure, 1 if measure != "train" else warm_steps)
            trial = 1 if measure != "train" else warm_steps
            each = self._unit(family, dim, measure, trial)
            self.counts[family, dim, measure] = max(1, math.ceil(seconds / each))
        flow.train(self.counts[family, dim, "train"])
        values, samples = flow.log_prob(FIRST_ROWS), flow.sample(SAMPLE_ROWS)
        return {
            "mean_log_prob": float(np.mean(values)),
            "sample_std": float(np.std(samples)),
            "finite": bool(np.isfinite(values).all() and np.isfinite(samples).all()),
        }

    def measure(self, family: str, dim: int, measure: str) -> dict:
        """Time one block: seconds per step for "train", per row for the others."""
        count = self.counts[family, dim, measure]
        rows = {"train": 1, "log_prob": LOG_PROB_ROWS, "sample": SAMPLE_ROWS}[measure]
        return {"seconds": self._unit(family, dim, measure, count) / rows, "count": count}

    def first(self, family: str, dim: int) -> dict:
        """Go from nothing to a first result; the caller holds the clock."""
        flow = self.build(family, make_data(dim))
        flow.train(FIRST_STEPS)
        return {"mean_log_prob": float(np.mean(flow.log_prob(FIRST_ROWS)))}

    def _unit(self, family: str, dim: int, measure: str, count: int) -> float:
        """Return the mean seconds of one step, or of one call, over a block of `count`."""
        flow = self.flows[family, dim]
        start = time.perf_counter()
        if measure == "train":
            flow.train(count)
        else:
            for _ in range(count):
                if measure == "log_prob":
                    flow.log_prob(LOG_PROB_ROWS)
                else:
                    flow.sample(SAMPLE_ROWS)
        return (time.perf_counter() - start) / count


def answer_lines(operations: dict[str, Callable[..., dict]]) -> None:
    """Answer requests until stdin closes; what a library prints goes to stderr."""
    out = _claim_stdout()
    for line in sys.stdin:
        request = json.loads(line)
        reply = operations[request.pop("op")](**request)
        out.write(json.dumps(reply) + "\n")
        out.flush()


def serve(build: Build, packages: tuple[str, ...]) -> None:
    """Serve the flows that `build` makes; `packages` are the ones whose versions to report."""
    bench = Bench(build)
    answer_lines(
        {
            "versions": lambda: {name: version(name) for name in packages},
            "prepare": bench.prepare,
            "measure": bench.measure,
            "first": bench.first,
        }
    )


def _claim_stdout() -> TextIO:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out
