"""Stationary points against roots known beforehand, and games that have none."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.games.builtin import DiracGAN, GaussianGAN, bilinear, gaussian_gan, robust_logistic
from jensen.games.field import Field
from jensen.games.stationary import stationary_points


def test_all_roots_of_a_polynomial_game():
    """v₁ = x(x² - 1), v₂ = y - x²: three points (x, x²)."""

    def losses(p: tuple) -> tuple:
        x, y = p
        return x**4 / 4 - x**2 / 2, y**2 / 2 - x**2 * y

    found = stationary_points(losses, (0.9, 0.0))
    assert sum(p.starts for p in found) == 32
    points = np.array(sorted(p.vector.tolist() for p in found))
    assert np.abs(points - [[-1, 1], [0, 0], [1, 1]]).max() < 1e-12
    assert np.abs(found[0].vector - [1, 1]).max() < 1e-12  # that of the start comes first
    assert [p.starts for p in found[1:]] == sorted((p.starts for p in found[1:]), reverse=True)
    assert max(p.residual for p in found) < 1e-12
    assert max(np.abs(p.correction).max() for p in found) < 1e-12


def test_the_residual_and_the_correction_are_what_they_say():
    def losses(p: tuple) -> tuple:
        return p[0] ** 3 / 3 + p[0] * p[1] - 2 * p[0], p[1] ** 2 / 2 - p[0] * p[1]

    found = stationary_points(losses, (1.3, 0.9), starts=8)
    assert sorted(round(float(p.vector[0]), 9) for p in found) == [-2, 1]
    for point in found:
        x, y = point.vector
        field = np.array([x**2 + y - 2, y - x])
        assert point.residual == pytest.approx(np.abs(field).max(), abs=1e-15)
        assert point.residual < 1e-12


def test_players_come_back_in_their_shapes_in_double_precision():
    start = ({"w": np.full((2, 1), 0.1, np.float32)}, [np.float32(0.2)])

    def losses(p: tuple) -> tuple:
        w, b = p[0]["w"], p[1][0]
        return jnp.sum((w - 1) ** 2), (b + 2) ** 2

    found = stationary_points(losses, start, starts=1)[0]
    assert found.players[0]["w"].shape == (2, 1)
    assert found.players[0]["w"].dtype == np.float64
    assert np.abs(found.vector - [1, 1, -2]).max() < 1e-12


def test_a_multiple_root_is_found_as_well_as_it_can_be():
    """x⁴/4: the field x³ has Newton steps x/3, the distance is three of them."""
    found = stationary_points(lambda p: (p[0] ** 4 / 4,), (0.7,))
    assert len(found) == 1
    assert abs(found[0].vector[0]) < 1e-5
    assert abs(found[0].vector[0]) <= 3 * abs(found[0].correction[0]) * (1 + 1e-9)


def test_one_point_of_a_line_of_them_is_enough_of_a_certificate():
    """(x + y - 1)²: the Jacobian is singular, the least-squares step is still a distance."""
    found = stationary_points(lambda p: ((p[0] + p[1] - 1) ** 2,) * 2, (0.3, 0.4), starts=1)[0]
    assert abs(found.vector.sum() - 1) < 1e-12


@pytest.mark.parametrize("start", [0.5, 10.0])
@pytest.mark.parametrize(
    "losses",
    [
        lambda p: (jax.nn.softplus(-p[0]),),
        lambda p: (jnp.exp(p[0]),),
        lambda p: (-jnp.log1p(p[0] ** 2) + jnp.arctan(p[0]) + p[0] / 4 * 8,),
        lambda p: (p[0] ** 3 / 3 + p[0],),
    ],
    ids=["softplus", "exp", "slope", "cubic"],
)
def test_a_field_without_a_root_is_an_error(losses, start):
    with pytest.raises(InputError, match=r"no stationary point found .* the smallest max \|v\| is"):
        stationary_points(losses, (start,), starts=8)


def test_the_smallest_residual_is_said():
    with pytest.raises(InputError, match=r"smallest max \|v\| is 2 .* no root is in sight"):
        stationary_points(lambda p: (2 * p[0], 2 * p[1]), (0.5, 0.5), starts=4)


def test_separable_data_have_no_stationary_point_without_a_ridge():
    game = robust_logistic(ridge=0.0)
    with pytest.raises(InputError, match="no stationary point"):
        stationary_points(game.losses, game.start, starts=2)


def test_a_field_that_is_not_finite_is_an_error():
    with pytest.raises(InputError, match="not finite at any start"):
        stationary_points(lambda p: (jnp.sqrt(-1 - p[0] ** 2) * p[0],), (0.5,), starts=4)
    found = stationary_points(lambda p: (p[0] - 2 * jnp.log(p[0]),), (0.5,))  # log of some starts
    assert [abs(p.vector[0] - 2) < 1e-12 for p in found] == [True]


def test_the_equilibria_of_the_gaussian_gan():
    """The generator finds the data's mean and either sign of its spread, D says nothing."""
    game = gaussian_gan(gamma=0.1, mean=0.7, sd=0.4)
    found = stationary_points(game.losses, game.start, starts=8)
    assert np.abs(found[0].vector - [0, 0, 0, 0.7, 0.4]).max() < 1e-9


