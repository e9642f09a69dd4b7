r"""Stationary points of a game: where every player's gradient vanishes.

    v(x*) = 0

Roots are sought from many starts by Powell's hybrid method (SciPy), polished by Newton's method in
float64, and certified: a point is returned only if its residual max |v| is small, the Newton step
J⁻¹v, which estimates the distance to the root, is small beside 1 + ‖x‖. The second rejects a field
that merely fades towards infinity, where v is small and no root is near; rows and columns
of J are brought to one size for it, lest a stiff player hide a fading one. Far away that is not
enough, for there a Newton step is small beside ‖x‖, and v may underflow to 0: a point is rejected
too where an entry of v is as good as 0 all around it, though it is not at the starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from jensen._errors import InputError
from jensen.games.play import as_players, check_losses
from jensen.games.rules import Players
from jensen.games.spectrum import flatten

_RESIDUAL = 1e-9  # of the field's size at the starts
_NEAR = 1e-6  # Newton step against 1 + ‖x‖
_AROUND = 1e-2  # moves of each entry, of 1 + its magnitude
_FADED = 1e-30  # of an entry's size at the starts: a root of multiplicity 15 is still told from it
_POLISHES = 80  # a multiple root is approached by a constant factor a step


@dataclass(frozen=True)
class StationaryPoint:
    """A stationary point and its certificate.

    Attributes:
        vector: all players' entries side by side `(d,)`, float64.
        players: the same as the players' pytrees.
        residual: max |v| there.
        correction: the Newton step J⁻¹v `(d,)`: an estimate of the distance to the exact root.
        starts: how many starts ended here.
    """

    vector: np.ndarray
    players: Players
    residual: float
    correction: np.ndarray
    starts: int


def stationary_points(
    losses: Any,
    start: Any,
    *,
    starts: int = 32,
    scale: float = 1.0,
    seed: int = 0,
) -> list[StationaryPoint]:
    """Return the stationary points found from many starts: first that of `start`, where it has one.

    Args:
        losses: `losses(players) -> (loss_1, …)`.
        start: the players where the search begins; other starts are normal around it.
        starts: how many starts, the first being `start` itself.
        scale: standard deviation of the others.
        seed: of the starts.

    Returns:
        The distinct points; after the first, those found most often come first.

    Raises:
        InputError: if none is found, saying the smallest residual, or the field is not finite at
            any start.

    Example:
        >>> square = lambda p: ((p[0] ** 2 - 1) ** 2,)
        >>> sorted(round(float(p.vector[0])) for p in stationary_points(square, (0.5,)))
        [-1, 0, 1]
    """
    with jax.enable_x64(True):
        players = jax.tree.map(lambda a: a.astype(float), as_players(start))
        check_losses(losses, players)
        velocity, first = flatten(losses, players)
        field = _on_numpy(jax.jit(velocity))
        slope = _on_numpy(jax.jit(jax.jacfwd(velocity)))
        noise = np.random.default_rng(seed).normal(scale=scale, size=(starts, first.size))
        noise[0] = 0
        begins = [x for x in np.asarray(first) + noise if np.isfinite(field(x)).all()]
        if not begins:
            raise InputError(
                "the field is not finite at any start", "the game", "give a start where it is"
            )
        sizes = np.abs([field(x) for x in begins])
        size, usual = float(np.median(sizes.max(axis=1))) or 1.0, np.median(sizes, axis=0)
        ends = [_root(field, slope, x) for x in begins]
        good = [e for e in ends if _certified(e, size) and not _faded(field, e[0], usual)]
        if not good:
            raise _nothing(ends)
        _, unravel = jax.flatten_util.ravel_pytree(players)
        return _gathered(good, unravel)


def _on_numpy(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.asarray(function(jnp.asarray(x)))


End = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A point, its field, its Newton step."""


def _root(field: Any, slope: Any, x: np.ndarray) -> End:
    """Return where the search from x ends."""
    with np.errstate(all="ignore"):
        x = scipy.optimize.root(field, x, jac=slope, method="hybr", tol=1e-13).x
    end = _measured(field, slope, x)
    for _ in range(_POLISHES):
        polished = _measured(field, slope, end[0] - end[2])
        if not np.abs(polished[1]).max() < np.abs(end[1]).max():
            break
        end = polished
    return end


def _measured(field: Any, slope: Any, x: np.ndarray) -> End:
    value, matrix = field(x), slope(x)
    if not (np.isfinite(value).all() and np.isfinite(matrix).all()):
        return x, np.full_like(x, np.inf), np.zeros_like(x)
    # rows, then columns, of one size: a fading player is not hidden by a stiff one
    rows = _sizes(matrix, axis=1)
    columns = _sizes(matrix / rows[:, None], axis=0)
    scaled = matrix / rows[:, None] / columns
    return x, value, np.linalg.lstsq(scaled, value / rows, rcond=1e-12)[0] / columns


def _sizes(matrix: np.ndarray, axis: int) -> np.ndarray:
    """Return the largest magnitude along an axis, 1 where all is 0."""
    largest = np.abs(matrix).max(axis=axis)
    return np.where(largest > 0, largest, 1.0)


def _certified(end: End, size: float) -> bool:
    x, value, correction = end
    near = np.linalg.norm(correction) <= _NEAR * (1 + np.linalg.norm(x))
    return bool(np.abs(value).max() <= _RESIDUAL * size and near)


def _faded(field: Any, x: np.ndarray, usual: np.ndarray) -> bool:
    """Return whether an entry of the field is 0 all around x, beside its usual size `(d,)`."""
    moves = _AROUND * np.random.default_rng(0).standard_normal((4, x.size)) * (1 + np.abs(x))
    around = np.max(np.abs([field(x + move) for move in moves]), axis=0)
    return bool((around < _FADED * usual).any())


def _nothing(ends: list[End]) -> InputError:
    x, value, correction = min(ends, key=lambda end: float(np.abs(end[1]).max()))
    gap = float(np.linalg.norm(correction))
    root = f"the nearest root is about {gap:.2g} away" if gap > _NEAR else "no root is in sight"
    return InputError(
        f"no stationary point found from {len(ends)} starts: the smallest max |v| is "
        f"{np.abs(value).max():.2g} at ‖x‖ = {np.linalg.norm(x):.3g}, where {root}",
        "the game",
        "start elsewhere, or add a penalty if the players grow without bound",
    )


def _gathered(ends: list[End], unravel: Callable[[Any], Players]) -> list[StationaryPoint]:
    """Return the distinct points: that of the first end, then those found most often."""
    groups: list[list[End]] = []
    for end in ends:
        for group in groups:
            gap = np.linalg.norm(group[0][0] - end[0])
            if gap <= 1e3 * _NEAR * (1 + np.linalg.norm(end[0])):
                group.append(end)
                break
        else:
            groups.append([end])
    found = []
    for group in groups:
        x, value, correction = min(group, key=lambda end: float(np.abs(end[1]).max()))
        residual = float(np.abs(value).max())
        point = x + 0.0  # no negative zeros
        found.append(
            StationaryPoint(point, unravel(jnp.asarray(point)), residual, correction, len(group))
        )
    return found[:1] + sorted(found[1:], key=lambda p: (-p.starts, p.residual))
