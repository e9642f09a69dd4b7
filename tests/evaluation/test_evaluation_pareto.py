"""k̂ against generalised Pareto draws and weights whose tail index is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.evaluation.pareto import fit_generalised_pareto, pareto_k, tail_length


@pytest.mark.parametrize("k", [-0.5, 0.0, 0.4, 0.7, 1.5])
@pytest.mark.parametrize("sigma", [0.01, 3.0])
def test_fit_finds_the_parameters_of_generalised_pareto_draws(k: float, sigma: float) -> None:
    """Asymptotic sd of the estimates: (1+k)/√n for k, at most √(2(1+k)/n) σ for σ (k > -½; at -½
    the estimate is no worse). 40 rows of 2000: the mean is within 5 of its standard errors (6e-7),
    with .01 for the bias of order 1/n."""
    n, rows = 2000, 40
    u = np.random.default_rng(0).uniform(size=(rows, n))
    draws = -sigma * np.log(u) if k == 0 else sigma * np.expm1(-k * np.log(u)) / k
    found, scale = fit_generalised_pareto(np.sort(draws, axis=1))
    assert abs(found.mean() - k) < 5 * (1 + k) / math.sqrt(n * rows) + 0.01
    assert abs(scale.mean() / sigma - 1) < 5 * math.sqrt(2 * (1 + k) / (n * rows)) + 0.01


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9, 1.4])
def test_pareto_weights_have_their_index(k: float) -> None:
    """w = u^-k is Pareto beyond any cutoff. The prior draws the mean to (M k + 5)/(M + 10); the sd
    of one row is about (1+k)/√M: the mean of 200 rows within 5 of its errors."""
    rows, n = 200, 4000
    log_w = -k * np.log(np.random.default_rng(1).uniform(size=(rows, n)))
    m = tail_length(n)
    expected = (m * k + 5) / (m + 10)
    assert abs(pareto_k(log_w).mean() - expected) < 5 * (1 + k) / math.sqrt(m * rows) + 0.01


def test_normal_importance_ratios_have_the_index_of_theory() -> None:
    """q = N(0, v), target N(0, 1): w = exp(½ z² (1/v - 1)) has k = 1 - v for v < 1, none above.

    At finite K the index is reached only slowly (the tail is Pareto times a power of a log), so the
    test is the order: 0.3 apart in v is more than three standard errors of 100 rows' mean.
    """
    z = np.random.default_rng(2).normal(size=(100, 2000))
    means = [pareto_k(0.5 * v * z**2 * (1 / v - 1)).mean() for v in (0.1, 0.4, 0.7, 1.5)]
    assert means[0] > 0.7 > means[1] > 0.35 > means[3]
    assert means[1] > means[2] > means[3]


def test_ten_further_weights_draw_it_towards_a_half() -> None:
    """By hand: the M largest, their excesses over the next, and (M k + 5)/(M + 10)."""
    w = np.sort(np.exp(np.random.default_rng(5).normal(size=60)))
    assert tail_length(60) == 12
    k, _ = fit_generalised_pareto((w[-12:] - w[-13])[None])
    assert pareto_k(np.log(w)[None])[0] == pytest.approx((12 * k[0] + 5) / 22, rel=1e-6)


def test_scale_and_order_of_the_weights_do_not_matter() -> None:
    log_w = np.random.default_rng(3).normal(0, 2, size=(3, 500))
    same = pareto_k(np.flip(log_w, axis=1) + 5000.0)
    np.testing.assert_allclose(same, pareto_k(log_w), rtol=1e-8)
    np.testing.assert_array_equal(pareto_k(log_w[1:2]), pareto_k(log_w)[1:2])


def test_limits() -> None:
    """Equal weights, rounding noise, a single giant, too few, none at all."""
    rng = np.random.default_rng(4)
    assert pareto_k(np.full((1, 1000), -90.0))[0] == -np.inf
    assert pareto_k(-90 + 1e-6 * rng.normal(size=(1, 1000)))[0] == -np.inf
    assert pareto_k(1e4 * rng.normal(size=(1, 1000)))[0] > 5
    assert pareto_k(np.append(np.full(999, -2000.0), 0.0)[None])[0] == np.inf
    assert np.isnan(pareto_k(rng.normal(size=(1, 20)))[0])
    assert np.isfinite(pareto_k(rng.normal(size=(1, 21)))[0])
    assert np.isnan(pareto_k(np.full((1, 100), -np.inf))[0])
    some = np.where(np.arange(1000) % 2, rng.normal(size=1000), -np.inf)[None]
    assert abs(pareto_k(some)[0]) < 1


def test_bad_input() -> None:
    with pytest.raises(InputError, match="rows, particles"):
        pareto_k(np.zeros(5))
    with pytest.raises(InputError, match="infinity"):
        pareto_k(np.array([[np.nan, 0.0]]))
