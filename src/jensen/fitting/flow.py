r"""Flows: the run of the engine that fits one, and what is read from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.anomaly.calibrate import Conformal
from jensen.data.preprocess import Preprocess, fit_preprocess, whitening
from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.engine.run import Game, Result, train
from jensen.evaluation.likelihood import Gaussian, fit_gaussian, mean_and_error
from jensen.fitting.family import (
    Arrays,
    Family,
    arrays_of,
    filled,
    preprocess_arrays,
    preprocess_of,
)
from jensen.fitting.recipe import Recipe
from jensen.models.families import FlowInit, chosen_for
from jensen.models.table import TableDensity
from jensen.objectives.likelihood import Mean, NegativeLogProb

_TRAIN_ROWS = 5000  # whose log-likelihood is stated


@dataclass(frozen=True)
class FlowFit:
    """A fitted flow and what is read from it.

    Args:
        density: the trained model in data units.
        baseline: the Gaussian fitted to the same rows.
        conformal: the calibrated scores.
    """

    density: TableDensity
    baseline: Gaussian
    conformal: Conformal

    @property
    def preprocess(self) -> Preprocess:
        """The map between the table's units and the model's."""
        return self.density.preprocess


def flow_init(recipe: Recipe, schema: Schema, whiten: np.ndarray) -> FlowInit:
    """Return how the flow of a table begins."""
    levels = tuple(len(schema.columns[i].levels) for i in schema.categorical)
    return FlowInit(jnp.asarray(whiten, jnp.float32), recipe.options, levels)


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
    recipe = replace(recipe, options=chosen_for(recipe.options, len(split.train)))
    preprocess = fit_preprocess(schema, matrix[split.train])
    vectors = preprocess.forward(matrix[split.train])
    loss = NegativeLogProb(_noise(preprocess))
    game = Game(
        init=flow_init(recipe, schema, whitening(preprocess, vectors)),
        objective=Mean(loss),
        validate=loss,
    )
    result = train(
        game,
        vectors,
        preprocess.forward(matrix[split.validation]),
        recipe.training,
        seed=seed,
        members=recipe.options.members or 1,
        checkpoints=checkpoints,
        report=report,
    )
    return TableDensity(result.players[0], preprocess), result


def _noise(preprocess: Preprocess) -> jnp.ndarray | None:
    """Return the resolution `(D + k,)` of the model's vectors, or None where it is 0 throughout."""
    if not preprocess.dequantised:
        return None
    n_codes = len(preprocess.schema.categorical)
    return jnp.asarray(np.pad(preprocess.noise, (0, n_codes)), jnp.float32)


class FlowFamily(Family):
    """Flows, with a Gaussian beside them and calibrated scores."""

    def start(self) -> Recipe:
        """Return the default recipe."""
        return Recipe()

    def chosen_for(self, recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
        """Return the recipe with the size of the flow chosen."""
        return replace(recipe, options=chosen_for(recipe.options, n_rows))

    def adaptations(self, recipe: Recipe, n_rows: int) -> list[str]:
        """Return nothing: a flow takes any batch."""
        return []

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
    ) -> tuple[FlowFit, Result]:
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
        scores, _ = density.log_prob(matrix[split.calibration])
        baseline = fit_gaussian(density.preprocess, matrix[split.train])
        return FlowFit(density, baseline, Conformal(scores)), result

    def arrays(self, model: FlowFit) -> Arrays:
        """Return the weights, the preprocessing, the baseline and the calibration scores."""
        tables = enumerate(model.baseline.frequencies)
        return {
            **arrays_of("model", model.density.members),
            **preprocess_arrays(model.preprocess),
            "baseline.whiten": model.baseline.whiten,
            **{f"baseline.frequencies.{i}": table for i, table in tables},
            "calibration.scores": model.conformal.scores,
        }

    def load(self, arrays: Arrays, schema: Schema, recipe: Recipe) -> FlowFit:
        """Return the flow, its baseline and its calibration."""
        preprocess = preprocess_of(arrays, schema)
        whiten = arrays["baseline.whiten"]
        init = flow_init(recipe, schema, whiten)
        keys = jax.random.split(jax.random.key(0), recipe.options.members or 1)
        skeleton = eqx.filter_eval_shape(
            lambda k: eqx.filter_vmap(lambda key: init(key)[0])(k), keys
        )
        members = filled("model", skeleton, arrays)
        tables = [arrays[f"baseline.frequencies.{i}"] for i in range(len(schema.categorical))]
        return FlowFit(
            TableDensity(members, preprocess),
            Gaussian(preprocess, whiten, tuple(tables)),
            Conformal(arrays["calibration.scores"]),
        )

    def figures(
        self, model: FlowFit, matrix: np.ndarray, split: Split, seed: int
    ) -> dict[str, Any]:
        """Return the log-likelihood of (at most 5,000) training rows and of the validation rows."""
        density, baseline = model.density, model.baseline
        train_mean, _ = mean_and_error(density.log_prob(matrix[split.train[:_TRAIN_ROWS]])[0])
        log_prob, _ = density.log_prob(matrix[split.validation])
        mean, error = mean_and_error(log_prob)
        base = baseline.log_prob(matrix[split.validation])
        base_mean, base_error = mean_and_error(base)
        _, difference = mean_and_error(log_prob - base)
        return {
            "train": {"log_prob": train_mean, "kind": density.kind},
            "validation": {"log_prob": mean, "se": error, "kind": density.kind, "n": len(log_prob)},
            "baseline": {"log_prob": base_mean, "se": base_error, "difference_se": difference},
        }
