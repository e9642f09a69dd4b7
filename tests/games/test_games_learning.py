"""Learners against plain loops of their definitions, their theorems, and known answers."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.games.learners import LEARNERS
from jensen.games.learning import LOG_POINTS, learn_game
from jensen.games.matrix import exploitability, solve_game

RPS = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
BIASED = np.array([[0.0, -25, 50], [25, 0, -5], [-50, 5, 0]])
START = (np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.1, 0.7]))
CORNERS = [(np.eye(3)[i], np.eye(3)[j]) for i in range(3) for j in range(3)]
PROVED = [name for name, learner in LEARNERS.items() if learner.proved]


def softmax(x: np.ndarray) -> np.ndarray:
    w = np.exp(x - x.max())
    return w / w.sum()


def plus(x: np.ndarray, start: np.ndarray) -> np.ndarray:
    x = np.maximum(x, 0.0)
    return x / x.sum() if x.sum() > 0 else start


def plain(b: np.ndarray, method: str, n_iter: int, start: tuple, eta: np.ndarray) -> tuple:
    """The definitions, action by action, without what the library shares between methods."""
    p, q = p0, q0 = start
    r, s = np.zeros(len(p)), np.zeros(len(q))
    rows, columns, weights = [], [], []
    for t in range(1, n_iter + 1):
        weights.append({"regret-matching+": t, "predictive-regret-matching+": t**2}.get(method, 1))
        u, c = b @ q, p @ b
        if method in ("regret-matching+", "predictive-regret-matching+"):
            guess = 0.0 if method == "regret-matching+" else 1.0
            columns.append(q)
            now = np.array([u[i] - p @ u for i in range(len(p))])
            r = np.maximum(r + now, 0)
            p = plus(r + guess * now, p0)
            rows.append(p)
            c = p @ b
            now = np.array([q @ c - c[j] for j in range(len(q))])
            s = np.maximum(s + now, 0)
            q = plus(s + guess * now, q0)
            continue
        rows.append(p)
        columns.append(q)
        if method == "regret-matching":
            r, s = r + u - p @ u, s + q @ c - c
            p, q = plus(r, p0), plus(s, q0)
        elif method == "fictitious-play":
            r, s = r + u, s + c
            p, q = np.eye(len(p))[r.argmax()], np.eye(len(q))[s.argmin()]
        else:
            r, s = r + u, s + c
            ahead = 1.0 if method == "optimistic-hedge" else 0.0
            p = softmax(np.log(p0) + eta[0] * (r + ahead * u))
            q = softmax(np.log(q0) - eta[1] * (s + ahead * c))
    w = np.array(weights) / np.sum(weights)
    return w @ np.array(rows), w @ np.array(columns), p, q


@pytest.mark.parametrize("method", [m for m in LEARNERS if m != "replicator"])
@pytest.mark.parametrize("case", ["cycle", "rectangle"])
def test_each_method_is_its_definition(method, case):
    a, start = (
        (BIASED / 50, START)
        if case == "cycle"
        else (
            np.array([[1.0, -1, 0.25], [-0.5, 0.75, 0]]),
            (np.array([0.3, 0.7]), START[1]),
        )
    )
    n_iter = 60
    found = learn_game(a, method, n_iter, start)
    spread = np.array([-np.log(s.min()) for s in start])
    eta = np.sqrt(2 * spread / n_iter) if method == "hedge" else np.full(2, 0.5)
    want = plain(a, method, n_iter, start, eta)
    got = found.equilibrium.row, found.equilibrium.column, found.last_row, found.last_column
    for x, y in zip(got, want, strict=True):
        assert np.abs(x - y).max() < 1e-12


def test_the_replicator_follows_its_differential_equation():
    """Against SciPy's integrator in the strategies themselves; the integral gives the average."""
    from scipy.integrate import solve_ivp

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        p, q = y[:3], y[3:6]
        u, c = RPS @ q, p @ RPS
        return np.r_[p * (u - p @ u), q * (q @ c - c), p, q]

    y0 = np.r_[START[0], START[1], np.zeros(6)]
    end = solve_ivp(slope, (0, 10), y0, rtol=1e-11, atol=1e-13, method="DOP853").y[:, -1]
    error = {}
    for h in (0.1, 0.05):
        found = learn_game(RPS, "replicator", round(10 / h), START, step_size=h)
        pair = found.equilibrium
        error[h] = np.abs(np.r_[found.last_row, found.last_column] - end[:6]).max()
        assert np.abs(np.r_[pair.row, pair.column] - end[6:] / 10).max() < 1e-5
    assert error[0.1] < 1e-5
    assert 12 < error[0.1] / error[0.05] < 20  # fourth order
    # Σ log p_i + Σ log q_i is conserved where the equilibrium is uniform
    path = learn_game(RPS, "replicator", 20_000, START)
    level = np.log(path.row_path).sum(1) + np.log(path.column_path).sum(1)
    assert np.ptp(level) < 1e-3
    assert path.last_gap[-1] > 0.3


