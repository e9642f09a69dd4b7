"""Matrix games side by side: equilibria, and iterations of regret matching a second.

    python -m venv PEERS
    PEERS/bin/pip install nashpy open_spiel cvxpy ecos
    python benchmarks/matrix_games.py --peers-python PEERS/bin/python

Each library works in a process of its own; they are asked in turn, one at work at a time, each
repetition in a new random order. Without `--peers-python` the interpreter that runs this file is
taken for the peers too (`pip install jensen[bench]`). Writes `matrix_games.md`.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SIZES = (3, 100, 1000)
BIASED = [[0, -25, 50], [25, 0, -5], [-50, 5, 0]]
EQUILIBRIA = (
    ("jensen", "solve_game"),
    ("nashpy", "linear_program"),
    ("nashpy", "lemke_howson"),
    ("nashpy", "support_enumeration"),
    ("open_spiel", "lp_solver"),
)
LEARNERS = (
    ("jensen", "regret-matching", (3, 100, 1000)),
    ("jensen", "regret-matching+", (3, 100, 1000)),
    ("jensen", "predictive-regret-matching+", (3, 100, 1000)),
    ("open_spiel", "regret_matching (Python)", (3, 100, 1000)),
    ("open_spiel", "CFRPlusSolver (C++)", (3, 100)),
)
ITERATIONS = {3: 50_000, 100: 20_000, 1000: 1000}
SLOW = {("open_spiel", "CFRPlusSolver (C++)", 100): 200}
"""Fewer iterations for those that would take minutes."""

PAGE = """# Matrix games, side by side

Made by `benchmarks/matrix_games.py`; do not edit.

{date}, {cpu}, {cores} cores, {system}, Python {python}, {versions}.

## Equilibrium of an n × n game with normal payoffs

| library | method | n | time, ms | slowest, ms | largest gap / scale | games |
|---|---|---|---|---|---|---|
{equilibria}

Both players' strategies, from the matrix; the game object of the peers is built outside the clock.
Median over the games, after one warm-up where that is not stopped. `jensen` also decides uniqueness
of both strategies within the time; the others do not. The gap is max_i (A q)_i - min_j (pᵀA)_j of
the strategies returned, in units of half the payoffs' range. "stopped" stands for no answer within
{limit} s, after which that method is not asked again at that size.

## Regret matching: iterations a second

| library | method | n | iterations a second | iterations timed | gap / scale then | first call, s |
|---|---|---|---|---|---|---|
{learners}

n = 3 is biased rock-paper-scissors (payoffs up to 50), the others have normal payoffs; uniform
starts. One iteration updates both players and the averages. Median over {repeats} runs; the first
call, compilation included, is listed apart. OpenSpiel's `regret_matching` is a Python loop over
numpy, its `CFRPlusSolver` is C++ on the game in turns and does what regret matching+ does.
"""


# --- in the worker, where only the library asked for is imported


def payoff(n: int, seed: int) -> np.ndarray:
    """Return the game number `seed` of size n."""
    return np.random.default_rng([n, seed]).normal(size=(n, n))


def equilibrium_call(library: str, method: str, a: np.ndarray) -> Callable[[], Any]:
    """Return a function that solves the game and returns (p, q)."""
    if library == "jensen":
        from jensen.games.matrix import solve_game

        def ours() -> Any:
            found = solve_game(a)
            return found.row, found.column

        return ours
    if library == "nashpy":
        import nashpy

        game = nashpy.Game(a)
        return {
            "linear_program": game.linear_program,
            "lemke_howson": lambda: game.lemke_howson(initial_dropped_label=0),
            "support_enumeration": lambda: next(game.support_enumeration()),
        }[method]
    import pyspiel
    from open_spiel.python.algorithms import lp_solver

    game = pyspiel.create_matrix_game(a, -a)
    return lambda: lp_solver.solve_zero_sum_matrix_game(game)[:2]


def learner_call(library: str, method: str, a: np.ndarray, n_iter: int) -> Callable[[], Any]:
    """Return a function that runs the learner and returns the average (p, q)."""
    if library == "jensen":
        from jensen.games.learning import learn_game

        def ours() -> Any:
            found = learn_game(a, method, n_iter).equilibrium
            return found.row, found.column

        return ours
    import pyspiel

    if method.startswith("regret_matching"):
        from open_spiel.python.algorithms import regret_matching

        return lambda: regret_matching.regret_matching([a, -a], iterations=n_iter, gamma=0.0)
    game = pyspiel.convert_to_turn_based(pyspiel.create_matrix_game(a, -a))

    def cfr() -> Any:
        solver = pyspiel.CFRPlusSolver(game)
        for _ in range(n_iter):
            solver.evaluate_and_update_policy()
        policy, state = solver.average_policy(), game.new_initial_state()
        p = policy.action_probabilities(state)
        state.apply_action(0)
        q = policy.action_probabilities(state)
        return [p[i] for i in range(len(a))], [q[j] for j in range(len(a))]

    return cfr


def answer(request: dict[str, Any]) -> dict[str, float]:
    """Do what one request asks, by the clock."""
    library, method, n = request["library"], request["method"], request["n"]
    if request["task"] == "equilibrium":
        a = payoff(n, request["seed"])
        call = equilibrium_call(library, method, a)
    else:
        a = np.array(BIASED, float) if n == 3 else payoff(n, 0)
        call = learner_call(library, method, a, request["iterations"])
    start = time.perf_counter()
    p, q = call()
    seconds = time.perf_counter() - start
    p, q = (np.maximum(np.ravel(s).astype(float), 0.0) for s in (p, q))
    p, q = p / p.sum(), q / q.sum()  # an interior point method ends near the simplex, not on it
    gap = float((a @ q).max() - (p @ a).min()) / (0.5 * np.ptp(a))
    return {"seconds": seconds, "gap": gap}


def work() -> None:
    """Answer requests, one line of JSON each, until there are none."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


