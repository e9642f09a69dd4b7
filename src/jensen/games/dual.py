r"""The convex dual of the linear logistic discriminator, solved with a duality gap.

Rows x_i with labels y_i = ±1 (+1 real, -1 generated), ridge c > 0:

    primal   P(w) = c/2 ‖w‖² + 1/n Σ softplus(-y_i wᵀx_i)
    dual     D(α) = -1/(2c) ‖1/n Σ α_i y_i x_i‖² + 1/n Σ H(α_i),   α in [0, 1]ⁿ
             H(α) = -α log α - (1 - α) log(1 - α)                  (nats)
    link     w = 1/(cn) Σ α_i y_i x_i,   α_i = σ(-y_i wᵀx_i)

P(w) - D(α) >= 0 for every pair and is 0 at the solution alone: it certifies how far the value is
from the truth, with no reference to another solver. Newton's method on P, with step halving,
converges quadratically; where there are more columns than rows its systems are solved in the span
of the rows (Woodbury). α follows from w by the link, and D at that α bounds the minimum from below.

A generator that plays against this discriminator faces V(x) = min_w P, a minimisation in one
player: by the envelope theorem ∂V/∂x_i = -1/n α_i y_i w. There is nothing to turn.

Sources: the course document's problem on duality; Jaakkola & Haussler 1999 for the dual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError, JensenError
from jensen._typing import Array

_STEPS = 100
_HALVINGS = 40


@dataclass(frozen=True)
class DualSolution:
    """The optimal linear discriminator, with its certificate.

    Attributes:
        weights: w `(d,)`.
        dual: α `(n,)`, in [0, 1].
        primal_value: P(w), nats.
        dual_value: D(α), nats; at most the minimum of P.
        gap: P(w) - D(α) >= 0.
        steps: Newton steps made.
    """

    weights: np.ndarray
    dual: np.ndarray
    primal_value: float
    dual_value: float
    gap: float
    steps: int


def solve_discriminator(X: Any, y: Any, c: float) -> DualSolution:
    """Return the minimiser of P with its dual variables, in float64.

    Args:
        X: rows `(n, d)`.
        y: labels `(n,)`, 1 for real and -1 for generated.
        c: ridge, above 0.

    Raises:
        InputError: for shapes that do not fit, values that are not finite, other labels, or c <= 0.
        JensenError: if the gap stays above 1e-8 of the value.

    Example:
        >>> found = solve_discriminator([[1.0], [-1.0]], [1, -1], c=1.0)
        >>> bool(found.gap <= 1e-12), round(float(found.weights[0]), 6)
        (True, 0.401058)
    """
    rows, labels = np.asarray(X, np.float64), np.asarray(y, np.float64)
    if rows.ndim != 2 or labels.shape != rows.shape[:1] or not rows.size:
        raise InputError(
            f"rows of shape {rows.shape} and labels of shape {labels.shape}",
            "solve_discriminator",
            "give rows (n, d) and one label a row",
        )
    if not np.isfinite(rows).all():
        raise InputError("a row is not finite", "solve_discriminator", "remove missing values")
    if not np.isin(labels, (-1.0, 1.0)).all():
        raise InputError("a label is neither 1 nor -1", "solve_discriminator", "use 1 and -1")
    if not c > 0:
        raise InputError(f"the ridge must be above 0, got {c}", "solve_discriminator", "c=0.1, say")
    with jax.enable_x64(True):
        signed = jnp.asarray(labels[:, None] * rows)
        w, steps = _newton(signed, jnp.asarray(c, float))
        alpha = jax.nn.sigmoid(-signed @ w)
        primal, dual = float(_primal(signed, c, w)), float(_dual(signed, c, alpha))
    if not primal - dual <= 1e-8 * abs(primal):
        raise JensenError(
            f"Newton's method stopped at a gap of {primal - dual:.2g}",
            "solve_discriminator",
            "scale the columns, or use a larger ridge",
        )
    gap = max(primal - dual, 0.0)
    return DualSolution(np.asarray(w), np.asarray(alpha), primal, dual, gap, int(steps))


@jax.custom_vjp
def dual_value(signed: Array, c: Array) -> Array:
    """Return V = min_w P as a function of the signed rows y_i x_i, differentiable through w*.

    Args:
        signed: y_i x_i `(n, d)`.
        c: ridge.

    Returns:
        V, nats; its gradient is the envelope's, -1/n α_i w for row i, and ½‖w‖² for c.
    """
    w, _ = _newton(signed, c)
    return _primal(signed, c, w)


def _forward(signed: Array, c: Array) -> tuple[Array, tuple[Array, Array]]:
    w, _ = _newton(signed, c)
    return _primal(signed, c, w), (signed, w)


def _backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    signed, w = saved
    alpha = jax.nn.sigmoid(-signed @ w)
    pull = -alpha[:, None] * w / signed.shape[0]
    return cotangent * pull, cotangent * 0.5 * (w @ w)


dual_value.defvjp(_forward, _backward)


def _primal(signed: Array, c: Any, w: Array) -> Array:
    return 0.5 * c * (w @ w) + jnp.mean(jax.nn.softplus(-signed @ w))


def _dual(signed: Array, c: Any, alpha: Array) -> Array:
    pull = alpha @ signed / signed.shape[0]
    entropy = jax.scipy.special.entr(alpha) + jax.scipy.special.entr(1 - alpha)
    return -(pull @ pull) / (2 * c) + jnp.mean(entropy)


@jax.jit
def _newton(signed: Array, c: Array) -> tuple[Array, Array]:
    """Return the minimiser of P, and the steps made."""
    n = signed.shape[0]
    small = jnp.finfo(signed.dtype).eps

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        w, count, _ = carry
        alpha = jax.nn.sigmoid(-signed @ w)
        gradient = c * w - alpha @ signed / n
        direction = _newton_step(signed, alpha * (1 - alpha) / n, c, gradient)
        fall = gradient @ direction
        value = _primal(signed, c, w)

        def too_long(rate: Array) -> Array:
            worse = _primal(signed, c, w - rate * direction) > value - 1e-4 * rate * fall
            return worse & (rate > 0.5**_HALVINGS)

        # near the end both values agree to rounding, and the full Newton step is right
        rate = jax.lax.while_loop(too_long, lambda r: r / 2, jnp.ones((), w.dtype))
        rate = jnp.where(fall <= 16 * small * jnp.abs(value), 1.0, rate)
        return w - rate * direction, count + 1, fall

    def going(carry: tuple[Array, Array, Array]) -> Array:
        w, count, fall = carry
        return (count < _STEPS) & (fall > small**2 * (1 + w @ w))

    start = jnp.zeros(signed.shape[1], signed.dtype), jnp.zeros((), int), jnp.ones((), signed.dtype)
    w, count, _ = jax.lax.while_loop(going, step, start)
    return w, count


def _newton_step(signed: Array, curvature: Array, c: Array, gradient: Array) -> Array:
    """Return (c 1 + Zᵀ diag(s) Z)⁻¹ g, by the smaller of its two forms."""
    n, d = signed.shape
    if d <= n:
        hessian = c * jnp.eye(d, dtype=signed.dtype) + (signed.T * curvature) @ signed
        return jax.scipy.linalg.solve(hessian, gradient, assume_a="pos")
    half = jnp.sqrt(curvature)[:, None] * signed
    inner = c * jnp.eye(n, dtype=signed.dtype) + half @ half.T
    return (gradient - half.T @ jax.scipy.linalg.solve(inner, half @ gradient, assume_a="pos")) / c
