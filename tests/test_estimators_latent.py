"""Latent-variable models with scikit-learn's conventions: gaps, codes, imputation, types."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from jensen.estimators import AnomalyDetector, IWAEDensity, VAEDensity

TINY = {"width": 8, "depth": 1, "epochs": 3, "random_state": 0, "score_particles": 30}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 1)) + 0.3 * RNG.normal(size=(200, 3))
GAPS = np.where(RNG.uniform(size=X.shape) < 0.2, np.nan, X)


@pytest.fixture(scope="module")
def fitted() -> VAEDensity:
    return VAEDensity(**TINY).fit(GAPS)


@pytest.mark.slow
@pytest.mark.parametrize("density", [VAEDensity, IWAEDensity])
def test_it_conforms(density: type) -> None:
    check_estimator(density(**{**TINY, "epochs": 1}))


def test_gaps_are_scored_coded_and_filled(fitted: VAEDensity) -> None:
    assert np.all(np.isfinite(fitted.score_samples(GAPS)))
    assert fitted.transform(GAPS).shape == (200, 2)
    full = fitted.impute(GAPS)
    seen = ~np.isnan(GAPS)
    assert not np.isnan(full).any()
    np.testing.assert_array_equal(full[seen], GAPS[seen])
    error = np.sqrt(np.mean((full - X)[~seen] ** 2))
    mean = np.sqrt(np.mean((np.nanmean(GAPS, axis=0) - X)[np.where(~seen)[0]] ** 2))
    assert error < 0.7 * mean  # one factor: the other columns say most of a cell


def test_a_row_is_scored_alone(fitted: VAEDensity) -> None:
    rows = np.concatenate([GAPS + 0.1 * shift for shift in range(10)])
    scores, order = fitted.score_samples(rows), np.random.default_rng(1).permutation(len(rows))
    np.testing.assert_array_equal(fitted.score_samples(rows[5:6]), scores[5:6])
    np.testing.assert_array_equal(fitted.score_samples(rows[order]), scores[order])


def test_pickles_clones_and_seeds(fitted: VAEDensity) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.score_samples(GAPS), fitted.score_samples(GAPS))
    assert np.array_equal(again.sample(5), fitted.sample(5))
    assert clone(fitted).get_params() == fitted.get_params()


def test_an_iwae_of_a_mixed_frame_gives_its_types_back() -> None:
    frame = pd.DataFrame(
        {
            "height": X[:, 0],
            "visits": RNG.poisson(2.0, 200),
            "smokes": RNG.uniform(size=200) < 0.3,
            "city": RNG.choice(["oslo", "rome"], 200),
        }
    )
    frame.loc[3, ["height", "city"]] = [np.nan, None]
    model = IWAEDensity(n_particles=2, **TINY).fit(frame)
    rows = model.sample(50)
    assert set(rows["city"]) <= {"oslo", "rome"}
    assert rows["visits"].dtype.kind == "i"
    assert rows["visits"].min() >= 0
    assert rows["smokes"].dtype == bool
    assert model.impute(frame)["city"][3] in {"oslo", "rome"}


def test_it_is_a_density_of_the_detector() -> None:
    detector = AnomalyDetector(VAEDensity(**TINY), alpha=0.1).fit(X)
    assert detector.predict(np.full((1, 3), 30.0))[0] == -1


def test_bad_options_and_rows_are_refused() -> None:
    for options, said in (
        ({"prior": "standart"}, "standard"),
        ({"gradient": "vimco"}, "VIMCO"),
        ({"likelihood": "bernoulli"}, "likelihood"),
    ):
        with pytest.raises(ValueError, match=said):
            VAEDensity(**{**TINY, **options}).fit(X)
    with pytest.raises(ValueError, match="missing"):
        VAEDensity(**TINY).fit(np.column_stack([X, np.full(200, np.nan)]))
