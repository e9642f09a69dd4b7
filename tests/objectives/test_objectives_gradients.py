r"""Gradient estimators: means against exact gradients, far from the optimum, by z-tests.

For every legal pair of a bound and an estimator, the mean over `DRAWS` draws is compared with the
exact gradient by quadrature (`bound_laws`), component by component: decoder, σ, prior and encoder.
Both numbers of weights in a row and rows are two or three, and differ. The threshold makes the
chance of one alarm in the whole table 10⁻⁶, by Bonferroni.
"""

from __future__ import annotations

import inspect
from functools import cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bound_laws import BOUNDS, Mean, Row, X, exact, far_model, threshold
from jax.flatten_util import ravel_pytree

from jensen._errors import InputError
from jensen.models.distributions import Known, normal
from jensen.models.latent import Latent
from jensen.objectives import gradients
from jensen.objectives.bounds import CIWAE, ELBO, IWAE, MIWAE, PIWAE, Bound, Renyi
from jensen.objectives.gradients import GRADIENTS, Estimator, kl_divergence, lower_bound
from jensen.objectives.variational import NegativeBound

DRAWS = 80_000
QUADRATURE = 1e-5
"""The error of an exact gradient that is allowed for; `test_the_exact_gradients` sees 3·10⁻⁶."""

ALL = set(BOUNDS)
LINEAR = {"ELBO-3", "ELBO-2-beta-4"}
LEGAL = {
    "reparameterised": ALL,
    "sticking-the-landing": LINEAR,
    "doubly-reparameterised": ALL,
    "score-function": ALL,
    "vimco": ALL - LINEAR,
    "closed-form-kl": LINEAR,
}
"""The bounds that each estimator is for."""

TESTS = 27 * sum(len(bounds) for bounds in LEGAL.values())
"""Components of the largest model, times pairs."""

Z = threshold(1e-6, TESTS)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def legal(name: str) -> dict[str, Estimator]:
    return {g: GRADIENTS[g]() for g, bounds in LEGAL.items() if name in bounds}


@cache
def estimated(name: str) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Return, for each legal estimator, mean and error of the value and of the gradient."""
    row = BOUNDS[name]
    return means(row.bound(), far_model(row.dim), legal(name))


def means(bound: Bound, model: Latent, estimators: dict[str, Estimator]) -> dict[str, Any]:
    arrays, static = eqx.partition(model, eqx.is_inexact_array)
    flat, back = ravel_pytree(arrays)
    x = jnp.asarray(X)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiles faster
    def run(flat: jax.Array, keys: jax.Array) -> Any:
        def one(key: jax.Array) -> Any:
            def value(flat: jax.Array, estimator: Estimator) -> jax.Array:
                return lower_bound(eqx.combine(back(flat), static), x, key, bound, estimator)

            return {g: jax.value_and_grad(value)(flat, e) for g, e in estimators.items()}

        draws = jax.vmap(one)(keys)
        mean = jax.tree.map(lambda a: a.mean(0), draws)
        error = jax.tree.map(lambda a: a.std(0) / DRAWS**0.5, draws)
        first = {g: value[:100] for g, (value, _) in draws.items()}
        return mean, error, first

    mean, error, first = jax.tree.map(np.asarray, run(flat, jax.random.split(key(), DRAWS)))
    return {g: (*mean[g], *error[g], first[g]) for g in estimators}


def key(seed: int = 11) -> jax.Array:
    return jax.random.key(seed)


def exact_gradient(row: Row) -> np.ndarray:
    """Return the exact gradient that trains, flat: the posterior's may be of another bound."""
    model = far_model(row.dim)
    whole = exact(model, row.model or row.value)[1]
    other = exact(model, row.posterior or row.model or row.value)[1]
    both = eqx.tree_at(lambda m: m.posterior, whole, other.posterior)
    return np.asarray(ravel_pytree(both)[0])


