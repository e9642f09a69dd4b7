r"""Mode coverage and shrinkage of samples from made sets, each figure beside that of an oracle.

A perfect sampler does not put everything within 3σ of a mode: in the plane that share is
1 - e^{-9/2} = 98.89%, and more of it means that the sampler shrinks its modes. So every figure
comes with the same figure of an oracle, as many rows drawn from the true law.

Shrinkage is measured inside that radius, where the spread per coordinate of a perfect sampler is

    σ √(F_{D+2}(9)/F_D(9)),        F_ν the distribution function of χ²_ν

and reported as a ratio to it: below 1 where the modes are too narrow.

Protocol: Lin et al. 2018, PacGAN (arXiv:1712.04086), sec. 4.1; its thresholds are 3σ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jensen._errors import InputError, nearest
from jensen.data.toys import TOYS

_RADIUS = 3.0
_CURVES = ("swiss-roll", "moons", "spiral")
_PANELS = 256


@dataclass(frozen=True)
class Coverage:
    """How samples cover the modes of a law, or the bins along a curve.

    Args:
        covered: modes, or bins of equal arc length, with at least one sample within 3σ.
        total: modes, or bins.
        share: of the samples within 3σ of a mode, or of the curve.
        spread: standard deviation per coordinate (across the curve) of the samples within 3σ, over
            that of the true law cut at 3σ; below 1 is shrinkage, nan without samples there.
        imbalance: KL of the samples' shares of the modes, or bins, from the true ones, nats; inf
            without a sample within 3σ.
        oracle: the same figures of as many rows of the true law; None for an oracle.
    """

    covered: int
    total: int
    share: float
    spread: float
    imbalance: float
    oracle: Coverage | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, the oracle's under `oracle`."""
        mine = {
            "covered": self.covered,
            "total": self.total,
            "share": self.share,
            "spread": self.spread,
            "imbalance": self.imbalance,
        }
        return mine if self.oracle is None else {**mine, "oracle": self.oracle.to_dict()}


def coverage(
    samples: np.ndarray,
    modes: np.ndarray,
    scale: float,
    *,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> Coverage:
    """Return how samples cover the modes of a mixture of round Gaussians.

    Args:
        samples: rows `(n, D)`.
        modes: `(M, D)`.
        scale: σ of every mode.
        weights: true shares of the modes `(M,)`; None for equal ones.
        seed: randomness of the oracle.

    Raises:
        InputError: for other shapes, cells that are not finite, or a scale that is not above 0.

    Example:
        >>> modes = np.array([[0.0, 0.0], [5.0, 0.0]])
        >>> found = coverage(np.zeros((10, 2)), modes, 1.0)
        >>> found.covered, found.share, found.spread, found.oracle.covered
        (1, 1.0, 0.0, 2)
    """
    samples, modes = _rows(samples, "samples"), _rows(modes, "modes")
    _check(samples, modes.shape[1], scale)
    shares = np.full(len(modes), 1 / len(modes)) if weights is None else np.asarray(weights)
    if shares.shape != (len(modes),) or not (np.all(shares > 0) and math.isclose(shares.sum(), 1)):
        raise InputError("the weights are not the shares of the modes", "weights", "sum to 1")
    rng = np.random.default_rng([seed, len(samples)])
    chosen = rng.choice(len(modes), size=len(samples), p=shares)
    truth = modes[chosen] + scale * rng.standard_normal(samples.shape)
    found, oracle = (_of_modes(rows, modes, scale, shares) for rows in (samples, truth))
    return replace(found, oracle=oracle)


def _of_modes(rows: np.ndarray, modes: np.ndarray, scale: float, shares: np.ndarray) -> Coverage:
    from scipy.spatial import KDTree
    from scipy.stats import chi2

    dim = modes.shape[1]
    distance, mode = (np.asarray(part) for part in KDTree(modes).query(rows))
    inside = distance <= _RADIUS * scale
    counts = np.bincount(mode[inside], minlength=len(modes))
    squares, freedom = 0.0, 0
    for j in np.flatnonzero(counts > 1):
        group = rows[inside & (mode == j)]
        squares += float(np.sum((group - group.mean(axis=0)) ** 2))
        freedom += (len(group) - 1) * dim
    cut = _RADIUS**2
    true = scale * math.sqrt(chi2.cdf(cut, dim + 2) / chi2.cdf(cut, dim))
    return Coverage(
        covered=int(np.sum(counts > 0)),
        total=len(modes),
        share=float(np.mean(inside)),
        spread=math.sqrt(squares / freedom) / true if freedom else math.nan,
        imbalance=_imbalance(counts, shares),
    )


def curve_coverage(
    samples: np.ndarray,
    points: np.ndarray,
    weights: np.ndarray,
    scale: float,
    *,
    bins: int = 50,
    truth: np.ndarray | None = None,
) -> Coverage:
    """Return how samples cover a curve with round Gaussian noise around it.

    Args:
        samples: rows `(n, D)`.
        points: the curve `(m, D)`, in order and much closer together than σ; where one arm ends and
            the next begins no length is counted.
        weights: true shares of the points `(m,)`.
        scale: σ of the noise.
        bins: parts of equal arc length.
        truth: rows of the true law for the oracle, as many as samples; None for no oracle.

    Raises:
        InputError: for other shapes, cells that are not finite, no bin, or a scale that is not
            above 0.

    Example:
        >>> line = np.stack([np.linspace(0, 1, 201), np.zeros(201)], axis=1)
        >>> found = curve_coverage(line[:100], line, np.full(201, 1 / 201), 0.05, bins=10)
        >>> found.covered, found.spread
        (5, 0.0)
    """
    samples, points = _rows(samples, "samples"), _rows(points, "points")
    _check(samples, points.shape[1], scale)
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}", "bins")
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    step = np.where(step > 20 * np.median(step), 0.0, step)  # from one arm to the next
    length = np.concatenate([[0.0], np.cumsum(step)])
    place = np.minimum((length / length[-1] * bins).astype(int), bins - 1)
    found = _of_curve(samples, points, place, scale, np.bincount(place, weights, bins))
    if truth is None:
        return found
    expected = np.bincount(place, weights, bins)
    return replace(found, oracle=_of_curve(_rows(truth, "truth"), points, place, scale, expected))


