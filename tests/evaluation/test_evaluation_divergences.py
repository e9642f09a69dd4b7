"""Held-out bounds of divergences and their quadrature, against closed forms of Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jensen._errors import InputError
from jensen.evaluation.divergences import LOG_2, held_out_bound, quadrature
from jensen.objectives.divergences import DIVERGENCES, jensen_shannon

SHIFT = 1.0
CLOSED_FORMS = {
    "kl": SHIFT**2 / 2,
    "reverse-kl": SHIFT**2 / 2,
    "pearson": math.expm1(SHIFT**2),
    "neyman": math.expm1(SHIFT**2),
    "hellinger": -math.expm1(-(SHIFT**2) / 8),
    "total-variation": 2 * norm.cdf(SHIFT / 2) - 1,
    "jensen-shannon": 0.1114214822,
}
PAIRS = [(0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (1.0, 2.0)]
BALANCED = [0.0303113005, 0.1114214822, 0.3368308203, 0.6327201937, 0.1281749730]
QUARTER = [0.0228946932, 0.0854493867, 0.2656533073, 0.5110597322]


def normal(mean: float = 0.0, scale: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: norm.logpdf(x, mean, scale)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_quadrature_is_the_closed_form(name: str) -> None:
    found = quadrature(name, normal(), normal(SHIFT), (-12.0, 13.0))
    # total variation has a kink at ½, inside a panel of 1/16: h² |slope| / 8 at most
    tolerance = 3e-4 if name == "total-variation" else 2e-10
    assert found == pytest.approx(CLOSED_FORMS[name], abs=tolerance)


def test_quadrature_gives_the_table_of_jensen_shannon_divergences() -> None:
    for (mean, scale), expected in zip(PAIRS, BALANCED, strict=True):
        found = quadrature("jensen-shannon", normal(), normal(mean, scale), (-30.0, 34.0))
        assert found == pytest.approx(expected, abs=1e-10)
    for (mean, scale), expected in zip(PAIRS[:4], QUARTER, strict=True):
        found = quadrature(jensen_shannon(0.25), normal(), normal(mean, scale), (-30.0, 34.0))
        assert found == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_bound_at_the_true_ratio_is_the_divergence(name: str) -> None:
    """Within 5 standard errors: a false alarm once in two million keys; the seed is fixed.

    Shift ½, so that the variance of e^{2a} is finite and known by so many rows.
    """
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=400_000), rng.normal(0.5, 1.0, 400_000)

    def ratio(rows: np.ndarray) -> np.ndarray:
        return normal()(rows) - normal(0.5)(rows)

    truth = quadrature(name, normal(), normal(0.5), (-10.0, 10.5))
    found = held_out_bound(name, ratio(x), ratio(y))
    assert abs(found.value - truth) < 5 * found.se
    assert found.se < 0.05 * truth
    # any other ratio gives less: here one that is twice too steep, or shifted
    for wrong in (2.0 * ratio(x), ratio(x) + 0.7):
        factor = 2.0 if wrong[0] == 2.0 * ratio(x)[0] else 1.0
        other = factor * ratio(y) + (0.0 if factor == 2.0 else 0.7)
        if name != "total-variation" or factor == 1.0:  # which sees the sign alone
            assert held_out_bound(name, wrong, other).value < truth


def test_the_standard_error_is_that_of_a_difference_of_means() -> None:
    on_p, on_q = np.array([0.0, 1.0, 3.0]), np.array([0.0, -2.0])
    found = held_out_bound("kl", on_p, on_q)
    assert found.value == pytest.approx(1 + 4 / 3 - (1 + math.exp(-2)) / 2)
    spread = np.var(on_p, ddof=1) / 3 + np.var(np.exp(on_q), ddof=1) / 2
    assert found.se == pytest.approx(math.sqrt(spread))


def test_no_log_ratio_lifts_the_bound_above_its_largest_value() -> None:
    huge = np.full(5, 1e6)
    assert held_out_bound("jensen-shannon", huge, -huge).value <= LOG_2
    assert held_out_bound("total-variation", huge, -huge).value <= 1.0
    for name in DIVERGENCES:
        assert np.isfinite(held_out_bound(name, huge, huge)).all()


def test_a_users_convex_function_is_bounded_too() -> None:
    """f(u) = (u² - 1)/2 - (u - 1): half of Pearson's χ²."""
    x, y = np.array([0.3, 0.1]), np.array([-0.2, 0.4])
    mine = held_out_bound(lambda u: 0.5 * (u**2 - 1) - (u - 1), x, y)
    assert mine.value == pytest.approx(0.5 * held_out_bound("pearson", x, y).value, rel=1e-8)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least two rows"):
        held_out_bound("kl", np.zeros(1), np.zeros(5))
    with pytest.raises(InputError, match="empty"):
        quadrature("kl", normal(), normal(), (1.0, 1.0))
    with pytest.raises(InputError, match="narrower"):
        quadrature("kl", normal(), normal(9.0), (-30.0, 30.0))
    with pytest.raises(InputError, match="not convex"):
        held_out_bound(lambda u: jnp.sin(u - 1), np.zeros(3), np.zeros(3))
