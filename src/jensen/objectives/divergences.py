r"""f-divergences D_f(p‖q) = E_q f(p/q), f convex with f(1) = 0, as functions of a logit.

With the convex conjugate f*(t) = sup_u (ut - f(u)) every function T gives a lower bound

    D_f(p‖q) ≥ E_p T - E_q f*(T),        equal at T = f'(p/q).

A network gives a logit a, at its best a = log p/q. Both terms are written in a, for f* at T loses
all digits in float32 where T is near the end of its range:

=================  =====================  ==========================  =========================
name               f(u)                   T = f'(eᵃ)                  f*(T) = eᵃ T - f(eᵃ)
=================  =====================  ==========================  =========================
`kl`               u log u                1 + a                       eᵃ
`reverse-kl`       -log u                 -e⁻ᵃ                        a - 1
`jensen-shannon`   see `jensen_shannon`   ½ (log 2 - softplus(-a))    ½ (softplus(a) - log 2)
`pearson`          (u - 1)²               2 (eᵃ - 1)                  e²ᵃ - 1
`neyman`           (u - 1)²/u             1 - e⁻²ᵃ                    2 - 2 e⁻ᵃ
`hellinger`        ½ (√u - 1)²            ½ (1 - e^{-a/2})            ½ (e^{a/2} - 1)
`total-variation`  ½ |u - 1|              ½ sign a (tanh to train)    the same
=================  =====================  ==========================  =========================

All are exact for |a| ≤ `limit`, where the largest exponent is 40, and continued by their tangents
beyond it: finite, with a gradient of the right sign, and small enough that its square is finite.

Sources: Nguyen, Wainwright & Jordan 2010 (arXiv:0809.0853), lemma 1; Nowozin et al. 2016
(arXiv:1606.00709), tables 1 and 2. Deviations: the Jensen–Shannon and the squared Hellinger
divergence and the total variation carry the factor that bounds them by log 2, 1 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError, nearest
from jensen._typing import Array

Elementwise = Callable[[Array], Array]

_EXPONENT = 40.0
_TABLE_LIMIT, _TABLE_NODES = 20.0, 2001
_TOLERANCE = 1e-7  # of the table's convexity check: float64 rounding of f at u = e²⁰


@dataclass(frozen=True, eq=False)
class Divergence:
    """An f-divergence by its two terms, elementwise functions of a logit a.

    Args:
        name: its name.
        output: T(a) = f'(eᵃ), what a network's logit becomes before it enters the bound.
        conjugate_of_output: f*(T(a)) = eᵃ T(a) - f(eᵃ).
        limit: the largest |a| at which both are exact; tangents beyond.
        tight: the two terms at their best where `output` is a smooth stand-in for them, else None.
    """

    name: str
    output: Elementwise
    conjugate_of_output: Elementwise
    limit: float = math.inf
    tight: tuple[Elementwise, Elementwise] | None = None

    def at_ratio(self) -> Divergence:
        """Return the divergence whose T is f' itself, to evaluate where a = log p/q."""
        if self.tight is None:
            return self
        output, conjugate_of_output = self.tight
        return replace(self, output=output, conjugate_of_output=conjugate_of_output, tight=None)


def _continued(function: Elementwise, limit: float) -> Elementwise:
    """Return the function, continued by its tangents beyond ±limit."""
    if math.isinf(limit):
        return function

    def extended(a: Array) -> Array:
        a = jnp.asarray(a)
        inside = jnp.clip(a, -limit, limit)
        value, slope = jax.jvp(function, (inside,), (jnp.ones_like(inside),))
        return value + slope * (a - inside)

    return extended


def _divergence(
    name: str, exponent: float, output: Elementwise, conjugate_of_output: Elementwise
) -> Divergence:
    """Return the divergence whose terms grow as exp(exponent · |a|) at most; 0 for linear ones."""
    limit = _EXPONENT / exponent if exponent else math.inf
    terms = (_continued(term, limit) for term in (output, conjugate_of_output))
    return Divergence(name, *terms, limit=limit)


