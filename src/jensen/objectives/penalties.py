r"""Penalties on the slope of a discriminator's logit C(x), added to its loss.

    R₁   γ/2 E_p ‖∇ₓC‖²                                  zero-centred, on the data
    R₂   γ/2 E_q ‖∇ₓC‖²                                  zero-centred, on generated rows
    GP   λ E_x̂ (‖∇ₓC(x̂)‖ - 1)²,   x̂ = u x + (1 - u) y    one-centred, between data and generated

with u ~ U(0, 1), one for each pair, and the norm taken for each row, never over the batch. R₁ is
no weight decay: it sees the slope with respect to x, on the data; on the Dirac-GAN, where C = ψ₀x,
the two coincide. With R₁ the equilibrium of a GAN attracts (Mescheder et al. 2018, theorem 4.1).
R₁ and R₂ are one penalty, `ZeroCentred`, at two kinds of rows.

Sources: Mescheder et al. 2018 (arXiv:1801.04406), eqs. 9-10; Gulrajani et al. 2017
(arXiv:1704.00028), eq. 3.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jensen._errors import InputError, check_name
from jensen._typing import Array, Key

Critic = Callable[[Array], Array]
"""A logit of one row (or pack) `(D,)`."""

ROWS = ("real", "fake")
"""Where a zero-centred penalty may be taken: R₁ and R₂."""


def squared_slopes(critic: Critic, rows: Array) -> Array:
    """Return ‖∇ₓC(x)‖² `(n,)` for rows `(n, D)`.

    Example:
        >>> squared_slopes(lambda x: x @ x, jnp.array([[1.0, 2.0]])).tolist()
        [20.0]
    """
    return jnp.sum(jax.vmap(jax.grad(critic))(rows) ** 2, axis=1)


class Penalty(abc.ABC):
    """A price on the slope of the discriminator."""

    @abc.abstractmethod
    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key) -> Array:
        """Return the penalty, a scalar.

        Args:
            critic: the logit of one row.
            real: rows of the data `(n, D)`.
            fake: generated rows `(n, D)`.
            key: randomness, for penalties that draw points.
        """


def _check(weight: float) -> None:
    if not weight > 0:
        raise InputError(
            f"the weight of a penalty must be above 0, got {weight}", mend="leave the penalty out"
        )


@dataclass(frozen=True)
class ZeroCentred(Penalty):
    """γ/2 E ‖∇ₓC‖², on the data (R₁) or on generated rows (R₂).

    Args:
        weight: γ > 0.
        rows: where the slope is taken, `real` or `fake`.

    Raises:
        InputError: for a weight that is not above 0, or other rows.

    Example:
        >>> real, fake = jnp.ones((4, 2)), 2.0 * jnp.ones((4, 2))
        >>> for rows in ("real", "fake"):
        ...     penalty = ZeroCentred(0.5, rows)
        ...     float(penalty(lambda x: 0.5 * x @ x, real, fake, jax.random.key(0)))
        0.5
        2.0
    """

    weight: float
    rows: str = "real"

    def __post_init__(self) -> None:
        _check(self.weight)
        check_name(self.rows, ROWS, "rows", "rows")

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key) -> Array:
        """Return γ/2 times the mean squared slope at its rows."""
        at = real if self.rows == "real" else fake
        return 0.5 * self.weight * jnp.mean(squared_slopes(critic, at))


@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """λ E (‖∇ₓC(x̂)‖ - 1)² between data and generated rows: slopes near 1, row by row.

    Args:
        weight: λ > 0.

    Raises:
        InputError: for a weight that is not above 0.

    Example:
        >>> rows = jnp.ones((4, 2))
        >>> float(GradientPenalty(10.0)(lambda x: 3.0 * x[0], rows, rows, jax.random.key(0)))
        40.0
    """

    weight: float = 10.0

    def __post_init__(self) -> None:
        _check(self.weight)

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key) -> Array:
        """Return λ times the mean squared distance of the slopes from 1."""
        u = jax.random.uniform(key, (real.shape[0], 1), real.dtype)
        squares = squared_slopes(critic, u * real + (1 - u) * fake)
        positive = squares > 0  # the norm has no gradient at 0: there it is 0
        norms = jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)
        return self.weight * jnp.mean((norms - 1.0) ** 2)
