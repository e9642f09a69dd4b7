"""Tables with cells taken out at random, for tests and benchmarks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def mask_of(shape: tuple[int, int], share: float, seed: int = 0) -> np.ndarray:
    """Return a mask of that share of the cells, none of them in the first row."""
    mask = np.random.default_rng([seed, *shape]).uniform(size=shape) < share
    mask[0] = False
    return mask


def punched(table: pa.Table, share: float, seed: int = 0) -> pa.Table:
    """Return a table with nulls in that share of its cells, see `mask_of`."""
    mask = mask_of((table.num_rows, table.num_columns), share, seed)
    columns = [
        pa.array(column.to_pylist(), column.type, mask=mask[:, j])
        for j, column in enumerate(table.columns)
    ]
    return pa.table(columns, names=table.column_names)
