"""Eigenvalues against matrices whose spectrum is known without rounding.

With integers throughout, A = Q (Λ + N) Q⁻¹ is exact for a product Q of integer shears, and so are
the eigenvalues of A, however badly they are conditioned.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jensen._errors import InputError, JensenError
from jensen.games.field import Field
from jensen.games.spectrum import (
    Spectrum,
    eigenvalues,
    extreme_eigenvalues,
    flatten,
    jacobian,
)
from jensen.nn.mlp import MLP


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@st.composite
def exact_matrices(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return an integer matrix and its eigenvalues: blocks of Jordan, and turns a ± ib."""
    blocks = draw(
        st.lists(
            st.tuples(st.sampled_from(["jordan", "turn"]), st.integers(1, 3), st.integers(-3, 2)),
            min_size=1,
            max_size=3,
        )
    )
    parts, values = [], []
    for kind, n, a in blocks:
        if kind == "jordan":
            parts.append(a * np.eye(n) + np.diag(np.ones(n - 1), 1))
            values += [complex(a)] * n
        else:
            parts.append(np.array([[a, -n], [n, a]], float))
            values += [complex(a, n), complex(a, -n)]
    d = len(values)
    core = np.zeros((d, d))
    at = 0
    for part in parts:
        core[at : at + len(part), at : at + len(part)] = part
        at += len(part)
    Q, inverse = np.eye(d), np.eye(d)
    shears = draw(
        st.lists(
            st.tuples(st.integers(0, d - 1), st.integers(0, d - 1), st.integers(-3, 3)), max_size=6
        )
    )
    for i, j, factor in shears:
        if i == j:
            continue
        turned = Q.copy()
        turned[:, j] += factor * Q[:, i]
        back = inverse.copy()
        back[i] -= factor * inverse[j]
        if np.linalg.norm(turned) * np.linalg.norm(back) < 1e6:
            Q, inverse = turned, back
    assert np.array_equal(Q @ inverse, np.eye(d))
    return Q @ core @ inverse, np.array(values)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(exact_matrices())
def test_the_stated_error_bounds_the_real_one(case):
    matrix, true = case
    found = eigenvalues(matrix)
    gaps = np.abs(found.values[:, None] - true).min(axis=1)
    assert (gaps <= found.errors).all()
    assert found.whole
    top = true.real.max()
    assert found.continuous in ("marginal", "stable" if top < 0 else "unstable")
    if top == 0:
        assert found.continuous == "marginal"


def test_well_conditioned_eigenvalues_are_certain():
    """The law above would hold with infinite errors; these say that they are small."""
    random = np.random.default_rng(0)
    for n in (2, 5, 40):
        Q = np.linalg.qr(random.normal(size=(n, n)))[0]
        found = eigenvalues(Q @ np.diag(-np.arange(1.0, n + 1)) @ Q.T)
        assert found.errors.max() < 1e-9 * n
        assert found.continuous == "stable"
    assert eigenvalues(np.array([[-1e-9, -1], [1, -1e-9]])).continuous == "stable"
    assert eigenvalues(np.array([[1e-9, -1], [1, 1e-9]])).continuous == "unstable"


@pytest.mark.parametrize("shift", [-1e-7, 0.0, 1e-7])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_next_to_a_defective_matrix_nothing_is_certain(order, shift):
    """An eigenvalue of a Jordan block of order m moves by ε^(1/m), far more than √ε."""
    N = np.diag(np.ones(order - 1), 1)
    Q = np.linalg.qr(np.random.default_rng(order).normal(size=(order, order)))[0]
    found = eigenvalues(Q @ (N + shift * np.eye(order)) @ Q.T)
    top = found.errors.max() > abs(shift)
    assert found.continuous == ("marginal" if top else "stable" if shift < 0 else "unstable")
    assert np.abs(found.values - shift).max() <= found.errors.max()


def test_a_repeated_eigenvalue_with_all_its_vectors_is_certain():
    Q = np.random.default_rng(1).normal(size=(12, 12))
    found = eigenvalues(Q @ np.diag([-30.0] * 8 + [-1.0] * 4) @ np.linalg.inv(Q))
    assert found.continuous == "stable"
    assert found.errors.max() < 1e-6


