r"""From the data's units to the model's, with the Jacobian that belongs in `log_prob`.

The numeric columns v become, elementwise and in float64,

    y_d = (v_d - m_d) / s_d,       log p(v) = log p_Y(y) - Σ_d log s_d

with m and s the training mean and standard deviation: figures are in data units. Columns on a grid
of spacing δ (integers: δ = 1) are known only to that resolution; `noise` = δ/s carries their
dequantisation u ~ U(-½, ½) to the model's units. Categorical codes pass unchanged; a constant
column is an atom: a new value has probability zero. A missing cell is NaN in either direction, and
m and s are those of the cells that are there. Columns left raw keep their units: m = 0, s = 1.

`whitening` is the linear map at which a flow starts: W lower triangular with WᵀW = Σ⁻¹, Σ the
Ledoit–Wolf covariance of y. A flow over a standard normal then starts as the best Gaussian.

Source of Σ: Ledoit & Wolf 2004.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from jensen._errors import InputError
from jensen.data.schema import Schema

_RIDGE = 1e-6  # on the correlation matrix: copies of a column stay invertible


@dataclass(frozen=True)
class Preprocess:
    """The elementwise map of the numeric columns, and what the other columns must be.

    Args:
        mean: m `(D,)`, of the numeric columns.
        scale: s `(D,)`, above zero.
        step: δ `(D,)`, 0 where continuous.
        constants: `(C,)`, the value of each constant column.
        schema: the table's columns.
    """

    mean: np.ndarray
    scale: np.ndarray
    step: np.ndarray
    constants: np.ndarray
    schema: Schema

    @property
    def log_det(self) -> float:
        """-Σ log s_d, nats: what the map adds to a log-density."""
        return -float(np.sum(np.log(self.scale)))

    @property
    def noise(self) -> np.ndarray:
        """δ/s `(D,)`: the resolution of each column in the model's units."""
        return self.step / self.scale

    @property
    def dequantised(self) -> bool:
        """Whether any column is known only to a resolution."""
        return bool(np.any(self.step > 0))

    def forward(self, matrix: np.ndarray) -> np.ndarray:
        """Return the model's vectors: y then the categorical codes.

        Args:
            matrix: encoded rows `(n, columns)`, float64; NaN where a cell is missing.

        Returns:
            Float32 `(n, D + k)`, NaN where a cell is missing.
        """
        y = (matrix[:, list(self.schema.continuous)] - self.mean) / self.scale
        return np.concatenate([y, matrix[:, list(self.schema.categorical)]], axis=1).astype("f4")

    def possible(self, matrix: np.ndarray) -> np.ndarray:
        """Return `(n,)`, False where a constant column has another value: a missing cell has none.

        Args:
            matrix: encoded rows `(n, columns)`; NaN where a cell is missing.
        """
        return self.n_impossible(matrix) == 0

    def n_impossible(self, matrix: np.ndarray) -> np.ndarray:
        """Return `(n,)`, how many constant columns have another value; arguments as `possible`."""
        values = matrix[:, list(self.schema.constant)]
        return np.sum((values != self.constants) & ~np.isnan(values), axis=1)

    def backward(self, vectors: np.ndarray) -> np.ndarray:
        """Return encoded rows `(n, columns)`, float64, from the model's vectors."""
        d = len(self.mean)
        out = np.empty((len(vectors), len(self.schema.columns)))
        y = np.asarray(vectors[:, :d], np.float64)
        out[:, list(self.schema.continuous)] = y * self.scale + self.mean
        out[:, list(self.schema.categorical)] = vectors[:, d:]
        out[:, list(self.schema.constant)] = self.constants
        return out


