r"""Simple sets, and the nearest point of each: where the players of a constrained game live.

    P(x) = argmin_{y in C} ‖y - x‖

Euclidean projections come from optax. After a plain gradient step they keep the stationary points
of the constrained game. After an optimiser that scales each coordinate by itself (Adam) they keep
them on a box alone, whose constraints are coordinate by coordinate too; elsewhere the combination
is refused.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import jax
import optax

from jensen._errors import InputError
from jensen._typing import PyTree


class ConvexSet(abc.ABC):
    """A closed convex set with a cheap projection, over all entries of one player."""

    separable: ClassVar[bool] = False
    """Whether each coordinate is constrained by itself."""

    @abc.abstractmethod
    def project(self, player: PyTree) -> PyTree:
        """Return the nearest point of the set."""


@dataclass(frozen=True)
class Box(ConvexSet):
    """All points with low <= x <= high in every coordinate.

    Args:
        low: smallest value.
        high: largest value.

    Raises:
        InputError: if low > high.

    Example:
        >>> Box(0.0, 1.0).project(jax.numpy.array([-1.0, 0.5, 2.0])).tolist()
        [0.0, 0.5, 1.0]
    """

    low: float
    high: float
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise InputError(
                f"a box from {self.low} to {self.high} is empty", "Box", "give low <= high"
            )

    def project(self, player: PyTree) -> PyTree:
        """Return min(max(x, low), high)."""
        return optax.projections.projection_box(player, self.low, self.high)


@dataclass(frozen=True)
class Ball(ConvexSet):
    """All points with ‖x‖₂ <= radius.

    Args:
        radius: above 0.

    Raises:
        InputError: if the radius is not above 0.

    Example:
        >>> Ball(1.0).project(jax.numpy.array([3.0, 4.0])).round(3).tolist()
        [0.6000000238418579, 0.800000011920929]
    """

    radius: float

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise InputError(
                f"a ball of radius {self.radius} is empty", "Ball", "give a radius above 0"
            )

    def project(self, player: PyTree) -> PyTree:
        """Return x, shortened to the radius where it is longer."""
        return optax.projections.projection_l2_ball(player, self.radius)


@dataclass(frozen=True)
class Simplex(ConvexSet):
    """All probability vectors: x >= 0 with Σ x = 1, in each array of the player by itself.

    Example:
        >>> Simplex().project(jax.numpy.array([0.5, 0.5, 2.0])).tolist()
        [0.0, 0.0, 1.0]
    """

    def project(self, player: PyTree) -> PyTree:
        """Return max(x - τ, 0) with the τ that makes the sum 1."""
        return jax.tree.map(optax.projections.projection_simplex, player)