def test_a_matrix_known_to_seven_digits_gives_no_more():
    turn = np.array([[-1e-8, -1], [1, -1e-8]])
    assert eigenvalues(turn).continuous == "stable"
    assert eigenvalues(turn.astype(np.float32)).continuous == "marginal"
    assert eigenvalues(turn, floor=1e-6).continuous == "marginal"


def test_the_zero_matrix_is_marginal():
    found = eigenvalues(np.zeros((3, 3)))
    assert found.continuous == "marginal"
    assert found.rotation == 0


def test_a_jacobian_that_is_not_finite_is_refused():
    with pytest.raises(JensenError, match="not finite"):
        eigenvalues(np.array([[np.nan, 0], [0, 1]]))


def test_rotation():
    """max |b/a| over the eigenvalues a ± ib."""
    J = np.zeros((5, 5))
    J[:2, :2] = [[-0.5, -2], [2, -0.5]]
    J[2:4, 2:4] = [[-0.1, -0.3], [0.3, -0.1]]
    J[4, 4] = -1e-3
    assert eigenvalues(J).rotation == pytest.approx(4.0, rel=1e-12)
    assert eigenvalues(J[4:, 4:]).rotation == 0
    assert eigenvalues(np.array([[0.0, -1], [1, 0]])).rotation == np.inf


def test_the_jacobian_is_that_of_the_velocity():
    """v = (x³ + 2xy, y - x²): -∂v/∂x by hand, players of different shapes."""

    def losses(players: tuple) -> tuple:
        x, y = players
        return x**4 / 4 + x**2 * y["a"][0], y["a"][0] ** 2 / 2 - x**2 * y["a"][0]

    x, y = 0.7, -0.4
    found = jacobian(losses, (jnp.asarray(x), {"a": jnp.asarray([y])}))
    want = -np.array([[3 * x**2 + 2 * y, 2 * x], [-2 * x, 1]])
    assert np.abs(found - want).max() < 1e-15


def test_the_jacobian_of_players_in_single_precision():
    found = jacobian(lambda p: (p[0] * p[1], -p[0] * p[1]), (np.float32(1), np.float32(2)))
    assert found.dtype == np.float32
    assert found.tolist() == [[0, -1], [1, 0]]


def compare(matrix: np.ndarray, found: Spectrum, count: int) -> None:
    """Each found eigenvalue is one of the matrix; the extreme ones are all there."""
    true = np.linalg.eigvals(matrix)
    size = np.abs(true).max()
    gaps = np.abs(found.values[:, None] - true).min(axis=1)
    assert gaps.max() < 1e-6 * size
    for score in (true.real, np.abs(true), true.imag):
        for value in true[np.argsort(-score)[:count]]:
            assert np.abs(found.values - value).min() < 1e-6 * size


@pytest.mark.parametrize("n", [3, 10, 60])
@pytest.mark.parametrize("seed", [0, 1])
def test_products_alone_give_the_extreme_eigenvalues(n, seed):
    matrix = np.random.default_rng(seed).normal(size=(n, n)) - n**0.5 * np.eye(n)
    found = extreme_eigenvalues(lambda t: matrix @ t, n, count=2)
    assert found.rightmost
    assert not found.whole
    assert found.errors.max() < 1e-7 * np.linalg.norm(matrix)
    compare(matrix, found, 1)


def test_residuals_are_as_stated():
    """The residual of a normal matrix bounds the distance to an eigenvalue (Bauer and Fike)."""
    random = np.random.default_rng(4)
    Q = np.linalg.qr(random.normal(size=(80, 80)))[0]
    matrix = Q @ np.diag(random.normal(size=80)) @ Q.T
    found = extreme_eigenvalues(lambda t: matrix @ t, 80, tolerance=1e-3)
    gaps = np.abs(found.values[:, None] - np.linalg.eigvals(matrix)).min(axis=1)
    assert (gaps <= found.errors + 1e-13).all()
    assert found.errors.max() > 1e-12  # the tolerance was loose: they say so


