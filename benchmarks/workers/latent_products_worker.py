"""The limit of an IWAE's step, its chain of matrix products alone; and patches beside convolutions.

The chain is every product of one step of the image model, forward and backward, with B rows in the
encoder and B·K in the decoder, and the change of the weights; no activation, no bias, no noise, no
density. JAX runs it in one compiled loop, NumPy step by step into arrays of its own.

The image networks are two levels of 2 × 2 patches with 16 and 32 channels on 28 × 28 pixels, in a
VAE with 16 latents, from `jensen.nn.patch` and from Equinox's `Conv2d` and `ConvTranspose2d`, each
trained by the engine: it runs steps with convolutions one by one, others in one compiled loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from latent_serve import IMAGE
from serve import answer_lines

from jensen._typing import Array, Key
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.nn.patch import PatchDecoder, PatchEncoder
from jensen.objectives.bounds import ELBO
from jensen.objectives.gradients import ClosedFormKL
from jensen.objectives.likelihood import Mean
from jensen.objectives.variational import NegativeBound

Weights = tuple[Any, ...]
SIDE, PATCHES, WIDTHS, CODE = 28, (2, 2), (16, 32), 16


def chain(np_: Any, particles: int, x: Any, weights: tuple[Weights, Weights]) -> Any:
    """Return the encoder's and the decoder's weights after one step, with numpy or jax.numpy."""
    rate, latent = 1e-9, IMAGE["latent"]
    inputs, h = [], x
    for w in weights[0]:
        inputs.append(h)
        h = w @ h
    h = np_.repeat(h[:latent], particles, axis=1)
    middle = len(inputs)
    for w in weights[1]:
        inputs.append(h)
        h = w @ h
    moved, slope = [], h
    for i, w in reversed(list(enumerate((*weights[0], *weights[1])))):
        moved.append(w - rate * (slope @ inputs[i].T))
        if i:
            slope = w.T @ slope
        if i == middle:
            slope = slope.reshape(latent, x.shape[1], particles).sum(2)
            slope = np_.concatenate([slope, slope])
    moved.reverse()
    return tuple(moved[:middle]), tuple(moved[middle:])


def limit(backend: str, batch: int, particles: int, steps: int) -> dict:
    """Return the seconds of a step of products, with `numpy` or `jax`."""
    dim, latent, hidden = IMAGE["dim"], IMAGE["latent"], IMAGE["hidden"]
    random = np.random.default_rng(0)

    def matrices(*sizes: int) -> Weights:
        pairs = zip(sizes[1:], sizes[:-1], strict=True)
        return tuple(0.01 * random.standard_normal(pair, np.float32) for pair in pairs)

    weights = matrices(dim, *hidden, 2 * latent), matrices(latent, *hidden, dim)
    x = random.standard_normal((dim, batch), np.float32)
    run = _compiled(particles) if backend == "jax" else partial(_eager, particles)
    start = time.perf_counter()
    run(x, weights, steps)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "step": seconds / steps}


def _eager(particles: int, x: np.ndarray, weights: Any, steps: int) -> None:
    for _ in range(steps):
        weights = chain(np, particles, x, weights)


def _compiled(particles: int) -> Callable[[Array, Any, int], None]:
    if particles not in _CHAINS:

        @jax.jit
        def run(x: Array, weights: Any, steps: int) -> Any:
            step = partial(chain, jnp, particles, x)
            return jax.lax.fori_loop(0, steps, lambda _, w: step(w), weights)

        _CHAINS[particles] = lambda *args: jax.block_until_ready(run(*args))
    return _CHAINS[particles]


_CHAINS: dict[int, Callable] = {}


class Convolutions(eqx.Module):
    """The patch encoder's function with Equinox's layers."""

    layers: tuple[eqx.nn.Conv2d, ...]
    last: eqx.nn.Linear

    def __call__(self, x: Array) -> Array:
        """Return the code's means and log-variances."""
        h = x.reshape(1, SIDE, SIDE)
        for layer in self.layers:
            h = jax.nn.relu(layer(h))
        return self.last(h.ravel())


class Transposed(eqx.Module):
    """The patch decoder's function with Equinox's layers."""

    first: eqx.nn.Linear
    layers: tuple[eqx.nn.ConvTranspose2d, ...]

    def __call__(self, z: Array) -> Array:
        """Return the pixels' log-odds."""
        h = jax.nn.relu(self.first(z)).reshape(WIDTHS[-1], SIDE // 4, SIDE // 4)
        h = jax.nn.relu(self.layers[0](h))
        return self.layers[1](h).ravel()


def convolutional(key: Key) -> tuple[Latent]:
    """Return the VAE with Equinox's layers."""
    keys, cells = jax.random.split(key, 6), WIDTHS[-1] * (SIDE // 4) ** 2
    conv, back = eqx.nn.Conv2d, eqx.nn.ConvTranspose2d
    encoder = Convolutions(
        (conv(1, 16, 2, 2, key=keys[0]), conv(16, 32, 2, 2, key=keys[1])),
        eqx.nn.Linear(cells, 2 * CODE, key=keys[2]),
    )
    decoder = Transposed(
        eqx.nn.Linear(CODE, cells, key=keys[3]),
        (back(32, 16, 2, 2, key=keys[4]), back(16, 1, 2, 2, key=keys[5])),
    )
    return (_vae(encoder, decoder),)


def patched(key: Key) -> tuple[Latent]:
    """Return the VAE with patch networks."""
    a, b = jax.random.split(key)
    encoder = PatchEncoder(a, (SIDE, SIDE), 2 * CODE, PATCHES, WIDTHS, last=1.0)
    decoder = PatchDecoder(b, CODE, (SIDE, SIDE), PATCHES, WIDTHS, last=1.0)
    return (_vae(encoder, decoder),)


def _vae(encoder: Callable[[Array], Array], decoder: Callable[[Array], Array]) -> Latent:
    likelihood = Likelihood(decoder, Bernoulli(SIDE**2))
    return Latent(StandardNormal(CODE), likelihood, DiagonalPosterior(encoder))


def networks(kind: str, data: str, batch: int, steps: int) -> dict:
    """Return the seconds of a training step with `patches` or `convolutions`."""
    rows = np.load(data).astype(np.float32)
    init = {"patches": patched, "convolutions": convolutional}[kind]
    optimisation = Optimisation(batch_size=batch, clip=None, warmup=0, ema=0.0)
    training = Training(steps // -(-len(rows) // batch), optimisation, evaluate_every=steps)
    game = Game(init, Mean(NegativeBound(ELBO(), ClosedFormKL())), lambda *_: 0.0)
    start = time.perf_counter()
    result = train(game, rows, None, training)
    seconds = time.perf_counter() - start
    if result.steps != steps:
        raise RuntimeError(f"{result.steps} steps of {steps} were made")
    return {"seconds": seconds, "step": seconds / steps, "loss": result.metrics[-1]["train_loss"]}


if __name__ == "__main__":
    answer_lines(
        {
            "versions": lambda: {"numpy": version("numpy")},
            "limit": limit,
            "networks": networks,
        }
    )
