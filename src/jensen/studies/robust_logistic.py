r"""Robust logistic regression: stochastic descent-ascent follows the adversary's shift.

    min_θ max_φ  L(θ, φ) = 1/N Σ softplus(-Yᵢ (Xᵢ - φ)ᵀθ) - λ/2 ‖φ‖²

Every step draws one row i and moves both players from the same point,

    θ⁺ = θ - α ∇_θ Lᵢ(θ, φ),     φ⁺ = φ + β ∇_φ Lᵢ(θ, φ),     Lᵢ with the penalty inside.

For given θ the inner maximiser is parallel to θ: ∇_φ L = 0 reads φ* = cθ with the scalar root

    c = 1/(λN) Σ Yᵢ σ(-Yᵢ (Xᵢ - cθ)ᵀθ),

unique while ‖θ‖² < 4λ, where L is concave in φ. Beyond, further maximisers appear far away, some
higher; descent-ascent stays with the local one next to 0, which is what the claims are about.

Source: the course document's problem 1, λ = 30. A circulating answer uses λ = 0.001 and subtracts
λφ without the step size β; both change the problem.
"""

from __future__ import annotations

import jax
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from jensen._errors import DivergedError
from jensen.games.builtin import RobustLogistic, robust_logistic_data
from jensen.games.play import play
from jensen.report.curves import curves
from jensen.studies.notebook import Notebook

LAMBDA, ALPHA, BETA, EPOCHS = 30.0, 0.3, 1e-4, 5000


def inner_roots(X: np.ndarray, Y: np.ndarray, theta: np.ndarray, lam: float) -> np.ndarray:
    """Return every c with ∇_φ L(θ, cθ) = 0; all lie in [-1/λ, 1/λ]."""

    def excess(c: float) -> float:
        margins = Y * ((X - c * theta) @ theta)
        return c - float(np.mean(Y * expit(-margins))) / lam

    grid = np.linspace(-1.01 / lam, 1.01 / lam, 4001)
    values = np.array([excess(c) for c in grid])
    at = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) <= 0)
    return np.array([brentq(excess, grid[i], grid[i + 1], xtol=1e-16) for i in at])


def inner_maximiser(X: np.ndarray, Y: np.ndarray, theta: np.ndarray, lam: float) -> np.ndarray:
    """Return the local maximiser φ*(θ) = cθ next to 0: the only one while ‖θ‖² < 4λ.

    Beyond, higher ones may lie far away, where the adversary turns most rows around.
    """
    roots = inner_roots(X, Y, theta, lam)
    return roots[np.argmin(np.abs(roots))] * theta


def numpy_loop(
    X: np.ndarray, Y: np.ndarray, start: tuple[np.ndarray, np.ndarray], index: np.ndarray
) -> np.ndarray:
    """Return L after each epoch, by a plain loop over the same rows, gradients written by hand."""
    theta, phi = start
    values = [objective(X, Y, theta, phi)]
    for rows in index.reshape(-1, len(X)):
        for i in rows:
            pull = Y[i] * expit(-Y[i] * (X[i] - phi) @ theta)
            theta, phi = (
                theta + ALPHA * pull * (X[i] - phi),
                phi + BETA * (pull * theta - LAMBDA * phi),
            )
        values.append(objective(X, Y, theta, phi))
    return np.array(values)


def objective(X: np.ndarray, Y: np.ndarray, theta: np.ndarray, phi: np.ndarray) -> float:
    """Return L(θ, φ)."""
    margins = Y * ((X - phi) @ theta)
    return float(np.mean(np.logaddexp(0, -margins)) - LAMBDA / 2 * phi @ phi)


