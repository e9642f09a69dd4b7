"""GANSampler: scikit-learn's conventions, rows in the data's units, rows with given values."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from jensen._errors import InputError
from jensen.estimators import GANSampler

TINY: dict[str, Any] = {"epochs": 1, "width": 8, "depth": 1}
ROWS = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 10.0, 0.1] + [0.0, 50.0, -3.0]
FRAME = pd.DataFrame(
    {
        "size": ROWS[:, 0],
        "count": np.random.default_rng(1).poisson(3, 200),
        "city": np.random.default_rng(2).choice(["rome", "oslo"], 200),
    }
)


def gan(**changes: Any) -> GANSampler:
    return GANSampler(**{**TINY, "random_state": 0, **changes})


@pytest.fixture(scope="module")
def fitted() -> GANSampler:
    return gan().fit(ROWS)


@pytest.mark.slow
def test_it_conforms() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(GANSampler(**TINY), on_fail=None, on_skip=None)
    bad = [
        f"{r['check_name']}: {r['status']} {r['exception']!r}"
        for r in results
        if r["status"] != "passed" and r["check_name"] != "check_array_api_input"
    ]
    assert len(results) > 25
    assert bad == []


def test_samples_are_rows_in_the_datas_units(fitted: GANSampler) -> None:
    rows = fitted.sample(300)
    assert rows.shape == (300, 3)
    assert (rows >= ROWS.min(axis=0)).all()
    assert (rows <= ROWS.max(axis=0)).all()
    # the start is the best Gaussian: 4.5 standard errors of both means, a false alarm in 10,000
    error = ROWS.std(axis=0) * (1 / 300 + 1 / 200) ** 0.5
    assert (np.abs(rows.mean(axis=0) - ROWS.mean(axis=0)) < 4.5 * error).all()


def test_random_state_is_all_the_randomness(fitted: GANSampler) -> None:
    np.testing.assert_array_equal(gan().fit(ROWS).sample(9), fitted.sample(9))
    assert not np.array_equal(gan(random_state=1).fit(ROWS).sample(9), fitted.sample(9))
    np.testing.assert_array_equal(fitted.sample(4, 7), fitted.sample(4, 7))
    assert not np.array_equal(fitted.sample(4, 7), fitted.sample(4, 8))
    np.testing.assert_array_equal(fitted.sample(4, 7), fitted.sample(9, 7)[:4])
    with pytest.raises(InputError, match="seed"):
        gan(random_state=-1).fit(ROWS)


def test_a_pickle_is_the_same_sampler(fitted: GANSampler) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.sample(5), fitted.sample(5))
    np.testing.assert_array_equal(again.discriminate(ROWS), fitted.discriminate(ROWS))


def test_clone_and_parameters(fitted: GANSampler) -> None:
    copy = clone(fitted).set_params(packing=2)
    assert not hasattr(copy, "gan_")
    assert (copy.packing, fitted.packing) == (2, 1)
    assert copy.get_params()["width"] == 8
    with pytest.raises(NotFittedError):
        copy.sample(1)
    with pytest.raises(InputError, match="unknown loss"):
        gan(loss="nonsense").fit(ROWS)


def test_the_discriminator_is_kept(fitted: GANSampler) -> None:
    logits = fitted.discriminate(ROWS)
    assert logits.shape == (200,)
    np.testing.assert_array_equal(fitted.discriminate(ROWS), logits)
    assert not hasattr(fitted, "score_samples")  # a GAN gives no log p


def test_mixed_frames_and_given_values() -> None:
    sampler = gan().fit(FRAME)
    rows = sampler.sample(60)
    assert list(rows) == list(FRAME.columns)
    assert set(rows["city"]) == {"rome", "oslo"}
    assert rows["count"].dtype.kind == "i"
    assert list(sampler.feature_names_in_) == list(FRAME.columns)
    assert set(sampler.sample(20, given={"city": "oslo"})["city"]) == {"oslo"}
    with pytest.raises(ValueError, match="did you mean 'oslo'"):
        sampler.sample(1, given={"city": "osl"})
    assert sampler.discriminate(FRAME).shape == (200,)
    with pytest.raises(ValueError, match="column 'city'"):
        sampler.discriminate(FRAME.assign(city="paris"))


def test_a_batch_larger_than_the_data_is_said() -> None:
    with pytest.warns(UserWarning, match="every step takes all of the"):
        sampler = gan(batch_size=1000).fit(ROWS)
    assert len(sampler.adaptations_) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gan(batch_size=None).fit(ROWS).adaptations_ == []


def test_bad_rows_are_refused() -> None:
    for rows in (np.full((5, 2), np.nan), ROWS[:1], np.ones((30, 2))):
        with pytest.raises(ValueError):
            gan().fit(rows)
