"""Jensen: GANs trained by the engine's `train`, evaluation at every epoch's end included.

Three games on ring and grid: `plain` (the non-saturating logistic loss), `wgan-gp` (Wasserstein
with a gradient penalty) and `table` (as `GANSampler` fits tables: R1 and R2 penalties, clipping and
averaged weights). The discriminator steps first; each player sees fresh generated rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gan_serve import MODES, SWISS, Run, serve_runs

from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.objectives.adversarial import Adversarial, Logistic, Wasserstein
from jensen.objectives.penalties import GradientPenalty, ZeroCentred
from jensen.studies.players import PairInit

PLAIN = Optimisation(clip=None, warmup=0, ema=0.0, rule="alternating")
TABLE = Optimisation(ema=0.999, rule="alternating")


def runner(size: dict, objective: Adversarial, activation: str, told: Optimisation = PLAIN) -> Run:
    """Return the runs of one game at one size."""
    init = PairInit(
        size["dim"],
        size["latent"],
        size["discriminator"],
        generator=size["generator"],
        activation=activation,
        skip=told is TABLE,
    )
    game = Game(init, objective, lambda *_: 0.0)
    optimisation = replace(told, batch_size=size["batch"], learning_rate=size["rate"])

    def run(rows: np.ndarray, steps: int) -> tuple[float, None]:
        epochs = steps // -(-len(rows) // size["batch"])
        result = train(game, rows, None, Training(epochs, optimisation))
        if result.steps != steps:
            raise RuntimeError(f"{result.steps} steps of {steps} were made")
        return result.metrics[-1]["train_loss"], None

    return run


RUNS = {
    "swiss-roll": runner(SWISS, Adversarial(Logistic()), "tanh"),
    "plain": runner(MODES, Adversarial(Logistic()), "relu"),
    "wgan-gp": runner(MODES, Adversarial(Wasserstein(), (GradientPenalty(10.0),)), "leaky_relu"),
    "table": runner(
        MODES,
        Adversarial(Logistic(), (ZeroCentred(0.01, "real"), ZeroCentred(0.01, "fake"))),
        "relu",
        TABLE,
    ),
}

if __name__ == "__main__":
    serve_runs(RUNS, ("jensen", "jax", "jaxlib", "equinox", "optax", "numpy"))
