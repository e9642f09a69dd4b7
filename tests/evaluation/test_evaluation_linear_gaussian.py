r"""Exact evidence and posterior, against scipy, joint Gaussians and two-by-two algebra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from conftest import randomise
from jensen._errors import InputError
from jensen.evaluation.linear_gaussian import (
    exact_posterior,
    linear_gaussian,
    log_prob,
    with_exact_posterior,
)
from jensen.models.distributions import Distribution, Known
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli, Gaussian, Observation
from jensen.models.posteriors import DiagonalPosterior, Posterior
from jensen.models.priors import DiagonalNormal, Prior, StandardNormal
from jensen.models.scales import FixedScale, LearnedScale, NetworkScale, Scale
from jensen.nn.mlp import MLP

RNG = np.random.default_rng(1)
ROWS = 2.0 * RNG.normal(size=(8, 4))
ROWS[1, 2] = ROWS[2, 0] = ROWS[2, 3] = ROWS[3, :3] = np.nan
KEY = jax.random.key(0)


def model(
    prior: Prior, observation: Observation, hidden: tuple[int, ...] = (), final: str = "identity"
) -> Latent:
    decoder = MLP(KEY, 2, observation.n_params, hidden, final=final)
    return Latent(prior, Likelihood(decoder, observation), DiagonalPosterior(MLP(KEY, 4, 4, ())))


def far(scale: Scale, prior: Prior, seed: int = 0) -> Latent:
    return randomise(model(prior, Gaussian(4, scale)), 0.9, seed)


def numbers(m: Any) -> tuple[np.ndarray, ...]:
    """Return W, b, σ², m and s² of a model in float64, each from its own field."""
    w, b = (
        np.asarray(a, float)
        for a in (m.likelihood.decoder.weights[0], m.likelihood.decoder.biases[0])
    )
    scale = m.likelihood.observation.scale
    if isinstance(scale, FixedScale):
        noise = np.full(4, scale.value**2)
    else:
        noise = np.broadcast_to(np.exp(np.asarray(scale.log_variance, float)), 4)
    if isinstance(m.prior, StandardNormal):
        return w, b, noise, np.zeros(2), np.ones(2)
    return (
        w,
        b,
        noise,
        np.asarray(m.prior.mean, float),
        np.exp(np.asarray(m.prior.log_variance, float)),
    )


MODELS: dict[str, Callable[[int], Latent]] = {
    "fixed": lambda seed: far(FixedScale(0.7), StandardNormal(2), seed),
    "shared": lambda seed: far(LearnedScale(), DiagonalNormal(2), seed),
    "per coordinate": lambda seed: far(LearnedScale(4), DiagonalNormal(2), seed),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_evidence_of_the_observed_cells(name: str, seed: int) -> None:
    """In float64 though the model is in float32: scipy's density of the marginal, to 1e-10."""
    m = MODELS[name](seed)
    w, b, noise, mean, variance = numbers(m)
    covariance = (w * variance) @ w.T + np.diag(noise)
    found = log_prob(m, ROWS)
    assert found.dtype == np.float64
    for row, value in zip(ROWS, found, strict=True):
        o = ~np.isnan(row)
        law = multivariate_normal((w @ mean + b)[o], covariance[np.ix_(o, o)])
        assert value == pytest.approx(law.logpdf(row[o]), rel=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_posterior_by_conditioning_the_joint_gaussian(name: str) -> None:
    m = MODELS[name](3)
    w, b, noise, mean, variance = numbers(m)
    for row in ROWS[:4]:
        o = ~np.isnan(row)
        cross = variance[:, None] * w[o].T
        marginal = (w[o] * variance) @ w[o].T + np.diag(noise[o])
        gain = np.linalg.solve(marginal, cross.T).T
        found_mean, found_covariance = exact_posterior(m, row)
        expected = mean + gain @ (row[o] - w[o] @ mean - b[o])
        np.testing.assert_allclose(found_mean, expected, rtol=1e-10)
        np.testing.assert_allclose(found_covariance, np.diag(variance) - gain @ cross.T, rtol=1e-9)


def test_a_row_of_nothing_says_nothing() -> None:
    m = MODELS["shared"](0)
    *_, mean, variance = numbers(m)
    assert log_prob(m, np.full((1, 4), np.nan)).tolist() == [0.0]
    found_mean, found_covariance = exact_posterior(m, np.full(4, np.nan))
    np.testing.assert_allclose(found_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found_covariance, np.diag(variance), rtol=1e-12)


@pytest.mark.parametrize("sigma", [1e-2, 1e-5, 1e-8])
def test_small_noise_loses_no_digits(sigma: float) -> None:
    """x = (a, c) z + σ ε: |C| = σ²(σ² + a² + c²), and the quadratic form along and across (a, c).

    C⁻¹ x has a condition number of 10¹⁶ at σ = 10⁻⁸, and W Wᵀ + σ² I rounds to W Wᵀ in float64.
    """
    a, c = 0.6, 0.8  # of length 1, x = along (a, c) + across (-c, a)
    along, across = 1.3, 2.0 * sigma
    m = Latent(
        StandardNormal(1),
        Likelihood(MLP(KEY, 1, 2, ()), Gaussian(2, sigma)),
        DiagonalPosterior(MLP(KEY, 2, 2, ())),
    )
    with jax.enable_x64(True):
        m = eqx.tree_at(lambda m: m.likelihood.decoder.weights[0], m, jnp.array([[a], [c]]))
    x = np.array([[a * along - c * across, c * along + a * across]])
    quadratic = along**2 / (1 + sigma**2) + (across / sigma) ** 2
    expected = -0.5 * (quadratic + np.log(sigma**2 * (1 + sigma**2)) + 2 * np.log(2 * np.pi))
    # x itself is rounded at 1e-16, which is 1e-16/σ of a standard deviation
    assert log_prob(m, x)[0] == pytest.approx(expected, rel=1e-12, abs=1e-15 / sigma)


def test_weights_under_the_exact_posterior_are_all_the_evidence() -> None:
    """Also where cells are missing: the draws carry nothing but rounding, here of float32."""
    m = with_exact_posterior(MODELS["per coordinate"](1))
    found = jax.jit(jax.vmap(lambda x: m.log_weights(KEY, x, 5)))(jnp.asarray(ROWS, jnp.float32))
    truth = log_prob(m, ROWS.astype(np.float32))
    np.testing.assert_allclose(found, np.broadcast_to(truth[:, None], found.shape), rtol=1e-5)


def test_order_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from jensen.evaluation import linear_gaussian as module

    m = MODELS["shared"](0)
    whole = log_prob(m, ROWS)
    np.testing.assert_allclose(log_prob(m, ROWS[::-1])[::-1], whole, rtol=1e-13)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 3)
    jax.clear_caches()
    np.testing.assert_allclose(log_prob(m, ROWS), whole, rtol=1e-13)


