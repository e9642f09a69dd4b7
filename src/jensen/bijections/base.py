r"""What a bijection is: an invertible map and its log-determinant, in both directions."""

from __future__ import annotations

import abc

import equinox as eqx

from jensen._typing import Array


class Bijection(eqx.Module):
    r"""An invertible map x = f(z; c) on R^D.

    Contract (`tests/conftest.py` holds the law table that every subclass enters):
    inverse(forward(z)) = z, and each log-determinant equals that of automatic differentiation.
    """

    @abc.abstractmethod
    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return x = f(z; c) `(D,)` and log |det ∂x/∂z| at z, a scalar in nats."""

    @abc.abstractmethod
    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return z = f⁻¹(x; c) `(D,)` and log |det ∂z/∂x| at x, a scalar in nats."""
