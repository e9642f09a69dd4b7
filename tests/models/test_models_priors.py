"""Priors: densities, whatever the posterior, and what each reduces to."""

from __future__ import annotations

import inspect

import distribution_laws as laws
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distribution_laws import PRIORS
from scipy import special, stats

from conftest import key
from jensen._errors import InputError
from jensen.models import priors
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import (
    DiagonalNormal,
    HierarchicalPrior,
    MixturePrior,
    Prior,
    StandardNormal,
    VampPrior,
)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def posterior() -> DiagonalPosterior:
    return DiagonalPosterior(laws.net(3, 4))


def test_every_prior_has_a_row():
    concrete = {
        c.__name__
        for c in vars(priors).values()
        if inspect.isclass(c) and issubclass(c, Prior) and not inspect.isabstract(c)
    }
    assert {name.split("-")[0] for name in PRIORS} == concrete


@pytest.mark.parametrize("name", PRIORS)
def test_laws(name):
    laws.assert_lawful(PRIORS[name]().distribution(posterior()))


@pytest.mark.parametrize("name", PRIORS)
def test_every_leaf_has_a_gradient(name):
    @eqx.filter_jit
    @eqx.filter_grad
    def slopes(pair):
        prior, q = pair
        return prior.distribution(q).log_prob(jnp.array([0.5, 0.1]))

    of_prior, of_posterior = slopes((PRIORS[name](), posterior()))
    for a in jax.tree.leaves((of_prior, of_posterior if "Vamp" in name else None)):
        assert np.isfinite(a).all()
        assert np.abs(a).max() > 0


def test_the_trainable_priors_start_where_they_say():
    z = jnp.array([0.5, -2.0])
    at = lambda prior: float(prior.distribution(posterior()).log_prob(z))  # noqa: E731
    assert at(StandardNormal(2)) == pytest.approx(stats.norm.logpdf(z).sum(), abs=1e-12)
    assert at(DiagonalNormal(2)) == pytest.approx(stats.norm.logpdf(z).sum(), abs=1e-6)
    mixture = MixturePrior(key(), 2, 3)
    each = stats.norm.logpdf(z - np.asarray(mixture.means)).sum(axis=1)
    assert at(mixture) == pytest.approx(special.logsumexp(each) - np.log(3), abs=1e-6)


def test_a_vamp_prior_is_the_mean_of_its_posteriors():
    q, u = posterior(), np.random.default_rng(0).normal(size=(5, 3))
    z = jnp.array([0.5, -2.0])
    each = np.array([q(jnp.asarray(row)).log_prob(z) for row in u])
    found = float(VampPrior(jnp.asarray(u)).distribution(q).log_prob(z))
    assert found == pytest.approx(special.logsumexp(each) - np.log(5), abs=1e-12)


def test_a_vamp_prior_keeps_pixels_between_0_and_1():
    start = jnp.array([[0.0, 1.0, 0.25]])
    assert np.asarray(VampPrior(start, "unit").inputs) == pytest.approx(
        np.array([[0.01, 0.99, 0.25]])
    )
    moved = eqx.tree_at(lambda p: p.raw, VampPrior(start, "unit"), jnp.array([[-9.0, 99.0, 0.0]]))
    assert (np.asarray(moved.inputs) >= 0).all()
    assert (np.asarray(moved.inputs) <= 1).all()


def test_a_model_with_a_vamp_prior_samples_through_it():
    """Pseudo-inputs at ±1 whose posteriors sit at ±8: half of the draws of x are ones."""
    q = DiagonalPosterior(lambda x: jnp.concatenate([8.0 * x, jnp.zeros(1)]))
    prior = VampPrior(jnp.array([[-1.0], [1.0]]))
    model = Latent(prior, Likelihood(lambda z: 10.0 * z, Bernoulli(1)), q)
    x = np.asarray(jax.jit(jax.vmap(model.sample))(jax.random.split(key(), 2000)))
    # false-alarm rate 1e-4
    assert stats.binomtest(int(x.sum()), 2000).pvalue > 1e-4


@pytest.mark.parametrize(
    "make",
    [
        lambda: MixturePrior(key(), 2, 0),
        lambda: VampPrior(jnp.array([[1.0, jnp.nan]])),
        lambda: VampPrior(jnp.array([[1.0, 1.5]]), "unit"),
        lambda: VampPrior(jnp.zeros((0, 2))),
        lambda: VampPrior(jnp.ones(2)),
        lambda: VampPrior(jnp.ones((1, 2)), "units"),
        lambda: HierarchicalPrior(VampPrior(jnp.ones((1, 1))), posterior(), 1),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(InputError):
        make()
