"""PyTorch: the Swiss-roll VAE and an IWAE of images, plain and with what torch offers for speed.

`plain` takes its batches from a `DataLoader` that shuffles and steps with `Adam`; `fused` takes
them from a permutation drawn once an epoch and steps with `Adam(fused=True)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from latent_serve import IMAGE, SWISS, SWISS_VARIANCE, serve_runs
from torch import nn
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

Loss = Callable[[torch.Tensor], torch.Tensor]


def network(widths: tuple[int, ...], act: Callable[[], nn.Module]) -> nn.Sequential:
    """Return a perceptron with an activation between its layers."""
    layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
    for n_in, n_out in pairwise(widths[1:]):
        layers += [act(), nn.Linear(n_in, n_out)]
    return nn.Sequential(*layers)


def swiss_roll() -> tuple[list[nn.Module], Loss]:
    """Return the networks of the Swiss-roll VAE and its -ELBO, with the KL in closed form."""
    dim, latent, act = SWISS["dim"], SWISS["latent"], partial(nn.LeakyReLU, 0.2)
    encoder = network((dim, *SWISS["encoder"], 2 * latent), act)
    decoder = nn.Sequential(*network((latent, *SWISS["decoder"], dim), act), nn.Tanh())
    constant = 0.5 * dim * math.log(2 * math.pi * SWISS_VARIANCE)

    def loss(x: torch.Tensor) -> torch.Tensor:
        mean, log_variance = encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        missed = 0.5 * (x - decoder(z)).square().sum(1) / SWISS_VARIANCE + constant
        kl = 0.5 * (log_variance.exp() + mean.square() - 1.0 - log_variance).sum(1)
        return (missed + kl).mean()

    return [encoder, decoder], loss


def iwae(particles: int) -> tuple[list[nn.Module], Loss]:
    """Return the networks of the image model and its negative importance-weighted bound."""
    dim, latent, hidden = IMAGE["dim"], IMAGE["latent"], IMAGE["hidden"]
    encoder = network((dim, *hidden, 2 * latent), nn.Tanh)
    decoder = network((latent, *hidden, dim), nn.Tanh)
    prior = Normal(torch.zeros(latent), torch.ones(latent), validate_args=False)

    def loss(x: torch.Tensor) -> torch.Tensor:
        mean, log_variance = encoder(x).chunk(2, dim=1)
        q = Normal(mean, torch.exp(0.5 * log_variance), validate_args=False)
        z = q.rsample((particles,))  # (K, B, L)
        logits = decoder(z)
        target = x.expand_as(logits)
        fits = -binary_cross_entropy_with_logits(logits, target, reduction="none").sum(2)
        log_w = fits + (prior.log_prob(z) - q.log_prob(z)).sum(2)
        return -(torch.logsumexp(log_w, 0) - math.log(particles)).mean()

    return [encoder, decoder], loss


def shuffled(rows: torch.Tensor, batch: int) -> Iterable[tuple[torch.Tensor]]:
    """Yield the batches of one epoch, from one permutation."""
    for index in torch.randperm(len(rows)).split(batch):
        yield (rows[index],)


def train(
    data: np.ndarray, steps: int, batch: int, particles: int, *, fused: bool
) -> tuple[float, None]:
    """Make `steps` steps; return the mean loss of the last epoch."""
    rows = torch.from_numpy(data)
    small = data.shape[1] == SWISS["dim"]
    networks, loss = swiss_roll() if small else iwae(particles)
    weights = [p for net in networks for p in net.parameters()]
    rate = SWISS["rate"] if small else IMAGE["rate"]
    optimizer = torch.optim.Adam(weights, lr=rate, fused=fused)
    loader = DataLoader(TensorDataset(rows), batch_size=batch, shuffle=True)
    losses: list[torch.Tensor] = []
    for _ in range(steps // len(loader)):
        losses.clear()
        for (x,) in shuffled(rows, batch) if fused else loader:
            value = loss(x)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(value.detach())
    return float(torch.stack(losses).mean()), None


if __name__ == "__main__":
    torch.manual_seed(0)
    serve_runs(
        {"plain": partial(train, fused=False), "fused": partial(train, fused=True)},
        ("torch", "numpy"),
    )
