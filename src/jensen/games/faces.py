r"""The sets of optimal strategies of a matrix game: are they points, and which are their vertices.

For one player of a game with payoff B `(m, n)`, an optimal p and an optimal q of the other player
with value v, complementary slackness says that a strategy x is optimal exactly where

    x ≥ 0,  Σ_i x_i = 1,   x_i = 0 where (B q)_i < v,
    (Bᵀx)_j ≥ v,           with equality where q_j > 0.

p is the only one exactly where the cone of directions d that stay inside holds nothing but 0:

    d_i = 0 where (B q)_i < v,   d_i ≥ 0 where p_i = 0,       Σ_i d_i = 0,
    (Bᵀd)_j = 0 where q_j > 0,   (Bᵀd)_j ≥ 0 where (Bᵀp)_j = v.

That holds exactly where (1) the equations that hold with equality at p have no solution but 0 (p is
a vertex), and (2) the linear program "maximise the sum of min(s_k, 1)" over the cone, s_k the
coordinates and slacks that the cone only bounds by 0, has the optimum 0. As the cone may be scaled,
that optimum is the number of coordinates and slacks that can leave 0: 0 or at least 1, so that
its rounding errors decide nothing. Where nothing is left to leave 0, (1) alone answers.

Source: Mangasarian 1979 (Linear Algebra and its Applications 25), whose program is stated over the
optimal set; here over its cone of directions at p, with each term capped at 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from jensen._errors import JensenError

RANK = 1e-10
"""Singular values below it, relative to the largest, count as 0."""
MOST_SETS = 20_000
"""Active sets tried for vertices, at most."""
MOST_WORK = 2e8
"""Active sets times the cube of the face's dimension, at most."""


@dataclass(frozen=True)
class Face:
    """One player's optimal strategies, seen from one of them.

    Args:
        payoff: `(m, n)` this player's payoff.
        point: `(m,)` p, an optimal strategy.
        support: `(m,)` where p_i > 0.
        loose: `(m,)` where p_i = 0 and yet (B q)_i = v.
        tight: `(n,)` where (Bᵀp)_j = v and q_j > 0.
        slack: `(n,)` where (Bᵀp)_j = v and q_j = 0.
    """

    payoff: np.ndarray
    point: np.ndarray
    support: np.ndarray
    loose: np.ndarray
    tight: np.ndarray
    slack: np.ndarray

    @property
    def is_vertex(self) -> bool:
        """Whether p is a vertex of the optimal set."""
        equations = _equations(self.payoff, self.support, self.tight | self.slack)
        if len(equations) < equations.shape[1]:
            return False
        sizes = np.linalg.svd(equations, compute_uv=False)
        return bool(sizes[-1] > RANK * sizes[0])

    @property
    def is_settled(self) -> bool:
        """Whether no coordinate and no slack is 0 on both sides (strict complementarity)."""
        return not (self.loose.any() or self.slack.any())


def face_of(payoff: np.ndarray, own: np.ndarray, other: np.ndarray, tie: float) -> Face:
    """Return the optimal set of the player whose payoff is `payoff`.

    Args:
        payoff: `(m, n)` this player's payoff, between -1 and 1.
        own: `(m,)` p, optimal.
        other: `(n,)` q, optimal.
        tie: probabilities and differences of payoffs below it count as 0.
    """
    returns, costs = payoff @ other, own @ payoff
    support, held = own > tie, other > tie
    best = returns >= returns.max() - tie
    binding = costs <= costs.min() + tie
    return Face(payoff, own, support, best & ~support, held, binding & ~held)


def is_unique(face: Face) -> bool:
    """Return whether p is the player's only optimal strategy.

    Raises:
        JensenError: HiGHS failed; its message is passed on.
    """
    if not face.is_vertex:
        return False
    return face.is_settled or not _leaving(face)[1].any()


