r"""A trained density in the units of its table.

An equal mixture of E members, each a distribution of one row in the model's units:

    log p(x) = log 1/E Σ_e p_e(y) - Σ_d log s_d,     y = (v - m)/s

Where columns are known only to a resolution δ the figure is the average density over the cell,
(1/M) Σ_j p(v + δ u_j) with M fixed, low-discrepancy points u_j: the log of an unbiased estimate, a
lower bound in expectation (kind `iwae`), with a standard error. For integers (δ = 1) that density
is the probability of the value, so bits are bits.

A density of blurred data (`FlowOptions.blur`) is scored at the row itself, without that average.

Rows are scored in blocks of one fixed shape, so a row's score does not depend on the rows scored
with it, on their order, or on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import DivergedError
from jensen._typing import Array, Key, PyTree
from jensen.data.preprocess import Preprocess
from jensen.models.continuous import equation_of
from jensen.models.dequantised import Dequantised
from jensen.nn.mixer import PatchMixer

BLOCK = 1024
"""Rows sampled at once."""

_EQUATIONS = 256  # solved at once: 1.5 ms a row where 1,024 take 2.4

N_NOISE = 16
"""M, the number of dequantisation points of a score."""


@dataclass(frozen=True)
class TableDensity:
    """A trained density of the rows of a table.

    Args:
        members: a `Mixed` whose arrays have a first axis of length E.
        preprocess: the map between the table's units and the model's.
        blur: noise of the data that it is the density of, in standard deviations of the columns.
    """

    members: PyTree
    preprocess: Preprocess
    blur: float = 0.0

    @property
    def kind(self) -> str:
        """`exact`, or `iwae` where columns are dequantised."""
        return "iwae" if self._averaged else "exact"

    @property
    def n_points(self) -> int:
        """M: the number of points in each score; 1 where it is exact."""
        return N_NOISE if self._averaged else 1

    @property
    def _averaged(self) -> bool:
        return self.preprocess.dequantised and not self.blur

    def log_prob(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(x) `(n,)` and its standard error `(n,)`, nats, float64.

        Args:
            matrix: encoded rows `(n, columns)`; a constant column's new value gives -inf.

        Raises:
            DivergedError: if a figure is not a number: a continuous flow's equation is not solved.
        """
        vectors = self.preprocess.forward(matrix)
        log_prob, error = np.empty(len(vectors)), np.empty(len(vectors))
        noise = self.noise()
        size = block_rows(self.members)
        for start in range(0, len(vectors), size):
            block = vectors[start : start + size]
            filled = block[np.arange(size) % len(block)] if len(block) < size else block
            value, se = score_block(self.members, filled, noise)
            log_prob[start : start + len(block)] = np.asarray(value)[: len(block)]
            error[start : start + len(block)] = np.asarray(se)[: len(block)]
        if np.isnan(log_prob).any():
            raise _unsolved(np.isnan(log_prob), matrix)
        log_prob += self.preprocess.log_det
        possible = self.preprocess.possible(matrix)
        return np.where(possible, log_prob, -np.inf), np.where(possible, error, 0.0)

    def judge(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the score `(n,)` by which rows are flagged, here log p(x), and log p(x), nats."""
        log_prob, _ = self.log_prob(matrix)
        return log_prob, log_prob

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Return `n` new encoded rows `(n, columns)`; the first rows do not depend on n."""
        empty = np.empty((0, len(self.preprocess.schema.columns)))
        return np.concatenate([empty, *self.sample_blocks(n, seed)])

    def sample_blocks(self, n: int, seed: int) -> Iterator[np.ndarray]:
        """Yield the rows of `sample` block by block, `(≤ BLOCK, columns)` each."""
        key = jax.random.key(seed)
        for i in range(-(-n // BLOCK)):
            vectors = np.asarray(sample_block(self.members, jax.random.fold_in(key, i)))
            yield self.preprocess.backward(vectors[: n - i * BLOCK])

    def noise(self) -> np.ndarray | None:
        """Return the dequantisation points `(M, D + k)` in the model's units; None without."""
        if not self._averaged:
            return None
        shift = _low_discrepancy(len(self.preprocess.mean)) * self.preprocess.noise
        n_codes = len(self.preprocess.schema.categorical)
        return np.pad(shift, ((0, 0), (0, n_codes))).astype("f4")


def _unsolved(lost: np.ndarray, matrix: np.ndarray) -> DivergedError:
    first = ", ".join(f"{value:g}" for value in matrix[np.argmax(lost)][:5])
    return DivergedError(
        f"log p of {lost.sum():,} of {len(lost):,} rows is not a number: the flow's equation was "
        "not solved there, in as many steps as are allowed or in finite numbers",
        f"the first such row begins {first}",
        "look for extreme values in it; or train again with a larger tolerance or learning_rate "
        "lower",
    )


def block_rows(model: PyTree) -> int:
    """Return how many rows to score at once: a power of two that keeps the widest layer in cache.

    A function of the model's shapes alone, so that a row is always scored in the same shape; the
    last block of a table is filled up with copies of its rows. Few rows for a continuous flow: they
    all wait for the one that needs the most steps.
    """
    if equation_of(model) is not None:
        return _EQUATIONS
    weights = [a for a in jax.tree.leaves(eqx.filter(model, eqx.is_array)) if a.ndim >= 3]
    parts = jax.tree.leaves(model, is_leaf=lambda part: isinstance(part, PatchMixer))
    mixers = [part.biases[-1].shape[-2:] for part in parts if isinstance(part, PatchMixer)]
    widest = max([a.shape[-2] for a in weights] + [n * out for n, out in mixers], default=1)
    return int(2 ** np.clip(np.floor(np.log2(2**21 / widest)), 7, 14))


@cache
def _low_discrepancy(dim: int) -> np.ndarray:
    """Return M scrambled Sobol points `(M, dim)` in (-½, ½), always the same."""
    from scipy.stats import qmc

    return qmc.Sobol(dim, rng=0).random(N_NOISE) - 0.5


@eqx.filter_jit
def score_block(
    members: PyTree, vectors: Array | np.ndarray, noise: np.ndarray | None
) -> tuple[Array, Array]:
    """Return log p(y) `(B,)` of the mixture and its standard error `(B,)`, nats.

    Args:
        members: a model stacked on a first axis of length E.
        vectors: `(B, D)` in the model's units.
        noise: `(M, D)` points to average over, or None.
    """

    def mixture(member_log_prob: Callable[[PyTree], Array]) -> Array:
        each = eqx.filter_vmap(member_log_prob)(members)
        return jax.nn.logsumexp(each, axis=0) - jnp.log(each.shape[0])

    y = jnp.asarray(vectors)
    if noise is None:
        value = mixture(lambda member: jax.vmap(member.log_prob)(y))
        return value, jnp.zeros_like(value)

    def at(shift: Array) -> Array:
        if isinstance(members, Dequantised):
            return mixture(lambda member: jax.vmap(member.log_weight, (0, None))(y, shift))
        return mixture(lambda member: jax.vmap(member.log_prob)(y + shift))

    values = jax.lax.map(at, jnp.asarray(noise))
    m = values.shape[0]
    weights = jnp.exp(values - jnp.max(values, axis=0))
    mean = jnp.mean(weights, axis=0)
    error = jnp.std(weights, axis=0, ddof=1) / (mean * jnp.sqrt(m))
    return jax.nn.logsumexp(values, axis=0) - jnp.log(m), error


@eqx.filter_jit
def sample_block(members: PyTree, key: Key) -> Array:
    """Return `(BLOCK, D)` draws of the mixture, its members taking equal shares, shuffled."""
    n_members = jax.tree.leaves(eqx.filter(members, eqx.is_array))[0].shape[0]
    for_rows, for_order = jax.random.split(key)
    keys = jax.random.split(for_rows, (n_members, -(-BLOCK // n_members)))
    rows = eqx.filter_vmap(lambda member, ks: jax.vmap(member.sample)(ks))(members, keys)
    rows = rows.reshape(-1, rows.shape[-1])
    return jax.random.permutation(for_order, rows)[:BLOCK]
