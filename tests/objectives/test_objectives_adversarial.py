r"""Adversarial losses: the best logit and the best value against closed forms and quadrature.

p = N(0, 1) and q = N(m, s²). Integrals over x are trapezoidal sums over [-40, 40], where every
integrand has vanished: they converge faster than any power of the step. The hinge has kinks, which
cost 10⁻⁶.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit
from scipy.stats import norm

from jensen._errors import InputError
from jensen.games.field import Field
from jensen.games.rules import Alternating, Update
from jensen.models.implicit import Discriminator, Generator
from jensen.objectives.adversarial import (
    LOSSES,
    Adversarial,
    FDivergence,
    LeastSquares,
    Logistic,
    Loss,
    Wasserstein,
    loss_named,
    pack,
)
from jensen.objectives.divergences import DIVERGENCES
from jensen.objectives.penalties import GradientPenalty, ZeroCentred

X = np.linspace(-40.0, 40.0, 80_001)
JSD = {(1.0, 1.0): 0.1114214822, (0.5, 1.0): 0.0303113005, (1.0, 2.0): 0.1281749730}
"""Jensen–Shannon divergence of N(0, 1) and N(m, s²), nats, by quadrature elsewhere."""


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def integral(values: np.ndarray) -> float:
    return float(np.trapezoid(values, X))


def laws(m: float, s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return p, q and log p/q on the grid."""
    log_p, log_q = norm.logpdf(X), norm.logpdf(X, m, s)
    return np.exp(log_p), np.exp(log_q), log_p - log_q


def best(loss: Loss, m: float, s: float) -> float:
    """Return the discriminator's loss at its optimum."""
    p, q, log_ratio = laws(m, s)
    logit = jnp.clip(loss.optimum(jnp.asarray(log_ratio)), -1e300, 1e300)
    return integral(p * np.asarray(loss.real(logit)) + q * np.asarray(loss.fake(logit)))


def weighted(weight: float) -> Loss:
    return Logistic(weight)


SMOOTH = [
    *(loss_named(name) for name in LOSSES if name not in ("wasserstein", "total-variation")),
    weighted(0.2),
    weighted(5.0),
    LeastSquares(high=2.0, low=-1.0),
]


@pytest.mark.parametrize("loss", SMOOTH, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("log_ratio", [-3.0, -0.4, 0.0, 1.1, 3.0])
def test_the_optimum_is_the_best_logit(loss: Loss, log_ratio: float) -> None:
    q = 1 / (1 + np.exp(log_ratio))
    grid = np.linspace(-12, 12, 240_001)
    value = (1 - q) * np.asarray(loss.real(grid)) + q * np.asarray(loss.fake(grid))
    at = float(loss.optimum(jnp.asarray(log_ratio)))
    found = (1 - q) * float(loss.real(jnp.asarray(at))) + q * float(loss.fake(jnp.asarray(at)))
    assert found <= value.min() + 1e-12
    # a hinge at p = q is flat between -1 and 1; elsewhere the optimum is the only one
    if log_ratio != 0.0:
        assert abs(at - grid[value.argmin()]) < 1e-3


@pytest.mark.parametrize(("m", "s"), JSD)
def test_the_logistic_optimum_is_two_jsd_less_log_four(m: float, s: float) -> None:
    for saturating in (False, True):
        value = best(Logistic(saturating=saturating), m, s)
        assert abs(value - (2 * np.log(2) - 2 * JSD[m, s])) < 1e-9


@pytest.mark.parametrize("weight", [0.2, 1.0, 5.0])
@pytest.mark.parametrize(("m", "s"), [(1.0, 1.0), (-2.0, 0.5)])
def test_the_weighted_optimum_is_its_f_divergence(weight: float, m: float, s: float) -> None:
    def f(u: np.ndarray) -> np.ndarray:
        w = weight
        tail = (1 + w) * np.log(1 + w) - w * np.log(w)
        return u * np.log(u / (u + w)) + w * np.log(w / (w + u)) + tail

    _, q, log_ratio = laws(m, s)
    divergence = integral(q * f(np.exp(np.clip(log_ratio, -600, 600))))
    constant = weight * np.log(weight) - (1 + weight) * np.log(1 + weight)
    assert abs(f(np.array(1.0))) < 1e-12
    assert abs(-best(Logistic(weight), m, s) - (divergence + constant)) < 1e-8


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kl", 0.5 * 0.7**2),
        ("reverse-kl", 0.5 * 0.7**2),
        ("pearson", np.expm1(0.7**2)),
        ("neyman", np.expm1(0.7**2)),
        ("hellinger", 1 - np.exp(-(0.7**2) / 8)),
    ],
)
def test_f_divergences_of_shifted_normals(name: str, expected: float) -> None:
    # beyond |log p/q| = 13, which both laws reach with a chance below 1e-70, tangents take over
    assert abs(-best(loss_named(name), 0.7, 1.0) - expected) < 1e-8


