r"""Observations of a table whose columns are of several types.

    p(x | η) = Π_g p_g(x_g | η_g)

One observation for each group g of columns. An example x `(D + k,)` holds D numbers, then the codes
of k categorical columns, as `data.preprocess` makes it.

Source: Nazábal et al. 2020 (arXiv:1807.03653), sec. 2.1: one likelihood per column by its type.
"""

from __future__ import annotations

from collections.abc import Iterable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError, check_name
from jensen._typing import Array, Key
from jensen.data.kinds import TYPES
from jensen.data.preprocess import Preprocess
from jensen.models.discrete import Categorical, DiscretisedLogistic, Poisson
from jensen.models.observations import Bernoulli, Gaussian, Observation, StudentT
from jensen.models.scales import scale_named

RAW = ("binary", "count")
"""The types of columns that must keep their units: m = 0 and s = 1 in the preprocessing."""

REAL = ("gaussian", "student-t")
"""The observations there are for real columns."""


class Columns(Observation):
    """Groups of columns, each with an observation of its own.

    Args:
        parts: observations, each with the places in x of the columns it is for; categorical columns
            stand behind the numbers.

    Raises:
        InputError: the places do not cover 0, …, D + k - 1 once each, or their number is not the
            observation's, or a number stands behind a code.

    Example:
        >>> mixed = Columns([(Categorical((3,)), (2,)), (Bernoulli(1), (0,)), (Gaussian(1), (1,))])
        >>> mixed.n_params
        5
        >>> log_p = mixed.log_probs(jnp.array([1.0, 0.0, 2.0]), jnp.zeros(5))
        >>> [round(float(v), 2) for v in log_p]
        [-0.69, -0.92, -1.1]
    """

    parts: tuple[Observation, ...]
    places: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(self, parts: Iterable[tuple[Observation, Iterable[int]]]) -> None:
        parts = [(part, tuple(places)) for part, places in parts]
        self.parts = tuple(part for part, _ in parts)
        self.places = tuple(places for _, places in parts)
        _check_parts(self.parts, self.places)

    @property
    def n_params(self) -> int:
        """The parameters of all parts, one part after the other."""
        return sum(part.n_params for part in self.parts)

    def _params(self, params: Array) -> list[Array]:
        ends = np.cumsum([part.n_params for part in self.parts])
        return [params[e - part.n_params : e] for part, e in zip(self.parts, ends, strict=True)]

    def _in_order(self, each: list[Array]) -> Array:
        """Return the parts' entries, one per column, in the order of x."""
        return take(jnp.concatenate(each), np.argsort(np.concatenate(self.places)))

    def log_probs(self, x: Array, params: Array) -> Array:
        """Return log p(x_d | η) `(D + k,)`, nats."""
        each = zip(self.parts, self.places, self._params(params), strict=True)
        return self._in_order([part.log_probs(take(x, at), p) for part, at, p in each])

    def sample(self, key: Key, params: Array) -> Array:
        """Return one x `(D + k,)`."""
        each = zip(
            self.parts, jax.random.split(key, len(self.parts)), self._params(params), strict=True
        )
        return self._in_order([part.sample(k, p) for part, k, p in each])

    def means(self, params: Array) -> Array:
        """Return the means of the numbers in the order of x, then the levels' probabilities."""
        each = [part.means(p) for part, p in zip(self.parts, self._params(params), strict=True)]
        widths = np.concatenate(
            [_widths(part, at) for part, at in zip(self.parts, self.places, strict=True)]
        )
        starts = np.cumsum(widths) - widths
        order = np.argsort(np.concatenate(self.places))
        spans = [int(starts[i]) + n for i in order for n in range(int(widths[i]))]
        return take(jnp.concatenate(each), spans)

    def possible(self, x: np.ndarray) -> np.ndarray:
        """Return where x can occur `(n, D + k)`; a missing cell can."""
        out = np.empty(x.shape, bool)
        for part, at in zip(self.parts, self.places, strict=True):
            out[:, list(at)] = part.possible(x[:, list(at)])
        return out

    def bias(self, x: np.ndarray) -> np.ndarray:
        """Return η `(P,)` at the frequencies and means of the rows."""
        each = zip(self.parts, self.places, strict=True)
        return np.concatenate([part.bias(x[:, list(at)]) for part, at in each])


