r"""Scalar monotone maps ("transformers") whose parameters a conditioner supplies.

A transformer maps u ↦ v, elementwise over D dimensions, with P parameters each. Its `apply` is the
cheap direction and is used where speed counts: data → latent in a masked autoregressive flow.

* affine: v = exp(s) u + t, with s = S tanh(r/S), so that |s| < S;
* monotone rational-quadratic spline on [-B, B] with K bins, identity outside.

With zero parameters both are the identity: a flow starts as its base distribution.
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array
from jensen.bijections.base import Bijection


class Transformer(eqx.Module):
    """An elementwise monotone map u ↦ v with `n_params` parameters per dimension."""

    @property
    @abc.abstractmethod
    def n_params(self) -> int:
        """P, the number of parameters of one dimension."""

    @abc.abstractmethod
    def apply(self, params: Array, u: Array) -> tuple[Array, Array]:
        """Return v and log dv/du, each of u's shape `(…)`, for params `(…, P)`."""

    @abc.abstractmethod
    def invert(self, params: Array, v: Array) -> tuple[Array, Array]:
        """Return u and log du/dv, each of v's shape `(…)`, for params `(…, P)`."""


class AffineTransformer(Transformer):
    """v = exp(s) u + t with s = S tanh(r/S) and parameters (t, r).

    Args:
        max_log_scale: S, in nats: one layer stretches by at most exp(S).

    Example:
        >>> v, log_slope = AffineTransformer().apply(jnp.zeros((1, 2)), jnp.ones(1))
        >>> v.tolist(), log_slope.tolist()
        ([1.0], [0.0])
    """

    max_log_scale: float = eqx.field(static=True, default=3.0)

    @property
    def n_params(self) -> int:
        """2: shift and raw log-scale."""
        return 2

    def _log_scale(self, params: Array) -> Array:
        return self.max_log_scale * jnp.tanh(params[..., 1] / self.max_log_scale)

    def apply(self, params: Array, u: Array) -> tuple[Array, Array]:
        """Return exp(s) u + t and s."""
        log_scale = self._log_scale(params)
        return jnp.exp(log_scale) * u + params[..., 0], log_scale

    def invert(self, params: Array, v: Array) -> tuple[Array, Array]:
        """Return exp(-s)(v - t) and -s."""
        log_scale = self._log_scale(params)
        return jnp.exp(-log_scale) * (v - params[..., 0]), -log_scale


