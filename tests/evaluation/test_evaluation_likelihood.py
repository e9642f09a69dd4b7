"""Held-out figures and the Gaussian baseline, against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf

from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.evaluation.likelihood import fit_gaussian, mean_and_error, summarise

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(300, 3)) @ np.array([[2.0, 0.3, 0.0], [0.0, 5.0, 1.0], [0.0, 0.0, 0.1]])


def test_mean_and_error_by_hand() -> None:
    mean, error = mean_and_error(np.array([1.0, 2.0, 6.0]))
    assert mean == 3.0
    assert error == pytest.approx(math.sqrt((4 + 1 + 9) / 2 / 3))


def test_no_error_is_claimed_where_there_is_none() -> None:
    assert mean_and_error(np.array([2.0]))[0] == 2.0
    assert math.isnan(mean_and_error(np.array([2.0]))[1])
    mean, error = mean_and_error(np.array([1.0, -np.inf]))
    assert mean == -np.inf
    assert math.isnan(error)


def test_the_error_covers_the_truth() -> None:
    """Of 2,000 means of 50 normal draws, those within 2.01 errors (t, 49) are Binomial(0.95)."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(2000):
        mean, error = mean_and_error(rng.normal(3.0, 2.0, 50))
        inside += abs(mean - 3.0) < 2.0096 * error
    assert abs(inside / 2000 - 0.95) < 4.9 * math.sqrt(0.95 * 0.05 / 2000)  # 1e-6


def test_summary_says_bits_and_impossible_rows() -> None:
    log_prob = np.array([-1.0, -3.0, -2.0])
    figures = summarise(log_prob, np.zeros(3), "exact", 1, 2)
    assert figures["bits_per_dim"] == pytest.approx(2.0 / (2 * math.log(2)))
    assert (figures["n"], figures["impossible"], figures["row_se"]) == (3, 0, 0.0)
    assert figures["log_prob"]["ess"] is None
    assert summarise(np.array([-1.0, -np.inf]), np.zeros(2), "exact", 1, 2)["impossible"] == 1


def test_effective_sample_size_of_equal_and_of_one_sided_weights() -> None:
    """K equal weights count K; one weight of K counts 1: its relative error is 1."""
    assert summarise(np.zeros(1), np.zeros(1), "iwae", 16, 1)["log_prob"]["ess"] == 16.0
    weights = np.array([1.0, *np.zeros(15)])
    error = weights.std(ddof=1) / (weights.mean() * 4.0)
    ess = summarise(np.zeros(1), np.array([error]), "iwae", 16, 1)["log_prob"]["ess"]
    assert ess == pytest.approx(1.0)
    weights = RNG.gamma(2.0, size=16)
    error = weights.std(ddof=1) / (weights.mean() * 4.0)
    ess = summarise(np.zeros(1), np.array([error]), "iwae", 16, 1)["log_prob"]["ess"]
    assert ess == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_the_baseline_is_scipys_gaussian_with_the_shrunk_covariance() -> None:
    schema, matrix = read(open_table(ROWS))
    preprocess = fit_preprocess(schema, matrix)
    standard = (ROWS - preprocess.mean) / preprocess.scale
    shrunk, _ = ledoit_wolf(standard, assume_centered=True)
    covariance = np.diag(preprocess.scale) @ shrunk @ np.diag(preprocess.scale)
    expected = multivariate_normal(preprocess.mean, covariance).logpdf(ROWS[:20])
    found = fit_gaussian(preprocess, matrix).log_prob(ROWS[:20])
    # the vectors are float32 and the ridge 1e-6 at most: both below 1e-3 nats here
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_baseline_of_categories_is_their_smoothed_frequency() -> None:
    table = pa.table({"a": RNG.normal(size=9), "c": ["x"] * 6 + ["y"] * 3})
    schema, matrix = read(open_table(table))
    preprocess = fit_preprocess(schema, matrix)
    model = fit_gaussian(preprocess, matrix)
    both = np.array([[0.5, 0.0], [0.5, 1.0]])
    difference = np.diff(model.log_prob(both))[0]
    assert difference == pytest.approx(math.log((3 + 1) / 11) - math.log((6 + 1) / 11))


def test_the_baseline_flags_a_new_value_in_a_constant_column() -> None:
    schema, matrix = read(open_table(np.column_stack([ROWS[:, 0], np.full(300, 2.0)])))
    model = fit_gaussian(fit_preprocess(schema, matrix), matrix)
    found = model.log_prob(np.array([[0.0, 2.0], [0.0, 2.5]]))
    assert np.isfinite(found[0])
    assert found[1] == -np.inf
