"""Draw the pictures of docs/games.md: paths of each rule, their regions of stability, learning.

python docs/games_picture.py
"""

from __future__ import annotations

import io
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import jensen as jn
from jensen.games.builtin import DiracGAN
from jensen.games.radius import spectral_radius
from jensen.games.rules import RULES, rule
from jensen.report.curves import convergence
from jensen.report.portrait import Velocity, phase_panels, velocity_grid
from jensen.report.spectra import spectrum_by_rule
from jensen.studies.dirac_gan import AXES, velocity

STEP, START = 0.2, ((0.6, 0.0), 0.6)
BIASED = np.array([[0, -25, 50], [25, 0, -5], [-50, 5, 0]])
DOTS_PER_INCH, COLOURS = 96, 64


def save(figure: Figure, name: str) -> None:
    """Write docs/figures/NAME.png in few colours, which keeps it small."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    path = Path(__file__).parent / "figures" / f"{name}.png"
    Image.open(stream).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def field(gamma: float) -> Velocity:
    """Return the Dirac-GAN's velocity in the plane (θ, ψ₀), at ψ₁ = 0."""

    def at(points: np.ndarray) -> np.ndarray:
        x = np.stack([points[:, 1], np.zeros(len(points)), points[:, 0]], axis=1)
        return velocity(x, gamma)[:, [2, 0]]

    side = np.linspace(-1.4, 1.4, 25)
    return velocity_grid(at, side, side)


def portrait(gamma: float, names: tuple[str, ...]) -> Figure:
    """Draw 120 steps of each rule over the Dirac-GAN's flow."""
    found = jn.stability_of("dirac-gan", {"gamma": gamma, "step": STEP}).rules
    paths, verdicts = {}, {}
    for name in names:
        with jax.enable_x64(True):
            path = jn.play(DiracGAN(gamma), START, rule=name, step=STEP, steps=120).flat()
        paths[name] = {"120 steps": path[:, [2, 0]]}
        verdicts[name] = f"radius {found[name].radius:.5f}: {found[name].verdict}"
    return phase_panels(field(gamma), paths, verdicts=verdicts, axes=AXES)


def regions() -> Figure:
    """Draw where in the λ-plane each rule contracts, with the Dirac-GAN's eigenvalues."""
    values = jn.stability_of("dirac-gan").spectrum.values
    radii = {
        name: lambda at, name=name: spectral_radius(rule(name), at, 1.0)
        for name, made in RULES.items()
        if made.spectral
    }
    return spectrum_by_rule(values, radii, 1.0, resolution=61)


def learning() -> Figure:
    """Draw the gap of each learner's average play in biased rock-paper-scissors."""
    names = {
        "regret matching": "regret-matching",
        "regret matching+": "regret-matching+",
        "predictive matching+": "predictive-regret-matching+",
        "optimistic hedge": "optimistic-hedge",
    }
    learned = {name: jn.learn_game(BIASED, m, iterations=10_000) for name, m in names.items()}
    return convergence(
        {name: (found.iterations, found.gap) for name, found in learned.items()},
        {
            name: (learned[name].iterations, learned[name].bound)
            for name in ("regret matching", "optimistic hedge")
        },
        ylabel="gap of the average (points per round)",
        title="Biased rock-paper-scissors, payoffs up to 50",
    )


def main() -> None:
    """Write docs/figures/games-*.png."""
    save(portrait(0.0, tuple(RULES)[:6]), "games-dirac")
    save(portrait(0.3, ("simultaneous", "alternating", "optimistic")), "games-dirac-penalty")
    save(regions(), "games-regions")
    save(learning(), "games-learning")


if __name__ == "__main__":
    main()