def fit_preprocess(schema: Schema, matrix: np.ndarray, raw: Iterable[int] = ()) -> Preprocess:
    """Return the preprocessing of a table, fitted to the cells of its training rows.

    Args:
        schema: the table's columns.
        matrix: encoded training rows `(n, columns)`; NaN where a cell is missing.
        raw: the places in `schema.columns` of numeric columns that keep their units (m = 0, s = 1),
            such as counts and indicators.

    Raises:
        InputError: all cells of a column that varies are missing, or a raw column is not numeric.

    Example:
        >>> from jensen.data.schema import read
        >>> from jensen.data.source import open_table
        >>> schema, rows = read(open_table("iris"))
        >>> fit_preprocess(schema, rows).forward(rows).shape
        (150, 4)
        >>> fit_preprocess(schema, rows, raw=[0]).scale.round(2).tolist()
        [1.0, 0.44, 1.76, 0.76]
    """
    numeric = list(schema.continuous)
    step = np.array([schema.columns[i].step for i in numeric])
    gaps = np.isnan(matrix)
    seen = len(matrix) - (gaps.sum(axis=0) if gaps.any() else np.zeros(matrix.shape[1]))
    _check_seen(schema, seen)
    mean, variance = _moments(matrix[:, numeric])
    scale = np.sqrt(variance + step**2 / 12.0)
    # a column that varies only outside the training rows has no spread here: give it its own size
    # (its whole size where one training row shows no spread of any column)
    share = np.where(seen[numeric] > 1, 1e-3, 1.0)
    scale = np.where(scale > 0, scale, np.maximum(np.abs(mean), 1.0) * share)
    left = np.isin(numeric, _checked_raw(schema, raw))
    mean, scale = np.where(left, 0.0, mean), np.where(left, 1.0, scale)
    return Preprocess(mean, scale, step, _constants(schema, matrix), schema)


def _check_seen(schema: Schema, seen: np.ndarray) -> None:
    """Refuse a column that varies, but has no cell among the training rows."""
    for column, count in zip(schema.columns, seen, strict=True):
        if not count and column.kind != "constant":
            raise InputError(
                f"all cells of column {column.name!r} are missing",
                "the training rows",
                "leave the column out, or give more of its values",
            )


def _checked_raw(schema: Schema, raw: Iterable[int]) -> list[int]:
    raw = list(raw)
    wrong = [j for j in raw if j not in schema.continuous]
    if wrong:
        raise InputError(
            f"column {wrong[0]} is not numeric", "raw", f"choose of {list(schema.continuous)}"
        )
    return raw


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the variance `(D,)` of the cells that are there."""
    mean = values.mean(axis=0)
    if np.isnan(mean).any():
        return np.nanmean(values, axis=0), np.nanvar(values, axis=0)
    return mean, values.var(axis=0)


def _constants(schema: Schema, matrix: np.ndarray) -> np.ndarray:
    """Return the first value of each constant column; the schema's where all its cells miss."""
    out = matrix[0, list(schema.constant)]
    for i, j in enumerate(schema.constant):
        if np.isnan(out[i]):
            value, cells = schema.columns[j].value, matrix[:, j]
            known = 0.0 if isinstance(value, str) else value
            out[i] = next(iter(cells[~np.isnan(cells)]), known)
    return out


def whitening(preprocess: Preprocess, vectors: np.ndarray) -> np.ndarray:
    """Return W `(D, D)`, lower triangular, with WᵀW the inverse of the shrunk covariance.

    Args:
        preprocess: the map that made the vectors.
        vectors: the training rows `(n, D + k)` in the model's units, complete.

    Raises:
        InputError: a cell is missing.
    """
    from sklearn.covariance import ledoit_wolf

    if np.isnan(vectors).any():
        raise InputError(
            "the covariance of rows with missing cells is not defined",
            "whitening",
            "give complete rows",
        )
    d = len(preprocess.mean)
    if d == 0:
        return np.zeros((0, 0))
    if len(vectors) < 2:  # one row says nothing of a covariance
        return np.eye(d)
    shrunk, _ = ledoit_wolf(np.asarray(vectors[:, :d], np.float64), assume_centered=True)
    covariance = shrunk + np.diag(preprocess.noise**2 / 12.0) + _RIDGE * np.eye(d)
    return np.tril(np.linalg.inv(np.linalg.cholesky(covariance)))
