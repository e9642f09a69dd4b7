"""CTGAN: `fit` on continuous columns, with its own networks, losses and sampler of rows.

The widths, the latent dimension and the batch are set; pac is 1. What it does not let one set: a
generator with batch normalisation whose layers see all inputs before them, a discriminator with
dropout, a gradient penalty, and for each column one number and one category that says which of up
to ten Gaussians it is relative to. The clock of the steps starts with the first epoch, after these
Gaussians are fitted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import ctgan.synthesizers.ctgan as source
import numpy as np
import torch
from gan_serve import MODES, serve_runs


class EpochClock:
    """Stands where CTGAN shows its progress over the epochs, and notes when they begin and end."""

    def __init__(self, epochs: range, **_: object) -> None:
        self.epochs = epochs

    def __iter__(self) -> Iterator[int]:
        """Yield the epochs."""
        EpochClock.began = time.perf_counter()
        yield from self.epochs
        EpochClock.ended = time.perf_counter()


def train(data: np.ndarray, steps: int) -> tuple[float, float]:
    """Make `steps` steps; return the last discriminator's loss and the seconds of the steps."""
    model = source.CTGAN(
        embedding_dim=MODES["latent"],
        generator_dim=MODES["generator"],
        discriminator_dim=MODES["discriminator"],
        generator_lr=MODES["rate"],
        discriminator_lr=MODES["rate"],
        batch_size=MODES["batch"],
        epochs=steps // (len(data) // MODES["batch"]),
        pac=1,
        enable_gpu=False,
    )
    model.fit(data)
    loss = float(model.loss_values["Discriminator Loss"].iloc[-1])
    return loss, EpochClock.ended - EpochClock.began


if __name__ == "__main__":
    torch.manual_seed(0)
    source.tqdm = EpochClock
    serve_runs({"ctgan": train}, ("ctgan", "torch", "numpy"))
