r"""The evidence log p(x) of a latent-variable model, with what is needed to judge it.

    log p̂(x) = log 1/K Σ_k w_k,     w_k = p(x, z_k)/q(z_k | x),  z_k ~ q(· | x)

1/K Σ w_k is unbiased for p(x), so log p̂ is below log p(x) in expectation, by about se²/2:

    se  = sd(w)/(√K mean w) / √(1 - 2κ),    κ = k̂ kept between 0 and 0.475
    ESS = (Σ w)²/Σ w²
    k̂   the tail index of the weights, see `jensen.evaluation.pareto`

The first factor of se is the delta method's. A sample from a heavy tail shows too little of it, so
se grows as the standard deviation of a generalised Pareto law of that index does: of 100 fresh
linear-Gaussian models with a wrong q, one row of each was within 3 se of the truth, or flagged, in
98, and in 89 without that factor (K = 1000). Where k̂ > 0.7 no standard error means anything. k̂ is
free of scale: where the largest weight is below 1.5 times the mean it is cut to 0 at most.

The noise of a row is a function of (seed, the row itself): a universal hash of the row's float32
words is folded into the key, so a figure does not depend on the other rows, their order or number,
while the errors of different rows are independent and average out. Particles come in blocks of
`PARTICLES`, each with a key of its own, so the first K of more particles are the same; rows and
particles are always computed in one shape, and the last block is filled up.

Sources: Burda et al. 2016 (arXiv:1509.00519); the hash: Lemire & Kaser 2014 (arXiv:1202.4961),
sec. 3, multilinear: of two different rows each 32-bit half agrees with probability 2⁻³².
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.evaluation.likelihood import mean_and_error
from jensen.evaluation.pareto import LIMIT, pareto_k
from jensen.models.latent import Latent

PARTICLES = 50
"""Particles drawn with one key."""

_TOLERATED = 0.05  # share of rows with a k̂ above the limit
_FLOATS_AT_ONCE = 2**22  # of a block's intermediate results
_EVEN = 1.5  # of the mean weight: where the largest is below, no tail can matter
_HASH = 0x6A656E73  # makes the hash's coefficients; any number, but always this one


@dataclass(frozen=True)
class Evidence:
    """An estimate of log p(x) for each row.

    Attributes:
        log_prob: log p̂ `(n,)`, nats, float64.
        se: its Monte Carlo standard error `(n,)`, nats; nan for K = 1.
        ess: effective sample size of the weights `(n,)`, between 1 and K.
        pareto_k: tail index of the weights `(n,)`; nan where K is too small to tell.
        kind: `iwae` (importance sampling) or `ais` (annealed).
        k: K, the weights of each row.
    """

    log_prob: np.ndarray
    se: np.ndarray
    ess: np.ndarray
    pareto_k: np.ndarray
    kind: str
    k: int

    def mean(self) -> tuple[float, float]:
        """Return the mean over rows and its standard error, nats.

        The rows' own errors are part of their spread: sd²/n estimates the variance of both
        together. Where rows are few or all alike, it is at least the rows' own, Σ se²/n². What
        does not average out is added to either: the mean of se²/2, the bias of a log.
        """
        mean, error = mean_and_error(self.log_prob)
        if not math.isfinite(mean):
            return mean, math.nan
        bias = float(np.mean(self.se**2)) / 2
        return mean, math.hypot(np.fmax(error, _error_of_mean(self.se)), bias)

    def monte_carlo_error(self) -> float:
        """Return the error of the mean as a figure of these very rows, nats: noise and bias."""
        return math.hypot(_error_of_mean(self.se), float(np.mean(self.se**2)) / 2)

    @property
    def flagged(self) -> np.ndarray:
        """Rows `(n,)` whose k̂ is above 0.7 or unknown: their se cannot be trusted."""
        return ~(self.pareto_k <= LIMIT)

    @property
    def trusted(self) -> bool:
        """Whether at most one row in twenty is flagged: the mean can be read as log p.

        The k̂ of one row is uncertain (±0.16 at K = 1000), and too low exactly where the large
        weights were missed; many rows of one model judge it far better than one.
        """
        return float(np.mean(self.flagged)) <= _TOLERATED

    def verdict(self) -> str:
        """Return in plain words whether the figures can be read as log p, and if not what to do.

        Example:
            >>> one = np.ones(2)
            >>> Evidence(-one, 0.01 * one, 900 * one, 0.1 * one, "iwae", 1000).verdict()[:37]
            'No row has a Pareto k-hat above 0.7: '
        """
        n, flagged = len(self.pareto_k), int(np.sum(self.flagged))
        if np.all(np.isnan(self.pareto_k)):
            return (
                f"Not judged: {self.k} weights a row are too few for a Pareto k-hat. Read the "
                "figures as lower bounds of log p in expectation; take at least 1000 to judge them."
            )
        if not flagged:
            return (
                f"No row has a Pareto k-hat above {LIMIT}: the figures can be read as log p, "
                "within their standard errors."
            )
        share = f"{flagged} of {n} rows ({flagged / n:.1%}) have a Pareto k-hat above {LIMIT}"
        if self.trusted:
            return (
                f"{share}: the figures of these are lower bounds of log p in expectation, with "
                "errors unknown. The mean and the other rows can be read as log p."
            )
        mend = {
            "iwae": "Take more particles, train the posterior longer or make it richer, or compare "
            "with annealed importance sampling.",
            "ais": "Take more temperatures or more leapfrog steps.",
        }
        return (
            f"{share}: their weights are too uneven for the standard errors to be trusted. Read "
            f"the figures as lower bounds of log p in expectation only. {mend[self.kind]}"
        )


def evidence(model: Latent, rows: np.ndarray, n_particles: int = 1000, seed: int = 0) -> Evidence:
    """Return log p̂(x) of every row by importance sampling from q(z | x).

    Args:
        model: the latent-variable model.
        rows: `(n, D)` in the model's units; NaN where a cell is missing.
        n_particles: K.
        seed: of the noise; the same seed gives the same figures for the same rows.

    Returns:
        Figures of kind `iwae`; never more than a block of weights is held.

    Raises:
        InputError: for rows or a K that cannot be used, or a log-weight that is nan or +inf.

    Example:
        >>> from jensen.models.latent import Likelihood
        >>> from jensen.models.observations import Gaussian
        >>> from jensen.models.posteriors import DiagonalPosterior
        >>> from jensen.models.priors import StandardNormal
        >>> from jensen.nn.mlp import MLP
        >>> nets = MLP(jax.random.key(0), 1, 2, (8,)), MLP(jax.random.key(1), 2, 2, (8,))
        >>> likelihood = Likelihood(nets[0], Gaussian(2, scale=1.0))
        >>> model = Latent(StandardNormal(1), likelihood, DiagonalPosterior(nets[1]))
        >>> found = evidence(model, np.zeros((1, 2)), 1000)  # the untrained decoder says 0
        >>> round(float(found.log_prob[0]), 4) == round(-math.log(2 * math.pi), 4)
        True
    """
    parts = [summarised(block) for block in _weight_blocks(model, rows, n_particles, seed)]
    log_prob, se, ess, k_hat = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Evidence(log_prob, se, ess, k_hat, "iwae", n_particles)


def log_weights(model: Latent, rows: np.ndarray, n_particles: int, seed: int = 0) -> np.ndarray:
    """Return the importance log-weights `(n, K)` of every row, nats.

    Args:
        model: the latent-variable model.
        rows: `(n, D)`; NaN where a cell is missing.
        n_particles: K; the first K of more particles are the same.
        seed: of the noise.

    Raises:
        InputError: as `evidence`.
    """
    return np.concatenate(list(_weight_blocks(model, rows, n_particles, seed)))


def summarised(log_w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return log mean w, its standard error, ESS and k̂, `(n,)` each, of log-weights `(n, K)`.

    A row whose weights are all 0 has log p̂ = -inf, se 0, ESS 0 and an unknown k̂.
    """
    log_w = np.asarray(log_w, np.float64)
    top = np.max(log_w, axis=1, keepdims=True)
    possible = np.isfinite(top[:, 0])
    weights = np.exp(log_w - np.where(possible[:, None], top, 0.0))
    k = weights.shape[1]
    mean = np.where(possible, np.mean(weights, axis=1), 1.0)
    spread = np.std(weights, axis=1, ddof=1) if k > 1 else np.full(len(weights), np.nan)
    ess = np.sum(weights, axis=1) ** 2 / np.where(possible, np.sum(weights**2, axis=1), 1.0)
    log_prob = np.where(possible, top[:, 0] + np.log(mean), -np.inf)
    k_hat = pareto_k(log_w)
    even = possible & (np.max(weights, axis=1) < _EVEN * mean)
    k_hat = np.where(even, np.minimum(k_hat, 0.0), k_hat)
    return log_prob, _inflation(k_hat) * spread / (math.sqrt(k) * mean), ess, k_hat


