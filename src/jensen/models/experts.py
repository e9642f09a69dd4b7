r"""A posterior that multiplies what the cells of a row say, and the affine start of its decoder.

In a factor analysis f = U z + b + noise of variances 1/r, z ~ N(0, I), every observed entry f_i is
a Gaussian expert on z, and the posterior is the product of the experts of the entries that are
there with the prior:

    Λ = I + Σ_{i seen} r_i u_i u_iᵀ,      m = Λ⁻¹ Σ_{i seen} r_i u_i (f_i - b_i)

It is exact for every pattern of missing cells. A network corrects it where the model is no longer
linear: q(z | x) = N(m + δ(x), (C Cᵀ)⁻¹), C = chol(Λ) diag exp s(x), |s| < 2, and δ = s = 0 at the
start.

Source: products of experts as posteriors, Wu & Goodman 2018 (arXiv:1802.05335). Deviation: rank-one
experts of single cells with a full covariance, and the correction.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._typing import Array, Key
from jensen.models.distributions import Distribution
from jensen.models.posteriors import Posterior
from jensen.nn.features import Features
from jensen.nn.mlp import MLP

_MOST_STRETCH = 2.0  # |s|: a draw far outside the prior would send the decoder anywhere


class PrecisionNormal(Distribution):
    """N(mean, (C Cᵀ)⁻¹), C lower triangular.

    Args:
        mean: `(L,)`.
        cholesky: C `(L, L)`, with a positive diagonal.

    Example:
        >>> q = PrecisionNormal(jnp.zeros(1), 2.0 * jnp.eye(1))
        >>> round(float(q.log_prob(jnp.zeros(1))), 4)
        -0.2258
    """

    mean: Array
    cholesky: Array

    def sample_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        """Return n draws z = mean + C⁻ᵀ ε `(n, L)` and their log-densities `(n,)`, nats."""
        noise = jax.random.normal(key, (n, self.mean.shape[0]), self.mean.dtype)
        solved = jax.scipy.linalg.solve_triangular(self.cholesky, noise.T, trans=1, lower=True)
        return self.mean + solved.T, self._log_prob(noise)

    def log_prob(self, z: Array) -> Array:
        """Return log q(z), a scalar in nats."""
        return self._log_prob(self.cholesky.T @ (z - self.mean))

    def _log_prob(self, noise: Array) -> Array:
        log_det = jnp.sum(jnp.log(jnp.diagonal(self.cholesky)))
        squares = jnp.sum(noise**2, axis=-1)
        return log_det - 0.5 * (squares + noise.shape[-1] * math.log(2 * math.pi))


class ExpertsPosterior(Posterior):
    """The product of the cells' experts with the prior, corrected by a network.

    Args:
        features: from an example to the network's input: values, one-hot codes, indicators of
            missing cells.
        loadings: U `(F, L)`, of the values and one-hot codes in units of `spread`.
        log_precision: log r `(F,)`.
        centre: of the values and one-hot codes `(F,)`.
        spread: their unit `(F,)`.
        correction: from the features, standardised, to (δ, s) `(2L,)`.
    """

    features: Features
    loadings: Array
    log_precision: Array
    centre: Array
    spread: Array
    correction: MLP

    def __call__(self, x: Array) -> Distribution:
        """Return q(z | x)."""
        inputs = self.features.standardised(x, self.centre, self.spread)
        values = inputs[: self.features.n_values]
        delta, stretch = jnp.split(self.correction(inputs), 2)
        weighted = self.loadings.T * (jnp.exp(self.log_precision) * self.features.seen(x))
        precision = jnp.eye(self.loadings.shape[1]) + weighted @ self.loadings
        cholesky = jnp.linalg.cholesky(precision)
        mean = jax.scipy.linalg.cho_solve((cholesky, True), weighted @ values)
        stretch = _MOST_STRETCH * jnp.tanh(stretch / _MOST_STRETCH)
        return PrecisionNormal(mean + delta, cholesky * jnp.exp(stretch))


class AffinePlus(eqx.Module):
    """η = W z + b + net(z), where the network starts at zero.

    Args:
        weight: W `(P, L)`.
        bias: b `(P,)`.
        net: from `(L,)` to `(P,)`.
    """

    weight: Array
    bias: Array
    net: MLP

    def __call__(self, z: Array) -> Array:
        """Return η `(P,)` for one z `(L,)`."""
        return self.weight @ z + self.bias + self.net(z)
