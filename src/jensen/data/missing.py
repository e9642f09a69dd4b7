"""How much of a table is missing, counted, so that nobody has to guess what a figure is about.

A row without any cell says nothing: p(no cells) = 1, so its log p is 0, and its posterior is the
prior. It stays in the table (rows keep their numbers, and a split its sizes), is counted here, and
moves a mean of log p toward 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jensen.data.schema import Schema


@dataclass(frozen=True)
class MissingCells:
    """What is missing from a table.

    Args:
        n_rows: the rows of the table.
        n_cells: all its cells.
        cells: the missing ones.
        rows: the rows that miss a cell.
        blank_rows: the rows that miss all of them.
        columns: name → missing cells, of the columns that miss any.
    """

    n_rows: int
    n_cells: int
    cells: int
    rows: int
    blank_rows: int
    columns: dict[str, int]

    def remark(self) -> str:
        """Say it in plain words; empty where nothing is missing.

        Example:
            >>> MissingCells(5, 10, 3, 2, 0, {"a": 1, "b": 2}).remark()
            '3 of 10 cells are missing (30.0%), in 2 of 5 rows'
        """
        if not self.cells:
            return ""
        share = 100.0 * self.cells / self.n_cells
        are = "is" if self.cells == 1 else "are"
        text = f"{self.cells} of {self.n_cells} cells {are} missing ({share:.1f}%)"
        text += f", in {self.rows} of {self.n_rows} rows"
        if not self.blank_rows:
            return text
        have = "row has" if self.blank_rows == 1 else "rows have"
        return f"{text}; {self.blank_rows} {have} no cell at all (log p = 0)"


def count_missing(schema: Schema, matrix: np.ndarray) -> MissingCells:
    """Count the missing cells of encoded rows.

    Args:
        schema: the table's columns.
        matrix: encoded rows `(n, columns)`; NaN where a cell is missing.

    Example:
        >>> from jensen.data.column import Column
        >>> schema = Schema((Column("a", "continuous"), Column("b", "continuous")))
        >>> count_missing(schema, np.array([[1.0, np.nan], [np.nan, np.nan]])).columns
        {'a': 1, 'b': 2}
    """
    gaps = np.isnan(matrix)
    by_column = gaps.sum(axis=0)
    by_row = gaps.sum(axis=1)
    return MissingCells(
        n_rows=len(matrix),
        n_cells=gaps.size,
        cells=int(by_column.sum()),
        rows=int(np.count_nonzero(by_row)),
        blank_rows=int(np.count_nonzero(by_row == len(schema.columns))),
        columns={
            name: int(count) for name, count in zip(schema.names, by_column, strict=True) if count
        },
    )
