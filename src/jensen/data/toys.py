r"""Made sets in the plane with an exact density.

Each toy is a centre on a curve (or one of a few points) plus round Gaussian noise,

    x = m(t) + σ ε,   ε ~ N(0, I₂),   t ~ ρ on [a, b],

so that p(x) = ∫ ρ(t) N(x; m(t), σ² I₂) dt. For points the integral is a sum. For curves it is taken
by Gauss–Legendre panels a fraction of σ/|m′| wide, which is exact to far below 10⁻⁶ nats wherever
samples fall; each log density is a log-sum-exp and therefore finite far away as well.

=============  =======================================================================  =====
name           centres                                                                  σ
=============  =======================================================================  =====
`swiss-roll`   0.1 t (cos t, sin t), t = 2π√u, u ~ U(0.25, 4)                            0.025
`moons`        (cos t, sin t) and (1 − cos t, ½ − sin t), t ~ U(0, π), half each         0.1
`spiral`       ±(t/3π)(2 cos t, 2 sin t), t = 3π√u, u ~ U(1/36, 1), half each            0.08
`ring`         8 points at radius 1 (PacGAN's protocol)                                  0.01
`grid`         25 points {−4, −2, 0, 2, 4}² (PacGAN's protocol)                          0.05
=============  =======================================================================  =====
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from jensen._errors import InputError

TRAIN_SEED, TRAIN_ROWS = 0, 5000
TEST_SEED, TEST_ROWS = 1, 10000
PANELS, NODES_PER_PANEL = 256, 8
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Toy:
    """A made set: centres plus round Gaussian noise.

    Args:
        sigma: the standard deviation of the noise.
        centres: draws `n` centres, shape `(n, 2)`, with a generator.
        nodes: for a number of quadrature panels returns points `(m, 2)` and weights `(m,)` that
            sum to one; the density is the mixture of Gaussians at these points.
    """

    sigma: float
    centres: Callable[[np.random.Generator, int], np.ndarray]
    nodes: Callable[[int], tuple[np.ndarray, np.ndarray]]

    def sample(self, seed: int | np.random.Generator, n: int) -> np.ndarray:
        """Draw rows.

        Args:
            seed: a seed or a numpy generator.
            n: the number of rows.

        Returns:
            Float64 of shape `(n, 2)`.

        Raises:
            InputError: `n` is negative.

        Example:
            >>> TOYS["ring"].sample(0, 3).shape
            (3, 2)
        """
        if n < 0:
            raise InputError(f"cannot draw {n} rows", "", "give a number of rows of at least 0")
        rng = np.random.default_rng(seed)
        centres = self.centres(rng, n)
        return centres + self.sigma * rng.standard_normal((n, 2))

    def log_prob(self, x: np.ndarray, panels: int = PANELS) -> np.ndarray:
        """Return log p(x) = log ∫ ρ(t) N(x; m(t), σ² I₂) dt.

        Args:
            x: points of shape `(n, 2)`.
            panels: quadrature panels a curve; a finer grid serves to check the default.

        Returns:
            Nats, shape `(n,)`.

        Raises:
            InputError: `x` has another shape.

        Example:
            >>> round(float(TOYS["ring"].log_prob(np.array([[1.0, 0.0]]))[0]), 4)
            5.293
        """
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != 2:
            raise InputError(f"points of shape {x.shape}", "", "give an array of shape (n, 2)")
        points, weights = self.nodes(panels)
        log_scale = np.log(weights) - np.log(2 * np.pi * self.sigma**2)
        out = np.empty(len(x))
        for start in range(0, len(x), _ROWS_AT_ONCE):
            block = x[start : start + _ROWS_AT_ONCE]
            squares = sum((block[:, j, None] - points[:, j]) ** 2 for j in (0, 1))
            terms = log_scale - squares / (2 * self.sigma**2)
            top = terms.max(axis=1)
            total = np.exp(terms - top[:, None]).sum(axis=1)
            out[start : start + _ROWS_AT_ONCE] = top + np.log(total)
        return out


@cache
def _legendre(low: float, high: float, panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of composite Gauss–Legendre quadrature on [low, high]."""
    x, w = np.polynomial.legendre.leggauss(NODES_PER_PANEL)
    edges = np.linspace(low, high, panels + 1)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()


def _points_toy(points: np.ndarray, sigma: float) -> Toy:
    weights = np.full(len(points), 1 / len(points))
    return Toy(
        sigma,
        centres=lambda rng, n: points[rng.integers(len(points), size=n)],
        nodes=lambda panels: (points, weights),
    )


def _curve_toy(
    curves: Callable[[np.ndarray], tuple[np.ndarray, ...]],
    low: float,
    high: float,
    sigma: float,
    *,
    linear: bool,
) -> Toy:
    """Make a toy of curves with equal shares; ρ(t) ∝ t on [low, high] if `linear`, else uniform."""

    def centres(rng: np.random.Generator, n: int) -> np.ndarray:
        t = np.sqrt(rng.uniform(low**2, high**2, n)) if linear else rng.uniform(low, high, n)
        arms = np.stack(curves(t))
        return arms[rng.integers(len(arms), size=n), np.arange(n)]

    def nodes(panels: int) -> tuple[np.ndarray, np.ndarray]:
        t, weights = _legendre(low, high, panels)
        weights = weights * (2 * t / (high**2 - low**2) if linear else 1 / (high - low))
        arms = curves(t)
        return np.concatenate(arms), np.tile(weights / len(arms), len(arms))

    return Toy(sigma, centres, nodes)


def _turn(t: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def _swiss_roll(t: np.ndarray) -> tuple[np.ndarray, ...]:
    return (0.1 * t[:, None] * _turn(t),)


def _moons(t: np.ndarray) -> tuple[np.ndarray, ...]:
    return _turn(t), np.array([1.0, 0.5]) - _turn(t)


def _spiral(t: np.ndarray) -> tuple[np.ndarray, ...]:
    arm = 2 * (t / (3 * np.pi))[:, None] * _turn(t)
    return arm, -arm


TOYS: dict[str, Toy] = {
    "swiss-roll": _curve_toy(_swiss_roll, np.pi, 4 * np.pi, 0.025, linear=True),
    "moons": _curve_toy(_moons, 0.0, np.pi, 0.1, linear=False),
    "ring": _points_toy(_turn(np.arange(8) * np.pi / 4), 0.01),
    "grid": _points_toy(
        np.stack(np.meshgrid(*2 * [2.0 * np.arange(-2, 3)]), -1).reshape(-1, 2), 0.05
    ),
    "spiral": _curve_toy(_spiral, np.pi / 2, 3 * np.pi, 0.08, linear=True),
}
"""The made sets by name."""
