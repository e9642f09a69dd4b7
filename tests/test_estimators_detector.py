"""The detector's rules, rates, explanations and faces, on densities that cost nothing to fit."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jensen._errors import InputError
from jensen.anomaly.errors import auroc
from jensen.estimators import AnomalyDetector, PooledDensity, PyODDetector
from test_estimators import conforms

QUICK = {"epochs": 1}


class Normal(BaseEstimator):
    """Independent normal columns: a density without randomness or cost."""

    def fit(self, X: Any, y: Any = None) -> Normal:
        X = np.asarray(X)
        self.mean_, self.scale_ = X.mean(axis=0), X.std(axis=0) + 1e-9
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        return stats.norm.logpdf(np.asarray(X), self.mean_, self.scale_).sum(axis=1)


def rows(n: int, seed: int, dim: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim))


def false_alarms(detector: AnomalyDetector, seed: int) -> float:
    return float(np.mean(detector.predict(rows(4000, 10_000 + seed)) == -1))


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_the_conformal_rate_lies_in_its_band_over_200_splits(alpha: float) -> None:
    """The mean of 200 Beta(k, n+1-k) rates within 4 standard errors: fails 1 time in 16,000."""
    rates, sizes = [], []
    for seed in range(200):
        detector = AnomalyDetector(Normal(), alpha=alpha, random_state=seed).fit(rows(700, seed))
        rates.append(false_alarms(detector, seed))
        sizes.append(detector.n_calibration_)
    n = sizes[0]
    k = int(alpha * (n + 1) + 1e-9)
    expected, spread = k / (n + 1), np.sqrt(k * (n + 1 - k) / (n + 2)) / (n + 1)
    counting = np.sqrt(alpha * (1 - alpha) / 4000)
    assert abs(np.mean(rates) - expected) < 4 * np.hypot(spread, counting) / np.sqrt(200)
    assert expected <= alpha + 1e-12


def test_the_conditional_rule_holds_in_95_of_100_splits() -> None:
    """Each split holds with chance at least 0.95; fewer than 180 of 200 has chance below 0.2%."""
    held = 0
    for seed in range(200):
        detector = AnomalyDetector(Normal(), alpha=0.1, rule="conditional", random_state=seed)
        detector.fit(rows(700, seed))
        held += false_alarms(detector, seed) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 4000)
    assert held >= 180


def test_alpha_and_rule_change_after_the_fit() -> None:
    detector = AnomalyDetector(Normal(), alpha=0.1, random_state=0).fit(rows(700, 0))
    new = rows(2000, 1)
    counts = [
        int(np.sum(detector.set_params(alpha=a).predict(new) == -1)) for a in (0.2, 0.1, 0.02)
    ]
    assert counts[0] > counts[1] > counts[2] > 0
    detector.set_params(alpha=0.1, rule="conditional")
    assert np.sum(detector.predict(new) == -1) < counts[1]
    assert "95%" in detector.promise()
    for rule in ("conformal", "conditional", "quantile", "mean-sigma"):
        detector.set_params(rule=rule)
        flagged = detector.predict(new) == -1
        np.testing.assert_array_equal(flagged, detector.p_values(new) <= 0.1)


def test_cross_calibration_uses_every_row() -> None:
    small = rows(60, 3)
    detector = AnomalyDetector(Normal(), alpha=0.05, calibration="cross", random_state=0).fit(small)
    assert detector.n_calibration_ == 60
    new = rows(4000, 4)
    flagged = detector.predict(new) == -1
    np.testing.assert_array_equal(flagged, detector.p_values(new) <= 0.05)
    assert 0.005 < flagged.mean() < 0.12
    assert "whatever the densities" in detector.promise()
    assert np.all(detector.predict(np.full((3, 3), 20.0)) == -1)
    with pytest.raises(AttributeError, match="p_values"):
        _ = detector.offset_


def test_discoveries_are_mostly_true() -> None:
    """Mean false discovery proportion of 100 batches: at most 10%, with 3 standard errors."""
    shares = []
    for seed in range(100):
        detector = AnomalyDetector(Normal(), random_state=seed).fit(rows(2500, seed))
        batch = np.concatenate([rows(180, seed + 500), rows(20, seed + 900) + 6.0])
        found = detector.discoveries(batch, 0.1)
        shares.append(found[:180].sum() / max(found.sum(), 1))
        assert found[180:].mean() > 0.5
    assert np.mean(shares) < 0.1 + 3 * np.std(shares) / 10


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"rule": "conformel"}, "rule"),
        ({"calibration": "jackknife"}, "calibration"),
        ({"suspected": 0.7}, "suspected"),
        ({"calibration": "cross", "rule": "conditional"}, "calibration"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        AnomalyDetector(Normal(), **options).fit(rows(50, 0))


def test_labels_passed_by_mistake_are_remarked_on() -> None:
    with pytest.warns(UserWarning, match="labels are not used"):
        AnomalyDetector(Normal(), random_state=0).fit(rows(50, 0), np.arange(50) % 2)


def test_contamination_finds_planted_rows() -> None:
    normal, odd = rows(570, 0), rows(30, 1) + 7.0
    mixed = np.concatenate([normal, odd])
    plain = AnomalyDetector(Normal(), alpha=0.05, random_state=0).fit(mixed)
    robust = AnomalyDetector(Normal(), alpha=0.05, suspected=0.05, random_state=0).fit(mixed)
    assert np.mean(np.isin(np.arange(570, 600), robust.suspects_)) > 0.5  # others calibrate
    missed = [np.mean(d.predict(rows(1000, 5) + 7.0) == 1) for d in (plain, robust)]
    assert missed[1] < 0.01 < missed[0]
    assert false_alarms(robust, 7) < 0.1 + 0.05
    assert "0.05 more" in robust.promise()


@pytest.fixture(scope="module")
def pooled() -> AnomalyDetector:
    density = PooledDensity(epochs=20, random_state=0)
    return AnomalyDetector(density, alpha=0.1, random_state=0).fit(rows(300, 0))


def test_contributions_sum_to_the_score(pooled: AnomalyDetector) -> None:
    new = np.concatenate([rows(5, 1), [[0.0, 6.0, 0.0]]])
    found = pooled.explain(new)
    scores = pooled.score_samples(new)
    np.testing.assert_allclose(found.contributions.sum(axis=1), scores, rtol=1e-5)
    assert found.contributions[5].argmin() == 1


@pytest.mark.slow
def test_a_pooled_detector_pickles_and_scores_rows_one_by_one(pooled: AnomalyDetector) -> None:
    new = rows(40, 2)
    together = pooled.score_samples(new)
    alone = np.concatenate([pooled.score_samples(new[i : i + 1]) for i in range(40)])
    np.testing.assert_array_equal(together, alone)
    again = pickle.loads(pickle.dumps(pooled))
    np.testing.assert_array_equal(again.score_samples(new), together)


def test_a_new_value_in_a_constant_column_is_flagged_and_ranked() -> None:
    table = np.column_stack([rows(200, 0), np.full(200, 7.0)])
    detector = AnomalyDetector(PooledDensity(epochs=2), alpha=0.1, random_state=0).fit(table)
    new = table[:4].copy()
    new[1:3, 3] = 8.0
    new[2, 0] = 30.0
    scores = detector.score_samples(new)
    assert detector.predict(new)[1:3].tolist() == [-1, -1]
    assert np.isfinite(scores).all()
    assert scores[2] < scores[1] < min(scores[0], scores[3])
    found = detector.explain(new)
    np.testing.assert_allclose(found.contributions.sum(axis=1), scores, rtol=1e-5)
    assert found.contributions[1].argmin() == 3


@pytest.mark.slow
def test_tables_with_categories_are_explained_too() -> None:
    rng = np.random.default_rng(0)
    colour = np.where(rng.random(200) < 0.5, "red", "blue")
    table = pd.DataFrame({"size": rng.normal(size=200) + 8 * (colour == "red"), "colour": colour})
    detector = AnomalyDetector(PooledDensity(epochs=5), alpha=0.1, random_state=0).fit(table)
    odd = pd.DataFrame({"size": [0.0, 8.0], "colour": ["red", "red"]})
    found = detector.explain(odd)
    np.testing.assert_allclose(found.contributions.sum(axis=1), detector.score_samples(odd), 1e-5)
    assert found.flagged.tolist() == [True, False]
    assert "size" in found.sentences()[0] or "colour" in found.sentences()[0]


@pytest.mark.slow
def test_permuted_names_of_a_category_change_no_score() -> None:
    rng = np.random.default_rng(1)
    code = rng.integers(0, 3, 150)
    numbers = rng.normal(size=150) + 3.0 * code
    scores = []
    for names in (["a", "b", "c"], ["b", "c", "a"]):
        table = pd.DataFrame({"x": numbers, "c": np.array(names)[code]})
        detector = AnomalyDetector(PooledDensity(epochs=1), alpha=0.1, random_state=0).fit(table)
        scores.append(detector.score_samples(table))
    np.testing.assert_array_equal(*scores)


def test_the_self_check_speaks_where_constant_inputs_score_high(pooled: AnomalyDetector) -> None:
    assert all("own samples" not in remark for remark in pooled.self_check())
    wide = AnomalyDetector(Normal(), random_state=0).fit(rows(300, 0, dim=30))
    assert "prefers constant inputs" in wide.self_check()[0]


def test_pipelines_and_grid_search() -> None:
    pipe = make_pipeline(StandardScaler(), AnomalyDetector(Normal(), alpha=0.1, random_state=0))
    assert set(pipe.fit(rows(200, 0)).predict(rows(50, 1))) <= {1, -1}
    truth = np.array([1] * 150 + [-1] * 10)
    mixed = np.concatenate([rows(150, 0), rows(10, 1) + 9.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = GridSearchCV(
            AnomalyDetector(Normal(), random_state=0), {"alpha": [0.02, 0.1]}, scoring="accuracy"
        ).fit(mixed, truth)
    assert search.best_params_["alpha"] in (0.02, 0.1)


def test_the_pyod_face_has_pyods_signs() -> None:
    normal, odd = rows(400, 0), rows(50, 1) + 8.0
    detector = PyODDetector(AnomalyDetector(Normal(), random_state=0), contamination=0.05)
    detector.fit(normal)
    scores = detector.decision_function(np.concatenate([normal, odd]))
    assert auroc(-scores[:400], -scores[400:])[0] > 0.999
    assert set(detector.labels_) == {0, 1}
    assert detector.predict(odd).tolist() == [1] * 50
    np.testing.assert_array_equal(detector.decision_scores_, scores[:400])
    np.testing.assert_array_equal(detector.labels_, scores[:400] > detector.threshold_)
    proba = detector.predict_proba(odd)
    assert proba.shape == (50, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert detector.fit_predict(normal).shape == (400,)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.1, 0.05])
def test_the_pooled_detector_conforms(alpha: float) -> None:
    conforms(AnomalyDetector(PooledDensity(**QUICK), alpha=alpha))


@pytest.mark.slow
def test_the_pooled_density_conforms() -> None:
    conforms(PooledDensity(**QUICK))
