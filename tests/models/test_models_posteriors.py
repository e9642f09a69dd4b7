"""Posteriors: densities for every x, and exact where the model is linear and Gaussian."""

from __future__ import annotations

import inspect

import distribution_laws as laws
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_laws import POSTERIORS
from scipy import stats

from conftest import key
from jensen._errors import InputError
from jensen.models import posteriors
from jensen.models.flow import IAF
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import (
    DiagonalPosterior,
    FlowPosterior,
    FreePosterior,
    FullPosterior,
    HierarchicalPosterior,
    Posterior,
)
from jensen.models.priors import HierarchicalPrior, StandardNormal
from jensen.nn.features import Leading
from jensen.nn.mlp import MLP


@pytest.fixture(autouse=True)
def _float64(request):
    with jax.enable_x64("single" not in request.node.name):
        yield


def test_every_posterior_has_a_row():
    concrete = {
        c.__name__
        for c in vars(posteriors).values()
        if inspect.isclass(c) and issubclass(c, Posterior) and not inspect.isabstract(c)
    }
    assert {name.split("-")[0] for name in POSTERIORS} == concrete


@pytest.mark.parametrize("name", POSTERIORS)
def test_laws(name):
    laws.assert_lawful(POSTERIORS[name]()(jnp.array([0.7, -1.2, 0.4])))


@pytest.mark.parametrize("name", POSTERIORS)
def test_every_leaf_has_a_gradient(name):
    """Through the draws and through the density."""
    posterior, x = POSTERIORS[name](), jnp.array([0.7, -1.2, 0.4])

    @eqx.filter_jit
    @eqx.filter_grad
    def slopes(posterior):
        z, _ = posterior(x).sample_and_log_prob(key(1), 3)
        return jnp.sum(z**2) + jnp.sum(posterior(x).log_prob(jnp.array([0.5, 0.1])[: z.shape[1]]))

    for a in jax.tree.leaves(slopes(posterior)):
        assert np.isfinite(a).all()
        assert np.abs(a).max() > 0


