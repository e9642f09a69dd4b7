r"""Two samples compared: maximum mean discrepancy, sliced Wasserstein, precision and recall.

MMD² = E k(x,x') + E k(y,y') - 2 E k(x,y) with a mixture of five Gaussian kernels around the median
distance, as an unbiased U-statistic; its p-value permutes the labels of the pooled rows.

The sliced Wasserstein distance is the mean over directions θ on the sphere of the one-dimensional
distances: SW_p^p = E_θ ∫₀¹ |F⁻¹_{θ·x}(u) - F⁻¹_{θ·y}(u)|^p du.

With B_k(x) the ball around x that reaches its k-th nearest neighbour in its own sample,

    precision  share of generated rows inside some B_k(real)     recall  the other way round
    density    mean number of balls B_k(real) around a generated row, over k
    coverage   share of balls B_k(real) that hold a generated row

where both samples have one law density is near 1 and coverage has the mean
1 - Π_{j=1}^{k} (N - j)/(N + M - j).

Sources: Gretton et al. 2012, eq. 3; Rabin et al. 2012; Kynkäänniemi et al. 2019
(arXiv:1904.06991); Naeem et al. 2020 (arXiv:2002.09797), eqs. 3-4 and lemma 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array
from jensen.evaluation.divergences import Estimate

_BLOCK = 512
_MEDIAN_ROWS = 1000
_CELLS = 2**24


@dataclass(frozen=True)
class MMD:
    """The squared maximum mean discrepancy of two samples.

    Args:
        squared: MMD², an unbiased estimate; 0 on average where both laws are the same.
        p_value: of that hypothesis, by permutations.
        bandwidth: the middle kernel's σ.
        n: rows of both samples.
    """

    squared: float
    p_value: float
    bandwidth: float
    n: tuple[int, int]


def mmd(
    X: np.ndarray,
    Y: np.ndarray,
    *,
    bandwidth: float | None = None,
    permutations: int = 499,
    seed: int = 0,
) -> MMD:
    r"""Return the squared maximum mean discrepancy with a permutation p-value.

    The kernel is the mean of exp(-‖x - y‖²/2s²) over s² = σ² · (¼, ½, 1, 2, 4). Time grows with the
    square of the rows (10⁴ in all: seconds), memory only linearly.

    Args:
        X: rows `(n, D)`; columns of different units are better standardised first.
        Y: rows `(m, D)`.
        bandwidth: σ; None for the median distance of the pooled rows.
        permutations: relabellings for the p-value.
        seed: randomness of the permutations.

    Raises:
        InputError: for other shapes, cells that are not finite, fewer than two rows of either, a
            bandwidth that is not above 0, or rows that are all the same.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> found = mmd(rng.normal(size=(80, 2)), rng.normal(2.0, 1.0, (90, 2)), permutations=99)
        >>> found.squared > 0.1, found.p_value
        (True, 0.01)
    """
    x, y = _two(X, Y, 2)
    if permutations < 1:
        raise InputError(f"permutations must be at least 1, got {permutations}", "mmd")
    rows = np.concatenate([x, y])
    rows = rows - rows.mean(axis=0)
    sigma = _median_distance(rows, seed) if bandwidth is None else bandwidth
    if not (sigma > 0 and math.isfinite(sigma)):
        raise InputError(
            f"the bandwidth is {sigma}", "mmd", "give a bandwidth above 0, and rows that vary"
        )
    n, m = len(x), len(y)
    squared = _relabelled(rows / (2.0 * math.sqrt(2.0) * sigma), n, permutations, seed)
    slack = 1e-6 * float(np.abs(squared).max())  # float32 sums: a tie is a tie
    larger = int(np.sum(squared[1:] >= squared[0] - slack))
    return MMD(float(squared[0]), (1.0 + larger) / (1.0 + permutations), float(sigma), (n, m))


def _relabelled(rows: np.ndarray, n: int, permutations: int, seed: int) -> np.ndarray:
    """Return MMD² of the first n scaled rows against the rest, then under random relabellings."""
    N = len(rows)
    m = N - n
    rng = np.random.default_rng([seed, N, n])
    labels = np.zeros((N, permutations + 1), np.float32)
    labels[:n, 0] = 1.0
    for b in range(1, permutations + 1):
        labels[rng.permutation(N)[:n], b] = 1.0
    pad = ((0, -N % _BLOCK), (0, 0))
    inside, sums = _kernel_sums(
        jnp.asarray(np.pad(rows, pad), jnp.float32), jnp.asarray(np.pad(labels, pad)), N
    )
    inside = np.asarray(inside, np.float64).sum(axis=0)
    sums = np.asarray(sums, np.float64).reshape(-1)[:N]
    crossing = labels.T.astype(np.float64) @ sums - inside
    rest = sums.sum() - 2.0 * crossing - inside
    return inside / (n * (n - 1)) + rest / (m * (m - 1)) - 2.0 * crossing / (n * m)


@jax.jit
def _kernel_sums(rows: Array, labels: Array, n: int) -> tuple[Array, Array]:
    """Return, block by block, Σ_{i in block, j} e_i k_ij e_j per labelling and Σ_j k_ij per row.

    The diagonal is left out. The kernel is centred at its mean over the first block: constants
    cancel in MMD², and rounding with them.
    """
    real = jnp.arange(rows.shape[0]) < n
    squares = jnp.sum(rows**2, axis=1)

    def kernel(block: Array, at: Array) -> Array:
        distance = jnp.sum(block**2, axis=1)[:, None] + squares - 2.0 * block @ rows.T
        value = jnp.exp(-jnp.maximum(distance, 0.0))  # s² = 4 σ²; its powers are the others
        total = value
        for _ in range(4):
            value = value**2
            total = total + value
        off_diagonal = at[:, None] != jnp.arange(rows.shape[0])
        return jnp.where(off_diagonal & real & (at < n)[:, None], total / 5.0, 0.0)

    first = kernel(rows[:_BLOCK], jnp.arange(_BLOCK))
    k = jnp.minimum(n, _BLOCK)
    centre = jnp.sum(first) / (k * (n - 1.0))

    def one(_: None, start: Array) -> tuple[None, tuple[Array, Array]]:
        at = start + jnp.arange(_BLOCK)
        block = jax.lax.dynamic_slice_in_dim(rows, start, _BLOCK)
        off = (at[:, None] != jnp.arange(rows.shape[0])) & real & (at < n)[:, None]
        values = kernel(block, at) - jnp.where(off, centre, 0.0)
        mine = jax.lax.dynamic_slice_in_dim(labels, start, _BLOCK)
        return None, (jnp.sum(mine * (values @ labels), axis=0), jnp.sum(values, axis=1))

    starts = jnp.arange(0, rows.shape[0], _BLOCK)
    return jax.lax.scan(one, None, starts)[1]


def _median_distance(rows: np.ndarray, seed: int) -> float:
    """Return the median distance between different rows, of at most 1,000 of them."""
    from scipy.spatial.distance import pdist

    some = np.random.default_rng([seed, len(rows)]).permutation(len(rows))[:_MEDIAN_ROWS]
    distances = pdist(rows[some])
    positive = distances[distances > 0]
    return float(np.median(positive)) if len(positive) else 0.0


def sliced_wasserstein(
    X: np.ndarray, Y: np.ndarray, *, order: float = 2.0, directions: int = 256, seed: int = 0
) -> Estimate:
    """Return the sliced Wasserstein distance, in the unit of the rows, and its Monte Carlo error.

    Args:
        X: rows `(n, D)`.
        Y: rows `(m, D)`; n and m may differ.
        order: p ≥ 1.
        directions: θ, drawn uniformly; the standard error is that of their mean. For D = 1 there is
            one direction and no error.
        seed: randomness of the directions.

    Returns:
        SW_p of the two samples: above 0 on average even where both have one law.

    Raises:
        InputError: for other shapes, cells that are not finite, an order below 1, or no direction.

    Example:
        >>> sliced_wasserstein(np.zeros((4, 1)), np.full((6, 1), 3.0))
        Estimate(value=3.0, se=0.0)
    """
    x, y = _two(X, Y, 1)
    if order < 1 or directions < 1:
        raise InputError(
            f"order {order} with {directions} directions",
            "sliced_wasserstein",
            "give an order of at least 1 and at least one direction",
        )
    n, m, dim = len(x), len(y), x.shape[1]
    theta = np.random.default_rng(seed).standard_normal((directions, dim))
    theta = np.ones((1, 1)) if dim == 1 else theta / np.linalg.norm(theta, axis=1, keepdims=True)
    # both quantile functions are constant between the merged steps i/n and j/m, in units of 1/nm
    steps = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    width = np.diff(steps) / (n * m)
    powers = np.empty(len(theta))
    together = max(1, _CELLS // len(steps))
    for start in range(0, len(theta), together):
        part = theta[start : start + together].T
        gap = (
            np.sort(x @ part, axis=0)[steps[:-1] // m] - np.sort(y @ part, axis=0)[steps[:-1] // n]
        )
        powers[start : start + together] = width @ np.abs(gap) ** order
    mean = float(powers.mean())
    if len(powers) < 2 or mean == 0:
        return Estimate(mean ** (1 / order), 0.0)
    error = float(powers.std(ddof=1)) / math.sqrt(len(powers))
    return Estimate(mean ** (1 / order), error * mean ** (1 / order - 1) / order)


@dataclass(frozen=True)
class PrecisionRecall:
    """Four shares that compare generated with real rows; see the module.

    Args:
        precision: generated rows near real ones.
        recall: real rows near generated ones.
        density: how densely real rows surround generated ones, near 1 where both laws agree.
        coverage: real rows with a generated one nearby.
        coverage_expected: the mean of coverage where both laws agree.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    coverage_expected: float


