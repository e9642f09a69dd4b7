r"""Kernel density estimation over the rows of a table: every row a small bump.

    p(v, c) = 1/n Σ_i  N(v; v_i, h² I) · Π_j κ_j(c_j, c_ij)

    κ_j(a, b) = 1 - λ_j  where a = b,   λ_j/(L_j - 1)  elsewhere

with numbers v in standard deviations of their columns and codes c of L_j levels each. The
bandwidth h and the share λ of changed codes maximise the likelihood of each row under the others,
so normal rows alone decide. Copies of a row are left out with it: else a table with repeated rows
would pull h to 0; and the 5% of rows that stand most alone have no say: else a few far ones would
blur all others. Where D > `DIRECT`, distances are computed as ‖v‖² - 2 v·v_i + ‖v_i‖², one matrix
product for a block of rows.

Where training rows may be odd themselves, the `skip` kernels nearest to a row do not count: so many
of its like must be there before it scores well. The sum is then no density any more, but a score.

Sources: Parzen 1962; Aitchison & Aitken 1976 for κ; Duin 1976 for the choice of h. Deviation: one λ
for all columns, scaled by what a code drawn from the column would differ; the trimmed mean.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array, Key

DIRECT = 8
"""Numeric columns up to which differences are taken one by one, free of cancellation."""

CENTRES = 4096
"""Rows kept, if no other number is asked for."""

_ROWS = 2500  # whose likelihood chooses h and λ
_ALONE = 0.05  # share of rows without a say in it
_BANDWIDTHS = np.geomspace(0.02, 3.0, 40)
_CHANGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)


class KernelRows(eqx.Module):
    """A kernel density of rows y `(D + k,)`: numbers, then codes.

    Args:
        centres: `(n, D + k)` rows in the model's units.
        log_bandwidth: log h, a scalar.
        changed: `(k,)` λ_j in (0, 1), chance of another code.
        levels: number of levels of each categorical column.
        skip: kernels that do not count, the largest ones; 0 for a density.

    Example:
        >>> model = KernelRows(jnp.zeros((1, 2)), jnp.zeros(()), jnp.zeros(0), ())
        >>> round(float(model.log_prob(jnp.zeros(2))), 4)
        -1.8379
    """

    centres: Array
    log_bandwidth: Array
    changed: Array
    levels: tuple[int, ...] = eqx.field(static=True)
    skip: int = eqx.field(static=True, default=0)

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """Return log p(v, c) in nats, a scalar, for one row `(D + k,)`."""
        d = x.shape[0] - len(self.levels)
        near = self._squares(x[:d], self.centres[:, :d]) * jnp.exp(-2.0 * self.log_bandwidth)
        log_kernel = -0.5 * near - d * (self.log_bandwidth + 0.5 * jnp.log(2.0 * jnp.pi))
        for j, n_levels in enumerate(self.levels):
            same = self.centres[:, d + j] == x[d + j]
            other = jnp.log(self.changed[j] / max(n_levels - 1, 1))
            log_kernel = log_kernel + jnp.where(same, jnp.log1p(-self.changed[j]), other)
        if self.skip:
            log_kernel = jnp.sort(log_kernel)[: -self.skip]
        return jax.nn.logsumexp(log_kernel) - jnp.log(self.centres.shape[0])

    @staticmethod
    def _squares(v: Array, centres: Array) -> Array:
        if v.shape[0] <= DIRECT:
            return jnp.sum((centres - v) ** 2, axis=1)
        apart = jnp.sum(centres**2, axis=1) - 2.0 * (centres @ v) + jnp.sum(v**2)
        return jnp.maximum(apart, 0.0)

    def sample(self, key: Key) -> Array:
        """Return one row `(D + k,)`: a centre, moved by the kernel."""
        keys = jax.random.split(key, 4)
        row = self.centres[jax.random.randint(keys[0], (), 0, self.centres.shape[0])]
        d = row.shape[0] - len(self.levels)
        numbers = row[:d] + jnp.exp(self.log_bandwidth) * jax.random.normal(keys[1], (d,))
        if not self.levels:
            return numbers
        n_levels = jnp.asarray(self.levels)
        shift = 1 + jax.random.randint(keys[2], n_levels.shape, 0, jnp.maximum(n_levels - 1, 1))
        moved = jax.random.uniform(keys[3], n_levels.shape) < self.changed
        codes = jnp.where(moved, (row[d:] + shift) % n_levels, row[d:])
        return jnp.concatenate([numbers, codes])


def kernel_rows(
    vectors: np.ndarray,
    levels: tuple[int, ...],
    seed: int,
    *,
    centres: int = CENTRES,
    crowd: float = 0.0,
) -> KernelRows:
    """Return the kernel density of these rows, h and λ chosen by leaving rows out.

    Args:
        vectors: `(n, D + k)` in the model's units.
        levels: number of levels of each of the k categorical columns.
        seed: of the draw.
        centres: rows that stay, drawn at random where there are more.
        crowd: the share of kernels that do not count, the largest ones.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(500, 1))
        >>> 0.1 < float(jnp.exp(kernel_rows(rows, (), 0).log_bandwidth)) < 0.5
        True
    """
    order = np.random.default_rng([seed, len(vectors)]).permutation(len(vectors))
    rows = np.asarray(vectors, np.float64)[np.sort(order[:centres])]
    bandwidth, share = _chosen(rows[:_ROWS], len(levels))
    differ = np.array([_differ(column) for column in rows[:, rows.shape[1] - len(levels) :].T])
    return KernelRows(
        jnp.asarray(rows, jnp.float32),
        jnp.asarray(np.log(bandwidth), jnp.float32),
        jnp.asarray(_changes(share, differ, len(rows)), jnp.float32),
        levels,
        min(math.ceil(crowd * len(rows) - 1e-9), len(rows) - 1),
    )


def _differ(codes: np.ndarray) -> float:
    """Return the chance that two rows differ in this column."""
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(1.0 - np.sum(shares**2))


def _changes(share: float, differ: np.ndarray, n: int) -> np.ndarray:
    """Return λ_j: never 0, since n rows without another code do not rule it out."""
    return np.clip(share * differ, 1.0 / (n + 2.0), 0.9)


def _chosen(rows: np.ndarray, n_codes: int) -> tuple[float, float]:
    """Return the h and the share of changes that make each row likeliest under the others."""
    d = rows.shape[1] - n_codes
    numbers, codes = rows[:, :d], rows[:, d:]
    norms = np.sum(numbers**2, axis=1)
    squares = np.maximum(norms[:, None] + norms - 2.0 * numbers @ numbers.T, 0.0)
    squares[squares < 1e-9 * (1.0 + norms)[:, None]] = 0.0
    copies = np.full(squares.shape, d > 0) & (squares == 0.0)  # codes alone have no bandwidth
    for column in codes.T:
        copies &= column[:, None] == column
    np.fill_diagonal(copies, True)
    lonely = copies.all(axis=1)  # all other rows are copies
    if lonely.all():
        return float(_BANDWIDTHS[-1]), _CHANGES[0]
    bandwidths = _BANDWIDTHS if d else _BANDWIDTHS[:1]
    squares = jnp.asarray(squares[~lonely], jnp.float32)
    best = (-np.inf, float(_BANDWIDTHS[-1]), _CHANGES[0])
    for share in _CHANGES if n_codes else _CHANGES[:1]:
        match = _log_match(codes, share, len(rows))
        match[copies] = -np.inf
        left = jnp.asarray(match[~lonely], jnp.float32)
        log_sums = np.asarray(_log_sums(left, squares, jnp.asarray(bandwidths)), np.float64)
        for h, each in zip(bandwidths, np.sort(log_sums, axis=1), strict=True):
            value = float(np.mean(each[int(_ALONE * len(each)) :])) - d * np.log(h)
            best = max(best, (value, float(h), share))
    return best[1], best[2]


@jax.jit
def _log_sums(match: Array, squares: Array, bandwidths: Array) -> Array:
    """Return log Σ_i exp(match_i - squares_i/2h²) `(H, n)` for each h `(H,)`."""

    def at(h: Array) -> Array:
        return jax.nn.logsumexp(match - squares / (2.0 * h * h), axis=1)

    return jax.lax.map(at, bandwidths)


def _log_match(codes: np.ndarray, share: float, n: int) -> np.ndarray:
    """Return Σ_j log κ_j between every two rows."""
    total = np.zeros((len(codes), len(codes)))
    for column in codes.T:
        levels = max(len(np.unique(column)), 2)
        changed = _changes(share, np.array([_differ(column)]), n)[0]
        total += np.where(
            column[:, None] == column, np.log1p(-changed), np.log(changed / (levels - 1))
        )
    return total