# --- the theorems


def games() -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    square = [rng.normal(size=(3, 3)) * 10.0**k for k in range(-3, 4)]
    ties = [rng.integers(-1, 2, size=(3, 3)) for _ in range(7)]
    return [RPS, BIASED, *square, *ties, *(rng.normal(size=(2, 3)) for _ in range(5))]


@pytest.mark.parametrize("method", PROVED)
def test_the_gap_stays_below_its_bound(method):
    rng = np.random.default_rng(12)
    nearest = np.inf
    for a in games():
        m, n = a.shape
        for start in (None, (rng.dirichlet(np.ones(m)), rng.dirichlet(np.ones(n)))):
            found = learn_game(a, method, 2000, start)
            # 1e-6: the replicator's bound is that of the flow, not of the integrator
            assert (found.gap <= found.bound * (1 + 1e-6) + 1e-12 * found.equilibrium.scale).all()
            with np.errstate(divide="ignore"):
                nearest = min(nearest, (found.bound / found.gap).min())
    assert nearest < 20  # the bound is no idle one


def test_the_bounds_have_their_rates():
    for name, slope in {
        "regret-matching": -0.5,
        "regret-matching+": -0.5,
        "optimistic-hedge": -1.0,
        "replicator": -1.0,
    }.items():
        found = learn_game(BIASED, name, 10_000)
        tail = found.iterations > 1000
        fit = np.polyfit(np.log(found.iterations[tail]), np.log(found.bound[tail]), 1)
        assert abs(fit[0] - slope) < 0.01
    for t in (1000, 4000):  # range 100: each player's regret is at most 100 √(T log 3 / 2)
        end = learn_game(BIASED, "hedge", t).bound[-1]
        assert abs(end - 2 * 100 * np.sqrt(np.log(3) / (2 * t))) < 1e-12
    assert np.isnan(learn_game(RPS, "optimistic-hedge", 10, step_size=0.6).bound).all()


@pytest.mark.parametrize("method", LEARNERS)
def test_the_curves_are_those_of_the_strategies(method):
    found = learn_game(BIASED, method, 700, START)
    assert found.iterations[0] == 1
    assert found.iterations[-1] == 700
    assert len(found.iterations) <= LOG_POINTS
    for k in (0, 40, -1):
        average = exploitability(BIASED, found.row_average[k], found.column_average[k]).gap
        last = exploitability(BIASED, found.row_path[k], found.column_path[k]).gap
        assert abs(found.gap[k] - average) < 1e-11
        assert abs(found.last_gap[k] - last) < 1e-11
    game = found.equilibrium
    assert abs(game.gap - found.gap[-1]) < 1e-12
    assert game.lower <= 0.0 <= game.upper
    assert (game.method, game.iterations, game.unique) == (method, 700, None)
    for strategies in (found.row_path, found.column_average):
        assert strategies.min() >= 0.0
        assert np.abs(strategies.sum(axis=1) - 1).max() < 1e-12
        assert strategies.dtype == np.float64


# --- known answers


@pytest.mark.parametrize("method", LEARNERS)
def test_the_games_that_other_libraries_get_wrong(method):
    """[[4, 1], [1, 2]] has the answer (¼, ¾) for both; a game need not be square."""
    found = learn_game([[4, 1], [1, 2]], method, 20_000).equilibrium
    bound = 0.06 if method in ("hedge", "fictitious-play", "regret-matching") else 5e-3
    assert np.abs(found.row - [0.25, 0.75]).max() < bound
    assert np.abs(found.column - [0.25, 0.75]).max() < bound
    assert abs(found.value - 1.75) < bound
    wide = [[4.0, 1, 3], [1, 2, 3]]
    found = learn_game(wide, method, 20_000).equilibrium
    assert found.lower <= 1.75 <= found.upper
    assert found.gap < bound
    assert learn_game(np.array(wide).T, method, 2000).equilibrium.row.shape == (3,)


def first_below(found, level: float) -> int:
    below = np.flatnonzero(found.gap <= level)
    return int(found.iterations[below[0]]) if len(below) else 10**9