def _inflation(k_hat: np.ndarray) -> np.ndarray:
    """Return 1/√(1 - 2κ) `(n,)`, κ = k̂ between 0 and 0.475; 1 where k̂ is unknown."""
    tail = np.clip(np.where(np.isfinite(k_hat), k_hat, np.where(k_hat > 0, 1.0, 0.0)), 0.0, 0.475)
    return 1.0 / np.sqrt(1.0 - 2.0 * tail)


def _error_of_mean(se: np.ndarray) -> float:
    return float(np.sqrt(np.sum(se**2))) / len(se)


def row_keys(rows: np.ndarray, seed: int) -> Key:
    """Return a key for each row `(n,)`: a function of the seed and the row's values in float32.

    Example:
        >>> keys = row_keys(np.array([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0]]), 0)
        >>> bool(keys[0] == keys[2]), bool(keys[0] == keys[1])
        (True, False)
    """
    values = np.asarray(rows, np.float32) + np.float32(0.0)  # one zero, and one nan:
    values = np.where(np.isnan(values), np.float32("nan"), values)
    words = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    dim = words.shape[1]
    random = np.random.SeedSequence(_HASH).generate_state(2 * (dim + 1), np.uint64)
    factors = random.reshape(dim + 1, 2)
    hashes = ((words @ factors[1:] + factors[0]) >> np.uint64(32)).astype(np.uint32)
    return _folded(jax.random.key(seed), hashes)


