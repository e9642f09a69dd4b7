r"""Dropout on the inputs of a linear regression is ridge in every column's own unit.

    L(w) = ‖y - (X ⊙ R) w‖²,     Rᵢⱼ ~ Bern(p)

**1.1** Zᵢ = Σⱼ Rᵢⱼ xᵢⱼ wⱼ has mean p (X w)ᵢ and variance p(1-p) Σⱼ xᵢⱼ² wⱼ², and
E(yᵢ - Zᵢ)² = (yᵢ - E Zᵢ)² + Var Zᵢ; summed over the rows, with Γ² = diag(XᵀX),

    E L(w) = ‖y - p X w‖² + p(1-p) ‖Γ w‖².

**1.2** Its gradient vanishes where Xᵀy = (XᵀX + λ Γ²) p w: the weights as they predict, p w, are

    p w_dropout = (XᵀX + λ Γ²)⁻¹ Xᵀy,     λ = (1-p)/p,

and λ falls from ∞ to 0 as p goes from 0 to 1. **1.3** Weight decay, ‖y - X w‖² + μ ‖w‖², has
w_ridge = (XᵀX + μ I)⁻¹ Xᵀy. **1.4** Both shrink; dropout weighs the penalty of a column by the sum
of its squares. So a change of a column's unit changes nothing for dropout and much for ridge, and
the two are one (μ = λ c²) where all columns have the norm c.

Training steps downhill on L/n with fresh masks. A step is linear in w, so the mean of its
stationary law is w_dropout itself, whatever the step size.

Source: the course document's question 1; Srivastava et al. 2014 (JMLR 15), sec. 9.1.
"""

from __future__ import annotations

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.linear_model import Ridge

from jensen._typing import Array, Key
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.objectives.likelihood import Mean
from jensen.report.curves import curves
from jensen.report.spread import estimates
from jensen.studies.notebook import Notebook

FALSE_ALARM = 1e-5
"""Chance that a claim on random numbers fails though the statement is true."""
KEPT = (0.2, 0.5, 0.8)
"""The p of the claims."""


