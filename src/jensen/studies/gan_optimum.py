r"""The optimum of a GAN: for given q the best D is p/(p + q), and the best q is p.

    L(D, q) = E_p log D + E_q log(1 - D)
    max_D L = 2 JSD(p, q) - log 4    at    D* = p/(p + q)
    min_q   = -log 4                 at    q = p,   D* = ½

The constant is log 4: each of the two terms is log ½ at the end. A circulating answer has log 2.

Source: the course documents' problems on GANs; Goodfellow et al. 2014 (arXiv:1406.2661), thm. 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from scipy.integrate import quad
from scipy.special import expit, log_expit
from scipy.stats import norm

from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.evaluation.discriminator import train_discriminator
from jensen.games.builtin import GaussianGAN
from jensen.games.play import play
from jensen.objectives.adversarial import Adversarial, Logistic
from jensen.objectives.penalties import ZeroCentred
from jensen.report.curves import curves
from jensen.studies.notebook import Notebook
from jensen.studies.players import PairInit

PAIRS = ((0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (1.0, 2.0))
"""(mean, standard deviation) of q beside p = N(0, 1)."""
LOG_4 = float(np.log(4.0))


def normal(mean: float, sd: float) -> Any:
    """Return N(mean, sd²)."""
    return norm(mean, sd)


def integral(function: Callable[[float], float]) -> float:
    """Return the integral over the line, where the pairs have their mass."""
    return quad(function, -24, 24, points=(-4, 0, 4), epsabs=1e-12, limit=400)[0]


def objective(p: Any, q: Any, logit: Callable[[float], float]) -> float:
    """Return L for densities p, q and the discriminator σ(logit)."""
    return integral(lambda x: p.pdf(x) * log_expit(logit(x)) + q.pdf(x) * log_expit(-logit(x)))


def jsd(p: Any, q: Any) -> float:
    """Return JSD(p, q) by its definition: half of KL(p‖m) + KL(q‖m), m the mean of both."""

    def term(x: float) -> float:
        m = np.logaddexp(p.logpdf(x), q.logpdf(x)) - np.log(2)
        return p.pdf(x) * (p.logpdf(x) - m) + q.pdf(x) * (q.logpdf(x) - m)

    return 0.5 * integral(term)


def study(book: Notebook) -> None:
    """Check the optimum by quadrature, with exact players, and with trained networks."""
    _by_quadrature(book)
    path = _exact_players(book)
    _networks(book)
    steps = np.arange(len(path)) * 10
    book.figure(
        curves(
            steps,
            {
                "generator": {"mean a": path[:, 3], "spread b": path[:, 4]},
                "discriminator's logit": {f"w{i}": path[:, i] for i in range(3)},
            },
            xlabel="step of the alternating rule",
            title="An exact pair ends at q = p, D = ½",
        ),
        "gan-optimum",
    )
    book.used = "made: normal and bent normal rows"


def _by_quadrature(book: Notebook) -> None:
    p = normal(0, 1)
    gaps, losses = [], []
    for mean, sd in PAIRS:
        q = normal(mean, sd)

        def best(x: float, q: Any = q) -> float:
            return p.logpdf(x) - q.logpdf(x)

        top = objective(p, q, best)
        gaps.append(abs(top - (2 * jsd(p, q) - LOG_4)))
        for amount in (0.3, -0.3):
            for shape in (np.cos, np.tanh, lambda x: 1.0):
                off = objective(p, q, lambda x, s=shape, a=amount, b=best: b(x) + a * s(x))
                losses.append(top - off)
    book.at_most("identity", "|L(D*, q) - (2 JSD - log 4)|, largest of five pairs", max(gaps), 1e-8)
    book.at_least(
        "best-response",
        "L(D*) - L(D* moved by 0.3 cos, tanh or 1), smallest of 30 (nats)",
        min(losses),
        1e-6,
    )
    half = objective(p, p, lambda x: 0.0)
    book.equal("least-value", "L(½, p) (nats)", half, -LOG_4, 1e-9)


def _exact_players(book: Notebook) -> np.ndarray:
    """Play the Gaussian GAN, whose expectations are exact; return its path."""
    with jax.enable_x64(True):
        game = GaussianGAN(gamma=1.0)
        start = np.zeros(3), np.array([0.0, 1.0])
        path = play(game, start, rule="alternating", step=0.2, steps=4000, every=10)
        value = float(path.curves(game)[0][-1, 1])
    end = path.flat()[-1]
    error = max(abs(end[3] - game.mean), abs(abs(end[4]) - game.sd))
    book.at_most("exact-generator", "error of the generator's mean and spread", error, 1e-6)
    book.at_most(
        "exact-half", "largest |coefficient| of the final logit", np.abs(end[:3]).max(), 1e-6
    )
    book.equal("exact-value", "L at the end (nats)", value, -LOG_4, 1e-9)
    return path.flat()


def _networks(book: Notebook) -> None:
    """Train a pair of networks on a bent normal law; look at D and the value on held-out rows."""
    random = np.random.default_rng(book.seed)
    x, noise = random.normal(size=(2, 20_000))
    rows = np.stack([x, 0.5 * (x**2 - 1) + 0.5 * noise], axis=1).astype(np.float32)
    held_out, rows = rows[:5000], rows[5000:]
    optimisation = Optimisation(batch_size=256, rule="alternating", warmup=0, clip=None, ema=0.999)
    game = Game(
        PairInit(2, latent_dim=2, hidden=(64, 64), activation="relu"),
        Adversarial(Logistic(), (ZeroCentred(1.0),)),
        lambda *_: 0.0,
    )
    epochs = 50 if book.quick else 150
    result = train(game, rows, None, Training(epochs, optimisation), seed=book.seed)
    discriminator, generator = jax.tree.map(
        lambda a: a[0] if hasattr(a, "shape") else a, result.players
    )
    fake = jax.vmap(generator.sample)(jax.random.split(jax.random.key(book.seed), len(held_out)))
    logits = np.asarray(jax.vmap(discriminator)(np.concatenate([held_out, np.asarray(fake)])))
    book.at_most(
        "trained-half",
        "mean |D - ½| of the trained pair's own discriminator, held-out and generated rows",
        np.abs(expit(logits) - 0.5).mean(),
        0.1,
    )
    judged = train_discriminator(held_out, np.asarray(fake), seed=book.seed)
    book.at_most(
        "trained-value",
        "2 JSD of held-out and generated rows by a fresh discriminator: L above -log 4 (nats)",
        2 * judged.jsd,
        0.1,
        6 * judged.se,
    )
