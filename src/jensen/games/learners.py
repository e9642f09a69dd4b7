r"""Update rules of learners in matrix games, each with the rate of its average play.

After each iteration a player sees the payoffs of all actions against what the other just played:
u = B q for the row player, c = Bᵀp for the column player, who minimises. Payoffs are shifted and
scaled to B in [-1, 1] first. With x⁺ = max(x, 0) and x/‖x‖₁ the strategy proportional to x,

    regret matching     R ← R + u - pᵀu,               p = R⁺/‖R⁺‖₁
    regret matching+    R ← (R + u - pᵀu)⁺,            p = R/‖R‖₁; the players take turns, and
                                                       iteration t has weight t in the average
    predictive regret   R as above,                    p = S/‖S‖₁ with S = (R + u - pᵀu)⁺; in
    matching+                                          turns, iteration t with weight t²
    hedge               U ← U + u,                     p ∝ p₀ exp(η U)
    optimistic hedge    U ← U + u,                     p ∝ p₀ exp(η (U + u))
    fictitious play     U ← U + u,                     p = the first best action under U
    replicator          dp_i/dt = p_i (u_i - pᵀu)      continuous time, t = η · iterations

The sum of both players' regrets bounds the gap of the average play (Freund and Schapire 1999), and
gives each method its rate. With payoffs of range 2, D_r and D_c the players' max_i -log p₀_i (log m
and log n from the uniform start), the gap of the averages after t iterations is at most

    regret matching     2 (√m + √n) / √t
    regret matching+    4 (√m + √n) √t / (t + 1)       by summation by parts of weights t
    hedge               D_r/(η_r t) + D_c/(η_c t) + (η_r + η_c)/2,  least for η = √(2 D/T)
    optimistic hedge    (D_r + D_c + 2 η²) / (η t),    for η ≤ ½ in self-play
    replicator          (D_r + D_c) / (η t)            up to the integrator's error

For fictitious play and for predictive regret matching+ in turns no such bound is known: they are
drawn with regret matching's, as a slope. (Karlin's conjecture gives fictitious play that slope, and
fails for some ways to break ties. Without turns the predictive method has it, with another factor.)

Sources: Hart and Mas-Colell 2000; Tammelin et al. 2015 (IJCAI); Burch, Moravčík and Schmid 2019
(turns); Farina, Kroer and Sandholm 2021 (arXiv:2007.14358, predictive); Freund and Schapire 1999;
Syrgkanis et al. 2015 (arXiv:1507.00407), proposition 7; Brown 1951, Robinson 1951; Daskalakis and
Pan 2014 (against Karlin's conjecture); Hofbauer, Sorin and Viossat 2009 (replicator averages).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array

Pair = tuple[Array, Array]
Step = Callable[[Array, Pair, Pair, Pair, Pair], tuple[Pair, Pair, Pair]]
"""`step(B, memory, now, start, eta) -> (memory, next strategies, strategies to average)`."""
Bound = Callable[..., np.ndarray]
"""`bound(t, size, spread, eta)` with (m, n), (D_r, D_c) and (η_r, η_c); for payoffs in [-1, 1]."""


@dataclass(frozen=True)
class Learner:
    """One row of `LEARNERS`.

    Args:
        step: one iteration.
        bound: the gap of the average after t iterations, for payoffs in [-1, 1].
        rate: the bound's order, in words.
        eta: the default step sizes `eta(spread, iterations)`; None where there is none to choose.
        power: iteration t has weight t^power in the average.
        interior: whether every action must have a positive probability at the start.
        proved: whether `bound` is a theorem.
    """

    step: Step
    bound: Bound
    rate: str
    eta: Callable[[np.ndarray, int], np.ndarray] | None = None
    power: int = 0
    interior: bool = False
    proved: bool = True


def _proportional(x: Array, otherwise: Array) -> Array:
    positive = jnp.maximum(x, 0.0)
    total = positive.sum()
    return jnp.where(total > 0.0, positive / jnp.where(total > 0.0, total, 1.0), otherwise)


def _regret_matching(b: Array, memory: Pair, now: Pair, start: Pair, eta: Pair) -> tuple:
    (p, q), u, c = now, b @ now[1], now[0] @ b
    memory = memory[0] + u - p @ u, memory[1] + q @ c - c
    ahead = _proportional(memory[0], start[0]), _proportional(memory[1], start[1])
    return memory, ahead, now


def _regret_matching_plus(b: Array, memory: Pair, now: Pair, start: Pair, eta: Pair) -> tuple:
    (p, q), u = now, b @ now[1]
    regrets = jnp.maximum(memory[0] + u - p @ u, 0.0)
    p = _proportional(regrets, start[0])
    c = p @ b
    memory = regrets, jnp.maximum(memory[1] + q @ c - c, 0.0)
    return memory, (p, _proportional(memory[1], start[1])), (p, q)


def _predictive_regret_matching_plus(
    b: Array, memory: Pair, now: Pair, start: Pair, eta: Pair
) -> tuple:
    (p, q), u = now, b @ now[1]
    regret = u - p @ u
    above = jnp.maximum(memory[0] + regret, 0.0)
    p = _proportional(above + regret, start[0])
    c = p @ b
    regret = q @ c - c
    below = jnp.maximum(memory[1] + regret, 0.0)
    return (above, below), (p, _proportional(below + regret, start[1])), (p, q)


def _hedge(b: Array, memory: Pair, now: Pair, start: Pair, eta: Pair) -> tuple:
    memory = memory[0] + b @ now[1], memory[1] - now[0] @ b
    return memory, _exponential(memory, start, eta), now


def _optimistic_hedge(b: Array, memory: Pair, now: Pair, start: Pair, eta: Pair) -> tuple:
    u, c = b @ now[1], now[0] @ b
    memory = memory[0] + u, memory[1] - c
    return memory, _exponential((memory[0] + u, memory[1] - c), start, eta), now


def _exponential(scores: Pair, start: Pair, eta: Pair) -> Pair:
    p, q = (jax.nn.softmax(jnp.log(s) + e * x) for x, s, e in zip(scores, start, eta, strict=True))
    return p, q


def _fictitious_play(b: Array, memory: Pair, now: Pair, start: Pair, eta: Pair) -> tuple:
    memory = memory[0] + b @ now[1], memory[1] - now[0] @ b
    p, q = (jnp.arange(x.shape[0]) == jnp.argmax(x) for x in memory)
    return memory, (p.astype(b.dtype), q.astype(b.dtype)), now


def _replicator(b: Array, memory: Pair, now: Pair, start: Pair, eta: Pair) -> tuple:
    """Make one step of the classical Runge–Kutta method in U = log p/p₀ + const, where U' = B q.

    The averaged strategies carry the method's weights 1, 2, 2, 1, so that U is B times their sum.
    """
    one = jnp.ones(()), jnp.ones(())

    def at(p: Array, q: Array, share: float) -> Pair:
        moved = memory[0] + share * eta[0] * (b @ q), memory[1] - share * eta[1] * (p @ b)
        return _exponential(moved, start, one)

    second = at(*now, 0.5)
    third = at(*second, 0.5)
    fourth = at(*third, 1.0)
    p, q = (
        (w + 2.0 * x + 2.0 * y + z) / 6.0
        for w, x, y, z in zip(now, second, third, fourth, strict=True)
    )
    memory = memory[0] + eta[0] * (b @ q), memory[1] - eta[1] * (p @ b)
    return memory, _exponential(memory, start, one), (p, q)


def _root_bound(
    t: np.ndarray, size: tuple[int, ...], spread: np.ndarray, eta: np.ndarray
) -> np.ndarray:
    return 2.0 * (np.sqrt(size[0]) + np.sqrt(size[1])) / np.sqrt(t)


def _linear_root_bound(
    t: np.ndarray, size: tuple[int, ...], spread: np.ndarray, eta: np.ndarray
) -> np.ndarray:
    return 2.0 * t / (t + 1.0) * _root_bound(t, size, spread, eta)


def _hedge_bound(
    t: np.ndarray, size: tuple[int, ...], spread: np.ndarray, eta: np.ndarray
) -> np.ndarray:
    return (spread / eta).sum() / t + 0.5 * eta.sum()


def _optimistic_bound(
    t: np.ndarray, size: tuple[int, ...], spread: np.ndarray, eta: np.ndarray
) -> np.ndarray:
    if eta[0] > 0.5:
        return np.full_like(t, np.nan)
    return (spread.sum() / eta[0] + 2.0 * eta[0]) / t


def _replicator_bound(
    t: np.ndarray, size: tuple[int, ...], spread: np.ndarray, eta: np.ndarray
) -> np.ndarray:
    return spread.sum() / (eta[0] * t)


def _hedge_eta(spread: np.ndarray, iterations: int) -> np.ndarray:
    return np.sqrt(2.0 * np.maximum(spread, 1e-12) / iterations)  # spread is 0 for one action


LEARNERS: dict[str, Learner] = {
    "regret-matching": Learner(_regret_matching, _root_bound, "O(t^-1/2)"),
    "regret-matching+": Learner(_regret_matching_plus, _linear_root_bound, "O(t^-1/2)", power=1),
    "predictive-regret-matching+": Learner(
        _predictive_regret_matching_plus,
        _root_bound,
        "O(t^-1/2), proved without turns",
        power=2,
        proved=False,
    ),
    "hedge": Learner(_hedge, _hedge_bound, "O(T^-1/2) at t = T", eta=_hedge_eta, interior=True),
    "optimistic-hedge": Learner(
        _optimistic_hedge,
        _optimistic_bound,
        "O(t^-1)",
        eta=lambda spread, iterations: np.full(2, 0.5),
        interior=True,
    ),
    "fictitious-play": Learner(
        _fictitious_play, _root_bound, "O(t^-1/2), conjectured (Karlin)", proved=False
    ),
    "replicator": Learner(
        _replicator,
        _replicator_bound,
        "O(t^-1)",
        eta=lambda spread, iterations: np.full(2, 0.1),
        interior=True,
    ),
}
"""The learning methods, by name."""
