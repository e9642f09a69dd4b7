"""Equilibria of matrix games against closed forms, rational enumeration and another solver."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import OptimizeResult, linprog

from jensen._errors import InputError, JensenError
from jensen.games import faces, program
from jensen.games.matrix import (
    best_response,
    exploitability,
    optimal_vertices,
    scaled,
    solve_game,
)
from jensen.games.payoff import Payoff, read_payoff
from jensen.games.tableau import solve_tableau

RPS = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
BIASED = np.array([[0.0, -25, 50], [25, 0, -5], [-50, 5, 0]])
EPS = np.finfo(float).eps


def certificate(a: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    return float((a @ q).max() - (p @ a).min())


def check(a: np.ndarray, gap: float = 1e-9):
    """Solve, and test what every answer must hold; return the answer."""
    a = np.asarray(a, float)
    found = solve_game(a)
    for s in (found.row, found.column):
        assert s.min() >= 0.0
        assert abs(s.sum() - 1.0) < 1e-12
    assert 0.0 <= found.gap <= gap * found.scale
    centred = a - (a.max() / 2 + a.min() / 2)
    # the gap again from the strategies; the terms of the sums are at most the scale
    assert abs(certificate(centred, found.row, found.column) - found.gap) <= 1e-13 * found.scale
    assert found.lower <= found.value <= found.upper
    return found


def other_value(a: np.ndarray) -> float:
    """The value by the column player's program in its other form, on the raw payoffs.

    With C = A + c > 0, 1/v = max Σ y over C y ≤ 1, y ≥ 0, by HiGHS's other algorithm.
    """
    shift = 1.0 - a.min()
    done = linprog(
        -np.ones(a.shape[1]), A_ub=a + shift, b_ub=np.ones(a.shape[0]), method="highs-ipm"
    )
    assert done.status == 0
    return -1.0 / done.fun - shift


def solve_exactly(rows: list[list[Fraction]], right: list[Fraction]) -> list[Fraction] | None:
    n = len(rows)
    m = [[*row, r] for row, r in zip(rows, right, strict=True)]
    for i in range(n):
        pivot = next((r for r in range(i, n) if m[r][i] != 0), None)
        if pivot is None:
            return None
        m[i], m[pivot] = m[pivot], m[i]
        m[i] = [x / m[i][i] for x in m[i]]
        for r in range(n):
            if r != i:
                m[r] = [x - m[r][i] * y for x, y in zip(m[r], m[i], strict=True)]
    return [row[-1] for row in m]


def exact_solution(a: np.ndarray) -> tuple[Fraction, set, set]:
    """The value and both sets of extreme optimal strategies, in rational numbers.

    Shapley and Snow 1950: for a game with positive payoffs they come from the regular square
    submatrices M: p = v M⁻ᵀ1, q = v M⁻¹1, v = 1/(1ᵀM⁻¹1), where these are optimal.
    """
    m, n = a.shape
    shift = 1 - int(a.min())
    c = [[Fraction(int(x) + shift) for x in row] for row in a]
    value, rows, columns = None, set(), set()
    for k in range(1, min(m, n) + 1):
        for i in combinations(range(m), k):
            for j in combinations(range(n), k):
                sub = [[c[r][s] for s in j] for r in i]
                y = solve_exactly(sub, [Fraction(1)] * k)
                if y is None or sum(y) == 0:
                    continue
                x = solve_exactly([list(t) for t in zip(*sub, strict=True)], [Fraction(1)] * k)
                v = 1 / sum(y)
                p, q = [Fraction(0)] * m, [Fraction(0)] * n
                for r, t in zip(i, x, strict=True):
                    p[r] = v * t
                for s, t in zip(j, y, strict=True):
                    q[s] = v * t
                if min(p) < 0 or min(q) < 0:
                    continue
                low = min(sum(p[r] * c[r][s] for r in range(m)) for s in range(n))
                high = max(sum(c[r][s] * q[s] for s in range(n)) for r in range(m))
                if low == high == v:
                    value = v
                    rows.add(tuple(p))
                    columns.add(tuple(q))
    return value - shift, rows, columns


def same_set(found: np.ndarray, exact: set) -> bool:
    want = np.array(sorted(exact), float)
    if found.shape != want.shape:
        return False
    distance = np.abs(found[:, None] - want[None]).max(axis=2)
    return bool((distance.min(axis=0) < 1e-9).all() and (distance.min(axis=1) < 1e-9).all())


# --- closed forms


def test_two_by_two():
    found = check([[4, 1], [1, 2]])
    assert np.abs(found.row - [0.25, 0.75]).max() < 4 * EPS
    assert np.abs(found.column - [0.25, 0.75]).max() < 4 * EPS
    assert abs(found.value - 1.75) < 4 * EPS
    assert found.unique is True
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = sorted(rng.normal(size=2))  # a < b and d < c: no saddle point
        d, c = sorted(rng.normal(size=2))
        a, b, c, d = (b, a, d, c) if rng.random() < 0.5 else (a, b, c, d)
        if (max(a, b) - min(c, d)) * (max(c, d) - min(a, b)) <= 0 or max(
            min(a, b), min(c, d)
        ) >= min(max(a, c), max(b, d)):
            continue
        found = check([[a, b], [c, d]])
        assert abs(found.value - (a * d - b * c) / (a + d - b - c)) < 1e-13
        assert abs(found.row[0] - (d - c) / (a + d - b - c)) < 1e-11


def test_rock_paper_scissors_is_unique():
    found = check(RPS)
    assert abs(found.value) < 4 * EPS
    assert np.abs(np.r_[found.row, found.column] - 1 / 3).max() < 4 * EPS
    assert (found.row_unique, found.column_unique) == (True, True)
    biased = check(BIASED)
    assert np.abs(biased.row - np.array([1, 10, 5]) / 16).max() < 1e-15
    assert biased.unique


@pytest.mark.parametrize("n", [2, 3, 7, 40])
def test_a_diagonal_game_is_worth_the_harmonic_sum(n):
    d = np.random.default_rng(n).uniform(0.1, 10, n)
    found = check(np.diag(d))
    value = 1 / (1 / d).sum()
    assert abs(found.value - value) < 1e-13 * d.max()
    assert np.abs(found.row - value / d).max() < 1e-12
    assert np.abs(found.column - value / d).max() < 1e-12
    assert found.unique


@pytest.mark.parametrize("n", [3, 5, 11, 51])
def test_a_cyclic_game_is_played_uniformly(n):
    """Odd rock-paper-scissors: action i beats the (n-1)/2 before it; unique (Fisher & Ryan)."""
    i = np.arange(n)
    ahead = (i[:, None] - i) % n
    a = np.where(ahead == 0, 0, np.where(ahead <= n // 2, 1, -1))
    found = check(a)
    assert np.abs(np.r_[found.row, found.column] - 1 / n).max() < 1e-13
    assert found.unique


@pytest.mark.parametrize(
    ("a", "value"),
    [
        ([[3]], 3),
        ([[1, 2, 3]], 1),
        ([[1], [5], [2]], 5),
        ([[-7, -7]], -7),
        ([[2, 3], [1, 4]], 2),
        (np.full((5, 4), 0.1), 0.1),
        (np.zeros((1, 1)), 0),
    ],
)
def test_trivial_games_are_solved(a, value):
    found = check(np.array(a), gap=0.0)
    assert found.value == value
    assert found.method == "saddle point"


# --- against exact rational arithmetic


def exact_cases() -> list[np.ndarray]:
    rng = np.random.default_rng(20)
    shapes = [(2, 2), (2, 3), (3, 2), (3, 3), (4, 3), (3, 4), (1, 4), (4, 1)]
    return [
        rng.integers(-k, k + 1, size=shape) for k in (1, 2) for shape in shapes for _ in range(8)
    ]


@pytest.mark.parametrize("direct", [True, False], ids=["tableau", "highs"])
def test_value_uniqueness_and_all_vertices_are_exact(direct, monkeypatch):
    """Small integer games are nearly all degenerate: 128 of them against rational numbers."""
    if not direct:
        monkeypatch.setattr(program, "TABLEAU_CELLS", 0)
    seen = {True: 0, False: 0}
    for a in exact_cases():
        value, rows, columns = exact_solution(a)
        found = check(a, gap=1e-14)
        assert abs(found.value - float(value)) < 1e-13
        assert found.row_unique == (len(rows) == 1), a
        assert found.column_unique == (len(columns) == 1), a
        assert same_set(found.row_vertices, rows), a
        assert same_set(found.column_vertices, columns), a
        seen[found.unique] += 1
    assert min(seen.values()) > 20


def test_a_wrong_uniqueness_test_would_be_seen(monkeypatch):
    """Two mutants: without the program, and without the rank."""

    def wrong() -> int:
        count = 0
        for a in exact_cases()[:64]:
            _, rows, columns = exact_solution(a)
            count += solve_game(a, vertices=False).unique != (len(rows) * len(columns) == 1)
        return count

    assert wrong() == 0
    with monkeypatch.context() as m:
        m.setattr(faces.Face, "is_settled", property(lambda face: True))
        assert wrong() > 0
    with monkeypatch.context() as m:
        m.setattr(faces.Face, "is_vertex", property(lambda face: True))
        m.setattr(faces, "_leaving", lambda face: (face.point, np.zeros(1, bool)))
        assert wrong() > 0


@pytest.mark.parametrize(
    "a",
    [
        [[0, 0], [0, 0]],
        [[1, 1], [1, 1]],
        [[1, 0], [1, 0]],
        np.vstack([RPS, RPS]),
        RPS[:, [0, 1, 2, 0]],
    ],
    ids=["zeros", "ones", "equal rows", "doubled rows", "doubled column"],
)
def test_a_continuum_of_optima_is_not_unique(a):
    found = check(a)
    assert found.unique is False
    assert (found.row_vertices.shape[0] == 1) == found.row_unique
    assert (found.column_vertices.shape[0] == 1) == found.column_unique
    for vertex in found.row_vertices:
        assert certificate(np.array(a, float), vertex, found.column) < 1e-13


def test_vertices_of_doubled_rows_are_all_choices():
    rows, columns = optimal_vertices(np.vstack([RPS, RPS]))
    assert rows.shape == (8, 6)
    assert np.abs(rows[:, :3] + rows[:, 3:] - 1 / 3).max() < 1e-14
    assert columns.shape == (1, 3)
    assert (np.diff(rows[:, 0]) >= -1e-15).all()  # lexicographic


def test_too_many_vertices_are_not_listed():
    # rank 3: at most four equations for 40 probabilities, and C(40, 4) sets of the others
    rng = np.random.default_rng(3)
    a = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 40))
    found = check(a)
    assert found.unique is False
    assert found.row_vertices is None
    assert solve_game(np.zeros((2, 2)), vertices=False).row_vertices is None


# --- random and degenerate games


def draw(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    m, n = shape
    return {
        "normal": lambda: rng.normal(size=shape),
        "uniform": lambda: rng.uniform(size=shape),
        "integer": lambda: rng.integers(-3, 4, size=shape).astype(float),
        "zero-one": lambda: rng.integers(0, 2, size=shape).astype(float),
        "low rank": lambda: rng.normal(size=(m, 3)) @ rng.normal(size=(3, n)),
        "repeated": lambda: rng.normal(size=shape)[rng.integers(0, m // 2, m)],
        "heavy": lambda: rng.standard_cauchy(size=shape),
    }[kind]()


KINDS = ["normal", "uniform", "integer", "zero-one", "low rank", "repeated", "heavy"]


@pytest.mark.parametrize("shape", [(6, 9), (60, 40), (300, 200)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_random_games(kind, shape):
    a = draw(np.random.default_rng(7), kind, shape)
    found = check(a)
    assert abs(found.value - other_value(a)) < 1e-8 * max(1.0, np.abs(a).max())
    if kind in ("normal", "uniform"):
        assert found.unique
    if kind == "repeated" and shape[0] > 10:
        assert not found.row_unique


@pytest.mark.parametrize("n", [6, 101, 160])
@pytest.mark.parametrize("kind", ["skew", "tournament", "permutation", "identity", "constant"])
def test_structured_games(kind, n):
    rng = np.random.default_rng(n)
    s = rng.normal(size=(n, n))
    a = {
        "skew": s - s.T,
        "tournament": np.sign(s - s.T),
        "permutation": np.eye(n)[rng.permutation(n)],
        "identity": np.eye(n),
        "constant": np.full((n, n), -0.3),
    }[kind]
    found = check(a)
    value = {"permutation": 1 / n, "identity": 1 / n, "constant": -0.3}.get(kind, 0.0)
    assert abs(found.value - value) < 1e-13 * found.scale
    assert found.unique == (kind != "constant")


@pytest.mark.slow
def test_a_thousand_by_a_thousand():
    a = np.random.default_rng(0).normal(size=(1000, 1000))
    found = check(a)
    assert found.unique
    assert abs(found.value - other_value(a)) < 1e-8


@pytest.mark.parametrize("scale", [1e-300, 1e-8, 1.0, 1e8, 1e300])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_shift_and_scale(scale, shift):
    """Strategies do not move; rounding of the shifted payoffs is all that may show."""
    a = np.random.default_rng(5).normal(size=(20, 15))
    plain, moved = check(a), check(scale * (a + shift))
    rounding = EPS * (1.0 + shift)
    assert np.abs(moved.row - plain.row).max() < 1e3 * rounding
    assert abs(moved.value / scale - shift - plain.value) < 1e2 * rounding
    assert moved.unique


GAMES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    elements=st.one_of(st.integers(-3, 3).map(float), st.floats(-100, 100, width=16)),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(a=GAMES, seed=st.integers(0, 2**16))
def test_laws(a, seed):
    """Transposition swaps the players, permutations permute, shift and scale move the value."""
    rng = np.random.default_rng(seed)
    found = check(a, gap=1e-12)
    scale = found.scale
    swapped = check(-a.T, gap=1e-12)
    assert abs(swapped.value + found.value) <= 1e-12 * scale
    assert (swapped.row_unique, swapped.column_unique) == (found.column_unique, found.row_unique)
    i, j = rng.permutation(a.shape[0]), rng.permutation(a.shape[1])
    mixed = check(a[i][:, j], gap=1e-12)
    assert abs(mixed.value - found.value) <= 1e-12 * scale
    assert (mixed.row_unique, mixed.column_unique) == (found.row_unique, found.column_unique)
    if found.unique:
        assert np.abs(swapped.row - found.column).max() < 1e-6
        assert np.abs(mixed.row - found.row[i]).max() < 1e-6
    moved = check(4.0 * a - 8.0, gap=1e-12)
    assert abs(moved.value - (4.0 * found.value - 8.0)) <= 4e-12 * scale
    assert a.min(axis=1).max() - 1e-12 * scale <= found.value <= a.max(axis=0).min() + 1e-12 * scale


# --- the parts


def test_the_tableau_ends_on_degenerate_games_and_its_answer_is_a_vertex():
    rng = np.random.default_rng(1)
    for _ in range(30):
        b = rng.integers(-1, 2, size=(12, 10)).astype(float)
        p, q, pivots = solve_tableau(b)
        assert certificate(b, p, q) < 1e-12
        assert pivots < 20 * 22


def test_the_polish_repairs_a_blurred_answer_and_never_harms():
    rng = np.random.default_rng(2)
    b = scaled(rng.normal(size=(30, 20))).matrix
    p, q, *_ = program.strategies(b)
    blurred = [np.where(s > 0, s * (1 + 1e-6 * rng.normal(size=len(s))), 0.0) for s in (p, q)]
    blurred = [s / s.sum() for s in blurred]
    assert certificate(b, *blurred) > 1e-8
    assert certificate(b, *program._polish(b, *blurred)) < 1e-14
    for _ in range(10):
        p, q = rng.dirichlet(np.full(30, 0.1)), rng.dirichlet(np.full(20, 0.1))
        p, q = (np.where(x > 0.05, x, 0) / x[x > 0.05].sum() for x in (p, q))
        low, high = program.guarantees(b, p, q)
        new_low, new_high = program.guarantees(b, *program._polish(b, p, q))
        assert new_low >= low
        assert new_high <= high


def test_a_singular_system_is_solved_with_the_least_change():
    assert np.abs(program._least_change(np.ones((2, 2)), np.full(2, 2.0)) - 1.0).max() < 1e-14


def test_a_failure_of_the_solver_is_raised(monkeypatch):
    import scipy.optimize

    monkeypatch.setattr(program, "TABLEAU_CELLS", 0)
    failed = OptimizeResult(status=4, message="numerical difficulties met")
    monkeypatch.setattr(scipy.optimize, "linprog", lambda *_, **__: failed)
    with pytest.raises(JensenError, match="numerical difficulties met"):
        solve_game(RPS)
    found = solve_game(np.zeros((2, 2)))  # a saddle point: here only the uniqueness test fails
    assert found.gap == 0  # what is certified stays
    assert found.unique is None  # and what is not is said to be open


def test_an_uncertified_answer_is_raised(monkeypatch):
    from jensen.games import matrix

    start = 1 / 3 + np.array([1e-5, -1e-5, 0])
    monkeypatch.setattr(matrix, "strategies", lambda b: (start, np.full(3, 1 / 3), "x", 7))
    with pytest.raises(JensenError, match="could not be certified"):
        solve_game(BIASED)


# --- best responses


def test_best_responses_and_exploitability():
    a = np.random.default_rng(4).normal(size=(4, 6))
    found = solve_game(a)
    against_row, against_column = (
        best_response(a, row=found.row),
        best_response(a, column=found.column),
    )
    assert abs(against_row.value - found.value) < 1e-14
    assert abs(against_column.value - found.value) < 1e-14
    assert set(np.flatnonzero(found.column > 1e-9)) <= set(against_row.actions)
    assert set(np.flatnonzero(found.row > 1e-9)) <= set(against_column.actions)
    rng = np.random.default_rng(5)
    for _ in range(20):
        p, q = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(6))
        lost = exploitability(a, p, q)
        assert min(lost.row, lost.column) >= 0.0
        assert abs(lost.row - ((a @ q).max() - p @ a @ q)) < 1e-13
        assert abs(lost.column - (p @ a @ q - (p @ a).min())) < 1e-13
        assert abs(lost.gap - certificate(a, p, q)) < 1e-13
        assert best_response(a, row=p).value <= found.value + 1e-13
    assert exploitability(a, found.row, found.column).gap < 1e-14


def test_every_other_strategy_in_rock_paper_scissors_is_exploitable():
    """min_j (pᵀA)_j = -max(p₃ - p₂, p₁ - p₃, p₂ - p₁) < 0 unless all are equal."""
    for p in np.random.default_rng(6).dirichlet(np.ones(3), 200):
        loss = -best_response(RPS, row=p).value
        assert abs(loss - max(p[2] - p[1], p[0] - p[2], p[1] - p[0])) < 1e-14
        assert loss > 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one strategy"),
        ({"row": [1, 0, 0], "column": [1, 0, 0]}, "exactly one strategy"),
        ({"row": [1, 0]}, r"shape \(3,\)"),
        ({"row": [0.5, 0.6, 0]}, "sum 1.1"),
        ({"row": [1.5, -0.5, 0]}, "least is -0.5"),
        ({"column": [np.nan, 1, 0]}, "probabilities"),
        ({"column": ["a", "b", "c"]}, "3 numbers"),
    ],
)
def test_bad_strategies_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        best_response(RPS, **options)


# --- reading payoffs


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("0,-1,1\n1,0,-1\n-1,1,0\n", (), ()),
        ("0, -1, 1\r\n1,0,-1\r\n\r\n-1,1,0\r\n\r\n", (), ()),
        ("R,P,S\n0,-1,1\n1,0,-1\n-1,1,0\n", (), ("R", "P", "S")),
        ("r,0,-1,1\np,1,0,-1\ns,-1,1,0\n", ("r", "p", "s"), ()),
        (",R,P,S\nr,0,-1,1\np,1,0,-1\ns,-1,1,0", ("r", "p", "s"), ("R", "P", "S")),
        ("\ufeff0,-1,1\n1,0,-1\n-1,1,0\n", (), ()),
        ('"0","-1e0",1.\n1,0,-1\n-1,+1,-0\n', (), ()),
    ],
)
def test_csv_with_and_without_names(tmp_path, text, rows, columns):
    (tmp_path / "game.csv").write_text(text, encoding="utf-8", newline="")
    found = read_payoff(tmp_path / "game.csv")
    assert np.array_equal(found.matrix, RPS)
    assert (found.rows, found.columns) == (rows, columns)
    assert solve_game(str(tmp_path / "game.csv")).unique


def test_other_sources(tmp_path):
    np.save(tmp_path / "game.npy", RPS.astype(np.int8))
    (tmp_path / "game.TSV").write_text("x\ty\n1\t2\n")
    assert np.array_equal(read_payoff(tmp_path / "game.npy").matrix, RPS)
    assert read_payoff(tmp_path / "game.TSV").columns == ("x", "y")
    assert read_payoff([["1", 2.5], [1, "-3"]]).matrix.tolist() == [[1, 2.5], [1, -3]]
    game = Payoff(RPS, ("r", "p", "s"))
    assert read_payoff(game).rows == ("r", "p", "s")
    (tmp_path / "one.csv").write_text("5\n")
    assert read_payoff(tmp_path / "one.csv").matrix.tolist() == [[5.0]]


BAD_TEXT = {
    "ragged": ("1,2\n3\n", "row 2 has 1 cells where row 1 has 2"),
    "word": ("1,2\n3,x\n", r"'x' is no finite number: row 2, column 2 \(cell B2\)"),
    "word under names": ("a,b\n1,2\n\n3,four\n", r"row 4, column 2 \(cell B4\)"),
    "word beside labels": ("a,1,2\nb,3,?\n", r"row 2, column 3 \(cell C2\)"),
    "label in one row only": ("a,1\n2,3\n", r"'a' is no finite number: row 1, column 1"),
    "nan": ("1,nan\n2,3\n", r"'nan' is no finite number: row 1, column 2"),
    "infinite": ("1,2\n-inf,3\n", r"row 2, column 1 \(cell A2\)"),
    "too large": ("1,1e999\n", "row 1, column 2"),
    "empty cell": ("1,\n2,3\n", "the cell is empty: row 1, column 2"),
    "empty": ("", "the file is empty"),
    "blank": ("\n \n", "the file is empty"),
    "names only": ("a,b\n", "names but no payoffs"),
    "semicolons": ("1;2\n3;4\n", "separated by semicolons"),
    "underscore": ("2,1_000\n", "'1_000' is no finite number: row 1, column 2"),
}


@pytest.mark.parametrize("kind", BAD_TEXT)
def test_bad_files_name_row_and_column(kind, tmp_path):
    text, message = BAD_TEXT[kind]
    (tmp_path / "game.csv").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_payoff(tmp_path / "game.csv")
    assert "game.csv" in str(error.value)
    assert error.value.mend


def test_unreadable_files(tmp_path):
    (tmp_path / "game.csv").write_bytes(b"\xff\xfe1,2")
    (tmp_path / "game.npy").write_bytes(b"not an array")
    (tmp_path / "game.xlsx").write_bytes(b"")
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    (tmp_path / "folder.csv").mkdir()
    for name, message in {
        "game.csv": "not UTF-8",
        "game.npy": "not an NPY array|cannot be read",
        "objects.npy": "not an NPY array",
        "game.xlsx": "cannot tell the format",
        "gane.csv": "did you mean 'game.csv'",
        "folder.csv": "does not exist",
        "away/game.csv": "does not exist",
    }.items():
        with pytest.raises(InputError, match=message):
            read_payoff(tmp_path / name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([[1, 2], [3]], "row 2 has 1 cells where row 1 has 2"),
        ([1, 2, 3], "this has 1: shape"),
        (np.zeros((2, 2, 2)), "this has 3: shape"),
        (5.0, "this has 0"),
        ([], "this has 1|empty"),
        ([[]], "empty"),
        (np.zeros((0, 3)), "empty"),
        ([[1, np.nan]], "'nan' is no finite number: row 1, column 2"),
        ([[1, 2], [np.inf, 0]], "'inf' is no finite number: row 2, column 1"),
        ([[1, "a"]], "'a' is no finite number: row 1, column 2"),
        ([[1, None]], "'None' is no finite number: row 1, column 2"),
        (np.array([[1 + 2j]]), "row 1, column 1"),
    ],
)
def test_bad_arrays_are_refused(source, message):
    with pytest.raises(InputError, match=message):
        solve_game(source)
