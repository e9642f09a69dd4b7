"""Projections against the conditions of the nearest point (Karush, Kuhn and Tucker).

p is the point of a convex set C nearest to x if and only if p is in C and (x - p)·(c - p) <= 0 for
every c of C; each set's normal cone says what that means.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.games.sets import Ball, Box, Simplex

POINTS = np.random.default_rng(0).normal(scale=2.0, size=(50, 5))


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def test_the_box():
    nearest = np.asarray(Box(-1.0, 0.5).project(jnp.asarray(POINTS)))
    assert nearest.min() >= -1
    assert nearest.max() <= 0.5
    push = POINTS - nearest  # along the outward normal of an edge, or nothing
    assert np.all(nearest[push > 0] == 0.5)
    assert np.all(nearest[push < 0] == -1)
    assert (push > 0).any()
    assert (push < 0).any()
    assert (push == 0).any()


def test_the_ball_takes_all_entries_of_a_player_together():
    nearest = np.array([Ball(2.0).project(jnp.asarray(x)) for x in POINTS])
    length = np.linalg.norm(POINTS, axis=1)
    assert np.abs(np.linalg.norm(nearest, axis=1) - np.minimum(length, 2.0)).max() < 1e-14
    parallel = nearest * length[:, None] - POINTS * np.linalg.norm(nearest, axis=1)[:, None]
    assert np.abs(parallel).max() < 1e-13
    inside = Ball(2.0).project(jnp.asarray([0.5, -0.5]))
    assert np.asarray(inside).tolist() == [0.5, -0.5]
    a, b = Ball(1.0).project((jnp.asarray([3.0]), jnp.asarray([4.0])))
    assert [float(a[0]), float(b[0])] == pytest.approx([0.6, 0.8], abs=1e-15)


def test_the_simplex():
    nearest = np.array([Simplex().project(jnp.asarray(x)) for x in POINTS])
    assert nearest.min() >= 0
    assert np.abs(nearest.sum(axis=1) - 1).max() < 1e-14
    for x, p in zip(POINTS, nearest, strict=True):
        push = x - p  # one value τ on the support, no more than τ elsewhere
        tau = push[p > 0]
        assert np.ptp(tau) < 1e-14
        assert push.max() <= tau.max() + 1e-14
    assert (nearest == 0).any()
    assert ((nearest > 0).sum(axis=1) > 1).any()


def test_the_simplex_takes_each_array_by_itself():
    a, b = Simplex().project((jnp.asarray([2.0, 0.0]), jnp.asarray([0.3, 0.3])))
    assert np.asarray(a).tolist() == [1.0, 0.0]
    assert np.asarray(b) == pytest.approx([0.5, 0.5], abs=1e-15)


@pytest.mark.parametrize("make", [lambda: Box(1.0, 0.0), lambda: Box(float("nan"), 1.0)])
def test_an_empty_box_is_refused(make):
    with pytest.raises(InputError, match="low <= high"):
        make()


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan")])
def test_a_ball_without_radius_is_refused(radius):
    with pytest.raises(InputError, match="radius above 0"):
        Ball(radius)


def test_only_the_box_is_separable():
    assert (Box.separable, Ball.separable, Simplex.separable) == (True, False, False)
