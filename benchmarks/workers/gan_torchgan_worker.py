"""torchgan: `Trainer` with its minimax losses (non-saturating), one call of `train_iter` a step.

A step is what `Trainer.train` does for a batch: `train_iter`, the sums of losses, and the logger's
turn within an epoch. Batches are laid out before; the files and pictures that `train` writes at the
end of an epoch are left out. torchgan imports torchvision for these pictures only: where it is not
installed an empty module takes its place.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import torch
from gan_serve import MODES, serve_runs
from torch import nn

if find_spec("torchvision") is None:
    sys.modules["torchvision"] = ModuleType("torchvision")

from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
from torchgan.models import Discriminator, Generator
from torchgan.trainer import Trainer


def network(n_in: int, hidden: tuple[int, ...], n_out: int) -> nn.Sequential:
    """Return a perceptron with ReLU between its layers."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(n_in, width), nn.ReLU()]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))


class TableGenerator(Generator):
    """A generator of rows of numbers."""

    def __init__(self) -> None:
        super().__init__(MODES["latent"])
        self.net = network(MODES["latent"], MODES["generator"], MODES["dim"])

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the rows of latent vectors."""
        return self.net(z)


class TableDiscriminator(Discriminator):
    """A discriminator of rows of numbers."""

    def __init__(self) -> None:
        super().__init__(MODES["dim"])
        self.net = network(MODES["dim"], MODES["discriminator"], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of rows."""
        return self.net(x)


def train(data: np.ndarray, steps: int) -> tuple[float, None]:
    """Make `steps` steps; return the discriminator's mean loss over the last epoch."""
    batches = torch.from_numpy(data).split(MODES["batch"])
    optimizer = {"name": torch.optim.Adam, "args": {"lr": MODES["rate"]}}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            {
                "generator": {"name": TableGenerator, "optimizer": optimizer},
                "discriminator": {"name": TableDiscriminator, "optimizer": optimizer},
            },
            [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()],
            device=torch.device("cpu"),
            checkpoints=f"{folder}/gan",
            recon=folder,
        )
    trainer.batch_size = MODES["batch"]
    seen = trainer.loss_information
    for i in range(steps):
        trainer.real_inputs = batches[i % len(batches)].to(trainer.device)
        generator, discriminator, turns_g, turns_d = trainer.train_iter()
        seen["generator_losses"] += generator
        seen["discriminator_losses"] += discriminator
        seen["generator_iters"] += turns_g
        seen["discriminator_iters"] += turns_d
        trainer.logger.run_mid_epoch(trainer)
    losses = trainer.logger.get_loss_viz().logs["MinimaxDiscriminatorLoss"]
    return float(np.mean(losses[-len(batches) :])), None


if __name__ == "__main__":
    torch.manual_seed(0)
    serve_runs({"torchgan": train}, ("torchgan", "torch", "numpy"))
