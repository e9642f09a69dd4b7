r"""A VAE on the Swiss roll, as the source document sets it, with its log p by quadrature.

Data x = 0.1 t (cos t, sin t) + 0.025 ε with t = 2π√u, u ~ U(¼, 4): 2,000 rows. z ~ N(0, 1) in one
dimension; encoder 2-128-128-(μ, log σ), decoder 1-64-64-2; p(x | z) = N(f(z), I/150); Adam 5e-4,
batch 64, 2,000 epochs of

    L = -log p(x | z) + KL(q ‖ p),    -log p(x | z) = 75 Σ_d (x_d - f_d(z))² + log(2π/150).

The document says nothing of the beginning (see `jensen.studies.autoencoders`); what is looked at is
a moving average of the weights (0.999), which changes no step.

*What can be reached.* E log p of the data's own density is 0.253 nats. The spiral itself blurred by
σ = 1/√150, which a decoder that follows it perfectly would give, has -0.481: the likelihood's σ is
three times that of the noise. Held-out log p of the model is exact, by quadrature over z. The ELBO
lies far below it, and more draws climb slowly: a z in one dimension folds the plane, so that arms
of the spiral which touch in x lie apart in z, and one Gaussian q sees one of them.

*A mistake.* A circulating program takes 75 times the mean over the two coordinates. That is half of
75 times the sum, and its loss is

    75 mean + KL = ½ (75 Σ + 2 KL):

a β-VAE with β = 2, or a likelihood with twice the variance. It leaves out the constant too,
log(2π/150) = -3.17 nats, without which the loss is no bound and p(x) does not integrate to one.

The same program has 16 latents. There is no quadrature then: log p̂ comes from importance sampling,
with its verdict, and from annealed importance sampling as a second opinion.

Source: the course document's problem 3; its student's answer for the variant.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array, Key
from jensen.data.toys import TOYS, Toy
from jensen.engine.config import Optimisation
from jensen.evaluation.annealed import annealed
from jensen.evaluation.evidence import evidence, log_weights
from jensen.evaluation.gaps import active_units
from jensen.evaluation.quadrature import quadrature
from jensen.models.latent import Latent
from jensen.objectives.bounds import ELBO
from jensen.objectives.gradients import ClosedFormKL
from jensen.objectives.variational import NegativeBound
from jensen.report.curves import curves
from jensen.report.latents import bounds
from jensen.report.planes import planes
from jensen.report.samples import growing
from jensen.studies.autoencoders import (
    FAR,
    DocumentInit,
    block_bounds,
    error_within,
    mean_and_se,
    trained,
)
from jensen.studies.notebook import Notebook

ROWS, EPOCHS, QUICK_EPOCHS, PICTURES, DRAWN = 2000, 2000, 500, 5, 4000
SCALE = 150**-0.5
PARTICLES = (1, 5, 50, 1000)
REFERENCE = -0.74
"""Least of three plain runs' exact log p, nats."""
OPTIMISATION = Optimisation(batch_size=64, learning_rate=5e-4, clip=None, warmup=0, ema=0.999)
LOSS = NegativeBound(ELBO(), ClosedFormKL())
EDGE, ACROSS = 2.0, 101
"""The grid of the pictures, in steps of half of σ."""


