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
    quick = solve_discriminator(X, y, c)
    assert 0 <= quick.gap <= 1e-12 * quick.primal_value + 1e-15
    link = (quick.dual * y) @ X / (c * n)
    assert np.linalg.norm(link - quick.weights) <= 1.01 * np.sqrt(2 * (quick.gap + 1e-15) / c)
    found = solve_discriminator(X, y, c, tolerance=0)
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


@pytest.mark.parametrize("products", [0, 1, 12])
@pytest.mark.parametrize(("n", "d"), [(80, 6), (12, 30)])
def test_direct_and_conjugate_steps_end_at_the_same_weights(n, d, products, monkeypatch):
    """0 products: every system is factored; 1: factors precondition the systems after them."""
    from jensen.games import dual

    monkeypatch.setattr(dual, "_PRODUCTS", products)
    X, y = problem(n, d)
    X = X * np.logspace(0, 3, d) + 10.0  # far from round
    found = solve_discriminator(X, y, 1e-2)
    assert found.gap <= 1e-10 * found.primal_value
    with jax.enable_x64(True):
        value = float(dual_value(jnp.asarray(y[:, None] * X), 1e-2))
    # another program: Newton's method with step halving, compiled
    assert abs(value - found.primal_value) <= 1e-10 * value


@pytest.mark.parametrize(("n", "d"), [(80, 6), (12, 30)])
def test_a_newton_system_is_factored_exactly(n, d):
    from jensen.games import dual

    X = problem(n, d)[0]
    curvature = np.random.default_rng(1).uniform(0, 0.25, n) / n
    gradient = np.random.default_rng(2).normal(size=d)
    hessian = 0.5 * np.eye(d) + (X.T * curvature) @ X
    expected = np.linalg.solve(hessian, gradient)
    assert np.allclose(dual._factored(X, curvature, 0.5)(gradient), expected, rtol=1e-10)
    single = X.astype(np.float32)
    for precondition in (None, lambda r: np.linalg.solve(hessian + 0.1 * np.eye(d), r)):
        found = dual._conjugate(single, curvature, 0.5, gradient, precondition, 1e-3)
        assert np.linalg.norm(hessian @ found + gradient) <= 1.1e-3  # single precision: 1e-7


def test_a_near_factor_needs_few_products():
    """Off by a matrix of rank 2 it leaves three eigenvalues: three products; alone, dozens."""
    from jensen.games import dual

    n, d = 300, 40
    X = problem(n, d)[0] * np.logspace(0, 2, d)
    curvature = np.full(n, 0.25 / n)
    hessian = 0.5 * np.eye(d) + (X.T * curvature) @ X
    root = np.linalg.cholesky(hessian)
    off = np.diag(np.r_[9.0, 1.0, np.zeros(d - 2)])
    near = root @ (np.eye(d) + off) @ root.T
    gradient = root @ np.ones(d)
    tolerance = 1e-3 * np.linalg.norm(gradient)
    arguments = X.astype(np.float32), curvature, 0.5, gradient
    found = dual._conjugate(*arguments, lambda r: np.linalg.solve(near, r), tolerance)
    assert found is not None
    assert np.linalg.norm(hessian @ found + gradient) <= 1.1 * tolerance
    assert dual._conjugate(*arguments, None, tolerance) is None


def test_a_factor_serves_the_steps_after_it(monkeypatch):
    from jensen.games import dual

    made, factored = [], dual._factored
    monkeypatch.setattr(dual, "_factored", lambda *a: made.append(1) or factored(*a))
    X, y = problem(400, 40)
    found = solve_discriminator(X * np.logspace(0, 3, 40), y, 1e-3)
    assert 1 <= len(made) < found.steps / 2


def test_a_step_ends_where_the_slope_is_small():
    """A full step would go far beyond the minimum: three margins rise by 200, one falls by 150."""
    from jensen.games import dual

    slopes = np.array([200.0, 200.0, 200.0, -150.0])
    fall = 0.5 * slopes.mean()
    rate, alpha = dual._along(np.zeros(4), slopes, 0.0, 0.1, fall)
    assert np.allclose(alpha, expit(-rate * slopes))
    assert abs(0.1 * rate - (alpha @ slopes) / 4) <= 0.3 * fall
    assert abs(0.1 - (expit(-slopes) @ slopes) / 4) > 0.3 * fall


def test_what_overflows_single_precision_is_no_warning():
    """The gap cannot be certified where columns differ by 10⁴²: an error says what helps."""
    X, y = problem(60, 3)
    X[:, 0] *= 1e42
    with pytest.raises(JensenError, match="scale the columns"):
        solve_discriminator(X, y, 0.1)
    scaled = X / np.abs(X).max(axis=0)
    assert solve_discriminator(scaled, y, 0.1).gap < 1e-12


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

    monkeypatch.setattr(dual, "_truncated_newton", lambda *_: (np.ones(3), 0))
    with pytest.raises(JensenError, match="stopped at a gap"):
        solve_discriminator(*problem(30, 3), 0.1)


def test_the_tolerance_is_checked():
    with pytest.raises(InputError, match="tolerance"):
        solve_discriminator(*problem(30, 3), 0.1, tolerance=1e-3)


def test_a_ridge_lost_in_rounding_is_an_error(monkeypatch):
    """Of two equal columns of size 10⁸ the Hessian is singular in double precision."""
    from jensen.games import dual

    monkeypatch.setattr(dual, "_PRODUCTS", 0)  # factor at once
    X, y = problem(30, 1, scale=1e8)
    with pytest.raises(JensenError, match="larger ridge"):
        solve_discriminator(np.tile(X, 2), y, 1e-12)
