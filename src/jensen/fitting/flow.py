r"""Flows: the run of the engine that fits one, and what is read from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.data.preprocess import Preprocess, fit_preprocess
from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.config import Optimisation, Training
from jensen.engine.progress import Report, silent
from jensen.engine.run import Game, Result, train
from jensen.engine.state import initial_players, member_keys, steps_per_epoch
from jensen.fitting.density import (
    DensityFit,
    beside_arrays,
    calibrated,
    density_figures,
    with_beside,
)
from jensen.fitting.family import (
    Arrays,
    Family,
    arrays_of,
    filled,
    preprocess_arrays,
    preprocess_of,
)
from jensen.fitting.images import (
    are_images,
    grey_levels,
    image_init,
    image_preprocess,
    image_skeleton,
    level_counts,
    pixel_columns,
)
from jensen.fitting.recipe import Recipe
from jensen.models.families import IMAGES, FlowInit, FlowOptions, chosen_for
from jensen.models.margins import Start, no_change, start_of
from jensen.models.table import TableDensity
from jensen.objectives.flow_matching import FlowMatching
from jensen.objectives.likelihood import DequantisedLoss, Mean, NegativeLogProb

Loss = NegativeLogProb | FlowMatching | DequantisedLoss
MATCHING_STEPS = 30_000
"""Steps of flow matching, about."""

MATCHING = Training(optimisation=Optimisation(learning_rate=2e-3, ema=0.999), evaluate_every=200)
"""Training by flow matching: its loss is noisy and falls slowly for long."""

_VALIDATION_DRAWS = 8  # times of each row, the same at every evaluation


def flow_recipe(settings: dict[str, Any]) -> Recipe:
    """Return the recipe of a flow with these settings.

    Args:
        settings: name → value, text or not.

    Raises:
        InputError: for an unknown name or a value out of range.

    Example:
        >>> flow_recipe({"architecture": "continuous"}).training.optimisation.learning_rate
        0.002
    """
    how = {name: settings[name] for name in ("architecture", "objective") if name in settings}
    matched = Recipe.from_settings(how).options.matched
    return Recipe.from_settings(settings, Recipe(training=MATCHING) if matched else None)


def flow_init(recipe: Recipe, schema: Schema, start: Start) -> FlowInit:
    """Return how the flow of a table begins."""
    return FlowInit(
        jnp.asarray(start.whiten, jnp.float32), start.margins, recipe.options, table_levels(schema)
    )


def table_levels(schema: Schema) -> tuple[int, ...]:
    """Return the number of levels of each categorical column."""
    return tuple(len(schema.columns[i].levels) for i in schema.categorical)


def settled(recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
    """Return the recipe with every open choice made for `n_rows` training rows.

    Flow matching makes about `MATCHING_STEPS` steps, for they are short and each sees few times.
    """
    n_columns = len(schema.continuous) + len(schema.categorical)
    recipe = replace(recipe, options=chosen_for(recipe.options, n_rows, n_columns))
    if not recipe.options.matched:
        return recipe
    training = recipe.training
    per_epoch = steps_per_epoch(n_rows, training.optimisation.batch_size)
    epochs = training.epochs or min(max(MATCHING_STEPS // per_epoch, 5), 2000)
    return replace(recipe, training=replace(training, epochs=epochs))


def fit_table(
    schema: Schema,
    matrix: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    split: Split,
    checkpoints: Checkpoints | None = None,
    report: Report = silent,
) -> tuple[TableDensity, Result]:
    """Fit a flow to the training rows of a table.

    Args:
        schema: the table's columns.
        matrix: encoded rows `(n, columns)`.
        recipe: model and training; open choices are made for the training rows.
        seed: randomness of the initial weights, the data order and the dequantisation.
        split: which rows train and which decide when to stop.
        checkpoints: where to keep the state, or None.
        report: called with the progress.

    Returns:
        The trained density, and the engine's result.

    Raises:
        DivergedError: if training leaves the finite numbers.
    """
    recipe = settled(recipe, schema, len(split.train))
    rows, held = matrix[split.train], matrix[split.validation]
    images = recipe.options.architecture == IMAGES
    preprocess = image_preprocess(schema, rows) if images else fit_preprocess(schema, rows)
    vectors, looks = preprocess.forward(rows), preprocess.forward(held)
    if images:
        counts = level_counts(rows, grey_levels(schema, matrix))
        init = image_init(recipe.options, schema, counts)
    else:
        start = start_of(preprocess, vectors, looks, recipe.options.margins or 0)
        init = flow_init(recipe, schema, start)
    loss, validate = _losses(recipe.options, preprocess)
    game = Game(init=init, objective=Mean(loss), validate=validate)
    result = train(
        game,
        vectors,
        looks,
        recipe.training,
        seed=seed,
        members=recipe.options.members or 1,
        checkpoints=checkpoints,
        report=report,
    )
    density = TableDensity(result.players[0], preprocess, recipe.options.blur)
    if recipe.options.matched:
        density = _better_of(density, _at_start(game, density), held)
    return density, result


def _at_start(game: Game, density: TableDensity) -> TableDensity:
    """Return the density with which training began, or one like it: before its first step."""
    n_members = jax.tree.leaves(eqx.filter(density.members, eqx.is_array))[0].shape[0]
    return replace(density, members=initial_players(game.init, member_keys(0, n_members))[0])


def _better_of(density: TableDensity, start: TableDensity, rows: np.ndarray) -> TableDensity:
    """Return the density whose mean log p of encoded validation rows is higher.

    What flow matching lowers is no bound of log p: this keeps a flow from ending worse than the
    Gaussian at which it starts.
    """
    end, first = (np.mean(d.log_prob(rows)[0]) for d in (density, start))
    return start if first > end else density


def _losses(options: FlowOptions, preprocess: Preprocess) -> tuple[Loss, Loss]:
    """Return the per-example losses that training minimises and that validation measures."""
    if options.dequantisation == "variational":
        return DequantisedLoss(), DequantisedLoss()
    step, blur = _noise(preprocess, options.blur)
    if not options.matched:
        dropout = options.dropout or 0.0
        return NegativeLogProb(step, blur, dropout), NegativeLogProb(step, blur)
    return FlowMatching(step, blur), FlowMatching(step, blur, _VALIDATION_DRAWS)


def _noise(preprocess: Preprocess, blur: float) -> list[jnp.ndarray | None]:
    """Return resolution and blur `(D + k,)` of the model's vectors, None where 0 throughout."""
    n_codes = len(preprocess.schema.categorical)
    each = preprocess.noise, np.full(len(preprocess.mean), blur)
    return [
        jnp.asarray(np.pad(noise, (0, n_codes)), jnp.float32) if noise.any() else None
        for noise in each
    ]


