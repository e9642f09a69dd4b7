r"""Autoencoders of the studies: the document's networks, training, and linear-Gaussian models.

    h₁ = leaky_relu(W₁ x + b₁),   h₂ = tanh(W₂ h₁ + b₂),   y = W₃ h₂ + b₃

with slope 0.2, and every weight and bias of layer l from U(±√(6/n_l)), n_l its inputs (He et al.
2015, arXiv:1502.01852, where biases begin at 0): random biases spread the bends of the first layer
over its input, and a z in one dimension needs that. The document says nothing of the beginning.

A linear-Gaussian model, x = W z + b + σ ε, has the posterior N(P⁻¹Wᵀ(x - b)/σ², P⁻¹) with the
precision P = I + WᵀW/σ². Here everything about it is plain numpy, so that what the library says can
be compared with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal

from jensen._typing import Array, Key
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior, Posterior
from jensen.models.priors import StandardNormal
from jensen.nn.activations import activation
from jensen.nn.mlp import MLP
from jensen.objectives.bounds import IWAE, Bound
from jensen.objectives.likelihood import Mean
from jensen.objectives.variational import HeldOutBound, NegativeBound

FAR = 4.5
"""Standard errors; one normal draw in 150,000 lies further out."""


class ThreeLayers(eqx.Module):
    """The document's network.

    Args:
        key: randomness of the initial weights.
        sizes: lengths of input, h₁, h₂ and output.
        factor: what the output is multiplied with, entry by entry; one number or as many.

    Example:
        >>> ThreeLayers(jax.random.key(0), (2, 8, 8, 3))(jnp.ones(2)).shape
        (3,)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    factor: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self, key: Key, sizes: tuple[int, int, int, int], factor: tuple[float, ...] = (1.0,)
    ) -> None:
        weights, biases = [], []
        for k, n_in, n_out in zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True):
            drawn = (
                jax.random.uniform(k, (n_out, n_in + 1), minval=-1.0, maxval=1.0)
                * (6 / n_in) ** 0.5
            )
            weights.append(drawn[:, :-1])
            biases.append(drawn[:, -1])
        self.weights, self.biases, self.factor = tuple(weights), tuple(biases), factor

    def __call__(self, x: Array) -> Array:
        """Return y for one input."""
        h = x
        for name, W, b in zip(
            ("leaky_relu", "tanh", "identity"), self.weights, self.biases, strict=True
        ):
            h = activation(name)(W @ h + b)
        return h * jnp.asarray(self.factor)


class DocumentInit(eqx.Module):
    """How the document's autoencoder begins: `init(key) -> (Latent,)`.

    Encoder D-128-128-(μ, log σ), decoder L-64-64-D, x | z ~ N(f(z), s² I).

    Args:
        latent: L.
        scale: s.
        dim: D.
    """

    latent: int = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    dim: int = eqx.field(static=True, default=2)

    def __call__(self, key: Key) -> tuple[Latent]:
        """Return the model, alone in a tuple."""
        for_encoder, for_decoder = jax.random.split(key)
        L, D = self.latent, self.dim
        to_log_variance = (1.0,) * L + (2.0,) * L  # the document's network says log σ
        encoder = ThreeLayers(for_encoder, (D, 128, 128, 2 * L), to_log_variance)
        decoder = ThreeLayers(for_decoder, (L, 64, 64, D))
        likelihood = Likelihood(decoder, Gaussian(D, scale=self.scale))
        return (Latent(StandardNormal(L), likelihood, DiagonalPosterior(encoder)),)


