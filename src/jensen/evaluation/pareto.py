r"""The tail index of importance weights: can their mean be trusted?

Above a high cutoff u the excess of almost any weight over u follows a generalised Pareto law,

    P(w - u > x) = (1 + k x/σ)^(-1/k)

whose moments of order 1/k and above are infinite: the variance of w is finite for k < ½, and the
mean of practically many weights is useless for k > 0.7, whatever the effective sample size says.
k̂ is the estimate of Zhang & Stephens from the M largest of K weights, M = min(K/5, 3√K). With
θ = -k/σ and the excesses x₁ ≤ … ≤ x_M the likelihood depends on θ alone,

    k(θ) = 1/M Σ_i log(1 - θ x_i),        l(θ) = M (log(-θ/k(θ)) - k(θ) - 1)

and k̂ is k at the mean of θ under l and the quasi-prior of the paper, over a grid of 30 + √M values;
then it is drawn towards ½ as ten further weights would: (M k + 5)/(M + 10).

Sources: Zhang & Stephens 2009 (Technometrics 51, 316), there with the sign of k reversed and a grid
of 20 + √M; the grid, the prior of k, M and the limit 0.7: Vehtari et al. 2024 (arXiv:1507.02646).
Deviation: ⌈·⌉ of M as in that paper; a tail without spread has k̂ = -inf (a bounded weight), and one
in which a quarter of the excesses is lost to underflow has k̂ = inf.
"""

from __future__ import annotations

import math

import numpy as np

from jensen._errors import InputError

LIMIT = 0.7
"""k̂ above which the mean of the weights cannot be trusted."""

FEWEST = 5
"""Weights a tail must have; k̂ is nan where there are fewer (K < 21)."""

_ROWS = 256  # fitted at once: bounded memory
_FLAT = 1e-5  # relative: spread of a tail below what float32 log-weights can tell


def tail_length(n_weights: int) -> int:
    """Return M = ⌈min(K/5, 3√K)⌉.

    Example:
        >>> tail_length(100), tail_length(1000)
        (20, 95)
    """
    return math.ceil(min(0.2 * n_weights, 3.0 * math.sqrt(n_weights)))


def pareto_k(log_weights: np.ndarray) -> np.ndarray:
    """Return k̂ `(n,)` of each row of importance weights.

    Args:
        log_weights: `(n, K)` nats; -inf for a weight of 0.

    Returns:
        k̂; -inf where the tail is flat, inf where one weight dwarfs the others beyond float64, nan
        where K is too small or all weights are 0.

    Raises:
        InputError: if the log-weights are not a table of rows, or one is nan or +inf.

    Example:
        >>> heavy = -0.9 * np.log(np.random.default_rng(0).uniform(size=(1, 4000)))
        >>> bool(pareto_k(heavy)[0] > 0.7)
        True
    """
    log_weights = np.asarray(log_weights, np.float64)
    if log_weights.ndim != 2:
        raise InputError(
            f"log-weights must have shape (rows, particles), got {log_weights.shape}",
            "log_weights",
            "pass log_weights[None] for a single row",
        )
    if not np.all(log_weights < np.inf):
        raise InputError("log-weights must be numbers below infinity", "log_weights")
    n, k = log_weights.shape
    m = tail_length(k)
    if m < FEWEST:
        return np.full(n, np.nan)
    top = np.max(log_weights, axis=1, keepdims=True)
    possible = np.isfinite(top)
    largest = np.partition(log_weights, k - m - 1, axis=1)[:, k - m - 1 :]
    weights = np.sort(np.exp(largest - np.where(possible, top, 0.0)), axis=1)
    excess = weights[:, 1:] - weights[:, :1]
    spread, lost = excess[:, -1], excess[:, (m + 2) // 4 - 1] == 0
    usable = possible[:, 0] & (spread > _FLAT) & ~lost
    found = np.where(spread > _FLAT, np.inf, -np.inf)
    found = np.where(possible[:, 0], found, np.nan)
    for rows in np.array_split(np.flatnonzero(usable), 1 + n // _ROWS):
        shape, _ = fit_generalised_pareto(excess[rows])
        found[rows] = (m * shape + 5.0) / (m + 10.0)
    return found


def fit_generalised_pareto(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the estimates of k `(n,)` and σ `(n,)`, without the prior of k.

    Args:
        excess: `(n, M)` sorted excesses ≥ 0 in each row, the quarter's quantile above 0.

    Example:
        >>> draws = np.sort(np.random.default_rng(0).exponential(2.0, size=(1, 2000)))
        >>> k, sigma = fit_generalised_pareto(draws)  # exponential: k = 0, σ = 2
        >>> bool(abs(k[0]) < 0.1), bool(abs(sigma[0] - 2) < 0.2)
        (True, True)
    """
    m = excess.shape[1]
    n_grid = 30 + int(math.sqrt(m))
    steps = np.arange(1, n_grid + 1)
    quarter = excess[:, (m + 2) // 4 - 1, None]
    theta = 1.0 / excess[:, -1:] + (1.0 - np.sqrt(n_grid / (steps - 0.5))) / (3.0 * quarter)
    k = np.mean(np.log1p(-theta[:, :, None] * excess[:, None, :]), axis=2)
    log_lik = m * (np.log(-theta / k) - k - 1.0)
    weight = np.exp(log_lik - np.max(log_lik, axis=1, keepdims=True))
    best = np.sum(weight * theta, axis=1) / np.sum(weight, axis=1)
    shape = np.mean(np.log1p(-best[:, None] * excess), axis=1)
    return shape, -shape / best
