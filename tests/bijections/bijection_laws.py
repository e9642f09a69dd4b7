r"""The laws of a bijection, as one function that raises `AssertionError` where one is broken.

For a bijection f with inverse g, log-determinants l_f, l_g, and points u:

    accuracy        f̂(u) = f(u)                       log-determinant  l̂_f(u) = log |det ∂f/∂u|
    round trip      ĝ(f̂(u)) = u                       antisymmetry     l̂_f(u) + l̂_g(f̂(u)) = 0
    finite          wherever the exact number fits the dtype

and the same with f and g exchanged. A hat is arithmetic in the dtype under test; without a hat it
is float64, and the determinant is that of the Jacobian which automatic differentiation gives.

**Tolerances are conditioning, not fits.** Rounding moves a computation as if its inputs and its
parameters had each moved by a few units in the last place. So the float64 program runs at `CLOUD`
copies of the point, every parameter and input θ moved at random within ±ULPS·eps·(1+|θ|); the width
of the cloud of results is the accuracy that *any* backward-stable arithmetic can have there, and
a law must hold to `SAFETY` widths. What a solver follows to a tolerance (`Case.tolerance`) is as
good as rounding to that tolerance: its error is that of a field which is off by as much. A
direction that solves equations (a spline's root, a masked recursion, a triangular solve) is stable
in the mixed sense: its input moves also by the width of the other direction's cloud. Knots and
slopes of 1e-6 need no exception: the cloud sees them.

Where a cloud is wider than `SHARP` the comparison says nothing (κ·eps > 1), and neither does a
log-determinant at a point that arithmetic cannot hold to `SHARP`; `check` returns the share of
sharp comparisons for each law, and the tests demand enough of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from conftest import BOUND, Case, randomise
from jensen.bijections import (
    Continuous,
    Coupling,
    Elementwise,
    MaskedAutoregressive,
    SplineTransformer,
)

CLOUD = 8
ULPS = 4.0
SAFETY = 8.0
SHARP = 0.05
POINTS = 28


class Numbers(NamedTuple):
    """f at z and g at x: values `(n, D)`, log-determinants `(n,)` and, in float64, log |det J|."""

    f: np.ndarray
    f_log_det: np.ndarray
    g: np.ndarray
    g_log_det: np.ndarray
    f_slogdet: np.ndarray | None = None
    g_slogdet: np.ndarray | None = None

    def swap(self) -> Numbers:
        return Numbers(*(self[i] for i in (2, 3, 0, 1, 5, 4)))


def verbs(bijection: Any, z: Any, x: Any, c: Any) -> tuple:
    return *bijection.forward_and_log_det(z, c), *bijection.inverse_and_log_det(x, c)


def verbs_and_jacobians(bijection: Any, z: Any, x: Any, c: Any) -> tuple:
    def forward(z: Any) -> tuple:
        x, log_det = bijection.forward_and_log_det(z, c)
        return x, (x, log_det)

    def inverse(x: Any) -> tuple:
        z, log_det = bijection.inverse_and_log_det(x, c)
        return z, (z, log_det)

    if isinstance(bijection, Continuous):
        bijection = dataclasses.replace(bijection, derivatives="forward")
    f_jacobian, f = jax.jacfwd(forward, has_aux=True)(z)
    g_jacobian, g = jax.jacfwd(inverse, has_aux=True)(x)
    return *f, *g, f_jacobian, g_jacobian


class Programs:
    """The compiled programs of the laws; make new ones where the code has been changed."""

    def __init__(self) -> None:
        self.batch = jax.jit(
            lambda arrays, static, z, x, c: jax.vmap(verbs, (None, 0, 0, None))(
                eqx.combine(arrays, static), z, x, c
            ),
            static_argnums=1,
        )
        self.single = jax.jit(
            lambda arrays, static, z, x, c: verbs(eqx.combine(arrays, static), z, x, c),
            static_argnums=1,
        )
        self.reference = jax.jit(
            lambda arrays, static, z, x, c: jax.vmap(
                lambda a, z, x: verbs_and_jacobians(eqx.combine(a, static), z, x, c)
            )(arrays, z, x),
            static_argnums=1,
        )


PROGRAMS = Programs()


def context(case: Case, dtype: Any) -> np.ndarray | None:
    return np.linspace(-1, 1, case.context_dim).astype(dtype) if case.context_dim else None


def points(case: Case, dtype: Any, seed: int) -> np.ndarray:
    """Return `(POINTS, D)`: normal, large, at the tails' ends, and just inside and outside them."""
    rng = np.random.default_rng(seed)
    edge = dtype(BOUND)
    inside, outside = np.nextafter(edge, dtype(0)), np.nextafter(edge, dtype(9))
    special = np.array([edge, -edge, inside, -inside, outside, -outside, 0], dtype)
    rows = [
        rng.standard_normal((8, case.dim)),
        1.5 * rng.standard_normal((4, case.dim)),
        rng.uniform(-30, 30, (3, case.dim)),
        np.full((1, case.dim), 30.0),
        rng.choice(special, (6, case.dim)),
        np.where(np.eye(6, case.dim, dtype=bool), rng.choice(special, (6, case.dim)), 0.7),
    ]
    out = np.concatenate([row.astype(dtype) for row in rows])
    return out[:POINTS]


