r"""A GAN through its dual: the discriminator is solved, and nothing is left to oscillate.

The discriminator is logistic in features φ(x), with ridge c:

    P(w, θ) = c/2 ‖w‖² + 1/n Σ softplus(-y_i wᵀφ(x_i)),      y = 1 on data, -1 on x = G_θ(z)

w minimises and θ maximises. For given θ the minimum has a convex dual in α in [0, 1]ⁿ,

    max_α  -1/(2c) ‖1/n Σ α_i y_i φ(x_i)‖² + 1/n Σ H(α_i),    w = 1/(cn) Σ α_i y_i φ(x_i),

whose value V(θ) is known with a certificate. Ascending V is a game with one player; it ends where
V = log 2, its largest value: there w = 0, and the features of data and samples have equal means.
Descent-ascent on P with the same step turns around that point.

Source: the course document's problem on GANs and duality.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

from jensen.games.dual import dual_value, solve_discriminator
from jensen.games.play import play
from jensen.report.curves import curves
from jensen.studies.notebook import Notebook

SIZES = ((50, 3, 1e-1), (1000, 20, 1e-3), (30, 200, 1e-2), (2000, 50, 1e-6))
RIDGE, STEP, STEPS, ROWS = 0.2, 4.0, 400, 200


def study(book: Notebook) -> None:
    """Certify the dual, recover w from it, and train a generator both ways."""
    _duality(book)
    _envelope(book)
    with jax.enable_x64(True):
        dual, turning = _means(book)
        _moments(book)
    book.figure(
        curves(
            np.arange(STEPS + 1),
            {
                "‖mean of samples - mean of data‖": {
                    "through the dual": dual,
                    "descent-ascent": turning,
                }
            },
            xlabel=f"step (η = {STEP:g} for both)",
            log=("‖mean of samples - mean of data‖",),
        ),
        "dual-gan",
    )
    book.used = "made: normal rows"


def _duality(book: Notebook) -> None:
    random = np.random.default_rng(book.seed)
    gaps, objectives, links, boxes, weak = [], [], [], [], []
    for n, d, c in SIZES:
        X = random.normal(size=(n, d))
        y = np.where(random.uniform(size=n) < 1 / (1 + np.exp(-X @ random.normal(size=d))), 1, -1)
        found = solve_discriminator(X, y, c, tolerance=0)  # the link wants all digits
        gaps.append(found.gap / found.primal_value)
        boxes.append(max(-found.dual.min(), found.dual.max() - 1))
        link = (found.dual * y) @ X / (c * n)
        links.append(np.abs(link - found.weights).max() / (1 + np.abs(link).max()))
        weak.append(_dual_of(X, y, c, random.uniform(size=n)) - found.primal_value)
        other = LogisticRegression(
            C=1 / (c * n), fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=1000
        ).fit(X, y)
        theirs = _primal_of(X, y, c, other.coef_[0])
        objectives.append(abs(found.primal_value - theirs))
    book.at_most("strong-duality", "largest (P - D)/P of four problems", max(gaps), 1e-10)
    book.at_most("weak-duality", "largest D(random α) - min P (nats)", max(weak), 0.0)
    book.at_most("box", "how far a dual variable leaves [0, 1]", max(boxes), 0.0)
    book.at_most("link", "w against 1/(cn) Σ α y x, relative", max(links), 1e-8)
    book.at_most(
        "scikit-learn", "P at our w against LogisticRegression's (nats)", max(objectives), 1e-8
    )


def _primal_of(X: np.ndarray, y: np.ndarray, c: float, w: np.ndarray) -> float:
    """Return P(w), written out again."""
    return float(c / 2 * w @ w + np.mean(np.logaddexp(0, -y * (X @ w))))


def _dual_of(X: np.ndarray, y: np.ndarray, c: float, alpha: np.ndarray) -> float:
    """Return D(α), written out again."""
    pull = (alpha * y) @ X / len(X)
    entropy = -alpha * np.log(alpha) - (1 - alpha) * np.log1p(-alpha)
    return float(-(pull @ pull) / (2 * c) + entropy.mean())


def _envelope(book: Notebook) -> None:
    random = np.random.default_rng(book.seed + 1)
    Z = random.normal(size=(12, 3))
    direction = random.normal(size=Z.shape)
    with jax.enable_x64(True):
        slope = np.sum(np.asarray(jax.grad(dual_value)(jnp.asarray(Z), RIDGE)) * direction)
        h = 1e-4
        ends = [dual_value(jnp.asarray(Z + s * h * direction), RIDGE) for s in (1, -1)]
    book.at_most(
        "envelope",
        "∂V/∂x = -1/n α y w against a central difference",
        abs(slope - float(ends[0] - ends[1]) / (2 * h)),
        1e-6,
    )


def _means(book: Notebook) -> tuple[np.ndarray, np.ndarray]:
    """Train x = μ + 0.1 z against φ(x) = x, both ways; return the distance of the means."""
    random = np.random.default_rng(book.seed + 2)
    real = jnp.asarray(0.1 * random.normal(size=(ROWS, 2)))
    noise = jnp.asarray(0.1 * random.normal(size=(ROWS, 2)))

    def signed(mean: jax.Array) -> jax.Array:
        return jnp.concatenate([real, -(mean + noise)])

    def through_dual(players: tuple) -> tuple:
        return (-dual_value(signed(players[0]), jnp.asarray(RIDGE)),)

    def minimax(players: tuple) -> tuple:
        w, mean = players
        value = 0.5 * RIDGE * w @ w + jnp.mean(jax.nn.softplus(-signed(mean) @ w))
        return value, -value

    start = np.array([1.0, -0.5])
    path = play(through_dual, (start,), step=STEP, steps=STEPS)
    cycle = play(minimax, (np.zeros(2), start), step=STEP, steps=STEPS)
    offset = np.asarray(noise.mean(axis=0) - real.mean(axis=0))
    distances = [
        np.linalg.norm(points + offset, axis=1) for points in (path.flat(), cycle.flat()[:, 2:])
    ]
    values = -path.curves(through_dual)[0][:, 0]
    book.at_most("means-match", "distance of the means, dual, at the end", distances[0][-1], 1e-6)
    book.equal("value-log-2", "V at the end (nats)", values[-1], np.log(2), 1e-9)
    book.at_least(
        "never-falls", "smallest change of V in a step (nats)", np.diff(values).min(), 0.0, 1e-12
    )
    book.at_least(
        "descent-ascent-turns",
        "distance of the means, descent-ascent with the same step, least of the last 200 steps",
        distances[1][-200:].min(),
        0.05,
    )
    return distances[0], distances[1]


def _moments(book: Notebook) -> None:
    """Train x = μ + A z against first and second moments."""
    random = np.random.default_rng(book.seed + 3)
    mixing = np.array([[0.8, 0.0], [0.5, 0.6]])
    real = jnp.asarray(random.normal(size=(ROWS, 2)) @ mixing.T + np.array([0.5, -0.3]))
    noise = jnp.asarray(random.normal(size=(ROWS, 2)))

    def features(x: jax.Array) -> jax.Array:
        pairs = jnp.stack([x[:, 0] ** 2, x[:, 0] * x[:, 1], x[:, 1] ** 2], axis=1)
        return jnp.concatenate([x, pairs], axis=1)

    def losses(players: tuple) -> tuple:
        fake = noise @ players[0]["A"].T + players[0]["mean"]
        signed = jnp.concatenate([features(real), -features(fake)])
        return (-dual_value(signed, jnp.asarray(RIDGE)),)

    start = ({"A": np.eye(2), "mean": np.zeros(2)},)
    steps = 2000
    (end,) = play(losses, start, step=0.2, steps=steps, every=steps).end
    fake = noise @ end["A"].T + end["mean"]
    gap = np.abs(np.asarray(features(fake).mean(axis=0) - features(real).mean(axis=0))).max()
    book.at_most(
        "moments-match",
        "largest difference of a first or second moment, dual, at the end",
        gap,
        1e-3,
    )