def test_the_gaussian_gans_quadrature():
    """Against the trapezoid rule, exact to rounding for these smooth integrands that fall fast."""
    w, a, b, gamma, m, s = np.array([0.2, -0.5, 0.3]), 0.4, 0.8, 0.7, 1.0, 0.5
    z = np.linspace(-12, 12, 4001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])

    def logit(x: np.ndarray) -> np.ndarray:
        return w[0] + w[1] * x + w[2] * x**2

    real, fake = m + s * z, a + b * z
    value = -density @ (np.logaddexp(0, -logit(real)) + np.logaddexp(0, logit(fake)))
    penalty = gamma / 2 * density @ (w[1] + 2 * w[2] * real) ** 2
    with jax.enable_x64(True):
        losses = GaussianGAN(gamma, m, s)((jnp.asarray(w), jnp.asarray([a, b])))
    assert [float(v) for v in losses] == pytest.approx([-value + penalty, value], abs=1e-9)


def test_the_bilinear_game_in_more_dimensions():
    game = bilinear(scale=2.0, curvature=0.5, dim=3)
    found = stationary_points(game.losses, game.start, starts=4)
    assert np.abs(found[0].vector).max() < 1e-12
    assert len(found) == 1
    with jax.enable_x64(True):
        x, y = jnp.arange(3.0), jnp.array([1.0, -1.0, 2.0])
        v = Field(game.losses).v((x, y))
        assert np.array_equal(v[0], 2 * y + 0.5 * x)
        assert np.array_equal(v[1], -2 * x + 0.5 * y)


@pytest.mark.parametrize(
    "losses",
    [
        lambda p: (jax.nn.softplus(-p[0]) + 100 * (p[1] - 1) ** 2, 100 * (p[1] - 1) ** 2),
        lambda p: (jnp.exp(p[0]) + p[1] ** 2, p[1] ** 2),
    ],
    ids=["softplus", "exp"],
)
def test_a_stiff_player_does_not_hide_one_that_fades(losses):
    with pytest.raises(InputError, match="no stationary point"):
        stationary_points(losses, (0.5, 0.5), starts=8)


def test_a_root_far_from_the_start_is_found():
    (point,) = stationary_points(lambda p: ((p[0] - 500) ** 2, (p[1] - 500) ** 2), (0.5, 0.5))
    assert np.abs(point.vector - 500).max() < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_a_field_that_underflows_far_away_has_no_root_there(seed):
    """The Dirac-GAN rests at 0 alone; where its sigmoids underflow, v is 0 or 1e-150."""
    start = jnp.array([0.6, 0.0]), jnp.array(0.6)
    found = stationary_points(DiracGAN(0.0), start, starts=64, scale=3.0, seed=seed)
    assert len(found) == 1
    assert np.abs(found[0].vector).max() < 1e-9
