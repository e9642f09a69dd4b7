"""The self-check on scores that are known to mislead, and on ones that do not."""

from __future__ import annotations

import numpy as np

from jensen.anomaly.selfcheck import constant_rows, self_check

RNG = np.random.default_rng(0)
ROWS = RNG.uniform(0.0, 1.0, (400, 16))
ALL = np.full(16, True)


def smooth(rows: np.ndarray) -> np.ndarray:
    """A score that likes neighbouring cells alike, as densities of images do."""
    return -np.sum(np.diff(rows, axis=1) ** 2, axis=1)


def near_the_middle(rows: np.ndarray) -> np.ndarray:
    return -np.abs(np.sum((rows - 0.5) ** 2, axis=1) - 16 / 12)


def test_a_preference_for_constant_inputs_is_remarked_on() -> None:
    remarks = self_check(smooth, ROWS, ALL, RNG.uniform(0.0, 1.0, (400, 16)))
    assert len(remarks) == 1
    assert "prefers constant inputs" in remarks[0]


def test_a_score_of_typical_rows_passes() -> None:
    assert self_check(near_the_middle, ROWS, ALL, RNG.uniform(0.0, 1.0, (400, 16))) == ()


def test_odd_scores_of_own_samples_are_remarked_on() -> None:
    tame = 0.5 + 0.1 * (RNG.uniform(0.0, 1.0, (400, 16)) - 0.5)
    remarks = self_check(near_the_middle, ROWS, ALL, tame)
    assert len(remarks) == 1
    assert "own samples score below" in remarks[0]


def test_columns_without_a_common_value_have_no_constant_rows() -> None:
    apart = ROWS + 10.0 * np.arange(16)
    assert constant_rows(apart, ALL).shape == (0, 16)
    assert constant_rows(ROWS[:, :3], ALL[:3]).shape == (0, 3)
