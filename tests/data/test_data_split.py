"""The split of a table: disjoint, whole, a function of (n, seed), with exact calibration sizes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.data.split import (
    calibration_size,
    check_seed,
    exact_size,
    split_rows,
    validation_size,
)

SIZES = [3, 4, 5, 10, 17, 50, 119, 357, 1000, 5000, 123_456]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("calibrate", [True, False])
def test_every_row_is_in_one_part(n: int, calibrate: bool) -> None:
    split = split_rows(n, 0, calibrate=calibrate)
    parts = [split.train, split.validation, split.calibration]
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert len(split.train) >= 1
    assert len(split.validation) >= 1
    assert (len(split.calibration) >= 1) == calibrate


def test_two_rows_train_and_stop() -> None:
    split = split_rows(2, 0, calibrate=False)
    assert sorted([*split.train, *split.validation]) == [0, 1]


def test_a_split_is_a_function_of_rows_and_seed() -> None:
    first, again = split_rows(100, 5, calibrate=True), split_rows(100, 5, calibrate=True)
    other = split_rows(100, 6, calibrate=True)
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)


@pytest.mark.parametrize("n", [n for n in SIZES if n >= 100])
def test_calibration_is_exact_at_five_and_ten_percent(n: int) -> None:
    """⌊α(n+1)⌋/(n+1) is α itself: the stated false-alarm rate is not only a bound."""
    size = calibration_size(n)
    for alpha in (0.05, 0.1, *([0.01, 0.02] if size >= 99 else [])):
        assert (size + 1) * alpha == pytest.approx(round((size + 1) * alpha), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.02, 0.01, 0.003])
def test_calibration_reaches_alpha_where_half_of_the_rows_remain(alpha: float) -> None:
    for n in range(2, 1500):
        size = calibration_size(n, alpha)
        needed = round(1 / alpha + 0.499999) - 1
        assert size >= 1
        assert size >= needed or needed > n // 2
        assert size <= max(n // 2, 1)


def test_sizes_grow_with_the_table() -> None:
    for sizes in (
        [exact_size(t) for t in range(1, 6000)],
        [validation_size(n) for n in range(2, 200_000, 97)],
    ):
        assert all(a <= b for a, b in pairwise(sizes))
    assert all(exact_size(t) <= t for t in range(1, 6000))


def test_seeds_are_checked() -> None:
    for seed in (0, 1, 2**32 - 1):
        check_seed(seed)
    for seed in (-1, 2**32, 10**20):
        with pytest.raises(InputError, match="seed"):
            check_seed(seed)