class _Heavy(Prior):
    def distribution(self, posterior: Posterior) -> Distribution:
        """Return a Laplace law."""
        import numpyro.distributions as dist

        return Known(dist.Laplace(jnp.zeros(2)).to_event(1))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: model(_Heavy(), Gaussian(4)), "prior"),
        (lambda: model(StandardNormal(2), Gaussian(4), hidden=(3,)), "decoder is not affine"),
        (lambda: model(StandardNormal(2), Gaussian(4), final="tanh"), "decoder is not affine"),
        (lambda: model(StandardNormal(2), Bernoulli(4)), "Bernoulli"),
        (lambda: model(StandardNormal(2), Gaussian(4, NetworkScale(4))), "σ depends on z"),
    ],
    ids=["prior", "hidden", "final", "observation", "scale"],
)
def test_other_models_are_refused(make: Callable[[], Latent], why: str) -> None:
    for use in (
        linear_gaussian,
        with_exact_posterior,
        lambda m: log_prob(m, ROWS),
        lambda m: exact_posterior(m, ROWS[0]),
    ):
        with pytest.raises(InputError, match=why):
            use(make())


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 4, 1)])
def test_rows_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="rows of 4 numbers"):
        log_prob(MODELS["fixed"](0), np.zeros(shape))
    if shape != (4,):
        with pytest.raises(InputError, match="4 numbers"):
            exact_posterior(MODELS["fixed"](0), np.zeros(shape))
