r"""The two gradients of a bound with a trainable prior, against the exact ones.

    V = E_q[log p_θ(x | z) + log r_λ(z) - log q_φ(z | x)],   q = N(A x + c, diag exp v),
    p = N(W z + b, σ²I),   r = N(λ₁, diag λ₂)

is linear-Gaussian, so V and its gradient by θ = (W, b), φ = (A, c, v) and λ = (λ₁, log λ₂) have a
closed form:

    V = -(‖x - Wμ - b‖² + tr W S Wᵀ)/(2σ²) - D/2 log 2πσ²
        - ½ Σ (S/λ₂ + (λ₁ - μ)²/λ₂ - 1 + log λ₂ - v),      μ = A x + c,  S = exp v.

The log-derivative trick weighs the score ∂log q/∂φ with log p r/q: of one draw, or of eight, less
the mean of the other seven; reparameterised draws z = μ + exp(½ v) ε carry the derivative
through. For λ both are ∂log r_λ(z)/∂λ; with the divergence in closed form it has no variance left.

Source: the course document's problem 2b-c; Kingma & Welling 2014 (arXiv:1312.6114).
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.stats import norm

from jensen._typing import Array
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import DiagonalNormal
from jensen.objectives.bounds import ELBO
from jensen.objectives.gradients import (
    ClosedFormKL,
    Estimator,
    Reparameterised,
    ScoreFunction,
    lower_bound,
)
from jensen.report.latents import spreads
from jensen.studies.notebook import Notebook

FALSE_ALARM = 1e-5  # of one estimator, over all its coordinates
REPEATS, NOISE, ROUNDING = 20_000, 0.8, 1e-18
ESTIMATORS: dict[str, tuple[Estimator, int]] = {
    "log-derivative": (ScoreFunction(), 1),
    "log-derivative, baseline of 8": (ScoreFunction(), 8),
    "reparameterised": (Reparameterised(), 1),
    "reparameterised, closed KL": (ClosedFormKL(), 1),
}
"""Name → the estimator, and M, its number of draws."""


class Affine(eqx.Module):
    """z ↦ W z + b, or W z.

    Args:
        weight: W `(D, L)`.
        bias: b `(D,)`, or None.
    """

    weight: Array
    bias: Array | None

    def __call__(self, z: Array) -> Array:
        """Return `(D,)`."""
        return self.weight @ z if self.bias is None else self.weight @ z + self.bias


class AffineEncoder(eqx.Module):
    """x ↦ (A x + c, v).

    Args:
        weight: A `(L, D)`.
        shift: c `(L,)`.
        log_variance: v `(L,)`.
    """

    weight: Array
    shift: Array
    log_variance: Array

    def __call__(self, x: Array) -> Array:
        """Return means and log-variances `(2L,)`."""
        return jnp.concatenate([self.weight @ x + self.shift, self.log_variance])


def exact_bound(model: Latent, x: Array, noise: float) -> Array:
    """Return V in closed form, a scalar in nats.

    Args:
        model: prior `DiagonalNormal`, decoder `Affine`, encoder `AffineEncoder`.
        x: one example `(D,)`.
        noise: σ.
    """
    prior: Any = model.prior
    decoder: Any = model.likelihood.decoder
    posterior: Any = model.posterior
    mean, v = jnp.split(posterior.encoder(x), 2)
    S = jnp.exp(v)
    misfit = jnp.sum((x - decoder(mean)) ** 2) + jnp.sum(decoder.weight**2 @ S)
    fit = -0.5 * misfit / noise**2 - 0.5 * x.shape[0] * jnp.log(2 * jnp.pi * noise**2)
    distance = (S + (prior.mean - mean) ** 2) / jnp.exp(prior.log_variance)
    return fit - 0.5 * jnp.sum(distance - 1 + prior.log_variance - v)


def example(seed: int) -> tuple[Latent, Array]:
    """Return a model far from its best, with L = 2 and D = 3, and an x `(3,)`."""
    random = np.random.default_rng(seed)
    W, A = random.normal(size=(3, 2)), 0.3 * random.normal(size=(2, 3))
    b, c, v, first = random.normal(size=3), *random.normal(size=(3, 2))
    prior = eqx.tree_at(
        lambda p: (p.mean, p.log_variance),
        DiagonalNormal(2),
        (jnp.asarray(first), jnp.array([0.7, -0.5])),
    )
    model = Latent(
        prior,
        Likelihood(Affine(jnp.asarray(W), jnp.asarray(b)), Gaussian(3, scale=NOISE)),
        DiagonalPosterior(AffineEncoder(jnp.asarray(A), jnp.asarray(c), jnp.asarray(0.5 * v))),
    )
    return model, jnp.asarray(random.normal(scale=2, size=3))


def gradients(book: Notebook) -> None:
    """Check that all estimators are unbiased for (θ, φ, λ); table and draw their variances."""
    with jax.enable_x64(True):
        model, x = example(book.seed)
        exact = _blocks(eqx.filter_grad(exact_bound)(model, x, NOISE))
        table = {name: _checked(book, name, model, x, exact) for name in ESTIMATORS}
    score, baseline, path, closed = table.values()
    ratios = {
        "baseline-helps": ("leave-one-out baseline over none", baseline["φ"] / score["φ"]),
        "path-steadier": ("reparameterised over log-derivative", path["φ"] / score["φ"]),
        "closed-no-noise": ("λ, divergence in closed form over sampled", closed["λ"] / path["λ"]),
    }
    for name, (what, ratio) in ratios.items():
        block = "" if name == "closed-no-noise" else "φ, "
        book.at_most(
            name,
            f"variance of the gradient at equal numbers of draws, {block}{what}",
            ratio,
            0.0 if name == "closed-no-noise" else 1.0,
        )
    for name, row in table.items():
        text = ", ".join(f"{block} {value:.3g}" for block, value in row.items())
        book.remark(f"variance of the gradient times draws, {name}: {text}")
    figure = spreads(table, "variance of the gradient × draws (nats²)")
    book.figure(figure, "trainable-prior-variances")


def _checked(
    book: Notebook, name: str, model: Latent, x: Array, exact: dict[str, Array]
) -> dict[str, float]:
    """Claim that an estimator is unbiased; return its variance times M by block."""
    estimator, m = ESTIMATORS[name]
    estimates = _estimates(model, x, estimator, m, book.seed)
    count = sum(len(block) for block in exact.values())
    scores, power = [], []
    for block, gradient in exact.items():
        truth = np.asarray(gradient)
        mean, sd = estimates[block].mean(axis=0), estimates[block].std(axis=0, ddof=1)
        error = np.maximum(sd / np.sqrt(REPEATS), 1e-9 * (1 + np.abs(truth)))
        scores.append(np.abs(mean - truth) / error)
        power.append((np.abs(truth) / error).max())
    book.at_most(
        f"unbiased-{name.replace(', ', '-').replace(' ', '-')}",
        f"{name}: mean of 20,000 gradients against the exact one, worst of {count} coordinates of"
        f" θ, φ, λ, in standard errors; a gradient of 0 would be {min(power):.0f} off (false alarm:"
        " once in 100,000 runs)",
        np.concatenate(scores).max(),
        float(norm.isf(FALSE_ALARM / (2 * count))),
    )
    found = {block: float(m * estimates[block].var(axis=0, ddof=1).sum()) for block in exact}
    return {block: 0.0 if value < ROUNDING else value for block, value in found.items()}


def _estimates(
    model: Latent, x: Array, estimator: Estimator, m: int, seed: int
) -> dict[str, np.ndarray]:
    """Return repeated estimates `(REPEATS, parameters)` of each block."""

    @eqx.filter_jit
    def many(model: Latent, keys: Array) -> dict[str, Array]:
        def value(model: Latent, key: Array) -> Array:
            return lower_bound(model, x, key, ELBO(m), estimator)

        return jax.vmap(lambda key: _blocks(eqx.filter_grad(value)(model, key)))(keys)

    keys = jax.random.split(jax.random.key(seed), REPEATS)
    return {block: np.asarray(each) for block, each in many(model, keys).items()}


def _blocks(gradient: Latent) -> dict[str, Array]:
    """Return the gradient by θ, φ and λ, a vector each."""
    parts = {"θ": gradient.likelihood, "φ": gradient.posterior, "λ": gradient.prior}
    return {name: ravel_pytree(part)[0] for name, part in parts.items()}
