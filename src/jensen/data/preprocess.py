r"""From the data's units to the model's, with the Jacobian that belongs in `log_prob`.

The numeric columns v become, elementwise and in float64,

    y_d = (v_d - m_d) / s_d,       log p(v) = log p_Y(y) - Σ_d log s_d

with m and s the training mean and standard deviation: figures are in data units. Columns on a grid
of spacing δ (integers: δ = 1) are known only to that resolution; `noise` = δ/s carries their
dequantisation u ~ U(-½, ½) to the model's units. Categorical codes pass unchanged; a constant
column is an atom: a new value has probability zero.

`whitening` is the linear map at which a flow starts: W lower triangular with WᵀW = Σ⁻¹, Σ the
Ledoit–Wolf covariance of y. A flow over a standard normal then starts as the best Gaussian.

Source of Σ: Ledoit & Wolf 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
            matrix: encoded rows `(n, columns)`, float64.

        Returns:
            Float32 `(n, D + k)`.
        """
        y = (matrix[:, list(self.schema.continuous)] - self.mean) / self.scale
        return np.concatenate([y, matrix[:, list(self.schema.categorical)]], axis=1).astype("f4")

    def possible(self, matrix: np.ndarray) -> np.ndarray:
        """Return `(n,)`, False where a constant column has another value."""
        return np.all(matrix[:, list(self.schema.constant)] == self.constants, axis=1)

    def backward(self, vectors: np.ndarray) -> np.ndarray:
        """Return encoded rows `(n, columns)`, float64, from the model's vectors."""
        d = len(self.mean)
        out = np.empty((len(vectors), len(self.schema.columns)))
        y = np.asarray(vectors[:, :d], np.float64)
        out[:, list(self.schema.continuous)] = y * self.scale + self.mean
        out[:, list(self.schema.categorical)] = vectors[:, d:]
        out[:, list(self.schema.constant)] = self.constants
        return out


def fit_preprocess(schema: Schema, matrix: np.ndarray) -> Preprocess:
    """Return the preprocessing of a table, fitted to its training rows.

    Args:
        schema: the table's columns.
        matrix: encoded training rows `(n, columns)`.

    Example:
        >>> from jensen.data.schema import read
        >>> from jensen.data.source import open_table
        >>> schema, rows = read(open_table("iris"))
        >>> fit_preprocess(schema, rows).forward(rows).shape
        (150, 4)
    """
    numeric = list(schema.continuous)
    values = matrix[:, numeric]
    step = np.array([schema.columns[i].step for i in numeric])
    mean = values.mean(axis=0)
    scale = np.sqrt(values.var(axis=0) + step**2 / 12.0)
    # a column that varies only outside the training rows has no spread here: give it its own size
    # (its whole size where one training row shows no spread of any column)
    size = np.maximum(np.abs(mean), 1.0) * (1e-3 if len(values) > 1 else 1.0)
    scale = np.where(scale > 0, scale, size)
    return Preprocess(mean, scale, step, matrix[0, list(schema.constant)], schema)


def whitening(preprocess: Preprocess, vectors: np.ndarray) -> np.ndarray:
    """Return W `(D, D)`, lower triangular, with WᵀW the inverse of the shrunk covariance.

    Args:
        preprocess: the map that made the vectors.
        vectors: the training rows `(n, D + k)` in the model's units.
    """
    from sklearn.covariance import ledoit_wolf

    d = len(preprocess.mean)
    if d == 0:
        return np.zeros((0, 0))
    if len(vectors) < 2:  # one row says nothing of a covariance
        return np.eye(d)
    shrunk, _ = ledoit_wolf(np.asarray(vectors[:, :d], np.float64), assume_centered=True)
    covariance = shrunk + np.diag(preprocess.noise**2 / 12.0) + _RIDGE * np.eye(d)
    return np.tril(np.linalg.inv(np.linalg.cholesky(covariance)))
