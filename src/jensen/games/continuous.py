r"""The continuous-time dynamics of a game, what its rules follow as the step goes to 0.

    x'(t) = -v(x(t)),     x(0) = start

Integrated by diffrax (Tsitouras' method of order 5 with adaptive steps).
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from jensen._errors import DivergedError, InputError
from jensen.games.field import Field
from jensen.games.play import as_players, check_losses
from jensen.games.rules import Players


def integrate(
    losses: Any,
    start: Any,
    times: Any,
    *,
    tolerance: float | None = None,
    most_steps: int = 100_000,
) -> Players:
    """Return the players at given times of the flow x' = -v(x).

    Args:
        losses: `losses(players) -> (loss_1, …)`.
        start: the players at time 0.
        times: when to look `(t,)`, increasing from 0 or later.
        tolerance: relative and absolute, of one step; None for what the precision allows.
        most_steps: of the solver.

    Returns:
        The players stacked on a first axis `(t, …)`.

    Raises:
        InputError: for times that do not increase.
        DivergedError: if the solver fails: it blows up, or needs more steps.

    Source: Tsitouras 2011; Kidger 2021 (diffrax).

    Example:
        >>> import numpy as np
        >>> bilinear = lambda p: (p[0] * p[1], -p[0] * p[1])
        >>> x, y = integrate(bilinear, (1.0, 0.0), [0.0, np.pi / 2])  # a quarter of a turn
        >>> bool(abs(y[1] - 1) < 1e-4)
        True
    """
    import diffrax

    players = as_players(start)
    check_losses(losses, players)
    at = np.asarray(times, float)
    good = at.ndim == 1 and len(at) and at[0] >= 0 and np.isfinite(at).all()
    if not good or (np.diff(at) <= 0).any():
        raise InputError("times must increase from 0 or later", "times", "sort them")
    if tolerance is None:
        tolerance = 1e-10 if jax.tree.leaves(players)[0].dtype == np.float64 else 1e-6
    solution = _solve(losses, players, at, tolerance, most_steps)
    if not bool(solution.result == diffrax.RESULTS.successful):
        raise DivergedError(
            f"the flow could not be followed to t = {at[-1]:g} in {most_steps} steps",
            "integrate",
            "give an earlier time or a larger tolerance; the flow may blow up",
        )
    return solution.ys


@eqx.filter_jit
def _solve(losses: Any, players: Players, times: Any, tolerance: float, most_steps: int) -> Any:
    import diffrax

    def velocity(t: Any, x: Any, args: Any) -> Players:
        return jax.tree.map(lambda g: -g, Field(losses).v(x))

    return diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Tsit5(),
        t0=0.0,
        t1=times[-1],
        dt0=None,
        y0=players,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=most_steps,
        throw=False,
    )
