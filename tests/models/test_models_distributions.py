"""Every distribution of a latent vector integrates to one, and its draws are its own."""

from __future__ import annotations

import inspect

import distribution_laws as laws
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from distribution_laws import DISTRIBUTIONS

from conftest import key
from jensen.models import distributions
from jensen.models.distributions import Chained, Distribution, Known, Mixture, normal


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def test_every_distribution_has_a_row():
    concrete = {
        c.__name__
        for c in vars(distributions).values()
        if inspect.isclass(c) and issubclass(c, Distribution) and not inspect.isabstract(c)
    }
    assert {name.split("-")[0] for name in DISTRIBUTIONS} == concrete


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_laws(name):
    laws.assert_lawful(DISTRIBUTIONS[name]())


def test_the_laws_catch_draws_of_another_distribution():
    class Wide(Distribution):
        q: Distribution

        def sample_and_log_prob(self, key, n):
            z, log_q = self.q.sample_and_log_prob(key, n)
            return 1.15 * z, log_q

        def log_prob(self, z):
            return self.q.log_prob(z)

    class Heavy(Wide):
        def sample_and_log_prob(self, key, n):
            z, _ = super().sample_and_log_prob(key, n)
            return z, jax.vmap(self.log_prob)(z)

    for wrong in (Wide, Heavy):
        with pytest.raises(AssertionError):
            laws.assert_lawful(wrong(normal(jnp.zeros(1), jnp.ones(1))), 1)


def test_mixture_is_numpyros():
    means, scales = jnp.array([[-1.0, 0.5], [1.0, 0.0]]), jnp.array([[0.5, 1.0], [2.0, 0.3]])
    logits = jnp.array([0.3, -0.5])
    ours = Mixture(eqx.filter_vmap(normal)(means, scales), logits)
    theirs = dist.MixtureSameFamily(
        dist.Categorical(logits=logits), dist.Normal(means, scales).to_event(1)
    )
    z = jax.random.normal(key(2), (50, 2))
    # sums of exponentials of numbers below 100, in float64
    assert np.abs(jax.jit(jax.vmap(ours.log_prob))(z) - theirs.log_prob(z)).max() < 1e-12


def test_no_gradient_passes_through_a_mixtures_draws():
    @jax.jit
    @jax.grad
    def slope(mean):
        mixture = Mixture(eqx.filter_vmap(normal)(mean, jnp.ones((2, 1))), jnp.zeros(2))
        return jnp.sum(mixture.sample_and_log_prob(key(1), 3)[0])

    assert np.asarray(slope(jnp.array([[-1.0], [1.0]]))).ravel().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("head_last", [False, True])
def test_a_chain_of_gaussians_is_their_joint_one(head_last):
    """a ~ N(0.5, 0.8²), b | a ~ N(1 + 2a, 0.3²): covariance [[.64, 1.28], [1.28, 2.65]]."""
    chain = Chained(
        normal(jnp.full(1, 0.5), jnp.full(1, 0.8)),
        lambda a: normal(1.0 + 2.0 * a, jnp.full(1, 0.3)),
        1,
        head_last,
    )
    mean, covariance = jnp.array([0.5, 2.0]), jnp.array([[0.64, 1.28], [1.28, 2.65]])
    if head_last:
        mean, covariance = mean[::-1], covariance[::-1, ::-1]
    joint = Known(dist.MultivariateNormal(mean, covariance))
    z = jax.random.normal(key(2), (20, 2)) * 3
    # condition number of the covariance: 66
    assert (
        np.abs(jax.jit(jax.vmap(lambda one: chain.log_prob(one) - joint.log_prob(one)))(z)).max()
        < 1e-10
    )
