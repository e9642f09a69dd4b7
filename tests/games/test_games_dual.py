"""The convex dual of the linear discriminator, against an independent solver and its own gap."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from jensen._errors import InputError, JensenError
from jensen.games.dual import dual_value, solve_discriminator


def problem(n: int, d: int, seed: int = 0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    X = scale * random.normal(size=(n, d))
    return X, np.where(random.uniform(size=n) < expit(X @ random.normal(size=d)), 1.0, -1.0)


def primal(X: np.ndarray, y: np.ndarray, c: float, w: np.ndarray) -> float:
    return float(c / 2 * w @ w + np.mean(np.logaddexp(0, -y * (X @ w))))


@pytest.mark.parametrize(
    ("n", "d", "c"), [(50, 3, 0.1), (400, 20, 1e-3), (20, 60, 1e-2), (300, 5, 1e-7), (1, 1, 2.0)]
)
def test_the_gap_is_rounding_and_the_link_holds(n, d, c):
    X, y = problem(n, d)
    found = solve_discriminator(X, y, c)
    assert 0 <= found.gap <= 1e-12 * abs(found.primal_value)
    assert (found.dual >= 0).all()
    assert (found.dual <= 1).all()
    link = (found.dual * y) @ X / (c * n)
    assert np.abs(link - found.weights).max() <= 1e-7 * (1 + np.abs(link).max())
    assert abs(primal(X, y, c, found.weights) - found.primal_value) < 1e-14


def test_an_independent_minimiser_finds_nothing_lower():
    X, y = problem(200, 8)
    found = solve_discriminator(X, y, 0.05)
    other = minimize(lambda w: primal(X, y, 0.05, w), np.zeros(8), tol=1e-12)
    assert found.primal_value <= other.fun + 1e-12
    assert np.abs(found.weights - other.x).max() < 1e-4


@pytest.mark.parametrize("scale", [1e-6, 1e4])
def test_scales_of_the_columns(scale):
    X, y = problem(100, 4, scale=scale)
    found = solve_discriminator(X, y, 0.01)
    assert found.gap <= 1e-10 * abs(found.primal_value)


def test_the_gradient_is_the_envelopes():
    with jax.enable_x64(True):
        Z = jnp.asarray(np.random.default_rng(1).normal(size=(9, 2)))
        rows, ridge = jax.grad(dual_value, argnums=(0, 1))(Z, jnp.asarray(0.3))
        h = 1e-5
        for i, j in ((0, 0), (4, 1), (8, 0)):
            moved = [float(dual_value(Z.at[i, j].add(s * h), jnp.asarray(0.3))) for s in (1, -1)]
            assert abs(float(rows[i, j]) - (moved[0] - moved[1]) / (2 * h)) < 1e-9
        moved = [float(dual_value(Z, jnp.asarray(0.3 + s * h))) for s in (1, -1)]
        assert abs(float(ridge) - (moved[0] - moved[1]) / (2 * h)) < 1e-9


def test_it_may_be_compiled_and_batched():
    X, y = problem(40, 3)
    Z = jnp.asarray(y[:, None] * X, jnp.float32)
    values = jax.jit(jax.vmap(dual_value, in_axes=(None, 0)))(Z, jnp.array([0.1, 1.0]))
    exact = [solve_discriminator(X, y, c).primal_value for c in (0.1, 1.0)]
    assert np.allclose(values, exact, rtol=1e-5)


@pytest.mark.parametrize(
    ("X", "y", "c", "says"),
    [
        ([[1.0]], [1, -1], 1.0, "rows of shape"),
        ([[1.0], [np.nan]], [1, -1], 1.0, "not finite"),
        ([[1.0], [2.0]], [1, 0], 1.0, "neither 1 nor -1"),
        ([[1.0], [2.0]], [1, -1], 0.0, "above 0"),
        (np.empty((0, 2)), [], 1.0, "rows of shape"),
    ],
)
def test_what_it_refuses(X, y, c, says):
    with pytest.raises(InputError, match=says):
        solve_discriminator(X, y, c)


def test_a_failure_is_raised(monkeypatch):
    from jensen.games import dual

    monkeypatch.setattr(dual, "_newton", lambda signed, c: (jnp.ones(signed.shape[1]), 0))
    with pytest.raises(JensenError, match="stopped at a gap"):
        solve_discriminator(*problem(30, 3), 0.1)
