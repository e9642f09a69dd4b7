r"""Matrix games: exact equilibria of two-player zero-sum games, with a certificate.

The row player picks p, the column player q, both on a simplex; the column player pays pᵀA q. Von
Neumann's theorem gives the value

    v = max_p min_j (pᵀA)_j = min_q max_i (A q)_i,

both sides of which are linear programs, dual to each other: one program gives p, its multipliers
q. Whatever found them, p guarantees `lower` = min_j (pᵀA)_j and q guarantees `upper` =
max_i (A q)_i, and lower ≤ v ≤ upper; the difference is the certificate, and is 0 at an equilibrium
and nowhere else.

Everything is computed on B = (A - centre) / scale with centre and scale such that B fills [-1, 1]:
strategies do not depend on shift and scale, nor does the gap on the shift. `games.program` finds
the strategies, `games.faces` examines the sets they come from.

Sources: von Neumann 1928; Dantzig 1951.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen._errors import InputError, JensenError
from jensen.games.faces import Face, face_of, is_unique, vertices
from jensen.games.payoff import read_payoff
from jensen.games.program import guarantees, strategies

TIE = 1e-9
"""Probabilities, and differences of payoffs in units of the scale, below it count as 0 where ties
matter: in the uniqueness test and the vertices."""
WORST = 1e-6
"""The largest gap in units of the scale that is returned and not raised."""


@dataclass(frozen=True)
class Equilibrium:
    """Strategies of both players, with what they guarantee.

    Args:
        value: the game's value to the row player, within `gap` of the true one.
        row: `(m,)` p, the row player's probabilities.
        column: `(n,)` q, the column player's probabilities.
        lower: min_j (pᵀA)_j, what p guarantees the row player.
        upper: max_i (A q)_i, what q lets the row player get at most.
        gap: upper - lower ≥ 0, in the payoff's units: the certificate.
        scale: max |A - centre|, what the gap is to be compared with; 1 for a constant game.
        method: what found the strategies.
        iterations: its iterations.
        row_unique: whether no other p is optimal; None where that was not examined.
        column_unique: whether no other q is optimal; None where that was not examined.
        row_vertices: `(V, m)` all vertices of the row player's optimal set; None where there are
            too many to try, or they were not asked for.
        column_vertices: `(W, n)`, likewise.
    """

    value: float
    row: np.ndarray
    column: np.ndarray
    lower: float
    upper: float
    gap: float
    scale: float
    method: str
    iterations: int
    row_unique: bool | None = None
    column_unique: bool | None = None
    row_vertices: np.ndarray | None = None
    column_vertices: np.ndarray | None = None

    @property
    def unique(self) -> bool | None:
        """Whether both players' optimal strategies are the only ones; None if not examined."""
        if self.row_unique is None or self.column_unique is None:
            return None
        return self.row_unique and self.column_unique


@dataclass(frozen=True)
class BestResponse:
    """The best a player can do against a strategy.

    Args:
        value: the row player's payoff when the best response is played.
        actions: the best actions, ties included, counted from 0.
        payoffs: the row player's payoff for each action of the one who responds.
    """

    value: float
    actions: tuple[int, ...]
    payoffs: np.ndarray


@dataclass(frozen=True)
class Exploitability:
    """What the players could gain by leaving a profile, in the payoff's units.

    Args:
        row: max_i (A q)_i - pᵀA q ≥ 0.
        column: pᵀA q - min_j (pᵀA)_j ≥ 0.
    """

    row: float
    column: float

    @property
    def gap(self) -> float:
        """The sum of both gains: the duality gap, also called NashConv."""
        return self.row + self.column


@dataclass(frozen=True)
class Scaled:
    """A payoff in units of its own: A = centre + scale · B.

    Args:
        matrix: `(m, n)` B, between -1 and 1.
        centre: the middle of the least and the largest payoff.
        scale: half their difference; 1 where that is 0.
    """

    matrix: np.ndarray
    centre: float
    scale: float

    def equilibrium(self, p: np.ndarray, q: np.ndarray, method: str, iterations: int, **more: Any):
        """Return the profile with its certificate."""
        low, high = guarantees(self.matrix, p, q)
        middle = 0.5 * (low + high)
        low, high = min(low, middle), max(high, middle)  # they may cross by a rounding error
        return Equilibrium(
            value=self.centre + self.scale * middle,
            row=p,
            column=q,
            lower=self.centre + self.scale * low,
            upper=self.centre + self.scale * high,
            gap=self.scale * (high - low),
            scale=self.scale,
            method=method,
            iterations=iterations,
            **more,
        )


def scaled(payoff: Any) -> Scaled:
    """Read a payoff and return it centred and scaled (see `read_payoff`)."""
    a = read_payoff(payoff).matrix
    least, most = float(a.min()), float(a.max())
    centre, scale = 0.5 * least + 0.5 * most, 0.5 * most - 0.5 * least
    scale = scale if scale > 0.0 else 1.0
    return Scaled(np.clip((a - centre) / scale, -1.0, 1.0), centre, scale)