@jax.jit
def _folded(key: Key, hashes: Array) -> Key:
    fold = jax.random.fold_in
    return jax.vmap(lambda h: fold(fold(key, h[0]), h[1]))(hashes)


def row_blocks(rows: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield blocks of `size` rows, the last filled up with its own rows, and how many count."""
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        yield block[np.arange(size) % len(block)], len(block)


def checked(rows: np.ndarray, **counts: int) -> np.ndarray:
    """Return the rows as an array.

    Raises:
        InputError: unless they have shape `(n, D)` with n ≥ 1, no infinite cell, and the named
            counts are at least 1.
    """
    rows = np.asarray(rows)
    if rows.ndim != 2 or len(rows) == 0:
        raise InputError(f"expected rows of shape (n, D), n ≥ 1, got {rows.shape}", "rows")
    if np.any(np.isinf(rows)):
        i, j = np.argwhere(np.isinf(rows))[0]
        raise InputError("an infinite value", f"row {i}, column {j}", "use nan for a missing cell")
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}", name)
    return rows


def _weight_blocks(
    model: Latent, rows: np.ndarray, n_particles: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield log-weights `(rows of a block, K)`."""
    rows = checked(rows, n_particles=n_particles)
    done, size = 0, rows_at_once(model, rows.shape[1])
    for block, n in row_blocks(rows, size):
        keys, x = row_keys(block, seed), jnp.asarray(block)
        n_blocks = -(-n_particles // PARTICLES)
        parts = [np.asarray(_log_weights(model, keys, x, np.uint32(b))) for b in range(n_blocks)]
        log_w = np.concatenate(parts, axis=1)[:n, :n_particles]
        if not np.all(log_w < np.inf):
            bad = int(np.argwhere(~(log_w < np.inf))[0, 0])
            raise InputError(
                f"a log-weight is {log_w[bad].max()}",
                f"row {done + bad}",
                "the model overflows there: train it with a lower learning rate, or look for "
                "extreme values in the row",
            )
        yield log_w
        done += n


@eqx.filter_jit
def _log_weights(model: Latent, keys: Key, x: Array, b: Array | np.uint32) -> Array:
    """Return the log-weights `(R, PARTICLES)` of particle block b of the rows x `(R, D)`.

    On a processor row by row: in one program over all of them the last bits of a few rows in a
    thousand depend on where in the block they stand.
    """

    def of_row(given: tuple[Key, Array]) -> Array:
        key, row = given
        return model.log_weights(jax.random.fold_in(key, b), row, PARTICLES)

    one_by_one, at_once = partial(jax.lax.map, of_row), jax.vmap(of_row)
    return jax.lax.platform_dependent((keys, x), cpu=one_by_one, default=at_once)


def rows_at_once(model: Latent, dim: int) -> int:
    """Return how many rows to score at once: a power of two that bounds the memory.

    Counts the intermediate results of one particle and of one row, as the program has them; a
    function of the model's shapes alone, so that a row is always scored in the same shape.
    """

    def count(n: int) -> int:
        arrays, static = eqx.partition(model, eqx.is_array)

        def run(arrays: Any, key: Key, x: Array) -> Array:
            return eqx.combine(arrays, static).log_weights(key, x, n)

        return _size(jax.make_jaxpr(run)(arrays, jax.random.key(0), jnp.zeros(dim)).jaxpr)

    one, two = count(1), count(2)
    per_row = one + (PARTICLES - 1) * (two - one)
    return int(2 ** np.clip(np.floor(np.log2(_FLOATS_AT_ONCE / per_row)), 0, 10))


def _size(jaxpr: Any) -> int:
    """Return the number of elements of all intermediate results of a program."""
    total = 0
    for equation in jaxpr.eqns:
        total += sum(math.prod(v.aval.shape) for v in equation.outvars)
        for part in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "jaxpr")
        ):
            inner = getattr(part, "jaxpr", part)
            total += _size(inner) if hasattr(inner, "eqns") else 0
    return total
