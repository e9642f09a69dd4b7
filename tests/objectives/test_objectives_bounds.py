r"""Bounds of log-weights: derivatives, orders, ends, and the exact evidence above them.

Orders hold draw by draw: the mean of M log-means over K weights grows as rows are joined (Jensen),
and power means of the same weights grow with their power. Below log p they are in expectation.
"""

from __future__ import annotations

import inspect
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bound_laws import BOUNDS, Mean, X, exact, far_model, threshold
from scipy.special import logsumexp

from jensen._errors import InputError
from jensen.evaluation.linear_gaussian import log_prob, with_exact_posterior
from jensen.models.latent import Latent
from jensen.objectives import bounds
from jensen.objectives.bounds import CIWAE, ELBO, IWAE, MIWAE, PIWAE, Bound, Renyi

RNG = np.random.default_rng(3)
DRAWS, WEIGHTS = 4000, 256


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


FORMS = {
    **{name: row.bound for name, row in BOUNDS.items()},
    "ELBO-1": ELBO,
    "IWAE-1": lambda: IWAE(1),
    "CIWAE-1-2": lambda: CIWAE(1.0, 2),
    "PIWAE-3-2": lambda: PIWAE(3, 2),
    "Renyi-1-2": lambda: Renyi(1.0, 2),
    "Renyi-0.999-2": lambda: Renyi(0.999, 2),
}


def log_weights(bound: Bound, scale: float = 2.0) -> jax.Array:
    return jnp.asarray(scale * RNG.normal(size=(bound.n_samples, bound.n_particles)))


@cache
def far_log_weights() -> np.ndarray:
    """Return log-weights `(DRAWS, WEIGHTS)` of the far model."""
    model = far_model(2)
    keys = jax.random.split(jax.random.key(5), DRAWS)
    one = jax.jit(jax.vmap(lambda k: model.log_weights(k, jnp.asarray(X), WEIGHTS)))
    return np.asarray(one(keys))


def values(rows: list[Bound], draws: np.ndarray) -> np.ndarray:
    """Return V of each bound and draw, of as many of its first weights as the bound takes."""

    def one(row: jax.Array) -> list[jax.Array]:
        return [
            b.value(row[: b.n_samples * b.n_particles].reshape(b.n_samples, b.n_particles))
            for b in rows
        ]

    return np.stack(jax.jit(jax.vmap(one))(jnp.asarray(draws)))


def test_every_exported_bound_has_a_row() -> None:
    exported = {
        name
        for name, thing in vars(bounds).items()
        if inspect.getmodule(thing) is bounds and not name.startswith("_")
    }
    assert exported - {"Bound", "PowerMean"} == {name.split("-")[0] for name in BOUNDS}