def example(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X `(60, 4)`, columns correlated and of unlike size, and y `(60,)`."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(60, 1))
    X = (random.normal(size=(60, 4)) + common) * [0.5, 1.0, 1.5, 2.0]
    return X, X @ [2.0, -1.0, 0.5, 0.8] + random.normal(size=60)


def penalties(X: np.ndarray) -> np.ndarray:
    """Return the diagonal of Γ² `(d,)`: each column's sum of squares."""
    return (X**2).sum(axis=0)


def strength(p: float) -> float:
    """Return λ = (1-p)/p."""
    return (1 - p) / p


def expected_loss(X: np.ndarray, y: np.ndarray, w: np.ndarray, p: float) -> float:
    """Return E L(w) in closed form."""
    misfit = y - p * X @ w
    return float(misfit @ misfit + p * (1 - p) * penalties(X) @ w**2)


def loss_over_masks(X: np.ndarray, y: np.ndarray, w: np.ndarray, p: float) -> float:
    """Return E L(w) as the sum over all 2^d masks of a row; rows are independent."""
    masks = np.array(list(product((0.0, 1.0), repeat=len(w))))
    chance = p ** masks.sum(axis=1) * (1 - p) ** (1 - masks).sum(axis=1)
    return float(((y[:, None] - X @ (masks * w).T) ** 2 @ chance).sum())


def dropout(X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    """Return p w_dropout for λ."""
    return np.linalg.solve(X.T @ X + lam * np.diag(penalties(X)), X.T @ y)


def ridge(X: np.ndarray, y: np.ndarray, mu: float) -> np.ndarray:
    """Return w_ridge for μ."""
    return np.linalg.solve(X.T @ X + mu * np.eye(X.shape[1]), X.T @ y)


class DroppedSquares(eqx.Module):
    """The loss (y - (x ⊙ r)·w)² of each row, with a fresh mask r ~ Bern(p); the player is w."""

    p: float

    def __call__(self, players: tuple[Array], batch: tuple[Array, Array], key: Key) -> Array:
        """Return `(B,)` for rows x `(B, d)` and targets y `(B,)`."""
        x, y = batch
        mask = jax.random.bernoulli(key, self.p, x.shape)
        return (y - (x * mask) @ players[0]) ** 2


def study(book: Notebook) -> None:
    """Check the answers to 1.1-1.4 on one table, train with dropout, draw both paths."""
    X, y = example(book.seed)
    _expectation(book, X, y)
    _solution(book, X, y)
    _comparison(book, X, y)
    entries = [entry for p in (0.5, 0.8) for entry in _trained(book, X, y, p)]
    book.figure(estimates(entries, unit="p · w after training"), "dropout-ridge-training")
    _paths(book, X, y)
    book.used = "made: 60 rows, 4 correlated columns of unlike size"


def _expectation(book: Notebook, X: np.ndarray, y: np.ndarray) -> None:
    """1.1, by all masks and by Monte Carlo, far from the minimum."""
    random = np.random.default_rng([book.seed, 1])
    draws = 4000 if book.quick else 40_000
    off, scores = [], []
    for p, w in product(KEPT, random.normal(size=(3, 4))):
        closed = expected_loss(X, y, w, p)
        off.append(abs(loss_over_masks(X, y, w, p) / closed - 1))
        dropped = X * (random.random((draws, *X.shape)) < p)
        losses = ((y - dropped @ w) ** 2).sum(axis=1)
        scores.append((losses.mean() - closed) / (losses.std(ddof=1) / draws**0.5))
    book.at_most(
        "all-masks",
        "E L(w), closed form against the sum over every mask, largest relative difference",
        max(off),
        1e-12,
    )
    book.at_most(
        "monte-carlo",
        f"E L(w), closed form against {draws} random masks: largest of {len(scores)} |z| "
        f"(false alarms: {FALSE_ALARM:g})",
        np.abs(scores).max(),
        float(norm.isf(FALSE_ALARM / 2 / len(scores))),
    )


def _solution(book: Notebook, X: np.ndarray, y: np.ndarray) -> None:
    """1.2 and 1.3: minimisers found without the formulas, and what p does to λ."""
    apart, slopes = [], []
    for p in KEPT:
        w = dropout(X, y, strength(p)) / p
        rows = np.concatenate([p * X, np.diag((p * (1 - p) * penalties(X)) ** 0.5)])
        least = np.linalg.lstsq(rows, np.concatenate([y, np.zeros(4)]), rcond=None)[0]
        apart.append(np.linalg.norm(w - least) / np.linalg.norm(least))
        for step in 0.1 * np.eye(4):  # a quadratic: its central difference is its slope
            rise = loss_over_masks(X, y, w + step, p) - loss_over_masks(X, y, w - step, p)
            slopes.append(abs(rise) / 0.2 / (2 * p * np.abs(X.T @ y).max()))
    book.at_most(
        "identity",
        "p w against (XᵀX + λΓ²)⁻¹Xᵀy, w by least squares on the stacked rows, largest relative "
        "distance for p = 0.2, 0.5, 0.8",
        max(apart),
        1e-10,
    )
    book.at_most(
        "stationary",
        "largest slope of the sum over every mask at w_dropout, over the slope at 0",
        max(slopes),
        1e-10,
    )
    peer = Ridge(alpha=3.0, fit_intercept=False).fit(X, y).coef_
    book.at_most(
        "ridge", "w_ridge against scikit-learn's", np.abs(ridge(X, y, 3.0) - peer).max(), 1e-10
    )
    plain = np.linalg.lstsq(X, y, rcond=None)[0]
    book.at_most(
        "keep-all",
        "p = 1 is least squares (λ = 0): largest difference",
        np.abs(dropout(X, y, strength(1.0)) - plain).max(),
        1e-10,
    )
    sizes = [np.linalg.norm(dropout(X, y, strength(p)) * penalties(X) ** 0.5) for p in KEPT]
    book.true(
        "less-kept-more-shrunk",
        "‖Γ p w_dropout‖ grows with p: the less is kept, the greater λ",
        np.all(np.diff(sizes) > 0),
    )


def _comparison(book: Notebook, X: np.ndarray, y: np.ndarray) -> None:
    """1.4: one and the same for equal norms, not otherwise; what units do."""
    equal = X / penalties(X) ** 0.5 * 3.0  # every column has the norm 3
    both = [(dropout(equal, y, strength(p)), ridge(equal, y, 9 * strength(p))) for p in KEPT]
    book.at_most(
        "equal-norms",
        "columns of norm c = 3: p w_dropout against w_ridge with μ = λ c², largest difference",
        max(np.abs(ours - theirs).max() for ours, theirs in both),
        1e-10,
    )
    ours = dropout(X, y, strength(0.5))
    nearest = minimize_scalar(
        lambda log_mu: np.linalg.norm(ridge(X, y, np.exp(log_mu)) - ours),
        bounds=(-10, 15),
        method="bounded",
    )
    book.at_least(
        "unequal-norms",
        "columns of unlike norm: distance of p w_dropout (p = ½) from the nearest w_ridge, any μ, "
        "over its own norm",
        nearest.fun / np.linalg.norm(ours),
        0.05,
    )
    units = np.array([1000.0, 1.0, 1.0, 0.01])
    changed = np.abs((X * units) @ dropout(X * units, y, 1.0) - X @ ours).max()
    book.at_most("units-dropout", "other units change dropout's predictions by", changed, 1e-8)
    mu = penalties(X).mean()
    moved = (X * units) @ ridge(X * units, y, mu) - X @ ridge(X, y, mu)
    book.at_least("units-ridge", "other units change ridge's by", np.abs(moved).max(), 0.1)


def _trained(
    book: Notebook, X: np.ndarray, y: np.ndarray, p: float
) -> list[tuple[str, float, float, float]]:
    """Train with dropout; claim the mean of independent runs, return it with its error."""
    members = 16
    loss = DroppedSquares(p)
    game = Game(lambda key: (jax.random.normal(key, (4,)),), Mean(loss), loss)
    method = Optimisation(
        batch_size=len(y), learning_rate=0.04, optimiser="sgd", clip=None, warmup=0, ema=0.997
    )
    training = Training(4000, method, evaluate_every=4000, chunk=4000)
    data = jnp.asarray(X, jnp.float32), jnp.asarray(y, jnp.float32)
    found = p * np.asarray(
        train(game, data, None, training, seed=book.seed, members=members).players[0]
    )
    exact = dropout(X, y, strength(p))
    mean, se = found.mean(axis=0), found.std(axis=0, ddof=1) / members**0.5
    book.at_most(
        f"training-{p:g}",
        f"p = {p:g}: p w after 4000 steps with dropout, mean of {members} runs, against the "
        f"closed form: largest |t| of 4 (false alarms: {FALSE_ALARM:g})",
        np.abs((mean - exact) / se).max(),
        float(student.isf(FALSE_ALARM / 2 / 4, members - 1)),
    )
    book.at_most(
        f"training-error-{p:g}",
        f"p = {p:g}: distance of that mean from the closed form, over the latter's norm",
        np.linalg.norm(mean - exact) / np.linalg.norm(exact),
        0.02,
    )
    return [(f"w{i + 1}, p = {p:g}", mean[i], se[i], exact[i]) for i in range(4)]


def _paths(book: Notebook, X: np.ndarray, y: np.ndarray) -> None:
    """Draw p w_dropout and w_ridge against λ, ridge at the mean penalty μ = λ tr Γ²/d."""
    lams = np.logspace(-3, 3, 121)
    mean = penalties(X).mean()
    panels = {
        "p w, dropout": [dropout(X, y, lam) for lam in lams],
        "w, ridge": [ridge(X, y, lam * mean) for lam in lams],
    }
    norms = ", ".join(f"{size:.0f}" for size in penalties(X) ** 0.5)
    book.figure(
        curves(
            np.log10(lams),
            {
                name: {f"w{i + 1}": np.array(path)[:, i] for i in range(4)}
                for name, path in panels.items()
            },
            xlabel="log₁₀ λ,  λ = (1 - p)/p  (ridge: μ = λ · mean of Γ²)",
            title=f"Columns of norm {norms}: two ways to shrink",
        ),
        "dropout-ridge",
    )
