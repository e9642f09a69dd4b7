"""The scikit-learn face: its conventions, across the option sets."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import check_estimator

from jensen._errors import InputError
from jensen.data.split import calibration_size
from jensen.estimators import AnomalyDetector, FlowDensity
from jensen.models.families import ARCHITECTURES

TINY: dict[str, Any] = {"epochs": 1, "members": 1, "n_layers": 1, "width": 8, "depth": 1}

ROWS = np.random.default_rng(0).normal(size=(200, 3)) @ np.array(
    [[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]
)


def flow(**changes: Any) -> FlowDensity:
    return FlowDensity(**{**TINY, "random_state": 0, **changes})


def conforms(estimator: Any) -> None:
    """Assert that every check of scikit-learn passes; one is skipped, for want of array-API."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    bad = [
        f"{r['check_name']}: {r['status']} {r['exception']!r}"
        for r in results
        if r["status"] != "passed" and r["check_name"] != "check_array_api_input"
    ]
    assert len(results) > 35
    assert bad == []


@pytest.mark.slow
def test_flow_density_conforms() -> None:
    conforms(FlowDensity(**TINY))


@pytest.mark.slow
@pytest.mark.parametrize("tails", ["normal", "student-t"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_flow_density_conforms_in_every_form(architecture: str, tails: str) -> None:
    conforms(FlowDensity(architecture=architecture, tails=tails, **TINY))


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
@pytest.mark.parametrize("density", [GaussianMixture(1), KernelDensity()], ids=str)
def test_detector_conforms(density: Any, alpha: float) -> None:
    conforms(AnomalyDetector(density, alpha=alpha))


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_detector_of_a_flow_conforms(architecture: str, alpha: float) -> None:
    conforms(AnomalyDetector(FlowDensity(architecture=architecture, **TINY), alpha=alpha))


@pytest.fixture(scope="module")
def fitted() -> FlowDensity:
    return flow().fit(ROWS)


def test_a_pickle_scores_and_samples_the_same(fitted: FlowDensity) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(ROWS), fitted.score_samples(ROWS))
    np.testing.assert_array_equal(again.sample(5), fitted.sample(5))
    detector = AnomalyDetector(fitted, alpha=0.05, random_state=0).fit(ROWS)
    same = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(same.p_values(ROWS), detector.p_values(ROWS))


def test_random_state_is_all_the_randomness(fitted: FlowDensity) -> None:
    again, other = flow().fit(ROWS), flow(random_state=1).fit(ROWS)
    np.testing.assert_array_equal(again.score_samples(ROWS), fitted.score_samples(ROWS))
    assert not np.array_equal(other.score_samples(ROWS), fitted.score_samples(ROWS))
    generators = [flow(random_state=np.random.RandomState(3)).fit(ROWS) for _ in range(2)]
    np.testing.assert_array_equal(*(g.score_samples(ROWS) for g in generators))
    np.testing.assert_array_equal(fitted.sample(4, 7), fitted.sample(4, 7))
    assert not np.array_equal(fitted.sample(4, 7), fitted.sample(4, 8))
    with pytest.raises(InputError, match="seed"):
        flow(random_state=-1).fit(ROWS)


def test_the_detector_seeds_a_density_that_has_no_seed() -> None:
    p = [
        AnomalyDetector(flow(random_state=None), alpha=0.1, random_state=seed).fit(ROWS)
        for seed in (5, 5, 6)
    ]
    scores = [detector.score_samples(ROWS) for detector in p]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_clone_and_parameters() -> None:
    detector = AnomalyDetector(flow(bins=5), alpha=0.02)
    copy = clone(detector).set_params(estimator__bins=6, alpha=0.03)
    assert copy.get_params()["estimator__bins"] == 6
    assert (detector.estimator.bins, detector.alpha) == (5, 0.02)
    assert flow(tails="student-t").get_params()["tails"] == "student-t"


def test_fit_leaves_the_given_density_alone() -> None:
    given = flow()
    AnomalyDetector(given, alpha=0.1, random_state=0).fit(ROWS)
    with pytest.raises(NotFittedError):
        given.score_samples(ROWS)


def test_frames_score_as_arrays(fitted: FlowDensity) -> None:
    expected = fitted.score_samples(ROWS)
    for frame in (pd.DataFrame(ROWS, columns=list("abc")), pl.DataFrame(ROWS, list("abc"))):
        density = flow().fit(frame)
        assert density.feature_names_in_.tolist() == ["a", "b", "c"]
        np.testing.assert_array_equal(density.score_samples(frame), expected)
    with pytest.raises(ValueError, match="feature names"):
        density.score_samples(pd.DataFrame(ROWS, columns=list("abd")))


@pytest.mark.slow
def test_columns_of_text_are_categories() -> None:
    colour = np.random.default_rng(1).choice(["blue", "red"], 200, p=[0.9, 0.1])
    frame = pd.DataFrame({"a": ROWS[:, 0], "colour": colour})
    density = flow(epochs=400, learning_rate=0.01).fit(frame)
    drawn = density.sample(50)
    assert set(drawn) == {"a", "colour"}
    assert set(drawn["colour"]) <= {"blue", "red"}
    scores = density.score_samples(pd.DataFrame({"a": [0.0, 0.0], "colour": ["blue", "red"]}))
    assert scores[0] > scores[1]
    detector = AnomalyDetector(flow(), alpha=0.1, random_state=0).fit(frame)
    np.testing.assert_array_equal(
        detector.p_values(frame), detector.p_values(pl.from_pandas(frame))
    )
    with pytest.raises(ValueError, match="'green'"):
        density.score_samples(pd.DataFrame({"a": [0.0], "colour": ["green"]}))


def test_bad_options_are_value_errors() -> None:
    bad = ({"architecture": "splin"}, {"bins": 1}, {"epochs": 0}, {"learning_rate": -1.0})
    for options in bad:
        with pytest.raises(ValueError, match=next(iter(options))):
            flow(**options).fit(ROWS)
    for alpha in (0.0, 1.0, -0.1, float("nan"), "0.1"):
        with pytest.raises(ValueError, match="alpha"):
            AnomalyDetector(GaussianMixture(), alpha=alpha).fit(ROWS)  # type: ignore[arg-type]


@pytest.mark.slow
def test_grid_search_prefers_the_better_density() -> None:
    """Heavier training wins: one epoch leaves a standardised Gaussian, forty find the two modes."""
    rng = np.random.default_rng(2)
    rows = np.where(rng.random(300) < 0.5, -4.0, 4.0)[:, None] + rng.normal(size=(300, 1))
    search = GridSearchCV(flow(width=16, learning_rate=0.01), {"epochs": [1, 60]}, cv=2).fit(rows)
    assert search.best_params_ == {"epochs": 60}


def test_scores_are_a_density_in_the_units_of_the_data(fitted: FlowDensity) -> None:
    """Rows in other units have densities in other units: log p shifts by the log of the scale."""
    scaled = flow().fit(ROWS * np.array([1000.0, 1.0, 0.01]))
    shift = np.log(1000.0) + np.log(0.01)
    np.testing.assert_allclose(
        scaled.score_samples(ROWS * np.array([1000.0, 1.0, 0.01])) + shift,
        fitted.score_samples(ROWS),
        atol=1e-4,  # float32 of a D = 3 flow, after other roundings of the standardisation
    )


def test_detector_is_its_p_values() -> None:
    detector = AnomalyDetector(GaussianMixture(2, random_state=0), alpha=0.05, random_state=1)
    detector.fit(ROWS)
    far = np.concatenate([ROWS, ROWS + 9.0])
    p = detector.p_values(far)
    flagged = detector.predict(far) == -1
    np.testing.assert_array_equal(flagged, p <= 0.05 + 1e-12)
    np.testing.assert_array_equal(flagged, detector.decision_function(far) < 0)
    np.testing.assert_array_equal(flagged, detector.score_samples(far) < detector.offset_)
    assert flagged[200:].all()
    assert detector.n_calibration_ == calibration_size(200, 0.05) == 79


def test_an_unreachable_alpha_warns_and_flags_nothing() -> None:
    detector = AnomalyDetector(GaussianMixture(1), alpha=0.001, random_state=0)
    with pytest.warns(UserWarning, match="no row will be flagged"):
        detector.fit(ROWS)
    far = np.full((3, 3), 1e6)
    assert (detector.predict(far) == 1).all()
    assert (detector.p_values(far) > 0.001).all()
    assert detector.offset_ == -np.inf
    assert (detector.decision_function(far) >= 0).all()


def false_alarms(rows: np.ndarray, n_fit: int, seed: int, **options: Any) -> float:
    """Return the share of held-out normal rows flagged at α = 0.05."""
    order = np.random.default_rng(seed).permutation(len(rows))
    detector = AnomalyDetector(FlowDensity(**{**TINY, **options}), alpha=0.05, random_state=seed)
    detector.fit(rows[order[:n_fit]])
    return float(np.mean(detector.predict(rows[order[n_fit:]]) == -1))


@pytest.mark.slow
def test_false_alarms_on_benign_tumours() -> None:
    """357 benign cases, 250 to fit (39 calibrate), 107 held out, 60 splits.

    One split's share has sd √(0.05 · 0.95/41 + 0.05/107) = 0.040, the mean of 60 has 0.0052:
    a valid detector leaves [0.03, 0.07] once in 9,000 tries, and these splits are fixed.
    """
    data = load_breast_cancer()
    benign = data.data[data.target == 1]
    shares = [false_alarms(benign, 250, seed) for seed in range(60)]
    assert 0.03 <= np.mean(shares) <= 0.07


@pytest.mark.slow
def test_false_alarms_on_digits() -> None:
    """1,797 digits, 1,000 to fit (199 calibrate), 797 held out, 12 splits.

    One split's share has sd √(0.05 · 0.95/201 + 0.05/797) = 0.0173, the mean of 12 has 0.005.
    """
    digits = load_digits().data
    shares = [false_alarms(digits, 1000, seed) for seed in range(12)]
    assert 0.03 <= np.mean(shares) <= 0.07
