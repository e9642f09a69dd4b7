r"""What an encoder sees of x: D numbers, then k category codes, NaN where one is missing.

    numbers            v_d, or log(1 + v_d) for counts; 0 where missing
    codes              one-hot vectors, all zeros where missing
    indicators         1 where a cell is missing, else 0      (only where cells may be)

Source: zeros with indicators as in Mattei & Frellsen 2019 (arXiv:1812.02633), and Nazábal et al.
2020 (arXiv:1807.03653), sec. 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array


class Features(eqx.Module):
    """The map from an example `(D + k,)` to the input of an encoder `(size,)`.

    Args:
        n_numbers: D.
        levels: the number of levels of each categorical column.
        missing: whether to add the indicators of missing cells.
        counts: the places of numbers that are counts in their own units.

    Raises:
        InputError: a place of a count that is no number's.

    Example:
        >>> features = Features(2, (3,), missing=True)
        >>> features(jnp.array([0.5, jnp.nan, 1.0])).tolist()
        [0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    """

    n_numbers: int = eqx.field(static=True)
    levels: tuple[int, ...] = eqx.field(static=True, default=())
    missing: bool = eqx.field(static=True, default=False)
    counts: tuple[int, ...] = eqx.field(static=True, default=())

    def __post_init__(self) -> None:
        if any(not 0 <= i < self.n_numbers for i in self.counts):
            raise InputError(
                f"counts at places {self.counts} of {self.n_numbers} numbers",
                "counts",
                "count the places among the numbers from 0",
            )

    @property
    def size(self) -> int:
        """The length of the encoder's input."""
        n_cells = self.n_numbers + len(self.levels)
        return self.n_numbers + sum(self.levels) + (n_cells if self.missing else 0)

    @property
    def n_values(self) -> int:
        """How many entries of the input are numbers and one-hot codes, which come first."""
        return self.n_numbers + sum(self.levels)

    def seen(self, x: Array) -> Array:
        """Return whether the cell behind each of the first `n_values` entries is there."""
        there = ~jnp.isnan(x)
        widths = np.array([1] * self.n_numbers + list(self.levels))
        return jnp.repeat(there, widths, total_repeat_length=self.n_values)

    def __call__(self, x: Array) -> Array:
        """Return the encoder's input `(size,)` for one example `(D + k,)`."""
        d = self.n_numbers
        gaps = jnp.isnan(x)
        numbers = jnp.where(gaps, 0.0, x)[:d]
        if self.counts:
            counted = np.isin(np.arange(d), self.counts)
            numbers = jnp.where(counted, jnp.log1p(jnp.where(counted, numbers, 0.0)), numbers)
        # a missing code is NaN, and equal to no level
        one_hot = [
            (jnp.arange(n, dtype=x.dtype) == x[d + j]).astype(x.dtype)
            for j, n in enumerate(self.levels)
        ]
        indicators = [gaps.astype(x.dtype)] if self.missing else []
        return jnp.concatenate([numbers, *one_hot, *indicators])

    def standardised(self, x: Array, centre: Array, spread: Array) -> Array:
        """Return the encoder's input with its values in other units, missing ones at 0.

        Args:
            x: one example `(D + k,)`.
            centre: of the numbers and one-hot codes `(n_values,)`.
            spread: their units `(n_values,)`.
        """
        inputs, n = self(x), self.n_values
        values = jnp.where(self.seen(x), (inputs[:n] - centre) / spread, 0.0)
        return jnp.concatenate([values, inputs[n:]])


class Leading(eqx.Module):
    """A network of the first n coordinates: the decoder of z₁ where z = (z₁, z₂).

    Args:
        net: from `(n,)` to its output.
        n: how many coordinates it sees.

    Example:
        >>> Leading(jnp.sum, 2)(jnp.array([1.0, 2.0, 4.0])).tolist()
        3.0
    """

    net: Callable[[Array], Array]
    n: int = eqx.field(static=True)

    def __call__(self, z: Array) -> Array:
        """Return net(z_1, …, z_n)."""
        return self.net(z[: self.n])
