r"""Examining a game by name: a built-in one, a user's file, or the run folder of a GAN.

A trained GAN is examined where training left it, on a fixed batch of its held-out rows and fixed
noise: whether its local game turns, how each update rule would fare there with plain gradient
steps, and how much an R₁ penalty, γ/2 E‖∇ₓC‖² on real rows, would damp it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jensen._errors import InputError
from jensen.games.builtin import GAMES
from jensen.games.load import load_game
from jensen.games.radius import spectral_radius
from jensen.games.rules import RULES, rule
from jensen.games.stability import Stability, stability, theory

if TYPE_CHECKING:
    from jensen.runs import Run

_ROWS = 256
_WEIGHTS = (0.1, 1.0, 10.0)  # of R₁, tried beside the run's own


def stability_of(name: str, settings: dict[str, Any] | None = None) -> Stability:
    """Return the point of a game, its spectrum there, and a verdict per update rule.

    Args:
        name: a built-in game, `path.py:losses`, or the run folder of a GAN.
        settings: the game's parameters, and `step`: η of the rules, one for all players or one
            each, separated by commas; for a run the learning rate it was trained with.

    Raises:
        InputError: for an unknown game or setting, a run that is no GAN, or a game without a
            stationary point.

    Example:
        >>> stability_of("bilinear", {"step": "0.1"}).continuous
        'marginal'
    """
    settings = dict(settings or {})
    step = _read_step(settings.pop("step", None))
    if name and name not in GAMES and Path(name).is_dir():
        from jensen.runs import open_run

        if settings:
            raise InputError(
                f"unknown setting {next(iter(settings))!r}", name, "a run has only step=0.01"
            )
        return gan_stability(open_run(name), step)
    return stability(load_game(name, settings), step=step)


def _read_step(value: Any) -> float | list[float] | None:
    """Return η as a number, or one per player."""
    if not isinstance(value, str):
        return value
    try:
        steps = [float(part) for part in value.split(",")]
    except ValueError as error:
        raise InputError(
            f"step={value} is not a number", "--set", "write --set step=0.2, or step=0.2,0.1"
        ) from error
    return steps[0] if len(steps) == 1 else steps


def gan_stability(run: Run, step: float | list[float] | None = None) -> Stability:
    """Return the local game of a trained GAN.

    Args:
        run: the run of a GAN.
        step: η of the rules; None for the run's learning rate.

    Raises:
        InputError: if the run is no GAN.
    """
    from jensen.games.local import local_stability, turning_share

    players, game = local_game(run)
    rate = run.spec["recipe"]["learning_rate"]
    found = local_stability(
        str(run.folder),
        game(None),
        players,
        step=(list(rate) if isinstance(rate, list | tuple) else rate) if step is None else step,
    )
    share, error = turning_share(game(None), players)
    found.remarks.append(
        f"a share {share:.2f} ± {error:.2f} of the Jacobian's square is antisymmetric (0: a "
        "minimisation, 1: a pure rotation)"
    )
    found.remarks.extend(theory(found)[:1] if found.continuous == "marginal" else [])
    found.remarks.extend(_turning(found))
    found.remarks.extend(_damped(game, players, found))
    found.remarks.append(
        f"training stopped where max |v| = {found.residual:.2g}; the verdicts are for plain "
        "gradient steps near that point, on a fixed batch"
    )
    return found


def local_game(run: Run) -> tuple[Any, Any]:
    """Return a GAN's players, and `game(weight) -> losses` with R₁ weight γ or the run's own.

    Raises:
        InputError: if the run is no GAN.
    """
    import equinox as eqx
    import jax
    import numpy as np

    from jensen.objectives.adversarial import Adversarial
    from jensen.objectives.penalties import ZeroCentred

    if run.spec["model"] != "gan":
        raise InputError(
            f"a {run.spec['model']} is no game of several players: its field is a gradient and "
            "cannot rotate",
            str(run.folder),
            "give the run folder of a GAN, or a game",
        )
    gan = run.gan
    rows = gan.vectors(np.concatenate(run.held_out())[:_ROWS])
    arrays, static = eqx.partition((gan.discriminator, gan.generator), eqx.is_inexact_array)

    def game(weight: float | None) -> Any:
        objective = gan.objective
        if weight is not None:
            r1 = ZeroCentred(weight, "real")
            others = [
                p
                for p in objective.penalties
                if not (isinstance(p, ZeroCentred) and p.rows == r1.rows)
            ]
            objective = Adversarial(objective.loss, (*others, r1), objective.packing)

        def losses(players: Any) -> Any:
            batch = jax.numpy.asarray(rows, float)
            return objective(eqx.combine(players, static), batch, jax.random.key(0))

        return losses

    return arrays, game


def _turning(found: Stability) -> list[str]:
    values, errors = found.spectrum.values, found.spectrum.errors
    turns = abs(values.imag) > errors
    if not turns.any():
        return ["the game does not rotate: every extreme eigenvalue is real"]
    fastest = values[turns][abs(values[turns].imag).argmax()]
    per_fold = abs(fastest.imag / fastest.real) if fastest.real else float("inf")
    lines = [
        f"the game rotates: its fastest turn is {fastest.real:.3g} ± {abs(fastest.imag):.3g}i, "
        f"{per_fold:.3g} radians while it changes by a factor e"
    ]
    factors = {
        name: float(spectral_radius(rule(name), fastest, found.steps[0]))
        for name, made in RULES.items()
        if made.spectral
    }
    best = min(factors, key=lambda name: factors[name])
    lines.append(
        f"a step of {found.steps[0]:g} changes that turn by the factor {factors[best]:.6f} under "
        f"{best}, the least, and {factors['simultaneous']:.6f} under simultaneous"
    )
    return lines


def _damped(game: Any, players: Any, found: Stability) -> list[str]:
    """Return what R₁ penalties of several weights do to the fastest turn."""
    import jax

    from jensen.games.local import products
    from jensen.games.spectrum import extreme_eigenvalues, flatten

    lines = []
    for weight in _WEIGHTS:
        with jax.enable_x64(True):
            exact = jax.tree.map(lambda a: jax.numpy.asarray(a, float), players)
            velocity, x = flatten(game(weight), exact)
            extremes = extreme_eigenvalues(
                products(velocity, x), x.size, count=4, which=("LI",), tolerance=1e-6
            )
        fastest = extremes.values[abs(extremes.values.imag).argmax()]
        lines.append(f"γ = {weight:g}: {fastest.real:.3g} ± {abs(fastest.imag):.3g}i")
    return [f"with an R₁ penalty of weight γ the fastest turn is, {'; '.join(lines)}"]
