"""The laws of a density: it integrates to one, and its samples are its own.

Each is a function that raises `AssertionError`, so that a test can show that it does.
Statistical laws use fixed keys and a false-alarm rate of `ALARM` per test, were the key drawn.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from conftest import Case, randomise

ALARM = 1e-4
DRAWS = 4000
CELLS = 12
"""Cells along each axis of the chi-square test."""

SCALE = 0.3
"""Standard deviation of the parameters: moderate, so that a grid resolves the density."""


def model(case: Case) -> Any:
    """Return the flow of a row, randomised, in float64 (call it within `enable_x64`)."""
    return randomise(case.make(), SCALE, seed=5, dtype=np.float64)


def context(case: Case, value: float = 0.4) -> jax.Array | None:
    return jnp.full(case.context_dim, value) if case.context_dim else None


@eqx.filter_jit
def log_probs(flow: Any, x: jax.Array, c: Any) -> jax.Array:
    return jax.vmap(lambda x: flow.log_prob(x, c))(x)


@eqx.filter_jit
def latents(flow: Any, x: jax.Array, c: Any) -> jax.Array:
    return jax.vmap(lambda x: flow.bijection.inverse_and_log_det(x, c)[0])(x)


@eqx.filter_jit
def draws(flow: Any, key: jax.Array, c: Any) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(lambda k: flow.sample_and_log_prob(k, c))(jax.random.split(key, DRAWS))


def masses(flow: Any, dim: int, c: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the nodes of each axis and the probability `(n,) * D` around each node.

    The trapezoid rule in t, x_d = centre_d + width_d sinh t, |t| ≤ 8, where the tails are short;
    draws say only where to put the nodes.
    """
    t = np.linspace(-8, 8, 561 if dim == 2 else 4001)
    low, centre, high = np.quantile(
        np.asarray(draws(flow, jax.random.key(1), c)[0]), [0.25, 0.5, 0.75], 0
    )
    axes = [m + s * np.sinh(t) for m, s in zip(centre, high - low, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, dim)
    p = np.exp(np.asarray(log_probs(flow, jnp.asarray(grid), c)))
    mass = p.reshape(dim * (len(t),))
    for d, width in enumerate(high - low):
        weight = width * np.cosh(t) * (t[1] - t[0])
        mass = mass * weight.reshape([-1 if i == d else 1 for i in range(dim)])
    return axes, mass


def assert_integrates_to_one(mass: np.ndarray) -> None:
    """Raise unless Σ mass = 1 to the rule's error at kinks of ReLUs and splines, 3e-4 here."""
    assert abs(mass.sum() - 1) < 1e-3, mass.sum()


def assert_samples_fit(x: np.ndarray, axes: list[np.ndarray], mass: np.ndarray) -> None:
    """Raise unless counts of x `(n, D)` in cells fit the integrated density (chi-square)."""
    edges = []
    for d in range(mass.ndim):
        marginal = mass.sum(tuple(i for i in range(mass.ndim) if i != d))
        below = np.cumsum(marginal) / marginal.sum()
        edges.append(np.searchsorted(below, np.arange(1, CELLS) / CELLS))
    middles = [(axis[e] + axis[e + 1]) / 2 for axis, e in zip(axes, edges, strict=True)]
    expected = mass
    for d, e in enumerate(edges):
        expected = np.add.reduceat(expected, np.r_[0, e + 1], axis=d)
    cell = [np.searchsorted(m, x[:, d]) for d, m in enumerate(middles)]
    observed = np.zeros(expected.shape)
    np.add.at(observed, tuple(cell), 1)
    expected = expected * len(x) / mass.sum()
    # cells of fewer than five are counted together
    small = expected < 5
    e = np.append(expected[~small], max(expected[small].sum(), 1e-9))
    o = np.append(observed[~small], observed[small].sum())
    if e[-1] < 5:
        e, o = np.append(e[:-2], e[-2:].sum()), np.append(o[:-2], o[-2:].sum())
    statistic = ((o - e) ** 2 / e).sum()
    assert stats.chi2.sf(statistic, len(e) - 1) > ALARM, statistic


def assert_latents_fit(flow: Any, x: jax.Array, c: Any) -> None:
    """Raise unless the latents of x follow the base: PIT of each dimension uniform, and unrelated.

    Kolmogorov–Smirnov for each of D dimensions and, for D = 2, Spearman's rank correlation.
    """
    z = np.asarray(latents(flow, x, c))
    df = getattr(flow.base, "raw_df", None)
    if df is None:
        u = stats.norm.cdf(z)
    else:
        u = stats.t.cdf(z, flow.base.min_df + np.logaddexp(0, np.asarray(df)))
    n_tests = z.shape[1] + (z.shape[1] > 1)
    for d in range(z.shape[1]):
        assert stats.kstest(u[:, d], "uniform").pvalue > ALARM / n_tests
    if z.shape[1] > 1:
        assert stats.spearmanr(u[:, 0], u[:, 1]).pvalue > ALARM / n_tests