def _of_curve(
    rows: np.ndarray, points: np.ndarray, place: np.ndarray, scale: float, shares: np.ndarray
) -> Coverage:
    from scipy.spatial import KDTree
    from scipy.stats import chi2

    distance, at = (np.asarray(part) for part in KDTree(points).query(rows))
    inside = distance <= _RADIUS * scale
    counts = np.bincount(place[at[inside]], minlength=len(shares))
    across = points.shape[1] - 1  # directions across the curve
    true = scale * math.sqrt(chi2.cdf(_RADIUS**2, across + 2) / chi2.cdf(_RADIUS**2, across))
    mean_square = float(np.mean(distance[inside] ** 2)) / across if inside.any() else math.nan
    return Coverage(
        covered=int(np.sum(counts > 0)),
        total=len(shares),
        share=float(np.mean(inside)),
        spread=math.sqrt(mean_square) / true,
        imbalance=_imbalance(counts, shares),
    )


def toy_coverage(samples: np.ndarray, name: str, *, bins: int = 50, seed: int = 0) -> Coverage:
    """Return how samples cover a built-in made set: modes of `ring` and `grid`, else arc length.

    Args:
        samples: rows `(n, 2)`.
        name: a key of `jensen.data.toys.TOYS`.
        bins: parts of a curve.
        seed: randomness of the oracle.

    Raises:
        InputError: for an unknown name, other shapes, or cells that are not finite.

    Example:
        >>> toy_coverage(TOYS["ring"].sample(0, 500), "ring").covered
        8
    """
    if name not in TOYS:
        raise InputError(
            f"no made set {name!r}{nearest(name, TOYS)}", "", f"choose one of {', '.join(TOYS)}"
        )
    toy = TOYS[name]
    points, weights = toy.nodes(_PANELS)
    if name not in _CURVES:
        return coverage(samples, points, toy.sigma, seed=seed)
    truth = toy.sample(np.random.default_rng([seed, 1]), len(samples))
    return curve_coverage(samples, points, weights, toy.sigma, bins=bins, truth=truth)


def _imbalance(counts: np.ndarray, shares: np.ndarray) -> float:
    """Return KL(counts/n ‖ shares), nats; inf without a count."""
    total = counts.sum()
    if not total:
        return math.inf
    seen = counts > 0
    found = counts[seen] / total
    return float(np.sum(found * np.log(found / shares[seen])))


def _rows(rows: np.ndarray, name: str) -> np.ndarray:
    matrix = np.asarray(rows, np.float64)
    if matrix.ndim != 2 or len(matrix) < 1 or not np.isfinite(matrix).all():
        raise InputError(
            f"rows of shape {matrix.shape}, or cells that are not finite",
            name,
            "give finite numbers of shape (n, D)",
        )
    return matrix


def _check(samples: np.ndarray, dim: int, scale: float) -> None:
    if samples.shape[1] != dim:
        raise InputError(f"{samples.shape[1]} columns against {dim}", "samples")
    if not (scale > 0 and math.isfinite(scale)):
        raise InputError(f"the scale must be above 0, got {scale}", "scale")