def study(book: Notebook) -> None:
    """Run descent-ascent, check it against numpy and the exact inner maximiser, draw its curves."""
    X, Y = robust_logistic_data()
    random = np.random.default_rng(book.seed)
    start = random.normal(scale=0.1, size=20), random.normal(scale=0.1, size=20)
    epochs = EPOCHS  # a second in all: the short form is the whole
    index = random.integers(len(X), size=epochs * len(X))
    game = RobustLogistic(X, Y, LAMBDA)
    with jax.enable_x64(True):
        path = play(
            game.sample,
            start,
            step=(ALPHA, BETA),
            steps=len(index),
            every=len(X),
            data=(X, Y),
            index=index,
        )
        if path.diverged_at is not None:
            raise DivergedError(
                f"descent-ascent left the finite numbers by {path.diverged_at} steps"
            )
        losses, norms = path.curves(game)
        theta, phi = (np.asarray(player) for player in path.end)
    _claims(book, (X, Y), start, (theta, phi), (losses[:, 0], norms), index)
    book.figure(
        curves(
            np.arange(epochs + 1),
            {
                "L (nats)": {"L": losses[:, 0]},
                "‖∇θ L‖ (nats)": {"full batch": norms[:, 0]},
                "‖∇φ L‖ (nats)": {"full batch": norms[:, 1]},
            },
            xlabel=f"epoch ({len(X)} steps of one row each)",
            log=("‖∇θ L‖ (nats)", "‖∇φ L‖ (nats)"),
        ),
        "robust-logistic",
    )
    book.used = "made: N = 30 rows, p = 20 columns, numpy seed 0, as the document's starter code"


def _claims(
    book: Notebook,
    data: tuple[np.ndarray, np.ndarray],
    start: tuple[np.ndarray, np.ndarray],
    end: tuple[np.ndarray, np.ndarray],
    curves_: tuple[np.ndarray, np.ndarray],
    index: np.ndarray,
) -> None:
    X, Y = data
    losses, norms = curves_
    for i, (name, letter) in enumerate((("theta", "θ"), ("phi", "φ"))):
        book.at_most(
            f"{name}-gradient-falls",
            f"‖∇{letter} L‖ on the whole data, end over start",
            norms[-1, i] / norms[0, i],
            0.1,
        )
    best = inner_maximiser(X, Y, end[0], LAMBDA)
    pull = Y * expit(-Y * ((X - best) @ end[0]))
    gradient = np.mean(pull) * end[0] - LAMBDA * best
    book.at_most(
        "inner-maximiser",
        "‖∇φ L‖ at the scalar root's φ*(θ) = cθ",
        np.linalg.norm(gradient),
        1e-12,
    )
    spread = expit(-Y * ((X - best) @ end[0]))
    curvature = np.mean(spread * (1 - spread)) * end[0] @ end[0] - LAMBDA
    book.at_most(
        "inner-concave",
        "largest eigenvalue of ∇²φ L there (a maximum where negative; -λ across θ)",
        curvature,
        0.0,
    )
    before = np.linalg.norm(start[1] - inner_maximiser(X, Y, start[0], LAMBDA))
    book.at_most(
        "phi-reaches-maximiser",
        "‖φ - φ*(θ)‖ at the end over its value at the start, φ* the maximiser next to 0",
        np.linalg.norm(end[1] - best) / before,
        1e-2,
    )
    roots = inner_roots(X, Y, end[0], LAMBDA)
    if len(roots) > 1:
        book.remark(
            f"‖θ‖² = {end[0] @ end[0]:.0f} is beyond 4λ = {4 * LAMBDA:.0f}: L is no longer concave "
            f"in φ and has {len(roots)} stationary points along θ, with L = "
            + ", ".join(f"{objective(X, Y, end[0], c * end[0]):.3g}" for c in roots)
            + "; descent-ascent stays with the local maximiser next to 0, "
            f"L = {objective(X, Y, end[0], best):.3g}"
        )
    gap = np.abs(losses - numpy_loop(X, Y, start, index)).max()
    book.at_most(
        "numpy-loop",
        "largest difference of L from a plain numpy loop over the same rows, any epoch (nats)",
        gap,
        1e-6,
    )