def test_the_residuals_are_measured_on_the_products_themselves():
    """A map that gains 1e-3 on the diagonal after the search leaves residuals of 1e-3."""
    values, calls = np.linspace(-1, 1, 30), []

    def counted(change_from: float) -> Spectrum:
        calls.clear()

        def product(t: np.ndarray) -> np.ndarray:
            calls.append(1)
            return values * t + (1e-3 * t if len(calls) > change_from else 0)

        return extreme_eigenvalues(product, 30, count=2)

    before = counted(np.inf)
    after = counted(len(calls) - 2 * len(before.values))
    assert before.errors.max() < 1e-8
    assert np.abs(after.errors - 1e-3).max() < 1e-8


def test_a_search_that_did_not_converge_does_not_call_a_flow_stable():
    values, errors = np.array([-1.0 + 0j, -2.0]), np.full(2, 1e-9)
    assert Spectrum(values, errors, False).continuous == "stable"
    assert Spectrum(values, errors, False, rightmost=False).continuous == "marginal"
    assert Spectrum(-values, errors, False, rightmost=False).continuous == "unstable"
    crowded = -np.geomspace(1e-6, 1.0, 400)  # the search for the largest ones is never made
    found = extreme_eigenvalues(lambda t: crowded * t, 400, which=("LM",), count=3)
    assert not found.rightmost
    assert found.continuous == "marginal"
    found = extreme_eigenvalues(lambda t: crowded * t, 400, tolerance=1e-14)  # nor does it converge
    assert not found.rightmost


def test_of_eigenvalues_close_together_the_one_to_the_right_is_kept():
    values = np.array([1e-7, -1e-7, -1.0, -1.0, -1.0])
    found = extreme_eigenvalues(lambda t: values * t, 5, count=3)
    assert found.values.real.max() == pytest.approx(1e-7, rel=1e-3)
    assert found.continuous == "unstable"


def test_the_zero_map():
    found = extreme_eigenvalues(lambda t: 0 * t, 20)
    assert found.values.tolist() == [0]
    assert found.continuous == "marginal"


def test_products_that_are_refused():
    with pytest.raises(JensenError, match="not finite"):
        extreme_eigenvalues(lambda t: t * np.nan, 20)
    with pytest.raises(InputError, match="3 dimensions"):
        extreme_eigenvalues(lambda t: t, 2)


def small_gan() -> tuple[Any, tuple]:
    """A GAN of two small nets away from equilibrium, on fixed samples."""
    random = np.random.default_rng(5)
    data, noise = jnp.asarray(random.normal(size=(16, 2))), jnp.asarray(random.normal(size=(16, 1)))
    nets = (
        MLP(jax.random.key(0), 2, 1, (6,), activation="tanh"),
        MLP(jax.random.key(1), 1, 2, (5,), activation="tanh"),
    )
    leaves, shape = jax.tree.flatten(nets)
    moved = [jnp.asarray(random.normal(scale=0.5, size=leaf.shape)) for leaf in leaves]

    def losses(players: tuple) -> tuple:
        D, G = players
        real, fake = jax.vmap(D)(data)[:, 0], jax.vmap(D)(jax.vmap(G)(noise))[:, 0]
        value = jnp.mean(jax.nn.log_sigmoid(real)) + jnp.mean(jax.nn.log_sigmoid(-fake))
        return -value, value

    return losses, jax.tree.unflatten(shape, moved)


@pytest.mark.slow
def test_a_gan_by_products_and_densely():
    losses, players = small_gan()
    velocity, x = flatten(losses, players)
    product = jax.jit(lambda x, t: jax.jvp(velocity, (x,), (t,))[1])
    dense = jacobian(losses, players)
    found = extreme_eigenvalues(lambda t: np.asarray(product(x, t)), x.size, count=3)
    compare(dense, found, 1)
    images = np.stack([np.asarray(product(x, e)) for e in np.eye(x.size)], axis=1)
    assert np.abs(images - dense).max() < 1e-13
    # the velocity is minus the field, and J its slope: a difference quotient, error of order h²
    h, t = 1e-5, np.random.default_rng(6).normal(size=x.size)
    quotient = (velocity(x + h * t) - velocity(x - h * t)) / (2 * h)
    assert np.abs(dense @ t - quotient).max() < 1e-7
    field = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(Field(losses).v(players))])
    assert np.array_equal(velocity(x), -field)
