"""The table of observations, each with parameters at which its two coordinates differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import special, stats

from jensen.models.columns import Columns
from jensen.models.discrete import Categorical, DiscretisedLogistic, Poisson
from jensen.models.observations import Bernoulli, Gaussian, StudentT
from jensen.models.scales import LearnedScale, NetworkScale


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        make: the observation, of at most two coordinates.
        params: η.
        points: `(m, D)`: all values of each coordinate, or nodes of a quadrature.
        weights: `(m, D)`: 1, a spacing, or the quadrature's weights.
        log_p: `(m, D)`: log p at the points, from scipy; None where it has no such law.
    """

    make: Callable[[], Any]
    params: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    log_p: np.ndarray | None

    @property
    def discrete(self) -> bool:
        return bool(np.ptp(self.weights) == 0)


def line(centre: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the trapezoid rule in t, x = centre + width sinh t."""
    t = np.linspace(-17, 17, 6001)[:, None]
    return centre + width * np.sinh(t), np.repeat(width * np.cosh(t) * (t[1] - t[0]), 2, axis=1)


def continuous(make: Callable, params: list, law: Any, width: float = 1.0) -> Row:
    points, weights = line(np.array(params[:2]), width)
    return Row(make, np.array(params, float), points, weights, law.logpdf(points))


def grid(points: np.ndarray, make: Callable, params: list, step: float, log_p: Any) -> Row:
    points = np.repeat(points[:, None], 2, axis=1).astype(float)
    return Row(make, np.array(params, float), points, np.full(points.shape, step), log_p)


def cells(points: np.ndarray, mean: list, s: list, step: float) -> np.ndarray:
    """log [F(b) - F(a)]/δ by differences on the side where F is small."""
    x, m = points[:, None], np.array(mean)
    a, b = (x - step / 2 - m) / s, (x + step / 2 - m) / s
    a, b = np.where(x > m, -b, a), np.where(x > m, -a, b)
    return (
        special.log_expit(b)
        + np.log1p(-np.exp(special.log_expit(a) - special.log_expit(b)))
        - np.log(step)
    )


GREY = np.arange(16) / 15


def grey_cells() -> np.ndarray:
    """16 grey levels at 0.95 ± 0.2 and 0.3 ± 0.01, the end cells with the tails."""
    edges = np.r_[-np.inf, (np.arange(15) + 0.5) / 15, np.inf][:, None]
    below = special.expit((edges - [0.95, 0.3]) / [0.2, 0.01])
    return np.log(np.maximum(np.diff(below, axis=0), 1e-300) * 15)


LOG_V = [0.4, -1.1]
SIGMA = np.exp(0.5 * np.array(LOG_V))
AT = np.array([1.5, -0.4])
TENTHS = 0.1 + 0.25 * np.arange(-1600, 1601)

OBSERVATIONS: dict[str, Row] = {
    "Bernoulli": grid(
        np.arange(2), lambda: Bernoulli(2), [0.3, -2.0], 1.0,
        stats.bernoulli(special.expit([0.3, -2.0])).logpmf([[0, 0], [1, 1]]),
    ),
    "Gaussian": continuous(lambda: Gaussian(2, 0.7), [1.5, -0.4], stats.norm(AT, 0.7)),
    "Gaussian-shared": continuous(
        lambda: Gaussian(2, LearnedScale(value=1.3)), [1.5, -0.4], stats.norm(AT, 1.3)
    ),
    "Gaussian-per-coordinate-floor": continuous(
        lambda: Gaussian(2, LearnedScale(2, value=1.3, floor=0.2)), [1.5, -0.4], stats.norm(AT, 1.3)
    ),
    "Gaussian-network": continuous(
        lambda: Gaussian(2, NetworkScale(2)), [1.5, -0.4, *LOG_V], stats.norm(AT, SIGMA)
    ),
    "Gaussian-network-floor": continuous(
        lambda: Gaussian(2, NetworkScale(2, 0.5)), [1.5, -0.4, *LOG_V],
        stats.norm(AT, np.sqrt(SIGMA**2 + 0.25)),
    ),
    "StudentT-network": continuous(
        lambda: StudentT(2, NetworkScale(2), min_df=1.0, df=3.0), [1.5, -0.4, *LOG_V],
        stats.t(3.0, AT, SIGMA),
    ),
    "Poisson": grid(
        np.arange(120), lambda: Poisson(2), [3.1, -0.7], 1.0,
        stats.poisson(np.exp([3.1, -0.7])).logpmf(np.arange(120)[:, None]),
    ),
    "DiscretisedLogistic": grid(
        TENTHS, lambda: DiscretisedLogistic(np.full(2, 0.25), 0.1, scale=NetworkScale(2)),
        [1.5, -0.4, 2.0, -5.0], 0.25,
        cells(TENTHS, [1.5, -0.4], [np.exp(1.0), np.exp(-2.5)], 0.25),
    ),
    "DiscretisedLogistic-bounds": grid(
        GREY,
        lambda: DiscretisedLogistic(
            np.full(2, 1 / 15), low=0.0, high=1.0, scale=NetworkScale(2)
        ),
        [0.95, 0.3, 2 * np.log(0.2), 2 * np.log(0.01)], 1 / 15, grey_cells(),
    ),
    "Categorical": grid(
        np.arange(3), lambda: Categorical((3, 3)), [0.2, 1.0, -3.0, 0.0, 0.0, 2.0], 1.0,
        special.log_softmax([[0.2, 1.0, -3.0], [0.0, 0.0, 2.0]], axis=1).T,
    ),
    "Columns": grid(
        np.arange(2),
        lambda: Columns([(Categorical((2,)), (1,)), (Bernoulli(1), (0,))]),
        [1.0, 0.5, -0.3], 1.0,
        np.array([np.log(special.expit([0.3, 0.5])), np.log(special.expit([-0.3, -0.5]))]),
    ),
}  # fmt: skip
"""Each exported observation, in each of its forms; the name starts with the class's."""


def log_probs(observation: Any, points: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Return log p `(m, D)` at the points."""
    import jax

    each = jax.jit(lambda x, p: jax.vmap(observation.log_probs, (0, None))(x, p))
    return np.asarray(each(jnp.asarray(points), jnp.asarray(params)))
