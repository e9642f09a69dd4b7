"""Jensen: the Swiss-roll VAE and an IWAE of images, trained by the engine's `train`.

The weights are looked at (and become the best so far) at the end of a run only.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from latent_serve import IMAGE, SWISS, SWISS_VARIANCE, Run, serve_runs

from jensen._typing import Key
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli, Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.nn.mlp import MLP
from jensen.objectives.bounds import ELBO, IWAE
from jensen.objectives.gradients import (
    ClosedFormKL,
    DoublyReparameterised,
    Estimator,
    Reparameterised,
)
from jensen.objectives.likelihood import Mean
from jensen.objectives.variational import NegativeBound


def swiss_roll(key: Key) -> tuple[Latent]:
    """Return the Swiss-roll VAE."""
    for_encoder, for_decoder = jax.random.split(key)
    dim, latent, act = SWISS["dim"], SWISS["latent"], "leaky_relu"
    encoder = MLP(for_encoder, dim, 2 * latent, SWISS["encoder"], act, last=1.0)
    decoder = MLP(for_decoder, latent, dim, SWISS["decoder"], act, last=1.0, final="tanh")
    likelihood = Likelihood(decoder, Gaussian(dim, scale=SWISS_VARIANCE**0.5))
    return (Latent(StandardNormal(latent), likelihood, DiagonalPosterior(encoder)),)


def images(key: Key) -> tuple[Latent]:
    """Return the model of binary images."""
    for_encoder, for_decoder = jax.random.split(key)
    dim, latent, hidden = IMAGE["dim"], IMAGE["latent"], IMAGE["hidden"]
    encoder = MLP(for_encoder, dim, 2 * latent, hidden, "tanh", last=1.0)
    decoder = MLP(for_decoder, latent, dim, hidden, "tanh", last=1.0)
    likelihood = Likelihood(decoder, Bernoulli(dim))
    return (Latent(StandardNormal(latent), likelihood, DiagonalPosterior(encoder)),)


def runner(init: Callable[[Key], tuple[Latent]], rate: float, estimator: Estimator) -> Run:
    """Return the runs of one model with one gradient."""
    elbo = isinstance(estimator, ClosedFormKL)

    def run(rows: np.ndarray, steps: int, batch: int, particles: int) -> tuple[float, None]:
        loss = NegativeBound(ELBO() if elbo else IWAE(particles), estimator)
        optimisation = Optimisation(
            batch_size=batch, learning_rate=rate, clip=None, warmup=0, ema=0.0
        )
        epochs = steps // -(-len(rows) // batch)
        training = Training(epochs, optimisation, evaluate_every=steps)
        result = train(Game(init, Mean(loss), lambda *_: 0.0), rows, None, training)
        if result.steps != steps:
            raise RuntimeError(f"{result.steps} steps of {steps} were made")
        return result.metrics[-1]["train_loss"], None

    return run


RUNS = {
    "swiss-roll": runner(swiss_roll, SWISS["rate"], ClosedFormKL()),
    "reparameterised": runner(images, IMAGE["rate"], Reparameterised()),
    "doubly-reparameterised": runner(images, IMAGE["rate"], DoublyReparameterised()),
}

if __name__ == "__main__":
    serve_runs(RUNS, ("jensen", "jax", "jaxlib", "equinox", "optax", "numpyro", "numpy"))
