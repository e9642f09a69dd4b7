r"""The two statements behind the fits of flows: the identity of divergences, and the path gradient.

Both sides of KL(P_X ‖ P_F(U)) = KL(P_F⁻¹(X) ‖ P_U) are integrals that share nothing but F: one over
x with F⁻¹, one over u with F. The path gradient is compared with the total one, draw by draw.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.bijections import LULinear
from jensen.models.base import NormalBase
from jensen.models.flow import Flow, PlanarFlow, SplineAutoregressive
from jensen.objectives.reverse import ReverseKL
from jensen.studies.notebook import Notebook

LOG_Z = 1.3
"""log Z of the bimodal density, known because it is put there."""
MODES = ((-2.5, 0.0), (2.5, 1.0))
SPREAD = 0.8
DISTANCES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)


class Bimodal(eqx.Module):
    """log p̃ of two normal laws in equal shares; its integral is exp(LOG_Z).

    Args:
        stretch: factor on the distance of their means from 0.
    """

    stretch: np.float32 = np.float32(1.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return log p̃(x) of one x `(2,)`, nats."""
        squares = jnp.sum((x - self.stretch * jnp.asarray(MODES)) ** 2, axis=1) / SPREAD**2
        constant = jnp.log(2.0) + jnp.log(2 * jnp.pi * SPREAD**2)
        return jax.nn.logsumexp(-0.5 * squares) - constant + LOG_Z


bimodal = Bimodal()


def pushed(flow: Flow, x: jax.Array) -> jax.Array:
    """Return log p of F(U) at one x, by F⁻¹."""
    u, log_det = flow.bijection.inverse_and_log_det(x)
    return log_normal(u) + log_det


def pulled(flow: Flow, log_p: Any, u: jax.Array) -> jax.Array:
    """Return log p of F⁻¹(X) at one u, X with log p, by F."""
    x, log_det = flow.bijection.forward_and_log_det(u)
    return log_p(x) + log_det


def log_normal(u: jax.Array) -> jax.Array:
    """Return log N(u; 0, I)."""
    return -0.5 * jnp.sum(u**2 + jnp.log(2 * jnp.pi))


def kl(log_p: np.ndarray, log_q: np.ndarray, weights: np.ndarray) -> float:
    """Return ∫ p log(p/q) of densities on points with quadrature weights, nats."""
    p = np.exp(log_p)
    return float(np.sum(weights * np.where(p > 0, p * (log_p - log_q), 0.0)))


