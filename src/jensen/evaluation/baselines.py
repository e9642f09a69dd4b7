r"""Densities of a table without a network: a Gaussian, a mixture of Gaussians, kernels.

Each is a `TableDensity`, so its figures are on the same measure as those of a flow: nats, data
units, the Jacobian of the standardisation included, and columns known to a resolution δ averaged
over the cell at the same 16 points. For such columns they are fitted to v + δ u, u ~ U(-½, ½).

What is open in them is chosen by the validation rows: the number of parts, and the bandwidth.

Sources: Ledoit & Wolf 2004; McLachlan & Peel 2000; Parzen 1962.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen.data.preprocess import Preprocess
from jensen.data.split import Split
from jensen.evaluation.likelihood import fit_gaussian
from jensen.models.kernel import kernel_rows
from jensen.models.mixture import MixtureRows
from jensen.models.table import TableDensity

PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of parts that are tried, until one does worse than the best before it."""

WIDTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Bandwidths that are tried, times the one chosen by leaving training rows out."""

_RIDGE = 1e-4  # on a part's covariance, standardised: no part shrinks to a point
_CHOOSING_ROWS = 1000

Fit = Callable[[Preprocess, np.ndarray, Split, int], tuple[TableDensity, str]]
"""`fit(preprocess, matrix, split, seed)` → the density, and what was chosen, in words."""


def gaussian_density(
    preprocess: Preprocess, matrix: np.ndarray, split: Split, seed: int
) -> tuple[TableDensity, str]:
    """Return the Gaussian with the Ledoit–Wolf covariance, and smoothed frequencies of levels.

    Args:
        preprocess: the map to the model's units, fitted to the training rows.
        matrix: encoded rows `(n, columns)`, complete.
        split: which of them train.
        seed: nothing here is random.

    Returns:
        The density, and what was chosen in words: nothing.
    """
    found = fit_gaussian(preprocess, matrix[split.train])
    tables = tuple(jnp.asarray(table, jnp.float32)[None] for table in found.frequencies)
    whiten = jnp.asarray(found.whiten, jnp.float32)[None]
    model = MixtureRows(jnp.zeros(1), jnp.zeros((1, len(preprocess.mean))), whiten, tables)
    return _of_table(model, preprocess), ""


def mixture_density(
    preprocess: Preprocess, matrix: np.ndarray, split: Split, seed: int
) -> tuple[TableDensity, str]:
    """Return the mixture of full-covariance Gaussians with the best validation log-likelihood.

    A part's frequencies of levels are those of its rows, each row shared out by the chance that the
    part made its numbers.

    Args:
        preprocess: the map to the model's units, fitted to the training rows.
        matrix: encoded rows `(n, columns)`, complete.
        split: which of them train, and which choose.
        seed: of the start, and of the dequantisation.

    Returns:
        The density, and the number of parts in words.

    Raises:
        InputError: if no column is a number.
    """
    from sklearn.mixture import GaussianMixture

    d = len(preprocess.mean)
    if d == 0:
        raise InputError("no column is a number", "Gaussian mixture", "it mixes laws of numbers")
    vectors = _spread(preprocess, matrix[split.train], seed)
    numbers, codes = vectors[:, :d], vectors[:, d:].astype(int)
    best: tuple[float, TableDensity, int] | None = None
    for parts in PARTS:
        if best is not None and parts * (d + 1) > len(vectors) / 2:
            break
        found: Any = GaussianMixture(parts, reg_covar=_RIDGE, max_iter=100, random_state=seed)
        found.fit(numbers)
        shares = found.predict_proba(numbers)
        model = MixtureRows(
            jnp.asarray(np.log(found.weights_), jnp.float32),
            jnp.asarray(found.means_, jnp.float32),
            jnp.asarray(np.swapaxes(found.precisions_cholesky_, 1, 2), jnp.float32),
            tuple(_frequencies(preprocess, shares, codes)),
        )
        density = _of_table(model, preprocess)
        value = _choosing(density, matrix, split)
        if best is not None and value <= best[0]:
            break
        best = value, density, parts
    if best is None:
        raise InputError("there are no training rows", "Gaussian mixture")
    return best[1], f"{best[2]} part{'s' if best[2] > 1 else ''}"


def kernel_mixture(
    preprocess: Preprocess, matrix: np.ndarray, split: Split, seed: int
) -> tuple[TableDensity, str]:
    """Return the kernel density whose bandwidth has the best validation log-likelihood.

    Args:
        preprocess: the map to the model's units, fitted to the training rows.
        matrix: encoded rows `(n, columns)`, complete.
        split: which of them train, and which choose.
        seed: of the centres, where there are more rows than centres, and of the dequantisation.

    Returns:
        The density, and its bandwidth in words.
    """
    schema = preprocess.schema
    levels = tuple(len(schema.columns[j].levels) for j in schema.categorical)
    start = kernel_rows(_spread(preprocess, matrix[split.train], seed), levels, seed)
    tried = []
    for width in WIDTHS if len(preprocess.mean) else (1.0,):
        log_width = start.log_bandwidth + float(np.log(width))
        model = eqx.tree_at(lambda kernel: kernel.log_bandwidth, start, log_width)
        density = _of_table(model, preprocess)
        tried.append((_choosing(density, matrix, split), density, float(np.exp(log_width))))
    _, density, bandwidth = max(tried, key=lambda one: one[0])
    return density, f"bandwidth {bandwidth:.2g} sd" if len(preprocess.mean) else ""


BASELINES: dict[str, Fit] = {
    "Gaussian": gaussian_density,
    "Gaussian mixture": mixture_density,
    "kernel density": kernel_mixture,
}
"""Name → how it is fitted, the simplest first."""


def _of_table(model: Any, preprocess: Preprocess) -> TableDensity:
    """Return the density of a table with this one member."""
    one = eqx.filter_vmap(lambda member: member, axis_size=1, in_axes=None)(model)
    return TableDensity(one, preprocess)


def _spread(preprocess: Preprocess, matrix: np.ndarray, seed: int) -> np.ndarray:
    """Return the model's vectors `(n, D + k)`, float64, each number spread over its cell."""
    vectors = preprocess.forward(matrix).astype(np.float64)
    d = len(preprocess.mean)
    u = np.random.default_rng([seed, len(matrix)]).random((len(matrix), d)) - 0.5
    vectors[:, :d] += preprocess.noise * u
    return vectors


def _frequencies(preprocess: Preprocess, shares: np.ndarray, codes: np.ndarray) -> list[Any]:
    """Return log f_kj `(K, L_j)` of each categorical column, smoothed by one row in all."""
    tables = []
    for at, j in enumerate(preprocess.schema.categorical):
        n_levels = len(preprocess.schema.columns[j].levels)
        counts = shares.T @ np.eye(n_levels)[codes[:, at]] + 1.0 / n_levels
        tables.append(jnp.asarray(np.log(counts / counts.sum(axis=1, keepdims=True)), jnp.float32))
    return tables


def _choosing(density: TableDensity, matrix: np.ndarray, split: Split) -> float:
    """Return the mean log-likelihood of (at most 1,000) validation rows, nats."""
    return float(np.mean(density.log_prob(matrix[split.validation[:_CHOOSING_ROWS]])[0]))
