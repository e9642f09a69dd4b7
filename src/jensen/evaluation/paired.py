r"""Two tables under one schema: read together, split together, and turned into numbers.

A column is what it is in both tables taken together: its levels are those of either, and it is
constant where every row of both holds one value. Numbers stay as they are; a category becomes one
column of zeros and ones for each level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jensen._errors import InputError
from jensen.data.column import Column
from jensen.data.infer import ColumnReader
from jensen.data.lattice import find_grid, snap
from jensen.data.schema import Schema
from jensen.data.table import Source
from jensen.evaluation.discriminator import MIN_ROWS, random_folds

_SHARES = (0.5, 0.15)
_OFF_GRID = 0.1


@dataclass(frozen=True)
class Paired:
    """The rows of two tables A and B, A's first.

    Args:
        schema: the columns of both.
        matrix: encoded rows `(N, columns)`, float64.
        sign: +1 for rows of A, -1 for rows of B, `(N,)`.
        row: each row's number in its table, counted from 1, `(N,)`.
        sizes: rows of A and of B before any were left out.
    """

    schema: Schema
    matrix: np.ndarray
    sign: np.ndarray
    row: np.ndarray
    sizes: tuple[int, int]

    @property
    def used(self) -> tuple[int, ...]:
        """The indices of the columns that vary."""
        constant = set(self.schema.constant)
        return tuple(j for j in range(len(self.schema.columns)) if j not in constant)

    @property
    def levels(self) -> tuple[int, ...]:
        """The number of levels of each column, 0 for numbers."""
        return tuple(len(column.levels) for column in self.schema.columns)

    def inputs(self, matrix: np.ndarray) -> np.ndarray:
        """Return the varying columns of encoded rows as numbers, levels as zeros and ones."""
        blocks = []
        for j in self.used:
            n_levels = self.levels[j]
            column = matrix[:, j]
            blocks.append(np.eye(n_levels)[column.astype(int)] if n_levels else column[:, None])
        return np.concatenate(blocks, axis=1)

    def folds(self, seed: int) -> tuple[np.ndarray, list[str]]:
        """Return the fold of each row (half train, 15% stop, 35% judge), and remarks on equal rows.

        Equal rows share a fold, unless fewer than half of all rows are different.
        """
        _, group, count = np.unique(self.matrix, axis=0, return_inverse=True, return_counts=True)
        group = group.ravel()
        by_row = random_folds(self.sign, seed, _SHARES)
        if len(count) == len(group):
            return by_row, []
        if 2 * len(count) < len(group):
            return by_row, [f"There are only {len(count)} different rows in all."]
        of = [np.bincount(group[self.sign == s], minlength=len(count)) for s in (1.0, -1.0)]
        remarks = []
        copied = int(of[1][of[0] > 0].sum())
        if copied:
            share = 100.0 * copied / int(of[1].sum())
            remarks.append(
                f"Exact copies of rows of A among the rows of B: {copied} ({share:.1f}%)."
            )
        for name, counts in zip("AB", of, strict=True):
            repeated = int(np.sum(counts[counts > 1] - 1))
            if repeated:
                remarks.append(f"Rows of {name} that repeat another row of {name}: {repeated}.")
        kind = (of[0] > 0) + 2 * (of[1] > 0)
        folds = random_folds(kind, seed, _SHARES)[group]
        filled = all(np.sum((folds == f) & (self.sign == s)) > 1 for f in range(3) for s in (1, -1))
        return folds if filled else by_row, remarks

    def remarks(self) -> list[str]:
        """Return remarks on columns that were left out, or that differ in how they were rounded."""
        constant = [self.schema.columns[j].name for j in self.schema.constant]
        found = []
        if constant:
            which = ", ".join(constant[:5]) + (", …" if len(constant) > 5 else "")
            found.append(f"Constant and the same in both, left out: {which}.")
        for s, this, that in ((1.0, "A", "B"), (-1.0, "B", "A")):
            on_grid = [
                f"{self.schema.columns[j].name} (of {step:g})"
                for j in self.schema.continuous
                for step, off in [
                    _off_grid(self.matrix[self.sign == s, j], self.matrix[self.sign == -s, j])
                ]
                if off > _OFF_GRID
            ]
            if on_grid:
                which = ", ".join(on_grid[:3])
                more = f" and {len(on_grid) - 3} more" if len(on_grid) > 3 else ""
                found.append(
                    f"On a grid in {this} but not in {that}: {which}{more}. Rounding alone tells "
                    "the tables apart there; the classifier is not made to look at it."
                )
        return found


def _off_grid(values: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Return the step of the values' grid (0 for none), and the share of the others off it."""
    if values.min() == values.max():
        return 0.0, 0.0
    whole = bool(np.all(values == np.rint(values)))
    step, offset = (1.0, 0.0) if whole else find_grid(values)
    if not step:
        return 0.0, 0.0
    return step, float(np.mean(np.abs(others - snap(others, step, offset)) > 1e-3 * step))


