r"""Fitting a table: the recipe (what a user can set), and the run of the engine it stands for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError, nearest
from jensen.data.preprocess import Preprocess, fit_preprocess, whitening
from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.config import Optimisation, Training
from jensen.engine.progress import Report, silent
from jensen.engine.run import Game, Result, train
from jensen.models.families import FlowInit, FlowOptions, chosen_for, read_value
from jensen.models.table import TableDensity
from jensen.objectives.likelihood import Mean, NegativeLogProb

MODELS = ("flow",)


@dataclass(frozen=True)
class Recipe:
    """All that a user can set of a fit.

    Args:
        options: the model.
        training: its optimisation, evaluation and stopping.
    """

    options: FlowOptions = field(default_factory=FlowOptions)
    training: Training = field(default_factory=Training)

    @staticmethod
    def names() -> dict[str, Any]:
        """Return every setting's name and default."""
        parts = (FlowOptions, Training, Optimisation)
        known = {f.name: f.default for part in parts for f in fields(part)}
        return {name: default for name, default in known.items() if name != "optimisation"}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Recipe:
        """Return the recipe with the given settings, text or values, and defaults elsewhere.

        Raises:
            InputError: for an unknown name (the nearest is suggested) or a value out of range.

        Example:
            >>> Recipe.from_settings({"bins": "16", "epochs": 3}).options.bins
            16
        """
        known = cls.names()
        values = {}
        for name, value in settings.items():
            if name not in known:
                raise InputError(
                    f"unknown option {name!r}{nearest(name, known)}",
                    "--set",
                    f"choose one of {', '.join(known)}",
                )
            values[name] = read_value(name, value, known[name])

        def chosen(part: type) -> dict[str, Any]:
            return {f.name: values[f.name] for f in fields(part) if f.name in values}

        training = replace(
            Training(),
            **chosen(Training),
            optimisation=replace(Optimisation(), **chosen(Optimisation)),
        )
        return cls(replace(FlowOptions(), **chosen(FlowOptions)), training)

    def chosen_for(self, n_rows: int) -> Recipe:
        """Return the recipe with every open choice made for `n_rows` training rows."""
        return replace(self, options=chosen_for(self.options, n_rows))

    def to_settings(self) -> dict[str, Any]:
        """Return every setting, as plain data; `from_settings` gives the recipe back."""
        training = asdict(self.training)
        return {**asdict(self.options), **training.pop("optimisation"), **training}


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
    recipe = recipe.chosen_for(len(split.train))
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
