r"""The importance-weighted bound: below log p, higher with every K, and when it is log p itself.

    VLB_K(x) = E log 1/K Σ_k w_k,    w_k = p(x, z_k)/q(z_k | x),  z_k ~ q(· | x)

*Below.* E w = p(x) and the logarithm is concave. *Rising.* The mean of K weights is the mean, over
its parts, of the means of M < K of them; so for every set of draws, not only on average,

    log 1/K Σ_k w_k  ≥  mean over parts of  log 1/M Σ_{k in part} w_k.

*K = 1* is the bound of the VAE. *How fast.* With p = p(x) and χ² = Var(w)/p²,

    log p - VLB_K = χ²/(2K) + O(1/K²)

where χ² is finite: a slope of -1 of log gap against log K. The gap is a mean of -log(1 + δ), with
δ = (1/K Σ w_k)/p - 1 of mean zero, so that δ - log(1 + δ) has the same mean and far less noise: it
is of second order in δ, as is what an error of p does to it.

*"Powerful enough".* For any θ the largest VLB_K over q is log p_θ(x), at q = p_θ(z | x), whose
weights are all p_θ(x). So that maximising over (θ, φ) finds the θ of maximum likelihood it is
enough that φ can make q_φ(· | x_i) = p_θ(· | x_i) for every row x_i at once, at that θ; no more is
needed, since at any other θ the bound is at most log p_θ, which is lower. Where it cannot,
θ is drawn to models whose posterior q can follow, less so for large K.

*What is no bound.* Σ_k w̃_k log w_k with w̃ = w/Σw is found in the place of VLB_K in programs. It
has the gradient of VLB_K where w̃ is held fixed; its value rises to log p + KL(p(z | x) ‖ q).

Source: the course document's problem 1; Burda et al. 2016 (arXiv:1509.00519); the rate: Domke &
Sheldon 2018 (arXiv:1808.09034), thm. 3.
"""

from __future__ import annotations

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

from jensen.engine.config import Optimisation
from jensen.evaluation.evidence import log_weights
from jensen.evaluation.linear_gaussian import with_exact_posterior
from jensen.evaluation.quadrature import quadrature
from jensen.objectives.bounds import ELBO, IWAE, Bound
from jensen.objectives.gradients import ClosedFormKL, Reparameterised, lower_bound
from jensen.objectives.variational import NegativeBound
from jensen.report.curves import convergence, curves
from jensen.report.latents import bounds
from jensen.studies.autoencoders import (
    FAR,
    Linear,
    block_bounds,
    error_within,
    gaussian_kl,
    mean_and_se,
    trained,
)
from jensen.studies.notebook import Notebook
from jensen.studies.waves import WaveInit, exact_moments, wave

PARTICLES = (1, 4, 16, 64, 256, 1024)
RATE = 16, 256  # K between which the rate is read


def study(book: Notebook) -> None:
    """Check the bound where all is known, then on an autoencoder with log p by quadrature."""
    with jax.enable_x64(True):
        _true_posterior(book)
        _known(book)
        _powerful(book)
    _trained(book)
    book.used = "made: rows of linear-Gaussian models, and a noisy wave"


def linear(seed: int) -> tuple[Linear, np.random.Generator]:
    """Return a linear-Gaussian model with z in the plane, and what its rows are drawn with."""
    random = np.random.default_rng(seed)
    return Linear(random.normal(size=(3, 2)), random.normal(size=3), 0.7), random


def _true_posterior(book: Notebook) -> None:
    """With q = p(z | x) every K gives log p(x), whatever the draws."""
    known, random = linear(book.seed)
    rows = known.sample(random, 100)
    model = with_exact_posterior(known.model(known.encoder(known.best_diagonal())))
    log_w = log_weights(model, rows, max(PARTICLES), book.seed)
    errors = [np.abs(block_bounds(log_w, K) - known.log_prob(rows)[:, None]) for K in PARTICLES]
    book.at_most(
        "true-posterior",
        "q = p(z | x): |bound - log p|, largest of 100 rows, all draws, K = 1 to 1024 (nats)",
        max(error.max() for error in errors),
        1e-5,
    )


