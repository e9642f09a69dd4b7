r"""A discriminator trained to its held-out optimum between two samples, and what it then knows.

Of the rows of p and of q some train, some decide when to stop and calibrate, and the rest — never
used before — judge. With a(x) ≈ log p(x)/q(x) from the others, held-out rows give

    JSD_π ≥ H(π) + π E_p log σ(b) + (1-π) E_q log σ(-b),   b = a + log π/(1-π)
    D_f(p‖q) ≥ E_p T - E_q f*(T),  T = f'(eᵃ)              for every f-divergence
    1 = E_q exp(a)                                         if a is right
    p(x) = q(x) exp(a(x))                                  where one density is known

and a two-sample test: were p = q, the labels of the held-out rows would be exchangeable given the
discriminator, so the difference of the mean scores σ(a) of both kinds of rows has the law of random
relabelling. Its p-value is exact: (1 + permutations at least as large)/(1 + permutations).

Sources: Goodfellow et al. 2014 (arXiv:1406.2661), thm. 1; Lopez-Paz & Oquab 2017
(arXiv:1610.06545), with the mean score in place of the accuracy and permutations in place of the
normal law; Kim et al. 2021 (arXiv:1602.02210).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array
from jensen.data.split import check_seed
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, Result, train
from jensen.evaluation.calibration import Calibration, calibrate, check_kind
from jensen.evaluation.divergences import LOG_2, Estimate, Which, held_out_bound
from jensen.evaluation.ratio import CorrectedInit, Inputs, Logistic, fit_inputs, padded, padded_size
from jensen.objectives.divergences import jensen_shannon
from jensen.objectives.likelihood import Mean

MIN_ROWS = 20
SHARES = (0.6, 0.15)
TRAIN, CHECK, TEST = range(3)
PERMUTATIONS = 1999
_ACTIVATION = "silu"
_MOST_PERMUTED = 20_000  # held-out rows, above which the normal law of the permutations is used
_FEWEST_ROWS = 4096
TRAINING = Training(
    optimisation=Optimisation(batch_size=512, learning_rate=2e-3), patience=10, reductions=1
)


@dataclass(frozen=True)
class Discriminator:
    """A trained, calibrated discriminator, with the log ratios of its held-out rows.

    Args:
        inputs: rows to the networks' inputs.
        networks: the members, stacked on a first axis.
        calibration: of the members' mean logit.
        on_p: a of the held-out rows of p `(n,)`, nats.
        on_q: a of the held-out rows of q `(m,)`, nats.
        scores: σ of the uncalibrated logit of both, `(n + m,)`.
        folds: 0, 1 or 2 for each row of p then q: trained, stopped and calibrated, judged.
        result: the engine's result.
    """

    inputs: Inputs
    networks: Any
    calibration: Calibration
    on_p: np.ndarray
    on_q: np.ndarray
    scores: np.ndarray
    folds: np.ndarray
    result: Result

    def log_ratio(self, x: np.ndarray) -> np.ndarray:
        """Return a(x) ≈ log p(x)/q(x) `(n,)`, nats, whatever the sizes of the two samples.

        Args:
            x: rows `(n, D)`, or `(n,)` where D is 1.
        """
        return self.calibration(_logits(self.networks, self.inputs(_matrix(x, "x"))))

    def log_density(self, x: np.ndarray, log_q: np.ndarray) -> np.ndarray:
        """Return log p(x) = log q(x) + a(x) `(n,)`, nats, where q is known.

        Args:
            x: rows `(n, D)`.
            log_q: log q(x) `(n,)`, nats.
        """
        return np.asarray(log_q) + self.log_ratio(x)

    def jensen_shannon(self, weight: float = 0.5) -> Estimate:
        """Return the held-out lower bound of JSD_π, nats, at most H(π); may fall below 0 by chance.

        Args:
            weight: π, the weight of p.
        """
        return held_out_bound(jensen_shannon(weight), self.on_p, self.on_q)

    def divergence(self, which: Which) -> Estimate:
        """Return the held-out lower bound of D_f(p‖q).

        Args:
            which: a name (`kl`, `hellinger`, …), a `Divergence`, or a convex f with f(1) = 0.
        """
        return held_out_bound(which, self.on_p, self.on_q)

    @property
    def jsd(self) -> float:
        """The held-out lower bound of the Jensen–Shannon divergence, nats, cut to [0, log 2]."""
        return min(max(self.jensen_shannon().value, 0.0), LOG_2)

    @property
    def se(self) -> float:
        """The standard error of `jsd`, nats."""
        return self.jensen_shannon().se

    @property
    def normalisation(self) -> Estimate:
        """E_q[ratio] over held-out rows of q: 1 if the ratio is right and q covers p."""
        ratio = np.exp(self.on_q)
        return Estimate(float(ratio.mean()), float(ratio.std(ddof=1) / math.sqrt(len(ratio))))

    @property
    def accuracy(self) -> Estimate:
        """The balanced share of held-out rows told right; ½ is chance. A ratio of 1 counts half."""
        hits = [0.5 + 0.5 * np.sign(a) for a in (self.on_p, -self.on_q)]
        variance = sum(h.var(ddof=1) / len(h) for h in hits)
        return Estimate(float(sum(h.mean() for h in hits) / 2), float(math.sqrt(variance) / 2))

    def p_value(self, seed: int = 0) -> float:
        """Return the p-value of the hypothesis p = q.

        By 1,999 permutations of the held-out rows' labels; above 20,000 rows by the normal law with
        the permutations' exact variance.

        Args:
            seed: randomness of the permutations.
        """
        return permutation_p_value(self.scores, len(self.on_p), seed)

    def calibration_curve(self, bins: int = 10) -> np.ndarray:
        """Return how often rows were of p, against D = σ(a), on held-out rows.

        Args:
            bins: intervals of D with equal numbers of rows.

        Returns:
            `(bins, 4)`: mean D, share of p, its standard error, and number of rows in each, both
            kinds of rows weighted equally; fewer intervals where D has few values.
        """
        logits = np.concatenate([self.on_p, self.on_q])
        of_p = np.arange(len(logits)) < len(self.on_p)
        weight = np.where(of_p, 0.5 / len(self.on_p), 0.5 / len(self.on_q)) * len(logits)
        edges = np.unique(np.quantile(logits, np.linspace(0, 1, bins + 1)[1:-1]))
        place = np.searchsorted(edges, logits, side="right")
        rows = []
        for i in np.unique(place):
            w, hit = weight[place == i], of_p[place == i]
            share = float(w @ hit / w.sum())
            predicted = float(w @ (0.5 + 0.5 * np.tanh(0.5 * logits[place == i])) / w.sum())
            error = math.sqrt(float((w**2) @ (hit - share) ** 2)) / w.sum()
            rows.append((predicted, share, error, len(w)))
        return np.array(rows)


def train_discriminator(
    X: np.ndarray,
    Y: np.ndarray,
    *,
    seed: int = 0,
    hidden: tuple[int, ...] = (64, 64),
    members: int = 1,
    trees: int = 0,
    calibration: str = "platt",
    training: Training = TRAINING,
    folds: np.ndarray | None = None,
) -> Discriminator:
    """Train a discriminator between rows of p and rows of q to its optimum on held-out rows.

    Args:
        X: rows of p `(n, D)`, or `(n,)` where D is 1; finite.
        Y: rows of q `(m, D)`, or `(m,)`.
        seed: randomness of the split, the weights and the data order.
        hidden: width of each hidden layer.
        members: networks, trained side by side; their mean logit counts.
        trees: of a forest that the logit may start from, for wide tables with few rows; the log
            ratio is then not smooth. 0 for none, else at least 20.
        calibration: `platt`, `isotonic` or `none`, on the rows that decide when to stop.
        training: optimisation, evaluation and stopping.
        folds: 0 (train), 1 (stop and calibrate) or 2 (judge) for each row of X then Y, `(n + m,)`;
            None for random 60%, 15% and 25% of either.

    Returns:
        The discriminator with its held-out figures.

    Raises:
        InputError: for bad shapes, cells, folds or options, fewer than 20 rows, no varying column.
        DivergedError: if training leaves the finite numbers.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> p, q = rng.normal(size=400), rng.normal(3.0, 1.0, 400)
        >>> found = train_discriminator(p, q, training=Training(epochs=1))
        >>> bool(abs(found.jsd - 0.5268) < 4 * found.se)  # the value by quadrature
        True
    """
    check_seed(seed)
    rows, sign = _pooled(X, Y)
    check_kind(calibration)
    folds = _checked(random_folds(sign, seed) if folds is None else folds, sign)
    now, check, test = (folds == fold for fold in (TRAIN, CHECK, TEST))
    inputs, on_train = fit_inputs(rows, sign, now, check, trees=trees, seed=seed)
    on_check = inputs(rows[check])
    offset = math.log((sign[now] > 0).sum() / (sign[now] < 0).sum())
    loss = Logistic()
    result = train(
        Game(CorrectedInit(on_train.shape[1] - 1, hidden, _ACTIVATION), Mean(loss), loss),
        padded(on_train, sign[now], offset),
        padded(on_check, sign[check], offset),
        training,
        seed=seed,
        members=members,
    )
    corrected = calibrate(calibration, _logits(result.players[0], on_check), sign[check])
    return _judged(inputs, result, corrected, inputs(rows[test]), sign, folds)


def _judged(
    inputs: Inputs,
    result: Result,
    corrected: Calibration,
    held_out: np.ndarray,
    sign: np.ndarray,
    folds: np.ndarray,
) -> Discriminator:
    """Return the discriminator with the logits of its held-out rows."""
    raw, of_p = _logits(result.players[0], held_out), sign[folds == TEST] > 0
    raw = np.concatenate([raw[of_p], raw[~of_p]])
    on_p, on_q = np.split(corrected(raw), [int(of_p.sum())])
    scores = 0.5 + 0.5 * np.tanh(0.5 * raw)
    return Discriminator(inputs, result.players[0], corrected, on_p, on_q, scores, folds, result)


def random_folds(sign: np.ndarray, seed: int, shares: tuple[float, float] = SHARES) -> np.ndarray:
    """Return the fold of each row, the same shares of both kinds of rows.

    Args:
        sign: +1 for rows of p, -1 for rows of q (any labels serve), `(n,)`.
        seed: randomness.
        shares: of rows that train, and that stop and calibrate.

    Example:
        >>> np.bincount(random_folds(np.ones(100), 0)).tolist()
        [60, 15, 25]
    """
    rng = np.random.default_rng([seed, len(sign)])
    folds = np.empty(len(sign), int)
    for label in np.unique(sign):
        at = rng.permutation(np.flatnonzero(sign == label))
        cuts = np.rint(np.cumsum(shares) * len(at)).astype(int)
        for fold, part in enumerate(np.split(at, cuts)):
            folds[part] = fold
    return folds


def permutation_p_value(scores: np.ndarray, n: int, seed: int = 0) -> float:
    """Return how likely a random relabelling has a difference of mean scores at least as large.

    Args:
        scores: `(N,)`, those of the first kind first.
        n: rows of the first kind, whose scores should be larger.
        seed: randomness of the permutations.

    Returns:
        (1 + #{permuted ≥ observed})/(1 + permutations), ties counted; for more than 20,000 scores
        the upper tail of the normal law with the permutations' exact variance.

    Example:
        >>> permutation_p_value(np.array([3.0, 2.0, 1.0, 0.0]), 2) < 0.25  # 1/6 expected
        True
    """
    N = len(scores)
    centred = scores - scores.mean()
    observed = centred[:n].sum()
    spread = math.sqrt(n * (N - n) / (N - 1.0) * float(np.mean(centred**2)))
    if N > _MOST_PERMUTED:
        return 0.5 * math.erfc(observed / (spread * math.sqrt(2.0))) if spread else 1.0
    rng = np.random.default_rng([seed, N, n])
    slack = 1e-9 * float(np.abs(centred).sum())  # ties stay ties whatever the order of the sum
    larger = sum(
        rng.permutation(centred)[:n].sum() >= observed - slack for _ in range(PERMUTATIONS)
    )
    return float((1.0 + larger) / (1.0 + PERMUTATIONS))


def _matrix(rows: Any, name: str) -> np.ndarray:
    try:
        matrix = np.asarray(rows, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} does not hold numbers: {error}", name) from error
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or matrix.shape[1] < 1:
        raise InputError(f"rows of shape {matrix.shape}", name, "give shape (n, D)")
    if not np.isfinite(matrix).all():
        at = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise InputError(
            "a missing or infinite cell", f"row {at + 1} of {name}", "drop that row or fill it in"
        )
    return matrix


def _pooled(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both and their signs."""
    p, q = _matrix(X, "X"), _matrix(Y, "Y")
    if p.shape[1] != q.shape[1]:
        raise InputError(
            f"{p.shape[1]} columns against {q.shape[1]}", "X and Y", "give the same columns"
        )
    for rows, name in ((p, "X"), (q, "Y")):
        if len(rows) < MIN_ROWS:
            raise InputError(
                f"{len(rows)} rows, too few for a held-out estimate",
                name,
                f"give at least {MIN_ROWS} rows of either, and better hundreds",
            )
    rows = np.concatenate([p, q])
    if np.all(rows == rows[0]):
        raise InputError(
            "every column is constant and the same in both", "X and Y", "give one that varies"
        )
    return rows, np.repeat([1.0, -1.0], [len(p), len(q)])


def _checked(folds: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Return the folds, with at least two rows of either kind in each."""
    folds = np.asarray(folds)
    for fold in (TRAIN, CHECK, TEST):
        if folds.shape != sign.shape or any(
            np.sum((folds == fold) & (sign == label)) < 2 for label in (-1.0, 1.0)
        ):
            raise InputError(
                f"fold {fold} lacks rows of X or of Y",
                "folds",
                "give 0, 1 or 2 for each row of X then Y, each at least two rows of either",
            )
    return folds


@eqx.filter_jit
def _member_logits(networks: Any, inputs: Array) -> Array:
    return jnp.mean(eqx.filter_vmap(lambda net: jax.vmap(net)(inputs))(networks), axis=0)


def _logits(networks: Any, inputs: np.ndarray) -> np.ndarray:
    """Return the mean logit of the members `(n,)`, float64, in blocks of few different sizes."""
    n = len(inputs)
    size = padded_size(n, _FEWEST_ROWS)
    rows = np.zeros((size, inputs.shape[1]), np.float32)
    rows[:n] = inputs
    return np.asarray(_member_logits(networks, jnp.asarray(rows)))[:n].astype(np.float64)