def solve_game(payoff: Any, vertices: bool = True) -> Equilibrium:
    """Return an equilibrium of a zero-sum game, certified.

    A saddle point in pure strategies is found by inspection. Small games go to a dense simplex
    tableau, all others and those it leaves uncertified to HiGHS. The strategies are then
    corrected by solving the equations that hold on their supports, kept where the guarantee
    improves. Uniqueness is decided as `jensen.games.faces` says; there, probabilities below 1e-9
    and payoffs that differ by less than 1e-9 of the scale count as ties, so that "unique" means
    unique beyond such changes.

    Args:
        payoff: `(m, n)` the row player's payoff, or whatever `read_payoff` reads. The row player
            maximises.
        vertices: whether to list the vertices of optimal sets that are not points.

    Returns:
        The equilibrium. Its gap is computed from the strategies it holds, and is at most 1e-6 of
        the scale; random games leave about 1e-14.

    Raises:
        InputError: the payoff cannot be used (see `read_payoff`).
        JensenError: HiGHS failed, with its message, or left a gap above 1e-6 of the scale. Where
            only its test of uniqueness fails, uniqueness is None: not examined.

    Source: Dantzig 1951; Mangasarian 1979 for uniqueness.

    Example:
        >>> game = solve_game([[4, 1], [1, 2]])
        >>> game.row, game.value, game.unique
        (array([0.25, 0.75]), 1.75, True)
    """
    game = scaled(payoff)
    p, q, method, iterations = strategies(game.matrix)
    low, high = guarantees(game.matrix, p, q)
    if high - low > WORST:
        raise JensenError(
            f"the equilibrium could not be certified: its gap is {high - low:.1e} of the scale",
            f"{method}, after {iterations} iterations",
            "scale the payoffs so that they differ by less than nine orders of magnitude",
        )
    tie = max(TIE, 10.0 * (high - low))
    own = face_of(game.matrix, p, q, tie), face_of(-game.matrix.T, q, p, tie)
    row, column = (_examined(face, vertices) for face in own)
    return game.equilibrium(
        p,
        q,
        method,
        iterations,
        row_unique=row[0],
        column_unique=column[0],
        row_vertices=row[1],
        column_vertices=column[1],
    )


def optimal_vertices(payoff: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return all vertices of both players' optimal sets.

    Args:
        payoff: see `solve_game`.

    Returns:
        `(V, m)` and `(W, n)` in lexicographic order; None in place of a set with more than 20,000
        candidates.

    Raises:
        InputError, JensenError: as `solve_game`.

    Example:
        >>> optimal_vertices([[1, 1, 0], [0, 0, 1]])[1]
        array([[0. , 0.5, 0.5],
               [0.5, 0. , 0.5]])
    """
    found = solve_game(payoff)
    return found.row_vertices, found.column_vertices


def best_response(payoff: Any, row: Any = None, column: Any = None) -> BestResponse:
    """Return the best response to one player's strategy.

    Args:
        payoff: `(m, n)`, see `solve_game`.
        row: `(m,)` the row player's strategy, which the column player answers; or
        column: `(n,)` the column player's strategy, which the row player answers.

    Returns:
        The best actions; ties within 1e-12 of the scale count.

    Raises:
        InputError: both strategies or none, or one that is no probability vector.

    Example:
        >>> best_response([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], column=[1, 0, 0]).actions
        (1,)
    """
    if (row is None) == (column is None):
        raise InputError(
            "a best response answers exactly one strategy", "best_response", "give row or column"
        )
    game = scaled(payoff)
    m, n = game.matrix.shape
    if row is not None:
        payoffs = as_strategy(row, m, "row") @ game.matrix
        best = payoffs.min()
    else:
        payoffs = game.matrix @ as_strategy(column, n, "column")
        best = payoffs.max()
    actions = np.flatnonzero(np.abs(payoffs - best) <= 1e-12)
    back = game.centre + game.scale * payoffs
    return BestResponse(game.centre + game.scale * float(best), tuple(actions.tolist()), back)


def exploitability(payoff: Any, row: Any, column: Any) -> Exploitability:
    """Return what each player could gain by leaving the profile (row, column).

    Args:
        payoff: `(m, n)`, see `solve_game`.
        row: `(m,)` the row player's strategy.
        column: `(n,)` the column player's strategy.

    Returns:
        Both gains; their sum `gap` (NashConv) is 0 at an equilibrium and nowhere else. Some
        authors call half of it exploitability.

    Raises:
        InputError: a strategy that is no probability vector of the right length.

    Example:
        >>> exploitability([[4, 1], [1, 2]], [1, 0], [1, 0])
        Exploitability(row=0.0, column=3.0)
    """
    game = scaled(payoff)
    m, n = game.matrix.shape
    p, q = as_strategy(row, m, "row"), as_strategy(column, n, "column")
    low, high = guarantees(game.matrix, p, q)
    now = float(p @ game.matrix @ q)
    return Exploitability(game.scale * max(high - now, 0.0), game.scale * max(now - low, 0.0))


def as_strategy(strategy: Any, n: int, player: str) -> np.ndarray:
    """Check a strategy `(n,)` and return it with the sum 1.

    Raises:
        InputError: not `n` finite numbers, a negative one, or a sum further than 1e-6 from 1.
    """
    try:
        s = np.asarray(strategy, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"a strategy must be {n} numbers", player, "give an array") from error
    if s.shape != (n,):
        raise InputError(
            f"a strategy must have shape ({n},), and this has {s.shape}",
            player,
            "give one probability for each action",
        )
    if not (np.isfinite(s).all() and (s >= 0.0).all() and abs(s.sum() - 1.0) <= 1e-6):
        raise InputError(
            f"a strategy must be probabilities with the sum 1; the least is {s.min():g} and the "
            f"sum {s.sum():g}",
            player,
            "divide nonnegative weights by their sum",
        )
    return s / s.sum()


def _examined(face: Face, listed: bool) -> tuple[bool | None, np.ndarray | None]:
    """Return uniqueness and vertices; None for both where the solver cannot decide."""
    try:
        return _examine(face, listed)
    except JensenError:
        return None, None


def _examine(face: Face, listed: bool) -> tuple[bool, np.ndarray | None]:
    if is_unique(face):
        return True, face.point[None]
    return False, vertices(face) if listed else None
