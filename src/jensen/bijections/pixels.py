r"""Grey levels to the real line: the layers next to the pixels of an image flow.

A pixel of levels 0, …, L - 1, dequantised, is a number x ∈ [-½, L - ½]. Two maps take it to R:

    logit        z = logit(α + (1 - 2α) (x + ½)/L)
    histogram    z = Φ⁻¹(F_d(x)),   F_d piecewise linear:  dF_d/dx = P_d(k) on the cell of level k

with P_d(k) the share of level k among the training values of pixel d, smoothed by κ_d values drawn
from the pool of all pixels, which is smoothed by λ values spread evenly over the levels. A flow
that is the identity over a standard normal is then, with `Histogram`, the model of independent
pixels, and its density on a cell is P_d(k) throughout: exact bits, with nothing lost to
dequantisation. What the layers after it learn is the dependence.

Source: logit, Dinh et al. 2017 (arXiv:1605.08803), sec. 4.1; Gaussianisation of margins, Chen &
Gopinath 2000. Deviation: a histogram of unit cells, its counts not trained.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from jensen._typing import Array
from jensen.bijections.base import Bijection

_LEAST = 1e-30  # a tail's mass: Φ⁻¹ stays finite
_MOST_DOUBLINGS = 25  # of κ and λ: 2²⁴ values say that there is nothing to tell apart


class Logit(Bijection):
    r"""z = logit(s), s = α + (1 - 2α) (x + ½)/L, for each coordinate.

    Outside of [-½, L - ½] the density is zero: the log-determinant there is -inf.

    Args:
        levels: L, a whole number, as an array.
        alpha: α in (0, ½), which keeps the ends finite.

    Example:
        >>> float(Logit(jnp.array(256)).inverse_and_log_det(jnp.array([127.5]))[0][0])
        0.0
    """

    levels: Array
    alpha: float = eqx.field(static=True, default=1e-3)

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return the pixels `(D,)` and Σ log dx/dz."""
        slope = self.levels / (1 - 2 * self.alpha)
        x = slope * (jax.nn.sigmoid(z) - self.alpha) - 0.5
        return x, jnp.sum(jnp.log(slope) + jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z))

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return logit(s) `(D,)` and Σ log dz/dx."""
        inside = (x >= -0.5) & (x <= self.levels - 0.5)
        share = (1 - 2 * self.alpha) / self.levels
        low = self.alpha + share * jnp.where(inside, x + 0.5, 1.0)
        high = self.alpha + share * jnp.where(inside, self.levels - 0.5 - x, 1.0)
        log_slope = jnp.log(share) - jnp.log(low) - jnp.log(high)
        return jnp.log(low) - jnp.log(high), jnp.sum(jnp.where(inside, log_slope, -jnp.inf))


class Histogram(Bijection):
    r"""z_d = Φ⁻¹(F_d(x_d)), F_d the smoothed distribution function of pixel d.

        P_d(k) = (n_d(k) + κ_d P(k)) / (Σ_j n_d(j) + κ_d),     P(k) ∝ λ/L + Σ_d n_d(k)

    F_d is summed from below and from above, and the smaller of the two is used, so that rare levels
    at either end keep their digits. Outside of [-½, L - ½] the density is zero: the log-determinant
    there is -inf.

    Args:
        counts: n `(L, D)`, whole numbers: how often each level occurs at each pixel.
        smoothing: κ `(D,)`, whole numbers.
        pooling: λ, a whole number.

    Example:
        >>> coin = Histogram(jnp.array([[30], [10]]), jnp.array([0]), jnp.array(1))
        >>> z, log_det = coin.inverse_and_log_det(jnp.array([0.5]))
        >>> round(float(z[0]), 4), round(float(ndtri(0.75)), 4)
        (0.6745, 0.6745)
    """

    counts: Array
    smoothing: Array
    pooling: Array

    def probabilities(self) -> Array:
        """Return P `(L, D)`, each column adding to one."""
        n = self.counts.astype(jnp.result_type(float))
        pool = self.pooling / len(n) + jnp.sum(n, axis=1, keepdims=True)
        smoothed = n + self.smoothing * pool / jnp.sum(pool)
        return smoothed / jnp.sum(smoothed, axis=0)

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return the pixels `(D,)` and Σ log dx/dz."""
        P, below, above = self._tables()
        # the last cell that begins at or below z: by the lower tail where z < 0, else by the upper
        reached = jnp.where(z < 0, below <= ndtr(z), P + above >= ndtr(-z))
        k = jnp.maximum(jnp.sum(reached, axis=0) - 1, 0)
        p, low, high = (
            jnp.take_along_axis(table, k[None], axis=0)[0] for table in (P, below, above)
        )
        from_low, from_high = (ndtr(z) - low) / p, 1.0 - (ndtr(-z) - high) / p
        inside = jnp.clip(jnp.where(z < 0, from_low, from_high), 0.0, 1.0)
        return k - 0.5 + inside, jnp.sum(_log_normal(z) - jnp.log(p))

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return Φ⁻¹(F(x)) `(D,)` and Σ log dz/dx."""
        P, below, above = self._tables()
        L = P.shape[0]
        inside = (x >= -0.5) & (x <= L - 0.5)
        k = jnp.clip(jnp.floor(x + 0.5), 0, L - 1).astype(int)
        p, low, high = (
            jnp.take_along_axis(table, k[None], axis=0)[0] for table in (P, below, above)
        )
        share = jnp.clip(x + 0.5 - k, 0.0, 1.0)
        low, high = low + p * share, high + p * (1.0 - share)
        z = jnp.where(low < high, 1.0, -1.0) * ndtri(jnp.maximum(jnp.minimum(low, high), _LEAST))
        log_slope = jnp.where(inside, jnp.log(p) - _log_normal(z), -jnp.inf)
        return z, jnp.sum(log_slope)

    def _tables(self) -> tuple[Array, Array, Array]:
        """Return P, and the mass below and above each cell, `(L, D)` each."""
        P = self.probabilities()
        none = jnp.zeros_like(P[:1])
        below = jnp.concatenate([none, jnp.cumsum(P, axis=0)[:-1]])
        above = jnp.concatenate([jnp.cumsum(P[::-1], axis=0)[::-1][1:], none])
        return P, below, above


def chosen_smoothing(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return κ `(D,)` and λ, under which the values are most probable, each left out in turn.

    With c = n_d(k) of N values of a pixel, a value that is left out has the probability

        (c - 1 + κ P(k)) / (N - 1 + κ)

    and likewise in the pool. A pixel of its own kind has a small κ, a pixel of few values or of
    noise a large one. All are powers of two.

    Args:
        counts: n `(L, D)`, whole numbers.

    Example:
        >>> noise = np.random.default_rng(0).multinomial(200, np.full(64, 1 / 64), size=9).T
        >>> float(np.median(chosen_smoothing(noise)[0])) > 1000
        True
    """
    n = np.asarray(counts, np.float64)
    total = n.sum(axis=1, keepdims=True)
    level = np.full_like(total, 1.0 / len(n))
    (even,) = _best_weights(total, level)
    pool = (total + even * level) / (total.sum() + even)
    return _best_weights(n, pool), even


def _best_weights(n: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return the powers of two `(D,)` that maximise Σ_k n log((n - 1 + κ p)/(N - 1 + κ))."""
    weights = [2**i for i in range(_MOST_DOUBLINGS)]

    def log_prob(weight: int) -> np.ndarray:
        shares = (n - 1.0 + weight * prior) / (n.sum(axis=0) - 1.0 + weight)
        return np.sum(n * np.log(np.where(n > 0, np.maximum(shares, _LEAST), 1.0)), axis=0)

    best = np.argmax([log_prob(weight) for weight in weights], axis=0)
    return np.array(weights, np.int32)[best]


def _log_normal(z: Array) -> Array:
    return -0.5 * z**2 - 0.5 * float(np.log(2 * np.pi))
