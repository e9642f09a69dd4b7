r"""The convex dual of the linear logistic discriminator, solved with a duality gap.

Rows x_i with labels y_i = ±1 (+1 real, -1 generated), ridge c > 0:

    primal   P(w) = c/2 ‖w‖² + 1/n Σ softplus(-y_i wᵀx_i)
    dual     D(α) = -1/(2c) ‖1/n Σ α_i y_i x_i‖² + 1/n Σ H(α_i),   α in [0, 1]ⁿ
             H(α) = -α log α - (1 - α) log(1 - α)                  (nats)
    link     w = 1/(cn) Σ α_i y_i x_i,   α_i = σ(-y_i wᵀx_i)

P(w) - D(α) >= 0 for every pair and is 0 at the solution alone: it certifies how far the value is
from the truth, with no reference to another solver. α follows from w by the link; the gap is then
‖∇P(w)‖²/(2c), and D at that α bounds the minimum from below.

`solve_discriminator` makes truncated Newton steps. A gradient is one product with the rows in
double precision. A Newton system (c 1 + Σ s_i x_i x_iᵀ) p = -∇P, s_i = α_i(1 - α_i)/n, needs few
digits: conjugate gradients solve it with products in single precision. Where a dozen of them do not
suffice, the system is factored (by Woodbury's identity where there are more columns than rows), and
the factor preconditions what follows. Along p the slope of P is monotone and costs no product: its
root is bracketed. `dual_value`, which may be differentiated and compiled, factors at every step.

A generator that plays against this discriminator faces V(x) = min_w P, a minimisation in one
player: by the envelope theorem ∂V/∂x_i = -1/n α_i y_i w. There is nothing to turn.

Sources: the course document's problem on duality; Jaakkola & Haussler 1999 for the dual; Nocedal &
Wright 2006, sec. 7.1, for truncated Newton steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from jensen._errors import InputError, JensenError
from jensen._typing import Array

_STEPS = 100
_HALVINGS = 40
_PRODUCTS = 12  # of conjugate gradients, before a Newton system is factored
_LOOSEST = 0.3  # relative residual of a Newton system, and relative slope where a step ends
_TRIALS = 60  # lengths of one step
_LARGEST_GAP = 1e-8  # of the value
_LARGEST = 700.0  # margin; e⁷⁰⁰ is finite

Solver = Callable[[np.ndarray], np.ndarray]
"""Solves a linear system, at least roughly."""


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


def solve_discriminator(X: Any, y: Any, c: float, *, tolerance: float = 1e-12) -> DualSolution:
    """Return the minimiser of P with its dual variables, in float64.

    Args:
        X: rows `(n, d)`.
        y: labels `(n,)`, 1 for real and -1 for generated.
        c: ridge, above 0.
        tolerance: the gap to stop at, relative to the value. The link then holds up to an error of
            √(2 gap/c) in w; 0 goes on until rounding ends it.

    Raises:
        InputError: for shapes that do not fit, values that are not finite, other labels, c <= 0 or
            a tolerance outside [0, 1e-8].
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
    with np.errstate(over="ignore", invalid="ignore"):
        single = rows.astype(np.float32)
    if not (np.isfinite(single).all() or np.isfinite(rows).all()):
        raise InputError("a row is not finite", "solve_discriminator", "remove missing values")
    if not (np.abs(labels) == 1.0).all():
        raise InputError("a label is neither 1 nor -1", "solve_discriminator", "use 1 and -1")
    if not c > 0:
        raise InputError(f"the ridge must be above 0, got {c}", "solve_discriminator", "c=0.1, say")
    if not 0 <= tolerance <= _LARGEST_GAP:
        raise InputError(
            f"the tolerance must lie in [0, {_LARGEST_GAP:g}], got {tolerance}",
            "solve_discriminator",
            "tolerance=1e-12, say",
        )
    w, steps = _truncated_newton(rows, single, labels, float(c), tolerance)
    margins = labels * (rows @ w)
    alpha = _sigmoid(-margins)
    losses = np.maximum(-margins, 0.0) + np.log1p(np.exp(-np.abs(margins)))
    primal = 0.5 * c * float(w @ w) + float(losses.mean())
    dual = _dual(rows, labels, c, alpha)
    if not primal - dual <= _LARGEST_GAP * abs(primal):
        raise JensenError(
            f"Newton's method stopped at a gap of {primal - dual:.2g}",
            "solve_discriminator",
            "scale the columns, or use a larger ridge",
        )
    return DualSolution(w, alpha, primal, dual, max(primal - dual, 0.0), steps)


def _dual(rows: np.ndarray, labels: np.ndarray, c: float, alpha: np.ndarray) -> float:
    """Return D(α)."""
    pull = (alpha * labels) @ rows / len(rows)
    below_1 = np.minimum(alpha, 1.0 - np.finfo(float).epsneg)
    entropy = -alpha * np.log(alpha) - (1.0 - alpha) * np.log1p(-below_1)
    return float(np.mean(entropy) - pull @ pull / (2.0 * c))


def _sigmoid(a: np.ndarray) -> np.ndarray:
    """Return σ(a), above 0."""
    return 1.0 / (1.0 + np.exp(np.minimum(-a, _LARGEST)))


