r"""The logit behind a log ratio: what it starts from, and the network that corrects it.

    a(x) = base(x) + net(y, z)

The base is fitted before the network and then stays: the log ratio of two Gaussians, with one
covariance (Fisher's discriminant) or two, exact where p and q are Gaussian, or the votes of a
forest of random trees, which needs fewer rows in a wide table. Each is tried at several scales and
validation rows choose. The network starts at zero and sees y, the asinh of each column measured
from its median in quartile widths — so that a heavy tail does not hide the bulk — and, where there
are rows enough to trust their covariance, the whitened numbers z = W (x - m) too.

The logistic loss of a + log n₁/n₀ on n₁ rows of p and n₀ of q has its optimum at a = log p/q
whatever the sizes.

Sources: Menon & Ong 2016 (log ratios from losses of class probabilities); Geurts et al. 2006
(extremely randomised trees). Deviation: training rows take the votes of trees that did not see
them, and a vote of 0 or 1 counts as one of 1/(T+2), T the number of trees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import jax
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.evaluation.calibration import balanced_loss
from jensen.nn.mlp import MLP

_RIDGE = 1e-6
_CUT = 10.0
_FULL_QUADRATIC = 64  # columns, above which only one covariance is tried
_ROWS_PER_COLUMN = 100  # training rows for the network to see z
_SCALES = (2.0, 1.0, 0.5, 0.25, 0.125)
_ROWS_PER_TREE = 5000
_FEWEST_TREES = 20
_FEWEST_ROWS = 64


class Corrected(eqx.Module):
    """a = base + net(rest), for one row's inputs (base, rest).

    Args:
        net: the correction, starting at zero.
    """

    net: MLP

    def __call__(self, inputs: Array) -> Array:
        """Return the logit, a scalar, of inputs `(1 + F,)`."""
        return inputs[0] + self.net(inputs[1:])[0]


@dataclass(frozen=True)
class CorrectedInit:
    """How the discriminator begins: `init(key) -> (Corrected,)`.

    Args:
        n_features: F.
        hidden: width of each hidden layer.
        activation: name of the hidden layers' activation.
    """

    n_features: int
    hidden: tuple[int, ...]
    activation: str

    def __call__(self, key: Key) -> tuple[Corrected]:
        """Return the discriminator of one member."""
        return (Corrected(MLP(key, self.n_features, 1, self.hidden, self.activation)),)


class Logistic(eqx.Module):
    """The per-example loss w softplus(-s a), s = ±1 for a row of p or q, w its weight."""

    def __call__(
        self,
        players: tuple[Callable[[Array], Array], ...],
        batch: tuple[Array, Array, Array],
        key: Key,
    ) -> Array:
        """Return the loss `(B,)`, nats, of inputs `(B, 1 + F)`, signs `(B,)`, weights `(B,)`."""
        inputs, sign, weight = batch
        return weight * jax.nn.softplus(-sign * jax.vmap(players[0])(inputs))


def padded_size(n: int, least: int) -> int:
    """Return the smallest of 2ᵏ and 3·2ᵏ that is at least n and `least`: few sizes, few programs.

    Example:
        >>> [padded_size(n, 4) for n in (1, 5, 7, 12, 13, 600)]
        [4, 6, 8, 12, 16, 768]
    """
    n = max(n, least)
    power = 1 << (n - 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= n else power


def padded(
    inputs: np.ndarray, sign: np.ndarray, offset: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the network is trained on: inputs, signs and weights, float32, padded with rows.

    Args:
        inputs: `(n, 1 + F)`.
        sign: +1 for rows of p, -1 for rows of q, `(n,)`.
        offset: log n₁/n₀, the classes' log odds among the training rows, added to the base.

    Returns:
        The rows, then rows of weight 0; the weights have mean 1.
    """
    n = len(inputs)
    size = padded_size(n, _FEWEST_ROWS)
    rows, signs, weights = np.zeros((size, inputs.shape[1])), np.ones(size), np.zeros(size)
    rows[:n], signs[:n], weights[:n] = inputs, sign, size / n
    rows[:n, 0] += offset
    return rows.astype("f4"), signs.astype("f4"), weights.astype("f4")


class Base(Protocol):
    """What a logit starts from."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return a log ratio `(n,)`, nats, of rows `(n, D)`."""
        ...


@dataclass(frozen=True)
class Whiten:
    """z = W (x - m), cut at ±10.

    Args:
        mean: m `(D,)`.
        matrix: W `(D, D)`.
    """

    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return z `(n, D)` of rows `(n, D)`."""
        return np.clip((rows - self.mean) @ self.matrix.T, -_CUT, _CUT)


@dataclass(frozen=True)
class GaussianRatio:
    """b + wᵀz + zᵀQz, the log ratio of two Gaussians.

    Args:
        whiten: rows to z.
        bias: b.
        linear: w `(D,)`.
        quadratic: Q `(D, D)`.
    """

    whiten: Whiten
    bias: float
    linear: np.ndarray
    quadratic: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the log ratio `(n,)`, nats, of rows `(n, D)`."""
        z = self.whiten(rows)
        return self.bias + z @ self.linear + np.sum((z @ self.quadratic) * z, axis=1)