def columns_for(
    types: Iterable[str],
    preprocess: Preprocess,
    *,
    real: str = "gaussian",
    scale: str = "per-coordinate",
    value: float = 1.0,
    floor: float = 1e-3,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
) -> Columns:
    """Return the observation of a table by the statistical types of its columns.

    Real columns get a Gaussian or a Student-t observation, ordinal ones a discretised logistic one,
    binary ones a Bernoulli, counts a Poisson and categorical ones a categorical one; constant
    columns are no part of x.

    Args:
        types: of every column of the schema, as `data.kinds.statistical_types` gives them.
        preprocess: the map from the table's units to the model's, with binary columns and counts
            left raw.
        real: one of `REAL`.
        scale: of real and ordinal columns, one of `models.scales.SCALES`.
        value: σ of these columns where it is fixed or starts, in the model's units.
        floor: least standard deviation of a real column, in the model's units.
        low: the least value of each column of the schema, `(columns,)` in the table's units, -inf
            for none; it is used for ordinal columns.
        high: the largest value, alike.

    Raises:
        InputError: an unknown type or name, or a binary column or count that is not raw.
    """
    types = tuple(types)
    schema = preprocess.schema
    check_name(real, REAL, "observation of real columns", "real")
    _check_types(types, preprocess)
    numbers, codes = list(schema.continuous), list(schema.categorical)
    of_type = {name: [i for i, j in enumerate(numbers) if types[j] == name] for name in types}
    parts: list[tuple[Observation, list[int]]] = []
    if at := of_type.get("real"):
        law = {"gaussian": Gaussian, "student-t": StudentT}[real]
        parts.append((law(len(at), scale_named(scale, len(at), value=value, floor=floor)), at))
    if at := of_type.get("ordinal"):
        bounds = (low, -np.inf), (high, np.inf)
        ends = [np.full(len(types), none) if end is None else end for end, none in bounds]
        parts.append((_grid(preprocess, at, scale, *ends), at))
    if at := of_type.get("binary"):
        parts.append((Bernoulli(len(at)), at))
    if at := of_type.get("count"):
        parts.append((Poisson(len(at)), at))
    if codes:
        levels = tuple(len(schema.columns[j].levels) for j in codes)
        parts.append((Categorical(levels), [len(numbers) + i for i in range(len(codes))]))
    return Columns(parts)


def take(values: Array, places: Iterable[int]) -> Array:
    """Return the entries at fixed places, as slices: their derivative needs no scatter.

    Example:
        >>> take(jnp.arange(5.0), (3, 4, 0)).tolist()
        [3.0, 4.0, 0.0]
    """
    at = np.asarray(tuple(places))
    breaks = np.flatnonzero(np.diff(at) != 1) + 1
    runs = np.split(at, breaks)
    slices = [values[int(run[0]) : int(run[-1]) + 1] for run in runs]
    return slices[0] if len(slices) == 1 else jnp.concatenate(slices)


def _grid(
    preprocess: Preprocess, at: list[int], scale: str, low: np.ndarray, high: np.ndarray
) -> DiscretisedLogistic:
    """Return the law of the numbers at places `at`, on their grids in the model's units."""
    mean, spread = preprocess.mean[at], preprocess.scale[at]
    columns = [preprocess.schema.continuous[i] for i in at]
    offset = np.array([preprocess.schema.columns[j].offset for j in columns])
    return DiscretisedLogistic(
        preprocess.noise[at],
        (offset - mean) / spread,
        low=(np.asarray(low, float)[columns] - mean) / spread,
        high=(np.asarray(high, float)[columns] - mean) / spread,
        scale=scale_named(scale, len(at), value=3**0.5 / np.pi),  # a standard deviation of 1
    )


def _widths(part: Observation, places: tuple[int, ...]) -> np.ndarray:
    """Return how many entries of its `means` each column of a part has."""
    return np.array(part.levels if isinstance(part, Categorical) else [1] * len(places))


def _check_parts(parts: tuple[Observation, ...], places: tuple[tuple[int, ...], ...]) -> None:
    flat = sorted(i for at in places for i in at)
    if not flat or flat != list(range(len(flat))):
        raise InputError(
            f"columns at places {flat}", "parts", "give every column from 0 on to exactly one part"
        )
    for part, at in zip(parts, places, strict=True):
        params = jnp.zeros(part.n_params)
        (n,) = jax.eval_shape(part.sample, jax.random.key(0), params).shape
        if n != len(at):
            raise InputError(
                f"{len(at)} places for an observation of {n} columns", "parts", "give one each"
            )
    codes = [
        i for p, at in zip(parts, places, strict=True) if isinstance(p, Categorical) for i in at
    ]
    if sorted(codes) != list(range(len(flat) - len(codes), len(flat))):
        raise InputError(
            f"categorical columns at places {sorted(codes)} of {len(flat)}",
            "parts",
            "put the numbers first, then the codes",
        )


def _check_types(types: tuple[str, ...], preprocess: Preprocess) -> None:
    schema = preprocess.schema
    if len(types) != len(schema.columns):
        raise InputError(
            f"{len(types)} types for {len(schema.columns)} columns", "types", "give one each"
        )
    for kind, column in zip(types, schema.columns, strict=True):
        check_name(kind, TYPES, "type", f"column {column.name!r}")
        fixed = ("categorical", "constant")
        if kind != column.kind and (kind in fixed or column.kind in fixed):
            raise InputError(
                f"column {column.name!r} holds {column.kind} values, but is said to be {kind}",
                "types",
                "give the types of the table the preprocessing was fitted to",
            )
    for i, j in enumerate(schema.continuous):
        raw = preprocess.mean[i] == 0 and preprocess.scale[i] == 1
        if types[j] in RAW and not raw:
            raise InputError(
                f"column {schema.names[j]!r} is {types[j]}, but was standardised",
                "preprocess",
                "give its place in `raw` to fit_preprocess",
            )