def vertices(face: Face) -> np.ndarray | None:
    """Return all vertices of the optimal set, by trying every active set.

    The optimal set is p₀ + N t with p₀ in its relative interior, N a basis of the directions
    within its affine hull and k of the inequalities active at a vertex.

    Returns:
        `(V, m)` in lexicographic order, or None where more than `MOST_SETS` active sets, or more
        than `MOST_WORK` of arithmetic, would have to be tried.

    Raises:
        JensenError: HiGHS failed; its message is passed on.
    """
    support, tight, start = _interior(face)
    basis = _kernel(face.payoff, support, tight)
    k = basis.shape[1]
    if k == 0:
        return start[None]
    sub = face.payoff[support]
    value = (start @ face.payoff)[tight].mean()
    normals = np.vstack([basis, (sub.T @ basis)[~tight]])
    offsets = np.concatenate([start[support], (start @ face.payoff)[~tight] - value])
    size = np.linalg.norm(normals, axis=1)
    normals, offsets = normals[size > RANK], offsets[size > RANK]
    size = size[size > RANK]
    rows = np.column_stack([normals, offsets]) / size[:, None]
    rows = _distinct(rows)
    n_sets = math.comb(len(rows), k)
    if n_sets > MOST_SETS or n_sets * k**3 > MOST_WORK:
        return None
    found = _corners(rows[:, :k], rows[:, k])
    points = np.zeros((len(found), len(start)))
    points[:, support] = np.maximum(start[support] + found @ basis.T, 0.0)
    points[points < 1e-12] = 0.0
    points /= points.sum(axis=1, keepdims=True)
    points = _distinct(points)
    return points[np.lexsort(points.T[::-1])]


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Return the rows without those within 1e-8 of an earlier one."""
    kept = np.empty_like(rows)
    count = 0
    for row in rows:
        if not (np.abs(kept[:count] - row).max(axis=1) < 1e-8).any():
            kept[count] = row
            count += 1
    return kept[:count]


def _equations(payoff: np.ndarray, support: np.ndarray, tight: np.ndarray) -> np.ndarray:
    return np.vstack([payoff[support][:, tight].T, np.ones(support.sum())])


def _kernel(payoff: np.ndarray, support: np.ndarray, tight: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis `(s, k)` of the d with Σ d = 0 and Bᵀd = 0 on `tight`."""
    equations = _equations(payoff, support, tight)
    _, sizes, right = np.linalg.svd(equations, full_matrices=len(equations) < equations.shape[1])
    rank = int((sizes > RANK * sizes[0]).sum())
    return right[rank:].T


def _leaving(face: Face) -> tuple[np.ndarray, np.ndarray]:
    """Solve the program of the module's docstring.

    Returns:
        A direction `(m,)` along which as many as possible leave 0, and which ones do: first the
        loose coordinates, then the slacks.
    """
    from scipy.optimize import linprog

    free = face.support | face.loose
    sub = face.payoff[free]
    coordinate = np.eye(free.sum())[face.loose[free]]
    bounded = np.vstack([coordinate, sub.T[face.slack]])
    k, size = bounded.shape
    equal = np.vstack([sub.T[face.tight], np.ones(size)])
    done = linprog(
        np.concatenate([np.zeros(size), -np.ones(k)]),
        A_ub=np.hstack([-bounded, np.eye(k)]),
        b_ub=np.zeros(k),
        A_eq=np.hstack([equal, np.zeros((len(equal), k))]),
        b_eq=np.zeros(len(equal)),
        bounds=[(None, None)] * size + [(0.0, 1.0)] * k,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if done.status:
        raise JensenError(f"HiGHS failed on the uniqueness test: {done.message}", "matrix game")
    direction = np.zeros(len(face.point))
    direction[free] = done.x[:size]
    return direction, done.x[size:] > 0.5


def _interior(face: Face) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the support, the tight columns and a point of the set's relative interior."""
    if face.is_settled:
        return face.support, face.tight, face.point
    direction, leaves = _leaving(face)
    if not leaves.any():
        return face.support, face.tight | face.slack, face.point
    support, slack = face.support.copy(), face.slack.copy()
    split = int(face.loose.sum())
    support[np.flatnonzero(face.loose)[leaves[:split]]] = True
    slack[np.flatnonzero(face.slack)[leaves[split:]]] = False
    cost = face.point @ face.payoff
    far = ~(face.tight | face.slack)
    room = np.concatenate([face.point[face.support], (cost - cost.min())[far]])
    loss = -np.concatenate([direction[face.support], (direction @ face.payoff)[far]])
    longest = min((r / f for r, f in zip(room, loss, strict=True) if f > 0.0), default=2.0)
    point = np.where(support, face.point + 0.5 * min(longest, 2.0) * direction, 0.0)
    point = np.maximum(point, 0.0)
    return support, face.tight | slack, point / point.sum()


def _corners(normals: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the t `(V, k)` with `normals @ t + offsets ≥ 0` and k independent of them 0."""
    k = normals.shape[1]
    sets = combinations(range(len(normals)), k)
    at_once = max(1, 2_000_000 // k**2)
    found = [np.empty((0, k))]
    while chunk := list(islice(sets, at_once)):
        chosen = np.array(chunk)
        systems = normals[chosen]
        sizes = np.linalg.svd(systems, compute_uv=False)
        regular = sizes[:, -1] > 1e-9 * sizes[:, 0]
        right = -offsets[chosen[regular]][..., None]
        t = np.linalg.solve(systems[regular], right)[..., 0]
        found.append(t[(t @ normals.T + offsets >= -1e-9).all(axis=1)])
    return np.concatenate(found)