def jensen_shannon(weight: float = 0.5) -> Divergence:
    r"""Return the weighted Jensen–Shannon divergence π KL(p‖m) + (1-π) KL(q‖m), m = π p + (1-π) q.

    f(u) = π u log u - m log m with m = π u + 1 - π. With b = a + log π/(1-π), the logit of
    π p / m, T = π (log σ(b) - log π) and f*(T) = (1-π) (log(1-π) + softplus(b)), so that the bound
    is H(π) + π E_p log σ(b) + (1-π) E_q log σ(-b), at most H(π) = -π log π - (1-π) log(1-π).

    Args:
        weight: π in (0, 1), the weight of p.

    Raises:
        InputError: for a weight outside (0, 1).

    Source: Lin 1991, eq. 4.1.

    Example:
        >>> js = jensen_shannon()
        >>> round(float(js.output(jnp.float32(100.0))), 4)  # ½ log 2
        0.3466
    """
    if not 0 < weight < 1:
        raise InputError(f"the weight must lie in (0, 1), got {weight}", "weight", "try 0.5")
    prior = math.log(weight / (1 - weight))

    def output(a: Array) -> Array:
        return -weight * (jax.nn.softplus(-a - prior) + math.log(weight))

    def conjugate_of_output(a: Array) -> Array:
        return (1 - weight) * (jax.nn.softplus(a + prior) + math.log1p(-weight))

    name = "jensen-shannon" if weight == 0.5 else f"jensen-shannon-{weight:g}"
    return _divergence(name, 0.0, output, conjugate_of_output)


def _half_sign(a: Array) -> Array:
    return 0.5 * jnp.sign(a)


@jax.custom_jvp
def _half_tanh(a: Array) -> Array:
    """Return ½ tanh(a/2), whose slope σ(a) σ(-a) is kept where 1 - tanh² rounds to 0."""
    return 0.5 * jnp.tanh(0.5 * a)


@_half_tanh.defjvp
def _half_tanh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (a,), (change,) = primals, tangents
    return _half_tanh(a), jax.nn.sigmoid(a) * jax.nn.sigmoid(-a) * change


# exp(a) - 1 and not expm1, whose slope expm1(a) + 1 rounds to 0 where a is far below 0
DIVERGENCES: dict[str, Divergence] = {
    divergence.name: divergence
    for divergence in (
        _divergence("kl", 1.0, lambda a: 1.0 + a, jnp.exp),
        _divergence("reverse-kl", 1.0, lambda a: -jnp.exp(-a), lambda a: a - 1.0),
        jensen_shannon(),
        _divergence(
            "pearson", 2.0, lambda a: 2.0 * (jnp.exp(a) - 1.0), lambda a: jnp.exp(2.0 * a) - 1.0
        ),
        _divergence(
            "neyman", 2.0, lambda a: 1.0 - jnp.exp(-2.0 * a), lambda a: 2.0 - 2.0 * jnp.exp(-a)
        ),
        _divergence(
            "hellinger",
            0.5,
            lambda a: 0.5 * (1.0 - jnp.exp(-0.5 * a)),
            lambda a: 0.5 * (jnp.exp(0.5 * a) - 1.0),
        ),
        Divergence("total-variation", _half_tanh, _half_tanh, tight=(_half_sign, _half_sign)),
    )
}
"""The f-divergences by name."""


def divergence_of(which: str | Divergence | Callable[[Array], Array]) -> Divergence:
    """Return a divergence by its name, or of a convex function f with f(1) = 0.

    Args:
        which: a key of `DIVERGENCES`, a `Divergence`, or f(u) for u > 0 (see `from_function`).

    Raises:
        InputError: for an unknown name, or an f that is not convex or has f(1) ≠ 0.

    Example:
        >>> divergence_of("kl").name, divergence_of(lambda u: (u - 1) ** 2).limit
        ('kl', 20.0)
    """
    if isinstance(which, Divergence):
        return which
    if not isinstance(which, str):
        return from_function(which)
    if which not in DIVERGENCES:
        raise InputError(
            f"unknown divergence {which!r}{nearest(which, DIVERGENCES)}",
            "divergence",
            f"choose one of {', '.join(DIVERGENCES)}, or give a convex function f with f(1) = 0",
        )
    return DIVERGENCES[which]