# --- in the parent


class Worker:
    """A library's process; one that keeps silent too long is stopped and started again."""

    def __init__(self, python: str) -> None:
        self.python = python
        self.process: subprocess.Popen | None = None

    def ask(self, limit: float, **request: Any) -> dict[str, float] | None:
        """Return the reply, or None where none came within `limit` seconds."""
        if self.process is None:
            self.process = subprocess.Popen(
                [self.python, __file__, "--work"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], limit)[0]:
            self.close(kill=True)
            return None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{request} failed; run it by hand with --work to see why")
        return json.loads(line)

    def close(self, kill: bool = False) -> None:
        """End the process."""
        if self.process is not None:
            if kill:
                self.process.kill()
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def measure(workers: dict[str, Worker], jobs: list[dict], repeats: int, limit: float) -> dict:
    """Return, for each job, its first reply and the later ones; None ends a job's list."""
    replies: dict[int, list] = {k: [] for k in range(len(jobs))}
    for repeat in range(-1, repeats):
        order = list(range(len(jobs)))
        random.Random(repeat).shuffle(order)
        for k in order:
            if replies[k] and replies[k][-1] is None:
                continue
            if jobs[k].get("n") == 1000 and repeat >= max(1, repeats // 5):
                continue  # the large ones take seconds to minutes
            request = {**jobs[k], "seed": max(repeat, 0)}
            replies[k].append(workers[request["library"]].ask(limit, **request))
            print(request, replies[k][-1], file=sys.stderr)
    return replies


def equilibrium_row(job: dict, replies: list, limit: float) -> str:
    """Render one line of the first table."""
    head = f"| {job['library']} | {job['method']} | {job['n']} |"
    done = [r for r in replies[1:] if r is not None]
    if None in replies:
        return f"{head} stopped | > {1000 * limit:,.0f} | | {len(done)} |"
    times = [1e3 * r["seconds"] for r in done]
    gap = max(r["gap"] for r in done)
    return (
        f"{head} {statistics.median(times):,.2f} | {max(times):,.2f} | {max(gap, 0.0):.1e} "
        f"| {len(done)} |"
    )


def learner_row(job: dict, replies: list, limit: float) -> str:
    """Render one line of the second table."""
    head = f"| {job['library']} | {job['method']} | {job['n']} |"
    if None in replies:
        return f"{head} stopped after {limit:g} s | {job['iterations']:,} | | |"
    speed = job["iterations"] / statistics.median(r["seconds"] for r in replies[1:])
    return (
        f"{head} {speed:,.0f} | {job['iterations']:,} | {replies[-1]['gap']:.1e} "
        f"| {replies[0]['seconds']:.2f} |"
    )


def versions_of(python: str, packages: tuple[str, ...]) -> list[str]:
    """Return "name version" of packages as an interpreter sees them."""
    code = "from importlib.metadata import version\nimport sys\n"
    code += "print(','.join(f'{p} {version(p)}' for p in sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{python} lacks one of {', '.join(packages)}: see the top of this file")
    return done.stdout.strip().split(",")


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a call may take")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=HERE / "matrix_games.md")
    args = parser.parse_args()
    if args.work:
        return work()
    from flows import machine

    peers = versions_of(args.peers_python, ("nashpy", "open_spiel", "cvxpy", "scipy", "numpy"))
    pythons = {"jensen": sys.executable, "nashpy": args.peers_python}
    pythons["open_spiel"] = args.peers_python
    workers = {library: Worker(python) for library, python in pythons.items()}
    solve = [
        {"task": "equilibrium", "library": library, "method": method, "n": n}
        for n in args.sizes
        for library, method in EQUILIBRIA
        if method != "support_enumeration" or n == 3  # its cost doubles with every action
    ]
    learn = [
        {"task": "learn", "library": library, "method": method, "n": n}
        | {"iterations": SLOW.get((library, method, n), ITERATIONS[n])}
        for n in args.sizes
        for library, method, sizes in LEARNERS
        if n in sizes
    ]
    tables = {}
    for name, jobs, row in (
        ("equilibria", solve, equilibrium_row),
        ("learners", learn, learner_row),
    ):
        replies = measure(workers, jobs, args.repeats, args.limit)
        tables[name] = "\n".join(row(job, replies[k], args.limit) for k, job in enumerate(jobs))
    for worker in workers.values():
        worker.close()
    named = f"jensen {version('jensen')}, scipy {version('scipy')}; the peers: {', '.join(peers)}"
    about = {"versions": named, "limit": f"{args.limit:g}", "repeats": args.repeats}
    page = PAGE.format(**tables, **about, **machine())
    args.out.write_text(page)
    print(page)
    return None


if __name__ == "__main__":
    main()
