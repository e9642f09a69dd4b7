r"""A GAN on the Swiss roll, as the source document sets it, judged beside an oracle.

Data x = 0.1 t (cos t, sin t) + 0.025 ε with t = 2π√u, u ~ U(¼, 4): 2,000 rows. z ~ N(0, 1) in one
dimension; discriminator 2-128-128-1, generator 1-32-2, tanh; Adam 5e-4, batch 64, 2,000 epochs of

    log D(x) + log(1 - D(G(z))).

The discriminator's loss says nothing of quality. Coverage of the spiral by arc length, distance to
it, MMD and a held-out two-sample JSD do, beside the same figures of fresh data (the oracle) and of
a Gaussian fit. With these settings the outcome hangs on the seed: some runs cover nine tenths of
the spiral, some a third, and a discriminator tells each from the data.

The variant weighs generated rows 500 times: the best D is p/(p + 500 q), whose logit is lower by
log 500 everywhere. Even for q = p the discriminator then says D = 1/501, and -log D, the
generator's loss, is about log 501, though nothing is wrong with q: the weight moves the scale of
the losses and not the optimum.

Source: the course document's problem 4; its student's answer for the variant.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.special import log_expit

from jensen.data.toys import TOYS
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.evaluation.coverage import Coverage, toy_coverage
from jensen.evaluation.discriminator import train_discriminator
from jensen.evaluation.samples import mmd
from jensen.objectives.adversarial import Adversarial, Logistic
from jensen.report.samples import growing
from jensen.studies.notebook import Notebook
from jensen.studies.players import PairInit

ROWS, EPOCHS, PICTURES, DRAWN = 2000, 2000, 5, 4000
WEIGHT = 500.0
OPTIMISATION = Optimisation(
    batch_size=64, learning_rate=5e-4, clip=None, warmup=0, ema=0.0, rule="alternating"
)


def study(book: Notebook) -> None:
    """Train the document's GAN and its variant, and judge both beside fresh data and a Gaussian."""
    toy = TOYS["swiss-roll"]
    random = np.random.default_rng(book.seed)
    data, fresh, oracle = (toy.sample(random, n) for n in (ROWS, DRAWN, DRAWN))
    gaussian = random.multivariate_normal(data.mean(axis=0), np.cov(data.T), size=DRAWN)
    init = PairInit(2, 1, (128, 128), generator=(32,), skip=False)
    pictures, _ = trained(init, Logistic(saturating=True), data, EPOCHS, book.seed)
    samples = pictures[f"epoch {EPOCHS}"]
    compared = {"GAN": samples, "oracle": oracle, "Gaussian": gaussian}
    judged = {name: judge(rows, fresh, book.seed) for name, rows in compared.items()}
    _claims(book, judged)
    _variant(book, data, EPOCHS // 10 if book.quick else EPOCHS)
    book.figure(growing({"data": data, **pictures}), "swiss-roll-gan")
    for name, figures in judged.items():
        book.remark(f"{name}: " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items()))
    book.used = "made: the Swiss roll"


def trained(
    init: PairInit, loss: Logistic, data: np.ndarray, epochs: int, seed: int
) -> tuple[dict[str, np.ndarray], tuple[Any, Any]]:
    """Return samples at five checkpoints, and the players at the end."""
    game = Game(init, Adversarial(loss), lambda *_: 0.0)
    rows = data.astype(np.float32)
    pictures: dict[str, np.ndarray] = {}
    players: Any = None
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        for epoch in np.unique(np.linspace(epochs / PICTURES, epochs, PICTURES).astype(int)):
            training = Training(int(epoch), OPTIMISATION)
            result = train(game, rows, None, training, seed=seed, checkpoints=checkpoints)
            players = jax.tree.map(lambda a: a[0] if hasattr(a, "shape") else a, result.players)
            keys = jax.random.split(jax.random.key(seed), DRAWN)
            pictures[f"epoch {epoch}"] = np.asarray(jax.vmap(players[1].sample)(keys), float)
        checkpoints.close()
    return pictures, players


def judge(rows: np.ndarray, fresh: np.ndarray, seed: int) -> dict[str, float]:
    """Return how samples compare with fresh data."""
    found: Coverage = toy_coverage(rows, "swiss-roll", seed=seed)
    told = train_discriminator(fresh, rows, seed=seed)
    return {
        "coverage": found.covered / found.total,
        "near": found.share,
        "mmd": mmd(fresh[:2000], rows[:2000], permutations=1).squared,
        "jsd": told.jsd,
        "se": told.se,
    }


def _claims(book: Notebook, judged: dict[str, dict[str, float]]) -> None:
    gan, oracle, gaussian = (judged[name] for name in ("GAN", "oracle", "Gaussian"))
    book.at_most(
        "oracle-jsd",
        "held-out JSD of fresh data against fresh data (nats), within 3 standard errors of 0",
        oracle["jsd"],
        0.0,
        3 * oracle["se"] + 1e-3,
    )
    book.at_least(
        "oracle-coverage", "share of the spiral that fresh data cover", oracle["coverage"], 1.0
    )
    book.at_least(
        "nearer-than-gaussian",
        "share within 3σ of the spiral, GAN less Gaussian",
        gan["near"] - gaussian["near"],
        0.1,
    )
    book.at_least(
        "mmd-above-oracle",
        "squared MMD to fresh data, the lesser of GAN and Gaussian less the oracle's",
        min(gan["mmd"], gaussian["mmd"]) - oracle["mmd"],
        0.0,
    )
    book.at_least(
        "told-apart",
        "held-out JSD of the GAN in its standard errors: the discriminator sees the difference",
        gan["jsd"] / gan["se"],
        5.0,
    )


def _variant(book: Notebook, data: np.ndarray, epochs: int) -> None:
    """Train with weight 500 on generated rows: the loss moves, the optimum does not."""
    init = PairInit(2, 100, (128, 128), generator=(32,), skip=False)
    _, (discriminator, generator) = trained(init, Logistic(WEIGHT), data, epochs, book.seed)
    noise = jax.random.split(jax.random.key(book.seed + 1), DRAWN)
    fake = np.asarray(jax.vmap(generator.sample)(noise))
    logits = np.asarray(jax.vmap(discriminator)(np.concatenate([data, fake]).astype(np.float32)))
    on_real, on_fake = logits[:ROWS], logits[ROWS:]
    scale, price = -np.log(WEIGHT), np.log(1 + WEIGHT)
    book.equal(
        "weight-500-logit",
        "weight 500: mean logit over data and samples (nats), against -log 500",
        0.5 * (on_real.mean() + on_fake.mean()),
        scale,
        1.0,
    )
    book.equal(
        "weight-500-loss",
        "weight 500: the generator's loss on its samples (nats), against log 501",
        -log_expit(on_fake).mean(),
        price,
        1.0,
    )
