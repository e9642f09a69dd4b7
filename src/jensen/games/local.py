r"""The local game of large players, such as the networks of a GAN: extremes of the spectrum only.

Where the players have thousands of entries nothing dense is formed. The velocity's Jacobian J and
the linear map S of each rule's step act on vectors by automatic differentiation, and ARPACK finds

    the eigenvalues of J with the largest real part, magnitude and imaginary part,
    those of (S - 1)/η with the largest real part and magnitude; ρ = max |1 + ημ|.

Training seldom ends at rest: `residual` tells how far v is from 0. Spectra and radii are then those
of the game L_i(x) - ⟨∇_i L_i(x*), x_i⟩, which rests where training stopped and has the same J.
Every radius found so is a lower bound: a further eigenvalue may lie beyond those found.

How much the game turns as a whole is told by the antisymmetric part A of J = S + A, as the share
‖A‖²/(‖S‖² + ‖A‖²) of squared Frobenius norms: 0 for a minimisation, 1 for a pure rotation. It is
estimated without bias in either norm by random signs t, E‖A t‖² = ‖A‖² (Hutchinson 1990).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax

from jensen.games.field import Field
from jensen.games.radius import Radius, radius_of, spectral_radius, step_map
from jensen.games.rules import RULES, Players, Rule, rule
from jensen.games.spectrum import (
    Spectrum,
    Verdict,
    eigenvalues,
    extreme_eigenvalues,
    flatten,
    jacobian,
)
from jensen.games.stability import LARGE, Stability, check_steps

_PROBES = 12


def local_stability(
    name: str,
    losses: Any,
    players: Players,
    *,
    step: float | list[float],
    count: int = 4,
    seed: int = 0,
) -> Stability:
    """Return what a game does near a point that was found otherwise, say by training.

    Args:
        name: of the game.
        losses: `losses(players) -> (loss_1, …)`, deterministic.
        players: the point, pytrees of floating arrays.
        step: η of the rules, one for all players or one each.
        count: extreme eigenvalues of each kind, where the players are large.
        seed: of the first vectors.

    Returns:
        The local game. Where the players are large, radii come from the eigenvalues found, and
        rules whose radius does not follow from J's eigenvalues have no largest stable step.
    """
    steps = check_steps(step, len(players))
    with jax.enable_x64(True):
        players = jax.tree.map(lambda a: jnp.asarray(a, float), players)
        velocity, x = flatten(losses, players)
        residual = float(jnp.abs(velocity(x)).max())
        sizes = tuple(sum(leaf.size for leaf in jax.tree.leaves(p)) for p in players)
        if x.size <= LARGE:
            matrix = jacobian(losses, players)
            spectrum = eigenvalues(matrix)
            radii = {n: radius_of(rule(n), matrix, spectrum, sizes, steps) for n in RULES}
        else:
            spectrum = extreme_eigenvalues(
                products(velocity, x), x.size, count=count, seed=seed, tolerance=1e-6
            )
            resting = rested(losses, players)
            radii = {
                n: _radius(rule(n), resting, players, spectrum, steps, (count, seed)) for n in RULES
            }
    return Stability(name, np.asarray(x), residual, spectrum, radii, steps)


def rested(losses: Any, players: Players) -> Any:
    """Return the game L_i(x) - ⟨∇_i L_i(x*), x_i⟩, at rest at x* and with the same Jacobian.

    Args:
        losses: `losses(players) -> (loss_1, …)`.
        players: x*.
    """
    pulls = Field(losses).v(players)

    def resting(now: Players) -> tuple[Any, ...]:
        rows = zip(losses(now), pulls, now, strict=True)
        return tuple(value - optax.tree.vdot(pull, player) for value, pull, player in rows)

    return resting


def products(function: Callable[[Any], Any], x: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return t ↦ J t for the Jacobian J of a function at x, compiled once."""
    product = jax.jit(lambda t: jax.jvp(function, (x,), (t,))[1])
    return lambda t: np.asarray(product(jnp.asarray(t, x.dtype)))


def _radius(
    method: Rule,
    losses: Any,
    players: Players,
    spectrum: Spectrum,
    steps: tuple[float, ...],
    search: tuple[int, int],
) -> Radius:
    """Return a rule's radius from the extremes of J, or from those of its own step."""
    if method.spectral and len(set(steps)) == 1:
        radius = float(spectral_radius(method, spectrum.values, steps[0]).max())
        far = 1 + steps[0] * float(np.abs(spectrum.values).max())
        error = 4 * steps[0] * far * float(spectrum.errors.max())  # |dρ/dλ| of every such rule
        largest = 0.0 if spectrum.continuous == "unstable" else float("nan")
        return Radius(radius, _verdict(radius, error, spectrum.rightmost), largest)
    map_, start = step_map(method, Field(losses), players, steps)
    image = products(map_, start)
    extremes = extreme_eigenvalues(
        lambda t: (image(t) - t) / steps[0],
        start.size,
        count=search[0],
        which=("LR", "LM"),
        seed=search[1],
        tolerance=1e-6,
    )
    radius = float(np.abs(1 + steps[0] * extremes.values).max())
    error = steps[0] * float(extremes.errors.max())
    return Radius(radius, _verdict(radius, error, extremes.rightmost), float("nan"))


def _verdict(radius: float, error: float, rightmost: bool) -> Verdict:
    """Return the verdict of a radius; never stable where the rightmost eigenvalue is not known."""
    if radius - 1 > error:
        return "unstable"
    return "stable" if 1 - radius > error and rightmost else "marginal"


def turning_share(losses: Any, players: Players, *, seed: int = 0) -> tuple[float, float]:
    """Return ‖A‖²/(‖S‖² + ‖A‖²) of the velocity's Jacobian S + A, and its standard error.

    Args:
        losses: `losses(players) -> (loss_1, …)`, deterministic.
        players: the point.
        seed: of the probes.

    Source: Balduzzi et al. 2018 (arXiv:1802.05642) for the parts; Hutchinson 1990 for the estimate.

    Example:
        >>> turning_share(lambda p: (p[0] * p[1], -p[0] * p[1]), (1.0, 1.0))
        (1.0, 0.0)
    """
    with jax.enable_x64(True):
        players = jax.tree.map(lambda a: jnp.asarray(a, float), players)
        velocity, x = flatten(losses, players)

        @jax.jit
        def parts(t: Any) -> tuple[Any, Any]:
            forward = jax.jvp(velocity, (x,), (t,))[1]
            backward = jax.vjp(velocity, x)[1](t)[0]
            symmetric, rotating = (forward + backward) / 2, (forward - backward) / 2
            return symmetric @ symmetric, rotating @ rotating

        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_PROBES, x.size))
        found = np.array([[float(part) for part in parts(jnp.asarray(t))] for t in signs])
    symmetric, rotating = found.mean(axis=0)
    share = rotating / (symmetric + rotating)
    spread = found[:, 1] - share * found.sum(axis=1)  # the ratio's influence of each probe
    error = np.std(spread, ddof=1) / np.sqrt(_PROBES) / (symmetric + rotating)
    return float(share), float(error)
