r"""A log-linear pool: two densities of a table, one score.

    s(x) = w log p_flow(x) + (1 - w) log p_kernel(x) - C · #{constant columns with another value}

A kernel density falls off with the distance to the nearest training rows, a flow knows how columns
hang together; each misses what the other sees, and the mean of their logarithms (nats) is low where
either is, w = ½. Where the training rows may be odd themselves (`skip` of the kernels) w = 0, for a
flow learns dense groups of odd rows whatever else is there. The pool is a score, not a normalised
density: `log_prob` is that of the flow, exact.

Where a constant column has another value both densities are 0, log p = -∞; the score ranks such
rows below all others by C = `ATOM` nats a column, so that they can still be told apart.

Source: Genest & Zidek 1986 on logarithmic pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import equinox as eqx
import numpy as np

from jensen.data.preprocess import Preprocess
from jensen.models.kernel import KernelRows
from jensen.models.table import TableDensity

ATOM = 1e6
"""C: nats that a new value in a constant column costs."""


@dataclass(frozen=True)
class TablePool:
    """A flow and a kernel density of the rows of one table.

    Args:
        flow: the flow, of blurred rows.
        kernel: the kernel density; `KernelRows` with a first axis of length 1.
    """

    flow: TableDensity
    kernel: TableDensity

    @classmethod
    def of(cls, flow: TableDensity, kernel: KernelRows) -> TablePool:
        """Return the pool of a flow and a kernel density in the same units."""
        one = eqx.filter_vmap(lambda model: model, axis_size=1, in_axes=None)(kernel)
        bandwidth = float(np.exp(kernel.log_bandwidth))
        return cls(flow, TableDensity(one, flow.preprocess, bandwidth))

    @property
    def preprocess(self) -> Preprocess:
        """The map between the table's units and the models'."""
        return self.flow.preprocess

    @property
    def kind(self) -> str:
        """What log p of the flow is worth."""
        return self.flow.kind

    @property
    def n_points(self) -> int:
        """The number of points in each log p of the flow."""
        return self.flow.n_points

    def log_prob(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(x) `(n,)` of the flow and its standard error `(n,)`, nats."""
        return self.flow.log_prob(matrix)

    def judge(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the score s(x) `(n,)`, finite, and log p(x) `(n,)` of the flow, nats.

        Args:
            matrix: encoded rows `(n, columns)`.
        """
        kept = self._with_constants(matrix)
        flow, kernel = self.flow.log_prob(kept)[0], self.kernel.log_prob(kept)[0]
        new = self.preprocess.n_impossible(matrix)
        share = 0.0 if self.kernel.members.skip else 0.5
        return share * flow + (1.0 - share) * kernel - ATOM * new, np.where(new == 0, flow, -np.inf)

    def sample_blocks(self, n: int, seed: int) -> Iterator[np.ndarray]:
        """Yield n rows of the flow, block by block."""
        return self.flow.sample_blocks(n, seed)

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Return `n` new encoded rows `(n, columns)` of the flow."""
        return self.flow.sample(n, seed)

    def _with_constants(self, matrix: np.ndarray) -> np.ndarray:
        """Return the rows with every constant column at its constant."""
        kept = np.array(matrix)
        kept[:, list(self.preprocess.schema.constant)] = self.preprocess.constants
        return kept
