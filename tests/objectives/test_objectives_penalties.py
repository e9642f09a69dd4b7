r"""Penalties against closed forms: linear and quadratic critics, and the Dirac-GAN."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.objectives.penalties import GradientPenalty, ZeroCentred, squared_slopes

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.standard_normal((7, 3)), 5.0 + RNG.standard_normal((7, 3))
A = RNG.standard_normal((3, 3))
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def quadratic(x: jax.Array) -> jax.Array:
    return 0.5 * x @ jnp.asarray(A) @ x


SLOPES = {name: rows @ (A + A.T) / 2 for name, rows in (("real", REAL), ("fake", FAKE))}


def test_slopes_of_a_quadratic_critic() -> None:
    found = squared_slopes(quadratic, jnp.asarray(REAL))
    np.testing.assert_allclose(found, (SLOPES["real"] ** 2).sum(axis=1), rtol=1e-12)


def test_r1_sees_the_data_and_r2_the_generated_rows() -> None:
    for where in ("real", "fake"):
        penalty = ZeroCentred(0.3, where)
        expected = 0.15 * (SLOPES[where] ** 2).sum(axis=1).mean()
        found = penalty(quadratic, jnp.asarray(REAL), jnp.asarray(FAKE), KEY)
        assert abs(float(found) - expected) < 1e-9


def test_on_the_dirac_gan_r1_is_half_gamma_psi_squared() -> None:
    data, psi, gamma = jnp.zeros((1, 1)), 1.7, 0.6
    found = ZeroCentred(gamma)(lambda x: psi * x[0], data, data, KEY)
    assert abs(float(found) - gamma / 2 * psi**2) < 1e-12


def test_r1_is_no_weight_decay() -> None:
    """Where C = tanh(ψx) is flat, R₁ does not pull at ψ; a decay of weights does."""

    def price(psi: jax.Array, x: float) -> jax.Array:
        rows = jnp.full((1, 1), x)
        return ZeroCentred(1.0)(lambda row: jnp.tanh(psi * row[0]), rows, rows, KEY)

    psi = jnp.asarray(2.0)
    assert abs(float(jax.grad(price)(psi, 0.0)) - 2.0) < 1e-12  # ½ψ² there
    assert abs(float(jax.grad(price)(psi, 20.0))) < 1e-12


def test_the_gradient_penalty_takes_the_norm_of_each_row() -> None:
    """A norm over the whole batch would see one large slope and no small ones."""
    found = GradientPenalty(10.0)(quadratic, jnp.asarray(REAL), jnp.asarray(REAL), KEY)
    norms = np.sqrt((SLOPES["real"] ** 2).sum(axis=1))
    assert abs(float(found) - 10 * ((norms - 1) ** 2).mean()) < 1e-9
    assert abs(((norms - 1) ** 2).mean() - (np.sqrt((norms**2).sum()) - 1) ** 2) > 1


def test_the_gradient_penalty_looks_between_pairs_with_one_u_each() -> None:
    """With slope ‖x̂‖ and rows 0 and (3, 4) times a scale, x̂ = (1 - u)(3, 4): E (5(1 - u) - 1)²."""
    n = 20_000
    real, fake = jnp.zeros((n, 2)), jnp.tile(jnp.array([3.0, 4.0]), (n, 1))
    found = GradientPenalty(1.0)(lambda x: 0.5 * x @ x, real, fake, KEY)
    expected, variance = 25 / 3 - 4, 625 / 5 - 500 / 4 + 150 / 3 - 20 / 2 + 1 - (25 / 3 - 4) ** 2
    # 4.5 standard errors: a false alarm once in 100,000 keys; this one is fixed
    assert abs(float(found) - expected) < 4.5 * np.sqrt(variance / n)


def test_a_flat_critic_has_a_finite_gradient() -> None:
    def price(psi: jax.Array) -> jax.Array:
        critic = lambda x: psi * x[0]  # noqa: E731
        return GradientPenalty(1.0)(critic, jnp.asarray(REAL), jnp.asarray(FAKE), KEY)

    value, slope = jax.value_and_grad(price)(jnp.zeros(()))
    assert float(value) == 1.0
    assert np.isfinite(float(slope))


@pytest.mark.parametrize("penalty", [ZeroCentred, GradientPenalty])
def test_a_penalty_needs_a_weight(penalty: type) -> None:
    for weight in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="above 0"):
            penalty(weight)


def test_the_rows_of_a_zero_centred_penalty_are_real_or_fake() -> None:
    with pytest.raises(InputError, match="real"):
        ZeroCentred(1.0, "generated")