def _known(book: Notebook) -> None:
    """A wrong q, with log p and KL in closed form: below, rising, K = 1, and what is no bound."""
    known, random = linear(book.seed)
    rows = known.sample(random, 400)
    variance, error = 1.3 * known.best_diagonal(), known.misled(random, 0.3)
    model = known.model(known.encoder(variance, error))
    truth, posterior = known.log_prob(rows), known.posterior_means(rows)
    means, inverse = posterior + (rows - known.b) @ error.T, np.linalg.inv(known.precision)
    reverse = gaussian_kl(means, np.diag(variance), posterior, inverse)
    forward = gaussian_kl(posterior, inverse, means, np.diag(variance))
    log_w = log_weights(model, rows, 4 * max(PARTICLES), book.seed)
    gap, se = mean_and_se(log_w.mean(axis=1) - (truth - reverse))
    book.at_most(
        "one-is-vae",
        "K = 1: mean log-weight against log p - KL(q ‖ p(z | x)) in closed form, standard errors",
        abs(gap / se),
        FAR,
    )
    keys, x = jax.random.split(jax.random.key(book.seed), 20), jnp.asarray(rows[:20])

    def valued(bound: Bound) -> np.ndarray:
        each = jax.vmap(lambda r, k: lower_bound(model, r, k, bound, Reparameterised()))
        return np.asarray(each(x, keys))

    book.at_most(
        "one-is-elbo",
        "|IWAE of one particle - ELBO| with the same draws, largest of 20 rows (nats)",
        np.abs(valued(IWAE(1)) - valued(ELBO())).max(),
        1e-12,
    )
    _below_and_rising(book, "linear", log_w, truth)
    _no_bound(book, log_w, truth, forward)


def _below_and_rising(
    book: Notebook, name: str, log_w: np.ndarray, truth: np.ndarray
) -> tuple[list[float], list[float]]:
    """Claim that bounds are below log p and rise with K; return the gaps and their errors."""
    blocks = [block_bounds(log_w, K) for K in PARTICLES]
    gaps = [mean_and_se((truth[:, None] - block).mean(axis=1)) for block in blocks]
    own = [error_within(block) for block in blocks]
    book.at_least(
        f"{name}-below",
        f"{name}: log p - bound over its Monte Carlo error, least of K = 1 to 1024 (below -4.5 by"
        " chance once in 150,000 runs)",
        min(gap / error for (gap, _), error in zip(gaps, own, strict=True)),
        0.0,
        FAR,
    )
    falls = [late.mean(axis=1) - early.mean(axis=1) for early, late in pairwise(blocks)]
    book.at_least(
        f"{name}-rising",
        f"{name}: bound of 4K draws less the mean bound of its four parts, least of every row and K"
        " (nats); tolerance rounding",
        min(fall.min() for fall in falls),
        0.0,
        1e-5,
    )
    rise = float(blocks[-1].mean() - blocks[0].mean())
    book.at_least(
        f"{name}-rises",
        f"{name}: mean bound of the most draws less that of one, in standard errors of draws",
        rise / np.hypot(own[0], own[-1]),
        FAR,
    )
    return [gap for gap, _ in gaps], own


