r"""What a bound loses: to the family of q, and to one encoder that serves every row.

    E_q log p(x, z) + H(q) = log p(x) - KL(q ‖ p(z | x))

*Complete data.* For fixed q, maximising E_q log p_θ(x, z) over θ is maximising log p_θ(x) less the
divergence; it is maximum likelihood only where q keeps up with p_θ(z | x). Over q the right side is
largest, log p(x), at q = p(z | x).

*Amortised or per row.* With q_i* the best member of the family for row i, and q_φ the encoder's,

    log p(x_i) - ELBO(q_φ)  =  KL(q_i* ‖ p(z | x_i))  +  [ELBO(q_i*) - ELBO(q_φ)]
                               approximation gap          amortisation gap

and neither term is below 0: KL(q_φ ‖ p) ≥ KL(q_i* ‖ p), with equality where the encoder can say
q_i* for every row at once. For x = W z + b + σ ε it can, if it is affine: the best diagonal
Gaussian has the precisions diag P and the mean of p(z | x), which is affine in x, and the
approximation gap is ½ log(Π P_ii/|P|) for every row. An encoder that does not see a coordinate of x
cannot.

*The price.* Per row there are 2L numbers for each of n rows, found by a search; an encoder has a
fixed number of parameters, and one pass through it does for a new row.

Source: the course documents' problems on amortised inference; Cremer et al. 2018
(arXiv:1801.03558).
"""

from __future__ import annotations

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array, Key
from jensen.data.source import open_table
from jensen.data.table import numbers
from jensen.engine.config import Optimisation
from jensen.evaluation.gaps import Gaps, decompose
from jensen.evaluation.quadrature import quadrature
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.nn.mlp import MLP
from jensen.objectives.bounds import ELBO
from jensen.objectives.gradients import (
    ClosedFormKL,
)
from jensen.objectives.variational import NegativeBound
from jensen.report.curves import curves
from jensen.report.spread import estimates
from jensen.studies.autoencoders import FAR, Linear, gaussian_kl, trained
from jensen.studies.encoders import trained_encoder
from jensen.studies.notebook import Notebook

DRAWS, HIDDEN = 1000, 64
LEFT = 0.003  # nats that a search by gradients may leave


def study(book: Notebook) -> None:
    """Split the gap where all is known, then for an autoencoder of digits."""
    known, random = linear(book.seed)
    _complete_data(book, known, random)
    shown = _known_gaps(book, known, random) + _rich_and_poor(book, known, random)
    _draw(book, shown, _digits(book))
    book.used = "made: rows of a linear-Gaussian model; embedded: 8 x 8 digits"


def linear(seed: int) -> tuple[Linear, np.random.Generator]:
    """Return a linear-Gaussian model with correlated latents, and what its rows are drawn with."""
    random = np.random.default_rng(seed)
    W = np.array([[1.0, 0.8], [1.0, 0.6], [0.4, -0.5]]) + 0.1 * random.normal(size=(3, 2))
    return Linear(W, random.normal(size=3), 0.6), random


def complete_data(known: Linear, rows: np.ndarray, m: np.ndarray, S: np.ndarray) -> np.ndarray:
    """Return E_q log p(x, z) + H(q) `(n,)` for q = N(m, S), nats, from its terms.

    Args:
        known: the model.
        rows: x `(n, D)`.
        m: `(n, L)`.
        S: `(L, L)`.
    """
    (D, L), W, s2 = known.W.shape, known.W, known.sigma**2
    apart = rows - known.b - m @ W.T
    log_2pi = np.log(2 * np.pi)
    likelihood = -0.5 * (np.sum(apart**2, axis=1) + np.trace(W @ S @ W.T)) / s2
    likelihood = likelihood - 0.5 * D * (log_2pi + np.log(s2))
    prior = -0.5 * (np.sum(m**2, axis=1) + np.trace(S)) - 0.5 * L * log_2pi
    entropy = 0.5 * (L * (1 + log_2pi) + np.linalg.slogdet(S)[1])
    return likelihood + prior + entropy


