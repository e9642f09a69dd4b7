"""Figures of estimates, densities, calibration and clouds."""

from __future__ import annotations

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.report.canvas import save
from jensen.report.samples import growing
from jensen.report.spread import calibration, densities, estimates

CURVE = [[0.2, 0.3, 0.1], [0.7, 0.6, 0.1]]
LINE = np.linspace(-1, 1, 5)


@pytest.fixture(
    params=[
        lambda: estimates([("a", 0.1, 0.02, 0.12)], unit="nats", limit=(0.7, "log 2")),
        lambda: densities(LINE, {"flat": np.full(5, 0.5)}),
        lambda: calibration({"D": CURVE}),
        lambda: growing({"data": np.eye(2), "epoch 1": np.zeros((3, 2))}),
    ],
    ids=["estimates", "densities", "calibration", "growing"],
)
def make(request):
    return request.param


def test_the_same_figure_gives_the_same_bytes(make, tmp_path):
    first = [path.read_bytes() for path in save(make(), tmp_path / "a", "f")]
    again = [path.read_bytes() for path in save(make(), tmp_path / "b", "f")]
    assert first == again
    assert min(map(len, first)) > 2000


def test_every_axis_is_named(make):
    figure = make()
    named = [ax.get_xlabel() for ax in figure.axes] + [figure.get_supxlabel()]
    assert any(named)


def test_the_error_bar_is_a_95_percent_interval():
    bars = estimates([("a", 0.1, 0.02, 0.12)], unit="nats").axes[0].collections[0].get_segments()
    assert np.allclose(bars[0][:, 0], [0.1 - 1.96 * 0.02, 0.1 + 1.96 * 0.02])


def test_points_outside_are_counted():
    figure = growing({"data": np.eye(2), "far": np.array([[50.0, 0.0], [np.nan, 0.0], [0.5, 0.5]])})
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert "2 of 3 points outside" in texts


@pytest.mark.parametrize(
    "bad",
    [
        lambda: estimates([], unit="nats"),
        lambda: densities(LINE, {}),
        lambda: densities(LINE, {"a": [1.0]}),
        lambda: calibration({}),
        lambda: growing({}),
        lambda: growing({"data": np.zeros((3, 3))}),
    ],
)
def test_what_they_refuse(bad):
    with pytest.raises(InputError):
        bad()
