r"""The linear program of a matrix game, solved and corrected.

    max v   subject to   (Bᵀp)_j ≥ v for all j,  Σ_i p_i = 1,  p ≥ 0;

the multipliers of the inequalities are q. A saddle point in pure strategies needs no program. Small
games are pivoted on a dense tableau, at less cost; all others, and those it leaves
uncertified, go to HiGHS: simplex up to 100,000 payoffs, the interior point method with crossover
above. A solver's tolerance (1e-10) is not the end: on the supports it found, the equations

    (Bᵀp)_j = v for tight j,  Σ_i p_i = 1        (B q)_i = v for tight i,  Σ_j q_j = 1

are solved directly with iterative refinement, and kept where the player's guarantee improves.

Sources: Dantzig 1951; Huangfu and Hall 2018 (HiGHS).
"""

from __future__ import annotations

import numpy as np

from jensen._errors import JensenError
from jensen.games.tableau import solve_tableau

GOOD = 1e-12
"""A gap in units of the scale at which no other method is tried."""
TABLEAU_CELLS = 20_000
"""Games with at most so many payoffs go to the dense tableau first."""
SIMPLEX_CELLS = 100_000
"""Games with at most so many payoffs go to HiGHS's simplex before its interior point method."""


def guarantees(payoff: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """Return min_j (pᵀA)_j and max_i (A q)_i."""
    return float((p @ payoff).min()), float((payoff @ q).max())


def strategies(b: np.ndarray) -> tuple[np.ndarray, np.ndarray, str, int]:
    """Return optimal strategies of both players.

    Args:
        b: `(m, n)` the row player's payoff, between -1 and 1.

    Returns:
        p `(m,)`, q `(n,)`, what found them and its iterations: the first of the methods that
        leaves a gap of at most `GOOD`, or the one that leaves the least.

    Raises:
        JensenError: HiGHS failed; its message is passed on.

    Example:
        >>> strategies(np.array([[1.0, -1.0], [-1.0, 0.0]]))[1]
        array([0.333..., 0.666...])
    """
    m, n = b.shape
    i, j = int(b.min(axis=1).argmax()), int(b.max(axis=0).argmin())
    if b[i].min() == b[:, j].max():
        return np.eye(m)[i], np.eye(n)[j], "saddle point", 0
    methods = ["highs-ds", "highs-ipm"] if b.size <= SIMPLEX_CELLS else ["highs-ipm", "highs-ds"]
    if b.size <= TABLEAU_CELLS:
        methods.insert(0, "simplex tableau")
    best = None
    for method in methods:
        found = solve_tableau(b) if method == "simplex tableau" else _highs(b, method)
        if found is None:
            continue
        p, q = _polish(b, found[0], found[1])
        low, high = guarantees(b, p, q)
        if best is None or high - low < best[0]:
            best = high - low, (p, q, method, found[2])
        if best[0] <= GOOD:
            break
    if best is None:
        raise JensenError("no method returned strategies", "matrix game")
    return best[1]


def _highs(b: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Solve max v, Bᵀp ≥ v, Σ p = 1, p ≥ 0; q are the multipliers of the first inequalities."""
    from scipy.optimize import linprog

    m, n = b.shape
    done = linprog(
        np.concatenate([np.zeros(m), [-1.0]]),
        A_ub=np.hstack([-b.T, np.ones((n, 1))]),
        b_ub=np.zeros(n),
        A_eq=np.concatenate([np.ones(m), [0.0]])[None],
        b_eq=[1.0],
        bounds=[(0.0, None)] * m + [(None, None)],
        method=method,
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if done.status:
        raise JensenError(f"HiGHS failed: {done.message}", f"a {m} × {n} matrix game")
    p, q = np.maximum(done.x[:m], 0.0), np.maximum(-done.ineqlin.marginals, 0.0)
    return p / p.sum(), q / q.sum(), int(done.nit)


def _polish(b: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correct each strategy on its support, where its guarantee improves."""
    low, high = guarantees(b, p, q)
    for tie in (1e-10, 1e-7):
        if high - low <= 1e-15:
            return p, q
        rows = (p > tie) | (b @ q >= high - tie)
        columns = (q > tie) | (p @ b <= low + tie)
        new_p = _corrected(b, p, p > tie, columns)
        new_q = _corrected(-b.T, q, q > tie, rows)
        new_low, new_high = guarantees(b, new_p, new_q)
        if new_low > low:
            p, low = new_p, new_low
        if new_high < high:
            q, high = new_q, new_high
    return p, q


def _corrected(b: np.ndarray, p: np.ndarray, support: np.ndarray, tight: np.ndarray) -> np.ndarray:
    """Solve (Bᵀp)_j = v on `tight`, Σ p = 1, for p on its support and v, starting from p.

    The least change is taken where the equations leave freedom, and the least squares where they
    cannot all hold; the second round is iterative refinement.
    """
    sub = b[support][:, tight].T
    k, s = sub.shape
    system = np.zeros((k + 1, s + 1))
    system[:k, :s], system[:k, s], system[k, :s] = sub, -1.0, 1.0
    x = np.concatenate([p[support], [float((p @ b).min())]])
    right = np.concatenate([np.zeros(k), [1.0]])
    for _ in range(2):
        x = x + _least_change(system, right - system @ x)
    new = np.zeros_like(p)
    new[support] = np.maximum(x[:s], 0.0)
    total = new.sum()
    return new / total if np.isfinite(total) and total > 0.0 else p


def _least_change(system: np.ndarray, right: np.ndarray) -> np.ndarray:
    if system.shape[0] == system.shape[1]:
        try:
            return np.linalg.solve(system, right)
        except np.linalg.LinAlgError:  # exactly singular: a degenerate game
            return np.linalg.lstsq(system, right, rcond=1e-12)[0]
    return np.linalg.lstsq(system, right, rcond=1e-12)[0]
