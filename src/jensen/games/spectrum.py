r"""The spectrum of a game at a point: what its dynamics do there.

The continuous-time dynamics are x' = -v(x); near a stationary point x* they are decided by the
eigenvalues λ of the *velocity's* Jacobian

    J = -∂v/∂x (x*):   stable if every Re λ < 0, unstable if one Re λ > 0,
                       marginal (the linearisation is inconclusive) otherwise.

A rule with step η is the map x⁺ = S(x) (with the rule's memory where it has one); its verdict is
that of the spectral radius ρ of ∂S/∂x: stable if ρ < 1, unstable if ρ > 1. The two differ: with
λ = ±i the flow turns, simultaneous steps leave (ρ = √(1+η²)), extragradient comes in.

Small games are done densely, in float64. For large ones the extreme eigenvalues come from
Jacobian-vector products alone (implicitly restarted Arnoldi), each with its residual ‖Jx - λx‖.

A computed eigenvalue is uncertain by its condition number times the rounding of J; a verdict that
hangs on less than that is marginal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from jensen._errors import InputError, JensenError
from jensen._typing import Array
from jensen.games.field import Field
from jensen.games.rules import Players

Verdict = Literal["stable", "unstable", "marginal"]


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a linear map, with what is known of their accuracy.

    Attributes:
        values: eigenvalues, complex `(k,)`; all of them, or the extreme ones.
        errors: bound or estimate of each one's error `(k,)`: condition × rounding where `whole`,
            the residual ‖Jx - λx‖ otherwise.
        whole: whether these are all eigenvalues.
        rightmost: whether the search for the largest real parts converged; if it did not, the
            others cannot show that the flow is stable.
    """

    values: Any
    errors: np.ndarray
    whole: bool
    rightmost: bool = True

    @property
    def continuous(self) -> Verdict:
        """The verdict on x' = J x: the sign of the largest real part, where it is certain."""
        found = _sign(self.values.real, self.errors)
        return "marginal" if found == "stable" and not self.rightmost else found

    @property
    def rotation(self) -> float:
        """max |Im λ| / |Re λ| over the eigenvalues that turn; 0 where none does, ∞ for a centre."""
        turns = np.abs(self.values.imag) > self.errors
        if not turns.any():
            return 0.0
        slow = np.abs(self.values.real[turns])
        slow = np.where(slow > self.errors[turns], slow, 0.0)
        with np.errstate(divide="ignore"):
            return float(np.max(np.abs(self.values.imag[turns]) / slow))


def _sign(excess: np.ndarray, errors: np.ndarray) -> Verdict:
    """Return the verdict on growth rates: all below 0, one above 0, or undecided."""
    if (excess > errors).any():
        return "unstable"
    return "stable" if (excess < -errors).all() else "marginal"


def flatten(losses: Any, players: Players) -> tuple[Callable[[Array], Array], Array]:
    """Return the velocity -v as a function of one vector `(d,)`, and the players as that vector."""
    vector, unravel = jax.flatten_util.ravel_pytree(players)

    def velocity(x: Array) -> Array:
        return -jax.flatten_util.ravel_pytree(Field(losses).v(unravel(x)))[0]

    return velocity, vector


def jacobian(losses: Any, players: Players) -> np.ndarray:
    """Return the velocity's Jacobian J = -∂v/∂x `(d, d)`, all players' entries side by side.

    Example:
        >>> (jacobian(lambda p: (p[0] * p[1], -p[0] * p[1]), (1.0, 1.0)) + 0.0).tolist()
        [[0.0, -1.0], [1.0, 0.0]]
    """
    velocity, x = flatten(losses, players)
    # one column at a time keeps the memory at that of a single product
    columns = jax.jit(
        lambda x: jax.lax.map(partial(_product, velocity, x), jnp.eye(x.size, dtype=x.dtype))
    )
    return np.asarray(columns(x)).T


def _product(function: Callable[[Array], Array], x: Array, t: Array) -> Array:
    return jax.jvp(function, (x,), (t,))[1]