def _no_bound(book: Notebook, log_w: np.ndarray, truth: np.ndarray, forward: np.ndarray) -> None:
    """Σ w̃ log w goes above log p."""
    above, (some, more, most) = {}, PARTICLES[-3:]
    for K in (some, more, most):
        blocks = log_w.reshape(len(log_w), -1, K)
        above[K] = (softmax(blocks, axis=2) * blocks).sum(axis=2).mean(axis=1) - truth
    mean, se = mean_and_se(above[some])
    book.at_least(
        "weighted-sum-is-no-bound",
        f"Σ w̃ log w with {some} draws less log p, in standard errors: above log p",
        mean / se,
        FAR,
    )
    left = above[most] - forward
    mean, se = mean_and_se(left)
    rest = abs(float((above[most] - above[more]).mean()))  # what is left of an error ~ 1/K, thrice
    book.equal(
        "weighted-sum-limit",
        f"Σ w̃ log w with {most} draws less log p + KL(p(z | x) ‖ q) (nats); tolerance 4.5 standard"
        " errors, and the change from a quarter of the draws on",
        mean,
        0.0,
        FAR * se + rest,
    )
    book.remark(
        "Σ w̃ log w exceeds log p by "
        + ", ".join(f"{each.mean():.3f} (K = {K})" for K, each in above.items())
        + f"; KL(p(z | x) ‖ q) is {forward.mean():.3f} nats"
    )


def _powerful(book: Notebook) -> None:
    """x = θ A z + σ ε: the best θ by likelihood, and by bounds with a full and a diagonal q."""
    random = np.random.default_rng(book.seed)
    A = np.array([[1.0, 0.9], [1.0, 0.9], [0.3, -0.3]])
    rows = Linear(A, np.zeros(3), 0.5).sample(random, 1000)
    thetas = np.linspace(0.5, 1.5, 51)
    lines: dict[str, list[float]] = {
        "log p": [],
        "full q": [],
        "diagonal q, K = 1": [],
        "diagonal q, K = 50": [],
    }
    for theta in thetas:
        known = Linear(theta * A, np.zeros(3), 0.5)
        P = known.precision
        truth = known.log_prob(rows)
        lines["log p"].append(truth.mean())
        diagonal = known.model(known.encoder(known.best_diagonal()))
        full = log_weights(with_exact_posterior(diagonal), rows[:50], 5, book.seed)
        off = block_bounds(full, 5)[:, 0] - truth[:50]
        lines["full q"].append(truth.mean() + off[np.abs(off).argmax()])
        loss = 0.5 * (np.log(np.diagonal(P)).sum() - np.linalg.slogdet(P)[1])
        lines["diagonal q, K = 1"].append(truth.mean() - loss)
        w = log_weights(diagonal, rows[:200], 50, book.seed)
        lines["diagonal q, K = 50"].append(
            truth.mean() + (block_bounds(w, 50)[:, 0] - truth[:200]).mean()
        )
    best = {name: float(thetas[int(np.argmax(line))]) for name, line in lines.items()}
    book.at_most(
        "powerful-same-optimum",
        "full-covariance q: |θ of the largest bound, K = 5, - θ of maximum likelihood|, grid of"
        " 0.02",
        abs(best["full q"] - best["log p"]),
        0.0,
        1e-9,
    )
    book.at_least(
        "poor-moves-optimum",
        "diagonal q at its best, K = 1: θ of maximum likelihood less θ of the largest bound",
        abs(best["log p"] - best["diagonal q, K = 1"]),
        0.02,
    )
    book.at_most(
        "more-draws-move-it-less",
        "diagonal q: distance from the θ of maximum likelihood for K = 50 less that for K = 1",
        abs(best["log p"] - best["diagonal q, K = 50"])
        - abs(best["log p"] - best["diagonal q, K = 1"]),
        -0.01,
        1e-9,
    )
    figure = curves(
        thetas,
        {"mean bound of log p (nats per row)": {k: np.array(v) for k, v in lines.items()}},
        xlabel="θ",
        title="A poor q moves the best θ",
    )
    book.figure(figure, "iwae-bound-powerful")


