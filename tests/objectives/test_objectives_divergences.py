"""f-divergences as functions of a logit: against their definitions, float32, a user's own f."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import xlogy

from jensen._errors import InputError
from jensen.objectives.divergences import (
    DIVERGENCES,
    Divergence,
    divergence_of,
    from_function,
    jensen_shannon,
)

FUNCTIONS: dict[str, Callable] = {
    "kl": lambda u: u * jnp.log(u),
    "reverse-kl": lambda u: -jnp.log(u),
    "jensen-shannon": lambda u: 0.5 * (u * jnp.log(u) - (u + 1) * jnp.log((u + 1) / 2)),
    "pearson": lambda u: (u - 1) ** 2,
    "neyman": lambda u: (u - 1) ** 2 / u,
    "hellinger": lambda u: 0.5 * (jnp.sqrt(u) - 1) ** 2,
    "total-variation": lambda u: 0.5 * abs(u - 1),
}
"""f itself, written once more, from the papers."""


def test_the_table_is_complete() -> None:
    assert set(FUNCTIONS) == set(DIVERGENCES)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_terms_are_the_slope_and_the_conjugate_of_f(name: str) -> None:
    """T = f'(u) by automatic differentiation; f*(T) = sup_u (uT - f(u)) by a search over u."""
    divergence, f = DIVERGENCES[name].at_ratio(), FUNCTIONS[name]
    logits = np.array([-3.0, -0.7, 0.4, 2.5])
    with jax.enable_x64(True):
        slope = jax.vmap(jax.grad(f))(jnp.exp(logits))
        t = np.asarray(divergence.output(jnp.asarray(logits)))
        np.testing.assert_allclose(t, slope, rtol=1e-12, atol=1e-14)
        u = np.exp(np.linspace(-8, 8, 400_001))
        best = np.max(u * t[:, None] - np.asarray(f(u)), axis=1)
        found = divergence.conjugate_of_output(jnp.asarray(logits))
    # the search misses the top by h²/8 · |second derivative in log u| < 1e-6 here
    np.testing.assert_allclose(found, best, atol=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_float32_keeps_values_and_slopes_from_minus_to_plus_100(name: str) -> None:
    """Up to the limit the exact law df*/da = eᵃ dT/da, beyond it the slopes at the limit."""
    divergence = DIVERGENCES[name]
    logits = jnp.linspace(-100, 100, 401)
    terms = divergence.output, divergence.conjugate_of_output
    for term in terms:
        assert bool(jnp.all(jnp.isfinite(term(logits))))
        slope = jax.vmap(jax.grad(term))(logits)
        assert bool(jnp.all(jnp.isfinite(slope**2)))
        assert bool(jnp.all(slope >= 0))
        with jax.enable_x64(True):
            wide = jnp.asarray(np.clip(logits, -divergence.limit, divergence.limit), jnp.float64)
            exact = np.asarray(jax.vmap(jax.grad(term))(wide))
        np.testing.assert_allclose(slope, exact, rtol=1e-4, atol=1e-30)
    if name != "total-variation":
        inside = jnp.linspace(-0.4, 0.4, 9) * min(divergence.limit, 60.0)
        t, c = (np.asarray(jax.vmap(jax.grad(term))(inside)) for term in terms)
        np.testing.assert_allclose(c, np.exp(np.asarray(inside)) * t, rtol=1e-4)


def test_a_tangent_continues_where_float32_would_overflow() -> None:
    kl = DIVERGENCES["kl"]
    edge = math.exp(kl.limit)
    np.testing.assert_allclose(
        kl.conjugate_of_output(jnp.float32(kl.limit + 3)), 4 * edge, rtol=1e-5
    )


def test_total_variation_trains_on_tanh_and_judges_by_the_sign() -> None:
    tv = DIVERGENCES["total-variation"]
    assert float(jax.grad(tv.output)(0.0)) == 0.25
    assert float(tv.at_ratio().output(jnp.float32(0.01))) == 0.5
    assert DIVERGENCES["kl"].at_ratio() is DIVERGENCES["kl"]


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.75])
def test_weighted_jensen_shannon_is_its_definition(weight: float) -> None:
    """p T - q f*(T), summed over three cells, is π KL(p‖m) + (1-π) KL(q‖m)."""
    p, q = np.array([0.2, 0.5, 0.3]), np.array([0.6, 0.3, 0.1])
    m = weight * p + (1 - weight) * q
    expected = weight * xlogy(p, p / m).sum() + (1 - weight) * xlogy(q, q / m).sum()
    with jax.enable_x64(True):
        js, a = jensen_shannon(weight), jnp.asarray(np.log(p / q))
        found = p @ np.asarray(js.output(a)) - q @ np.asarray(js.conjugate_of_output(a))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["kl", "jensen-shannon", "neyman", "hellinger"])
def test_a_users_f_agrees_with_the_table_in_float32(name: str) -> None:
    mine, known = from_function(FUNCTIONS[name]), DIVERGENCES[name]
    a = jnp.linspace(-12, 12, 97)
    for found, expected in (
        (mine.output, known.output),
        (mine.conjugate_of_output, known.conjugate_of_output),
    ):
        np.testing.assert_allclose(found(a), expected(a), rtol=2e-5, atol=2e-6)
        slopes = jax.vmap(jax.grad(found))(a), jax.vmap(jax.grad(expected))(a)
        np.testing.assert_allclose(*slopes, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda u: u * jnp.log(u) + 0.5, r"f\(1\) is 0.5"),
        (lambda u: -((u - 1) ** 2), "not convex"),
        (lambda u: (u - 1) ** 3, "not convex"),
        (lambda u: jnp.where(u < 2, (u - 1) ** 2, u - 1), "not convex"),
        (lambda u: jnp.sqrt(u - 1), "not finite"),
        (lambda u: math.log(u), "cannot be differentiated"),
    ],
)
def test_an_f_that_is_none_is_refused(f: Callable, says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_function(f)


def test_names_are_looked_up() -> None:
    assert isinstance(divergence_of("pearson"), Divergence)
    with pytest.raises(InputError, match="did you mean 'hellinger'"):
        divergence_of("helinger")
    with pytest.raises(InputError, match=r"\(0, 1\)"):
        jensen_shannon(1.0)