@pytest.mark.parametrize("start", [None, START, *CORNERS], ids=str)
def test_biased_rock_paper_scissors(start):
    """The payoffs reach ±50, and 1e-3 absolute is 2e-5 of that.

    Regret matching+ has 1e-3 of the scale within 1000 iterations and 0.01 absolute within 10,000;
    its predictive form has 1e-3 absolute within 2000. Plain regret matching has neither.
    """
    plain, better, best = (
        learn_game(BIASED, m, 10_000, start)
        for m in ("regret-matching", "regret-matching+", "predictive-regret-matching+")
    )
    assert first_below(plain, 1e-3 * 50) > 10_000
    assert first_below(better, 1e-3 * 50) < 1000
    assert better.gap[-1] < 0.01
    assert first_below(best, 1e-3) < 2000
    assert best.gap[-1] < 1e-6
    assert np.abs(best.equilibrium.row - np.array([1, 10, 5]) / 16).max() < 1e-6
    assert np.abs(better.equilibrium.row - np.array([1, 10, 5]) / 16).max() < 1e-3


def test_last_iterates_turn_or_converge():
    """Hedge spirals outwards and regret matching does not settle; the optimistic ones converge."""
    last = {m: learn_game(RPS, m, 5000, START).last_gap[-1] for m in LEARNERS}
    assert last["optimistic-hedge"] < 1e-8
    assert last["predictive-regret-matching+"] < 1e-8
    assert min(last["hedge"], last["regret-matching"], last["fictitious-play"]) > 0.3


def test_all_agree_with_the_linear_program():
    for a in games()[2:5]:
        exact = solve_game(a)
        for method in LEARNERS:
            found = learn_game(a, method, 5000).equilibrium
            assert found.lower <= exact.value + 1e-12 * exact.scale
            assert found.upper >= exact.value - 1e-12 * exact.scale
            assert found.gap < 0.05 * exact.scale


@pytest.mark.parametrize("method", LEARNERS)
@pytest.mark.parametrize("a", [[[3.0]], [[1.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]], ids=str)
def test_trivial_games(method, a):
    found = learn_game(a, method, 200)
    assert np.isfinite(found.gap).all()
    assert found.gap[-1] <= found.bound[-1] + 1e-12
    assert np.isfinite(found.row_path).all()


@pytest.mark.parametrize("method", LEARNERS)
def test_shift_and_scale_change_nothing(method):
    a = np.array([[0.0, -3, 5], [2, 0, -1], [-4, 1, 0]])
    one, other = learn_game(a, method, 300, START), learn_game(64 * a - 32, method, 300, START)
    assert np.array_equal(one.row_path, other.row_path)
    assert np.array_equal(64 * one.gap, other.gap)
    assert np.array_equal(64 * one.bound, other.bound)


@pytest.mark.parametrize("method", [m for m in LEARNERS if m != "hedge"])
def test_a_longer_run_begins_as_a_shorter_one(method):
    """Only hedge's step knows the horizon; the recording changes no number."""
    dense = learn_game(BIASED, method, 90, START, every=7)
    assert dense.iterations.tolist() == [*range(7, 91, 7), 90]
    longer = learn_game(BIASED, method, 1000, START)
    both = np.intersect1d(dense.iterations, longer.iterations)
    assert len(both) > 3
    for t in both:
        i, j = (np.flatnonzero(x.iterations == t)[0] for x in (dense, longer))
        assert np.array_equal(dense.row_average[i], longer.row_average[j])
        assert np.array_equal(dense.column_path[i], longer.column_path[j])


def test_float64_stays_inside():
    learn_game(RPS, iterations=10)
    assert jax.numpy.ones(1).dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "regret-maching"}, "did you mean 'regret-matching'"),
        ({"iterations": 0}, "iterations must be a whole number"),
        ({"iterations": 1.5}, "iterations must be a whole number"),
        ({"every": 0}, "every must be a whole number"),
        ({"iterations": 1_000_000, "every": 1}, "set every to at least 10"),
        ({"step_size": 0.1}, "has no step size"),
        ({"method": "hedge", "step_size": -1.0}, "positive number"),
        ({"method": "hedge", "step_size": float("nan")}, "positive number"),
        ({"start": [0.5, 0.5]}, r"shape \(3,\)"),
        ({"start": np.ones(3) / 3}, "two strategies"),
        ({"start": (START[0], [0.5, 0.5])}, r"shape \(3,\)"),
        ({"method": "hedge", "start": CORNERS[0]}, "probability 0 at the start"),
        ({"method": "replicator", "start": CORNERS[0]}, "probability 0 at the start"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        learn_game(RPS, **options)
