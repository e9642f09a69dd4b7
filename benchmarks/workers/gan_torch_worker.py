"""PyTorch: the Swiss-roll GAN in a plain loop, and in a loop with what torch offers for speed.

`plain` is a `DataLoader` that shuffles and two `Adam` optimisers; `fused` takes its batches from a
permutation drawn once an epoch, and `fused=True` optimisers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from gan_serve import SWISS, serve_runs
from torch import nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset


def network(n_in: int, hidden: tuple[int, ...], n_out: int) -> nn.Sequential:
    """Return a perceptron with tanh between its layers."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(n_in, width), nn.Tanh()]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))


def shuffled(rows: torch.Tensor) -> Iterable[tuple[torch.Tensor]]:
    """Yield the batches of one epoch, from one permutation."""
    for index in torch.randperm(len(rows)).split(SWISS["batch"]):
        yield (rows[index],)


def train(data: np.ndarray, steps: int, *, fused: bool) -> tuple[float, None]:
    """Make `steps` steps of both players; return the discriminator's loss in the last epoch."""
    rows = torch.from_numpy(data)
    discriminator = network(SWISS["dim"], SWISS["discriminator"], 1)
    generator = network(SWISS["latent"], SWISS["generator"], SWISS["dim"])
    optimizer_d, optimizer_g = (
        torch.optim.Adam(net.parameters(), lr=SWISS["rate"], fused=fused)
        for net in (discriminator, generator)
    )
    loader = DataLoader(TensorDataset(rows), batch_size=SWISS["batch"], shuffle=True)
    losses: list[torch.Tensor] = []
    for _ in range(steps // len(loader)):
        losses.clear()
        for (real,) in shuffled(rows) if fused else loader:
            fake = generator(torch.randn(len(real), SWISS["latent"])).detach()
            loss_d = softplus(-discriminator(real)).mean() + softplus(discriminator(fake)).mean()
            optimizer_d.zero_grad()
            loss_d.backward()
            optimizer_d.step()

            fake = generator(torch.randn(len(real), SWISS["latent"]))
            loss_g = softplus(-discriminator(fake)).mean()
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
            losses.append(loss_d.detach())
    return float(torch.stack(losses).mean()), None


if __name__ == "__main__":
    torch.manual_seed(0)
    runs = {
        "plain": lambda rows, steps: train(rows, steps, fused=False),
        "fused": lambda rows, steps: train(rows, steps, fused=True),
    }
    serve_runs(runs, ("torch", "numpy"))
