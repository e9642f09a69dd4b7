r"""The Dirac-GAN: where it rests, and why it turns for ever without a penalty.

Data δ₀, generator δ_θ, critic C(x) = ψ₀x + ψ₁, discriminator σ(C):

    L(ψ, θ) = log σ(ψ₁) + log σ(-ψ₀θ - ψ₁) - γ/2 ψ₀²   (the last term, R₁, is the critic's alone)

ψ ascends and θ descends. With s = σ(ψ₀θ + ψ₁) the velocity is

    ψ₀' = -θ s - γψ₀,     ψ₁' = σ(-ψ₁) - s,     θ' = ψ₀ s,

which vanishes at (0, 0, 0) alone. Its Jacobian there has the eigenvalues -½ and (-γ ± √(γ²-1))/2:
without the penalty a centre, where the linearisation decides nothing. But then θθ' + ψ₀ψ₀' = 0:
θ² + ψ₀² is conserved and the game neither settles nor leaves. With γ > 0 it settles.

Source: the course document's question 5; Mescheder et al. 2018 (arXiv:1801.04406).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from jensen.games.builtin import DiracGAN, dirac_gan
from jensen.games.continuous import integrate
from jensen.games.play import play
from jensen.games.radius import spectral_radius
from jensen.games.rules import RULES, rule
from jensen.games.spectrum import flatten
from jensen.games.stability import Stability, stability
from jensen.games.stationary import stationary_points
from jensen.report.portrait import phase_panels, velocity_grid
from jensen.report.spectra import spectrum, spectrum_by_rule
from jensen.studies.notebook import Notebook

STEP, GAMMAS = 0.2, (0.0, 0.3, 1.5, 3.0)
START = np.array([0.6, 0.0]), np.array(0.6)
ROUNDING = 1e-10
AXES = "θ (position of the generator)", "ψ₀ (slope of the critic)"


def velocity(x: np.ndarray, gamma: float) -> np.ndarray:
    """Return (ψ₀', ψ₁', θ') at points `(n, 3)`, derived by hand."""
    slope, bias, theta = x.T
    s = expit(slope * theta + bias)
    return np.stack([-theta * s - gamma * slope, expit(-bias) - s, slope * s], axis=1)


def eigenvalues(gamma: float) -> np.ndarray:
    """Return the eigenvalues of the velocity's Jacobian at (0, 0, 0), derived by hand."""
    root = np.sqrt(complex(gamma**2 - 1))
    return np.array([-0.5, (-gamma + root) / 2, (-gamma - root) / 2])


def radii(gamma: float, h: float) -> dict[str, float]:
    """Return each rule's spectral radius with step h, from its definition."""
    J = np.array([[-gamma, 0, -0.5], [0, -0.5, 0], [0.5, 0, 0]])
    A, one, zero = (J - J.T) / 2, np.eye(3), np.zeros((3, 3))
    critic, generator = np.diag([1.0, 1, 0]), np.diag([0.0, 0, 1])
    memory = np.block([[one + 2 * h * J, -h * J], [one, zero]])  # (x, x⁻)
    maps = {
        "simultaneous": one + h * J,
        "alternating": (one + h * generator @ J) @ (one + h * critic @ J),
        "extragradient": one + h * J @ (one + h * J),
        "past-extragradient": memory,
        "optimistic": memory,
        "consensus": one + h * (J - 0.1 * J.T @ J),
        "symplectic": one + h * (J - 0.1 * A.T @ J),
        "proximal": np.linalg.inv(one - h * J),
    }
    return {name: float(np.abs(np.linalg.eigvals(m)).max()) for name, m in maps.items()}


def study(book: Notebook) -> None:
    """Check field, rest point, spectra, radii and paths against closed forms, and draw them."""
    _field(book)
    found = {gamma: stability(dirac_gan(gamma), step=STEP) for gamma in GAMMAS}
    for gamma, result in found.items():
        _spectrum(book, gamma, result)
    _flow(book)
    paths = {gamma: _paths(book, gamma, found[gamma]) for gamma in (0.0, 0.3)}
    _draw(book, found, paths)
    if book.animate:
        _animate(book, paths[0.0])
    book.used = "none: the game is given by its formula"


def _field(book: Notebook) -> None:
    points = np.random.default_rng(book.seed).normal(scale=2, size=(100, 3))
    with jax.enable_x64(True):
        ours, _ = flatten(DiracGAN(0.7), START)
        gap = np.abs(np.asarray(jax.vmap(ours)(jnp.asarray(points))) - velocity(points, 0.7)).max()
        rests = stationary_points(DiracGAN(0.0), START, starts=64, scale=3.0, seed=book.seed)
    book.at_most("velocity", "field against the formula at 100 points", gap, 1e-12)
    book.equal("one-rest-point", "stationary points found from 64 starts", len(rests), 1, 0)
    book.at_most(
        "rest-at-zero", "distance of the stationary point from 0", max(abs(rests[0].vector)), 1e-9
    )


def _spectrum(book: Notebook, gamma: float, found: Stability) -> None:
    exact, ours = (
        sorted(v.tolist(), key=_place) for v in (eigenvalues(gamma), found.spectrum.values)
    )
    book.at_most(
        f"eigenvalues-{gamma:g}",
        f"γ = {gamma:g}: largest error of an eigenvalue against -½, (-γ ± √(γ²-1))/2",
        max(abs(a - b) for a, b in zip(exact, ours, strict=True)),
        ROUNDING,
    )
    expected = "stable" if gamma > 0 else "marginal"
    book.true(
        f"verdict-{gamma:g}",
        f"γ = {gamma:g}: the linearisation's verdict is {expected}",
        found.continuous == expected,
    )
    by_hand = radii(gamma, STEP)
    gap = max(abs(found.rules[name].radius - by_hand[name]) for name in RULES)
    book.at_most(
        f"radii-{gamma:g}",
        f"γ = {gamma:g}, h = {STEP}: largest error of a rule's spectral radius, {len(RULES)} rules",
        gap,
        ROUNDING,
    )


def _place(value: complex) -> tuple[float, float]:
    """Return what eigenvalues are sorted by, blind to rounding in the real part."""
    return round(value.real, 9), value.imag


def _flow(book: Notebook) -> None:
    times = np.linspace(0, 60, 241)
    with jax.enable_x64(True):
        psi, theta = (np.asarray(p) for p in integrate(DiracGAN(0.0), START, times))
        damped, end = (np.asarray(p) for p in integrate(DiracGAN(0.3), START, times))
    energy = theta**2 + psi[:, 0] ** 2
    book.at_most(
        "conserved",
        "γ = 0: largest relative change of θ² + ψ₀² along the flow to time 60",
        np.abs(energy / energy[0] - 1).max(),
        1e-7,
    )
    with jax.enable_x64(True):
        exact = np.concatenate([np.ravel(p[20]) for p in (psi, theta)])  # at time 5
        gaps = [
            np.linalg.norm(play(DiracGAN(0.0), START, step=5 / n, steps=n).flat()[-1] - exact)
            for n in (400, 800)
        ]
    book.equal(
        "follows-flow",
        "distance of simultaneous steps from the flow at time 5, h = 1/80 over h = 1/160",
        gaps[0] / gaps[1],
        2.0,
        0.05,
    )
    last = np.sqrt(end[-1] ** 2 + (damped[-1] ** 2).sum())
    book.at_most("settles", "γ = 0.3: distance from 0 at time 60", last, 1e-3)


def _paths(book: Notebook, gamma: float, found: Stability) -> dict[str, np.ndarray]:
    """Return every rule's path as `(n, 2)` rows (θ, ψ₀), after checking its rate."""
    short = {}
    gap = 0.0
    for name in RULES:
        with jax.enable_x64(True):
            small = (START[0] * 1e-5, START[1] * 1e-5)
            path = play(DiracGAN(gamma), small, rule=name, step=STEP, steps=600).flat()
            short[name] = play(DiracGAN(gamma), START, rule=name, step=STEP, steps=120).flat()
        length = np.linalg.norm(path[:, [0, 2]], axis=1)
        # over whole turns of the linear map the mean log growth of the length is log radius
        slope = np.polyfit(np.arange(300, 601), np.log(length[300:]), 1)[0]
        gap = max(gap, abs(slope - np.log(found.rules[name].radius)))
    book.at_most(
        f"rates-{gamma:g}",
        f"γ = {gamma:g}, h = {STEP}: growth of a path per step against log radius, worst rule",
        gap,
        1e-3,
    )
    return {name: path[:, [2, 0]] for name, path in short.items()}


def _draw(
    book: Notebook,
    found: dict[float, Stability],
    paths: dict[float, dict[str, np.ndarray]],
) -> None:
    axis = np.linspace(-1.6, 1.6, 33)
    for gamma, by_rule in paths.items():
        grid = velocity_grid(_plane(gamma), axis, axis)
        verdicts = {
            name: f"radius {r.radius:.5f}: {r.verdict}" for name, r in found[gamma].rules.items()
        }
        book.figure(
            phase_panels(
                grid,
                {name: {"120 steps": path} for name, path in by_rule.items()},
                verdicts=verdicts,
                axes=AXES,
            ),
            f"dirac-gan-portrait-{gamma:g}",
        )
    book.figure(
        spectrum({f"γ = {gamma:g}": s.spectrum.values for gamma, s in found.items()}, "Dirac-GAN"),
        "dirac-gan-spectrum",
    )
    spectral = {
        name: lambda values, name=name: spectral_radius(rule(name), values, 1.0)
        for name, made in RULES.items()
        if made.spectral
    }
    book.figure(
        spectrum_by_rule(found[0.0].spectrum.values, spectral, 1.0, resolution=61),
        "dirac-gan-regions",
    )


def _plane(gamma: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the velocity in the plane (θ, ψ₀) at ψ₁ = 0."""

    def at(points: np.ndarray) -> np.ndarray:
        x = np.stack([points[:, 1], np.zeros(len(points)), points[:, 0]], axis=1)
        return velocity(x, gamma)[:, [2, 0]]

    return at


def _animate(book: Notebook, paths: dict[str, np.ndarray]) -> None:
    from jensen.report.animate import animate_trajectories

    axis = np.linspace(-1.6, 1.6, 33)
    target = book.out / "dirac-gan.gif"
    animate_trajectories(
        velocity_grid(_plane(0.0), axis, axis),
        {name: {"120 steps": path} for name, path in paths.items()},
        target,
        axes=AXES,
    )
    book.figures.append(target)
