r"""Exact evidence and posterior of linear-Gaussian models, the ground truth of everything else.

    z ~ N(m, diag s²),    x | z ~ N(W z + b, diag σ²),    x ~ N(W m + b, W diag(s²) Wᵀ + diag σ²)

In whitened terms, z = m + s u, the posterior of u solves a least-squares problem: with

    A = [diag(1/σ) W diag(s); I],    y = [(x - W m - b)/σ; 0],    A = Q R,

it is N(û, (RᵀR)⁻¹) with û = argmin ‖y - A u‖², and Bayes' rule at û gives the evidence,

    log p(x) = -½ ‖y - A û‖² - Σ_d log σ_d - D/2 log 2π - log |det R|.

No covariance is inverted and nothing large is subtracted from something large, so that the figures
hold to rounding however small σ is. A missing cell (NaN) is a row of zeros in A and y, and is left
out of the sums: the evidence of the observed cells.

Source: Tipping & Bishop 1999, probabilistic principal component analysis; Björck 1996, ch. 1, for
the least squares.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from jensen._errors import InputError
from jensen._typing import Array, PyTree
from jensen.models.distributions import Distribution, Known
from jensen.models.latent import Latent
from jensen.models.observations import Gaussian
from jensen.models.posteriors import Posterior
from jensen.nn.mlp import MLP

_ROWS_AT_ONCE = 1000
_LOG_2PI = math.log(2.0 * math.pi)


class LinearGaussian(eqx.Module):
    """The numbers that a linear-Gaussian model consists of; made by `linear_gaussian`.

    Args:
        weight: W `(D, L)`.
        offset: b `(D,)`.
        noise: σ `(D,)`, standard deviations.
        mean: m `(L,)`, of the prior.
        scale: s `(L,)`, standard deviations of the prior.
    """

    weight: Array
    offset: Array
    noise: Array
    mean: Array
    scale: Array

    def posterior(self, x: Array) -> tuple[Array, Array]:
        """Return the mean `(L,)` and the lower Cholesky factor `(L, L)` of p(z | x), x `(D,)`."""
        _, _, u, lower = self._solved(x)
        return self.mean + self.scale * u, self.scale[:, None] * lower

    def log_prob(self, x: Array) -> Array:
        """Return log p(x) of the observed cells of one x `(D,)`, a scalar in nats."""
        seen, misfit, _, lower = self._solved(x)
        each = jnp.where(seen, jnp.log(self.noise) + 0.5 * _LOG_2PI, 0.0)
        log_det = -jnp.sum(jnp.log(jnp.diagonal(lower)))  # of R: lower is R⁻¹, turned
        return -0.5 * jnp.sum(misfit**2) - jnp.sum(each) - log_det

    def _solved(self, x: Array) -> tuple[Array, Array, Array, Array]:
        """Return which cells are seen, y - A û, û and a lower factor of (RᵀR)⁻¹."""
        seen = ~jnp.isnan(x)
        centred = jnp.where(seen, x, self.offset) - self.weight @ self.mean - self.offset
        target = jnp.where(seen, centred / self.noise, 0.0)
        top = jnp.where(seen[:, None], self.weight * self.scale / self.noise[:, None], 0.0)
        # coordinates in reverse order: the inverse of the upper R, turned back, is lower triangular
        a = jnp.concatenate([top[:, ::-1], jnp.eye(self.mean.shape[0], dtype=top.dtype)])
        y = jnp.concatenate([target, jnp.zeros_like(self.mean)])
        q, r = jnp.linalg.qr(a)
        inverse = jax.scipy.linalg.solve_triangular(r, jnp.eye(r.shape[0], dtype=r.dtype))
        u = inverse @ (q.T @ y)
        lower = (inverse * jnp.sign(jnp.diagonal(inverse)))[::-1, ::-1]
        return seen, y - a @ u, u[::-1], lower


class ExactPosterior(Posterior):
    """q(z | x) = p(z | x), with its full covariance; missing cells are marginalised out.

    Args:
        parts: the numbers of the model.
    """

    parts: LinearGaussian

    def __call__(self, x: Array) -> Distribution:
        """Return p(z | x)."""
        mean, lower = self.parts.posterior(x)
        return Known(dist.MultivariateNormal(mean, scale_tril=lower))


def linear_gaussian(model: Latent) -> LinearGaussian:
    """Return the numbers of a linear-Gaussian model.

    Args:
        model: prior normal with a diagonal covariance; decoder affine (an `MLP` without hidden
            layers); observation Gaussian with a σ that does not depend on z.

    Raises:
        InputError: for any other model, saying which part is another.
    """
    prior = model.prior.distribution(model.posterior)
    law = prior.law if isinstance(prior, Known) else None
    if not isinstance(law, dist.Independent) or not isinstance(law.base_dist, dist.Normal):
        raise _refusal("its prior is not a normal distribution with a diagonal covariance")
    decoder, observation = model.likelihood.decoder, model.likelihood.observation
    if not isinstance(decoder, MLP) or len(decoder.weights) != 1 or decoder.final != "identity":
        raise _refusal("its decoder is not affine")
    weight, offset = decoder.weights[0], decoder.biases[0]
    if not isinstance(observation, Gaussian):
        raise _refusal(f"its observations are not Gaussian but {type(observation).__name__}")
    if observation.scale.n_params:
        raise _refusal("its σ depends on z")
    noise = jnp.broadcast_to(observation.scale(offset), offset.shape)
    return LinearGaussian(
        weight, offset, noise, jnp.asarray(law.mean), jnp.sqrt(jnp.asarray(law.variance))
    )


def log_prob(model: Latent, rows: np.ndarray) -> np.ndarray:
    """Return the exact log p(x) of a linear-Gaussian model, in float64.

    Args:
        model: see `linear_gaussian`.
        rows: `(n, D)`, NaN where a cell is missing.

    Returns:
        `(n,)` nats; 0 where every cell is missing.

    Raises:
        InputError: for another model, or rows of another shape.

    Example:
        >>> from jensen.models.latent import Likelihood
        >>> from jensen.models.posteriors import DiagonalPosterior
        >>> from jensen.models.priors import StandardNormal
        >>> decoder, encoder = MLP(jax.random.key(0), 1, 1, ()), MLP(jax.random.key(0), 1, 2, ())
        >>> likelihood = Likelihood(decoder, Gaussian(1, scale=1.0))
        >>> model = Latent(StandardNormal(1), likelihood, DiagonalPosterior(encoder))
        >>> log_prob(model, np.zeros((1, 1))).round(4).tolist()
        [-0.9189]
    """
    with jax.enable_x64(True):
        parts = linear_gaussian(_in_float64(model))
        x = _checked(rows, parts, 2)
        return np.asarray(_log_probs(parts, jnp.asarray(x)))


def exact_posterior(model: Latent, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean `(L,)` and covariance `(L, L)` of p(z | x), in float64.

    Args:
        model: see `linear_gaussian`.
        x: one example `(D,)`, NaN where a cell is missing.

    Raises:
        InputError: for another model, or an example of another shape.
    """
    with jax.enable_x64(True):
        parts = linear_gaussian(_in_float64(model))
        mean, lower = parts.posterior(jnp.asarray(_checked(x, parts, 1)))
        return np.asarray(mean), np.asarray(lower @ lower.T)


