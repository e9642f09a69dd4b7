r"""Is a game stable where it rests, in continuous time and under each rule?

    v(x*) = 0,   J = -∂v/∂x (x*),   verdict of the flow by Re λ(J), of each rule by ρ(S)

A zero real part decides nothing: the verdict is then `marginal`, and the remarks say what theory
offers next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen.games.builtin import NamedGame
from jensen.games.radius import Radius, radius_of
from jensen.games.rules import RULES, rule
from jensen.games.spectrum import Spectrum, Verdict, eigenvalues, jacobian
from jensen.games.stationary import StationaryPoint, stationary_points

LARGE = 150
"""Entries of all players beyond which only the extremes of the spectrum are found."""
_FARTHER_POINTS = 7  # reported beside the first


@dataclass(frozen=True)
class Stability:
    """What a game does at a point.

    Attributes:
        game: its name.
        point: all players' entries side by side `(d,)`.
        residual: max |v| there.
        spectrum: eigenvalues of the velocity's Jacobian, the largest real part first.
        rules: rule → what it does with step `steps`.
        steps: η of each player.
        points: further stationary points, with the flow's verdict at each.
        remarks: what a reader should know, in plain words.
    """

    game: str
    point: np.ndarray
    residual: float
    spectrum: Spectrum
    rules: dict[str, Radius]
    steps: tuple[float, ...]
    points: list[tuple[np.ndarray, Verdict]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def continuous(self) -> Verdict:
        """The verdict on the flow x' = -v(x)."""
        return self.spectrum.continuous

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data; no end of the stable steps, or of a turn, is None."""
        small = len(self.point) <= 1000
        return {
            "game": self.game,
            "point": self.point.tolist() if small else {"parameters": len(self.point)},
            "residual": self.residual,
            "eigenvalues": [[z.real, z.imag] for z in self.spectrum.values.tolist()],
            "eigenvalue_errors": self.spectrum.errors.tolist(),
            "all_eigenvalues": self.spectrum.whole,
            "continuous": self.continuous,
            "rotation": self.spectrum.rotation if np.isfinite(self.spectrum.rotation) else None,
            "step": self.steps[0] if len(set(self.steps)) == 1 else list(self.steps),
            "rules": {
                name: {
                    "radius": found.radius,
                    "verdict": found.verdict,
                    "largest_stable_step": found.largest_stable_step
                    if np.isfinite(found.largest_stable_step)
                    else None,
                    "no_largest_step": bool(np.isinf(found.largest_stable_step)),
                }
                for name, found in self.rules.items()
            },
            "points": [
                {"point": point.tolist(), "continuous": verdict} for point, verdict in self.points
            ],
            "remarks": self.remarks,
        }


def stability(
    game: NamedGame,
    *,
    step: float | Sequence[float] | None = None,
    starts: int = 32,
    seed: int = 0,
) -> Stability:
    """Return the stationary point of a game, its spectrum, and every rule's verdict there.

    Args:
        game: the losses and where the search begins.
        step: η, one for all players or one each; None for the game's own.
        starts: of the search for stationary points.
        seed: of the starts.

    Raises:
        InputError: if there is no stationary point, or a step is not above 0.

    Example:
        >>> from jensen.games.builtin import dirac_gan
        >>> found = stability(dirac_gan(gamma=1.5))
        >>> found.continuous, round(found.rules["simultaneous"].radius, 6)
        ('stable', 0.961803)
    """
    steps = check_steps(game.step if step is None else step, len(game.start))
    points = stationary_points(game.losses, game.start, starts=starts, seed=seed)
    first = points[0]
    if first.vector.size > LARGE:
        from jensen.games.local import local_stability

        found = local_stability(game.name, game.losses, first.players, step=list(steps))
        found.remarks.extend([*game.remarks, *theory(found)])
        return found
    matrix, spectrum = _examined(game.losses, first)
    sizes = tuple(
        sum(np.size(leaf) for leaf in jax.tree.leaves(player)) for player in first.players
    )
    rules = {name: radius_of(rule(name), matrix, spectrum, sizes, steps) for name in RULES}
    further: list[tuple[np.ndarray, Verdict]] = [
        (p.vector, _examined(game.losses, p)[1].continuous) for p in points[1 : 1 + _FARTHER_POINTS]
    ]
    found = Stability(
        game.name, first.vector, first.residual, spectrum, rules, steps, further, [*game.remarks]
    )
    found.remarks.extend(theory(found))
    return found


def check_steps(step: float | Sequence[float], players: int) -> tuple[float, ...]:
    """Return η of each player.

    Raises:
        InputError: if there are too few or too many, or one is not above 0.
    """
    each = tuple(step) if isinstance(step, Sequence) else (step,) * players
    if len(each) != players or not all(np.isfinite(s) and s > 0 for s in each):
        raise InputError(
            f"step = {step} for {players} players", "step", "give one number above 0, or one each"
        )
    return tuple(float(s) for s in each)


def _examined(losses: Any, point: StationaryPoint) -> tuple[np.ndarray, Spectrum]:
    """Return J at a point and its eigenvalues, uncertain by what J changes over the correction."""
    with jax.enable_x64(True):
        matrix = jacobian(losses, point.players)
        vector, unravel = jax.flatten_util.ravel_pytree(point.players)
        beside = unravel(vector - jnp.asarray(point.correction))
        # the correction is a whole step to a simple root, 1/m of it to an m-fold one: hence the 3
        floor = 3 * float(np.linalg.norm(jacobian(losses, beside) - matrix))
    return matrix, eigenvalues(matrix, floor)


def theory(found: Stability) -> list[str]:
    """Return in plain words what the verdicts mean and what theory says next."""
    lines = []
    if found.continuous == "marginal":
        lines.append(
            "an eigenvalue has real part 0 within its error, so the linearisation is inconclusive: "
            "look for a conserved quantity (a centre: orbits neither approach nor leave) or reduce "
            "to the centre manifold; where the flow does converge, it does so slower than "
            "exponentially"
        )
    turning = found.spectrum.rotation
    if turning > 1:
        lines.append(
            "the game rotates: the linearised flow turns and neither decays nor grows"
            if np.isinf(turning)
            else f"the game rotates: the linearised flow turns {turning:.3g} radians while it "
            "decays or grows by a factor e"
        )
    stable = [name for name, r in found.rules.items() if r.verdict == "stable"]
    plain = found.rules.get("simultaneous")
    if plain is not None and plain.verdict != "stable" and stable:
        lines.append(f"simultaneous steps do not converge here; these do: {', '.join(stable)}")
    if found.continuous == "stable" and plain is not None and plain.verdict == "unstable":
        lines.append(
            "the flow converges though simultaneous steps do not: a smaller step would, below "
            f"{plain.largest_stable_step:.3g}"
        )
    if len(set(found.steps)) > 1:
        lines.append(
            "the flow and its eigenvalues are those of equal speeds; the largest stable step is "
            "the first player's, with the ratio of the steps kept"
        )
    return lines