class SplineTransformer(Transformer):
    r"""The monotone rational-quadratic spline on [-B, B], the identity outside.

    In the bin of width w, height h and slope s = h/w, with ξ = (u - u_k)/w ∈ [0, 1]:

        v = v_k + h [s ξ² + δ_k ξ(1-ξ)] / m,       m = s + (δ_{k+1} + δ_k - 2s) ξ(1-ξ)
        dv/du = s² [δ_{k+1} ξ² + 2s ξ(1-ξ) + δ_k (1-ξ)²] / m²

    `invert` solves the quadratic in ξ at normalised height t = (v - v_k)/h ∈ [0, 1]. With
    e = δ_k(1-t) - δ_{k+1} t its discriminant is the sum of squares e² + 4s² t(1-t), and with
    p = |e| + √(e² + 4s² t(1-t))

        ξ = 2st / (2st + p)  if e ≥ 0,       1 - ξ = 2s(1-t) / (2s(1-t) + p)  if e < 0,

    so that nothing cancels, whatever the slopes: float32 at large parameters is as good as its
    conditioning.

    Args:
        bins: K.
        bound: B.
        min_size: smallest bin width and height, as a share of 2B.
        min_slope: smallest slope δ at a knot.

    Source: Durkan et al. 2019 (arXiv:1906.04032), eqs. 4–8. Deviations: slope 1 at ±B fixed, widths
    and heights floored after normalisation, the root written in t without cancellation.

    Example:
        >>> spline = SplineTransformer(bins=8)
        >>> v, log_slope = spline.apply(jnp.zeros((1, spline.n_params)), jnp.ones(1))
        >>> round(float(v[0]), 6), abs(round(float(log_slope[0]), 6))
        (1.0, 0.0)
    """

    bins: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=4.0)
    min_size: float = eqx.field(static=True, default=1e-3)
    min_slope: float = eqx.field(static=True, default=1e-3)

    @property
    def n_params(self) -> int:
        """3K - 1: K widths, K heights and K - 1 inner slopes, all raw."""
        return 3 * self.bins - 1

    def apply(self, params: Array, u: Array) -> tuple[Array, Array]:
        """Return the spline at u and the log of its slope."""
        inside, safe = self._within(u)
        u0, w, v0, h, d0, d1 = self._bin(params, safe, by_height=False)
        xi, s = _unit((safe - u0) / w), h / w
        v = v0 + h * xi * (s * xi + d0 * (1 - xi)) / (s + (d1 + d0 - 2 * s) * xi * (1 - xi))
        log_slope = _log_slope(xi, 1 - xi, s, d0, d1)
        return jnp.where(inside, v, u), jnp.where(inside, log_slope, 0.0)

    def invert(self, params: Array, v: Array) -> tuple[Array, Array]:
        """Return the u with spline(u) = v and minus the log of the slope there."""
        inside, safe = self._within(v)
        u0, w, v0, h, d0, d1 = self._bin(params, safe, by_height=True)
        s = h / w
        xi, rest = _root(_unit((safe - v0) / h), s, d0, d1)
        log_slope = _log_slope(xi, rest, s, d0, d1)
        return jnp.where(inside, u0 + w * xi, v), jnp.where(inside, -log_slope, 0.0)

    def _within(self, value: Array) -> tuple[Array, Array]:
        """Return whether |value| < B, and the value there, the nearer end elsewhere.

        The ends, where the slope is 1, and not some number within: a compiler may compute a value
        twice and round it differently, so that one part of a program finds it inside and another
        outside. At the ends both have the same answer.
        """
        inside = jnp.abs(value) < self.bound
        return inside, jnp.where(inside, value, jnp.copysign(self.bound, value))

    def params_through(self, u: np.ndarray, v: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Return raw parameters `(…, 3K - 1)` of the spline through given knots, float64.

        Bins below `min_size` and slopes below `min_slope` are raised to just above them.

        Args:
            u: `(…, K + 1)`, rising from -B to B.
            v: `(…, K + 1)`, the same.
            slopes: `(…, K - 1)`, dv/du at the inner knots, above 0.

        Example:
            >>> spline, knots = SplineTransformer(2, 1.0), np.array([-1.0, 0.5, 1.0])
            >>> raw = jnp.asarray(spline.params_through(knots, -knots[::-1], np.array([2.0])))
            >>> round(float(spline.apply(raw, jnp.asarray(0.5))[0]), 6)
            -0.5
        """
        floor, least = 1.1 * self.min_size, 1.1 * self.min_slope
        raw = []
        for knots in (u, v):
            shares = np.maximum(np.diff(knots) / (2 * self.bound), floor)
            shares = shares / shares.sum(axis=-1, keepdims=True)
            raw.append(np.log(np.maximum(shares - self.min_size, 0.01 * self.min_size)))
        excess = np.maximum(slopes, least) - self.min_slope
        # the inverse of softplus, written so that neither a large nor a small value is lost
        inverse = excess + np.log(-np.expm1(-excess))
        return np.concatenate([*raw, inverse - np.log(np.expm1(1.0 - self.min_slope))], axis=-1)

    def _bin(self, params: Array, value: Array, *, by_height: bool) -> tuple[Array, ...]:
        """Return u_k, w, v_k, h, δ_k and δ_{k+1} of the bin k that holds `value`.

        Written with 0/1 masks and sums over the bins: on a batch each is one pass over contiguous
        memory, where a gather would visit the bins one example at a time.
        """
        k, raw = self.bins, params[..., 2 * self.bins :]
        widths, heights = self._shares(params[..., :k]), self._shares(params[..., k : 2 * k])
        share = (value + self.bound) / (2 * self.bound)
        at = _bin_index(heights if by_height else widths, share)[..., None]
        bins = jnp.arange(k, dtype=share.dtype)
        here, before = bins == at, bins < at
        r0 = jnp.sum(jnp.where(bins[1:] == at, raw, 0.0), -1)
        r1 = jnp.sum(jnp.where(bins[:-1] == at, raw, 0.0), -1)
        offset = float(np.log(np.expm1(1.0 - self.min_slope)))
        d0 = jnp.where(at[..., 0] == 0, 1.0, self.min_slope + jax.nn.softplus(r0 + offset))
        d1 = jnp.where(at[..., 0] == k - 1, 1.0, self.min_slope + jax.nn.softplus(r1 + offset))
        size = 2 * self.bound
        return (
            size * jnp.sum(jnp.where(before, widths, 0.0), -1) - self.bound,
            size * jnp.sum(jnp.where(here, widths, 0.0), -1),
            size * jnp.sum(jnp.where(before, heights, 0.0), -1) - self.bound,
            size * jnp.sum(jnp.where(here, heights, 0.0), -1),
            d0,
            d1,
        )

    def _shares(self, raw: Array) -> Array:
        """Return K positive shares that add to one, from raw `(…, K)`."""
        return self.min_size + (1 - self.bins * self.min_size) * jax.nn.softmax(raw, axis=-1)


def _bin_index(shares: Array, value: Array) -> Array:
    """Return how many inner knots lie at or below `value` ∈ [0, 1], as a float."""
    edge, index = jnp.zeros_like(value), jnp.zeros_like(value)
    for i in range(shares.shape[-1] - 1):
        edge = edge + shares[..., i]
        index = index + (value >= edge)
    return index


def _unit(share: Array) -> Array:
    """Return `share` clipped to [0, 1], with slope one: only rounding takes it outside.

    A plain clip halves the gradient at a knot and loses it one rounding error beyond.
    """
    return share + jax.lax.stop_gradient(jnp.clip(share, 0.0, 1.0) - share)


def _log_slope(xi: Array, rest: Array, s: Array, d0: Array, d1: Array) -> Array:
    """Return log dv/du at ξ, with 1 - ξ, in a bin of slope s with knot slopes δ_k, δ_{k+1}."""
    m = s + (d1 + d0 - 2 * s) * xi * rest
    top = d1 * xi**2 + 2 * s * xi * rest + d0 * rest**2
    return jnp.log(top) + 2 * (jnp.log(s) - jnp.log(m))


def _root(t: Array, s: Array, d0: Array, d1: Array) -> tuple[Array, Array]:
    """Return ξ and 1 - ξ at height t, each a quotient of sums of terms of one sign."""
    e = d0 * (1 - t) - d1 * t
    p = jnp.abs(e) + jnp.sqrt(e**2 + 4 * s**2 * t * (1 - t))
    q = 2 * s * jnp.where(e >= 0, t, 1 - t)
    small, large = q / (p + q), p / (p + q)
    return jnp.where(e >= 0, small, large), jnp.where(e >= 0, large, small)


class Elementwise(Bijection):
    """A transformer with free parameters: z = transformer.apply(params, x), dimension by dimension.

    Args:
        transformer: the scalar map.
        params: `(D, P)`.

    Example:
        >>> spline = SplineTransformer(bins=4)
        >>> bijection = Elementwise(spline, jnp.zeros((2, spline.n_params)))
        >>> [round(v, 5) for v in bijection.forward_and_log_det(jnp.array([0.5, 9.0]))[0].tolist()]
        [0.5, 9.0]
    """

    transformer: Transformer
    params: Array

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return x with apply(x) = z, and Σ log dx/dz."""
        x, log_slope = self.transformer.invert(self.params, z)
        return x, jnp.sum(log_slope)

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return apply(x), and Σ log dz/dx."""
        z, log_slope = self.transformer.apply(self.params, x)
        return z, jnp.sum(log_slope)