def _complete_data(book: Notebook, known: Linear, random: np.random.Generator) -> None:
    """The identity for Gaussians of every sort, and where it is largest."""
    rows = known.sample(random, 100)
    truth, posterior = known.log_prob(rows), known.posterior_means(rows)
    inverse = np.linalg.inv(known.precision)
    errors, best = [], []
    for _ in range(20):
        half = random.normal(size=(2, 2))
        m, S = posterior + random.normal(size=posterior.shape), half @ half.T + 0.01 * np.eye(2)
        value = complete_data(known, rows, m, S)
        errors.append(np.abs(value - (truth - gaussian_kl(m, S, posterior, inverse))).max())
        best.append((truth - value).min())
    top = complete_data(known, rows, posterior, inverse)
    book.at_most(
        "complete-data",
        "|E_q log p(x, z) + H(q) - (log p(x) - KL(q ‖ p(z | x)))|, largest of 20 Gaussians q and"
        " 100 rows (nats)",
        max(errors),
        1e-6,
    )
    book.at_most(
        "posterior-attains",
        "the same at q = p(z | x), against log p(x): largest error (nats)",
        np.abs(top - truth).max(),
        1e-6,
    )
    book.at_least(
        "posterior-is-best",
        "log p(x) less the same for 20 other q, smallest (nats)",
        min(best),
        0.0,
        1e-9,
    )


