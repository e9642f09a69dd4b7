"""What the MINIBOONE workers share: the rows, standardised, and early stopping on validation rows.

A request is one line, `{"op": "fit", data, setting, seed, out}`; the answer holds the validation
log-likelihood and the seconds, and `out` the log-likelihood of every validation and test row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

BATCH, BINS, BOUND = 256, 8, 5.0
MOST_EPOCHS, PATIENCE = 200, 15


class Rows:
    """Training, validation and test rows in standard units of the training rows.

    Args:
        path: a `.npz` with `train`, `validation` and `test`, each `(n, D)`.
    """

    def __init__(self, path: str) -> None:
        raw = np.load(path)
        mean, scale = raw["train"].mean(axis=0), raw["train"].std(axis=0)
        names = ("train", "validation", "test")
        self.train, self.validation, self.test = (
            ((raw[name] - mean) / scale).astype(np.float32) for name in names
        )
        self.log_det = -float(np.log(scale).sum())
        """Nats that standard units add to a log-density."""


class Fitted(Protocol):
    """A flow in training."""

    def epoch(self, batches: np.ndarray) -> None:
        """Take a step on each batch of row numbers `(steps, BATCH)`."""
        ...

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Return log p `(n,)` of rows `(n, D)` in standard units, nats."""
        ...

    def keep(self) -> None:
        """Keep the weights as the best so far."""
        ...

    def best(self) -> None:
        """Go back to the best weights."""
        ...


def fit(
    build: Callable[[np.ndarray, dict, int], Fitted], data: str, setting: dict, seed: int, out: str
) -> dict:
    """Train until `PATIENCE` epochs bring no new best on the validation rows; write the figures.

    Args:
        build: from training rows, a setting and a seed to a flow.
        data: the rows.
        setting: of the flow and its optimiser.
        seed: of the weights and the order of the rows.
        out: where the log-likelihoods go.
    """
    start, rows = time.perf_counter(), Rows(data)
    flow, random = build(rows.train, setting, seed), np.random.default_rng(seed)
    n = len(rows.train) // BATCH * BATCH
    best, since, epoch = -np.inf, 0, 0
    while epoch < MOST_EPOCHS and since < PATIENCE:
        flow.epoch(random.permutation(len(rows.train))[:n].reshape(-1, BATCH))
        mean, epoch, since = float(flow.log_prob(rows.validation).mean()), epoch + 1, since + 1
        if mean > best:
            best, since = mean, 0
            flow.keep()
    flow.best()
    found = {
        name: flow.log_prob(getattr(rows, name)) + rows.log_det for name in ("validation", "test")
    }
    np.savez(out, **found)
    seconds = time.perf_counter() - start
    return {"validation": best + rows.log_det, "epochs": epoch, "seconds": seconds}
