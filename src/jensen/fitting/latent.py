r"""Latent-variable models of tables: the run of the engine that fits one, and what is read from it.

The best weights are those with the highest importance-weighted bound of 16 particles on validation
rows, whatever bound is trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.engine.run import Game, Result, train
from jensen.engine.state import steps_per_epoch
from jensen.fitting.density import (
    DensityFit,
    beside_arrays,
    calibrated,
    density_figures,
    with_beside,
)
from jensen.fitting.family import Arrays, Family, arrays_of, filled
from jensen.fitting.latent_init import latent_init
from jensen.fitting.latent_options import SMALL_TABLE, default_recipe
from jensen.fitting.latent_plan import Plan, check_support, plan_for, plan_of, whole_image
from jensen.fitting.latent_start import start_of, start_shapes
from jensen.fitting.latent_table import TableLatent, bits
from jensen.fitting.recipe import Recipe
from jensen.models.columns import Columns
from jensen.objectives.bounds import IWAE
from jensen.objectives.gradients import Reparameterised
from jensen.objectives.likelihood import Mean
from jensen.objectives.variational import HeldOutBound, NegativeBound

_STEPS, _MORE_STEPS = 4000, 8000
_DECAY, _LESS_DECAY = 0.3, 0.01
_STOPPING_PARTICLES = 16


def fit_latent(
    schema: Schema,
    matrix: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    split: Split,
    checkpoints: Checkpoints | None = None,
    report: Report = silent,
) -> tuple[TableLatent, Result]:
    """Fit a latent-variable model to the training rows of a table.

    Args:
        schema: the table's columns.
        matrix: encoded rows `(n, columns)`; NaN where a cell is missing.
        recipe: `LatentOptions` and training.
        seed: all randomness.
        split: which rows train and which decide when to stop.
        checkpoints: where to keep the state, or None.
        report: called with the progress.

    Returns:
        The trained model, and the engine's result.

    Raises:
        InputError: for values outside a likelihood's support.
        DivergedError: if training leaves the finite numbers.
    """
    recipe = chosen_for(recipe, schema, len(split.train))
    options = recipe.options
    plan, columns, vectors = _prepared(schema, matrix, recipe, seed, split)
    start = start_of(columns, plan.features(), vectors[split.train], options, seed)
    loss = NegativeBound(options.lower_bound(), options.estimator(), options.binarise == "dynamic")
    result = train(
        Game(
            init=latent_init(start, options, plan.schema.shape, options.binarise != "none"),
            objective=Mean(loss),
            validate=HeldOutBound(NegativeBound(IWAE(_STOPPING_PARTICLES), Reparameterised())),
        ),
        vectors[split.train],
        bits(vectors[split.validation], options.binarise, seed),
        recipe.training,
        seed=seed,
        checkpoints=checkpoints,
        report=report,
    )
    model = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, result.players[0])
    return TableLatent(model, plan, seed), result


def _prepared(
    schema: Schema, matrix: np.ndarray, recipe: Recipe, seed: int, split: Split
) -> tuple[Plan, Columns, np.ndarray]:
    """Return the plan of the training rows, their observation, and all rows in the model's units.

    Raises:
        InputError: for values outside a likelihood's support.
    """
    options = recipe.options
    plan = plan_for(schema, matrix[split.train], options)
    columns, vectors = plan.columns(), plan.preprocess.forward(matrix)
    if options.binarise in ("static", "threshold"):
        vectors = bits(vectors, options.binarise, seed)
    if options.binarise != "dynamic":
        check_support(columns, vectors, matrix, plan.schema)
    return plan, columns, vectors


def chosen_for(recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
    """Return the recipe with the open options, the weight decay and the number of epochs chosen.

    A small table takes about 4,000 steps, where its networks are held near zero; a larger one
    8,000. Chosen by imputed cells of iris, wine and breast-cancer, and by the swiss roll.

    Args:
        recipe: `LatentOptions` and training.
        schema: the table's columns.
        n_rows: training rows.
    """
    schema = whole_image(schema)
    levels = [len(schema.columns[j].levels) for j in schema.categorical]
    n_values = len(schema.continuous) + sum(levels)
    training, small = recipe.training, n_rows < SMALL_TABLE
    optimisation = training.optimisation
    if training.epochs is None:
        per_epoch = steps_per_epoch(n_rows, optimisation.batch_size)
        training = replace(training, epochs=-(-(_STEPS if small else _MORE_STEPS) // per_epoch))
    if optimisation.weight_decay is None:
        decay = _DECAY if small else _LESS_DECAY
        training = replace(training, optimisation=replace(optimisation, weight_decay=decay))
    return Recipe(recipe.options.chosen_for(n_values, n_rows), training)


class LatentFamily(Family):
    """Latent-variable models, with a Gaussian beside them and calibrated scores.

    Args:
        bound: the default bound, `elbo` or `iwae`.
    """

    def __init__(self, bound: str) -> None:
        self.bound = bound

    @property
    def takes_missing(self) -> bool:
        """Yes: missing cells are marginalised out."""
        return True

    def recipe(self, settings: dict[str, Any]) -> Recipe:
        """Return the recipe of a model trained by this bound."""
        return Recipe.from_settings(settings, default_recipe(self.bound))

    def columns(self, schema: Schema, recipe: Recipe) -> Schema:
        """Return the table's columns as they are."""
        return schema

    def chosen_for(self, recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
        """Return the recipe with the sizes and the number of epochs chosen."""
        return chosen_for(recipe, schema, n_rows)

    def adaptations(self, recipe: Recipe, n_rows: int) -> list[str]:
        """Return nothing: any batch will do."""
        return []

    def check(self, schema: Schema, matrix: np.ndarray, recipe: Recipe, split: Split) -> None:
        """Raise InputError for values without probability, and parts that do not go together."""
        plan, columns, _ = _prepared(schema, matrix, recipe, 0, split)
        start = start_shapes(columns, plan.features(), recipe.options)
        latent_init(start, recipe.options, plan.schema.shape, recipe.options.binarise != "none")

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
    ) -> tuple[DensityFit[TableLatent], Result]:
        """Return the model, its baseline and its calibration."""
        density, result = fit_latent(
            schema, matrix, recipe, seed=seed, split=split, checkpoints=checkpoints, report=report
        )
        standard = fit_preprocess(density.preprocess.schema, matrix[split.train])
        return calibrated(density, standard, matrix, split), result

    def arrays(self, model: DensityFit[TableLatent]) -> Arrays:
        """Return the weights, the plan, the baseline and the calibration scores."""
        density = model.density
        return {
            **arrays_of("model", density.model),
            **density.plan.arrays(),
            **beside_arrays(model),
            "seed": np.array([density.seed]),
        }

    def load(self, arrays: Arrays, schema: Schema, recipe: Recipe) -> DensityFit[TableLatent]:
        """Return the model, its baseline and its calibration."""
        plan = plan_of(arrays, schema, recipe.options)
        start = start_shapes(plan.columns(), plan.features(), recipe.options)
        init = latent_init(
            start, recipe.options, plan.schema.shape, recipe.options.binarise != "none"
        )
        skeleton = eqx.filter_eval_shape(init, jax.random.key(0))[0]
        model = filled("model", skeleton, arrays)
        return with_beside(TableLatent(model, plan, int(arrays["seed"][0])), arrays)

    def figures(
        self, model: DensityFit[TableLatent], matrix: np.ndarray, split: Split, seed: int
    ) -> dict[str, Any]:
        """Return the log-likelihood of training rows and of the validation rows."""
        return density_figures(model, matrix, split)