@dataclass(frozen=True)
class ForestRatio:
    """log v/(1-v), v the share of trees that vote for p.

    Args:
        forest: scikit-learn's fitted forest, its second class p.
    """

    forest: Any

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the log ratio `(n,)`, nats, of rows `(n, D)`."""
        return self.of_votes(self.forest.predict_proba(rows)[:, 1])

    def of_votes(self, votes: np.ndarray) -> np.ndarray:
        """Return log v/(1-v) of shares of votes `(n,)`."""
        least = 1.0 / (len(self.forest.estimators_) + 2.0)
        votes = np.clip(votes, least, 1.0 - least)
        return np.log(votes) - np.log1p(-votes)


@dataclass(frozen=True)
class Inputs:
    """Rows to the inputs of a discriminator: the scaled base, y, and z where it is used.

    Args:
        base: what the logit starts from.
        scale: its factor.
        median: `(D,)`.
        width: `(D,)`, a robust scale of each column.
        whiten: rows to z, or None.
    """

    base: Base
    scale: float
    median: np.ndarray
    width: np.ndarray
    whiten: Whiten | None

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return `(n, 1 + F)`, float32, of rows `(n, D)`; F is padded with zeros."""
        return self.with_base(rows, self.scale * self.base(rows))

    def with_base(self, rows: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return the inputs of rows whose scaled base `(n,)` is known."""
        parts = [base[:, None], np.arcsinh((rows - self.median) / self.width)]
        if self.whiten is not None:
            parts.append(self.whiten(rows))
        n_features = sum(part.shape[1] for part in parts[1:])
        parts.append(np.zeros((len(rows), padded_size(n_features, 4) - n_features)))
        return np.concatenate(parts, axis=1).astype(np.float32)


def fit_inputs(
    rows: np.ndarray, sign: np.ndarray, now: np.ndarray, check: np.ndarray, *, trees: int, seed: int
) -> tuple[Inputs, np.ndarray]:
    """Return the inputs fitted to training rows, and those of the training rows themselves.

    Args:
        rows: all rows `(N, D)`, float64.
        sign: +1 for rows of p, -1 for rows of q, `(N,)`.
        now: which are training rows `(N,)`.
        check: which are validation rows `(N,)`.
        trees: of the forest; 0 for no forest.
        seed: randomness of the forest.

    Raises:
        InputError: for fewer than 20 trees, but not 0.
    """
    if trees and trees < _FEWEST_TREES:
        raise InputError(
            f"a forest of {trees} trees",
            "trees",
            f"give at least {_FEWEST_TREES}, so that every row is left out by some, or 0 for none",
        )
    train, of = rows[now], sign[now]
    n, dim = train.shape
    whiten = _whiten(train)
    bases: list[tuple[Base, np.ndarray]] = [
        (base, base(train)) for base in _gaussians(whiten, train, of)
    ]
    if trees:
        bases.append(_forest(train, of, trees, seed))
    found = []
    for base, on_train in bases:
        on_check = base(rows[check])
        found += [(balanced_loss(t * on_check, sign[check]), t, base, on_train) for t in _SCALES]
    _, scale, base, on_train = min(found, key=lambda candidate: candidate[0])
    low, median, high = np.quantile(train, (0.25, 0.5, 0.75), axis=0)
    spread = train.std(axis=0)
    width = np.where(high > low, (high - low) / 1.35, np.where(spread > 0, spread, 1.0))
    seen = whiten if n >= _ROWS_PER_COLUMN * dim else None
    inputs = Inputs(base, scale, median, width, seen)
    return inputs, inputs.with_base(train, scale * on_train)


def _whiten(rows: np.ndarray) -> Whiten:
    """Return W with WᵀW the inverse of the shrunk covariance of all rows."""
    from sklearn.covariance import ledoit_wolf

    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 0, scale, np.maximum(np.abs(mean), 1.0))
    shrunk, _ = ledoit_wolf((rows - mean) / scale, assume_centered=True)
    root = np.linalg.cholesky(shrunk + _RIDGE * np.eye(len(scale)))
    return Whiten(mean, np.linalg.inv(root) / scale)


def _gaussians(whiten: Whiten, rows: np.ndarray, sign: np.ndarray) -> list[GaussianRatio]:
    """Return the log ratios of the two fitted Gaussians with one covariance, and with two."""
    from sklearn.covariance import ledoit_wolf

    def precision(residuals: np.ndarray) -> np.ndarray:
        shrunk = ledoit_wolf(residuals, assume_centered=True)[0]
        return np.linalg.inv(shrunk + _RIDGE * np.eye(len(shrunk)))

    def ratio(sp: np.ndarray, sq: np.ndarray) -> GaussianRatio:
        bias = 0.5 * (mq @ sq @ mq - mp @ sp @ mp)
        bias += 0.5 * (np.linalg.slogdet(sp)[1] - np.linalg.slogdet(sq)[1])
        return GaussianRatio(whiten, float(bias), sp @ mp - sq @ mq, 0.5 * (sq - sp))

    z = whiten(rows)
    p, q = z[sign > 0], z[sign < 0]
    mp, mq = p.mean(axis=0), q.mean(axis=0)
    within = precision(np.concatenate([p - mp, q - mq]))
    found = [ratio(within, within)]
    if len(mp) <= _FULL_QUADRATIC:
        found.append(ratio(precision(p - mp), precision(q - mq)))
    return found


def _forest(
    rows: np.ndarray, sign: np.ndarray, trees: int, seed: int
) -> tuple[ForestRatio, np.ndarray]:
    """Return the forest's log ratio, and that of its training rows by trees that left them out."""
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(
        trees,
        bootstrap=True,
        oob_score=True,
        max_samples=min(len(rows), _ROWS_PER_TREE),
        class_weight="balanced_subsample",
        n_jobs=-1,
        random_state=seed,
    ).fit(rows, sign > 0)
    ratio = ForestRatio(forest)
    votes = np.asarray(forest.oob_decision_function_)[:, 1]
    return ratio, ratio.of_votes(votes)
