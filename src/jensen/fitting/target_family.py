r"""The family `target`: flows fitted to an unnormalised density, as run folders keep them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen.data.preprocess import Preprocess
from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.engine.run import Result
from jensen.evaluation.likelihood import mean_and_error
from jensen.evaluation.target import Chains
from jensen.fitting.family import (
    Arrays,
    Family,
    arrays_of,
    filled,
    preprocess_arrays,
    preprocess_of,
)
from jensen.fitting.recipe import Recipe
from jensen.fitting.target import fit_density, found_by_search, judged
from jensen.fitting.target_options import default_recipe
from jensen.models.families import FlowInit
from jensen.models.table import TableDensity
from jensen.objectives.reverse import LogDensity

_WHITEN = "start.whiten"


@dataclass(frozen=True)
class TargetModel:
    """A flow fitted to a density, as a run folder keeps it.

    Args:
        density: the flow in the density's own units.
        whiten: `(D, D)`, the linear map that it started as.
    """

    density: TableDensity
    whiten: np.ndarray

    @property
    def preprocess(self) -> Preprocess:
        """The map between the density's units and the flow's."""
        return self.density.preprocess


@dataclass(frozen=True)
class TargetFamily(Family):
    """Flows fitted to an unnormalised density.

    Args:
        log_density: log p̃ of one x `(D,)`; None where runs are only read.
        check_chains: the chains that judge the fit.
        draws: of the flow, for log Z.
    """

    log_density: LogDensity | None = None
    check_chains: Chains | None = None
    draws: int = 20_000

    @property
    def takes_missing(self) -> bool:
        """No: a density is that of a whole x."""
        return False

    def recipe(self, settings: dict[str, Any]) -> Recipe:
        """Return the recipe of a flow fitted to a density."""
        return Recipe.from_settings(settings, default_recipe())

    def columns(self, schema: Schema, recipe: Recipe) -> Schema:
        """Return the table's columns as they are."""
        return schema

    def chosen_for(self, recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
        """Return the recipe as it is."""
        return recipe

    def adaptations(self, recipe: Recipe, n_rows: int) -> list[str]:
        """Return nothing."""
        return []

    def check(self, schema: Schema, matrix: np.ndarray, recipe: Recipe, split: Split) -> None:
        """Raise unless there is a density: rows are no target."""
        self._given()

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
    ) -> tuple[TargetModel, Result]:
        """Return the flow fitted to the density; the rows are not read."""
        log_density, _ = self._given()
        chains = found_by_search(log_density, recipe.options, seed)
        density, whiten, result = fit_density(
            log_density,
            schema,
            chains,
            recipe,
            seed=seed,
            checkpoints=checkpoints,
            report=report,
        )
        return TargetModel(density, whiten), result

    def arrays(self, model: TargetModel) -> Arrays:
        """Return the weights, the units and the linear map at the start."""
        return {
            **arrays_of("model", model.density.members),
            **preprocess_arrays(model.preprocess),
            _WHITEN: model.whiten,
        }

    def load(self, arrays: Arrays, schema: Schema, recipe: Recipe) -> TargetModel:
        """Return the flow."""
        whiten = arrays[_WHITEN]
        init = FlowInit(jnp.asarray(whiten, jnp.float32), None, recipe.options.flow(), ())
        skeleton = eqx.filter_eval_shape(
            lambda k: eqx.filter_vmap(lambda key: init(key)[0])(k),
            jax.random.split(jax.random.key(0), 1),
        )
        members = filled("model", skeleton, arrays)
        return TargetModel(TableDensity(members, preprocess_of(arrays, schema)), whiten)

    def figures(
        self, model: TargetModel, matrix: np.ndarray, split: Split, seed: int
    ) -> dict[str, Any]:
        """Return log q of the flow's own draws and of the chains' points, and the certificate."""
        log_density, check = self._given()
        certificate = judged(log_density, model.density, check, self.draws, seed)
        rows = matrix[split.validation]
        own, _ = mean_and_error(model.density.log_prob(model.density.sample(len(rows), seed))[0])
        mean, error = mean_and_error(model.density.log_prob(rows)[0])
        return {
            "train": {"log_prob": own, "kind": model.density.kind},
            "validation": {
                "log_prob": mean,
                "se": error,
                "kind": model.density.kind,
                "n": len(rows),
            },
            **certificate.to_dict(),
        }

    def _given(self) -> tuple[LogDensity, Chains]:
        """Return the density and its chains."""
        if self.log_density is None or self.check_chains is None:
            raise InputError(
                "a target is a density, not a table of rows",
                "--model target",
                "give --density path.py:log_density in place of DATA",
            )
        return self.log_density, self.check_chains
