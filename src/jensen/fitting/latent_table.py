r"""A trained latent-variable model of a table: scores, samples, codes and imputed cells.

    log p(x) = log p_Y(y) - Σ_d log s_d,     log p̂_Y = log 1/K Σ_k w_k

Scores are of kind `iwae`: unbiased estimates of p, lower bounds of log p in expectation, with a
standard error. Their noise is a function of the seed and the row, so they do not depend on the
other rows. Cells on a grid have the average density over their cell, integers and binary cells a
probability; missing cells are marginalised out.

With bits made of grey levels an example is x ~ Bernoulli(r), r = (v - low)/(high - low); then the
score is the log-probability of the bits that the row's own noise draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.data.preprocess import Preprocess
from jensen.evaluation.evidence import Evidence, evidence, row_keys
from jensen.evaluation.imputation import expectations, posterior_means
from jensen.fitting.latent_plan import Plan
from jensen.models.latent import Latent

BLOCK = 1024
"""Rows sampled at once."""

_BITS = 0x62697473  # folded into a row's key for its bits


@dataclass(frozen=True)
class TableLatent:
    """A trained latent-variable model of the rows of a table.

    Args:
        model: prior, likelihood and posterior, in the model's units.
        plan: the columns of the table as the model takes them, and what the user has set.
        seed: of the scores' noise.
    """

    model: Latent
    plan: Plan
    seed: int

    @property
    def preprocess(self) -> Preprocess:
        """The map between the table's units and the model's."""
        return self.plan.preprocess

    @property
    def kind(self) -> str:
        """`iwae`."""
        return "iwae"

    @property
    def n_points(self) -> int:
        """K: the number of weights in each score."""
        return self.plan.options.score_particles

    def vectors(self, matrix: np.ndarray) -> np.ndarray:
        """Return the model's examples `(n, D + k)`, float32, bits where it takes bits."""
        return bits(self.preprocess.forward(matrix), self.plan.options.binarise, self.seed)

    def evidence(self, matrix: np.ndarray, n_particles: int | None = None) -> Evidence:
        """Return log p̂(x), its standard error, ESS and k̂ for encoded rows, nats, data units.

        Args:
            matrix: encoded rows `(n, columns)`; NaN where a cell is missing.
            n_particles: K; that of the scores if None.
        """
        vectors = self.vectors(matrix)
        possible = self.possible(matrix, vectors)
        safe = np.where(self.model.likelihood.observation.possible(vectors), vectors, np.nan)
        found = evidence(self.model, safe, n_particles or self.n_points, self.seed)
        shift = self.log_det(vectors)
        return Evidence(
            np.where(possible, found.log_prob + shift, -np.inf),
            np.where(possible, found.se, 0.0),
            found.ess,
            found.pareto_k,
            found.kind,
            found.k,
        )

    def log_prob(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log p̂(x) `(n,)` and its standard error `(n,)`, nats, float64.

        Args:
            matrix: encoded rows `(n, columns)`; an impossible value gives -inf.
        """
        if not len(matrix):
            return np.zeros(0), np.zeros(0)
        found = self.evidence(matrix)
        return found.log_prob, found.se

    def judge(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the score `(n,)` by which rows are flagged, here log p̂(x), and log p̂(x), nats."""
        log_prob, _ = self.log_prob(matrix)
        return log_prob, log_prob

    def possible(self, matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return `(n,)`, False where a constant column or a cell outside its support is."""
        cells = self.model.likelihood.observation.possible(vectors)
        return self.preprocess.possible(matrix) & np.all(cells, axis=1)

    def log_det(self, vectors: np.ndarray) -> np.ndarray:
        """Return -Σ log s_d over the cells that are there `(n,)`, nats; 0 for bits."""
        if self.plan.options.binarise != "none":
            return np.zeros(len(vectors))
        scale = self.preprocess.scale
        return -np.sum(np.where(np.isnan(vectors[:, : len(scale)]), 0.0, np.log(scale)), axis=1)

    def independent_bits(self, matrix: np.ndarray, grey: np.ndarray, n_train: int) -> np.ndarray:
        """Return log p `(n,)` of the bits of encoded rows if they were independent, nats.

            Σ_d x_d log r_d + (1 - x_d) log(1 - r_d),    r = (n ḡ/high + 1)/(n + 2)

        Args:
            matrix: encoded rows `(n, columns)`.
            grey: ḡ `(D,)`, the mean grey levels of the training rows.
            n_train: n, their number.
        """
        vectors = self.vectors(matrix)
        rate = np.clip(grey / self.preprocess.scale, 0.0, 1.0)
        rate = (n_train * rate + 1.0) / (n_train + 2.0)
        each = np.where(vectors > 0.5, np.log(rate), np.log1p(-rate))
        total = np.sum(np.where(np.isnan(vectors), 0.0, each), axis=1)
        return np.where(self.possible(matrix, vectors), total, -np.inf)

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Return `n` new encoded rows `(n, columns)`; the first rows do not depend on n.

        Numbers are kept between the least and the largest of the training rows.
        """
        empty = np.empty((0, len(self.preprocess.schema.columns)))
        return np.concatenate([empty, *self.sample_blocks(n, seed)])

    def sample_blocks(self, n: int, seed: int) -> Iterator[np.ndarray]:
        """Yield the rows of `sample` block by block, `(≤ BLOCK, columns)` each."""
        key = jax.random.key(seed)
        for i in range(-(-n // BLOCK)):
            vectors = np.asarray(_sample_block(self.model, jax.random.fold_in(key, i)))
            rows = self.preprocess.backward(vectors[: n - i * BLOCK])
            numbers = list(self.preprocess.schema.continuous)
            rows[:, numbers] = np.clip(rows[:, numbers], *self.plan.ends)
            yield rows

    def codes(self, matrix: np.ndarray) -> np.ndarray:
        """Return the posterior means E_q[z | x] `(n, L)` of encoded rows."""
        return posterior_means(self.model, self.vectors(matrix), self.n_points, self.seed)

    def impute(self, matrix: np.ndarray) -> np.ndarray:
        """Return the rows `(n, columns)` with every missing cell filled in, the others unchanged.

        Numbers become E[x_d | observed cells], categories and binary cells their most probable
        value, grids their nearest point.

        Args:
            matrix: encoded rows `(n, columns)`; NaN where a cell is missing.

        Raises:
            InputError: for a row that holds an impossible value.
        """
        gaps = np.isnan(matrix)
        rows = np.flatnonzero(gaps.any(axis=1))
        out = matrix.copy()
        if not len(rows):
            return out
        part = matrix[rows]
        vectors = self.vectors(part)
        possible = self.possible(part, vectors)
        if not possible.all():
            raise InputError(
                "a row with missing cells holds a value that the model gives no probability",
                f"row {rows[int(np.argmin(possible))] + 1}",
                "mend the value, or leave it missing",
            )
        means = expectations(self.model, vectors, self.n_points, self.seed)
        filled = self.preprocess.backward(self._as_example(means))
        out[rows] = np.where(gaps[rows], self._on_grid(filled), part)
        return out

    def _as_example(self, means: np.ndarray) -> np.ndarray:
        """Return examples `(n, D + k)` of means of numbers and probabilities of levels `(n, F)`."""
        schema = self.preprocess.schema
        d = len(schema.continuous)
        widths = [len(schema.columns[j].levels) for j in schema.categorical]
        levels = np.split(means[:, d:], np.cumsum(widths)[:-1], axis=1) if widths else []
        codes = [np.argmax(each, axis=1)[:, None] for each in levels]
        return np.concatenate([means[:, :d], *codes], axis=1)

    def _on_grid(self, rows: np.ndarray) -> np.ndarray:
        """Return encoded rows with whole numbers whole and grids snapped to."""
        schema = self.preprocess.schema
        out = rows.copy()
        for j in schema.continuous:
            out[:, j] = np.asarray(schema.columns[j].decode(rows[:, j]), np.float64)
        return out


def bits(vectors: np.ndarray, binarise: str, seed: int) -> np.ndarray:
    """Return x of intensities r `(n, D)` in [0, 1] by the named rule; other rows unchanged.

    A row's draw is a function of the seed and the row. An intensity outside [0, 1] stays, as a
    value that no bit has.

    Args:
        vectors: intensities, or any examples where `binarise` is `none`.
        binarise: `none`, `threshold`, `dynamic` or `static`.
        seed: of the draws.
    """
    if binarise == "none" or not len(vectors):
        return vectors
    if binarise == "threshold":
        drawn = (vectors > 0.5).astype(vectors.dtype)
    else:
        drawn = np.asarray(_drawn(row_keys(vectors, seed), jnp.asarray(vectors)))
    known = (vectors >= 0) & (vectors <= 1)
    return np.where(known, drawn, vectors)


@jax.jit
def _drawn(keys: Key, vectors: Array) -> Array:
    def one(key: Key, r: Array) -> Array:
        uniform = jax.random.uniform(jax.random.fold_in(key, _BITS), r.shape, r.dtype)
        return (uniform < r).astype(r.dtype)

    return jax.vmap(one)(keys, vectors)


@eqx.filter_jit
def _sample_block(model: Latent, key: Key) -> Array:
    """Return `(BLOCK, D + k)` draws."""
    return jax.vmap(model.sample)(jax.random.split(key, BLOCK))