def test_total_variation_tends_to_its_bound() -> None:
    loss = FDivergence(DIVERGENCES["total-variation"])
    assert float(loss.optimum(jnp.asarray(-0.3))) == -np.inf
    assert float(loss.optimum(jnp.asarray(0.0))) == 0.0
    exact = 2 * norm.cdf(0.5) - 1  # of N(0, 1) and N(1, 1)
    assert abs(-best(loss, 1.0, 1.0) - exact) < 1e-6


def test_least_squares_and_hinge_by_quadrature() -> None:
    p, q, _ = laws(1.0, 2.0)
    harmonic = integral(p * q / (p + q))
    assert abs(best(LeastSquares(2.0, -1.0), 1.0, 2.0) - 4.5 * harmonic) < 1e-9
    assert abs(best(loss_named("hinge"), 1.0, 2.0) - 2 * integral(np.minimum(p, q))) < 1e-6


def test_a_wasserstein_critic_of_slope_one_reaches_the_distance() -> None:
    p, q, _ = laws(1.5, 1.0)  # the distance of a shift is the shift, at C(x) = -x
    loss = Wasserstein()
    value = integral(p * np.asarray(loss.real(-X)) + q * np.asarray(loss.fake(-X)))
    assert abs(value + 1.5) < 1e-9
    for slope in (0.9, -1.0):
        worse = integral(p * np.asarray(loss.real(-slope * X)) + q * np.asarray(-slope * X))
        assert worse > value + 0.1
    with pytest.raises(InputError, match="no optimum"):
        loss.optimum(jnp.zeros(()))


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_logistic_gradients_are_right_where_sigmoids_round(weight: float) -> None:
    """In float32 σ(-100) is below rounding; log(σ + ε) has no gradient there."""
    a = np.concatenate([np.linspace(-100, 100, 81), [-25.0, 25.0]]).astype("f4")
    minimax, other = Logistic(weight, saturating=True), Logistic(weight)

    def slope(function: Any) -> np.ndarray:
        with jax.enable_x64(False):
            return np.asarray(jax.vmap(jax.grad(function))(jnp.asarray(a, jnp.float32)), "f8")

    exact = a.astype("f8")
    # a few roundings of float32, whose smallest numbers (below 1.2e-38) may be flushed to 0
    close = {"rtol": 3e-6, "atol": weight * 1.2e-38}
    np.testing.assert_allclose(slope(other.real), -expit(-exact), **close)
    np.testing.assert_allclose(slope(other.fake), weight * expit(exact), **close)
    np.testing.assert_allclose(slope(other.generator), -expit(-exact), **close)
    np.testing.assert_allclose(slope(minimax.generator), -weight * expit(exact), **close)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_from_minus_to_plus_one_hundred(name: str) -> None:
    loss, a = loss_named(name), np.linspace(-100, 100, 401).astype("f4")
    for part in (loss.real, loss.fake, loss.generator):
        with jax.enable_x64(False):
            value, slope = jax.vmap(jax.value_and_grad(part))(jnp.asarray(a, jnp.float32))
        exact, exact_slope = jax.vmap(jax.value_and_grad(part))(jnp.asarray(a, jnp.float64))
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()
        # float32 rounds an exponent of 40 by 40 · 6e-8, and the exponential with it
        np.testing.assert_allclose(value, exact, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(slope, exact_slope, rtol=2e-5, atol=2e-6)


def test_discriminators_lose_less_where_they_are_right() -> None:
    a = jnp.linspace(-0.9, 0.9, 19)
    for name in LOSSES:
        loss = loss_named(name)
        assert (np.diff(np.asarray(loss.real(a))) < 0).all()
        assert (np.diff(np.asarray(loss.fake(a))) > 0).all() or name == "least-squares"
        assert (np.diff(np.asarray(loss.generator(a))) < 0).all()


def players(packing: int = 1, spectral: bool = False) -> tuple[Discriminator, Generator]:
    pair = (
        Discriminator(jax.random.key(0), 2 * packing, (7, 7), spectral=spectral),
        Generator(jax.random.key(1), 2, (6,), latent_dim=3),
    )
    rng = np.random.default_rng(0)
    arrays, static = eqx.partition(pair, eqx.is_inexact_array)
    arrays = jax.tree.map(lambda a: jnp.asarray(0.5 * rng.standard_normal(a.shape)), arrays)
    return eqx.combine(arrays, static)


ROWS = np.random.default_rng(1).standard_normal((5, 2))


@pytest.mark.parametrize("packing", [1, 2, 5, 7])
def test_the_objective_is_what_it_says(packing: int) -> None:
    pair, key = players(packing), jax.random.key(4)
    objective = Adversarial(Logistic(2.0), (ZeroCentred(0.3),), packing)
    loss_d, loss_g = objective(pair, jnp.asarray(ROWS), key)

    packs = -(-5 // packing)
    order = [i % 5 for i in range(packs * packing)]
    real = ROWS[order].reshape(packs, -1)
    noise = pair[1].noise(jax.random.split(key)[0], (packs * packing,))
    fake = np.stack([pair[1](z) for z in noise]).reshape(packs, -1)
    on_real, on_fake = (np.array([pair[0](x) for x in rows]) for rows in (real, fake))
    slopes = np.stack([jax.grad(pair[0])(jnp.asarray(x)) for x in real])
    expected = np.logaddexp(0, -on_real).mean() + 2 * np.logaddexp(0, on_fake).mean()
    expected += 0.15 * (slopes**2).sum(axis=1).mean()
    assert abs(float(loss_d) - expected) < 1e-10
    assert abs(float(loss_g) - np.logaddexp(0, -on_fake).mean()) < 1e-10


def test_packs_lose_no_row() -> None:
    assert pack(jnp.asarray(ROWS), 1).tolist() == ROWS.tolist()
    assert pack(jnp.asarray(ROWS), 2).shape == (3, 4)
    assert pack(jnp.asarray(ROWS), 2)[2].tolist() == [*ROWS[4], *ROWS[0]]
    with pytest.raises(InputError, match="packing"):
        Adversarial(Logistic(), packing=0)


def test_a_discriminators_step_changes_no_leaf_of_the_generator() -> None:
    pair, key = players(), jax.random.key(2)
    objective = Adversarial(Logistic(), (GradientPenalty(),))
    arrays, static = eqx.partition(pair, eqx.is_inexact_array)
    field = Field(lambda p: objective(eqx.combine(p, static), jnp.asarray(ROWS), key))
    adam = optax.adam(1e-2)
    moved = []

    def change(i: int, gradient: Any, state: Any, player: Any) -> tuple[Any, Any]:
        moved.append((i, jax.tree.structure(gradient) == jax.tree.structure(arrays[i])))
        return adam.update(gradient, state, player) if i == 0 else (jax.tree.map(
            jnp.zeros_like, player), state)  # fmt: skip

    states = tuple(adam.init(player) for player in arrays)
    step = Alternating(inner=3).step(field, Update(change), arrays, states, ())
    assert moved == [(0, True)] * 3 + [(1, True)]
    for before, after in zip(*map(jax.tree.leaves, (arrays[1], step.players[1])), strict=True):
        assert (np.asarray(before) == np.asarray(after)).all()
    for before, after in zip(*map(jax.tree.leaves, (arrays[0], step.players[0])), strict=True):
        assert (np.asarray(before) != np.asarray(after)).any()


def test_names_and_weights_are_checked() -> None:
    with pytest.raises(InputError, match=r"unknown loss 'hing'.*did you mean 'hinge'"):
        loss_named("hing")
    with pytest.raises(InputError, match="no weight"):
        loss_named("hinge", 2.0)
    for weight in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="above 0"):
            Logistic(weight)