def from_function(f: Callable[[Array], Array], name: str = "f") -> Divergence:
    r"""Return the divergence of a convex function f, through its numerical conjugate.

    On a fine grid of a ∈ [-20, 20] automatic differentiation in float64 gives T = f'(eᵃ), the
    conjugate eᵃ T - f(eᵃ) and the slopes dT/da = u f''(u), df*/da = u² f''(u) at u = eᵃ; between
    the nodes both terms are cubic Hermite polynomials of these.

    Args:
        f: one positive number u to one number, written in `jax.numpy` or plain arithmetic.
        name: what to call it.

    Returns:
        The divergence, with `limit` 20.

    Raises:
        InputError: if f cannot be differentiated by JAX or is not finite on [e⁻²⁰, e²⁰], if
            f(1) ≠ 0, or if it is not convex.

    Example:
        >>> kl = from_function(lambda u: u * jnp.log(u))
        >>> round(float(kl.output(jnp.float32(2.0))), 4)
        3.0
    """
    nodes = np.linspace(-_TABLE_LIMIT, _TABLE_LIMIT, _TABLE_NODES)
    u = np.exp(nodes)
    one, value, first, second = _derivatives(f, u)
    if not abs(one) <= 1e-9:
        raise InputError(
            f"f(1) is {one:g}, and must be 0", "divergence", "subtract f(1), a constant, from f"
        )
    _check_convex(u, value, first)
    output = _hermite(nodes, first, u * second)
    conjugate = _hermite(nodes, u * first - value, u**2 * second)
    terms = (_continued(term, _TABLE_LIMIT) for term in (output, conjugate))
    return Divergence(name, *terms, limit=_TABLE_LIMIT)


def _derivatives(
    f: Callable[[Array], Array], u: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return f(1), and f, f', f'' at u `(n,)`, in float64."""
    mend = "write it for one positive number u, in jax.numpy, finite for u from e⁻²⁰ to e²⁰"
    try:
        with jax.enable_x64(True):
            at = jnp.asarray(u, jnp.float64)
            one = float(f(jnp.ones((), jnp.float64)))
            value, first, second = (
                np.asarray(jax.vmap(g)(at)) for g in (f, jax.grad(f), jax.grad(jax.grad(f)))
            )
    except (TypeError, ValueError, jax.errors.JAXTypeError) as error:
        why = str(error).split(". ")[0][:120]
        raise InputError(f"f cannot be differentiated by JAX: {why}", "divergence", mend) from error
    if not all(np.isfinite(part).all() for part in (one, value, first, second)):
        raise InputError("f or a derivative of it is not finite", "divergence", mend)
    return one, value, first, second


def _check_convex(u: np.ndarray, value: np.ndarray, first: np.ndarray) -> None:
    """Raise InputError unless f'(u_i) ≤ (f(u_{i+1}) - f(u_i))/(u_{i+1} - u_i) ≤ f'(u_{i+1})."""
    chord = np.diff(value) / np.diff(u)
    size = np.abs(value) / u
    slack = _TOLERANCE * (
        1.0 + np.abs(first[:-1]) + np.abs(first[1:]) + np.maximum(size[:-1], size[1:])
    )
    wrong = (first[:-1] > chord + slack) | (chord > first[1:] + slack)
    if wrong.any():
        at = int(wrong.argmax())
        raise InputError(
            f"f is not convex between u = {u[at]:.4g} and {u[at + 1]:.4g}",
            "divergence",
            "an f-divergence needs a convex f",
        )


def _hermite(nodes: np.ndarray, value: np.ndarray, slope: np.ndarray) -> Elementwise:
    """Return the cubic Hermite interpolant on evenly spaced nodes, the outer cubics beyond them."""
    h = float(nodes[1] - nodes[0])
    low, rise, drop = value[:-1], np.diff(value), h * slope[:-1]
    bend = h * slope[1:]
    table = np.stack([low, drop, 3 * rise - 2 * drop - bend, drop + bend - 2 * rise], axis=1)

    def interpolate(a: Array) -> Array:
        a = jnp.asarray(a)
        place = (a - nodes[0]) / h
        i = jnp.clip(jax.lax.stop_gradient(place).astype(int), 0, len(table) - 1)
        c = jnp.asarray(table, a.dtype)[i]
        s = place - i.astype(a.dtype)
        return c[..., 0] + s * (c[..., 1] + s * (c[..., 2] + s * c[..., 3]))

    return interpolate
