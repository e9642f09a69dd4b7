"""Split-conformal p-values: valid for any scores, by exact counting and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from jensen._errors import InputError
from jensen.anomaly.calibrate import Conformal


def test_p_values_are_the_formula() -> None:
    rng = np.random.default_rng(0)
    calibration, new = rng.integers(0, 6, 50).astype(float), np.arange(-1.0, 8.0)
    expected = [(1 + np.sum(calibration <= s)) / 51 for s in new]
    np.testing.assert_array_equal(Conformal(calibration).p_values(new), expected)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("n", [99, 100, 119, 250])
def test_flagged_exactly_when_p_is_at_most_alpha(n: int, alpha: float) -> None:
    rng = np.random.default_rng(n)
    calibration = rng.integers(0, 30, n).astype(float)  # with ties
    conformal = Conformal(calibration)
    new = np.arange(-1.0, 31.0, 0.5)
    by_p = conformal.p_values(new) <= alpha + 1e-12
    np.testing.assert_array_equal(conformal.flags(new, alpha), by_p)
    np.testing.assert_array_equal(new < conformal.threshold(alpha), by_p)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (39, 0.05), (99, 0.01), (60, 0.1)])
def test_false_alarm_rate_is_the_stated_one(n: int, alpha: float, ties: bool) -> None:
    """Over 4,000 splits the alarms on one new row are Binomial(4000, ⌊α(n+1)⌋/(n+1)), at most so
    with ties; the band is that of a two-sided test with false-alarm rate 1e-5."""
    rng = np.random.default_rng(7)
    splits, alarms = 4000, 0
    for _ in range(splits):
        scores = rng.integers(0, 20, n + 1).astype(float) if ties else rng.normal(size=n + 1)
        alarms += int(Conformal(scores[1:]).flags(scores[:1], alpha)[0])
    rate = np.floor(alpha * (n + 1) + 1e-9) / (n + 1)
    low, high = binom.ppf([5e-6, 1 - 5e-6], splits, rate)
    assert alarms <= high
    assert rate <= alpha + 1e-12
    if not ties:
        assert alarms >= low


def test_mean_false_alarm_rate_over_splits_of_one_table() -> None:
    """200 random splits of 1,000 exchangeable scores into 199 and 801.

    Given the table, the expected share of alarms over random splits is exactly 10/200 = α. A
    split's share is Beta-binomial with sd ≤ 0.0176 (Beta(10, 190), 801 draws), so the mean of
    200 splits, drawn independently, is within 4.4 · 0.0176/√200 = 0.0055 but for one table in 1e5.
    """
    rng = np.random.default_rng(3)
    scores = rng.standard_t(2, 1000)
    shares = []
    for _ in range(200):
        order = rng.permutation(1000)
        conformal = Conformal(scores[order[:199]])
        shares.append(conformal.flags(scores[order[199:]], 0.05).mean())
    assert abs(np.mean(shares) - 0.05) < 0.0055


def test_ties_count_against_flagging() -> None:
    conformal = Conformal(np.zeros(99))
    assert conformal.p_values(np.zeros(1))[0] == 1.0
    assert not conformal.flags(np.zeros(1), 0.5)[0]
    assert conformal.flags(np.array([-1e-300]), 0.01)[0]


def test_impossible_rows_are_flagged_unless_calibration_has_them() -> None:
    conformal = Conformal(np.arange(19.0))
    assert conformal.p_values(np.array([-np.inf]))[0] == 1 / 20
    assert conformal.flags(np.array([-np.inf]), 0.05)[0]
    half = Conformal(np.concatenate([np.full(10, -np.inf), np.arange(9.0)]))
    assert half.threshold(0.05) == -np.inf
    assert not half.flags(np.array([-np.inf, 0.0]), 0.05).any()


def test_smallest_alpha_is_reached_and_not_passed() -> None:
    for n in (1, 9, 19, 99, 4999):
        conformal = Conformal(np.arange(float(n)))
        smallest = conformal.smallest_alpha
        assert conformal.reaches(smallest)
        assert conformal.threshold(smallest) == 0.0
        below = smallest * 0.999
        assert not conformal.reaches(below)
        with pytest.raises(InputError, match="smallest"):
            conformal.threshold(below)


def test_the_advice_of_an_unreachable_alpha_is_right() -> None:
    with pytest.raises(InputError, match="at least 99 rows"):
        Conformal(np.arange(50.0)).threshold(0.01)
    assert Conformal(np.arange(99.0)).reaches(0.01)
    assert not Conformal(np.arange(98.0)).reaches(0.01)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf"), "0.1", None])
def test_alpha_outside_the_open_interval_is_refused(alpha: object) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        Conformal(np.arange(9.0)).threshold(alpha)  # type: ignore[arg-type]


def test_any_real_number_is_an_alpha() -> None:
    conformal = Conformal(np.arange(99.0))
    assert conformal.threshold(np.float32(0.25)) == conformal.threshold(0.25)


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")]])
def test_scores_that_cannot_calibrate_are_refused(scores: list[float]) -> None:
    with pytest.raises(InputError, match="calibration"):
        Conformal(np.array(scores))
