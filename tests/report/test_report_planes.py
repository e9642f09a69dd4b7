"""Densities in the plane: one scale for all, each value where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.report.planes import planes

X, Y = np.linspace(-1, 1, 5), np.linspace(0, 1, 3)


def test_one_scale_from_the_largest_value_down():
    low, high = np.full((3, 5), -2.0), np.full((3, 5), 1.5)
    low[2, 4] = -np.inf
    images = [ax.images[0] for ax in planes(X, Y, {"low": low, "high": high}).axes[:2]]
    assert [image.get_clim() for image in images] == [(-6.5, 1.5)] * 2


def test_rows_are_y_and_columns_x():
    table = np.arange(15.0).reshape(3, 5)
    image = planes(X, Y, {"p": table}).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), table)
    assert image.origin == "lower"
    np.testing.assert_allclose(image.get_extent(), (-1.25, 1.25, -0.25, 1.25))


@pytest.mark.parametrize(
    "tables",
    [{}, {"turned": np.zeros((5, 3))}, {"nothing": np.full((3, 5), np.nan)}],
    ids=["none", "shape", "not-finite"],
)
def test_what_cannot_be_drawn_is_refused(tables):
    with pytest.raises(InputError):
        planes(X, Y, tables)