def spline_knots(transformer: SplineTransformer, params: np.ndarray) -> np.ndarray:
    """Return the inner knots `(K-1,)` on the data's side, from the parameters `(P,)`."""
    raw = params[: transformer.bins]
    shares = np.exp(raw - raw.max())
    shares = shares / shares.sum()
    shares = transformer.min_size + (1 - transformer.bins * transformer.min_size) * shares
    return (2 * transformer.bound * np.cumsum(shares) - transformer.bound)[:-1]


def at_knots(bijection: Any, x: np.ndarray, c: Any) -> np.ndarray:
    """Return x with the transformed dimensions moved onto knots of their splines."""
    transformer = getattr(bijection, "transformer", None)
    if not isinstance(transformer, SplineTransformer):
        return x
    out = x.copy()
    for n, row in enumerate(out):
        start = bijection.split if isinstance(bijection, Coupling) else 0
        for d in range(start, row.shape[0]):
            if isinstance(bijection, Elementwise):
                params = bijection.params[d]
            elif isinstance(bijection, MaskedAutoregressive):
                params = bijection.net(jnp.asarray(row), c)[d]
            else:
                params = bijection._params(jnp.asarray(row), c)[d - start]
            knots = spline_knots(transformer, np.asarray(params))
            row[d] = knots[(n + d) % len(knots)]
    return out


def _run(program: Any, bijection: Any, z: Any, x: Any, c: Any) -> Numbers:
    arrays, static = eqx.partition(bijection, eqx.is_array)
    out = [np.asarray(o) for o in program(arrays, static, z, x, c)]
    if len(out) == 4:
        return Numbers(*out)
    slogdets = [np.linalg.slogdet(j)[1] for j in out[4:]]
    return Numbers(*out[:4], *slogdets)


class Reference:
    """Float64 numbers at points, and the widths of the clouds around them, for one eps."""

    def __init__(self, bijection: Any, c: Any, eps: float, program: Any) -> None:
        self.bijection, self.c, self.eps, self.program = bijection, c, eps, program
        self.rng = np.random.default_rng(11)

    def cloud(
        self, z: np.ndarray, x: np.ndarray, z_extra: Any = 0.0, x_extra: Any = 0.0
    ) -> tuple[Numbers, Numbers]:
        """Return the numbers at (z, x) and the widths of their clouds.

        `z_extra`, `x_extra` widen the inputs' clouds beyond rounding.
        """
        n = z.shape[0]

        def move(value: np.ndarray, extra: Any = 0.0) -> np.ndarray:
            copies = np.repeat(value[None], CLOUD + 1, 0)
            width = ULPS * self.eps * (1 + np.abs(value)) + extra
            noise = self.rng.uniform(-1, 1, copies.shape)
            noise[0] = 0.0
            moved = copies + width * noise
            return np.where(np.isfinite(moved), moved, copies).astype(copies.dtype)

        def spread(leaf: Any) -> Any:
            # one move of a parameter per copy, shared by the points
            if not eqx.is_inexact_array(leaf):
                return leaf
            return np.repeat(move(np.asarray(leaf)), n, 0)

        bijection = jax.tree.map(spread, self.bijection)
        z, x = (v.reshape(-1, v.shape[-1]) for v in (move(z, z_extra), move(x, x_extra)))
        with np.errstate(all="ignore"):
            out = _run(self.program, bijection, z, x, self.c)
            parts = [o.reshape(CLOUD + 1, n, *o.shape[1:]) for o in out]
            centre = Numbers(*(p[0] for p in parts))
            floor = [ULPS * self.eps * (1 + np.abs(p[0])) for p in parts]
            widths = Numbers(
                *(
                    np.nan_to_num(np.abs(p - p[0]).max(0), nan=np.inf, posinf=np.inf) + f
                    for p, f in zip(parts, floor, strict=True)
                )
            )
        return centre, widths


