"""Figures of latent-variable models: what they show, what they count, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from jensen._errors import InputError
from jensen.report.canvas import save
from jensen.report.latents import (
    bounds,
    image_samples,
    latent_scatter,
    prior_densities,
    reconstructions,
    spreads,
    traversal,
)

IMAGES = np.linspace(0, 1, 3 * 16).reshape(3, 4, 4)
LINE = np.linspace(-1, 1, 5)
GRID = (LINE, LINE[:3], np.ones((3, 5)) * np.linspace(0.1, 1, 5))


@pytest.fixture(
    params=[
        lambda: reconstructions(IMAGES, {"epoch 1": IMAGES}),
        lambda: image_samples(IMAGES, {"epoch 1": IMAGES[:2]}),
        lambda: traversal({"z1": IMAGES, "z2": IMAGES}, [-1, 0, 1]),
        lambda: latent_scatter(np.eye(2), ["a", "b"], density=GRID),
        lambda: bounds([1, 5], {"IWAE": ([-2, -1.5], [0.1, 0.1])}, exact=(-1.2, 0.1)),
        lambda: prior_densities(LINE, {"standard": LINE + 1}, [LINE + 1]),
        lambda: spreads({"a": {"θ": 1.0, "φ": 2.0}, "b": {"θ": 0.1}}, "variance"),
    ],
    ids=["reconstructions", "samples", "traversal", "scatter", "bounds", "densities", "spreads"],
)
def make(request):
    return request.param


def test_the_same_figure_gives_the_same_bytes(make, tmp_path):
    first = [path.read_bytes() for path in save(make(), tmp_path / "a", "f")]
    again = [path.read_bytes() for path in save(make(), tmp_path / "b", "f")]
    assert first == again
    assert min(map(len, first)) > 1000


def test_a_reconstruction_stands_below_its_original():
    figure = reconstructions(IMAGES, {"epoch 1": IMAGES[::-1]}, across=2)
    top, below = (np.asarray(ax.images[0].get_array()) for ax in figure.axes)
    assert top.shape == below.shape == (4, 9)  # two tiles and a gap
    np.testing.assert_allclose(top[:, :4], IMAGES[0])
    np.testing.assert_allclose(below[:, :4], IMAGES[2])


def test_names_of_rows_stay_on_the_sheet():
    figure = image_samples(np.zeros((24, 28, 28)), {"the last epoch": np.zeros((24, 28, 28))})
    figure.draw_without_rendering()
    for ax in figure.axes:
        assert ax.yaxis.label.get_window_extent().x0 >= 0


def test_a_traversal_names_each_image_below_it():
    figure = traversal({"z1": IMAGES}, [-1, 0, 1])
    ax = figure.axes[0]
    assert ax.get_xticks().tolist() == [1.5, 6.5, 11.5]  # the middles of 4 pixels, a gap of 1
    assert [text.get_text() for text in ax.get_xticklabels()] == ["−1", "0", "1"]


def test_labels_differ_in_colour_and_shape_and_lost_points_are_counted():
    points = np.array([[0.0, 1.0], [1.0, 0.0], [np.nan, 0.0]])
    ax = latent_scatter(points, [3, 4, 4]).axes[0]
    looks = {(line.get_color(), line.get_marker()) for line in ax.lines}
    assert len(looks) == 2
    assert "1 of 3 points not finite" in ax.get_title(loc="left")


def test_bars_are_95_percent_intervals_and_the_truth_is_a_line():
    ax = bounds([1, 5], {"IWAE": ([-2, -1.5], [0.1, 0.2])}, exact=(-1.2, 0.0)).axes[0]
    (drawn,) = (part for part in ax.collections if isinstance(part, LineCollection))
    bars = drawn.get_segments()
    assert np.allclose(bars[0][:, 1], [-2 - 1.96 * 0.1, -2 + 1.96 * 0.1])
    assert np.allclose(bars[1][:, 1], [-1.5 - 1.96 * 0.2, -1.5 + 1.96 * 0.2])
    assert any(np.allclose(line.get_ydata(), -1.2) for line in ax.lines)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "5"]


def test_figures_of_zero_are_counted():
    ax = spreads({"a": {"θ": 1.0}, "b": {"θ": 0.0}}, "variance").axes[0]
    assert "1 that is 0 or not finite" in ax.get_title(loc="left")


@pytest.mark.parametrize(
    "bad",
    [
        lambda: reconstructions(IMAGES, {}),
        lambda: reconstructions(IMAGES, {"a": IMAGES[:2]}),
        lambda: image_samples(IMAGES, {"a": np.zeros((2, 5, 5))}),
        lambda: traversal({}, [0]),
        lambda: traversal({"z1": IMAGES}, [0, 1]),
        lambda: latent_scatter(np.zeros((3, 3))),
        lambda: latent_scatter(np.zeros((2, 2)), ["a"]),
        lambda: latent_scatter(np.full((2, 2), np.nan)),
        lambda: latent_scatter(np.zeros((13, 2)), np.arange(13)),
        lambda: latent_scatter(np.eye(2), density=(LINE, LINE, np.ones((3, 5)))),
        lambda: bounds([1], {}),
        lambda: bounds([0], {"a": ([1.0], [0.1])}),
        lambda: bounds([1, 5], {"a": ([1.0], [0.1])}),
        lambda: prior_densities(LINE, {}, []),
        lambda: prior_densities(LINE, {"a": LINE[:2]}, [LINE]),
        lambda: spreads({"a": {"θ": 0.0}}, "variance"),
    ],
)
def test_what_they_refuse(bad):
    with pytest.raises(InputError):
        bad()
