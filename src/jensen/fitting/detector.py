r"""Detectors: a flow and a kernel density of the same rows, pooled into one score.

The flow is that of slightly blurred rows (`FlowOptions.blur`), the kernel density keeps the
training and validation rows; its bandwidth maximises the likelihood of each row under the others.
No label of the user's is asked for. See `jensen.models.pool` for the score.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.engine.run import Result
from jensen.engine.state import steps_per_epoch
from jensen.fitting.density import DensityFit, calibrated, density_figures
from jensen.fitting.family import Arrays, Family
from jensen.fitting.flow import FlowFamily, fit_table, table_levels
from jensen.fitting.recipe import Recipe
from jensen.models.families import FlowOptions
from jensen.models.kernel import CENTRES, KernelRows, kernel_rows
from jensen.models.pool import TablePool

BLUR = 0.2
"""Blur of the flow, in standard deviations; chosen by hand, on labelled benchmark tables."""

STEPS = 2500
"""Steps of the flow, about."""

WIDE = 64
"""Numeric columns up to which the flow makes them all."""

_KERNEL = ("centres", "log_bandwidth", "changed")


LARGE = 6000
"""Training rows from which speed counts: one flow of 4 bins in place of two of 8, half the kernels.

Nearly three times as many rows a second; at most 0.2 points of AUROC on six smaller tables."""


def detector_options() -> FlowOptions:
    """Return the options of a detector's flow: small and fast, for it is not alone."""
    return FlowOptions(
        architecture="spline-autoregressive",
        n_layers=2,
        width=64,
        members=None,
        bins=None,
        blur=BLUR,
        margins=0,
        dropout=0.0,
    )


def settled(recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
    """Return the recipe with what is open of size and length chosen for `n_rows` training rows.

    About `STEPS` steps, fewer by 1/D² beyond `WIDE` columns, for that is how the cost of a step
    grows; a flow that is hardly trained is close to the Gaussian at which it starts.

    Example:
        >>> from jensen.data.schema import read
        >>> from jensen.data.source import open_table
        >>> schema, rows = read(open_table("iris"))
        >>> recipe = settled(Recipe(options=detector_options()), schema, 10_000)
        >>> recipe.training.epochs, recipe.options.members, recipe.options.bins
        (63, 1, 4)
    """
    light = n_rows >= LARGE
    options = replace(
        recipe.options,
        members=recipe.options.members or (1 if light else 2),
        bins=recipe.options.bins or (4 if light else 8),
    )
    recipe = replace(recipe, options=options)
    if recipe.training.epochs is not None:
        return recipe
    wide = max(len(schema.continuous) / WIDE, 1.0)
    per_epoch = steps_per_epoch(n_rows, recipe.training.optimisation.batch_size)
    epochs = min(max(math.ceil(STEPS / wide**2 / per_epoch), 1), 400)
    return replace(recipe, training=replace(recipe.training, epochs=epochs))


def fit_pool(
    schema: Schema,
    matrix: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    split: Split,
    checkpoints: Checkpoints | None = None,
    report: Report = silent,
    crowd: float = 0.0,
) -> tuple[TablePool, Result]:
    """Fit a flow and a kernel density to the rows of a table; arguments as `fit_table`.

    `crowd` is the share of training rows near a row that do not count, see `jensen.models.kernel`.

    Returns:
        The pool, and the engine's result for the flow.
    """
    recipe = settled(recipe, schema, len(split.train))
    flow, result = fit_table(
        schema, matrix, recipe, seed=seed, split=split, checkpoints=checkpoints, report=report
    )
    rows = np.sort(np.concatenate([split.train, split.validation]))
    centres = CENTRES // 2 if len(split.train) >= LARGE else CENTRES
    vectors = flow.preprocess.forward(matrix[rows])
    kernel = kernel_rows(vectors, table_levels(schema), seed, centres=centres, crowd=crowd)
    return TablePool.of(flow, kernel), result


class DetectorFamily(Family):
    """Detectors, with a Gaussian beside them and calibrated scores."""

    def __init__(self) -> None:
        self._flow = FlowFamily()

    @property
    def takes_missing(self) -> bool:
        """No: a flow's density is that of whole rows."""
        return False

    def recipe(self, settings: dict[str, Any]) -> Recipe:
        """Return the recipe of a detector's flow."""
        return Recipe.from_settings(settings, Recipe(detector_options()))

    def columns(self, schema: Schema, recipe: Recipe) -> Schema:
        """Return the table's columns as they are."""
        return schema

    def chosen_for(self, recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
        """Return the recipe with the size of the flow and the length of its training chosen."""
        return self._flow.chosen_for(settled(recipe, schema, n_rows), schema, n_rows)

    def adaptations(self, recipe: Recipe, n_rows: int) -> list[str]:
        """Return nothing: a detector takes any batch."""
        return []

    def check(self, schema: Schema, matrix: np.ndarray, recipe: Recipe, split: Split) -> None:
        """Accept the table: a detector takes any table that can be read."""

    def fit(
        self,
        schema: Schema,
        matrix: np.ndarray,
        recipe: Recipe,
        *,
        seed: int,
        split: Split,
        checkpoints: Checkpoints | None = None,
        report: Report = silent,
    ) -> tuple[DensityFit[TablePool], Result]:
        """Return the pool, its baseline and its calibration."""
        pool, result = fit_pool(
            schema, matrix, recipe, seed=seed, split=split, checkpoints=checkpoints, report=report
        )
        return calibrated(pool, pool.preprocess, matrix, split), result

    def arrays(self, model: DensityFit[TablePool]) -> Arrays:
        """Return the arrays of the flow's family, and those of the kernel density."""
        pool = model.density
        kernel: KernelRows = pool.kernel.members  # type: ignore[assignment]
        return {
            **self._flow.arrays(DensityFit(pool.flow, model.baseline, model.conformal)),
            **{f"kernel.{name}": np.asarray(getattr(kernel, name)) for name in _KERNEL},
        }

    def load(self, arrays: Arrays, schema: Schema, recipe: Recipe) -> DensityFit[TablePool]:
        """Return the pool, its baseline and its calibration."""
        fit = self._flow.load(arrays, schema, recipe)
        kept = [jnp.asarray(arrays[f"kernel.{name}"])[0] for name in _KERNEL]
        kernel = KernelRows(kept[0], kept[1], kept[2], table_levels(schema))
        return DensityFit(TablePool.of(fit.density, kernel), fit.baseline, fit.conformal)

    def figures(
        self, model: DensityFit[TablePool], matrix: np.ndarray, split: Split, seed: int
    ) -> dict[str, Any]:
        """Return the flow's log-likelihood of (at most 5,000) training and the validation rows."""
        return density_figures(model, matrix, split)
