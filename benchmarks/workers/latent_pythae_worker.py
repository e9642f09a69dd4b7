"""Pythae: the Swiss-roll VAE, trained by its `BaseTrainer`.

Its reconstruction term is that of σ² = 1, so the rows and the decoder's output are both divided by
σ; the loss then lacks a constant, which is added again.
"""

from __future__ import annotations

import math
import tempfile
import time

import numpy as np
import torch
from latent_serve import SWISS, SWISS_VARIANCE, serve_runs
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import nn


def body(n_in: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Return the hidden layers."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(n_in, width), nn.LeakyReLU(0.2)]
        n_in = width
    return nn.Sequential(*layers)


class Encoder(BaseEncoder):
    """x to the mean and the log-variance of z."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body(SWISS["dim"], SWISS["encoder"])
        self.last = nn.Linear(SWISS["encoder"][-1], 2 * SWISS["latent"])

    def forward(self, x: torch.Tensor) -> ModelOutput:
        """Return the mean and the log-variance."""
        mean, log_variance = self.last(self.body(x)).chunk(2, dim=1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """z to the mean of x, in units of σ."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body(SWISS["latent"], SWISS["decoder"])
        self.last = nn.Linear(SWISS["decoder"][-1], SWISS["dim"])

    def forward(self, z: torch.Tensor) -> ModelOutput:
        """Return the mean."""
        mean = torch.tanh(self.last(self.body(z))) / SWISS_VARIANCE**0.5
        return ModelOutput(reconstruction=mean)


class Last(TrainingCallback):
    """Keeps the last epoch's loss."""

    loss = math.nan

    def on_log(self, training_config: object, logs: dict, **kwargs: object) -> None:
        """Take the loss from what the trainer logs after an epoch."""
        self.loss = float(logs["train_epoch_loss"])


def run(data: np.ndarray, steps: int, batch: int, particles: int) -> tuple[float, float]:
    """Make `steps` steps; return the mean loss of the last epoch, and the seconds of training."""
    if particles != 1:
        raise ValueError("this is the ELBO of one particle")
    rows = torch.from_numpy(data) / SWISS_VARIANCE**0.5
    config = VAEConfig(
        input_dim=(SWISS["dim"],), latent_dim=SWISS["latent"], reconstruction_loss="mse"
    )
    last = Last()
    with tempfile.TemporaryDirectory() as folder:
        trainer = BaseTrainer(
            VAE(config, encoder=Encoder(), decoder=Decoder()),
            BaseDataset(rows, torch.ones(len(rows))),
            training_config=BaseTrainerConfig(
                output_dir=folder,
                num_epochs=steps // -(-len(rows) // batch),
                learning_rate=SWISS["rate"],
                per_device_train_batch_size=batch,
                optimizer_cls="Adam",
                no_cuda=True,
            ),
            callbacks=[last],
        )
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    constant = 0.5 * SWISS["dim"] * math.log(2 * math.pi * SWISS_VARIANCE)
    return last.loss + constant, seconds


if __name__ == "__main__":
    torch.manual_seed(0)
    serve_runs({"pythae": run}, ("pythae",))
