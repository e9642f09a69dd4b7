r"""A GAN with unequal weights on its two errors.

    L(D, q) = E_p log D + λ E_q log(1 - D)

For given q the best D is p/(p + λq), and there

    max_D L = D_f(p‖q) + λ log λ - (1+λ) log(1+λ),
    f(u) = u log u/(u+λ) + λ log λ/(λ+u) + (1+λ) log(1+λ) - λ log λ,

an f-divergence: f is convex with f(1) = 0. So the best q is p for every λ > 0; only the
discriminator moves, to D = 1/(1+λ). λ is the price of taking a generated row for a real one: read
as a classifier (real where D > ½, that is p > λq), a larger λ makes that error rarer and the other,
turning away a real row, more frequent.

Source: the course document's problem 2.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_expit
from scipy.stats import norm

from jensen.evaluation.discriminator import train_discriminator
from jensen.games.play import play
from jensen.objectives.adversarial import Logistic
from jensen.report.curves import curves
from jensen.studies.gan_optimum import PAIRS, integral, normal
from jensen.studies.notebook import Notebook

WEIGHTS = (0.2, 1.0, 5.0)
MEAN, SPREAD = 1.0, 0.5


def f(u: float, lam: float) -> float:
    """Return the generator function of the divergence."""
    constant = (1 + lam) * np.log1p(lam) - lam * np.log(lam)
    return u * np.log(u / (u + lam)) + lam * np.log(lam / (lam + u)) + constant


def best_value(p: Any, q: Any, lam: float) -> float:
    """Return L at D = p/(p + λq)."""

    def value(x: float) -> float:
        logit = p.logpdf(x) - q.logpdf(x) - np.log(lam)
        return p.pdf(x) * log_expit(logit) + lam * q.pdf(x) * log_expit(-logit)

    return integral(value)


def study(book: Notebook) -> None:
    """Check the identity by quadrature and with a trained discriminator; train generators."""
    _identity(book)
    errors = _trained(book)
    paths = {lam: _generator(book, lam) for lam in WEIGHTS}
    book.figure(
        curves(
            np.linspace(0.05, 8, 160),
            {
                "share of rows taken wrongly": {
                    "real rows turned away": [_errors(lam)[0] for lam in np.linspace(0.05, 8, 160)],
                    "generated rows let in": [_errors(lam)[1] for lam in np.linspace(0.05, 8, 160)],
                }
            },
            xlabel="λ (weight of generated rows, no unit)",
            title="p = N(0, 1), q = N(1, 1)",
        ),
        "weighted-gan-errors",
    )
    book.figure(
        curves(
            np.arange(len(paths[1.0])) * 10,
            {
                "mean of the generator (no unit)": {
                    f"λ = {lam:g}": p[:, 3] for lam, p in paths.items()
                },
                "its spread (no unit)": {f"λ = {lam:g}": p[:, 4] for lam, p in paths.items()},
                "D at the data's mean (no unit)": {
                    f"λ = {lam:g}": 1 / (1 + np.exp(-(p[:, 0] + p[:, 1] + p[:, 2])))
                    for lam, p in paths.items()
                },
            },
            xlabel="step of the alternating rule",
        ),
        "weighted-gan-training",
    )
    book.remark(
        "measured errors (real turned away, generated taken): "
        + "; ".join(f"λ = {lam:g}: {a:.3f}, {b:.3f}" for lam, (a, b) in errors.items())
    )
    book.used = "made: normal rows"


def _identity(book: Notebook) -> None:
    p, gaps = normal(0, 1), []
    for lam in (0.1, *WEIGHTS, 20.0):
        for mean, sd in PAIRS:
            q = normal(mean, sd)

            def divergence(x: float, q: Any = q, lam: float = lam) -> float:
                # q f(p/q), written without p/q, which overflows far out
                a, b, scale = p.logpdf(x), q.logpdf(x), np.log(lam)
                m = np.logaddexp(a, scale + b)
                constant = (1 + lam) * np.log1p(lam) - lam * np.log(lam)
                whole = p.pdf(x) * (a - m) + lam * q.pdf(x) * (scale + b - m)
                return whole + constant * q.pdf(x)

            shift = lam * np.log(lam) - (1 + lam) * np.log1p(lam)
            gaps.append(abs(best_value(p, q, lam) - (integral(divergence) + shift)))
    book.at_most(
        "identity", "|max_D L - (D_f + λ log λ - (1+λ) log(1+λ))|, 5 λ × 5 pairs", max(gaps), 1e-8
    )
    book.at_most(
        "f-at-1",
        "largest |f(1)|, five λ",
        max(abs(f(1.0, lam)) for lam in (0.1, *WEIGHTS, 20.0)),
        1e-12,
    )
    u = np.geomspace(1e-3, 1e3, 400)
    bends = [
        np.diff(np.diff([f(x, lam) for x in u]) / np.diff(u)).min() for lam in (0.1, *WEIGHTS, 20.0)
    ]
    book.at_least("f-convex", "smallest change of f's slope on (0.001, 1000)", min(bends), 0.0)


def _errors(lam: float) -> tuple[float, float]:
    """Return (P_p(D < ½), P_q(D > ½)) of the best D for N(0, 1) against N(1, 1)."""
    border = 0.5 - np.log(lam)  # p > λq where x < ½ - log λ
    return float(norm.sf(border)), float(norm.cdf(border - 1))


def _trained(book: Notebook) -> dict[float, tuple[float, float]]:
    """Train one discriminator between N(0, 1) and N(1, 1); λ enters through its optimum."""
    n = 5000 if book.quick else 20_000
    random = np.random.default_rng(book.seed)
    found = train_discriminator(
        random.normal(size=n), random.normal(1.0, 1.0, size=n), seed=book.seed
    )
    measured, worst = {}, 0.0
    for lam in WEIGHTS:
        loss = Logistic(lam)
        on_p, on_q = (loss.optimum(jnp.asarray(a)) for a in (found.on_p, found.on_q))
        gains, costs = -np.asarray(loss.real(on_p)), -np.asarray(loss.fake(on_q))
        value = gains.mean() + costs.mean()
        se = np.sqrt(gains.var(ddof=1) / len(gains) + costs.var(ddof=1) / len(costs))
        book.equal(
            f"trained-{lam:g}",
            f"λ = {lam:g}: L of a trained D, held-out, against max_D L (nats), within 3 SE",
            value,
            best_value(norm(0, 1), norm(1, 1), lam),
            3 * float(se),
        )
        measured[lam] = float((on_p < 0).mean()), float((on_q > 0).mean())
        worst = max(worst, *(abs(a - b) for a, b in zip(measured[lam], _errors(lam), strict=True)))
    book.at_most(
        "errors", "largest distance of a measured error rate from the exact one", worst, 0.04
    )
    fall = [measured[lam][1] for lam in WEIGHTS]
    rise = [measured[lam][0] for lam in WEIGHTS]
    book.true(
        "trade-off",
        "with λ the share of generated rows taken for real falls and of real turned away rises",
        fall == sorted(fall, reverse=True) and rise == sorted(rise),
    )
    return measured


class WeightedGaussian(eqx.Module):
    """The weighted GAN between Gaussians, quadratic logit, expectations by quadrature.

    Args:
        weight: λ.
        gamma: weight of R₁, which damps the turn.
    """

    weight: float
    gamma: float = 1.0

    def __call__(self, players: tuple) -> tuple:
        """Return the losses of the discriminator `(3,)` and the generator `(2,)`."""
        w, (a, b) = players
        nodes, mass = np.polynomial.hermite_e.hermegauss(64)
        mass = mass / mass.sum()
        loss = Logistic(self.weight, saturating=True)
        real, fake = MEAN + SPREAD * nodes, a + b * nodes
        on_real, on_fake = (w[0] + w[1] * x + w[2] * x**2 for x in (real, fake))
        slope = mass @ (w[1] + 2 * w[2] * real) ** 2
        first = mass @ (loss.real(on_real) + loss.fake(on_fake)) + 0.5 * self.gamma * slope
        return first, mass @ loss.generator(on_fake)


def _generator(book: Notebook, lam: float) -> np.ndarray:
    steps = 6000
    with jax.enable_x64(True):
        start = np.zeros(3), np.array([0.5, 0.8])
        path = play(
            WeightedGaussian(lam), start, rule="alternating", step=0.1, steps=steps, every=10
        ).flat()
    end = path[-1]
    book.at_most(
        f"generator-{lam:g}",
        f"λ = {lam:g}: error of the trained generator's mean and spread",
        max(abs(end[3] - MEAN), abs(abs(end[4]) - SPREAD)),
        1e-3,
    )
    book.equal(
        f"half-{lam:g}",
        f"λ = {lam:g}: D at the data's mean, against 1/(1+λ)",
        1 / (1 + np.exp(-(end[0] + end[1] + end[2]))),
        1 / (1 + lam),
        1e-3,
    )
    return path
