"""What the estimators share: seeds, and tables in and out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import Schema, read
from jensen.data.source import open_table
from jensen.data.split import check_seed

_LARGEST_SEED = np.iinfo(np.int32).max


def seed_of(random_state: Any) -> int:
    """Return an integer seed: the given one, or one drawn from a generator."""
    if isinstance(random_state, int | np.integer):
        check_seed(int(random_state))
        return int(random_state)
    return int(check_random_state(random_state).randint(_LARGEST_SEED))


def is_mixed_frame(X: Any) -> bool:
    """Return whether X is a table with a column that is not a number."""
    if isinstance(X, np.ndarray) or not hasattr(X, "__arrow_c_stream__"):
        return False
    from jensen.data.table import is_number, is_text

    batch = next(iter(open_table(X).batches(1)), None)
    kinds = [] if batch is None else batch.schema.types
    return any(is_text(kind) or not is_number(kind) for kind in kinds)


def read_rows(estimator: Any, X: Any, *, missing: bool = False) -> tuple[Schema, np.ndarray]:
    """Return the columns of X and its encoded rows; the estimator's feature names are set.

    Args:
        estimator: the one that is fitted.
        X: an array or a table.
        missing: let missing cells (NaN, `None`, nulls) through, as NaN.
    """
    if is_mixed_frame(X):
        schema, matrix = read(open_table(X), missing=missing)
        estimator.n_features_in_ = len(schema.names)
        estimator.feature_names_in_ = np.array(schema.names, dtype=object)
        return schema, matrix
    values = _checked(estimator, X, missing, ensure_min_samples=2)
    source = open_table(values)
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        source = replace(source, names=tuple(map(str, names)), named=True)
    return read(source, missing=missing)


def encode_rows(estimator: Any, X: Any, schema: Schema, *, missing: bool = False) -> np.ndarray:
    """Return the encoded rows `(n, columns)` of a table with the columns of the fit.

    Args:
        estimator: the fitted one.
        X: an array or a table.
        schema: the columns of the fit.
        missing: let missing cells (NaN, `None`, nulls) through, as NaN.
    """
    if not is_mixed_frame(X):
        return _checked(estimator, X, missing, reset=False)
    row, blocks = 1, [np.empty((0, len(schema.columns)))]
    for batch in open_table(X).batches():
        blocks.append(schema.encode(batch, label="X", first_row=row, missing=missing))
        row += batch.num_rows
    return np.concatenate(blocks)


def comparable(rows: Any) -> np.ndarray:
    """Return rows `(n, D)` in units that can be compared: standard deviations, levels as 0 and 1.

    Args:
        rows: an array of numbers, or an Arrow table.
    """
    schema, matrix = read(open_table(rows))
    preprocess = fit_preprocess(schema, matrix)
    numbers, codes = np.split(preprocess.forward(matrix), [len(preprocess.mean)], axis=1)
    levels = [codes[:, [j]] == np.unique(codes[:, j]) for j in range(codes.shape[1])]
    return np.concatenate([numbers, *levels], axis=1).astype(np.float64)


def _checked(estimator: Any, X: Any, missing: bool, **checks: Any) -> np.ndarray:
    """Return X as float64 after scikit-learn's checks of shape, names and finite cells."""
    finite = "allow-nan" if missing else True
    return np.asarray(
        validate_data(estimator, X, dtype=np.float64, ensure_all_finite=finite, **checks)
    )


def decoded(schema: Schema, matrix: np.ndarray) -> Any:
    """Return encoded rows in the data's units: an array, or a dict of columns with categories."""
    columns = schema.decode(matrix)
    if schema.categorical:
        return columns
    return np.stack([np.asarray(c, np.float64) for c in columns.values()], axis=1)