def trained(
    init: Callable[[Key], tuple[Latent]],
    loss: NegativeBound,
    rows: np.ndarray,
    epochs: Sequence[int],
    optimisation: Optimisation,
    seed: int,
) -> tuple[dict[int, Latent], dict[str, np.ndarray]]:
    """Train, and stop to look at the model after given numbers of epochs.

    Args:
        init: how the model begins.
        loss: what is minimised.
        rows: `(n, D)`.
        epochs: when to look, increasing; the last ends the training.
        optimisation: how one step is made.
        seed: of the beginning, the order of the rows and the draws.

    Returns:
        Epoch → model, and the curve of the training loss: `epoch` and `loss` (nats per row).
    """
    game = Game(init, Mean(loss), HeldOutBound(loss))
    data, models, metrics = rows.astype(np.float32), {}, []
    steps_apart = max(10 * len(rows) // optimisation.batch_size, 1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        for epoch in epochs:
            training = Training(int(epoch), optimisation, evaluate_every=steps_apart)
            result = train(game, data, None, training, seed=seed, checkpoints=checkpoints)
            models[int(epoch)] = jax.tree.map(
                lambda a: a[0] if eqx.is_array(a) else a, result.players[0]
            )
            metrics = result.metrics
        checkpoints.close()
    seen = [row for row in metrics if row["step"] > 0]
    curve = {"epoch": "epoch", "loss": "train_loss"}
    return models, {name: np.array([row[key] for row in seen]) for name, key in curve.items()}


def affine(W: np.ndarray, b: np.ndarray) -> MLP:
    """Return the map W x + b as a network without hidden layers."""
    net = MLP(jax.random.key(0), W.shape[1], W.shape[0], ())
    return eqx.tree_at(lambda n: (n.weights, n.biases), net, ((jnp.asarray(W),), (jnp.asarray(b),)))


@dataclass(frozen=True)
class Linear:
    """x = W z + b + σ ε with z ~ N(0, I): everything about it is known.

    Args:
        W: `(D, L)`.
        b: `(D,)`.
        sigma: σ.
    """

    W: np.ndarray
    b: np.ndarray
    sigma: float

    @property
    def precision(self) -> np.ndarray:
        """P = I + WᵀW/σ² `(L, L)`, of the posterior of every x."""
        return np.eye(self.W.shape[1]) + self.W.T @ self.W / self.sigma**2

    def posterior_means(self, rows: np.ndarray) -> np.ndarray:
        """Return P⁻¹ Wᵀ (x - b)/σ² `(n, L)`."""
        return np.linalg.solve(self.precision, self.W.T @ (rows - self.b).T / self.sigma**2).T

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Return log N(x; b, W Wᵀ + σ² I) `(n,)`, nats."""
        covariance: Any = self.W @ self.W.T + self.sigma**2 * np.eye(len(self.b))
        return multivariate_normal(self.b, covariance).logpdf(rows)

    def sample(self, random: np.random.Generator, n: int) -> np.ndarray:
        """Return n rows `(n, D)`."""
        z = random.normal(size=(n, self.W.shape[1]))
        return z @ self.W.T + self.b + self.sigma * random.normal(size=(n, len(self.b)))

    def best_diagonal(self) -> np.ndarray:
        """Return 1/diag P `(L,)`, the variances of the diagonal q* of least KL(q* ‖ p(z | x))."""
        return 1.0 / np.diagonal(self.precision)

    def encoder(self, variance: np.ndarray, error: np.ndarray | None = None) -> Posterior:
        """Return q(z | x) = N(E[z | x] + E (x - b), diag variance).

        Args:
            variance: `(L,)`.
            error: E `(L, D)`, what is wrong with the mean; None for nothing.
        """
        gain = np.linalg.solve(self.precision, self.W.T) / self.sigma**2
        gain = gain if error is None else gain + error
        W = np.concatenate([gain, np.zeros_like(gain)])
        return DiagonalPosterior(affine(W, np.concatenate([-gain @ self.b, np.log(variance)])))

    def misled(self, random: np.random.Generator, size: float) -> np.ndarray:
        """Return a random E `(L, D)` for `encoder`.

        Args:
            random: what it is drawn with.
            size: E (x - b) is about so many times √D standard deviations of p(z | x).
        """
        covariance: Any = self.W @ self.W.T + self.sigma**2 * np.eye(len(self.b))
        own = np.linalg.cholesky(np.linalg.inv(self.precision))
        drawn = random.normal(size=self.W.T.shape)
        return size * own @ drawn @ np.linalg.inv(np.linalg.cholesky(covariance))

    def model(self, posterior: Posterior) -> Latent:
        """Return the library's model of these numbers, with a posterior."""
        likelihood = Likelihood(affine(self.W, self.b), Gaussian(len(self.b), scale=self.sigma))
        return Latent(StandardNormal(self.W.shape[1]), likelihood, posterior)


def gaussian_kl(
    m: np.ndarray, S: np.ndarray, other_m: np.ndarray, other_S: np.ndarray
) -> np.ndarray:
    """Return KL(N(m, S) ‖ N(m', S')) `(n,)`, nats, for means `(n, L)` and covariances `(L, L)`."""
    inverse, apart = np.linalg.inv(other_S), m - other_m
    far = np.einsum("ni,ij,nj->n", apart, inverse, apart)
    log_det = np.linalg.slogdet(other_S)[1] - np.linalg.slogdet(S)[1]
    return 0.5 * (np.trace(inverse @ S) - S.shape[0] + far + log_det)


def block_bounds(log_w: np.ndarray, K: int) -> np.ndarray:
    """Return log 1/K Σ w of successive blocks of K, `(n, N/K)`, of log-weights `(n, N)`."""
    blocks = jnp.asarray(log_w).reshape(len(log_w), -1, 1, K)
    return np.asarray(_values(IWAE(K), blocks), float)


def error_within(blocks: np.ndarray) -> float:
    """Return the standard error of the mean of figures `(n, m)`, of draws alone: rows are given."""
    return float(np.sqrt(np.sum(blocks.var(axis=1, ddof=1) / blocks.shape[1])) / len(blocks))


@eqx.filter_jit
def _values(bound: Bound, blocks: Array) -> Array:
    return jax.vmap(jax.vmap(bound.value))(blocks)


def mean_and_se(each: np.ndarray) -> tuple[float, float]:
    """Return the mean of independent figures and its standard error."""
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size))
