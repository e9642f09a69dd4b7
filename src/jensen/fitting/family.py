r"""A family of models: what a run folder needs of one, whatever it is trained by."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import PyTree
from jensen.data.preprocess import Preprocess
from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.engine.run import Result
from jensen.fitting.recipe import Recipe

Arrays = dict[str, np.ndarray]
_PREPROCESS = ("mean", "scale", "step", "constants")


class Family(abc.ABC):
    """How a model is fitted to a table, and how it becomes arrays and comes back."""

    @property
    @abc.abstractmethod
    def takes_missing(self) -> bool:
        """Whether rows may have missing cells."""

    @abc.abstractmethod
    def recipe(self, settings: dict[str, Any]) -> Recipe:
        """Return the recipe of these settings, with the family's defaults elsewhere.

        Args:
            settings: name → value, text or not.

        Raises:
            InputError: for an unknown name or a value out of range.
        """

    @abc.abstractmethod
    def columns(self, schema: Schema, recipe: Recipe) -> Schema:
        """Return the columns as the family takes them.

        Raises:
            InputError: if the recipe is not for such columns.
        """

    @abc.abstractmethod
    def chosen_for(self, recipe: Recipe, schema: Schema, n_rows: int) -> Recipe:
        """Return the recipe with every open choice made for a table with `n_rows` training rows."""

    @abc.abstractmethod
    def adaptations(self, recipe: Recipe, n_rows: int) -> list[str]:
        """Return what is done otherwise than the recipe says, in plain words."""

    @abc.abstractmethod
    def check(self, schema: Schema, matrix: np.ndarray, recipe: Recipe, split: Split) -> None:
        """Raise InputError where `fit` would, before anything is written.

        Args:
            schema: the table's columns.
            matrix: encoded rows `(n, columns)`.
            recipe: every choice made.
            split: which rows train.
        """

    @abc.abstractmethod
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
    ) -> tuple[Any, Result]:
        """Return the model fitted to a table's rows, with all that is read from it, and the result.

        Args:
            schema: the table's columns.
            matrix: encoded rows `(n, columns)`.
            recipe: every choice made.
            seed: all randomness.
            split: which rows train, stop and calibrate.
            checkpoints: where to keep the state, or None.
            report: called with the progress.
        """

    @abc.abstractmethod
    def arrays(self, model: Any) -> Arrays:
        """Return all that the model holds, by name."""

    @abc.abstractmethod
    def load(self, arrays: Arrays, schema: Schema, recipe: Recipe) -> Any:
        """Return the model of the arrays.

        Raises:
            KeyError: if an array is missing.
            ValueError: if one has another shape.
        """

    @abc.abstractmethod
    def figures(self, model: Any, matrix: np.ndarray, split: Split, seed: int) -> dict[str, Any]:
        """Return the figures of the fitted rows: `train`, `validation` and others."""


def arrays_of(prefix: str, tree: PyTree) -> Arrays:
    """Return the arrays of a pytree by their paths.

    Example:
        >>> list(arrays_of("model", {"w": jnp.ones(2)}))
        ["model['w']"]
    """
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return {f"{prefix}{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}


def filled(prefix: str, skeleton: PyTree, arrays: Arrays) -> PyTree:
    """Return a pytree of shapes with the arrays of these names in their place.

    Raises:
        KeyError: if an array is missing.
        ValueError: if one has another shape or type.
    """

    def fill(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        name = f"{prefix}{jax.tree_util.keystr(path)}"
        array = arrays[name]
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise ValueError(f"{name} is {array.shape}, not {leaf.shape}")
        return jnp.asarray(array)

    return jax.tree_util.tree_map_with_path(fill, skeleton)


def preprocess_arrays(preprocess: Preprocess, prefix: str = "") -> Arrays:
    """Return the arrays of a preprocessing, by name."""
    return {f"{prefix}preprocess.{name}": getattr(preprocess, name) for name in _PREPROCESS}


def preprocess_of(arrays: Arrays, schema: Schema, prefix: str = "") -> Preprocess:
    """Return the preprocessing of these arrays.

    Args:
        arrays: by name.
        schema: the table's columns.
        prefix: of the names.

    Raises:
        KeyError: if an array is missing.
        ValueError: if they are of other columns.
    """
    found = Preprocess(
        **{name: arrays[f"{prefix}preprocess.{name}"] for name in _PREPROCESS}, schema=schema
    )
    if len(found.mean) != len(schema.continuous) or len(found.constants) != len(schema.constant):
        raise ValueError("the columns")
    return found
