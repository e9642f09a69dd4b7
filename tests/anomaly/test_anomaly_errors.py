"""Measured errors of a detector, against scipy, scikit-learn and exact enumeration."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from jensen._errors import InputError
from jensen.anomaly.errors import auroc, binomial_interval, roc_curve


def labelled(normal, anomaly):
    """Return labels (1 = anomaly) and scores in scikit-learn's direction (higher = anomaly)."""
    return np.r_[np.zeros(len(normal)), np.ones(len(anomaly))], -np.r_[normal, anomaly]


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (3, 40), (13, 284)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_binomial_interval_is_clopper_pearson(k, n, level):
    expected = stats.binomtest(k, n).proportion_ci(level, method="exact")
    assert binomial_interval(k, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("p", [0.01, 0.05, 0.3, 0.5])
def test_binomial_interval_covers_at_least_its_level(p):
    n = 60
    hits = [low <= p <= high for low, high in (binomial_interval(k, n) for k in range(n + 1))]
    assert stats.binom.pmf(np.flatnonzero(hits), n, p).sum() >= 0.95


@pytest.mark.parametrize(
    ("k", "n", "level"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1)]
)
def test_binomial_interval_refuses_nonsense(k, n, level):
    with pytest.raises(InputError):
        binomial_interval(k, n, level)


@pytest.mark.parametrize("decimals", [8, 1, 0])  # fewer decimals, more ties
def test_auroc_and_curve_agree_with_sklearn(decimals):
    rng = np.random.default_rng(decimals)
    normal = rng.normal(1.0, 1.0, 150).round(decimals)
    anomaly = rng.normal(0.0, 1.5, 90).round(decimals)
    label, score = labelled(normal, anomaly)
    assert auroc(normal, anomaly)[0] == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    fpr, tpr, _ = sklearn_roc_curve(label, score, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(normal, anomaly), (fpr, tpr), atol=1e-12)
    assert np.trapezoid(tpr, fpr) == pytest.approx(auroc(normal, anomaly)[0], abs=1e-12)


def test_auroc_error_matches_the_spread_over_repetitions():
    rng = np.random.default_rng(0)
    runs = [auroc(rng.normal(1, 1, 60), rng.normal(0, 1, 40)) for _ in range(1500)]
    values, errors = np.array(runs).T
    assert np.mean(errors) == pytest.approx(values.std(), rel=0.08)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    assert values.mean() == pytest.approx(truth, abs=4 * values.std() / np.sqrt(len(runs)))


def test_delong_error_by_its_definition():
    normal, anomaly = np.array([3.0, 2.0, 1.0, 0.5]), np.array([0.0, 0.7, 2.0])
    wins = (anomaly[:, None] < normal) + 0.5 * (anomaly[:, None] == normal)
    variance = wins.mean(0).var(ddof=1) / 4 + wins.mean(1).var(ddof=1) / 3
    assert auroc(normal, anomaly) == pytest.approx((wins.mean(), np.sqrt(variance)))


def test_auroc_direction_and_extremes():
    assert auroc([2.0, 3.0], [0.0, 1.0]) == (1.0, 0.0)
    assert auroc([0.0, 1.0], [2.0, 3.0]) == (0.0, 0.0)
    assert auroc([1.0, 1.0], [1.0, 1.0])[0] == 0.5


def test_minus_infinity_is_an_ordinary_lowest_score():
    assert auroc([1.0, 2.0], [-np.inf, -np.inf])[0] == 1.0
    assert auroc([1.0, -np.inf], [-np.inf, -np.inf])[0] == 0.75
    fpr, tpr = roc_curve([1.0, -np.inf], [-np.inf, 0.0])
    assert fpr.tolist() == [0.0, 0.5, 0.5, 1.0]
    assert tpr.tolist() == [0.0, 0.5, 1.0, 1.0]


def test_one_row_on_a_side_has_no_error():
    value, se = auroc([1.0], [0.0, 2.0])
    assert value == 0.5
    assert np.isnan(se)


@pytest.mark.parametrize("measure", [auroc, roc_curve])
@pytest.mark.parametrize(("normal", "anomaly"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0])])
def test_empty_and_nan_are_refused(measure, normal, anomaly):
    with pytest.raises(InputError, match="scores"):
        measure(normal, anomaly)
