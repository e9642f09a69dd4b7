"""Evidence: fair bets, the mixture by its formula, and Ville's inequality over many streams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom, norm

from jensen.anomaly.evidence import RARE, SHAPE, Evidence, log_bets, log_later, log_start


def test_every_bet_is_a_density() -> None:
    """∫_0^x f_b by Gauss–Legendre quadrature between the jumps, on the normal scale, against its
    closed form: (1−π)x + π min(x/ℓ, 1), and Φ((z − δ)/τ)."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    ends = [-12.0, *norm.ppf([0.001, 0.01, 0.1]), 0.0, 2.0, 4.0, 6.0]
    total = np.zeros(len(RARE) + len(SHAPE))
    for a, b in itertools.pairwise(ends):
        z = (a + b) / 2 + (b - a) / 2 * nodes
        total += np.exp(log_bets(norm.cdf(z))) @ (weights * (b - a) / 2 * norm.pdf(z))
        x = norm.cdf(b)
        rare = [(1 - s) * x + s * min(x / level, 1.0) for s, level in RARE]
        shape = [norm.cdf((b - d) / t) for d, t in SHAPE]
        np.testing.assert_allclose(total, rare + shape, atol=1e-7)


def test_the_prior_of_the_start_sums_to_one() -> None:
    rows = np.arange(1.0, 20001.0)
    np.testing.assert_allclose(
        1.0 - np.cumsum(np.exp(log_start(rows))), np.exp(log_later(rows)), atol=1e-12
    )
    assert log_later(np.zeros(1))[0] == 0.0
    # a late start costs about log j + 2 log log j: below 20 nats in a million rows
    assert -20.0 < log_start(np.array([1e6]))[0] < -np.log(1e6)


def test_the_mixture_is_its_formula() -> None:
    """Σ_b w_b Σ_j γ_j Π f_b + Σ_{j>t} γ_j, as loops over starts and rows."""
    p = np.concatenate([np.random.default_rng(0).random(25), [1e-9, 0.5, 1 - 1e-9, 0.003, 0.09]])
    bets = np.exp(log_bets(p))
    gamma = np.exp(log_start(np.arange(1.0, 31.0)))
    weight = np.repeat([0.5 / len(RARE), 0.5 / len(SHAPE)], [len(RARE), len(SHAPE)])
    expected = []
    for t in range(1, 31):
        starts = sum(gamma[j - 1] * bets[:, j - 1 : t].prod(1) for j in range(1, t + 1))
        expected.append(weight @ starts + 1.0 - gamma[:t].sum())
    _, log_evidence, _ = Evidence.none().advance(p)
    np.testing.assert_allclose(log_evidence, np.log(expected), rtol=1e-9)


def test_the_best_start_is_found() -> None:
    """The bet that weighs most, and the start that gives it most, tried one by one."""
    rng = np.random.default_rng(1)
    p = np.concatenate([rng.random(300), rng.random(40) * 0.2])
    threshold = np.log(1e4)
    _, log_evidence, change = Evidence.none().advance(p, threshold)
    at = int(np.argmax(log_evidence >= threshold))
    gains = log_bets(p[: at + 1])
    tails = np.array([gains[:, j:].sum(1) for j in range(at + 1)])  # (starts, bets)
    sums = np.log(np.exp(tails + log_start(np.arange(1.0, at + 2))[:, None]).sum(0))
    sums -= np.log(np.repeat([len(RARE), len(SHAPE)], [len(RARE), len(SHAPE)]))
    assert change == tails[:, sums.argmax()].argmax()
    assert abs(change - 300) < 15


def test_blocks_give_the_same_numbers_to_the_last_bit() -> None:
    rng = np.random.default_rng(2)
    p = np.concatenate([rng.random(9000), rng.random(100) ** 2])
    whole, log_evidence, change = Evidence.none().advance(p, 5.0)
    for size in (1, 7, 64, 5000):
        now, parts, found = Evidence.none(), [], None
        head = 300 if size == 1 else len(p)
        for i in range(0, head, size):
            now, part, new = now.advance(p[i : min(i + size, head)], 5.0)
            parts.append(part)
            found = new if found is None else found
        np.testing.assert_array_equal(np.concatenate(parts), log_evidence[:head])
        if head == len(p):
            assert found == change is not None
            np.testing.assert_array_equal(now.lowest_row, whole.lowest_row)
            np.testing.assert_array_equal(now.starts, whole.starts)


def test_extreme_p_values_stay_finite() -> None:
    for p in (0.0, 1.0, 1e-300):
        _, log_evidence, _ = Evidence.none().advance(np.full(50, p))
        assert np.isfinite(log_evidence).all()
        assert log_evidence[-1] > 50.0


def test_false_alarms_are_at_most_the_rate() -> None:
    """300 streams of 3,000 uniform p-values at rate 20%: at most Binomial(300, .2)'s 1 − 1e-5
    quantile reach log 5, and some do; the sum of starts without its prior reaches it in all."""
    rng, alarms, without = np.random.default_rng(3), 0, 0
    for _ in range(300):
        p = rng.random(3000)
        _, log_evidence, _ = Evidence.none().advance(p)
        alarms += int((log_evidence >= np.log(5.0)).any())
        without += int((log_evidence - log_start(np.arange(1.0, 3001.0)) >= np.log(5.0)).any())
    assert 0 < alarms <= binom.ppf(1 - 1e-5, 300, 0.2)
    assert without == 300


@pytest.mark.parametrize(
    "change",
    [
        lambda u, z: norm.cdf(z - 1.0),  # all scores lower
        lambda u, z: norm.cdf(z + 1.0),  # all scores higher
        lambda u, z: norm.cdf(2.0 * z),  # wider
        lambda u, z: norm.cdf(0.25 * z),  # narrower: a stuck sensor
        lambda u, z: np.where(u < 0.2, 0.01 * u, u),  # a fifth among the 1% lowest
    ],
)
def test_changes_of_every_kind_are_found_after_a_long_quiet(change) -> None:
    """The evidence does not sink while nothing happens: after 100,000 quiet rows 150 suffice."""
    rng = np.random.default_rng(4)
    quiet, log_evidence, found = Evidence.none().advance(rng.random(100_000), np.log(100.0))
    assert found is None
    assert log_evidence[-1] > -3.0
    u = rng.random(150)
    _, _, start = quiet.advance(change(u, norm.ppf(rng.permutation(u))), np.log(100.0))
    assert start is not None
    assert abs(start - 100_000) < 60