def _trained(book: Notebook) -> None:
    """A trained autoencoder: the same with log p by quadrature, and the rate of the gap."""
    random = np.random.default_rng(book.seed)
    method = Optimisation(batch_size=128, learning_rate=2e-3, clip=None, warmup=0, ema=0.99)
    loss = NegativeBound(ELBO(), ClosedFormKL())
    epochs = 100 if book.quick else 300
    models, _ = trained(WaveInit(), loss, wave(random, 4096), [epochs], method, book.seed)
    model, rows = models[epochs], wave(random, 500)
    with jax.enable_x64(True):
        model = jax.tree.map(
            lambda a: jnp.asarray(a, jnp.float64) if eqx.is_inexact_array(a) else a, model
        )
        exact, error = quadrature(model, rows)
        truth, elbo, chi2 = exact_moments(model, rows)
        log_w = log_weights(model, rows, 8 * max(PARTICLES), book.seed)
    book.at_most(
        "quadrature",
        "log p by two quadratures: largest difference, and largest stated error, of 500 rows"
        " (nats)",
        max(np.abs(exact - truth).max(), error.max()),
        5e-4,
    )
    gap, se = mean_and_se(np.exp(log_w - truth[:, None]).mean(axis=1) - 1)
    book.at_most(
        "unbiased", "mean w/p(x) against 1, standard errors over 500 rows", abs(gap / se), FAR
    )
    gap, se = mean_and_se(log_w.mean(axis=1) - elbo)
    book.at_most(
        "trained-one-is-vae",
        "K = 1: mean log-weight against the ELBO by quadrature, standard errors",
        abs(gap / se),
        FAR,
    )
    gaps, errors = _below_and_rising(book, "trained", log_w, truth)
    _rate(book, log_w, truth, chi2)
    shown = {"VLB of K draws": (truth.mean() - np.array(gaps), np.array(errors))}
    book.figure(bounds(PARTICLES, shown, exact=(float(truth.mean()), 0.0)), "iwae-bound")


def _rate(book: Notebook, log_w: np.ndarray, truth: np.ndarray, chi2: np.ndarray) -> None:
    """The gap falls as χ²/(2K), where χ² is that of the draws that are made.

    For a few rows q is so much narrower than p(z | x) that the whole of Var(w) is large or
    infinite, all of it from where no draw ever comes.
    """
    replicates, usual = 8, chi2 <= 1
    log_w, truth, some = log_w[usual], truth[usual], chi2[usual].mean()
    table = []
    for K in PARTICLES:
        # blocks of K, dealt to eight independent sets of draws
        delta = np.exp(block_bounds(log_w, K) - truth[:, None]) - 1
        each = delta - np.log1p(delta)
        table.append(each.reshape(len(each), replicates, -1).mean(axis=(0, 2)))
    gaps, at = np.array(table), np.log(PARTICLES)
    late = [i for i, K in enumerate(PARTICLES) if RATE[0] <= K <= RATE[1]]
    slope, slope_se = mean_and_se(np.polyfit(at[late], np.log(gaps[late]), 1)[0])
    book.equal(
        "rate",
        "slope of log gap against log K, K = 16 to 256, rows of Var(w)/p² ≤ 1; tolerance 6"
        " standard errors of 8 sets of draws, and 0.03 for higher orders",
        slope,
        -1.0,
        6 * slope_se + 0.03,
    )
    scaled = 2 * np.array(PARTICLES)[:, None] * gaps / some
    before, last = scaled[late[-2]], scaled[late[-1]]
    value, se = mean_and_se(last)
    book.equal(
        "rate-constant",
        "2K gap at K = 256 over Var(w)/p² by quadrature within 5 sd of q; tolerance 6 standard"
        " errors of 8 sets of draws, and the change from K = 64 on",
        value,
        1.0,
        6 * se + abs(float(last.mean() - before.mean())),
    )
    book.remark(
        f"trained model: Var(w)/p² is {chi2.mean():.3f} on average, {chi2.max():.3g} at most,"
        f" at most 1 for {usual.sum()} of {len(usual)} rows;"
        f" slope {slope:.3f} ± {slope_se:.3f}"
    )
    lines = {"log p - bound": (np.array(PARTICLES, float), gaps.mean(axis=1))}
    theory = {"χ²/(2K)": (np.array(PARTICLES, float), some / (2 * np.array(PARTICLES)))}
    figure = convergence(
        lines, theory, "K (draws)", "log p - bound (nats)", title="The gap falls like 1/K"
    )
    book.figure(figure, "iwae-bound-rate")