def within(mean: np.ndarray, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
    return np.abs(mean - truth) <= Z * error + QUADRATURE


def test_every_estimator_and_every_bound_has_a_row() -> None:
    found = {
        e
        for _, e in inspect.getmembers(gradients, inspect.isclass)
        if issubclass(e, Estimator) and e is not Estimator
    }
    assert found == set(GRADIENTS.values())
    assert set(LEGAL) == set(GRADIENTS)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_pair_is_legal_or_raises(name: str) -> None:
    bound = BOUNDS[name].bound()
    for gradient, bounds in LEGAL.items():
        if name in bounds:
            NegativeBound(bound, GRADIENTS[gradient]())
        else:
            with pytest.raises(InputError, match="gradient"):
                NegativeBound(bound, GRADIENTS[gradient]())


@pytest.mark.parametrize(
    "bound",
    [IWAE(1), MIWAE(3, 1), CIWAE(1.0, 4), CIWAE(0.2, 1), Renyi(1.0, 4), PIWAE(1, 1)],
    ids=lambda b: f"{type(b).__name__}-{b.n_samples}-{b.n_particles}",
)
def test_a_bound_that_has_become_an_elbo_is_one(bound: Bound) -> None:
    NegativeBound(bound, GRADIENTS["sticking-the-landing"]())
    NegativeBound(bound, GRADIENTS["closed-form-kl"]())
    with pytest.raises(InputError, match="at least two particles"):
        NegativeBound(bound, GRADIENTS["vimco"]())


def test_vimco_needs_two_weights_that_the_posterior_sees_together() -> None:
    with pytest.raises(InputError, match="at least two particles"):
        NegativeBound(PIWAE(4, 1), GRADIENTS["vimco"]())


def test_the_exact_gradients() -> None:
    """Quadrature on two grids, and the ELBO and the β-VAE's objective by Gaussian algebra."""
    for dim, which in ((2, Mean(2)), (2, Mean(2, power=-1.0)), (1, Mean(4))):
        one, other = (exact(far_model(dim), which, shift) for shift in (0.0, 0.5))
        assert other[0] == pytest.approx(one[0], abs=QUADRATURE)
        assert apart(one[1], other[1]) < QUADRATURE
    for beta in (1.0, 4.0):
        value, gradient = exact(far_model(2), Mean(beta=beta))
        by_hand, slope = eqx.filter_value_and_grad(gaussian_elbo)(far_model(2), beta)
        assert value == pytest.approx(float(by_hand), abs=QUADRATURE)
        assert apart(gradient, slope) < QUADRATURE


def apart(one: Any, other: Any) -> float:
    """Return the largest difference of two pytrees of the same shape."""
    return float(jnp.abs(ravel_pytree(one)[0] - ravel_pytree(other)[0]).max())


def gaussian_elbo(model: Any, beta: float) -> jax.Array:
    """E_q log p(x | z) - β KL(q ‖ p), both in closed form."""
    x, decoder, encoder = jnp.asarray(X), model.likelihood.decoder, model.posterior.encoder
    mean, log_v = jnp.split(encoder.weights[0] @ x + encoder.biases[0], 2)
    noise = jnp.exp(model.likelihood.observation.scale.log_variance)
    w = decoder.weights[0]
    spread = (x - w @ mean - decoder.biases[0]) ** 2 + w**2 @ jnp.exp(log_v)
    log_lik = -0.5 * jnp.sum(jnp.log(2 * jnp.pi * noise) + spread / noise)
    prior_v = jnp.exp(model.prior.log_variance)
    ratio = (jnp.exp(log_v) + (mean - model.prior.mean) ** 2) / prior_v
    return log_lik - beta * 0.5 * jnp.sum(ratio - 1.0 + model.prior.log_variance - log_v)


@pytest.mark.parametrize("name", BOUNDS)
def test_the_mean_gradient_is_exact(name: str) -> None:
    row = BOUNDS[name]
    truth = exact_gradient(row)
    value = exact(far_model(row.dim), row.value)[0]
    far = np.abs(truth).max()
    assert far > 1.0  # nats per unit: not a gradient that any estimator would pass
    for gradient, (mean, slope, mean_error, error, _) in estimated(name).items():
        assert within(mean, value, mean_error), gradient
        assert within(slope, truth, error).all(), gradient
        assert error.max() < 0.1 * far, gradient  # else agreement would say little


@pytest.mark.parametrize("name", BOUNDS)
def test_the_value_is_the_bound_whatever_the_estimator(name: str) -> None:
    """Of the same draws; with the KL divergence in closed form it is another draw of the ELBO."""
    first = {g: values for g, (*_, values) in estimated(name).items() if g != "closed-form-kl"}
    row, reference = BOUNDS[name], first["reparameterised"]
    bound, model = row.bound(), far_model(row.dim)
    keys = jax.random.split(key(), DRAWS)[:100]
    n = bound.n_samples * bound.n_particles
    log_w = jax.jit(jax.vmap(lambda k: model.log_weights(k, jnp.asarray(X), n)))(keys)
    shaped = log_w.reshape(-1, bound.n_samples, bound.n_particles)
    np.testing.assert_allclose(reference, jax.vmap(bound.value)(shaped), rtol=1e-12)
    for values in first.values():
        np.testing.assert_allclose(values, reference, rtol=1e-12)


class _Unchecked(Estimator):
    """Sticking the landing, for bounds it is not for."""

    def check(self, bound: Bound) -> None:
        """Accept every bound."""

    def terms(self, model: Any, x: Any, key: Any, bound: Bound) -> tuple[jax.Array, jax.Array]:
        """Return the terms of the estimator it stands for."""
        return GRADIENTS["sticking-the-landing"]().terms(model, x, key, bound)


class _Unscored(Estimator):
    """A mutant of the score function: the -a that goes with a weight's own denominator is lost."""

    def check(self, bound: Bound) -> None:
        """Accept every bound."""

    def terms(self, model: Latent, x: Any, key: Any, bound: Bound) -> Any:
        """Return V, and a surrogate whose score coefficient is V alone."""
        z, log_q = model.posterior(x).sample_and_log_prob(key, bound.n_particles)
        z = jax.lax.stop_gradient(z)
        prior = model.prior.distribution(model.posterior)
        joint = jax.vmap(lambda k: model.likelihood.log_prob(x, k) + prior.log_prob(k))(z)
        value = bound.value((joint - jax.lax.stop_gradient(log_q))[None])
        scores = jax.vmap(model.posterior(x).log_prob)(z)
        return value, value + jax.lax.stop_gradient(value) * jnp.sum(scores)


def test_the_z_test_sees_mutants() -> None:
    """Sticking the landing for IWAE is biased, and so is a score function without its -a."""
    mutants = {"stl": _Unchecked(), "unscored": _Unscored()}
    truth = exact_gradient(BOUNDS["IWAE-2"])
    for name, (_, slope, _, error, _) in means(IWAE(2), far_model(2), mutants).items():
        assert not within(slope, truth, error).all(), name


def test_signal_to_noise_of_the_encoder() -> None:
    """Reparameterised IWAE loses it as K^-½; doubly reparameterised it grows as K^½.

    (Rainforth et al. 2018, Tucker et al. 2019.) From K = 4 to 64 the ratios are ¼ and 4 where the
    weights are bounded, as here: q is wider than the posterior. The ratio of 8,000 draws has a
    relative error of about 0.1 and 0.02: false alarms are beyond five errors, below 10⁻⁶.
    """
    model = eqx.tree_at(
        lambda m: m.posterior.encoder.biases[0], far_model(1), jnp.array([0.1, 0.7])
    )
    model = eqx.tree_at(lambda m: m.posterior.encoder.weights[0], model, jnp.zeros((2, X.size)))
    encoder, back = ravel_pytree(model.posterior)
    two = [GRADIENTS[g]() for g in ("reparameterised", "doubly-reparameterised")]
    ratios = {}

    def gradient(bound: Bound) -> Any:
        def one(key: jax.Array) -> list[jax.Array]:
            def value(flat: jax.Array, estimator: Estimator) -> jax.Array:
                whole = eqx.tree_at(lambda m: m.posterior, model, back(flat))
                return lower_bound(whole, jnp.asarray(X), key, bound, estimator)

            return [jax.grad(value)(encoder, e) for e in two]

        return jax.jit(jax.vmap(one))

    for k in (4, 64):
        draws = gradient(IWAE(k))(jax.random.split(key(), 8000))
        ratios[k] = [float(jnp.linalg.norm(g.mean(0)) / jnp.sqrt(g.var(0).sum())) for g in draws]
    plain, doubly = (ratios[64][i] / ratios[4][i] for i in (0, 1))
    assert 0.12 < plain < 0.5, ratios
    assert doubly > 2.0, ratios


def test_lost_weights_leave_finite_gradients() -> None:
    """Some weights are below e^-745 of the largest: their slopes are 0 in float64."""
    model = eqx.tree_at(
        lambda m: m.posterior.encoder.biases[0], far_model(1), jnp.array([60.0, 8.0])
    )
    bound, x = IWAE(8), jnp.asarray(X)
    estimators = [GRADIENTS[n]() for n in ("doubly-reparameterised", "score-function", "vimco")]

    @eqx.filter_jit
    def slopes(model: Latent) -> tuple[jax.Array, list[Latent]]:
        of = eqx.filter_grad(lower_bound)
        log_w = model.log_weights(key(), x, 8)[None]
        return bound.slopes(log_w), [of(model, x, key(), bound, e) for e in estimators]

    shares, found = slopes(model)
    assert bool((shares == 0).any())
    assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(found))