def study(book: Notebook) -> None:
    """Train the document's autoencoder and its variant; compare bounds with the exact log p."""
    toy = TOYS["swiss-roll"]
    random = np.random.default_rng(book.seed)
    data, held_out = (toy.sample(random, n).astype(np.float32) for n in (ROWS, DRAWN))
    _truth(book, toy, held_out)
    last = QUICK_EPOCHS if book.quick else EPOCHS
    epochs = [last * (i + 1) // PICTURES for i in range(PICTURES)]
    models, curve = trained(DocumentInit(1, SCALE), LOSS, data, epochs, OPTIMISATION, book.seed)
    model = models[last]
    _likelihood(book, model, data)
    _evidence(book, toy, model, data, held_out)
    _pictures(book, toy, models, data)
    book.figure(
        curves(curve["epoch"], {"-ELBO (nats per row)": {"training": curve["loss"]}}),
        "swiss-roll-vae-training",
    )
    _variant(book, data, held_out, last if not book.quick else last // 2)
    book.used = "made: the Swiss roll"


def expected(toy: Toy, blurred: Toy) -> float:
    """Return E log p(x), nats, for x of the first toy and p of the second, by quadrature.

    Gauss–Legendre along the curve, Gauss–Hermite in the noise.
    """
    centres, weights = toy.nodes(24)
    points, shares = np.polynomial.hermite_e.hermegauss(6)
    shares = shares / shares.sum()
    total = 0.0
    for a, v in zip(points, shares, strict=True):
        for b, w in zip(points, shares, strict=True):
            at = centres + toy.sigma * np.array([a, b])
            total += v * w * float(weights @ blurred.log_prob(at, panels=96))
    return total


def _truth(book: Notebook, toy: Toy, held_out: np.ndarray) -> None:
    """The two figures that the model's are read beside."""
    for name, density, what, figure in (
        ("truth", toy, "E log p of the data's own density (nats)", 0.253),
        ("spiral", replace(toy, sigma=SCALE), "E log p of the spiral blurred by 1/√150", -0.481),
    ):
        value = expected(toy, density)
        book.equal(f"{name}-value", f"{what}, by quadrature", value, figure, 0.001)
        mean, se = mean_and_se(density.log_prob(held_out))
        book.equal(
            f"{name}-sampled",
            f"{what}, mean of {DRAWN:,} rows against the quadrature; tolerance 4.5 standard errors",
            mean,
            value,
            FAR * se,
        )


def plain_loss(model: Latent, x: Array, z: Array) -> Array:
    """Return 75 Σ (x - f(z))² + log(2π/150), nats, of one row x and one z."""
    return 75.0 * jnp.sum((x - model.likelihood.decoder(z)) ** 2) + jnp.log(2 * jnp.pi / 150.0)


def _likelihood(book: Notebook, model: Latent, data: np.ndarray) -> None:
    """The likelihood is 75 times the sum, with its constant; the mean is another objective."""
    z = jax.random.normal(jax.random.key(book.seed), (500, 1))
    x = jnp.asarray(data[:500])
    ours, plain = (np.asarray(each, float) for each in _log_likelihoods(model, x, z))
    book.at_most(
        "sum-and-constant",
        "|log p(x | z) - (-75 Σ (x - f(z))² - log(2π/150))|, largest of 500, relative; tolerance"
        " rounding of float32",
        np.abs((ours - plain) / np.maximum(1.0, np.abs(plain))).max(),
        0.0,
        1e-4,
    )
    gradient = _gradients(model, x, jax.random.key(book.seed + 1))
    scale = float(jnp.linalg.norm(gradient["β = 2"]))
    book.at_most(
        "mean-is-beta-two",
        "gradient of 75 mean + KL less half that of 75 sum + 2 KL, same draws, relative; tolerance"
        " rounding of float32",
        float(jnp.linalg.norm(gradient["mean"] - gradient["β = 2"])) / scale,
        0.0,
        1e-3,
    )
    book.at_least(
        "mean-is-not-vae",
        "the same against half the gradient of the document's loss, relative: another objective",
        float(jnp.linalg.norm(gradient["mean"] - 0.5 * gradient["β = 1"])) / scale,
        0.05,
    )


@eqx.filter_jit
def _log_likelihoods(model: Latent, x: Array, z: Array) -> tuple[Array, Array]:
    """Return log p(x | z) `(n,)` as the library has it, and as it is written by hand."""
    ours = jax.vmap(model.likelihood.log_prob)(x, z)
    return ours, -jax.vmap(lambda a, b: plain_loss(model, a, b))(x, z)


@eqx.filter_jit
def _gradients(model: Latent, x: Array, key: Key) -> dict[str, Array]:
    """Return the gradients `(P,)` of three losses of rows x, with the same draws."""
    twice = NegativeBound(ELBO(beta=2.0), ClosedFormKL())
    losses = {
        "mean": lambda m: _mean_loss(m, x, key),
        "β = 2": lambda m: 0.5 * jnp.mean(twice((m,), x, key)),
        "β = 1": lambda m: jnp.mean(LOSS((m,), x, key)),
    }
    return {name: _flat(eqx.filter_grad(loss)(model)) for name, loss in losses.items()}


def _mean_loss(model: Latent, x: Array, key: Key) -> Array:
    """Return the circulating loss, 75 mean_d (x_d - f_d(z))² + KL(N(μ, s²) ‖ N(0, 1))."""

    def one(row: Array, k: Key) -> Array:
        q: Any = model.posterior(row)
        mean, sd = q.law.base_dist.loc, q.law.base_dist.scale
        z = q.sample_and_log_prob(k, 1)[0][0]
        divergence = jnp.sum(-jnp.log(sd) - 0.5 + 0.5 * (sd**2 + mean**2))
        return 75.0 * jnp.mean((row - model.likelihood.decoder(z)) ** 2) + divergence

    return jnp.mean(jax.vmap(one)(x, jax.random.split(key, len(x))))


def _flat(gradient: Any) -> Array:
    leaves = jax.tree.leaves(eqx.filter(gradient, eqx.is_inexact_array))
    return jnp.concatenate([leaf.ravel() for leaf in leaves])


def _evidence(
    book: Notebook, toy: Toy, model: Latent, data: np.ndarray, held_out: np.ndarray
) -> None:
    """Exact log p of held-out rows, and the bounds of K draws below it."""
    exact, error = quadrature(model, held_out)
    mean, se = mean_and_se(exact)
    book.at_most(
        "quadrature",
        f"stated error of log p by quadrature, largest of {DRAWN:,} held-out rows (nats)",
        error.max(),
        0.001,
    )
    log_w = log_weights(model, held_out, 2 * max(PARTICLES), book.seed)
    blocks = {K: block_bounds(log_w, K) for K in PARTICLES}
    _bounds(book, blocks, exact, float(error.mean()))
    gap, own = mean_and_se(toy.log_prob(held_out) - exact)
    book.at_least(
        "below-truth",
        "log of the data's density less log p of the model, held-out mean in standard errors:"
        " a divergence, above 0",
        gap / own,
        FAR,
    )
    gaussian = _gaussian(data, held_out)
    book.at_least(
        "beats-gaussian",
        "exact log p less that of a Gaussian fit, held-out mean in standard errors",
        np.divide(*mean_and_se(exact - gaussian)),
        FAR,
    )
    if not book.quick:
        book.at_least(
            "as-good-as-reference",
            f"exact held-out log p (nats per row) after {EPOCHS:,} epochs, beside three plain runs,"
            " -0.68 to -0.74; tolerance 4.5 standard errors of the rows",
            mean,
            REFERENCE,
            FAR * se,
        )
    found = {K: mean_and_se(block.mean(axis=1)) for K, block in blocks.items()}
    book.remark(
        f"held-out log p {mean:.3f} ± {se:.3f} nats, exact; Gaussian fit {gaussian.mean():.3f};"
        f" the data's density {toy.log_prob(held_out).mean():.3f}; bounds: "
        + ", ".join(f"{value:.3f} (K = {K})" for K, (value, _) in found.items())
    )
    line = tuple(np.array(part) for part in zip(*found.values(), strict=True))
    book.figure(
        bounds(PARTICLES, {"bound": (line[0], line[1])}, exact=(mean, se)), "swiss-roll-vae-bounds"
    )


def _bounds(book: Notebook, blocks: dict[int, np.ndarray], exact: np.ndarray, error: float) -> None:
    """Claim that the bounds `(n, blocks)` of K draws lie below log p `(n,)` and rise with K."""
    for K, block in blocks.items():
        book.at_most(
            f"below-exact-{K}",
            f"bound of K = {K} draws less the exact log p, held-out mean (nats); tolerance 4.5"
            " standard errors of the draws, and the quadrature's error",
            (block.mean(axis=1) - exact).mean(),
            0.0,
            FAR * error_within(block) + error,
        )
    for (few, early), (many, late) in pairwise(blocks.items()):
        rise, own = mean_and_se(late.mean(axis=1) - early.mean(axis=1))
        book.at_least(
            f"rises-{few}-{many}",
            f"bound of K = {many} less that of K = {few}, same draws, in standard errors over rows",
            rise / own,
            FAR,
        )


def _gaussian(data: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return log N(x; mean, covariance of the data) `(n,)`, nats."""
    covariance, apart = np.cov(data.T), rows - data.mean(axis=0)
    far = np.sum(apart * np.linalg.solve(covariance, apart.T).T, axis=1)
    return -0.5 * far - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]


def _pictures(book: Notebook, toy: Toy, models: dict[int, Latent], data: np.ndarray) -> None:
    """Draw densities and samples as training goes on; the last density must integrate to one."""
    line = np.linspace(-EDGE, EDGE, ACROSS)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    shown, clouds = {"the data's density": toy.log_prob(grid).reshape(ACROSS, ACROSS)}, {}
    keys = jax.random.split(jax.random.key(book.seed), DRAWN)
    for epoch, model in models.items():
        shown[f"epoch {epoch}"] = quadrature(model, grid, tolerance=0.01)[0].reshape(ACROSS, ACROSS)
        clouds[f"epoch {epoch}"] = np.asarray(_drawn(model, keys))
    last = shown[f"epoch {max(models)}"]
    inside = np.mean(np.all(np.abs(clouds[f"epoch {max(models)}"]) < EDGE, axis=1))
    share = float(inside * (1 - inside) / DRAWN) ** 0.5
    book.equal(
        "integrates-to-one",
        "∫ p(x) dx over the square of the pictures, against the share of samples in it; tolerance"
        " 4.5 standard errors of the share, and 0.002",
        np.exp(last).sum() * (line[1] - line[0]) ** 2,
        float(inside),
        FAR * share + 0.002,
    )
    book.figure(planes(line, line, shown), "swiss-roll-vae-densities")
    book.figure(growing({"data": data, **clouds}), "swiss-roll-vae-samples")


@eqx.filter_jit
def _drawn(model: Latent, keys: Key) -> Array:
    return jax.vmap(model.sample)(keys)


def _variant(book: Notebook, data: np.ndarray, held_out: np.ndarray, epochs: int) -> None:
    """Sixteen latents: log p̂ with its certificate."""
    init = DocumentInit(16, SCALE)
    models, _ = trained(init, LOSS, data, [epochs], OPTIMISATION, book.seed)
    model, rows = models[epochs], held_out[:100]
    by_weights = evidence(model, rows, 2000, book.seed)
    by_annealing = annealed(model, rows[:50], 16, 100, seed=book.seed)
    difference = by_weights.log_prob[:50] - by_annealing.log_prob
    se = np.sqrt(np.sum(by_weights.se[:50] ** 2 + by_annealing.se**2)) / 50
    bias = float(np.mean(by_weights.se[:50] ** 2 + by_annealing.se**2)) / 2
    book.equal(
        "sixteen-two-opinions",
        "16 latents: log p̂ by importance sampling less that by annealing, mean of 50 rows (nats);"
        " tolerance 4.5 standard errors, and the bias of a log",
        difference.mean(),
        0.0,
        FAR * se + bias,
    )
    elbo = log_weights(model, rows, 1000, book.seed).mean(axis=1)
    rise, own = mean_and_se(by_weights.log_prob - elbo)
    book.at_least(
        "sixteen-above-elbo",
        "16 latents: log p̂ less the ELBO, mean of 100 rows in standard errors",
        rise / own,
        FAR,
    )
    active = active_units(model, held_out[:1000])[1]
    mean, error = by_weights.mean()
    book.remark(
        f"16 latents, {epochs:,} epochs: log p̂ {mean:.3f} ± {error:.3f} nats (100 held-out rows),"
        f" ELBO {elbo.mean():.3f}, {active} latents in use. {by_weights.verdict()} By annealing, of"
        f" the first 50: {by_annealing.log_prob.mean():.3f}, by importance sampling"
        f" {by_weights.log_prob[:50].mean():.3f}"
    )
