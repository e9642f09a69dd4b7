"""MMD, sliced Wasserstein, precision and recall, coverage: against closed forms and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from jensen._errors import InputError
from jensen.data.toys import TOYS
from jensen.evaluation.coverage import coverage, curve_coverage, toy_coverage
from jensen.evaluation.samples import mmd, precision_recall, sliced_wasserstein

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(70, 3)), RNG.normal(0.4, 1.0, size=(50, 3))


def kernel(a: np.ndarray, b: np.ndarray, sigma: float) -> np.ndarray:
    squares = cdist(a, b) ** 2
    return sum(np.exp(-squares / (2 * c * sigma**2)) for c in (0.25, 0.5, 1, 2, 4)) / 5


def by_hand(x: np.ndarray, y: np.ndarray, sigma: float) -> float:
    kx, ky = kernel(x, x, sigma), kernel(y, y, sigma)
    n, m = len(x), len(y)
    within = (kx.sum() - n) / (n * (n - 1)) + (ky.sum() - m) / (m * (m - 1))
    return within - 2 * kernel(x, y, sigma).mean()


@pytest.mark.parametrize("n", [50, 700])
def test_mmd_is_the_u_statistic(n: int) -> None:
    """700 rows pass the block size of 512."""
    x = np.random.default_rng(1).normal(size=(n, 3)) + 50.0  # far from zero: float32 must bear it
    found = mmd(x, Y + 50.0, bandwidth=1.3, permutations=9)
    assert found.squared == pytest.approx(by_hand(x, Y + 50.0, 1.3), abs=2e-6)
    assert found.bandwidth == 1.3


def test_the_default_bandwidth_is_the_median_distance() -> None:
    distances = cdist(np.concatenate([X, Y]), np.concatenate([X, Y]))[np.triu_indices(120, 1)]
    assert mmd(X, Y, permutations=1).bandwidth == pytest.approx(np.median(distances))


def test_mmd_of_gaussians_is_its_closed_form() -> None:
    """One kernel of width s between N(0,1) and N(δ,1): √(s²/(s²+2)) · 2 (1 - e^{-δ²/2(s²+2)}).

    The statistic's error from its variance over 20 repetitions; 4 of them at most.
    """
    found = [
        mmd(
            np.random.default_rng(s).normal(size=400),
            np.random.default_rng(99 - s).normal(1.0, 1.0, 400),
            bandwidth=1.0,
            permutations=1,
        ).squared
        for s in range(20)
    ]
    widths = np.array([0.25, 0.5, 1, 2, 4])
    true = np.mean(2 * np.sqrt(widths / (widths + 2)) * -np.expm1(-0.5 / (widths + 2)))
    assert abs(np.mean(found) - true) < 4 * np.std(found, ddof=1) / math.sqrt(20)


def test_mmd_keeps_its_level_and_has_power() -> None:
    """Of 60 p-values of equal laws at 10%, more than 14 would be a false alarm of 0.1%."""
    rng = np.random.default_rng(3)
    p = [
        mmd(rng.normal(size=(40, 2)), rng.normal(size=(25, 2)), permutations=49, seed=s).p_value
        for s in range(60)
    ]
    assert np.sum(np.array(p) <= 0.1) <= 14
    assert 0.3 < np.mean(p) < 0.7
    assert mmd(X, Y + 1.0, permutations=99).p_value == 0.01


def test_sliced_wasserstein_in_one_dimension_is_scipys() -> None:
    found = sliced_wasserstein(X[:, 0], Y[:, 1], order=1)
    assert found.value == pytest.approx(wasserstein_distance(X[:, 0], Y[:, 1]), rel=1e-12)
    assert found.se == 0.0
    five = sliced_wasserstein(np.array([0.0, 1.0]), np.array([0.0, 0.0, 3.0]), order=2)
    # quantiles on [0,⅓], [⅓,½], [½,⅔], [⅔,1]: gaps 0, 0, 1, 2
    assert five.value == pytest.approx(math.sqrt(1 / 6 + 4 / 3))


def test_sliced_wasserstein_of_a_shift_is_its_length_over_root_d() -> None:
    shift = np.array([3.0, 0.0, 4.0])
    found = sliced_wasserstein(X, X + shift, directions=4000)
    assert abs(found.value - 5 / math.sqrt(3)) < 4 * found.se
    assert found.se < 0.05
    assert sliced_wasserstein(X, X[::-1]).value == 0.0


def test_precision_and_recall_by_hand() -> None:
    """Balls of real rows 0, 1, 3 with k = 1: radii 1, 1, 2. Of generated 2.5, 9, 9.5: 6.5, ½, ½."""
    real, made = np.array([0.0, 1.0, 3.0]), np.array([2.5, 9.0, 9.5])
    found = precision_recall(real, made, k=1)
    assert found.precision == pytest.approx(1 / 3)
    assert found.density == pytest.approx(1 / 3)
    assert found.recall == 1.0  # 2.5 reaches down to -4
    assert found.coverage == pytest.approx(1 / 3)


def test_coverage_of_equal_laws_has_its_known_mean() -> None:
    """Over 40 pairs of samples, at most 4 standard errors; density is near 1."""
    rng = np.random.default_rng(8)
    pairs = [
        precision_recall(rng.normal(size=(150, 2)), rng.normal(size=(90, 2)), k=4)
        for _ in range(40)
    ]
    found = np.array([p.coverage for p in pairs])
    assert abs(found.mean() - pairs[0].coverage_expected) < 4 * found.std(ddof=1) / math.sqrt(40)
    assert abs(np.mean([p.density for p in pairs]) - 1) < 0.1


def test_collapse_and_invention_fall_on_different_sides() -> None:
    rng = np.random.default_rng(9)
    real = rng.normal(size=(400, 2))
    narrow, wide = 0.2 * rng.normal(size=(400, 2)), 4 * rng.normal(size=(400, 2))
    collapsed, invented = precision_recall(real, narrow), precision_recall(real, wide)
    assert collapsed.precision > 0.95 > 0.5 > collapsed.recall
    assert invented.recall > 0.8 > 0.5 > invented.precision
    assert collapsed.coverage < 0.5


def test_a_perfect_sampler_has_its_share_within_three_sigma() -> None:
    """98.89% in the plane, of 40,000 rows, at 4 standard errors."""
    found = toy_coverage(TOYS["grid"].sample(3, 40_000), "grid")
    share = -math.expm1(-4.5)
    assert found.oracle is not None
    for figures in (found, found.oracle):
        assert abs(figures.share - share) < 4 * math.sqrt(share * (1 - share) / 40_000)
        assert abs(figures.spread - 1) < 4 / math.sqrt(2 * 80_000)
        assert figures.covered == 25
        # twice n KL is χ² of 24 degrees of freedom
        assert 2 * 40_000 * figures.imbalance < 62  # 1 in 30,000


def test_shrinkage_and_missing_modes_are_seen() -> None:
    toy = TOYS["ring"]
    rows = toy.sample(4, 4000)
    centres = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1)
    nearest = cdist(rows, centres).argmin(1)
    shrunk = centres[nearest] + 0.5 * (rows - centres[nearest])
    found = toy_coverage(shrunk, "ring")
    assert found.share == 1.0  # more than a perfect sampler has
    assert found.spread == pytest.approx(0.5 / 0.9665, rel=0.05)
    few = toy_coverage(rows[nearest < 6], "ring")
    assert (few.covered, few.total) == (6, 8)
    assert few.imbalance == pytest.approx(math.log(8 / 6), abs=0.01)
    assert found.to_dict()["oracle"]["covered"] == 8
    nowhere = toy_coverage(np.full((10, 2), 5.0), "ring")
    assert (nowhere.covered, nowhere.share) == (0, 0.0)
    assert math.isnan(nowhere.spread)
    assert nowhere.imbalance == math.inf


@pytest.mark.parametrize("name", ["swiss-roll", "moons", "spiral"])
def test_true_rows_cover_a_curve_as_the_oracle_does(name: str) -> None:
    found = toy_coverage(TOYS[name].sample(11, 4000), name)
    assert found.oracle is not None
    assert found.covered == found.oracle.covered == 50
    assert abs(found.share - found.oracle.share) < 5 * math.sqrt(2 * 0.004 / 4000)
    assert abs(found.spread - found.oracle.spread) < 5 / math.sqrt(4000)


def test_arc_length_counts_bins_of_equal_length() -> None:
    """A bent line: the first unit of length twice as densely drawn as the second."""
    line = np.concatenate([np.linspace(0, 1, 400), np.linspace(1, 2, 200)[1:]])
    points = np.stack([line, np.zeros(599)], axis=1)
    samples = np.stack([np.linspace(0, 0.99, 50), np.full(50, 0.01)], axis=1)
    found = curve_coverage(samples, points, np.full(599, 1 / 599), 0.02, bins=10)
    assert (found.covered, found.share) == (5, 1.0)
    # the points are 0.0025 apart, which adds (0.0025²/12)/0.01² to the square at most
    assert found.spread == pytest.approx(0.5 / 0.9866, rel=4e-3)
    assert found.imbalance == pytest.approx(math.log(599 / 400), rel=0.05)


def test_coverage_with_unequal_modes() -> None:
    modes, weights = np.array([[0.0], [10.0]]), np.array([0.9, 0.1])
    rng = np.random.default_rng(2)
    rows = modes[(rng.random(5000) < 0.1).astype(int)] + 0.1 * rng.normal(size=(5000, 1))
    assert coverage(rows, modes, 0.1, weights=weights).imbalance < 0.003
    assert coverage(rows, modes, 0.1).imbalance > 0.3


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="3 columns against 1"):
        mmd(X, Y[:, :1])
    with pytest.raises(InputError, match="bandwidth"):
        mmd(np.zeros(9), np.zeros(9))
    with pytest.raises(InputError, match="permutations"):
        mmd(X, Y, permutations=0)
    with pytest.raises(InputError, match="infinite"):
        sliced_wasserstein(X, np.full((4, 3), np.inf))
    with pytest.raises(InputError, match="order"):
        sliced_wasserstein(X, Y, order=0.5)
    with pytest.raises(InputError, match="k = 50"):
        precision_recall(X, Y, k=50)
    with pytest.raises(InputError, match="did you mean 'ring'"):
        toy_coverage(X[:, :2], "rings")
    with pytest.raises(InputError, match="scale"):
        coverage(X, X[:2], 0.0)
    with pytest.raises(InputError, match="shares"):
        coverage(X, X[:2], 1.0, weights=np.array([1.0, 1.0]))
    with pytest.raises(InputError, match="bins"):
        curve_coverage(X, X, np.full(70, 1 / 70), 1.0, bins=0)
