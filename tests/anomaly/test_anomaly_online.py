"""Online p-values: uniform and independent, over all orders of small streams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import kstest

from jensen._errors import InputError
from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.online import Reference, uniforms


def cells_of(scores: np.ndarray, n: int, capacity: int) -> np.ndarray:
    """Return the ends of the interval that U_t spans in each p-value, `(2, m)`."""
    reference, new = Reference.of(Conformal(scores[:n]), 0, capacity), scores[n:]
    ties = np.full(new.size, 0.5)
    ends = [reference.extend(new, np.full(new.size, u), ties)[1] for u in (0.0, 1.0)]
    return np.array(ends)


@pytest.mark.parametrize("capacity", [3, 4, 6])
def test_p_values_are_uniform_and_independent(capacity: int) -> None:
    """All 720 orders of 3 calibration rows and 3 stream rows, U_t integrated out exactly: the joint
    distribution function at (x, y, z) is xyz, whether rows join the keys or only the counts."""
    ends = [
        cells_of(np.array(order, float), 3, capacity) for order in itertools.permutations(range(6))
    ]
    low, high = np.array(ends).transpose(1, 0, 2)
    for point in itertools.product((0.1, 0.4, 0.75, 1.0), repeat=3):
        share = np.clip((np.array(point) - low) / (high - low), 0.0, 1.0)
        assert share.prod(1).mean() == pytest.approx(np.prod(point), abs=1e-12)


def test_p_values_against_the_calibration_rows_alone_are_not_independent() -> None:
    """The mistake: the same 720 orders, without the earlier stream rows."""
    joint = []
    for order in itertools.permutations(range(6)):
        ends = [cells_of(np.array([*order[:3], x], float), 3, 3)[:, 0] for x in order[3:]]
        low, high = np.array(ends).T
        joint.append(np.clip((0.1 - low) / (high - low), 0.0, 1.0).prod())
    assert np.mean(joint) > 1.5 * 0.1**3


def test_p_values_are_the_formula() -> None:
    """While all rows are kept: counted one by one, over 600 rows in one block."""
    rng = np.random.default_rng(0)
    scores, n = rng.normal(size=650), 50
    smooth, ties = rng.random((2, 600))
    _, p = Reference.of(Conformal(scores[:n]), 0).extend(scores[n:], smooth, ties)
    for t in range(n, 650):
        below = np.sum(scores[:t] < scores[t])
        assert p[t - n] == pytest.approx((below + smooth[t - n]) / (t + 1), rel=1e-14)


def test_counted_cells_are_an_urn() -> None:
    """Beyond the capacity: p over 600 rows by the urn's formula, one row at a time."""
    rng = np.random.default_rng(1)
    keys, new = np.sort(rng.normal(size=30)), rng.normal(size=600)
    smooth, ties = rng.random((2, 600))
    reference, p = Reference.of(Conformal(keys), 0, 30).extend(new, smooth, ties)
    weight = np.ones(31)
    for i, s in enumerate(new):
        cell = int(np.sum(keys < s))
        expected = (weight[:cell].sum() + smooth[i] * weight[cell]) / weight.sum()
        assert p[i] == pytest.approx(expected, rel=1e-13)
        weight[cell] += 1
    assert reference.n == 630
    np.testing.assert_array_equal(reference.counts, weight - 1)
    assert reference.keys.size == 30  # bounded memory


@pytest.mark.parametrize("capacity", [40, 100, 1000])
def test_ties_are_broken_by_the_second_number(capacity: int) -> None:
    """Scores with ties give the p-values of their places in the order of (s, V)."""
    rng = np.random.default_rng(2)
    scores, n = rng.integers(0, 4, 500).astype(float), 40
    scores[rng.random(500) < 0.1] = -np.inf
    own = uniforms(3, 0, n)[1]
    smooth, ties = rng.random((2, 460))
    scores[:n] = np.sort(scores[:n])
    places = np.empty(500)
    places[np.lexsort((np.concatenate([own, ties]), scores))] = np.arange(500.0)
    _, p = Reference.of(Conformal(scores[:n]), 3, capacity).extend(scores[n:], smooth, ties)
    plain = Reference.of(Conformal(places[:n]), 3, capacity)
    np.testing.assert_array_equal(p, plain.extend(places[n:], smooth, ties)[1])


@pytest.mark.parametrize("kind", ["equal", "few values", "smooth"])
def test_p_values_look_uniform_in_long_streams(kind: str) -> None:
    """Kolmogorov's test and lag-one correlation, each with false-alarm rate 1e-5."""
    rng = np.random.default_rng(4)
    scores = {"equal": np.zeros(9000), "few values": rng.poisson(1.0, 9000).astype(float)}.get(
        kind, rng.normal(size=9000)
    )
    reference = Reference.of(Conformal(scores[:99]), 5, 1000)
    _, p = reference.extend(scores[99:], *uniforms(5, 99, 8901))
    assert kstest(p, "uniform").pvalue > 1e-5
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 4.42 / np.sqrt(8900)


def test_uniforms_are_a_function_of_seed_and_row() -> None:
    whole = uniforms(9, 0, 4000)
    for first, n in ((0, 1), (1, 1), (7, 12), (3999, 1), (100, 0)):
        np.testing.assert_array_equal(uniforms(9, first, n), whole[:, first : first + n])
    assert ((whole > 0) & (whole < 1)).all()
    assert kstest(whole.ravel(), "uniform").pvalue > 1e-5
    assert abs(np.corrcoef(whole[0], whole[1])[0, 1]) < 4.42 / np.sqrt(4000)
    assert not (uniforms(10, 0, 4000) == whole).any()


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="1 of 2 scores are NaN"):
        Reference.of(Conformal(np.zeros(3)), 0).extend(np.array([0.0, np.nan]), *np.ones((2, 2)))
