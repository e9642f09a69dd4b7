r"""The statistical type of each column: which family of likelihoods its values can come from.

=============  ==================================================================================
type           a column of the training rows
=============  ==================================================================================
`constant`     with one value in the whole table
`categorical`  of text
`binary`       of booleans, or of whole numbers that are 0 and 1, both of which occur
`count`        of whole numbers that pass every check below
`ordinal`      of other whole numbers, and of numbers rounded to a grid of spacing δ
`real`         of other numbers
=============  ==================================================================================

A count is modelled by a Poisson law whose rate λ depends on a latent variable, so its margin is a
mixture of Poisson laws. Such a mixture has Var n = E λ + Var λ ≥ E n, and a likelihood given the
latent with the spread √λ: worth having where values are small and zero is among them. Ages,
years, scores and identifiers are whole numbers as well; an ordinal likelihood with a spread of its
own fits these better, and is never wrong. So a column is a count only where

    1. its smallest value is 0, its largest below 10⁴, and it has more than two values;
    2. s²/n̄ ≥ 1 - 3 √(2/(N-1)): no less spread than a Poisson law has (three standard errors of
       the index of dispersion, so that about 1 of 700 Poisson columns fails);
    3. its skewness is above 2 √(6/N), two standard errors of that of symmetric values: a rating
       from 0 to 10 is none;
    4. the table is not one of images. All pixels are of one type: binary where no pixel is ever
       anything but 0 and 1, else ordinal, for grey levels are bounded.

Source: the index of dispersion is Fisher's (1950, "The significance of deviations from expectation
in a Poisson series"). Deviation: it is used one-sided and as a screen, together with the skewness.
"""

from __future__ import annotations

import numpy as np

from jensen._errors import InputError
from jensen.data.schema import Column, Schema

TYPES = ("constant", "categorical", "binary", "count", "ordinal", "real")
LARGEST_COUNT = 1e4


def statistical_types(schema: Schema, matrix: np.ndarray) -> tuple[str, ...]:
    """Return the statistical type of every column, one of `TYPES` each.

    The kind, the grid and the levels are the schema's; what is asked of the rows is only whether
    whole numbers are binary or counts. A row outside the training rows may leave the support (a 2
    where the training rows had 0 and 1): its probability is then zero.

    Args:
        schema: the table's columns.
        matrix: encoded training rows `(n, columns)`; NaN where a cell is missing.

    Raises:
        InputError: the matrix has another number of columns.

    Example:
        >>> columns = Column("sold", "integer", 1.0), Column("price", "continuous")
        >>> rows = np.array([[0, 1.5], [3, 2.5], [np.nan, 0.1], [0, 0.2], [1, 7.0], [0, 0.4]] * 9)
        >>> statistical_types(Schema(columns), rows)
        ('count', 'real')
    """
    if matrix.ndim != 2 or matrix.shape[1] != len(schema.columns):
        raise InputError(
            f"rows of shape {matrix.shape}", "", f"give shape (n, {len(schema.columns)})"
        )
    whole = None
    if schema.shape is not None and len(schema.shape) > 1:
        on_off = all(_is_on_off(_seen(matrix[:, j])) for j in schema.continuous)
        whole = "binary" if on_off else "ordinal"
    return tuple(_type(column, matrix[:, j], whole) for j, column in enumerate(schema.columns))


def _type(column: Column, values: np.ndarray, whole: str | None) -> str:
    """Return the type of a column; `whole` is that of all whole numbers, where it is one."""
    if column.kind in ("constant", "categorical"):
        return column.kind
    if column.kind == "continuous":
        return "ordinal" if column.step > 0 else "real"
    if whole is not None:
        return whole
    seen = _seen(values)
    if column.dtype == "bool" or (_is_on_off(seen) and seen.min() < seen.max()):
        return "binary"
    return "count" if _is_count(seen) else "ordinal"


def _seen(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _is_on_off(values: np.ndarray) -> bool:
    """Say whether numbers `(n,)` are all 0 or 1, and there are some."""
    return len(values) > 0 and bool(np.all((values == 0.0) | (values == 1.0)))


def _is_count(values: np.ndarray) -> bool:
    """Say whether whole numbers `(n,)` pass checks 1 to 3."""
    n = len(values)
    if n < 3 or values.min() != 0 or values.max() >= LARGEST_COUNT:
        return False
    if not np.any((values > 0) & (values < values.max())):
        return False
    deviation = values - values.mean()
    variance = float(np.mean(deviation**2))
    dispersion = variance * n / (n - 1) / values.mean()
    skewness = float(np.mean(deviation**3)) / variance**1.5
    enough = dispersion >= 1.0 - 3.0 * np.sqrt(2.0 / (n - 1))
    return bool(enough and skewness > 2.0 * np.sqrt(6.0 / n))
