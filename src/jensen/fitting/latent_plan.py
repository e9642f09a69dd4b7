r"""What a table's latent-variable model is built on, read from the training rows before training.

Every column gets an observation by its type (`jensen.data.kinds`), or the one that is asked for.
Counts and bits keep their units, grey levels that become bits are brought to [0, 1], other numbers
are standardised. An image keeps the pixels that never vary in training: they are modelled like the
others, since a new image may light them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jensen._errors import InputError
from jensen.data.kinds import TYPES, statistical_types
from jensen.data.preprocess import Preprocess, fit_preprocess
from jensen.data.schema import Schema
from jensen.fitting.family import Arrays, preprocess_arrays, preprocess_of
from jensen.fitting.latent_options import LatentOptions
from jensen.models.columns import RAW, Columns, columns_for
from jensen.nn.features import Features

_TYPE_OF = {
    "gaussian": "real",
    "student-t": "real",
    "bernoulli": "binary",
    "poisson": "count",
    "logistic": "ordinal",
}


@dataclass(frozen=True)
class Plan:
    """The columns of a table as a latent-variable model takes them.

    Args:
        preprocess: the map to the model's units.
        types: the statistical type of each column.
        support: least and largest possible value of each column, `(2, columns)`.
        ends: least and largest value of each numeric column among the training rows `(2, D)`.
        missing: whether training rows have missing cells.
        options: with every choice made.
    """

    preprocess: Preprocess
    types: tuple[str, ...]
    support: np.ndarray
    ends: np.ndarray
    missing: bool
    options: LatentOptions

    @property
    def schema(self) -> Schema:
        """The columns of the table."""
        return self.preprocess.schema

    def columns(self) -> Columns:
        """Return the observation of the columns, as it is before training."""
        preprocess, options = self.preprocess, self.options
        if options.binarise != "none":  # bits have no units, whatever those of grey levels are
            n = len(preprocess.mean)
            preprocess = replace(preprocess, mean=np.zeros(n), scale=np.ones(n))
        return columns_for(
            self.types,
            preprocess,
            real="student-t" if options.likelihood == "student-t" else "gaussian",
            scale=options.scale,
            value=options.scale_value,
            low=self.support[0],
            high=self.support[1],
        )

    def features(self) -> Features:
        """Return what the encoder sees."""
        schema = self.schema
        levels = tuple(len(schema.columns[j].levels) for j in schema.categorical)
        counts = tuple(i for i, j in enumerate(schema.continuous) if self.types[j] == "count")
        return Features(len(schema.continuous), levels, self.missing, counts)

    def arrays(self) -> Arrays:
        """Return all that it holds but the options, by name."""
        return {
            **preprocess_arrays(self.preprocess),
            "plan.types": np.array([TYPES.index(kind) for kind in self.types]),
            "plan.support": self.support,
            "plan.ends": self.ends,
            "plan.missing": np.array([self.missing]),
        }


def plan_of(arrays: Arrays, schema: Schema, options: LatentOptions) -> Plan:
    """Return the plan of these arrays.

    Raises:
        KeyError: if an array is missing.
        ValueError: if they are of other columns.
    """
    schema = whole_image(schema)
    return Plan(
        preprocess_of(arrays, schema),
        tuple(TYPES[i] for i in arrays["plan.types"]),
        arrays["plan.support"],
        arrays["plan.ends"],
        bool(arrays["plan.missing"][0]),
        options,
    )


def plan_for(schema: Schema, matrix: np.ndarray, options: LatentOptions) -> Plan:
    """Return the plan of a table, read from its training rows.

    Args:
        schema: the table's columns.
        matrix: encoded training rows `(n, columns)`; NaN where a cell is missing.
        options: with every choice made.

    Raises:
        InputError: for a likelihood or a binarisation that does not suit the columns.
    """
    schema = whole_image(schema)
    types = types_of(schema, matrix, options.likelihood)
    numbers = matrix[:, list(schema.continuous)]
    ends = np.stack([np.nanmin(numbers, axis=0), np.nanmax(numbers, axis=0)])
    return Plan(
        _preprocess(schema, matrix, types, options),
        types,
        _support(schema, matrix),
        ends,
        bool(np.isnan(matrix).any()),
        options,
    )


def whole_image(schema: Schema) -> Schema:
    """Return the schema with the constant pixels of an image as whole numbers like the others."""
    if schema.shape is None or len(schema.shape) < 2:
        return schema
    columns = tuple(
        replace(column, kind="integer", step=1.0, value=None)
        if column.kind == "constant" and not isinstance(column.value, str)
        else column
        for column in schema.columns
    )
    return replace(schema, columns=columns)


def types_of(schema: Schema, matrix: np.ndarray, likelihood: str) -> tuple[str, ...]:
    """Return the statistical type of every column, those of numbers as the likelihood asks.

    Raises:
        InputError: for a grid's likelihood of a column that is on no grid.
    """
    types = statistical_types(schema, matrix)
    if likelihood == "auto":
        return types
    asked = _TYPE_OF[likelihood]
    if asked == "ordinal":
        for j in schema.continuous:
            if not schema.columns[j].step > 0:
                raise InputError(
                    f"column {schema.names[j]!r} is not on a grid",
                    "likelihood=logistic",
                    "use likelihood=gaussian, or auto",
                )
    return tuple(asked if j in schema.continuous else kind for j, kind in enumerate(types))


def check_support(
    observation: Columns, vectors: np.ndarray, matrix: np.ndarray, schema: Schema
) -> None:
    """Raise InputError naming the column and the value of a cell that the likelihood cannot give.

    Args:
        observation: of the columns.
        vectors: rows in the model's units `(n, D + k)`.
        matrix: the same rows, encoded.
        schema: their columns.
    """
    wrong = ~observation.possible(vectors)
    if not wrong.any():
        return
    row, place = np.argwhere(wrong)[0]
    column = [*schema.continuous, *schema.categorical][place]
    raise InputError(
        f"column {schema.names[column]!r} holds {matrix[row, column]:g}, which its likelihood "
        "gives no probability",
        f"row {row + 1}",
        "choose another likelihood (auto picks one by each column's values); bits of grey levels "
        "are made by binarise=dynamic, static or threshold",
    )


def _preprocess(
    schema: Schema, matrix: np.ndarray, types: tuple[str, ...], options: LatentOptions
) -> Preprocess:
    """Return the preprocessing: counts and bits keep their units, grey levels become [0, 1]."""
    raw = [j for j in schema.continuous if types[j] in RAW]
    preprocess = fit_preprocess(schema, matrix, raw)
    if options.binarise == "none":
        return preprocess
    numbers = matrix[:, list(schema.continuous)]
    low, high = min(float(np.nanmin(numbers)), 0.0), float(np.nanmax(numbers))
    if low < 0:
        raise InputError(
            f"the smallest grey level is {low:g}", f"binarise={options.binarise}", "start at 0"
        )
    return replace(preprocess, scale=np.full(len(preprocess.scale), high))


def _support(schema: Schema, matrix: np.ndarray) -> np.ndarray:
    """Return the least and largest possible value of each column `(2, columns)`, ±inf for none.

    Grids whose values are never below 0 end there; the grey levels of an image also at the largest.
    """
    low = np.where(np.nanmin(matrix, axis=0) >= 0, 0.0, -np.inf)
    high = np.full(matrix.shape[1], np.inf)
    if schema.shape is not None and len(schema.shape) > 1:
        high[:] = np.nanmax(matrix)
    return np.stack([low, high])
