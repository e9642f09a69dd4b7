r"""Finding the mass of an unnormalised density p̃ = Z p by annealed chains, and probing it.

Each chain starts in N(0, s² I) and is annealed to p̃ (`jensen.evaluation.annealed`). Its end y_c
with its weight v_c stands for draws of p, and the mean weight for Z:

    E_p[g] ≈ Σ v_c g(y_c) / Σ v_c,          log Z ≈ log 1/C Σ v_c

The chains know nothing of any model, so they can judge one. What lies farther than a few s from 0
they may not find.

Source: Neal 2001 (Annealed importance sampling, Statistics and Computing 11, 125).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.evaluation.annealed import PILOTS, Bridge, Plan, walk

LogDensity = Callable[[Array], Array]

_BLOCK = 4096  # points of a density at once


def log_densities(log_density: LogDensity, points: np.ndarray) -> np.ndarray:
    """Return log p̃ `(n,)` of points `(n, D)`, float64, nats; -inf outside the support.

    Raises:
        InputError: if the function fails, gives another shape than a number, nan or +inf, naming
            the first point where it does.

    Example:
        >>> log_densities(lambda x: -jnp.sum(x**2), np.array([[1.0, 2.0]])).tolist()
        [-5.0]
    """
    points = np.asarray(points)
    out = np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        filled = block[np.arange(min(_BLOCK, 2 ** math.ceil(math.log2(len(block))))) % len(block)]
        out[start : start + len(block)] = _values(log_density, filled, block[0])[: len(block)]
    bad = np.flatnonzero(~(out < np.inf))
    if len(bad):
        raise InputError(
            f"log_density gives {out[bad[0]]}",
            f"x = {written(points[bad[0]])}",
            "return a finite number, or -inf outside the support",
        )
    return out


def _values(log_density: LogDensity, block: np.ndarray, first: np.ndarray) -> np.ndarray:
    try:
        shape = jax.eval_shape(log_density, jnp.asarray(first))
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise InputError(
            f"log_density fails: {type(error).__name__}: {said}",
            f"x = {written(first)}, of shape ({len(first)},)",
            "it takes one x of shape (dim,) as a JAX array; check dim, and use jax.numpy",
        ) from error
    if getattr(shape, "shape", None) != ():
        raise InputError(
            f"log_density gives {_kind(shape)}, not one number",
            f"x = {written(first)}, of shape ({len(first)},)",
            "sum over the entries of x: it takes one x, never a batch",
        )
    return np.asarray(_mapped(log_density, jnp.asarray(block)), np.float64)


def _kind(shape: Any) -> str:
    inner = getattr(shape, "shape", None)
    return f"shape {inner}" if inner is not None else f"a {type(shape).__name__}"


@eqx.filter_jit
def _mapped(log_density: LogDensity, points: Array) -> Array:
    return jax.vmap(log_density)(points)


def written(x: np.ndarray, most: int = 6) -> str:
    """Return a point in words.

    Example:
        >>> written(np.array([0.5, 2.0]))
        '(0.5, 2)'
    """
    shown = ", ".join(f"{float(v):.4g}" for v in x[:most])
    return f"({shown}{', …' if len(x) > most else ''})"


@dataclass(frozen=True)
class Chains:
    """Annealed chains: weighted points that stand for draws of the target.

    Args:
        points: `(C, D)`.
        log_weights: `(C,)` nats; their mean weight is Z on average.
    """

    points: np.ndarray
    log_weights: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The weights `(C,)`, divided by their sum."""
        weights = np.exp(self.log_weights - np.max(self.log_weights))
        return weights / np.sum(weights)

    def resampled(self, n: int, seed: int) -> np.ndarray:
        """Return `n` of the points `(n, D)`, drawn by their weights (systematically)."""
        start = np.random.default_rng(seed).uniform()
        places = np.searchsorted(np.cumsum(self.shares), (start + np.arange(n)) / n)
        return self.points[np.minimum(places, len(self.points) - 1)]


def search(
    log_density: LogDensity,
    dim: int,
    *,
    scale: float = 10.0,
    n_chains: int = 1024,
    n_temperatures: int = 400,
    seed: int = 0,
) -> Chains:
    """Return annealed chains from N(0, scale² I) to the target.

    Args:
        log_density: log p̃ of one x `(D,)`.
        dim: D.
        scale: s; mass farther than a few s from 0 may be missed.
        n_chains: C.
        n_temperatures: T.
        seed: of the noise.

    Raises:
        InputError: for a density that cannot be used, or one that is 0 wherever a chain came.

    Example:
        >>> found = search(lambda x: -jnp.sum(x**2), 1, n_chains=64, n_temperatures=20)
        >>> found.points.shape, found.log_weights.shape
        ((64, 1), (64,))
    """
    key = jax.random.key(seed)
    starts = scale * np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (n_chains, dim)))
    log_densities(log_density, starts)  # refuses nan and +inf before any chain hides them
    plan = Plan(n_chains, n_temperatures, 5, "prior")
    ends, log_w = _chains(log_density, jax.random.fold_in(key, 1), jnp.asarray(starts), scale, plan)
    points, log_w = np.asarray(ends, np.float64), np.asarray(log_w, np.float64)
    at_end = log_densities(log_density, np.asarray(ends))
    log_w = np.where(np.isnan(log_w) | np.isneginf(at_end), -np.inf, log_w)
    if not np.any(np.isfinite(log_w)):
        raise InputError(
            f"log_density is -inf at all of {n_chains} points tried",
            f"points of N(0, {scale:g}² I), for example x = {written(starts[0])}",
            f"set scale to the size of the support, or shift x (scale is {scale:g})",
        )
    return Chains(points, log_w)


@eqx.filter_jit
def _chains(
    log_density: LogDensity, key: Key, starts: Array, scale: float, plan: Plan
) -> tuple[Array, Array]:
    """Return the ends `(C, D)` and log weights `(C,)`."""
    dim = starts.shape[1]
    wide = dist.Normal(jnp.zeros(dim, starts.dtype), scale).to_event(1)
    bridge = Bridge(wide.log_prob, log_density, plan)
    keys = jax.random.split(key, 3)
    *_, tuning = walk(bridge, keys[1], wide.sample(keys[0], (PILOTS,)), None)
    log_w, ends, _ = walk(bridge, keys[2], starts, tuning)
    return ends, log_w
