"""The flow of a game against closed forms, a conserved quantity, and blow-up."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jensen._errors import DivergedError, InputError
from jensen.games.builtin import dirac_gan
from jensen.games.continuous import integrate
from jensen.games.radius import quadratic_game


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def bilinear(players: tuple) -> tuple:
    x, y = players
    return x * y, -x * y


def test_the_bilinear_game_runs_round_a_circle():
    """x' = -y, y' = x: the angle grows with time, the radius stays."""
    times = np.linspace(0, 20, 41)
    x, y = integrate(bilinear, (1.0, 0.0), times)
    assert np.abs(np.asarray(x) - np.cos(times)).max() < 1e-8
    assert np.abs(np.asarray(y) - np.sin(times)).max() < 1e-8


def test_a_linear_flow_is_the_matrix_exponential():
    J = np.array([[-0.5, -1.2, 0.3], [-1.2, 0.1, 0.8], [0.4, -0.6, -0.9]])
    start = np.array([1.0, -0.5, 0.25])
    times = [0.5, 1.0, 3.0]
    found = integrate(quadratic_game(jnp.asarray(J), (2, 1)), (start[:2], start[2:]), times)
    want = [scipy.linalg.expm(J * t) @ start for t in times]
    assert np.abs(np.concatenate(found, axis=1) - want).max() < 1e-8


def test_without_a_penalty_the_dirac_gan_conserves_its_energy():
    """On ψ₁ = 0 the field would turn (ψ₀, θ); θ² + ψ₀² is conserved along the whole flow, as
    ψ₀' = -σ(u) θ and θ' = σ(u) ψ₀ with the same u = ψ₀θ + ψ₁."""
    psi, theta = integrate(
        dirac_gan(0.0).losses, (np.array([0.5, 0.2]), 0.5), np.linspace(0, 50, 26)
    )
    energy = np.asarray(theta) ** 2 + np.asarray(psi)[:, 0] ** 2
    assert np.abs(energy - 0.5).max() < 1e-8
    assert np.ptp(np.asarray(theta)) > 1  # it did turn
    damped = integrate(dirac_gan(0.5).losses, (np.array([0.5, 0.2]), 0.5), [0.0, 50.0])
    assert abs(float(damped[1][-1])) < 1e-2


def test_a_flow_that_blows_up_raises():
    """x' = x³ from 1 is infinite at t = ½."""
    x = integrate(lambda p: (-(p[0] ** 4) / 4,), (1.0,), [0.4], most_steps=1000)
    assert float(x[0][-1]) == pytest.approx(0.2**-0.5, rel=1e-8)
    with pytest.raises(DivergedError, match=r"to t = 1 in 1000 steps"):
        integrate(lambda p: (-(p[0] ** 4) / 4,), (1.0,), [1.0], most_steps=1000)


def test_too_few_steps_raise():
    with pytest.raises(DivergedError, match="in 5 steps"):
        integrate(bilinear, (1.0, 0.0), [100.0], most_steps=5)


@pytest.mark.parametrize(
    "times", [[], [1.0, 0.5], [0.0, 0.0], [-1.0, 1.0], [0.0, np.nan], [np.inf], 1.0, [[0.0, 1.0]]]
)
def test_times_that_are_refused(times):
    with pytest.raises(InputError, match="times must increase"):
        integrate(bilinear, (1.0, 0.0), times)


def test_the_start_alone():
    x, y = integrate(bilinear, (1.0, 0.5), [0.0])
    assert (float(x[0]), float(y[0])) == (1.0, 0.5)