def _finite(value: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(value), value, 0.0)


def check(case: Case, scale: float, dtype: Any, programs: Programs = PROGRAMS) -> dict[str, float]:
    """Raise `AssertionError` where a law is broken; return each law's share of sharp comparisons.

    Args:
        case: a row of the table.
        scale: standard deviation of every parameter.
        dtype: `np.float32` or `np.float64`.
        programs: the compiled programs to use.
    """
    eps, scale = case.error(dtype), scale * case.scale
    with jax.enable_x64(True):
        exact = randomise(case.make(), scale, dtype=np.float64)
        bijection = randomise(case.make(), scale, dtype=dtype)
        c = context(case, dtype)
        x = points(case, dtype, 1)
        z = points(case, dtype, 2)
        x[:8] = at_knots(bijection, x[:8], c)
        reference = Reference(exact, context(case, np.float64), eps, programs.reference)
        at, _ = reference.cloud(z.astype(np.float64), x.astype(np.float64))
        z[:8] = at.g[:8].astype(dtype)  # the other side of the knots
        z64, x64 = z.astype(np.float64), x.astype(np.float64)
        at, one = reference.cloud(z64, x64)
        _, back_one = reference.cloud(_finite(at.g), _finite(at.f))
        # a direction may move its input by the width of the other direction's cloud
        _, two = reference.cloud(z64, x64, _finite(back_one.g), _finite(back_one.f))
        _, back_two = reference.cloud(_finite(at.g), _finite(at.f), _finite(one.g), _finite(one.f))
    with jax.enable_x64(dtype is np.float64):
        there = _run(programs.batch, bijection, z, x, c)
        again = _run(programs.batch, bijection, there.g, there.f, c)
    sharp: dict[str, float] = {}
    for name, u, n in (("forward", z64, 0), ("inverse", x64, 1)):
        parts = (at, two, back_two, there, again)
        e, w, b, t, a = (p if n == 0 else p.swap() for p in parts)
        fits = np.abs(e.f).max(-1) < np.finfo(dtype).max / 1e6
        lost = (SAFETY * w.f > SHARP * (1 + np.abs(e.f))).any(-1)
        lost_back = lost | (SAFETY * b.g > SHARP * (1 + np.abs(u))).any(-1)
        l_width = np.where(lost, np.inf, w.f_log_det + w.f_slogdet)
        sum_width = np.where(lost_back, np.inf, w.f_log_det + b.g_log_det)
        for what, got, want, width, unit in (
            ("accuracy", t.f, e.f, w.f, 1 + np.abs(e.f)),
            ("log-determinant", t.f_log_det, e.f_slogdet, l_width, 1.0),
            ("round trip", a.g, u, b.g, 1 + np.abs(u)),
            ("antisymmetry", t.f_log_det + a.g_log_det, 0.0, sum_width, 1.0),
        ):
            law = f"{name} {what}"
            ok = fits if got.ndim == 1 else fits[:, None] & np.ones(got.shape, bool)
            assert np.isfinite(got[ok]).all(), f"{law}: not finite at {u[~np.isfinite(got) & ok]}"
            with np.errstate(all="ignore"):
                error = np.abs(got - want)
                limit = SAFETY * width
                broken = ok & (error > limit)
            assert not broken.any(), (
                f"{law}: {broken.sum()} of {broken.size} differ; worst {error[broken].max():.3g} "
                f"where {limit[broken][error[broken].argmax()]:.3g} is allowed"
            )
            sharp[law] = float(np.mean(ok & (limit < SHARP * unit)))
    return sharp