def test_kl_divergence_of_normals() -> None:
    """N(μ, s²) against N(m, t²): log t/s + (s² + (μ - m)²)/(2t²) - ½."""
    q, p = normal(jnp.array([1.3]), jnp.array([0.4])), normal(jnp.array([-0.2]), jnp.array([1.7]))
    by_hand = np.log(1.7 / 0.4) + (0.4**2 + 1.5**2) / (2 * 1.7**2) - 0.5
    assert float(kl_divergence(q, p)) == pytest.approx(by_hand, rel=1e-12)


def test_kl_divergence_that_nobody_knows() -> None:
    import numpyro.distributions as dist

    q, p = normal(jnp.zeros(1), jnp.ones(1)), Known(dist.Laplace(jnp.zeros(1)).to_event(1))
    with pytest.raises(InputError, match="closed form"):
        kl_divergence(q, p)


def test_closed_form_kl_has_the_smaller_variance_of_the_prior() -> None:
    """Its gradient with respect to the prior is exact, not drawn."""
    *_, error, _ = estimated("ELBO-3")["closed-form-kl"]
    prior = 4  # mean and log-variance come first
    assert np.all(error[:prior] < 1e-12)
    assert np.all(estimated("ELBO-3")["reparameterised"][3][:prior] > 1e-4)


def test_elbo_of_many_draws_is_less_noisy_by_their_number() -> None:
    """Variance ∝ 1/M: of M = 3 draws and of one, whose ratio over 8,000 has an error of 5%."""
    model, x = far_model(2), jnp.asarray(X)

    @jax.jit
    def values(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        def of(bound: Bound) -> jax.Array:
            one = GRADIENTS["reparameterised"]()
            return jax.vmap(lambda k: lower_bound(model, x, k, bound, one))(keys)

        return of(ELBO(1)), of(ELBO(3))

    one, three = (float(v.var()) for v in values(jax.random.split(key(), 8000)))
    assert one / three == pytest.approx(3.0, abs=3.0 * 5 * 0.05)
