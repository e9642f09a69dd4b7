r"""A variational autoencoder whose prior is trained too: its two gradients, and what it wins.

    log p(x) ≥ V(θ, φ, λ) = E_q[log p_θ(x | z) + log r_λ(z) - log q_φ(z | x)]

*Gradients* by (θ, φ, λ): the log-derivative trick and reparameterised draws are compared with exact
ones in `jensen.studies.prior_gradients`. Trained with either, a linear-Gaussian model reaches the
same bound: the largest log-likelihood of x ~ N(b', W'W'ᵀ + σ²I), known from the eigenvalues l_j of
the data's covariance, d_j = max(l_j, σ²) for the L largest and σ² for the rest:

    V* = -D/2 log 2π - ½ Σ_j (log d_j + l_j/d_j).

*When a learned prior N(λ₁, diag λ₂) is worth something.* An affine decoder W z + b takes up any λ₁
and λ₂ itself: W λ₁ + b and W diag √λ₂. Without a bias it cannot: N(0, I) then means E[x] = 0, and
the best that W can do for data of mean μ and covariance C is to match their second moments,
N(0, C + μμᵀ), which costs on average

    ½ log det(C + μμᵀ)/det C = ½ log(1 + μᵀC⁻¹μ)  nats a row.

The learned prior moves to λ₁ and wins exactly that.

*Several modes.* Where rows come in clumps and the decoder is smooth, N(0, I) puts mass between
them. A diagonal normal, a mixture, a VampPrior and a flow are compared with it: bounds on held-out
rows, and log p by quadrature over the one-dimensional z.

Source: the course document's problem 2; Tomczak & Welling 2018 (arXiv:1705.07120); Tipping & Bishop
1999 for the eigenvalues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal

from jensen._typing import Array, Key
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.evaluation.quadrature import quadrature
from jensen.models.flow import SplineAutoregressive
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import (
    DiagonalNormal,
    FlowPrior,
    MixturePrior,
    Prior,
    StandardNormal,
    VampPrior,
)
from jensen.nn.mlp import MLP
from jensen.objectives.bounds import ELBO
from jensen.objectives.gradients import Reparameterised, ScoreFunction
from jensen.objectives.likelihood import Mean
from jensen.objectives.variational import HeldOutBound, NegativeBound
from jensen.report.curves import convergence
from jensen.report.latents import prior_densities
from jensen.studies.notebook import Notebook
from jensen.studies.prior_gradients import Affine, AffineEncoder, exact_bound, gradients

SEEDS = 4  # runs of each estimator, side by side
FAR = 4.5  # standard errors; one normal draw in 150,000 lies further out
LINEAR, LINEAR_QUICKLY = (8000, 2e-2), (4000, 2e-2)
"""Steps and learning rate of the linear models."""
CURVED, CURVED_QUICKLY = (4000, 5e-3), (2000, 5e-3)
"""The same for those with networks."""
LEAST = 0.1  # nats per row: less is no difference
TRAINED = 0.01  # nats that training may leave between its end and the optimum
NOISE = 0.5
WHERE = {"trained": (1.0, -2.0), "shifted": (3.0, -2.0)}  # of z, by problem
SPREAD = (1.5, 0.7)
WEIGHT = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])  # W of the rows
LOSS = NegativeBound(ELBO(), Reparameterised())
CLUMPS = (-2.6, -0.4, 2.4), (0.25, 0.15, 0.35), (0.5, 0.2, 0.3)
"""Means, standard deviations and shares of what lies behind the rows of several modes."""


def study(book: Notebook) -> None:
    """Check the gradients, train with both, shift the data, and compare five priors."""
    gradients(book)
    _same_bound(book)
    _shifted(book)
    _several_modes(book)
    book.used = "made: rows of normal latent vectors, shifted ones, and three clumps"


class LinearInit(eqx.Module):
    """How a linear-Gaussian model begins: `init(key) -> (Latent,)`.

    Args:
        dims: D and L.
        learned: whether the prior is N(λ₁, diag λ₂), or N(0, I).
        bias: whether the decoder has one.
    """

    dims: tuple[int, int] = eqx.field(static=True)
    learned: bool = eqx.field(static=True)
    bias: bool = eqx.field(static=True)

    def __call__(self, key: Key) -> tuple[Latent]:
        """Return the model, alone in a tuple."""
        D, L = self.dims
        W = jax.random.normal(key, (D, L))
        precision = W.T @ W / NOISE**2 + jnp.eye(L)  # of p(z | x), from whose diagonal q begins
        A = jnp.linalg.solve(precision, W.T / NOISE**2)
        decoder = Affine(W, jnp.zeros(D) if self.bias else None)
        encoder = AffineEncoder(A, jnp.zeros(L), -jnp.log(jnp.diagonal(precision)))
        prior = DiagonalNormal(L) if self.learned else StandardNormal(L)
        likelihood = Likelihood(decoder, Gaussian(D, scale=NOISE))
        return (Latent(prior, likelihood, DiagonalPosterior(encoder)),)


def linear_rows(seed: int, name: str, n: int, bias: float) -> np.ndarray:
    """Return rows `(n, 4)`: W z + b + σ ε for z ~ N(m, diag s²)."""
    random = np.random.default_rng(seed)
    b = bias * random.normal(size=4)
    z = np.array(WHERE[name]) + np.array(SPREAD) * random.normal(size=(n, 2))
    return (z @ WEIGHT.T + b + NOISE * random.normal(size=(n, 4))).astype(np.float32)


def trained(
    init: Callable[[Key], tuple[Latent]],
    rows: np.ndarray,
    loss: NegativeBound,
    how: tuple[int, float],
    seed: int,
    validate: Callable[..., Array] | None = None,
    members: int = 1,
) -> tuple[Latent, list[dict[str, Any]]]:
    """Train by Adam with batches of 200 and a moving average of the weights.

    Args:
        init: how the model begins.
        rows: `(n, D)`.
        loss: what is minimised.
        how: steps, rounded up to whole epochs, and the learning rate.
        seed: of the beginning, the order of the rows and the draws.
        validate: a figure to write down every 100 steps, of all rows; it stops nothing.
        members: runs side by side.

    Returns:
        The first member's model, and the rows of metrics.
    """
    steps, rate = how
    method = Optimisation(batch_size=200, learning_rate=rate, clip=None, warmup=0, ema=0.998)
    training = Training(-(-steps * 200 // len(rows)), method, evaluate_every=100, patience=steps)
    game = Game(init, Mean(loss), validate or HeldOutBound(loss))
    seen = None if validate is None else rows
    result = train(game, rows, seen, training, seed=seed, members=members)
    model = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, result.players[0])
    return model, result.metrics


class ExactLoss(eqx.Module):
    """-V of rows, in closed form."""

    def __call__(self, players: tuple[Latent], rows: Array, key: Key) -> Array:
        """Return `(n,)`, nats."""
        return -jax.vmap(lambda x: exact_bound(players[0], x, NOISE))(rows)


def best_bound(rows: np.ndarray, n_latent: int) -> float:
    """Return V*, the largest mean log-likelihood of a linear-Gaussian model, nats per row."""
    D = rows.shape[1]
    roots = np.sort(np.linalg.eigvalsh(np.cov(rows.T, bias=True)))[::-1]
    d = np.full(D, NOISE**2)
    d[:n_latent] = np.maximum(roots[:n_latent], NOISE**2)
    return float(-0.5 * D * np.log(2 * np.pi) - 0.5 * np.sum(np.log(d) + roots / d))


def _same_bound(book: Notebook) -> None:
    """Train with both estimators; compare the exact bounds at the end with each other and V*."""
    rows = linear_rows(book.seed, "trained", 1000, bias=1.0)
    best, init = best_bound(rows.astype(float), 2), LinearInit((4, 2), True, True)
    how = LINEAR_QUICKLY if book.quick else LINEAR
    ways = {
        "reparameterised": NegativeBound(ELBO(), Reparameterised()),
        "log-derivative": NegativeBound(ELBO(16), ScoreFunction()),
    }
    ends, lines = {}, {}
    for name, loss in ways.items():
        _, metrics = trained(init, rows, loss, how, book.seed, ExactLoss(), SEEDS)
        gaps = np.array(
            [[best + row[f"validation_loss_member_{i}"] for i in range(SEEDS)] for row in metrics]
        )
        ends[name] = gaps[-1]
        lines[name] = [row["step"] for row in metrics], gaps.mean(axis=1)
        book.at_most(
            f"reaches-optimum-{name}",
            f"{name}: V* less the exact bound after {how[0]:,} steps, worst of {SEEDS} runs"
            " (nats per row)",
            gaps[-1].max(),
            TRAINED,
        )
        book.at_least(
            f"below-optimum-{name}",
            f"{name}: the same, least of all runs and times; tolerance rounding of float32",
            gaps.min(),
            0.0,
            1e-4,
        )
    one, other = ends.values()
    error = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / SEEDS)
    book.equal(
        "same-bound",
        "bound trained with the log-derivative trick less that with reparameterised gradients (nats"
        f" per row); tolerance 4.5 standard errors of {SEEDS} runs each, and {TRAINED}",
        one.mean() - other.mean(),
        0.0,
        float(FAR * error + TRAINED),
    )
    figure = convergence(
        lines,
        None,
        "steps",
        "V* - V (nats per row)",
        logx=False,
        title=f"Two gradients, one bound (mean of {SEEDS} runs)",
    )
    book.figure(figure, "trainable-prior-training")


def log_evidence(model: Latent, rows: np.ndarray) -> np.ndarray:
    """Return log N(x; W m + b, W diag s² Wᵀ + σ²I) `(n,)`, nats, for an `Affine` decoder."""
    decoder: Any = model.likelihood.decoder
    prior: Any = model.prior
    W = np.asarray(decoder.weight, float)
    mean, variance = np.zeros(W.shape[1]), np.ones(W.shape[1])
    if isinstance(prior, DiagonalNormal):
        mean, variance = np.asarray(prior.mean, float), np.exp(np.asarray(prior.log_variance))
    centre = W @ mean + (0.0 if decoder.bias is None else np.asarray(decoder.bias, float))
    covariance: Any = (W * variance) @ W.T + NOISE**2 * np.eye(len(W))
    return multivariate_normal(centre, covariance).logpdf(rows)


def _shifted(book: Notebook) -> None:
    """A decoder without a bias: what a learned prior wins is known beforehand."""
    rows = linear_rows(book.seed, "shifted", 8000, bias=0.0)
    data, held_out = rows[:4000], rows[4000:]
    kinds = {
        "fixed": LinearInit((4, 2), False, False),
        "learned": LinearInit((4, 2), True, False),
        "fixed, with a bias": LinearInit((4, 2), False, True),
    }
    found, how = {}, LINEAR_QUICKLY if book.quick else LINEAR
    for name, init in kinds.items():
        model, _ = trained(init, data, LOSS, how, book.seed)
        found[name] = log_evidence(model, held_out)
    C = (WEIGHT * np.array(SPREAD) ** 2) @ WEIGHT.T + NOISE**2 * np.eye(4)
    mean = WEIGHT @ np.array(WHERE["shifted"])
    promised = 0.5 * np.log1p(mean @ np.linalg.solve(C, mean))
    gain = found["learned"] - found["fixed"]
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    book.equal(
        "shift-gain",
        "no bias: exact log p of held-out rows, learned prior less N(0, I), against"
        f" ½ log(1 + μᵀC⁻¹μ) (nats per row); tolerance 4.5 standard errors and {TRAINED}",
        gain.mean(),
        float(promised),
        float(FAR * error + TRAINED),
    )
    book.at_least(
        "shift-beats",
        "no bias: the same difference less 4.5 standard errors (nats per row)",
        gain.mean() - FAR * error,
        LEAST,
    )
    same = found["learned"] - found["fixed, with a bias"]
    book.equal(
        "bias-does-the-same",
        "exact log p of held-out rows, learned prior without a bias less N(0, I) with one (nats"
        f" per row); tolerance 4.5 standard errors and {TRAINED}",
        same.mean(),
        0.0,
        float(FAR * same.std(ddof=1) / np.sqrt(len(same)) + TRAINED),
    )
    text = ", ".join(f"{name} {values.mean():.3f}" for name, values in found.items())
    book.remark(f"shifted rows, exact log p (nats per row): {text}")


class CurveInit(eqx.Module):
    """How a model with a one-dimensional z begins, the same but for its prior.

    Args:
        prior: from a key to p(z).
    """

    prior: Callable[[Key], Prior] = eqx.field(static=True)

    def __call__(self, key: Key) -> tuple[Latent]:
        """Return the model, alone in a tuple."""
        for_encoder, for_decoder, for_prior = jax.random.split(key, 3)
        encoder = MLP(for_encoder, 2, 2, (32,), "tanh", last=0.1)
        decoder = MLP(for_decoder, 1, 2, (8,), "tanh", last=1.0)
        likelihood = Likelihood(decoder, Gaussian(2, scale=0.2))
        return (Latent(self.prior(for_prior), likelihood, DiagonalPosterior(encoder)),)


def clumps(seed: int, n: int) -> np.ndarray:
    """Return rows `(n, 2)` along the curve (u, cos u), in three clumps, with noise 0.2."""
    random = np.random.default_rng(seed)
    means, spreads, shares = (np.array(part) for part in CLUMPS)
    which = random.choice(3, size=n, p=shares)
    u = means[which] + spreads[which] * random.normal(size=n)
    rows = np.stack([u, np.cos(u)], axis=1) + 0.2 * random.normal(size=(n, 2))
    return rows.astype(np.float32)


def priors(data: np.ndarray) -> dict[str, Callable[[Key], Prior]]:
    """Return how each prior begins; the VampPrior's pseudo-inputs at rows of the data."""
    vamp = VampPrior(jnp.asarray(data[:8]))
    return {
        "standard": lambda _: StandardNormal(1),
        "diagonal": lambda _: DiagonalNormal(1),
        "mixture": lambda key: MixturePrior(key, 1, 5),
        "vamp": lambda _: vamp,
        "flow": lambda key: FlowPrior(SplineAutoregressive(key, 1, n_layers=1, hidden=(8,))),
    }


