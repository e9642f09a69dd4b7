"""Cross-conformal p-values: their bounds, over all orders of small tables and in the worst case."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from jensen._errors import InputError
from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.cross import CrossConformal


def nearest(train: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A score that leans hard on its training rows: minus the distance to the nearest."""
    return -np.abs(x[:, None] - train[None, :]).min(1)


def cross_of(x: np.ndarray, fold_of: np.ndarray, new: np.ndarray, score=nearest):
    """Return the calibration and the new rows' scores under every fold's density."""
    folds = np.arange(fold_of.max() + 1)
    out = np.empty(len(x))
    for k in folds:
        out[fold_of == k] = score(x[fold_of != k], x[fold_of == k])
    scores = np.stack([score(x[fold_of != k], new) for k in folds], axis=1)
    return CrossConformal.of(out, fold_of), scores


def test_p_values_are_the_formula() -> None:
    rng = np.random.default_rng(0)
    out, fold_of = rng.integers(0, 5, 23).astype(float), np.arange(23) % 4
    scores = rng.integers(-1, 6, (40, 4)).astype(float)
    expected = [(1 + sum(out[i] <= row[fold_of[i]] for i in range(23))) / 24 for row in scores]
    cross = CrossConformal.of(out, fold_of)
    np.testing.assert_array_equal(cross.p_values(scores), expected)
    for alpha in (1 / 24, 0.1, 0.25, 0.5):
        by_p = cross.p_values(scores) <= alpha + 1e-12
        np.testing.assert_array_equal(cross.flags(scores, alpha), by_p)


def test_one_fold_is_split_conformal() -> None:
    rng = np.random.default_rng(1)
    calibration, new = rng.normal(size=99), rng.normal(size=50)
    cross = CrossConformal((calibration,))
    expected = Conformal(calibration).p_values(new)
    np.testing.assert_array_equal(cross.p_values(new[:, None]), expected)
    assert cross.bound(0.05) == 0.05
    assert cross.smallest_alpha == 0.01


@pytest.mark.parametrize("n_folds", [2, 3, 6])
def test_the_bound_holds_given_any_multiset(n_folds: int) -> None:
    """Given the n + 1 values, all their orders are equally likely: P(p ≤ a/(n+1)) by trying every
    choice of the new row and every division of the others into folds, for 60 sets of values."""
    rng, n = np.random.default_rng(2), 6
    divisions = set(itertools.permutations(np.arange(n) * n_folds // n))
    divisions = {d for d in divisions if list(dict.fromkeys(d)) == sorted(set(d))}  # names aside
    for _ in range(60):
        values, ps = rng.standard_t(1, n + 1), []
        for new, division in itertools.product(range(n + 1), divisions):
            rest = np.delete(values, new)
            cross, scores = cross_of(rest, np.array(division), values[new : new + 1])
            ps.append(cross.p_values(scores)[0])
        for a in range(1, n + 1):
            chance = np.mean(np.array(ps) <= a / (n + 1) + 1e-12)
            assert chance <= cross.bound(a / (n + 1)) + 1e-12


@pytest.mark.parametrize("a", [1, 2, 3])
def test_the_bound_of_the_jackknife_is_attained(a: int) -> None:
    """2a − 1 of n + 1 rows lose to all others and to a half of each other: all have p = a/(n+1).

    A density trained without rows i and j may order these two as it likes, so any tournament is
    one that an algorithm may play: the chance (2a − 1)/(n + 1) is reached.
    """
    n, strange = 11, 2 * a - 1

    def loses(i: int, j: int) -> bool:  # does i score below j without both?
        if i < strange and j < strange:
            return (j - i) % strange <= (strange - 1) // 2
        return i < strange or (j >= strange and i < j)

    ps = []
    for new in range(n + 1):
        rest = [i for i in range(n + 1) if i != new]
        cross = CrossConformal(tuple(np.array([float(not loses(i, new))]) for i in rest))
        scores = np.array([[float(not loses(new, i)) for i in rest]])
        ps.append(cross.p_values(scores)[0])
    assert np.mean(np.array(ps) <= a / (n + 1) + 1e-12) == pytest.approx(strange / (n + 1))
    assert cross.bound(a / (n + 1)) == pytest.approx(strange / (n + 1))


def test_bounds_are_those_of_the_papers() -> None:
    """Never above 2α + min{2(1−1/K)/(n/K+1), (1−K/n)/(K+1)}; unequal folds have the first alone."""
    for n, k in ((100, 5), (100, 20), (100, 100), (60, 2)):
        cross = CrossConformal.of(np.zeros(n), np.arange(n) % k)
        for alpha in (0.05, 0.1, 0.2):
            extra = min(2 * (1 - 1 / k) / (n / k + 1), (1 - k / n) / (k + 1))
            assert alpha < cross.bound(alpha) <= 2 * alpha + extra
    uneven = CrossConformal.of(np.zeros(101), np.arange(101) % 5)
    assert uneven.bound(0.1) == pytest.approx(2 * (10 + 4) / 106)


def test_the_usual_rate_is_close_to_alpha() -> None:
    """A normal density on n = 49 rows in 7 folds, α = 10%: 3,000 tables with one new row each.

    The guarantee is 26.8%; the band around α is 4.4 standard errors of 3,000 draws (2.4 points),
    and half a point for the price of reuse, which is of order 1/n² for so smooth a density.
    """
    rng, tables = np.random.default_rng(3), 3000

    def gaussian(train: np.ndarray, x: np.ndarray) -> np.ndarray:
        return -0.5 * ((x - train.mean()) / train.std()) ** 2 - np.log(train.std())

    alarms = 0
    for _ in range(tables):
        x = rng.normal(size=50)
        cross, scores = cross_of(x[:49], np.arange(49) % 7, x[49:], gaussian)
        alarms += int(cross.flags(scores, 0.1)[0])
    low, high = binom.ppf([5e-6, 1 - 5e-6], tables, 0.1) / tables
    assert low - 0.005 <= alarms / tables <= high + 0.005
    assert cross.bound(0.1) == pytest.approx((2 * 5 + 7 - 2) / 56)
    assert "at most 26.8%" in cross.promise(0.1)
    assert "close to 10%" in cross.promise(0.1)


def test_ties_and_impossible_rows() -> None:
    cross = CrossConformal((np.array([-np.inf, 0.0]), np.array([0.0, 0.0])))
    assert cross.p_values(np.array([[0.0, 0.0], [-np.inf, -np.inf]])).tolist() == [1.0, 0.4]


def test_bad_input_is_refused() -> None:
    cross = CrossConformal.of(np.zeros(9), np.arange(9) % 3)
    with pytest.raises(InputError, match="shape \\(rows, 3\\)"):
        cross.p_values(np.zeros((4, 2)))
    with pytest.raises(InputError, match="at least 19 rows"):
        cross.bound(0.05)
    for folds in ((), (np.array([]),), (np.array([np.nan]),)):
        with pytest.raises(InputError, match="folds of scores"):
            CrossConformal(folds)
    with pytest.raises(InputError, match="needs its fold"):
        CrossConformal.of(np.zeros(3), np.zeros(2, int))