def _truncated_newton(
    rows: np.ndarray, single: np.ndarray, labels: np.ndarray, c: float, tolerance: float
) -> tuple[np.ndarray, int]:
    """Return the minimiser of P, and the steps made.

    Args:
        rows: `(n, d)`, float64.
        single: the same in float32; where that overflows every system is factored.
        labels: `(n,)`.
        c: ridge.
        tolerance: of the relative gap.
    """
    n, d = rows.shape
    rounding = np.finfo(float).eps
    w, margins, alpha = np.zeros(d), np.zeros(n), np.full(n, 0.5)
    gradient = -(labels @ rows) / (2 * n)
    first, before, precondition = _norm(gradient), math.inf, None
    for count in range(_STEPS):
        norm = _norm(gradient)
        least = 0.5 * c * float(w @ w) + float(alpha.mean())  # of P: softplus(-m) >= σ(-m)
        wanted = math.sqrt(2 * c * tolerance * least)
        if norm <= wanted:
            return w, count
        curvature = alpha * (1 - alpha) / n
        digits = max(min(_LOOSEST, math.sqrt(norm / first)) * norm, 0.5 * wanted)
        move = _conjugate(single, curvature, c, gradient, precondition, digits)
        if move is None:
            precondition = _factored(rows, curvature, c)
            move = -precondition(gradient)
        fall = -float(gradient @ move)
        stuck = fall <= 16 * rounding * least and norm > 0.5 * before
        if stuck or not fall > rounding**2 * (1 + w @ w):
            return w, count
        slopes = labels * (rows @ move)
        rate, alpha = _along(margins, slopes, c * float(w @ move), c * float(move @ move), fall)
        w, margins = w + rate * move, margins + rate * slopes
        before, gradient = norm, c * w - (alpha * labels) @ rows / n
    return w, _STEPS


def _norm(v: np.ndarray) -> float:
    return math.sqrt(float(v @ v))


def _conjugate(
    single: np.ndarray,
    curvature: np.ndarray,
    c: float,
    gradient: np.ndarray,
    precondition: Solver | None,
    tolerance: float,
) -> np.ndarray | None:
    """Return p with ‖H p + g‖ at most `tolerance`, by conjugate gradients; None if they are slow.

    Args:
        single: the rows `(n, d)`, float32.
        curvature: s `(n,)`.
        c: ridge.
        gradient: g `(d,)`.
        precondition: solves a system near H p = r; None for none.
        tolerance: of the residual, absolute.
    """
    weights = curvature.astype(np.float32)
    move, residual = np.zeros_like(gradient), -gradient
    near = residual if precondition is None else precondition(residual)
    direction, product = near, float(residual @ near)
    with np.errstate(all="ignore"):  # what is not finite never passes below
        for _ in range(_PRODUCTS):
            image = c * direction + (weights * (single @ direction.astype(np.float32))) @ single
            rate = product / float(direction @ image)
            move, residual = move + rate * direction, residual - rate * image
            if _norm(residual) <= tolerance:
                return move
            near = residual if precondition is None else precondition(residual)
            product, before = float(residual @ near), product
            direction = near + product / before * direction
    return None


def _factored(rows: np.ndarray, curvature: np.ndarray, c: float) -> Solver:
    """Return g ↦ (c 1 + Xᵀ diag(s) X)⁻¹ g, by the smaller of its two forms.

    Raises:
        JensenError: if c is lost in rounding.
    """
    n, d = rows.shape
    half = np.sqrt(curvature)[:, None] * rows
    try:
        if d <= n:
            factor = cho_factor(half.T @ half + c * np.eye(d))
            return lambda g: cho_solve(factor, g, check_finite=False)
        factor = cho_factor(half @ half.T + c * np.eye(n))
    except (LinAlgError, ValueError) as error:
        raise JensenError(
            "a Newton system cannot be solved in double precision",
            "solve_discriminator",
            "scale the columns, or use a larger ridge",
        ) from error
    return lambda g: (g - half.T @ cho_solve(factor, half @ g, check_finite=False)) / c


def _along(
    margins: np.ndarray, slopes: np.ndarray, linear: float, square: float, fall: float
) -> tuple[float, np.ndarray]:
    """Return the length t of a step, and α there.

    P along the step has the slope linear + t·square - 1/n Σ σ(-m_i - t q_i) q_i, which rises with t
    from -fall; the step ends where it has lost most of its size, at t = 1 if that is such a point.

    Args:
        margins: m `(n,)`.
        slopes: q `(n,)`, the margins' change for t = 1.
        linear: c wᵀp.
        square: c ‖p‖².
        fall: minus the slope at t = 0.
    """
    low, high, rate, n = 0.0, math.inf, 1.0, len(margins)
    alpha = _sigmoid(-(margins + rate * slopes))
    for _ in range(_TRIALS):
        slope = linear + rate * square - float(alpha @ slopes) / n
        if abs(slope) <= _LOOSEST * fall:
            break
        low, high = (low, rate) if slope > 0 else (rate, high)
        bend = square + float((alpha * (1 - alpha)) @ slopes**2) / n
        newton = rate - slope / bend if bend > 0 else math.inf
        middle = 0.5 * (low + high) if high < math.inf else 2.0 * rate
        rate = newton if low < newton < min(high, 4.0 * rate) else middle
        alpha = _sigmoid(-(margins + rate * slopes))
    return rate, alpha


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
