"""Suspected rows: found even where they stand close together."""

from __future__ import annotations

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.anomaly.trim import check_share, suspects, trimmed


@pytest.mark.parametrize("spread", [0.001, 1.0])
def test_planted_rows_are_found_even_in_a_dense_group(spread: float) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 3))
    planted = np.sort(rng.permutation(400)[:20])
    rows[planted] = 6.0 + spread * rng.normal(size=(20, 3))
    found = suspects(rows, 0.05)
    assert len(found) == 40
    assert set(planted) <= set(found)


def test_large_tables_are_compared_with_a_part_of_themselves() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(12_000, 2))
    rows[:600] = 7.0 + 0.01 * rng.normal(size=(600, 2))
    assert set(range(600)) <= set(suspects(rows, 0.05))


def test_nothing_is_left_out_where_nothing_is_suspected() -> None:
    assert suspects(np.zeros((100, 2)), 0.0).size == 0
    assert suspects(np.zeros((3, 2)), 0.4).size == 0
    np.testing.assert_array_equal(trimmed(np.array([2.0, 1.0]), 0.0), [1.0, 2.0])


@pytest.mark.parametrize("share", [-0.1, 0.5, float("nan"), "auto", None])
def test_a_share_out_of_range_is_refused(share: object) -> None:
    with pytest.raises(InputError, match="suspected"):
        check_share("suspected", share)  # type: ignore[arg-type]
