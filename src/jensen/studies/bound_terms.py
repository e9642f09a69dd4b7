r"""The terms of a variational autoencoder's bound, each against a closed form.

    KL(N(μ_q, Σ_q) ‖ N(μ_p, Σ_p)) = ½ (tr Σ_p⁻¹Σ_q + (μ_p - μ_q)ᵀ Σ_p⁻¹ (μ_p - μ_q) - L
                                       + log det Σ_p/det Σ_q),
    (μ_q - μ_p)²/(2s²) for one coordinate and equal spreads s,
    σ = exp(½ v) for an encoder that says log-variances v,
    Bernoulli  log p = Σ_d x log g + (1-x) log(1-g),      x ∈ {0, 1},
    Gaussian   log p = -‖x - f‖²/(2σ²) - D/2 log 2πσ².

The reconstruction term E_q[log p(x | z)] is estimated by the mean over M draws: unbiased, with 1/M
of the variance of one draw. For a linear decoder f = W z + b and Gaussian x, z = μ + σ ε,

    log p(x | z) = c + lᵀε - ½ εᵀAε,   A = σ WᵀW σ/s²,   l = σ Wᵀ(x - Wμ - b)/s²,

whose mean c - ½ tr A and variance lᵀl + ½ tr A² are exact.

Source: the course document's problems 1c-d, 1g and 2; Kingma & Welling 2014 (arXiv:1312.6114).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from jensen.models.distributions import Distribution, Known, normal
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli, Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.objectives.bounds import ELBO
from jensen.objectives.gradients import ClosedFormKL, kl_divergence, lower_bound
from jensen.report.curves import convergence
from jensen.studies.notebook import Notebook

FAR = 4.5  # standard errors; one normal draw in 150,000 lies further out
REPEATS, M = 20_000, 2 ** np.arange(7)


def divergences(book: Notebook) -> None:
    """KL divergences against their formulas, quadrature and Monte Carlo."""
    random = np.random.default_rng(book.seed)
    q_mean, p_mean = random.normal(scale=2, size=(2, 5))
    q_sd, p_sd = random.uniform(0.3, 2.0, size=(2, 5))
    pairs = list(zip(q_mean, q_sd, p_mean, p_sd, strict=True))
    line = [abs(_kl(mq, s, mp, s) / ((mq - mp) ** 2 / (2 * s**2)) - 1) for mq, s, mp, _ in pairs]
    book.at_most(
        "kl-equal-spread",
        "KL(N(μ_q, s²) ‖ N(μ_p, s²)) against (μ_q - μ_p)²/(2s²), largest relative error of 5",
        max(line),
        1e-10,
    )
    found = np.array([_kl(*pair) for pair in pairs])
    by_quadrature = np.array([_kl_by_quadrature(*pair) for pair in pairs])
    book.at_most(
        "kl-quadrature",
        "KL of two normals against ∫ q log q/p, largest error of 5 (nats)",
        np.abs(found - by_quadrature).max(),
        1e-9,
    )
    z_scores = []
    for i, (mq, sq, mp, sp) in enumerate(pairs):
        z, log_q = _line(mq, sq).sample_and_log_prob(jax.random.key(book.seed + i), 100_000)
        terms = np.asarray(log_q) - np.asarray(jax.vmap(_line(mp, sp).log_prob)(z))
        z_scores.append((terms.mean() - found[i]) / (terms.std() / np.sqrt(len(terms))))
    book.at_most(
        "kl-monte-carlo",
        "KL against the mean of log q - log p over 100,000 draws, standard errors, worst of 5"
        " (a right formula fails once in 30,000 runs)",
        np.abs(z_scores).max(),
        FAR,
    )
    (q_law, p_law), by_hand = _full(random)
    ours = float(kl_divergence(Known(q_law), Known(p_law)))
    diagonal = float(kl_divergence(normal(q_mean, q_sd), normal(p_mean, p_sd)))
    errors = abs(ours / by_hand - 1), abs(diagonal / found.sum() - 1)
    book.at_most(
        "kl-general",
        "KL of full-covariance normals in 3-D against ½(tr + quadratic - L + log det), and of"
        " diagonal ones against the sum over coordinates: largest relative error",
        max(errors),
        1e-10,
    )


def _line(mean: float, sd: float) -> Known:
    return normal(jnp.full(1, mean), jnp.full(1, sd))


def _kl(q_mean: float, q_sd: float, p_mean: float, p_sd: float) -> float:
    return float(kl_divergence(_line(q_mean, q_sd), _line(p_mean, p_sd)))


def _kl_by_quadrature(q_mean: float, q_sd: float, p_mean: float, p_sd: float) -> float:
    q: Any = norm(q_mean, q_sd)
    p: Any = norm(p_mean, p_sd)
    ends = q_mean - 12 * q_sd, q_mean + 12 * q_sd
    return quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), *ends, epsabs=1e-12, limit=200)[0]


def _full(random: np.random.Generator) -> tuple[tuple[Any, Any], float]:
    """Return two normals in 3-D, and their divergence by the formula."""
    mq, mp = random.normal(size=(2, 3))
    A, B = random.normal(size=(2, 3, 3))
    Sq, Sp = A @ A.T + 0.5 * np.eye(3), B @ B.T + 0.5 * np.eye(3)
    inverse, gap = np.linalg.inv(Sp), mp - mq
    log_dets = np.linalg.slogdet(Sp)[1] - np.linalg.slogdet(Sq)[1]
    by_hand = 0.5 * (np.trace(inverse @ Sq) + gap @ inverse @ gap - 3 + log_dets)
    laws = tuple(
        dist.MultivariateNormal(jnp.asarray(m), jnp.asarray(S)) for m, S in ((mq, Sq), (mp, Sp))
    )
    return (laws[0], laws[1]), float(by_hand)


def log_variance(book: Notebook) -> None:
    """σ = exp(½ v): of draws, and of the density."""
    mean, v = jnp.array([1.0, -2.0, 0.5]), jnp.array([-3.0, 0.0, 2.0])
    q: Distribution = DiagonalPosterior(lambda x: jnp.concatenate([mean, v]))(jnp.zeros(1))
    z, _ = q.sample_and_log_prob(jax.random.key(book.seed), 100_000)
    squares = np.asarray((z - mean) ** 2 / jnp.exp(v))
    book.at_most(
        "spread-of-draws",
        "mean of (z - μ)²/exp(v) against 1 for v = -3, 0, 2: worst, in standard errors √(2/n)"
        " (a right σ fails once in 50,000 runs)",
        np.abs((squares.mean(axis=0) - 1) / np.sqrt(2 / len(z))).max(),
        FAR,
    )
    top = -0.5 * float(jnp.sum(v + jnp.log(2 * jnp.pi)))
    book.at_most(
        "density-at-mean",
        "log q(μ | x) against -½ Σ (v + log 2π), relative error",
        abs(float(q.log_prob(mean)) / top - 1),
        1e-12,
    )


def likelihoods(book: Notebook) -> None:
    """Bernoulli and Gaussian log-likelihoods against their formulas, and their total mass."""
    random = np.random.default_rng(book.seed + 1)
    logits = random.normal(scale=2, size=8)
    g = expit(logits)
    x = np.array(list(np.ndindex(*[2] * 8)), float)
    coin = Likelihood(lambda z: jnp.asarray(logits), Bernoulli(8))
    ours = np.asarray(jax.vmap(lambda row: coin.log_prob(row, jnp.zeros(1)))(jnp.asarray(x)))
    by_hand = np.log(np.prod(x * g + (1 - x) * (1 - g), axis=1))
    book.at_most(
        "bernoulli",
        "log Π g^x (1-g)^(1-x) for all 256 images of 8 pixels, largest error (nats)",
        np.abs(ours - by_hand).max(),
        1e-10,
    )
    book.equal("bernoulli-mass", "Σ p(x) over the 256 images", np.exp(ours).sum(), 1.0, 1e-10)
    mean, errors, masses = random.normal(size=5), [], []
    for sd in (0.1, 1.0, 5.0):
        law = Likelihood(lambda z: jnp.asarray(mean), Gaussian(5, scale=sd))
        row = mean + random.normal(size=5)
        formula = -np.sum((row - mean) ** 2) / (2 * sd**2) - 2.5 * np.log(2 * np.pi * sd**2)
        errors.append(abs(float(law.log_prob(jnp.asarray(row), jnp.zeros(1))) / formula - 1))
        one = Likelihood(lambda z: jnp.zeros(1), Gaussian(1, scale=sd))
        axis = np.linspace(-12 * sd, 12 * sd, 4001)
        density = jax.vmap(lambda t, one=one: one.log_prob(t, jnp.zeros(1)))(axis[:, None])
        masses.append(abs(np.trapezoid(np.exp(np.asarray(density)), axis) - 1))
    book.at_most(
        "gaussian",
        "-‖x - f‖²/(2σ²) - D/2 log 2πσ² for σ = 0.1, 1, 5: largest relative error",
        max(errors),
        1e-10,
    )
    book.at_most("gaussian-mass", "|∫ p(x) dx - 1| for the same σ, largest", max(masses), 1e-10)


def many_draws(book: Notebook) -> None:
    """The mean of M draws of log p(x | z): unbiased, variance falling as 1/M."""
    random = np.random.default_rng(book.seed + 2)
    W, b, x, mean = (random.normal(size=s) for s in ((4, 2), 4, 4, 2))
    sd, noise = np.array([0.6, 1.3]), 0.7
    model = Latent(
        StandardNormal(2),
        Likelihood(lambda z: jnp.asarray(W) @ z + b, Gaussian(4, scale=noise)),
        DiagonalPosterior(lambda _: jnp.concatenate([jnp.asarray(mean), 2 * jnp.log(sd)])),
    )
    kl = 0.5 * np.sum(sd**2 + mean**2 - 1 - 2 * np.log(sd))
    A, rest = sd[:, None] * (W.T @ W) * sd / noise**2, x - W @ mean - b
    slope = sd * (W.T @ rest) / noise**2
    exact = -rest @ rest / (2 * noise**2) - 2 * np.log(2 * np.pi * noise**2) - 0.5 * np.trace(A)
    exact_variance = slope @ slope + 0.5 * np.sum(A**2)
    measured = np.array([_recon(model, x, int(m), book.seed) + kl for m in M])
    variance = measured.var(axis=1, ddof=1)
    kurtosis = np.mean((measured.T - measured.mean(axis=1)) ** 4, axis=0) / variance**2
    book.at_most(
        "unbiased",
        "mean of the M-draw estimate against E log p(x | z) in closed form, M = 1…64: worst, in"
        " standard errors (fails by chance once in 20,000 runs)",
        np.abs((measured.mean(axis=1) - exact) / np.sqrt(variance / REPEATS)).max(),
        FAR,
    )
    spread = np.sqrt((kurtosis - 1) / REPEATS)  # standard error of log variance
    (fitted, _), covariance = np.polyfit(
        np.log(M), np.log(variance), 1, w=1 / spread, cov="unscaled"
    )
    book.equal(
        "falls-as-1/M",
        "slope of log variance against log M, M = 1, 2, …, 64; tolerance 4.5 standard errors",
        fitted,
        -1.0,
        FAR * np.sqrt(covariance[0, 0]),
    )
    book.at_most(
        "variance",
        "M · variance against the variance of one draw in closed form: worst, in standard errors",
        np.abs(np.log(M * variance / exact_variance) / spread).max(),
        FAR,
    )
    figure = convergence(
        {"measured": (M, variance)},
        {"closed form / M": (M, exact_variance / M)},
        "M (draws)",
        "variance of the reconstruction term (nats²)",
        title="The mean of M draws",
    )
    book.figure(figure, "mnist-vae-draws")


def _recon(model: Latent, x: np.ndarray, m: int, seed: int) -> np.ndarray:
    """Return repeated estimates of the ELBO from m draws `(REPEATS,)`, nats."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), m), REPEATS)
    row = jnp.asarray(x)
    each = jax.jit(jax.vmap(lambda k: lower_bound(model, row, k, ELBO(m), ClosedFormKL())))
    return np.asarray(each(keys))