class FlowFamily(Family):
    """Flows, with a Gaussian beside them and calibrated scores."""

    @property
    def takes_missing(self) -> bool:
        """No: a flow's density is that of whole rows."""
        return False

    def recipe(self, settings: dict[str, Any]) -> Recipe:
        """Return the recipe of a flow, trained by likelihood or by flow matching."""
        return flow_recipe(settings)

    def columns(self, schema: Schema, recipe: Recipe) -> Schema:
        """Return the columns, every pixel a whole number where an image flow is to be fitted.

        Raises:
            InputError: if an image flow is asked for and the rows are no images of grey levels.
        """
        chosen = recipe.options.architecture
        images = chosen == IMAGES or (chosen is None and are_images(schema))
        return pixel_columns(schema) if images else schema

    def chosen_for(self, recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
        """Return the recipe with the architecture and the size of the flow chosen."""
        options = recipe.options
        if options.architecture is None and are_images(schema):
            recipe = replace(recipe, options=replace(options, architecture=IMAGES))
        return settled(recipe, schema, n_rows)

    def adaptations(self, recipe: Recipe, n_rows: int) -> list[str]:
        """Return nothing: a flow takes any batch."""
        return []

    def check(self, schema: Schema, matrix: np.ndarray, recipe: Recipe, split: Split) -> None:
        """Accept any table, and images of grey levels that can be counted.

        Raises:
            InputError: for negative grey levels, or too many.
        """
        if recipe.options.architecture == IMAGES:
            grey_levels(schema, matrix)

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
    ) -> tuple[DensityFit[TableDensity], Result]:
        """Return the flow, its baseline and its calibration."""
        density, result = fit_table(
            schema,
            matrix,
            recipe,
            seed=seed,
            split=split,
            checkpoints=checkpoints,
            report=report,
        )
        standard = density.preprocess
        if recipe.options.architecture == IMAGES:
            standard = fit_preprocess(schema, matrix[split.train])
        return calibrated(density, standard, matrix, split), result

    def arrays(self, model: DensityFit[TableDensity]) -> Arrays:
        """Return the weights, the preprocessing, the baseline and the calibration scores."""
        return {
            **arrays_of("model", model.density.members),
            **preprocess_arrays(model.preprocess),
            **beside_arrays(model),
        }

    def load(self, arrays: Arrays, schema: Schema, recipe: Recipe) -> DensityFit[TableDensity]:
        """Return the flow, its baseline and its calibration."""
        preprocess = preprocess_of(arrays, schema)
        if recipe.options.architecture == IMAGES:
            init = image_skeleton(recipe.options, schema, arrays)
        else:
            whiten, bins = arrays["baseline.whiten"], recipe.options.margins or 0
            start = Start(whiten, no_change(len(whiten), bins) if bins and len(whiten) else None)
            init = flow_init(recipe, schema, start)
        keys = jax.random.split(jax.random.key(0), recipe.options.members or 1)
        skeleton = eqx.filter_eval_shape(
            lambda k: eqx.filter_vmap(lambda key: init(key)[0])(k), keys
        )
        members = filled("model", skeleton, arrays)
        return with_beside(TableDensity(members, preprocess, recipe.options.blur), arrays)

    def figures(
        self, model: DensityFit[TableDensity], matrix: np.ndarray, split: Split, seed: int
    ) -> dict[str, Any]:
        """Return the log-likelihood of (at most 5,000) training rows and of the validation rows."""
        return density_figures(model, matrix, split)
