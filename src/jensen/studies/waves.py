r"""A noisy wave and its autoencoder with z in one dimension, and the moments of its weights.

    u ~ N(0, 1),   x = (u, ½ sin 1.5u) + 0.3 ε

The decoder is a line with a bend, straight in its tails: there p(x | z) falls off in z as fast as
a Gaussian q does, or faster, and the importance weights keep a finite variance for most rows.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array, Key
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.nn.mlp import MLP

NOISE = 0.3
REACH = 5.0  # standard deviations; two draws of four million lie further out


class Bent(eqx.Module):
    """A line with a bend that ends: y = A z + b + V tanh(a z + c).

    A decoder that is flat in its tails lets p(z | x) fall off there like the prior alone, and then
    the weights of a narrower Gaussian q have no variance.

    Args:
        line: from z to A z + b.
        bend: from z to the rest.
    """

    line: MLP
    bend: MLP

    def __call__(self, z: Array) -> Array:
        """Return y for one z."""
        return self.line(z) + self.bend(z)


class WaveInit(eqx.Module):
    """How a small autoencoder with z in one dimension begins: `init(key) -> (Latent,)`."""

    def __call__(self, key: Key) -> tuple[Latent]:
        """Return the model, alone in a tuple."""
        for_encoder, for_line, for_bend = jax.random.split(key, 3)
        encoder = MLP(for_encoder, 2, 2, (32,), "tanh", last=0.1)
        decoder = Bent(
            MLP(for_line, 1, 2, (), last=1.0), MLP(for_bend, 1, 2, (16,), "tanh", last=0.1)
        )
        likelihood = Likelihood(decoder, Gaussian(2, scale=NOISE))
        return (Latent(StandardNormal(1), likelihood, DiagonalPosterior(encoder)),)


def wave(random: np.random.Generator, n: int) -> np.ndarray:
    """Return rows `(n, 2)` of (u, ½ sin 1.5u) + 0.3 ε with u ~ N(0, 1)."""
    u = random.normal(size=n)
    return np.stack([u, 0.5 * np.sin(1.5 * u)], axis=1) + NOISE * random.normal(size=(n, 2))


def exact_moments(
    model: Latent, rows: np.ndarray, reach: float = REACH
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log p(x), E_q log w and χ² = Var(w)/p², `(n,)` each, by quadrature over z.

    χ² + 1 is ∫ p(x, z)²/q(z | x) dz / p(x)², over draws within `reach` standard deviations of the
    mean of q.
    """
    edges = np.linspace(-12.0, 12.0, 1501)
    point, weight = np.polynomial.legendre.leggauss(4)
    half = 0.5 * np.diff(edges)[:, None]
    z = (edges[:-1, None] + half * (point + 1)).ravel()
    log_v = np.log((half * weight).ravel())

    @eqx.filter_jit
    def logs(model: Latent, x: Array, z: Array) -> tuple[Array, Array]:
        prior = model.prior.distribution(model.posterior)

        def one(row: Array) -> tuple[Array, Array]:
            q = model.posterior(row)
            joint = jax.vmap(lambda zj: model.likelihood.log_prob(row, zj) + prior.log_prob(zj))(z)
            return joint, jax.vmap(q.log_prob)(z)

        return jax.lax.map(one, x)

    joint, log_q = (
        np.asarray(a, float) for a in logs(model, jnp.asarray(rows), jnp.asarray(z)[:, None])
    )
    log_p = np.logaddexp.reduce(joint + log_v, axis=1)
    elbo = np.sum(np.exp(log_q + log_v) * (joint - log_q), axis=1)
    far = log_q < log_q.max(axis=1, keepdims=True) - 0.5 * reach**2  # q is Gaussian
    second = np.logaddexp.reduce(np.where(far, -np.inf, 2 * joint - log_q + log_v), axis=1)
    return log_p, elbo, np.expm1(second - 2 * log_p)