def eigenvalues(matrix: np.ndarray, floor: float = 0.0) -> Spectrum:
    """Return all eigenvalues of a dense matrix with an estimate of their errors.

    With ‖E‖ the rounding of J, the error of a simple eigenvalue is ‖E‖/|yᴴx| with its unit left and
    right vectors y, x. Those of a defective one meet at a right angle; its error is at most
    (2‖J‖)^(1-1/d) ‖E‖^(1/d), which holds for every matrix.

    Args:
        matrix: `(d, d)`; its type says how well it is known, float32 or float64.
        floor: smallest error to state, for a matrix known only that well.

    Raises:
        JensenError: if an entry is not finite.

    Source: Golub & Van Loan, Matrix Computations, section 7.2.2; Elsner 1985 (the second bound).
    ‖E‖ is taken as 8 d ε ‖J‖ in the Frobenius norm.

    Example:
        >>> eigenvalues(np.array([[0.0, -1.0], [1.0, 0.0]])).continuous
        'marginal'
    """
    single = np.asarray(matrix).dtype == np.float32
    matrix = np.asarray(matrix, np.float64)
    if not np.isfinite(matrix).all():
        raise JensenError(
            "the Jacobian is not finite",
            "the point",
            "look for log 0 in the losses, or for settings or a step that overflow",
        )
    largest = float(np.abs(matrix).max()) or 1.0  # far from 1, squares would leave the range
    values, left, right = cast(Any, scipy.linalg.eig(matrix / largest, left=True, right=True))
    values = values * largest
    angle = np.abs(np.sum(left.conj() * right, axis=0))
    size = (float(np.linalg.norm(matrix / largest)) or 1.0) * largest
    d = len(matrix)
    rounding = 8 * d * float(np.finfo(np.float32 if single else np.float64).eps) * size
    worst = (2 * size) ** (1 - 1 / d) * rounding ** (1 / d)
    errors = np.minimum(rounding / np.maximum(angle, 1e-300), worst)
    order = np.lexsort((values.imag, -values.real))
    return Spectrum(values[order], np.maximum(errors[order], floor), True)


def extreme_eigenvalues(
    product: Callable[[np.ndarray], np.ndarray],
    dim: int,
    *,
    count: int = 6,
    which: tuple[str, ...] = ("LR", "LM", "LI"),
    seed: int = 0,
    tolerance: float = 1e-8,
) -> Spectrum:
    """Return the extreme eigenvalues of a linear map given by its products with vectors.

    Args:
        product: `product(t) -> J t`, both `(d,)`, in float64.
        dim: d, at least 3.
        count: eigenvalues of each kind.
        which: kinds, as ARPACK names them: largest real part, magnitude, imaginary part.
        seed: of the first vector.
        tolerance: relative; those that do not reach it are left out.

    Returns:
        The distinct eigenvalues found, with ‖J x - λ x‖ of each unit vector x: λ is exact for a
        matrix that near J, and as near an eigenvalue of J itself where J is normal.

    Raises:
        InputError: if d < 3.
        JensenError: if a product is not finite, or none converged.

    Example:
        >>> found = extreme_eigenvalues(lambda t: np.arange(50.0) * t, 50, count=1)
        >>> round(float(found.values.real.max()), 6)
        49.0
    """
    if dim < 3:
        raise InputError(
            f"Arnoldi's method needs 3 dimensions, got {dim}", "dim", "use eigenvalues"
        )
    make: Any = scipy.sparse.linalg.LinearOperator
    operator = make((dim, dim), matvec=product, dtype=np.float64)
    count = min(count, dim - 2)
    start = np.random.default_rng(seed).normal(size=dim)
    image = np.asarray(product(start))
    if not np.isfinite(image).all():
        raise JensenError("the Jacobian is not finite", "the point", "look for log 0 in the losses")
    if not image.any():  # of a generic vector: the map is zero
        return Spectrum(np.zeros(1, complex), np.zeros(1), False)
    values, vectors, rightmost = [], [], "LR" in which
    for kind in which:
        *found, converged = _arnoldi(operator, count, kind, start, tolerance)
        values.append(found[0])
        vectors.append(found[1])
        rightmost = rightmost and (converged or kind != "LR")
    values, vectors = _distinct(np.concatenate(values), np.concatenate(vectors, axis=1))
    images = np.stack([product(v.real) + 1j * product(v.imag) for v in vectors.T], axis=1)
    residuals = np.linalg.norm(images - values * vectors, axis=0)
    order = np.lexsort((values.imag, -values.real))
    return Spectrum(values[order], residuals[order], False, rightmost)


def _arnoldi(
    operator: Any, count: int, kind: str, start: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the eigenvalues and vectors of one kind that converge, and whether all did."""
    solve: Any = scipy.sparse.linalg.eigs
    vectors = min(len(start), max(4 * count + 1, 40))
    try:
        found = solve(
            operator, k=count, which=kind, v0=start, ncv=vectors, maxiter=60, tol=tolerance
        )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        return error.eigenvalues, error.eigenvectors, False
    except scipy.sparse.linalg.ArpackError as error:
        raise JensenError(
            f"Arnoldi's method failed ({error})", "ARPACK", "look for losses that are not finite"
        ) from error
    return (*found, True)


def _distinct(values: Any, vectors: Any) -> tuple[Any, Any]:
    """Return the eigenvalues of a real matrix, each once, with both of a pair of conjugates.

    Of those within 1e-6 of the largest magnitude the one with the largest real part is kept.
    """
    if not len(values):
        raise JensenError("no eigenvalue converged", "ARPACK", "use a larger tolerance")
    values = np.concatenate([values, values.conj()])
    vectors = np.concatenate([vectors, vectors.conj()], axis=1)
    apart = 1e-6 * np.abs(values).max()
    kept: list[int] = []
    for i in np.argsort(-values.real, kind="stable"):
        if not kept or np.min(np.abs(values[kept] - values[i])) > apart:
            kept.append(int(i))
    return values[kept], vectors[:, kept]
