r"""The scalar root and its implicit derivative, against closed forms.

y + eʸ = r has the root y = r − W(eʳ) with slope 1/(1 + eʸ), where W is Lambert's function.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

from jensen.bijections.root import increasing_root

EPS = float(np.finfo(np.float64).eps)
TARGETS = np.array([-30.0, -3.0, -0.1, 0.0, 0.4, 1.0, 2.0, 7.0, 40.0])


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def exponential(params, y):
    a, r = params
    return y + jnp.exp(a * y) - r


def solve(r, a=1.0):
    """The root lies between r and a point so far left that f < 0 there."""
    return increasing_root(exponential, (jnp.asarray(a), r), r, r - jnp.exp(a * r) - 1)


def exact(r):
    return r - lambertw(np.exp(r)).real


def test_root_is_lamberts():
    y = np.asarray(jax.vmap(solve)(jnp.asarray(TARGETS)))
    # rounding of r and of y, carried through the slope, which is at least one
    assert (np.abs(y - exact(TARGETS)) <= 4 * EPS * (1 + np.abs(TARGETS))).all()


@pytest.mark.parametrize("derivative", [jax.jacfwd, jax.jacrev])
def test_derivatives_are_the_closed_forms(derivative):
    r, y = 1.3, exact(1.3)
    grown = np.exp(y)
    first = derivative(lambda r: solve(r))(jnp.asarray(r))
    by_a = derivative(lambda a: solve(jnp.asarray(r), a))(jnp.asarray(1.0))
    second = derivative(derivative(lambda r: solve(r)))(jnp.asarray(r))
    assert float(first) == pytest.approx(1 / (1 + grown), rel=1e-13)
    assert float(by_a) == pytest.approx(-y * grown / (1 + grown), rel=1e-13)
    assert float(second) == pytest.approx(-grown / (1 + grown) ** 3, rel=1e-12)


def test_derivative_is_that_of_an_unrolled_newton_iteration():
    def unrolled(a, r):
        y = r
        for _ in range(60):
            y = y - (y + jnp.exp(a * y) - r) / (1 + a * jnp.exp(a * y))
        return y

    at = jnp.asarray(0.7), jnp.asarray(2.5)
    ours = jax.grad(lambda a, r: solve(r, a), (0, 1))(*at)
    assert np.allclose(ours, jax.grad(unrolled, (0, 1))(*at), rtol=1e-12)


def kink(params, y):
    """Steep only within 1/5000 of y = 1: Newton's steps from the flat sides leave the bracket."""
    return y - params + 50 * jnp.tanh(5000 * (y - 1))


@pytest.mark.parametrize("start", [-60.0, 0.0, 0.9, 1.0, 60.0])
@pytest.mark.parametrize("r", [-49.5, -20.0, 1.0, 3.0, 51.0, 58.0])
def test_bisection_saves_newton(r, start):
    r = jnp.asarray(r)
    value = float(kink(r, jnp.asarray(start)))
    other = 70.0 if value < 0 else -70.0
    y = increasing_root(kink, r, jnp.asarray(start), jnp.asarray(other))
    below, above = (float(kink(r, y + s * 8 * EPS * (1 + abs(float(y))))) for s in (-1, 1))
    # the sign changes within a few units in the last place of y, and rounding of f beside it
    assert below <= 64 * EPS * 60
    assert above >= -64 * EPS * 60


def test_newton_alone_fails_there():
    """What the test above guards against happens: it is no easy equation."""
    y = 0.9
    for _ in range(60):
        y -= float(kink(3.0, jnp.asarray(y))) / (
            1 + 250_000 / np.cosh(np.clip(5000 * (y - 1), -300, 300)) ** 2
        )
        if abs(y) > 1e3:
            break
    assert abs(float(kink(3.0, jnp.asarray(y)))) > 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_number_gives_no_number_and_ends(bad):
    assert np.isnan(float(jax.jit(solve)(jnp.asarray(bad))))


def test_maps_compiles_and_scans_alike():
    r = jnp.asarray(TARGETS)
    together = jax.jit(jax.vmap(solve))(r)
    _, scanned = jax.lax.scan(lambda c, r: (c, solve(r)), 0, r)
    alone = jnp.stack([solve(x) for x in r])
    for other in (scanned, alone):
        assert np.abs(np.asarray(other - together)).max() <= 4 * EPS * 41
    gradients = jax.vmap(jax.grad(solve))(r)
    through = jax.grad(lambda r: jax.lax.scan(lambda c, x: (c + solve(x), None), 0.0, r)[0])(r)
    assert np.allclose(gradients, through, rtol=1e-13)
