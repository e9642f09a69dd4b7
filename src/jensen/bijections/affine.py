r"""Linear maps: x = shift + exp(s) z, x = W z with W⁻¹ = L U, and permutations."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from jensen._errors import InputError
from jensen._typing import Array
from jensen.bijections.base import Bijection


class Affine(Bijection):
    """The elementwise map x = shift + exp(log_scale) · z.

    Args:
        shift: `(D,)`.
        log_scale: `(D,)`, nats.

    Example:
        >>> Affine(jnp.ones(1), jnp.zeros(1)).forward_and_log_det(jnp.ones(1))[0].tolist()
        [2.0]
    """

    shift: Array
    log_scale: Array

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return shift + exp(log_scale) z and Σ log_scale."""
        return self.shift + jnp.exp(self.log_scale) * z, jnp.sum(self.log_scale)

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return exp(-log_scale)(x - shift) and -Σ log_scale."""
        return jnp.exp(-self.log_scale) * (x - self.shift), -jnp.sum(self.log_scale)


class Permutation(Bijection):
    """A fixed reordering: x[order[i]] = z[i], so z = x[order].

    Args:
        order: a permutation of 0..D-1.

    Raises:
        InputError: if `order` is not a permutation.

    Example:
        >>> Permutation((2, 0, 1)).inverse_and_log_det(jnp.array([1.0, 2.0, 3.0]))[0].tolist()
        [3.0, 1.0, 2.0]
    """

    order: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, order: tuple[int, ...]) -> None:
        if sorted(order) != list(range(len(order))):
            raise InputError(
                f"{order} is not a permutation",
                "Permutation(order)",
                f"give each of 0..{len(order) - 1} once",
            )
        self.order = tuple(int(i) for i in order)

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return z put back in the data's order, and 0."""
        return z[np.argsort(self.order)], jnp.zeros((), z.dtype)

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return x[order] and 0."""
        return x[np.array(self.order)], jnp.zeros((), x.dtype)


class LULinear(Bijection):
    r"""The linear map z = L U x + b: L unit lower triangular, U upper triangular.

        log |det ∂z/∂x| = Σ_d log U_dd,   U_dd = softplus(r_d) + ε > 0

    The density direction x → z is two products; sampling solves two triangular systems. It starts
    as the identity, or as a given lower-triangular map.

    Args:
        dim: D.
        start: `(D, D)` lower triangular with a positive diagonal, the first z = start · x.

    Source: Oliva et al. 2018 (arXiv:1801.09819), sec. 3.1. Deviation: no pivoting matrix (compose
    with `Permutation`), positive diagonal.

    Example:
        >>> x, log_det = LULinear(3).forward_and_log_det(jnp.ones(3))
        >>> x.shape, log_det.shape
        ((3,), ())
    """

    lower: Array
    upper: Array
    raw_diagonal: Array
    bias: Array

    _FLOOR = 1e-3

    def __init__(self, dim: int, *, start: Array | None = None) -> None:
        start = jnp.eye(dim) if start is None else start
        diagonal = jnp.diag(start)
        self.lower = jnp.tril(start / diagonal, -1)
        self.upper = jnp.zeros((dim, dim))
        # the inverse of softplus, written so that neither a large nor a small value is lost
        excess = jnp.maximum(diagonal - self._FLOOR, self._FLOOR)
        self.raw_diagonal = excess + jnp.log(-jnp.expm1(-excess))
        self.bias = jnp.zeros(dim)

    def _factors(self) -> tuple[Array, Array, Array]:
        diagonal = jax.nn.softplus(self.raw_diagonal) + self._FLOOR
        lower = jnp.tril(self.lower, -1) + jnp.eye(self.bias.shape[0], dtype=self.lower.dtype)
        return lower, jnp.triu(self.upper, 1) + jnp.diag(diagonal), jnp.sum(jnp.log(diagonal))

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return U⁻¹ L⁻¹ (z - b) and -Σ log U_dd."""
        lower, upper, log_det = self._factors()
        y = solve_triangular(lower, z - self.bias, lower=True, unit_diagonal=True)
        return solve_triangular(upper, y, lower=False), -log_det

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Return L U x + b and Σ log U_dd."""
        lower, upper, log_det = self._factors()
        return lower @ (upper @ x) + self.bias, log_det