def known_gaps(
    known: Linear, rows: np.ndarray, variance: np.ndarray, error: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the approximation gap and the amortisation gaps `(n,)` of `known.encoder`, nats."""
    P = known.precision
    approximation = 0.5 * (np.log(np.diagonal(P)).sum() - np.linalg.slogdet(P)[1])
    posterior, inverse = known.posterior_means(rows), np.linalg.inv(P)
    means = posterior + (rows - known.b) @ error.T
    whole = gaussian_kl(means, np.diag(variance), posterior, inverse)
    return float(approximation), whole - approximation


def _known_gaps(
    book: Notebook, known: Linear, random: np.random.Generator
) -> list[tuple[str, float, float, float]]:
    """`decompose` against the closed forms, for an encoder that is wrong by a known amount."""
    rows = known.sample(random, 200).astype(np.float32)
    variance, error = 0.7 * known.best_diagonal(), known.misled(random, 0.3)
    approximation, amortisation = known_gaps(known, rows, variance, error)
    best = gaussian_kl(
        known.posterior_means(rows[:1]),
        np.diag(known.best_diagonal()),
        known.posterior_means(rows[:1]),
        np.linalg.inv(known.precision),
    )
    book.equal(
        "best-diagonal",
        "KL(q* ‖ p(z | x)) of precisions diag P, against ½ log(Π P_ii/|P|) (nats)",
        best[0],
        approximation,
        1e-9,
    )
    found = decompose(known.model(known.encoder(variance, error)), rows, DRAWS, seed=book.seed)
    shown = []
    for name, each, own, truth in (
        (
            "approximation",
            found.evidence.log_prob - found.best,
            np.hypot(found.evidence.se, found.best_se),
            approximation,
        ),
        ("amortisation", found.best - found.amortised, found.difference_se, amortisation.mean()),
    ):
        se = _error_of_mean(own)
        book.equal(
            f"known-{name}",
            f"mean {name} gap found (nats) against its closed form; tolerance 4.5 standard errors"
            f" of the draws, and {LEFT} left by the search of q*",
            each.mean(),
            float(truth),
            FAR * se + LEFT,
        )
        shown.append((f"{name} gap", float(each.mean()), se, float(truth)))
    return shown


def _error_of_mean(own: np.ndarray) -> float:
    return float(np.sqrt(np.sum(own**2)) / len(own))


def _rich_and_poor(
    book: Notebook, known: Linear, random: np.random.Generator
) -> list[tuple[str, float, float, float]]:
    """Train two encoders; their gaps are known: 0, and ½ tr(P Cov(E[z | x] | what is seen))."""
    rows, fresh = known.sample(random, 4000), known.sample(random, 4000)
    P, C = known.precision, known.W @ known.W.T + known.sigma**2 * np.eye(3)
    gain = np.linalg.solve(P, known.W.T) / known.sigma**2
    approximation, _ = known_gaps(known, fresh, known.best_diagonal(), np.zeros_like(gain))
    shown = []
    for name, seen in (("all", (0, 1, 2)), ("two", (0, 2))):
        unseen = C - C[:, seen] @ np.linalg.solve(C[np.ix_(seen, seen)], C[seen, :])
        promised = 0.5 * np.trace(P @ gain @ unseen @ gain.T)
        net = trained_encoder(known, rows, seen, book.seed)
        said = fresh[:, seen] @ net.weights[0].T + net.biases[0]
        each = gaussian_kl(
            said[:, :2],
            np.diag(np.exp(said[0, 2:])),
            known.posterior_means(fresh),
            np.linalg.inv(P),
        )
        gap = each - approximation
        se = float(gap.std() / np.sqrt(len(gap)))
        book.equal(
            f"encoder-sees-{name}",
            f"an affine encoder that sees {name} of three columns: mean amortisation gap of 4,000"
            " fresh rows (nats) against the least it can have; tolerance 4.5 standard errors, and"
            f" {LEFT} left by training",
            gap.mean(),
            promised,
            FAR * se + LEFT,
        )
        book.at_least(
            f"encoder-{name}-not-below",
            "the same: KL(q_φ ‖ p(z | x)) less KL(q* ‖ p(z | x)), smallest of all rows (nats);"
            " tolerance rounding",
            gap.min(),
            0.0,
            1e-9,
        )
        shown.append((f"encoder sees {name}", float(gap.mean()), se, float(promised)))
    return shown


class DigitsInit(eqx.Module):
    """How the autoencoder of digits begins: `init(key) -> (Latent,)`; z in the plane.

    Args:
        bias: log-odds of the pixels `(D,)`.
    """

    bias: Array

    def __call__(self, key: Key) -> tuple[Latent]:
        """Return the model, alone in a tuple."""
        for_encoder, for_decoder = jax.random.split(key)
        D = len(self.bias)
        encoder = MLP(for_encoder, D, 4, (HIDDEN,), last=0.1)
        decoder = MLP(for_decoder, 2, D, (HIDDEN,), last=0.1)
        decoder = eqx.tree_at(lambda net: net.biases[-1], decoder, self.bias)
        return (
            Latent(
                StandardNormal(2), Likelihood(decoder, Bernoulli(D)), DiagonalPosterior(encoder)
            ),
        )


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test images of 8 x 8 pixels, binarised once: `(n, 64)` of 0 and 1."""
    random = np.random.default_rng(seed)
    parts = []
    for part in ("digits:train", "digits:test"):
        columns = next(iter(open_table(part).batches(65536))).columns
        grey = np.stack([numbers(column) for column in columns], axis=1) / 16
        parts.append((random.random(grey.shape) < grey).astype(np.float32))
    return parts[0], parts[1]


def _digits(book: Notebook) -> dict[str, dict[str, np.ndarray]]:
    """Train an autoencoder; split its gap on training and test rows, log p by quadrature."""
    rows, test = digits(book.seed)
    epochs, n = (60, 40) if book.quick else (150, 200)
    init = DigitsInit(jnp.asarray(Bernoulli(64).bias(rows), jnp.float32))
    method = Optimisation(batch_size=64, learning_rate=2e-3, clip=None, warmup=0, ema=0.99)
    models, _ = trained(
        init, NegativeBound(ELBO(), ClosedFormKL()), rows, [epochs], method, book.seed
    )
    model = models[epochs]
    split = {}
    for name, shown in (("training", rows[:n]), ("test", test[:n])):
        began = time.monotonic()
        gaps = decompose(model, shown, DRAWS, seed=book.seed)
        seconds = time.monotonic() - began
        exact = _split(book, name, model, shown, gaps)
        split[name] = {
            "approximation": exact - gaps.best,
            "amortisation": gaps.best - gaps.amortised,
        }
    _price(book, model, test, seconds / n, float((gaps.best - gaps.amortised).mean()))
    return split


def _split(book: Notebook, name: str, model: Latent, rows: np.ndarray, gaps: Gaps) -> np.ndarray:
    """Claim that log p̂ is right and no gap below 0; return log p(x) `(n,)`."""
    exact, error = quadrature(model, rows, tolerance=1e-3)
    book.at_most(
        f"quadrature-{name}",
        f"{name} digits: stated error of log p by quadrature over the plane, largest (nats)",
        error.max(),
        0.01,
    )
    difference = gaps.evidence.log_prob - exact
    off = float(difference.mean())
    tolerance = FAR * gaps.evidence.monte_carlo_error() + float(error.mean())
    book.at_most(
        f"evidence-below-{name}",
        f"{name} digits: log p̂ of {DRAWS:,} draws of q* less log p by quadrature, mean (nats): a"
        " lower bound; tolerance 4.5 of its errors, and the quadrature's",
        off,
        0.0,
        tolerance,
    )
    book.true(
        f"evidence-judged-{name}",
        f"{name} digits: log p̂ is log p within that tolerance, or its k̂ says that it is not to be"
        " trusted",
        abs(off) <= tolerance or not gaps.evidence.trusted,
    )
    for kind, each, own in (
        ("approximation", exact - gaps.best, gaps.best_se),
        ("amortisation", gaps.best - gaps.amortised, gaps.difference_se),
    ):
        book.at_least(
            f"{kind}-{name}",
            f"{name} digits: mean {kind} gap (nats), within 4.5 standard errors of its draws of 0"
            " or above",
            each.mean(),
            0.0,
            FAR * _error_of_mean(own),
        )
    book.remark(
        f"{name} digits, nats a row: log p {exact.mean():.3f}, approximation gap"
        f" {(exact - gaps.best).mean():.3f}, amortisation gap"
        f" {(gaps.best - gaps.amortised).mean():.3f}. {gaps.evidence.verdict()}"
    )
    return exact


def _price(book: Notebook, model: Latent, rows: np.ndarray, search: float, gain: float) -> None:
    """Write the table of bias, time and numbers to store, for n rows."""

    encoder: Any = model.posterior

    @eqx.filter_jit
    def encoded(encoder: Any, x: Array) -> Array:
        return jax.lax.map(encoder.encoder, x, batch_size=512)

    x = jnp.asarray(rows)
    jax.block_until_ready(encoded(encoder, x))  # compiled
    began = time.monotonic()
    jax.block_until_ready(encoded(encoder, x))
    each = (time.monotonic() - began) / len(rows)
    count = sum(a.size for a in jax.tree.leaves(eqx.filter(model.posterior, eqx.is_array)))
    book.equal(
        "parameters",
        "numbers in the encoder, against D h + h + 2L h + 2L",
        count,
        64 * HIDDEN + HIDDEN + 4 * HIDDEN + 4,
        0.0,
    )
    book.remark(
        f"amortised: bias larger by the amortisation gap, {gain:.3f} nats a test digit;"
        f" {1e6 * each:.3g} µs for a new row; {count:,} numbers for any n"
    )
    book.remark(
        f"per row: no amortisation gap; {1e3 * search:.3g} ms for a new row; 4 numbers a row, so"
        f" more than the encoder's from n = {count // 4 + 1:,} rows on"
    )


def _draw(
    book: Notebook,
    known: list[tuple[str, float, float, float]],
    digits: dict[str, dict[str, np.ndarray]],
) -> None:
    figure = estimates(known, unit="mean gap (nats per row)")
    book.figure(figure, "amortization-gap-known")
    n = max(len(gap) for gaps in digits.values() for gap in gaps.values())
    panels = {
        f"{name}: gap (nats)": {kind: np.sort(gap) for kind, gap in gaps.items()}
        for name, gaps in digits.items()
    }
    figure = curves((np.arange(n) + 0.5) / n, panels, xlabel="share of digits with a smaller gap")
    book.figure(figure, "amortization-gap-digits")