def with_exact_posterior(model: Latent) -> Latent:
    """Return the model with q(z | x) = p(z | x), so that every bound is log p(x) for every K.

    Args:
        model: see `linear_gaussian`.

    Raises:
        InputError: for another model.
    """
    return Latent(model.prior, model.likelihood, ExactPosterior(linear_gaussian(model)))


@jax.jit
def _log_probs(parts: LinearGaussian, rows: Array) -> Array:
    return jax.lax.map(parts.log_prob, rows, batch_size=_ROWS_AT_ONCE)


def _checked(rows: np.ndarray, parts: LinearGaussian, n_axes: int) -> np.ndarray:
    x, n = np.asarray(rows, dtype=np.float64), parts.offset.shape[0]
    if x.ndim != n_axes or x.shape[-1] != n:
        raise InputError(
            f"the model expects rows of {n} numbers, got an array of shape {x.shape}",
            "rows",
            f"pass shape {'(n, D)' if n_axes == 2 else '(D,)'}",
        )
    if np.isinf(x).any():
        raise InputError("a row holds an infinite number", "rows", "pass NaN for a missing cell")
    return x


def _in_float64(tree: PyTree) -> Any:
    return jax.tree.map(lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, tree)


def _refusal(why: str) -> InputError:
    return InputError(
        f"the exact evidence is for linear-Gaussian models, and {why}",
        "model",
        "use importance sampling, or quadrature for one or two latents",
    )