def precision_recall(X: np.ndarray, Y: np.ndarray, k: int = 5) -> PrecisionRecall:
    """Return precision, recall, density and coverage of generated rows.

    Args:
        X: real rows `(n, D)`.
        Y: generated rows `(m, D)`.
        k: which neighbour in its own sample a ball reaches, itself not counted.

    Raises:
        InputError: for other shapes, cells that are not finite, or k not in [1, min(n, m) - 1].

    Example:
        >>> line = np.arange(10.0)[:, None]
        >>> precision_recall(line, line + 100.0, k=2).precision
        0.0
    """
    x, y = _two(X, Y, 2)
    if not 1 <= k < min(len(x), len(y)):
        raise InputError(
            f"k = {k} with {len(x)} and {len(y)} rows", "k", "give 1 ≤ k below both numbers of rows"
        )
    around, covered, recalled = np.zeros(len(y)), np.zeros(len(x), bool), np.zeros(len(x), bool)
    reach_x, reach_y = _reach(x, k), _reach(y, k)
    size = max(1, _CELLS // max(len(x), len(y)))
    for start in range(0, len(x), size):
        at = slice(start, start + size)
        distance = _distances(x[at], y)
        inside = distance <= reach_x[at, None]
        around += inside.sum(axis=0)
        covered[at] = inside.any(axis=1)
        recalled[at] = (distance <= reach_y).any(axis=1)
    n, m = len(x), len(y)
    missed = math.prod((n - j) / (n + m - j) for j in range(1, k + 1))
    return PrecisionRecall(
        precision=float(np.mean(around > 0)),
        recall=float(np.mean(recalled)),
        density=float(np.mean(around) / k),
        coverage=float(np.mean(covered)),
        coverage_expected=1.0 - missed,
    )


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(x, y)


def _reach(rows: np.ndarray, k: int) -> np.ndarray:
    """Return the distance of each row to its k-th nearest other row `(n,)`."""
    out = np.empty(len(rows))
    size = max(1, _CELLS // len(rows))
    for start in range(0, len(rows), size):
        block = _distances(rows[start : start + size], rows)
        out[start : start + size] = np.partition(block, k, axis=1)[:, k]
    return out


def _two(X: Any, Y: Any, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Return both samples as finite float64 matrices with the same columns."""
    found = []
    for rows, name in ((X, "X"), (Y, "Y")):
        matrix = np.asarray(rows, np.float64)
        matrix = matrix[:, None] if matrix.ndim == 1 else matrix
        if matrix.ndim != 2 or len(matrix) < least:
            raise InputError(
                f"rows of shape {matrix.shape}",
                name,
                f"give shape (n, D) with n of {least} or more",
            )
        if not np.isfinite(matrix).all():
            raise InputError("a missing or infinite cell", name, "drop that row or fill it in")
        found.append(matrix)
    if found[0].shape[1] != found[1].shape[1]:
        raise InputError(
            f"{found[0].shape[1]} columns against {found[1].shape[1]}",
            "X and Y",
            "give the same columns",
        )
    return found[0], found[1]