def read_both(a: Source, b: Source, *, max_rows: int, seed: int) -> Paired:
    """Read two tables under one schema.

    Args:
        a: the table A.
        b: the table B.
        max_rows: rows kept of either at most, drawn at random.
        seed: randomness of that draw.

    Raises:
        InputError: for different columns, missing or infinite cells, text among numbers, fewer than
            20 rows of either, or columns that are all constant and the same in both.
    """
    order = _matching(a, b)
    readers = [ColumnReader(name, a.label, a.typed and b.typed) for name in a.names]
    blocks: list[list[np.ndarray]] = [[], []]
    for i, (source, places) in enumerate(((a, range(len(order))), (b, order))):
        row = 1
        for batch in source.batches():
            block = np.empty((batch.num_rows, len(readers)))
            for j, (reader, place) in enumerate(zip(readers, places, strict=True)):
                reader.label = source.label
                block[:, j] = reader.take(batch.column(place), row)
            blocks[i].append(block)
            row += batch.num_rows
        _check(source.label, row - 1, readers)
    sizes = tuple(sum(len(block) for block in part) for part in blocks)
    matrix = np.concatenate([*blocks[0], *blocks[1]])
    columns: list[Column] = []
    for j, reader in enumerate(readers):
        reader.label = f"{a.label} and {b.label}"
        column, matrix[:, j] = reader.finish(np.ascontiguousarray(matrix[:, j]))
        columns.append(column)
    if all(column.kind == "constant" for column in columns):
        raise InputError(
            "every column is constant and the same in both tables",
            f"{a.label} and {b.label}",
            "give at least one column that varies",
        )
    rng = np.random.default_rng([seed, *sizes])
    kept = [
        np.sort(rng.permutation(size)[:max_rows]) if size > max_rows else np.arange(size)
        for size in sizes
    ]
    at = np.concatenate([kept[0], kept[1] + sizes[0]])
    return Paired(
        Schema(tuple(columns), a.shape, a.named),
        matrix[at],
        np.repeat([1.0, -1.0], [len(part) for part in kept]),
        np.concatenate(kept) + 1,
        (sizes[0], sizes[1]),
    )


def _matching(a: Source, b: Source) -> list[int]:
    """Return where each column of A stands in B."""
    if not (a.named and b.named):
        if len(a.names) == len(b.names):
            return list(range(len(a.names)))
        raise InputError(
            f"{len(b.names)} columns, where {a.label} has {len(a.names)}",
            b.label,
            "give two tables with the same columns",
        )
    odd = sorted(set(a.names) ^ set(b.names))
    if odd:
        shown = ", ".join(map(repr, odd[:3])) + (", …" if len(odd) > 3 else "")
        raise InputError(
            f"the tables do not have the same columns: only one has {shown}",
            f"{a.label} and {b.label}",
            "leave those columns out, or rename them",
        )
    place = {name: i for i, name in enumerate(b.names)}
    return [place[name] for name in a.names]


def _check(label: str, n_rows: int, readers: list[ColumnReader]) -> None:
    """Raise InputError for faulty cells seen so far, or too few rows."""
    for reader in readers:
        for fault, what in ((reader.missing, "missing"), (reader.infinite, "infinite")):
            if fault.count:
                raise InputError(
                    f"{fault.count} {what} cells in column {reader.name!r} "
                    f"(first at row {fault.first_row})",
                    label,
                    "drop those rows, fill the cells in, or leave the column out of both tables",
                )
    if n_rows < MIN_ROWS:
        raise InputError(
            f"{n_rows} rows, too few for a held-out estimate",
            label,
            f"give at least {MIN_ROWS} rows, and better hundreds",
        )