def test_zeros_are_the_standard_normal():
    dim = 3
    zeros = lambda n: MLP(key(), 3, n, (4,))  # noqa: E731
    bijection = IAF(key(), dim, n_layers=2, hidden=(4,), context_dim=2).bijection
    z = jnp.linspace(-1.0, 2.0, dim)
    for posterior in (
        DiagonalPosterior(zeros(2 * dim)),
        FullPosterior(zeros(dim * (dim + 3) // 2), dim),
        FlowPosterior(zeros(2 * dim + 2), bijection, dim),
    ):
        log_q = float(eqx.filter_jit(lambda q: q(jnp.ones(3)).log_prob(z))(posterior))
        assert log_q == pytest.approx(stats.norm.logpdf(z).sum(), abs=1e-6)


def exact_model() -> tuple[Latent, np.ndarray, np.ndarray]:
    """z ~ N(0, I₂), x | z ~ N(W z + b, σ² I₃), and q(z | x) exact; the mean and covariance of x."""
    w, b, sigma = np.array([[1.0, 0.5], [-0.3, 2.0], [0.7, 0.7]]), np.array([0.5, -1.0, 2.0]), 0.6
    precision = np.eye(2) + w.T @ w / sigma**2
    tril = np.linalg.cholesky(np.linalg.inv(precision))
    gain = np.linalg.solve(precision, w.T) / sigma**2
    rest = np.r_[2 * np.log(np.diag(tril)), tril[1, 0]]
    posterior = FullPosterior(lambda x: jnp.concatenate([gain @ (x - b), jnp.asarray(rest)]), 2)
    likelihood = Likelihood(lambda z: jnp.asarray(w) @ z + b, Gaussian(3, sigma))
    return Latent(StandardNormal(2), likelihood, posterior), b, w @ w.T + sigma**2 * np.eye(3)


def test_the_exact_full_posterior_has_equal_weights():
    model, mean, covariance = exact_model()
    rows = np.random.default_rng(0).normal(scale=4.0, size=(5, 3))
    log_w = jax.jit(jax.vmap(lambda x: model.log_weights(key(3), x, 50)))(jnp.asarray(rows))
    exact = stats.multivariate_normal(mean, covariance).logpdf(rows)
    # sums of terms of up to 1e3 in float64
    assert np.abs(np.asarray(log_w) - exact[:, None]).max() < 1e-9


def test_the_exact_two_layers_have_equal_weights():
    """z₂ ~ N(0, 1), z₁ = 0.8 z₂ + 0.6 ε, x = 2 z₁ + 0.5 ε, so z₁ ~ N(0, 1) and x ~ N(0, 4.25)."""
    half = lambda v: jnp.asarray(np.log(v))[None]  # noqa: E731
    affine = lambda a, v: lambda x: jnp.concatenate([a * x, half(v)])  # noqa: E731
    posterior = HierarchicalPosterior(
        DiagonalPosterior(affine(2.0 / 4.25, 0.25 / 4.25)), DiagonalPosterior(affine(0.8, 0.36)), 1
    )
    prior = HierarchicalPrior(StandardNormal(1), DiagonalPosterior(affine(0.8, 0.36)), 1)
    likelihood = Likelihood(Leading(lambda z: 2.0 * z, 1), Gaussian(1, 0.5))
    model = Latent(prior, likelihood, posterior)
    rows, law = np.array([[-3.0], [0.4], [9.0]]), stats.norm(0, np.sqrt(4.25))
    log_w = jax.jit(jax.vmap(lambda x: model.log_weights(key(3), x, 50)))(jnp.asarray(rows))
    assert np.abs(np.asarray(log_w) - law.logpdf(rows)).max() < 1e-9
    x = jax.jit(jax.vmap(model.sample))(jax.random.split(key(4), 4000))[:, 0]
    # false-alarm rate 1e-4
    assert stats.kstest(np.asarray(x), law.cdf).pvalue > 1e-4


def test_one_free_posterior_for_each_example():
    """The exact posteriors of three rows, stacked: weights equal, row by row."""
    w, sigma = np.diag([2.0, 0.5]), 0.6
    variance = 1.0 / (1.0 + np.diag(w) ** 2 / sigma**2)
    rows = np.array([[1.0, 2.0], [-3.0, 0.2], [0.0, 9.0]])
    each = FreePosterior(
        jnp.asarray(rows @ w / sigma**2 * variance),
        jnp.tile(jnp.log(jnp.asarray(variance)), (3, 1)),
    )
    likelihood = Likelihood(lambda z: jnp.asarray(w) @ z, Gaussian(2, sigma))

    def log_weights(q, x):
        return Latent(StandardNormal(2), likelihood, q).log_weights(key(1), x, 20)

    log_w = np.asarray(jax.jit(jax.vmap(log_weights))(each, jnp.asarray(rows)))
    exact = stats.multivariate_normal(np.zeros(2), w @ w + sigma**2 * np.eye(2)).logpdf(rows)
    assert np.abs(log_w - exact[:, None]).max() < 1e-9


def test_extreme_outputs_in_single_precision():
    """An encoder's log-variances of ±1e4 leave draws, log q and slopes finite."""
    for make in (
        lambda e: DiagonalPosterior(lambda x: e[:4]),
        lambda e: FullPosterior(lambda x: jnp.concatenate([e[:4], 0.0 * e[4:]]), 2),
    ):

        def total(e, make=make):
            z, log_q = make(e)(jnp.ones(3)).sample_and_log_prob(key(0), 4)
            return jnp.sum(log_q) + jnp.mean(z)

        outputs = jnp.array([[0.0, 0.0, v, v, 0.0] for v in (-1e4, 1e4)], jnp.float32)
        for a in jax.jit(jax.vmap(jax.value_and_grad(total)))(outputs):
            assert np.isfinite(a).all()


@pytest.mark.parametrize(
    "make",
    [lambda e: FullPosterior(e, 2), lambda e: FlowPosterior(e, IAF(key(), 2).bijection, 2)],
)
def test_an_encoder_of_another_length_is_refused(make):
    with pytest.raises(InputError, match="outputs"):
        make(lambda x: jnp.zeros(3))(jnp.ones(3))
