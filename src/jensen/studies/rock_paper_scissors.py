r"""Rock, paper, scissors: one equilibrium, and the learners that find it or run around it.

    min_{p_A} max_{p_B}  p_Aᵀ M p_B,     M_ij = points of B when A plays i and B plays j

The solution is p_A = p_B = (1/3, 1/3, 1/3), alone. Against p_B = (1/3, 1/3, 1/3) every p_A earns 0,
and yet no other p_A is optimal: it can be exploited, by max_j (p_Aᵀ M)_j >= (max p_A - min p_A)/2 >
0, since that maximum runs over cyclic differences which sum to 0.

On the simplex, steps of size η = 0.1 with Euclidean projection: descent-ascent runs out to a cycle,
optimistic and extragradient steps come in. Learners without regret converge on average, at their
rates; the replicator's orbits conserve Σ log p_A + Σ log p_B. On the biased game (payoffs up to 50)
regret matching+ comes within 0.001 of the payoffs' scale, and its predictive form within 0.001.

Source: the course document's problem 4; Hofbauer & Sigmund 1998.
"""

from __future__ import annotations

import jax
import numpy as np

from jensen.games.learners import LEARNERS
from jensen.games.learning import Learned, learn_game
from jensen.games.matrix import exploitability, solve_game
from jensen.games.play import play
from jensen.games.sets import Simplex
from jensen.report.curves import convergence
from jensen.report.simplex import ternary_panels
from jensen.studies.notebook import Notebook

M = np.array([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]])
BIASED = np.array([[0.0, -25, 50], [25, 0, -5], [-50, 5, 0]])
CENTRE = np.full(3, 1 / 3)
START = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.5, 0.3])
STEP = 0.1
RULES = "simultaneous", "alternating", "extragradient", "past-extragradient", "optimistic"
ACTIONS = ("rock", "paper", "scissors")


def study(book: Notebook) -> None:
    """Solve the game, exploit everything else, and follow rules and learners on the simplex."""
    _equilibrium(book)
    _exploited(book)
    paths = _rules(book)
    learned = _learners(book)
    _draw(book, paths, learned)
    book.used = "none: the game is given by its table"


def _equilibrium(book: Notebook) -> None:
    found = solve_game(-M)  # the row player A is paid -M
    book.equal("value", "value of the game", found.value, 0.0, 1e-12)
    off = max(np.abs(found.row - CENTRE).max(), np.abs(found.column - CENTRE).max())
    book.at_most("thirds", "distance of both strategies from (1/3, 1/3, 1/3)", off, 1e-12)
    book.at_most("certificate", "what both players could gain by leaving", found.gap, 1e-12)
    book.true("unique", "no other strategy of either player is optimal", found.unique)