def _several_modes(book: Notebook) -> None:
    """Five priors on three clumps: held-out bounds, and log p by quadrature."""
    rows = clumps(book.seed, 5000)
    data, held_out = rows[:4000], rows[4000:]
    how = CURVED_QUICKLY if book.quick else CURVED
    log_p, elbo, models = {}, {}, {}
    for name, prior in priors(data).items():
        model, _ = trained(CurveInit(prior), data, LOSS, how, book.seed)
        log_p[name], error = quadrature(model, held_out)
        loss = HeldOutBound(NegativeBound(ELBO(64), Reparameterised()))
        values = eqx.filter_jit(loss)((model,), jnp.asarray(held_out), jax.random.key(book.seed))
        elbo[name], models[name] = -np.asarray(values, float), model
        book.at_most(
            f"quadrature-{name}",
            f"{name} prior: stated error of the quadrature, mean of held-out rows (nats)",
            error.mean(),
            1e-3,
        )
        gap = log_p[name] - elbo[name]
        book.at_least(
            f"below-log-p-{name}",
            f"{name} prior: log p less the bound, held-out rows (nats per row), within 4.5 standard"
            " errors of 0 or above",
            gap.mean(),
            0.0,
            FAR * gap.std() / np.sqrt(len(gap)),
        )
    for what, values in (("log-p", log_p), ("bound", elbo)):
        for name in list(values)[1:]:
            gain = values[name] - values["standard"]
            book.at_least(
                f"{what}-{name}",
                f"{name} prior: {what.replace('-', ' ')} less that of N(0, I), held-out rows (nats"
                " per row), within 4.5 standard errors of 0 or above",
                gain.mean(),
                0.0,
                FAR * gain.std(ddof=1) / np.sqrt(len(gain)),
            )
    text = "; ".join(f"{k} {log_p[k].mean():.3f} (bound {elbo[k].mean():.3f})" for k in log_p)
    book.remark(f"three clumps, log p by quadrature (nats per row): {text}")
    book.figure(_densities(models, data), "trainable-prior-densities")


def _densities(models: dict[str, Latent], data: np.ndarray) -> Any:
    """Draw each prior before the aggregate posterior of the training rows."""
    axis = np.linspace(-5, 5, 501)
    z, rows = jnp.asarray(axis, jnp.float32)[:, None], jnp.asarray(data[:1000])
    drawn, below = {}, []
    for name, model in models.items():
        prior = model.prior.distribution(model.posterior)
        drawn[name] = np.exp(np.asarray(jax.vmap(prior.log_prob)(z)))
        each = jax.vmap(lambda x, m=model: jax.vmap(m.posterior(x).log_prob)(z))(rows)
        below.append(np.exp(np.asarray(each)).mean(axis=0))
    return prior_densities(axis, drawn, below)
