"""The made sets: densities that integrate to one and belong to the samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from jensen._errors import InputError
from jensen.data.source import open_table
from jensen.data.toys import PANELS, TOYS, TRAIN_SEED

SWISS_ROLL_MEAN = 0.25330
"""E log p by the trapezoid rule on a grid of spacing 0.006, where it is exact to 1e-5."""


def grid_around(centre: np.ndarray, half: float, step: float) -> np.ndarray:
    axis = np.arange(-half, half + step / 2, step)
    return np.stack(np.meshgrid(*2 * [axis]), -1).reshape(-1, 2) + centre


@pytest.mark.parametrize(
    ("name", "half", "step"),
    [("swiss-roll", 1.45, 0.0125), ("moons", 2.2, 0.05), ("spiral", 2.5, 0.04)],
)
def test_densities_of_curves_integrate_to_one(name, half, step):
    points = grid_around(np.zeros(2) + (0.5 if name == "moons" else 0.0), half, step)
    total = np.exp(TOYS[name].log_prob(points, PANELS // 2)).sum() * step**2
    assert abs(total - 1) < 1e-7


@pytest.mark.parametrize(("name", "modes"), [("ring", 8), ("grid", 25)])
def test_densities_of_points_integrate_to_one(name, modes):
    toy = TOYS[name]
    points, weights = toy.nodes(0)
    assert len(points) == modes
    assert np.allclose(weights, 1 / modes)
    step = toy.sigma / 2
    around = np.concatenate([grid_around(p, 10 * toy.sigma, step) for p in points])
    assert abs(np.exp(toy.log_prob(around)).sum() * step**2 - 1) < 1e-7


@pytest.mark.parametrize("name", TOYS)
def test_the_default_quadrature_agrees_with_a_finer_one(name):
    x = TOYS[name].sample(3, 1000)
    assert np.abs(TOYS[name].log_prob(x) - TOYS[name].log_prob(x, 3 * PANELS)).max() < 1e-9


def test_swiss_roll_mean_log_prob():
    toy, step = TOYS["swiss-roll"], 0.0125
    log_p = toy.log_prob(grid_around(np.zeros(2), 1.45, step), PANELS // 2)
    assert abs((np.exp(log_p) * log_p).sum() * step**2 - SWISS_ROLL_MEAN) < 2e-4
    drawn = toy.log_prob(toy.sample(5, 20000))
    assert abs(drawn.mean() - SWISS_ROLL_MEAN) < 4 * drawn.std() / np.sqrt(len(drawn))


def test_swiss_roll_is_the_one_of_the_documents():
    rng = np.random.default_rng(0)
    t = 2 * np.pi * np.sqrt(rng.uniform(0.25, 4, 4000))
    mine = 0.1 * t[:, None] * np.stack([np.cos(t), np.sin(t)], 1)
    mine += 0.025 * rng.standard_normal((4000, 2))
    theirs = TOYS["swiss-roll"].sample(1, 4000)
    for direction in ([1.0, 0.0], [0.0, 1.0], [0.6, 0.8]):
        assert kstest(mine @ direction, theirs @ direction).pvalue > 1e-3
    assert kstest(*(np.linalg.norm(x, axis=1) for x in (mine, theirs))).pvalue > 1e-3


@pytest.mark.parametrize("name", TOYS)
def test_samples_follow_the_density(name):
    """The share of samples in a half plane or disc is the integral of the density there."""
    toy = TOYS[name]
    x = toy.sample(11, 4000)
    proposal = toy.sample(12, 20000)
    spread = 1.5 * toy.sigma
    noise = np.random.default_rng(13).standard_normal(proposal.shape)
    points, log_weights = toy.nodes(PANELS)[0], np.log(toy.nodes(PANELS)[1])
    moved = proposal + spread * noise
    wide = type(toy)(np.hypot(toy.sigma, spread), toy.centres, toy.nodes)
    ratio = np.exp(toy.log_prob(moved) - wide.log_prob(moved))
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(len(ratio))
    assert len(points) == len(log_weights)
    for event in (lambda z: z[:, 0] > 0.3, lambda z: np.hypot(*z.T) < 0.99):
        weighted, share = ratio * event(moved), event(x)
        error = np.hypot(weighted.std() / np.sqrt(len(ratio)), share.std() / np.sqrt(len(x)))
        assert abs(weighted.mean() - share.mean()) <= 5 * error + 1e-12


@pytest.mark.parametrize("name", TOYS)
def test_seeds_and_far_points(name):
    toy = TOYS[name]
    assert np.array_equal(toy.sample(4, 10), toy.sample(np.random.default_rng(4), 10))
    assert not np.array_equal(toy.sample(4, 10), toy.sample(5, 10))
    assert np.isfinite(toy.log_prob(np.array([[50.0, -80.0], [0.0, 0.0]]))).all()
    assert toy.sample(0, 0).shape == (0, 2)
    (rows,) = open_table(name).batches()
    table = np.column_stack([c.to_numpy() for c in rows.columns])
    assert np.array_equal(table, toy.sample(TRAIN_SEED, 5000))
    with pytest.raises(InputError, match="cannot draw -1"):
        toy.sample(0, -1)
    with pytest.raises(InputError, match="shape"):
        toy.log_prob(np.zeros(2))