@pytest.mark.parametrize("form", FORMS)
def test_slopes_and_curvatures_are_derivatives(form: str) -> None:
    bound = FORMS[form]()
    at = log_weights(bound)
    slope = jax.grad(bound.value)(at)
    np.testing.assert_allclose(bound.slopes(at), slope, rtol=1e-10, atol=1e-14)
    hessian = jax.hessian(bound.value)(at).reshape(at.size, at.size)
    diagonal = jnp.diagonal(hessian).reshape(at.shape)
    # 1e-12: of numbers near 1, the second derivatives of logsumexp lose three digits
    np.testing.assert_allclose(bound.curvatures(at), diagonal, atol=1e-12)
    assert bound.linear == (float(jnp.abs(hessian).max()) < 1e-13)
    assert float(bound.slopes(at).sum()) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_common_factor_of_the_weights_comes_out(form: str) -> None:
    """V(ℓ + c) = V(ℓ) + c, and V of equal weights is their common value."""
    bound = FORMS[form]()
    at = log_weights(bound)
    for c in (-3000.0, 1.7, 3000.0):
        assert float(bound.value(at + c) - c) == pytest.approx(float(bound.value(at)), abs=1e-8)
    assert float(bound.value(jnp.full_like(at, -1.3))) == pytest.approx(-1.3, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_one_lost_weight_leaves_finite_numbers(form: str) -> None:
    bound = FORMS[form]()
    at = log_weights(bound).at[0, 0].set(-5000.0)
    for found in (bound.value(at), bound.slopes(at), bound.curvatures(at)):
        assert bool(jnp.isfinite(found).all())


def test_values_by_hand() -> None:
    """Weights (1, 3; 2, 6): every bound from its formula in plain numbers."""
    weights = np.array([[1.0, 3.0], [2.0, 6.0]])
    at = jnp.log(jnp.asarray(weights))
    means = np.log(weights).mean(), np.log(weights.mean(1)).mean(), np.log(weights.mean())
    assert float(ELBO(2).value(at[:, :1])) == pytest.approx(np.log(2) / 2)
    assert float(MIWAE(2, 2).value(at)) == pytest.approx(means[1])
    assert float(PIWAE(2, 2).value(at)) == pytest.approx(means[2])
    assert PIWAE(2, 2).for_posterior == MIWAE(2, 2)
    row, first = at[:1], weights[0]
    assert float(IWAE(2).value(row)) == pytest.approx(np.log(2.0))
    mixed = 0.3 * np.log(first).mean() + 0.7 * np.log(2.0)
    assert float(CIWAE(0.3, 2).value(row)) == pytest.approx(mixed)
    assert float(Renyi(0.5, 2).value(row)) == pytest.approx(2 * np.log(np.sqrt(first).mean()))
    assert float(Renyi(2.0, 2).value(row)) == pytest.approx(-np.log((1 / first).mean()))


def test_the_ends_of_every_family() -> None:
    """(M, 1) is the ELBO, (1, K) is IWAE; α and β at their ends; α → 1 is the ELBO."""
    one, many = log_weights(MIWAE(4, 1)), log_weights(IWAE(6))
    assert float(MIWAE(4, 1).value(one)) == float(ELBO(4).value(one)) == float(one.mean())
    iwae = logsumexp(np.asarray(many)) - np.log(6)
    for bound in (IWAE(6), MIWAE(1, 6), CIWAE(0.0, 6), PIWAE(1, 6), Renyi(0.0, 6)):
        assert float(bound.value(many)) == pytest.approx(iwae, rel=1e-14)
        np.testing.assert_allclose(bound.slopes(many), IWAE(6).slopes(many), rtol=1e-14)
    for bound in (CIWAE(1.0, 6), Renyi(1.0, 6)):
        assert float(bound.value(many)) == pytest.approx(float(many.mean()), rel=1e-14)
    assert float(PIWAE(4, 1).value(one)) == pytest.approx(float(IWAE(4).value(one.T)), rel=1e-14)
    # V(α) = mean + ½ (1 - α) variance + O((1-α)²), with a third cumulant of at most 40 here
    near = float(Renyi(1 - 1e-4, 6).value(many))
    expected = float(many.mean() + 0.5e-4 * many.var())
    assert near == pytest.approx(expected, abs=1e-6)


def test_bounds_grow_with_k_draw_by_draw() -> None:
    draws = far_log_weights()
    rows = [MIWAE(WEIGHTS // k, k) for k in (1, 2, 4, 16, 64, 256)]
    assert np.all(np.diff(values(rows, draws), axis=0) > 0)
    rows = [Renyi(2.0, 8), Renyi(1.0, 8), Renyi(0.5, 8), IWAE(8), CIWAE(0.3, 8)]
    *ordered, mixed = values(rows, draws)
    assert np.all(np.diff(np.stack(ordered), axis=0) > 0)
    np.testing.assert_allclose(mixed, 0.3 * ordered[1] + 0.7 * ordered[3], rtol=1e-12)


def test_mean_bounds_stay_below_the_evidence() -> None:
    """Means of 4,000 draws; the chance of one false alarm in the seven is 10⁻⁶."""
    draws, truth = far_log_weights(), evidence()
    rows = [ELBO(1), IWAE(8), IWAE(256), MIWAE(8, 32), CIWAE(0.3, 64), PIWAE(8, 8), Renyi(0.5, 64)]
    z = threshold(1e-6, len(rows))
    found = values(rows, draws)
    assert np.all(found.mean(1) < truth + z * found.std(1) / DRAWS**0.5)
    assert truth - found[0].mean() > 1.0  # nats: the start is far
    # what some report in its place, Σ w̃ log w, is above the evidence, and not by chance
    shares = np.exp(draws - logsumexp(draws, axis=1, keepdims=True))
    wrong = np.sum(shares * draws, axis=1)
    assert wrong.mean() > truth + z * wrong.std() / DRAWS**0.5


def test_exact_means_are_ordered() -> None:
    """L₁ < L₂ (two latents) and L₁ < L₂ < L₄ (one latent) < log p, by quadrature; Rényi between."""
    two = [exact(far_model(2), m)[0] for m in (Mean(2, power=-1.0), Mean(), Mean(2, power=0.5))]
    two += [exact(far_model(2), Mean(2))[0], evidence(2)]
    one = [exact(far_model(1), Mean(n))[0] for n in (1, 2, 4)]
    one.append(evidence(1))
    # 1e-5, the error of the quadrature
    assert np.all(np.diff(two) > 1e-5)
    assert np.all(np.diff(one) > 1e-5)


def evidence(dim: int = 2) -> float:
    return float(log_prob(far_model(dim), X[None])[0])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_with_the_exact_posterior_every_bound_is_the_evidence(precision: str) -> None:
    """Every weight is p(x): 1e-10 in float64, 1e-5 in float32, where log p is near -7."""
    with jax.enable_x64(precision == "float64"):
        model = far_model(2) if precision == "float64" else in_float32(far_model(2))
        model = with_exact_posterior(model)
        truth = log_prob(model, X.astype(precision)[None])[0]
        tolerance = 1e-10 if precision == "float64" else 1e-5
        one = jax.jit(lambda key, x: model.log_weights(key, x, 60))
        draws = one(jax.random.key(2), jnp.asarray(X))
        assert draws.dtype == precision
        for m, k in ((60, 1), (1, 60), (12, 5), (5, 12)):
            for bound in (MIWAE(m, k), PIWAE(m, k)):
                found = float(bound.value(draws.reshape(m, k)))
                assert found == pytest.approx(truth, abs=tolerance)
        for bound in (ELBO(60), CIWAE(0.3, 60), Renyi(0.5, 60), Renyi(2.0, 60)):
            shaped = draws.reshape(bound.n_samples, bound.n_particles)
            assert float(bound.value(shaped)) == pytest.approx(truth, abs=tolerance)


def in_float32(model: Latent) -> Latent:
    return jax.tree.map(
        lambda a: jnp.asarray(a, jnp.float32) if eqx.is_inexact_array(a) else a, model
    )


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: IWAE(0), "n_particles"),
        (lambda: ELBO(0), "n_samples"),
        (lambda: MIWAE(-1, 3), "n_samples"),
        (lambda: MIWAE(3, 0), "n_particles"),
        (lambda: PIWAE(0, 2), "n_samples"),
        (lambda: CIWAE(0.5, 0), "n_particles"),
        (lambda: CIWAE(-0.1, 2), "mix"),
        (lambda: CIWAE(1.1, 2), "mix"),
        (lambda: CIWAE(float("nan"), 2), "mix"),
        (lambda: Renyi(-0.5, 2), "alpha"),
        (lambda: Renyi(float("nan"), 2), "alpha"),
        (lambda: ELBO(2, beta=0.0), "beta"),
        (lambda: ELBO(2, beta=-1.0), "beta"),
        (lambda: ELBO(2, beta=float("nan")), "beta"),
        (lambda: bounds.PowerMean(1, 3, beta=2.0), "beta"),
    ],
)
def test_numbers_out_of_range_are_refused(make, word: str) -> None:
    with pytest.raises(InputError, match=word):
        make()
