r"""Latent-variable models: prior × likelihood × posterior.

    p(x) = ∫ p(x | z) p(z) dz
    log w(z) = log p(x | z) + log p(z) - log q(z | x),    z ~ q(· | x)

The evidence p(x) has no closed form, but E_q[w] = p(x): the mean of K weights is unbiased for it,
and its log is a lower bound in expectation for every K. All that is said of x goes through the
importance log-weights log w. Cells of x that are missing (NaN) are marginalised out: the likelihood
is a product over coordinates, and their factors integrate to one.

Sources: Kingma & Welling 2014 (arXiv:1312.6114); Burda et al. 2016 (arXiv:1509.00519); missing
cells: Mattei & Frellsen 2019 (arXiv:1812.02633).
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._typing import Array, Key
from jensen.models.observations import Observation
from jensen.models.posteriors import Posterior
from jensen.models.priors import Prior


class Likelihood(eqx.Module):
    """p(x | z) = Π_d p(x_d | η_d), η = decoder(z).

    Args:
        decoder: from a latent vector `(L,)` to the parameters η `(P,)` of the observations.
        observation: how η becomes a distribution of x.
    """

    decoder: Callable[[Array], Array]
    observation: Observation

    def log_prob(self, x: Array, z: Array) -> Array:
        """Return Σ_d log p(x_d | z) over the observed coordinates, nats, for one x `(D,)`."""
        seen = ~jnp.isnan(x)
        each = self.observation.log_probs(jnp.where(seen, x, 0.0), self.decoder(z))
        return jnp.sum(jnp.where(seen, each, 0.0))

    def sample(self, key: Key, z: Array) -> Array:
        """Return one x `(D,)` of p(x | z)."""
        return self.observation.sample(key, self.decoder(z))

    def means(self, z: Array) -> Array:
        """Return E[x | z] `(F,)`: means of numbers, then probabilities of the levels."""
        return self.observation.means(self.decoder(z))


class Latent(eqx.Module):
    """A latent-variable model of one example.

    Args:
        prior: p(z).
        likelihood: p(x | z).
        posterior: q(z | x), approximate.

    Example:
        >>> from jensen.models.observations import Gaussian
        >>> from jensen.models.posteriors import DiagonalPosterior
        >>> from jensen.models.priors import StandardNormal
        >>> from jensen.nn.mlp import MLP
        >>> decoder = MLP(jax.random.key(0), 1, 2, (8,))
        >>> encoder = MLP(jax.random.key(1), 2, 2, (8,))
        >>> likelihood = Likelihood(decoder, Gaussian(2, scale=1.0))
        >>> model = Latent(StandardNormal(1), likelihood, DiagonalPosterior(encoder))
        >>> model.log_weights(jax.random.key(2), jnp.zeros(2), 5).shape
        (5,)
    """

    prior: Prior
    likelihood: Likelihood
    posterior: Posterior

    def log_weights(self, key: Key, x: Array, n_particles: int) -> Array:
        """Return K log-weights log p(x, z_k) - log q(z_k | x) `(K,)`, nats, for one x `(D,)`."""
        z, log_q = self.posterior(x).sample_and_log_prob(key, n_particles)
        prior = self.prior.distribution(self.posterior)
        log_joint = jax.vmap(lambda zk: self.likelihood.log_prob(x, zk) + prior.log_prob(zk))
        return log_joint(z) - log_q

    def sample(self, key: Key) -> Array:
        """Return one example `(D,)` of p(x): z ~ p(z), then x ~ p(x | z)."""
        for_z, for_x = jax.random.split(key)
        z, _ = self.prior.distribution(self.posterior).sample_and_log_prob(for_z, 1)
        return self.likelihood.sample(for_x, z[0])
