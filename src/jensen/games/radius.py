r"""The spectral radius of a rule near a stationary point, and its largest stable step.

Near a stationary point a game is the quadratic game with the same velocity Jacobian J,

    L_i(x) = -½ x_iᵀ J_ii x_i - x_iᵀ Σ_{j≠i} J_ij x_j,      x' = J x,

and one step of a rule on it is a linear map S(η) of the players and the rule's memory: the matrix
is read off the rule's own code by automatic differentiation. Its spectral radius ρ(η) decides:
the rule converges from nearby if ρ < 1 and leaves if ρ > 1.

For a `spectral` rule S is a function of J alone, and its eigenvalues follow from those of J one by
one: an eigenvalue λ = a + ib stands for the two-player game with J = [[a, -b], [b, a]]. That also
draws the region of the λ-plane where a step is stable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from jensen._errors import InputError
from jensen._typing import Array, PyTree
from jensen.games.field import Field, Losses
from jensen.games.rules import Players, Rule, Update
from jensen.games.spectrum import Spectrum, Verdict, eigenvalues

_ROUNDING = 1e-13  # of a radius, beyond what its eigenvalues' errors say


@dataclass(frozen=True)
class Radius:
    """What a rule does near a stationary point.

    Attributes:
        radius: ρ of the step's linear map at the given step.
        verdict: of ρ against 1.
        largest_stable_step: the η up to which every smaller step has ρ < 1: 0 where there is none,
            or none that rounding lets see, ∞ where there is no end, NaN where it was not sought.
    """

    radius: float
    verdict: Verdict
    largest_stable_step: float


def quadratic_game(matrix: Array, sizes: tuple[int, ...]) -> Losses:
    """Return the losses of the quadratic game with velocity Jacobian J.

    Args:
        matrix: J `(d, d)`; its diagonal blocks are Hessians and so symmetric.
        sizes: entries of each player; players are vectors.

    Example:
        >>> game = quadratic_game(jnp.array([[0.0, -1.0], [1.0, 0.0]]), (1, 1))
        >>> [float(g[0]) for g in Field(game).v((jnp.array([2.0]), jnp.array([3.0])))]
        [3.0, -2.0]
    """
    ends = np.cumsum((0, *sizes))

    def losses(players: Players) -> tuple[Array, ...]:
        x = jnp.concatenate(players)
        found = []
        for i, player in enumerate(players):
            rows = matrix[ends[i] : ends[i + 1]]
            own = rows[:, ends[i] : ends[i + 1]] @ player
            found.append(-player @ (rows @ x) + 0.5 * player @ own)
        return tuple(found)

    return losses


def step_map(rule: Rule, field: Field, players: Players, steps: tuple[Any, ...]) -> Any:
    """Return the rule's step as a function of one vector, and that vector at `players`.

    The vector holds the players' entries, then those of the rule's memory.

    Args:
        rule: the rule.
        field: the game.
        players: where the memory begins.
        steps: η of each player.
    """
    memory = rule.init(players)
    moving, fixed = eqx.partition(memory, eqx.is_inexact_array)
    fixed = jax.tree.map(jnp.ones_like, fixed)  # a step was made before
    start, unravel = jax.flatten_util.ravel_pytree((players, moving))
    update = Update(lambda i, g, state, p: (jax.tree.map(lambda a: -steps[i] * a, g), state))

    def step(z: Array) -> Array:
        now, remembered = unravel(z)
        states: tuple[PyTree, ...] = ((),) * len(now)
        out = rule.step(field, update, now, states, eqx.combine(remembered, fixed))
        kept = eqx.filter(out.memory, eqx.is_inexact_array)
        return jax.flatten_util.ravel_pytree((out.players, kept))[0]

    return step, start


@partial(jax.jit, static_argnums=(0, 2))
def step_matrix(rule: Rule, matrix: Array, sizes: tuple[int, ...], steps: Array) -> Array:
    """Return the matrix S of one step on the quadratic game of a velocity Jacobian.

    Args:
        rule: the rule.
        matrix: J `(d, d)`.
        sizes: entries of each player.
        steps: η of each player `(players,)`.

    Returns:
        S `(m, m)`, m >= d: players first, then the rule's memory.
    """
    game = Field(quadratic_game(matrix, sizes))
    players = tuple(jnp.zeros(n, matrix.dtype) for n in sizes)
    step, start = step_map(rule, game, players, tuple(steps))
    return jax.jacfwd(step)(start)


@partial(jax.jit, static_argnums=0)
def _planar(rule: Rule, values: Array, step: Array) -> Array:
    """Return S of the two-player game of each eigenvalue `(k, m, m)`."""

    def one(a: Array, b: Array) -> Array:
        return step_matrix(rule, jnp.array([[a, -b], [b, a]]), (1, 1), jnp.stack([step, step]))

    return jax.vmap(one)(values.real, values.imag)


def spectral_radius(rule: Rule, values: Any, step: float) -> np.ndarray:
    """Return ρ for each eigenvalue λ of the velocity's Jacobian, for a spectral rule.

    Args:
        rule: a spectral rule.
        values: λ, complex, any shape.
        step: η.

    Raises:
        InputError: for a rule whose step is not a function of the Jacobian alone.

    Example:
        >>> from jensen.games.rules import Simultaneous
        >>> spectral_radius(Simultaneous(), 1j, 0.1).round(6).item()  # √(1 + η²)
        1.004988
    """
    if not rule.spectral:
        raise InputError(
            f"the radius of {type(rule).__name__} does not follow from eigenvalues alone",
            "rule",
            "give the Jacobian to step_matrix",
        )
    flat = np.atleast_1d(np.asarray(values, np.complex128)).ravel()
    padded = np.resize(flat, -(-flat.size // 8) * 8)  # few shapes: programs are used again
    with jax.enable_x64(True):
        matrices = np.asarray(_planar(rule, jnp.asarray(padded), jnp.asarray(step, float)))
    radii = np.abs(np.linalg.eigvals(matrices[: flat.size])).max(axis=-1)
    return radii.reshape(np.shape(values))


def radius_of(
    rule: Rule,
    matrix: np.ndarray,
    spectrum: Spectrum,
    sizes: tuple[int, ...],
    steps: tuple[float, ...],
) -> Radius:
    """Return what a rule does near a stationary point with a dense Jacobian.

    Args:
        rule: the rule.
        matrix: J of the velocity `(d, d)`.
        spectrum: its eigenvalues.
        sizes: entries of each player.
        steps: η of each player; the largest stable step keeps their ratios and is given for the
            first player.
    """
    by_values = rule.spectral and len(set(steps)) == 1
    ratios = np.asarray(steps) / steps[0]
    # each eigenvalue and its neighbours, as far away as it may be wrong
    around = spectrum.errors * np.array([0, 1, -1, 1j, -1j])[:, None]
    nearby = _symmetric(len(matrix)) * float(spectrum.errors.min())

    def found(step: float) -> Range:
        if by_values:
            radii = spectral_radius(rule, spectrum.values + around, step)
            radius = float(radii[0].max())
            low, high = float(radii.min(axis=0).max()), float(radii.max())
        else:
            with jax.enable_x64(True):
                S, beside = (
                    np.asarray(step_matrix(rule, jnp.asarray(J, float), sizes, step * ratios))
                    for J in (matrix, matrix + nearby)
                )
            whole = eigenvalues(S, float(np.linalg.norm(beside - S)))
            radii = np.abs(whole.values)
            radius = float(radii.max())
            low, high = float((radii - whole.errors).max()), float((radii + whole.errors).max())
        return Range(low - _ROUNDING, radius, high + _ROUNDING)

    here = found(steps[0])
    verdict: Verdict = "stable" if here.high < 1 else "unstable" if here.low > 1 else "marginal"
    size = float((np.abs(spectrum.values) + spectrum.errors).max())
    return Radius(here.radius, verdict, _largest_step(found, size, 377 if by_values else 95))


class Range(NamedTuple):
    """A spectral radius, and the least and the most it may be."""

    low: float
    radius: float
    high: float


def _symmetric(d: int) -> np.ndarray:
    """Return a symmetric matrix of norm 1 in a generic direction `(d, d)`."""
    draw = np.random.default_rng(0).normal(size=(d, d))
    return (draw + draw.T) / np.linalg.norm(draw + draw.T)


def _largest_step(found: Callable[[float], Range], size: float, points: int) -> float:
    """Return the first η at which ρ(η) leaves (0, 1), by a scan and a root.

    The smallest steps, whose ρ is 1 within its error, say nothing and are passed over; where this
    goes on up to η |λ| = 1 no step is called stable.
    """
    before = None
    for now in np.linspace(np.log(1e-7 / size), np.log(1e4 / size), points):
        here = found(float(np.exp(now)))
        if here.high < 1:
            before = now
        elif before is not None:
            column = 1 if here.radius >= 1 else 2

            def excess(log_step: float, column: int = column) -> float:
                return found(float(np.exp(log_step)))[column] - 1

            root: Any = scipy.optimize.brentq(excess, before, now, xtol=1e-14)
            return float(np.exp(root))
        elif here.low > 1 or now > -np.log(size):
            return 0.0
    return 0.0 if before is None else float("inf")
