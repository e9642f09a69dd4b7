r"""Divergences estimated from held-out rows, and by quadrature where both densities are known.

Whatever the log ratio a(x) ≈ log p(x)/q(x), trained on other rows,

    D_f(p‖q) ≥ E_p T(a) - E_q f*(T(a)),       T = f'(eᵃ)

so its average over held-out rows is, up to its standard error, a lower bound. For the
Jensen–Shannon divergence the terms are bounded by log 2, and so is the estimate:

    JSD = log 2 + ½ max_D {E_p log D + E_q log(1 - D)},      D = σ(a)

Sources: Nguyen, Wainwright & Jordan 2010 (arXiv:0809.0853); `jensen.objectives.divergences`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array
from jensen.objectives.divergences import Divergence, divergence_of

LOG_2 = math.log(2.0)

Which = str | Divergence | Callable[[Array], Array]


class Estimate(NamedTuple):
    """A figure and its standard error, in the figure's unit."""

    value: float
    se: float


def held_out_bound(which: Which, on_p: np.ndarray, on_q: np.ndarray) -> Estimate:
    """Return the lower bound E_p T - E_q f*(T) of an f-divergence from log ratios of held-out rows.

    Args:
        which: a divergence, its name, or a convex function f with f(1) = 0.
        on_p: a(x), nats, for rows of p, `(n,)`; cut at ± the divergence's limit, where T remains
            a function of x and the bound a bound.
        on_q: the same for rows of q, `(m,)`.

    Returns:
        The bound in nats (for `hellinger` and `total-variation` a number up to 1) and its standard
        error; it may fall below 0 by chance, or where a is wrong.

    Raises:
        InputError: for an unknown divergence, or fewer than two rows of either kind.

    Example:
        >>> held_out_bound("jensen-shannon", np.full(9, 50.0), np.full(9, -50.0)).value
        0.6931471805599453
    """
    if min(len(on_p), len(on_q)) < 2:
        raise InputError(
            f"{len(on_p)} and {len(on_q)} held-out rows",
            "the samples",
            "an error bar needs at least two rows of each",
        )
    divergence = divergence_of(which).at_ratio()
    gains, costs = terms(divergence, on_p)[0], terms(divergence, on_q)[1]
    variance = np.var(gains, ddof=1) / len(gains) + np.var(costs, ddof=1) / len(costs)
    return Estimate(float(np.mean(gains) - np.mean(costs)), float(math.sqrt(variance)))


def terms(divergence: Divergence, log_ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return T and f*(T) in float64 at log ratios of any shape, cut at ± the limit."""
    cut = np.clip(np.asarray(log_ratio, np.float64), -divergence.limit, divergence.limit)
    with jax.enable_x64(True):
        a = jnp.asarray(cut)
        return np.asarray(divergence.output(a)), np.asarray(divergence.conjugate_of_output(a))


def quadrature(
    which: Which,
    log_p: Callable[[np.ndarray], np.ndarray],
    log_q: Callable[[np.ndarray], np.ndarray],
    interval: tuple[float, float],
    panels: int = 400,
) -> float:
    """Return D_f(p‖q) = ∫ q f(p/q) dx of two densities on the line, nats, by Gauss–Legendre panels.

    Args:
        which: a divergence, its name, or a convex function f with f(1) = 0.
        log_p: log p at points `(n,)`, nats.
        log_q: the same for q.
        interval: where both have all their mass; log p/q must stay within ± the limit.
        panels: subintervals with 8 nodes each.

    Returns:
        The integral of p T - q f*(T), T = f'(p/q), which is q f(p/q) without its overflow.

    Raises:
        InputError: for an empty interval, or a log ratio beyond the divergence's limit.

    Example:
        >>> normal = lambda m: lambda x: -0.5 * (x - m) ** 2 - 0.5 * math.log(2 * math.pi)
        >>> round(quadrature("kl", normal(0.0), normal(1.0), (-12.0, 13.0)), 12)
        0.5
    """
    low, high = interval
    if not low < high:
        raise InputError(f"the interval ({low}, {high}) is empty", "quadrature", "give low < high")
    divergence = divergence_of(which).at_ratio()
    node, weight = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(low, high, panels + 1)
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half * (node + 1)).ravel()
    at_p, at_q = log_p(x), log_q(x)
    largest = float(np.max(np.abs(at_p - at_q)))
    if largest > divergence.limit:
        raise InputError(
            f"the log ratio reaches {largest:.3g} nats, beyond {divergence.limit:g}",
            f"quadrature of {divergence.name}",
            "take a narrower interval",
        )
    gain, cost = terms(divergence, at_p - at_q)
    return float(np.sum((half * weight).ravel() * (np.exp(at_p) * gain - np.exp(at_q) * cost)))