def grid(dim: int, half: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points `(m, D)` of [-half, half]^D and the weights of the trapezoidal rule."""
    line = np.linspace(-half, half, n)
    points = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    return points, np.full(len(points), (line[1] - line[0]) ** dim)


def mapped(function: Any) -> Any:
    """Return the program (points `(m, D)`, first) ↦ function(*first, x) at all points x."""

    @eqx.filter_jit
    def program(points: jax.Array, first: tuple[Any, ...]) -> jax.Array:
        return jax.vmap(lambda x: function(*first, x))(points)

    return lambda points, *first: np.asarray(program(jnp.asarray(points), first), np.float64)


def values(function: Any, points: np.ndarray, *first: Any) -> np.ndarray:
    """Return function(*first, x) at all points x `(m, D)`."""
    return mapped(function)(points, *first)


def log_prob(flow: Flow, x: jax.Array) -> jax.Array:
    """Return log q(x) of a flow."""
    return flow.log_prob(x)


def moved(flow: Flow, amount: float, seed: int) -> Flow:
    """Return the flow with N(0, amount²) added to every parameter."""
    return _moved(flow, jnp.asarray(amount), jax.random.key(seed))


@eqx.filter_jit
def _moved(flow: Flow, amount: jax.Array, key: jax.Array) -> Flow:
    arrays, static = eqx.partition(flow, eqx.is_inexact_array)
    leaves, form = jax.tree.flatten(arrays)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        a + amount * jax.random.normal(k, a.shape, a.dtype)
        for a, k in zip(leaves, keys, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(form, noisy), static)


def built(make: Any, *given: Any, **settings: Any) -> Flow:
    """Return make(*given, **settings), in one program and not in one for each of its arrays."""
    return eqx.filter_jit(make)(*given, **settings)


def affine() -> Flow:
    """Return the affine flow of the plane that is the identity."""
    return built(lambda: Flow(LULinear(2), NormalBase(2)))


def identity(book: Notebook) -> None:
    """Check both sides of the identity, and that F(U) has a density, for three flows."""
    with jax.enable_x64(True):
        key = jax.random.key(book.seed)
        planar = built(PlanarFlow, key, 2, n_layers=3)
        spline = built(SplineAutoregressive, key, 1, n_layers=2, hidden=(4,))
        flows = {
            "affine": (moved(affine(), 0.3, book.seed), 2, 201, 1e-9),
            "planar": (moved(planar, 0.5, book.seed), 2, 201, 1e-7),
            "spline": (moved(spline, 0.2, book.seed), 1, 16_001, 1e-5),
        }
        for name, (flow, dim, n, tolerance) in flows.items():
            log_p = _smooth if dim == 1 else _normalised
            points, weights = grid(dim, 14.0, n)
            q = values(pushed, points, flow)
            left = kl(values(log_p, points), q, weights)
            z = values(pulled, points, flow, log_p)
            right = kl(z, values(log_normal, points), weights)
            book.equal(
                f"identity-{name}",
                f"KL(P_X ‖ P_F(U)) by an integral over x against one over u, {name} flow (nats; a "
                "spline's kinks leave an error of the square of the grid's spacing)",
                left,
                right,
                tolerance,
            )
            mass = float(np.sum(weights * np.exp(q)))
            book.equal(
                f"mass-{name}", f"∫ of the density of F(U), {name} flow", mass, 1.0, tolerance
            )
        points, weights = grid(1, 20.0, 4001)
        a, b = (
            values(lambda x, m=m, s=s: log_normal((x - m) / s) - jnp.log(s), points)
            for m, s in ((0.0, 1.0), (1.0, 2.0))
        )
        book.equal(
            "direction",
            "KL(N(0, 1) ‖ N(1, 4)) by quadrature against log 2 + 2/8 - 1/2 (nats)",
            kl(a, b, weights),
            float(np.log(2.0) - 0.25),
            1e-9,
        )


def _normalised(x: jax.Array) -> jax.Array:
    return bimodal(x) - LOG_Z


def _smooth(x: jax.Array) -> jax.Array:
    """Return log p of two normal laws on the line."""
    each = -0.5 * ((x[0] - jnp.array([-1.5, 1.0])) / jnp.array([0.5, 0.8])) ** 2
    return jax.nn.logsumexp(each - jnp.log(jnp.array([1.0, 1.6]) * jnp.sqrt(2 * jnp.pi)))


def gradients(flow: Flow, log_density: Any, path: bool, keys: jax.Array) -> np.ndarray:
    """Return the gradient `(n, parameters)` of the loss of each single draw."""
    return np.asarray(_slopes(flow, ReverseKL(log_density, path=path), keys))


@eqx.filter_jit
def _slopes(flow: Flow, loss: ReverseKL, keys: jax.Array) -> jax.Array:
    arrays, static = eqx.partition(flow, eqx.is_inexact_array)

    def one(key: jax.Array) -> jax.Array:
        def value(arrays: Any) -> jax.Array:
            return loss((eqx.combine(arrays, static),), jnp.zeros((1, 1)), key)[0]

        return jnp.concatenate([jnp.ravel(g) for g in jax.tree.leaves(jax.grad(value)(arrays))])

    return jax.vmap(one)(keys)


def path_gradient(book: Notebook) -> dict[str, list[float]]:
    """Check both estimators near a Gaussian target; return their spread by distance from it."""
    n = 4_000 if book.quick else 40_000
    with jax.enable_x64(True):
        best = moved(affine(), 0.5, book.seed)
        keys = jax.random.split(jax.random.key(book.seed), n)
        spreads: dict[str, list[float]] = {"path": [], "total": []}
        gaps = []
        for distance in DISTANCES:
            flow = moved(best, distance, book.seed + 1)
            found = {p: gradients(flow, best.log_prob, p == "path", keys) for p in spreads}
            for name, slopes in found.items():
                spreads[name].append(float(np.sqrt(np.sum(np.var(slopes, axis=0)))))
            difference = found["path"] - found["total"]
            error = np.std(difference, axis=0) / np.sqrt(n)
            used = error > 1e-12
            gaps.append(np.max(np.abs(difference.mean(axis=0))[used] / error[used], initial=0.0))
    book.at_most(
        "path-vanishes",
        "spread of the path gradient at q = p (exactly 0)",
        spreads["path"][0],
        1e-10,
    )
    book.at_least(
        "total-does-not", "spread of the total gradient at q = p", spreads["total"][0], 0.1
    )
    book.at_most(
        "path-quieter",
        "spread of the path gradient over that of the total one, parameters moved by 0.1 N(0, 1)",
        spreads["path"][3] / spreads["total"][3],
        0.5,
    )
    book.at_most(
        "path-unbiased",
        "largest |mean of path - mean of total| in standard errors, 6 distances × 8 parameters "
        "(5 and more by chance: 3e-5)",
        max(gaps),
        5.0,
    )
    return spreads
