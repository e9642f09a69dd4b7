"""Suspected rows: found without vouching for themselves."""

from __future__ import annotations

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.anomaly.trim import check_contamination, trimmed, untrusted


def test_planted_rows_are_found() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    planted = rng.permutation(400)[:20]
    values[planted] += 8.0

    def score(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return -np.abs(values[rows] - np.median(values[train]))

    assert untrusted(score, 400, 0.05, 0).tolist() == sorted(planted.tolist())


def test_no_row_is_scored_by_a_density_that_saw_it() -> None:
    seen: list[tuple[set[int], set[int]]] = []

    def score(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
        seen.append((set(train.tolist()), set(rows.tolist())))
        return np.zeros(len(rows))

    untrusted(score, 11, 0.2, 3)
    assert all(not train & rows for train, rows in seen)
    assert set.union(*(rows for _, rows in seen)) == set(range(11))


def test_nothing_is_left_out_where_nothing_is_suspected() -> None:
    assert untrusted(lambda train, rows: np.zeros(len(rows)), 100, 0.0, 0).size == 0
    np.testing.assert_array_equal(trimmed(np.array([2.0, 1.0]), 0.0), [1.0, 2.0])


@pytest.mark.parametrize("share", [-0.1, 0.5, float("nan"), "auto", None])
def test_a_share_out_of_range_is_refused(share: object) -> None:
    with pytest.raises(InputError, match="contamination"):
        check_contamination(share)  # type: ignore[arg-type]
