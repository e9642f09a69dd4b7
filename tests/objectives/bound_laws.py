r"""What the tests of bounds and of their gradients share: far linear-Gaussian models, exact means.

The exact mean of a bound is an integral over its log-weights' latent vectors. Trapezoidal sums on
a fixed grid of z, weighted by q(z) dz, converge faster than any power of the step for such
integrands; the parameters enter through the densities alone, so that the gradient of the sum is
exact and owes nothing to reparameterisation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from conftest import randomise
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import DiagonalNormal
from jensen.models.scales import LearnedScale
from jensen.nn.mlp import MLP
from jensen.objectives.bounds import CIWAE, ELBO, IWAE, MIWAE, PIWAE, Bound, Renyi

X = np.array([1.3, -0.9, 0.4])
"""The example."""


def far_model(dim: int, seed: int = 0) -> Latent:
    """Return a model of rows like `X`, all parameters from N(0, 0.6²): its q is far off."""
    key = jax.random.key(0)
    model = Latent(
        DiagonalNormal(dim),
        Likelihood(MLP(key, dim, X.size, ()), Gaussian(X.size, LearnedScale(X.size))),
        DiagonalPosterior(MLP(key, X.size, 2 * dim, ())),
    )
    return randomise(model, 0.6, seed, np.float64)


@dataclass(frozen=True)
class Mean:
    """E of ELBO, or of (log mean of n weights to the power)/power, or of a mix of both.

    Args:
        n: weights that interact; 1 for the ELBO.
        power: 1 - α.
        elbo: share of the ELBO.
        beta: of the KL divergence.
    """

    n: int = 1
    power: float = 1.0
    elbo: float = 0.0
    beta: float = 1.0


@dataclass(frozen=True)
class Row:
    """One row of the law table.

    Args:
        bound: the bound.
        value: its exact mean.
        model: what trains the model, when it is not `value`.
        posterior: what trains the posterior, when it is not `value`.
        dim: L of the model it is tried on.
    """

    bound: Callable[[], Bound]
    value: Mean
    model: Mean | None = None
    posterior: Mean | None = None
    dim: int = 2


BOUNDS: dict[str, Row] = {
    "ELBO-3": Row(lambda: ELBO(3), Mean()),
    "ELBO-2-beta-4": Row(lambda: ELBO(2, beta=4.0), Mean(), Mean(beta=4.0), Mean(beta=4.0)),
    "IWAE-2": Row(lambda: IWAE(2), Mean(2)),
    "MIWAE-3-2": Row(lambda: MIWAE(3, 2), Mean(2)),
    "CIWAE-2": Row(lambda: CIWAE(0.3, 2), Mean(2, elbo=0.3)),
    "PIWAE-2-2": Row(lambda: PIWAE(2, 2), Mean(4), posterior=Mean(2), dim=1),
    "Renyi-half-2": Row(lambda: Renyi(0.5, 2), Mean(2, power=0.5)),
    "Renyi-2-2": Row(lambda: Renyi(2.0, 2), Mean(2, power=-1.0)),
}
"""Each exported bound, in each of its forms; the name starts with the function's or class's."""


@partial(jax.jit, static_argnames="n")
@jax.value_and_grad
def _exact(model: Any, x: jax.Array, n: int, numbers: tuple[float, ...]) -> jax.Array:
    power, elbo_share, beta, shift = numbers
    decoder, encoder, prior = model.likelihood.decoder, model.posterior.encoder, model.prior
    mean, log_variance = jnp.split(encoder.weights[0] @ x + encoder.biases[0], 2)
    scale = jnp.exp(log_variance / 2)
    # the grid covers q(z | x) to six standard deviations, and stays where it is
    steps = jnp.linspace(-6.0, 6.0, 31)
    steps = steps + shift * (steps[1] - steps[0])
    units = jnp.stack(jnp.meshgrid(*[steps] * mean.size, indexing="ij"), -1)
    z = jax.lax.stop_gradient(mean + scale * units.reshape(-1, mean.size))
    volume = jax.lax.stop_gradient(jnp.prod(scale * (steps[1] - steps[0])))
    noise = jnp.exp(model.likelihood.observation.scale.log_variance / 2)
    log_lik = normal_log_prob(x, z @ decoder.weights[0].T + decoder.biases[0], noise)
    log_prior = normal_log_prob(z, prior.mean, jnp.exp(prior.log_variance / 2))
    log_q = normal_log_prob(z, mean, scale)
    mass, log_w = jnp.exp(log_q) * volume, log_lik + beta * (log_prior - log_q)
    elbo = jnp.sum(mass * log_w)
    if n == 1:
        return elbo
    sums = reduce(lambda a, b: jnp.logaddexp(a[..., None], b), [power * log_w] * n)
    for _ in range(n):
        sums = sums @ mass
    return elbo_share * elbo + (1 - elbo_share) * (sums - jnp.log(n)) / power


def exact(model: Latent, which: Mean, shift: float = 0.0) -> tuple[float, Latent]:
    """Return the exact mean of a bound of `X`, nats, and its gradient with respect to the model.

    Args:
        model: a far model.
        which: the bound.
        shift: of the grid, in its steps: half a step turns the sign of the leading error.
    """
    arrays = eqx.filter(model, eqx.is_inexact_array)
    numbers = (which.power, which.elbo, which.beta, shift)
    value, gradient = _exact(arrays, jnp.asarray(X), which.n, numbers)
    return float(value), gradient


def normal_log_prob(x: jax.Array, mean: jax.Array, scale: jax.Array) -> jax.Array:
    """Return log N(x; mean, diag scale²), summed over the last axis."""
    each = -0.5 * ((x - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * jnp.log(2 * jnp.pi)
    return each.sum(-1)


def threshold(alarm: float, tests: int) -> float:
    """Return the |z| that one of so many z-tests exceeds with a probability of at most `alarm`."""
    return float(norm.isf(alarm / (2 * tests)))
