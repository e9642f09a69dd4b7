r"""The rows of a table as the examples of an implicit model, and back.

A number v goes through three steps, a category becomes a one-hot vector:

    1. columns on a grid of spacing δ:  v + δ u,  u ~ U(-½, ½)           (back: snapped to the grid)
    2. `normal-scores`:  s = Φ⁻¹(F̂(v)),  `standard`:  s = (v - mean)/scale
    3. y = W s,  WᵀW the inverse covariance of s over the training rows

F̂ is the empirical distribution function: the map v → s is piecewise linear through the training
quantiles. A value that occurs so often that F̂ jumps there takes a random place in its jump (the
distributional transform), and comes back exactly: s is standard normal whatever the column's tails,
atoms or skew. A generator has
to learn what joins the columns; the margins are there from the start. Values from a generator are
cut off at the smallest and the largest training value.

Source: Rüschendorf 2009, "On the distributional transform, Sklar's theorem, and the empirical
copula process". Deviation: quantiles at 1,000 levels where there are more rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jensen._errors import check_name
from jensen.data.preprocess import Preprocess, whitening

MARGINS = ("normal-scores", "standard")
_MOST_QUANTILES = 1000


@dataclass(frozen=True)
class Examples:
    """The map between encoded rows `(n, columns)` and examples `(n, D + Σ n_j)`.

    Args:
        preprocess: the columns, and the standard units of the numeric ones.
        quantiles: `(K, D)`, of the training values, evenly spread from the smallest to the
            largest; i = 0, …, K-1 lies at level (i + ½)/K. K = 0 for standard units.
        bounds: `(2, D)`, the smallest and the largest training value.
        whiten: W `(D, D)`, lower triangular.
    """

    preprocess: Preprocess
    quantiles: np.ndarray
    bounds: np.ndarray
    whiten: np.ndarray

    @property
    def dim(self) -> int:
        """D, the number of numeric columns."""
        return len(self.whiten)

    @property
    def levels(self) -> tuple[int, ...]:
        """n_j, the number of levels of each categorical column."""
        schema = self.preprocess.schema
        return tuple(len(schema.columns[j].levels) for j in schema.categorical)

    def forward(self, matrix: np.ndarray, seed: int = 0) -> np.ndarray:
        """Return the examples `(n, D + Σ n_j)`, float32, of encoded rows `(n, columns)`.

        Args:
            matrix: encoded rows, float64.
            seed: of the places of values in their grid cells and jumps.
        """
        schema = self.preprocess.schema
        rng = np.random.default_rng([seed, len(matrix)])
        values = _spread(matrix[:, list(schema.continuous)], self.preprocess.step, rng)
        scores = (
            _scores(values, self.quantiles, rng) if len(self.quantiles) else self._units(values)
        )
        codes = matrix[:, list(schema.categorical)].astype(int)
        hot = [np.eye(n)[codes[:, j]] for j, n in enumerate(self.levels)]
        return np.concatenate([scores @ self.whiten.T, *hot], axis=1).astype("f4")

    def backward(self, examples: np.ndarray) -> np.ndarray:
        """Return encoded rows `(n, columns)`, float64, of examples `(n, D + Σ n_j)`."""
        p = self.preprocess
        schema, d = p.schema, self.dim
        scores = np.linalg.solve(self.whiten, np.asarray(examples[:, :d], np.float64).T).T
        if len(self.quantiles):
            levels = _normal_levels(len(self.quantiles))
            columns = [np.interp(scores[:, j], levels, self.quantiles[:, j]) for j in range(d)]
            values = np.stack(columns, axis=1) if d else scores
        else:
            values = scores * p.scale + p.mean
        out = np.empty((len(examples), len(schema.columns)))
        out[:, list(schema.continuous)] = np.clip(values, *self.bounds)
        start = d
        for j, n in zip(schema.categorical, self.levels, strict=True):
            out[:, j] = np.argmax(examples[:, start : start + n], axis=1)
            start += n
        out[:, list(schema.constant)] = p.constants
        return out

    def _units(self, values: np.ndarray) -> np.ndarray:
        return (values - self.preprocess.mean) / self.preprocess.scale


def fit_examples(
    preprocess: Preprocess, matrix: np.ndarray, margins: str = "normal-scores", seed: int = 0
) -> Examples:
    """Return the map of a table, fitted to its training rows.

    Args:
        preprocess: of the same rows.
        matrix: encoded training rows `(n, columns)`.
        margins: one of `MARGINS`.
        seed: of the places of values in their grid cells and jumps.

    Raises:
        InputError: for an unknown name.

    Example:
        >>> from jensen.data.preprocess import fit_preprocess
        >>> from jensen.data.schema import read
        >>> from jensen.data.source import open_table
        >>> schema, rows = read(open_table("iris"))
        >>> examples = fit_examples(fit_preprocess(schema, rows), rows)
        >>> back = examples.backward(examples.forward(rows))
        >>> bool(np.abs(back - rows).max() < 0.06)  # half a grid cell, and float32
        True
    """
    check_name(margins, MARGINS, "margins", "margins")
    values = matrix[:, list(preprocess.schema.continuous)]
    d = values.shape[1]
    bounds = np.stack([values.min(axis=0), values.max(axis=0)])
    quantiles = np.empty((0, d))
    if margins == "normal-scores" and d:
        spread = _spread(values, preprocess.step, np.random.default_rng([seed, len(values)]))
        k = min(len(values), _MOST_QUANTILES)
        quantiles = np.quantile(spread, np.linspace(0.0, 1.0, k), axis=0)
    plain = Examples(preprocess, quantiles, bounds, np.eye(d))
    scores = plain.forward(matrix, seed)[:, :d]
    # the rows are spread over their cells already: no resolution is to be added to the covariance
    continuous = replace(preprocess, step=np.zeros(d))
    return replace(plain, whiten=whitening(continuous, scores))


def _spread(values: np.ndarray, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the values, each at a random place of its grid cell."""
    return values + step * rng.uniform(-0.5, 0.5, values.shape)


def _normal_levels(k: int) -> np.ndarray:
    """Return Φ⁻¹((i + ½)/K) `(K,)`."""
    from scipy.special import ndtri

    return ndtri((np.arange(k) + 0.5) / k)


def _scores(values: np.ndarray, quantiles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the normal scores `(n, D)`; a value that is several quantiles lies between these."""
    from scipy.special import ndtri

    k = len(quantiles)
    level, normal = (np.arange(k) + 0.5) / k, _normal_levels(k)
    out = np.empty_like(values)
    for j in range(values.shape[1]):
        knots, v = quantiles[:, j], values[:, j]
        first, last = np.searchsorted(knots, v, "left"), np.searchsorted(knots, v, "right") - 1
        place = level[np.minimum(first, k - 1)] + rng.uniform(size=len(v)) * (last - first) / k
        out[:, j] = np.where(last > first, ndtri(place), np.interp(v, knots, normal))
    return out
