r"""A trained GAN of a table: both players, and the map between rows and the examples they see.

Rows with given values are drawn by rejection: they follow the conditional law of the model itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jensen._errors import InputError, nearest
from jensen._typing import Array, Key
from jensen.data.examples import Examples
from jensen.data.preprocess import Preprocess
from jensen.data.schema import Schema
from jensen.fitting.options import GanOptions
from jensen.models.implicit import Discriminator, Generator
from jensen.objectives.adversarial import Adversarial

BLOCK = 1024
"""Rows sampled at once."""

_PATIENCE, _RAREST = 2**20, 2**16  # rows drawn before giving up on values rarer than 1 in 65,536


@dataclass(frozen=True)
class TableGAN:
    """A trained GAN of the rows of a table: both players, and the map between rows and examples.

    Args:
        discriminator: C, a logit of one example (or of a pack of them, one after the other).
        generator: the law of one example.
        examples: the map between encoded rows and examples.
        options: what it was trained with.
    """

    discriminator: Discriminator
    generator: Generator
    examples: Examples
    options: GanOptions

    @property
    def preprocess(self) -> Preprocess:
        """The columns of the table."""
        return self.examples.preprocess

    @property
    def objective(self) -> Adversarial:
        """The game it was trained in: `objective((discriminator, generator), rows, key)`."""
        return self.options.objective()

    def vectors(self, matrix: np.ndarray, seed: int = 0) -> np.ndarray:
        """Return the examples `(n, D + Σ n_j)`, float32, that the players see.

        Args:
            matrix: encoded rows `(n, columns)`, as `schema.encode` gives them.
            seed: of the places of values in their grid cells and jumps.
        """
        return self.examples.forward(matrix, seed)

    def logits(self, matrix: np.ndarray, seed: int = 0) -> np.ndarray:
        """Return the discriminator's logit of each row `(n,)`: above 0 where taken for real.

        Args:
            matrix: encoded rows `(n, columns)`.
            seed: as for `vectors`.

        Raises:
            InputError: if the discriminator judges packs of rows.
        """
        if self.options.packing != 1:
            raise InputError(
                f"the discriminator judges {self.options.packing} rows at once",
                "packing",
                "train with packing=1 to judge single rows",
            )
        judge = eqx.filter_jit(lambda player, rows: jax.vmap(player)(rows))
        return np.asarray(judge(self.discriminator, self.vectors(matrix, seed)), np.float64)

    def sample(self, n: int, seed: int, given: dict[str, Any] | None = None) -> np.ndarray:
        """Return `n` new encoded rows `(n, columns)`; the first rows do not depend on n.

        Args:
            n: number of rows.
            seed: all randomness.
            given: see `sample_blocks`.
        """
        empty = np.empty((0, len(self.preprocess.schema.columns)))
        return np.concatenate([empty, *self.sample_blocks(n, seed, given)])

    def sample_blocks(
        self, n: int, seed: int, given: dict[str, Any] | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the rows of `sample` block by block, `(≤ BLOCK, columns)` each.

        Args:
            n: number of rows.
            seed: all randomness.
            given: column name → value, for categorical and whole-number columns: rows with these
                values, by rejection, hence exactly the model's conditional law.

        Raises:
            InputError: for an unknown column or value, a column without repeated values, or values
                that the model never gives together.
        """
        wanted = conditions(self.preprocess.schema, given or {})
        key, found, drawn = jax.random.key(seed), 0, 0
        while found < n:
            examples = _sample_block(self.generator, jax.random.fold_in(key, drawn // BLOCK))
            rows = self.examples.backward(np.asarray(examples))
            drawn += BLOCK
            for j, value in wanted.items():
                rows = rows[np.rint(rows[:, j]) == value]
            if drawn >= _PATIENCE and (found + len(rows)) * _RAREST < drawn:
                raise InputError(
                    f"{found + len(rows)} of {drawn:,} generated rows have {_shown(given)}",
                    "given",
                    "ask for values that occur together more often",
                )
            rows = rows[: n - found]
            found += len(rows)
            if len(rows):
                yield rows


def conditions(schema: Schema, given: dict[str, Any]) -> dict[int, float]:
    """Return the encoded value that each given column must have, by the column's index.

    Raises:
        InputError: for an unknown column or value, or a column whose values do not repeat.
    """
    wanted = {}
    for name, value in given.items():
        if name not in schema.names:
            raise InputError(
                f"there is no column {name!r}{nearest(name, schema.names)}",
                "given",
                f"the columns are {', '.join(schema.names[:10])}",
            )
        j = schema.names.index(name)
        column = schema.columns[j]
        if column.kind == "categorical":
            if str(value) not in column.levels:
                raise InputError(
                    f"{value!r} in column {name!r} did not occur in training"
                    f"{nearest(str(value), column.levels)}",
                    "given",
                    f"the levels are {', '.join(column.levels[:10])}",
                )
            wanted[j] = float(column.levels.index(str(value)))
        elif column.kind == "integer":
            wanted[j] = _whole(name, value)
        else:
            raise InputError(
                f"column {name!r} is {column.kind}",
                "given",
                "give values of categorical or whole-number columns",
            )
    return wanted


def _whole(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if number != np.rint(number):
        raise InputError(f"{value!r} is no value of the whole-number column {name!r}", "given")
    return number


def _shown(given: dict[str, Any] | None) -> str:
    return " and ".join(f"{name} = {value}" for name, value in (given or {}).items())


@eqx.filter_jit
def _sample_block(generator: Generator, key: Key) -> Array:
    return jax.vmap(generator)(generator.noise(key, (BLOCK,)))
