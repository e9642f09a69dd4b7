r"""Factor analysis with missing cells, by expectation-maximisation: where a table's VAE starts.

    f = W z + b + ε,    z ~ N(0, I_L),  ε_d ~ N(0, ψ_d)

    E: of each row, from its observed cells alone,
       C = (I + Σ_d w_d w_dᵀ/ψ_d)⁻¹,  m = C Σ_d w_d (f_d - b_d)/ψ_d
    M: of each column, from the rows that have it,  a ridge regression of f_d on (z, 1), and ψ_d its
       mean squared residual

Every step raises the likelihood of the observed cells but for the ridge (a N(0, I) prior on the
loadings in units of the noise), which keeps columns with few cells finite.

Sources: Rubin & Thayer 1982; missing cells: Little & Rubin 2019, chapter 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_RIDGE = 1.0


@dataclass(frozen=True)
class Factors:
    """A fitted factor analysis of standardised columns.

    Attributes:
        loadings: W `(F, L)`.
        intercept: b `(F,)`.
        noise: ψ `(F,)`, variances.
    """

    loadings: np.ndarray
    intercept: np.ndarray
    noise: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """W Wᵀ + diag ψ `(F, F)`."""
        return self.loadings @ self.loadings.T + np.diag(self.noise)


def factor_analysis(
    rows: np.ndarray,
    n_factors: int,
    iterations: int = 100,
    floor: float | np.ndarray = 1e-4,
) -> Factors:
    """Fit a factor analysis.

    Args:
        rows: `(n, F)`, standardised; NaN where a cell is missing, but not a whole column.
        n_factors: L; no more than F or n are used.
        iterations: of expectation-maximisation.
        floor: least ψ, one for all columns or `(F,)`: what the factors cannot explain.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(500, 1))
        >>> rows = np.concatenate([z, z], axis=1) + 0.1 * rng.normal(size=(500, 2))
        >>> found = factor_analysis(rows, 1)
        >>> bool(np.all(np.abs(found.noise - 0.01) < 0.005))
        True
    """
    seen = ~np.isnan(rows)
    filled = np.where(seen, rows, 0.0)
    counts = seen.sum(axis=0)
    b = filled.sum(axis=0) / counts
    _, sizes, axes = np.linalg.svd(filled - b * seen, full_matrices=False)
    n_factors = min(n_factors, len(sizes))
    w = axes[:n_factors].T * sizes[:n_factors] / np.sqrt(len(rows))
    psi = np.maximum(np.maximum(1.0 - np.sum(w**2, axis=1), 0.05), floor)
    for _ in range(iterations):
        c, m = _posteriors(filled - b * seen, seen, w, psi)
        m1 = np.concatenate([m, np.ones((len(m), 1))], axis=1)
        second = m1[:, :, None] * m1[:, None, :]
        second[:, :n_factors, :n_factors] += c
        k = n_factors + 1
        gram = (seen.T.astype(float) @ second.reshape(len(m), -1)).reshape(-1, k, k)
        gram[:, range(n_factors), range(n_factors)] += _RIDGE
        solved = np.linalg.solve(gram, (filled.T @ m1)[:, :, None])[:, :, 0]
        w, b = solved[:, :n_factors], solved[:, n_factors]
        spread = np.einsum("dl,dlk,dk->d", w, _summed(seen, c), w, optimize=True)
        residual = np.where(seen, filled - m @ w.T - b, 0.0)
        psi = np.maximum((np.sum(residual**2, axis=0) + spread) / counts, floor)
    return Factors(w, b, psi)


def _posteriors(
    centred: np.ndarray, seen: np.ndarray, w: np.ndarray, psi: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return covariances C `(n, L, L)` and means m `(n, L)` of z given each row's cells."""
    n_factors = w.shape[1]
    precision = seen / psi
    outer = (w[:, :, None] * w[:, None, :]).reshape(len(w), -1)
    lam = (precision @ outer).reshape(-1, n_factors, n_factors) + np.eye(n_factors)
    c = np.linalg.inv(lam)
    return c, np.einsum("nlk,nk->nl", c, (precision * centred) @ w)


def _summed(seen: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return Σ_{n: d seen} C_n `(F, L, L)`."""
    return (seen.T.astype(float) @ c.reshape(len(c), -1)).reshape(-1, *c.shape[1:])
