"""Random linear-Gaussian models with an imperfect amortised posterior, and their exact log p.

z ~ N(0, I_L), x | z ~ N(W z + b, σ² I_D), so x ~ N(b, W Wᵀ + σ² I). The posterior offered is
N(A x + c, diag exp v), wrong by a stated amount.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal

from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.nn.mlp import MLP


@dataclass(frozen=True)
class LinearModel:
    """A model, with the numbers it is made of."""

    model: Latent
    weight: np.ndarray
    offset: np.ndarray
    sigma: float

    def rows(self, rng: np.random.Generator, n: int) -> np.ndarray:
        d, latents = self.weight.shape
        noise = self.sigma * rng.normal(size=(n, d))
        return rng.normal(size=(n, latents)) @ self.weight.T + self.offset + noise

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        covariance = self.weight @ self.weight.T + self.sigma**2 * np.eye(len(self.offset))
        out = np.zeros(len(rows))
        for i, row in enumerate(rows):  # a missing cell is left out of mean and covariance
            seen = ~np.isnan(row)
            law = multivariate_normal(self.offset[seen], covariance[np.ix_(seen, seen)])
            out[i] = law.logpdf(row[seen])
        return out

    def precision(self) -> np.ndarray:
        """Of p(z | x), `(L, L)`; the best diagonal Gaussian has its diagonal's inverse."""
        return np.eye(self.weight.shape[1]) + self.weight.T @ self.weight / self.sigma**2

    def posterior_mean(self, rows: np.ndarray) -> np.ndarray:
        right = self.weight.T @ (rows - self.offset).T / self.sigma**2
        return np.linalg.solve(self.precision(), right).T


def affine(weight: np.ndarray, bias: np.ndarray) -> MLP:
    net = MLP(jax.random.key(0), weight.shape[1], weight.shape[0], ())
    parts = ((jnp.asarray(weight, jnp.float32),), (jnp.asarray(bias, jnp.float32),))
    return eqx.tree_at(lambda m: (m.weights, m.biases), net, parts)


def linear_model(
    rng: np.random.Generator, d: int, latents: int, wrong: float, sigma: float | None = None
) -> LinearModel:
    """Return a model whose q is wrong by about `wrong`: in means, in standard deviations of the
    posterior, and in the log of its standard deviations. σ is part of the compiled program."""
    weight = rng.normal(size=(d, latents)).astype("f4").astype(float)
    offset = rng.normal(size=d).astype("f4").astype(float)
    sigma = float(rng.uniform(0.3, 1.5)) if sigma is None else sigma
    bare = LinearModel(None, weight, offset, sigma)  # type: ignore[arg-type]
    precision = bare.precision()
    sd = np.diag(precision) ** -0.5
    slope = np.linalg.solve(precision, weight.T) / sigma**2
    shift = -slope @ offset + wrong * sd * rng.normal(size=latents)
    log_variance = 2 * np.log(sd) + 2 * wrong * rng.normal(size=latents)
    encoder = affine(np.concatenate([slope, 0 * slope]), np.concatenate([shift, log_variance]))
    likelihood = Likelihood(affine(weight, offset), Gaussian(d, scale=sigma))
    model = Latent(StandardNormal(latents), likelihood, DiagonalPosterior(encoder))
    return LinearModel(model, weight, offset, sigma)