def _exploited(book: Notebook) -> None:
    n = 30 if book.quick else 120
    i, j = (a.ravel() for a in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    grid = np.stack([i, j, n - i - j], axis=1)[i + j <= n] / n
    gains = (grid @ M).max(axis=1)
    spread = (grid.max(axis=1) - grid.min(axis=1)) / 2
    book.at_least(
        "exploited",
        f"max_j (pᵀM)_j - (max p - min p)/2, least of {len(grid)} strategies p",
        (gains - spread).min(),
        0.0,
        1e-15,
    )
    others = np.abs(grid - CENTRE).max(axis=1) > 1e-12
    book.at_least(
        "only-centre-safe",
        f"least exploitability of any p but the centre, grid of step 1/{n}",
        gains[others].min(),
        0.5 / n,
    )
    book.at_most(
        "all-equal-against-centre",
        "largest |pᵀM p_B| against p_B = (1/3, 1/3, 1/3)",
        np.abs(grid @ M @ CENTRE).max(),
        1e-15,
    )


def _losses(players: tuple) -> tuple:
    """Return the losses of A, who pays pᵀM q, and of B."""
    value = players[0] @ M @ players[1]
    return value, -value


def _rules(book: Notebook) -> dict[str, np.ndarray]:
    """Return A's path `(n, 3)` under each rule that has a projected form."""
    steps = 2000 if book.quick else 10_000
    paths, ends = {}, {}
    with jax.enable_x64(True):
        for name in RULES:
            sets = (Simplex(), Simplex())
            path = play(_losses, START, rule=name, step=STEP, steps=steps, sets=sets).flat()
            ends[name] = [exploitability(-M, row[:3], row[3:]).gap for row in path[-200:]]
            paths[name] = path[:, :3]
    book.at_least(
        "descent-ascent-cycles",
        f"exploitability of simultaneous descent-ascent, least of its last 200 of {steps} steps",
        min(ends["simultaneous"]),
        0.5,
    )
    for name in ("extragradient", "past-extragradient", "optimistic"):
        book.at_most(
            f"{name}-converges",
            f"exploitability of {name}, largest of its last 200 of {steps} steps",
            max(ends[name]),
            1e-6,
        )
    return paths


def _learners(book: Notebook) -> dict[str, Learned]:
    learned = {}
    for name, learner in LEARNERS.items():
        found = learn_game(-M, name, iterations=10_000, start=START)
        learned[name] = found
        if learner.proved:
            book.at_most(
                f"{name}-bound",
                f"gap of {name}'s average over its bound {learner.rate}, largest on the way",
                np.max(found.gap[-1:] / found.bound[-1:])
                if name == "hedge"  # its bound holds at the horizon its step was chosen for
                else np.max(found.gap / found.bound),
                1.0,
            )
    mass = np.log(learned["replicator"].row_path).sum(axis=1)
    mass = mass + np.log(learned["replicator"].column_path).sum(axis=1)
    book.at_most(
        "replicator-conserves",
        "largest relative change of Σ log p_A + Σ log p_B along the replicator's orbit",
        np.abs(mass / mass[0] - 1).max(),
        1e-4,
    )
    scale = (BIASED.max() - BIASED.min()) / 2
    for name, unit, says in (
        ("regret-matching+", scale, f"in units of the payoffs' scale, {scale:g} points"),
        ("predictive-regret-matching+", 1.0, "in points per round"),
    ):
        found = learn_game(BIASED, name, iterations=10_000)
        book.at_most(
            f"biased-{name}",
            f"biased rock-paper-scissors: largest gap of {name} after iteration 9,000, {says}",
            found.gap[found.iterations >= 9000].max() / unit,
            1e-3,
        )
        learned[f"biased {name}"] = found
    plus, ahead = (
        learned[f"biased {name}"] for name in ("regret-matching+", "predictive-regret-matching+")
    )
    book.remark(
        f"in points, with payoffs up to 50, regret matching+ has a gap of {plus.gap[-1]:.2g} after "
        f"10,000 iterations, its predictive form one of {ahead.gap[-1]:.2g}"
    )
    return learned


def _short(name: str) -> str:
    """Return a learner's name as a legend has room for it: RM is regret matching."""
    return name.replace("regret-matching", "RM").replace("optimistic-", "opt. ")


def _draw(book: Notebook, paths: dict[str, np.ndarray], learned: dict[str, Learned]) -> None:
    def exposed(p: np.ndarray) -> np.ndarray:
        return (p @ M).max(axis=1)

    unit = "what B earns against p_A (points per round)"
    rules = {name: {"p_A, 600 steps": path[:601]} for name, path in paths.items()}
    book.figure(
        ternary_panels(rules, corners=ACTIONS, heat=exposed, unit=unit), "rock-paper-scissors-rules"
    )
    plain = {name: found for name, found in learned.items() if not name.startswith("biased")}
    short = {name: learn_game(-M, name, iterations=400, start=START, every=2) for name in plain}
    orbits = {
        name: {"strategy": found.row_path, "average": found.row_average}
        for name, found in short.items()
    }
    book.figure(
        ternary_panels(orbits, corners=ACTIONS, heat=exposed, unit=unit),
        "rock-paper-scissors-learners",
    )
    biased = {n.removeprefix("biased "): f for n, f in learned.items() if n.startswith("biased")}
    plus = biased["regret-matching+"]
    book.figure(
        convergence(
            {_short(name): (found.iterations, found.gap) for name, found in biased.items()},
            {f"RM+, {plus.rate}": (plus.iterations, plus.bound)},
            ylabel="gap of the average (points per round)",
            title="Biased rock-paper-scissors, payoffs up to 50",
        ),
        "rock-paper-scissors-biased",
    )
    book.figure(
        convergence(
            {_short(name): (found.iterations, found.gap) for name, found in plain.items()},
            {
                f"{_short(name)}, {plain[name].rate}": (plain[name].iterations, plain[name].bound)
                for name in ("regret-matching", "optimistic-hedge")
            },
            ylabel="gap of the average (points per round)",
        ),
        "rock-paper-scissors-rates",
    )
    if book.animate:
        from jensen.report.animate import animate_orbits

        target = book.out / "rock-paper-scissors.gif"
        animate_orbits(
            {name: {"p_A": path[:401]} for name, path in paths.items()},
            target,
            corners=ACTIONS,
            heat=exposed,
            unit=unit,
        )
        book.figures.append(target)
