r"""Approximate posteriors q(z | x): what an encoder says of the latent vector of one example.

| posterior | q(z \| x) | the encoder's output |
|---|---|---|
| `DiagonalPosterior` | N(μ, diag exp(v)) | μ, v: 2L |
| `FullPosterior` | N(μ, T Tᵀ), T lower triangular | μ, v, T below its diagonal: L (L + 3)/2 |
| `FlowPosterior` | f(u; h), u ~ N(μ, diag exp(v)) | μ, v, h: 2L + H |
| `HierarchicalPosterior` | q(z₁ \| x) q(z₂ \| z₁) | of two encoders |
| `FreePosterior` | N(μ, diag exp(v)), whatever x is | none: μ and v are parameters |

With an encoder that ends in zeros each starts at N(0, I) (the flow's, where it starts at the
identity). v is cut at ±40, so that no step of the encoder leaves the finite numbers.

A per-instance posterior is a `FreePosterior` for each example, stacked on a first axis, and goes
over the examples with them: `jax.vmap(lambda q, x: bound(Latent(prior, likelihood, q), x))`.

Sources: Kingma & Welling 2014 (arXiv:1312.6114); flows: Kingma et al. 2016 (arXiv:1606.04934);
two layers: Burda et al. 2016 (arXiv:1509.00519), sec. 5.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist

from jensen._errors import InputError
from jensen._typing import Array
from jensen.bijections import Bijection
from jensen.models.distributions import Chained, Distribution, Known, Pushed, normal
from jensen.models.scales import LIMIT


class Posterior(eqx.Module):
    """How q(z | x) is made."""

    @abc.abstractmethod
    def __call__(self, x: Array) -> Distribution:
        """Return q(z | x) for one example x."""


class DiagonalPosterior(Posterior):
    """q(z | x) = N(μ(x), diag σ(x)²) with σ = exp(½ v), both from one network: (μ, v) `(2L,)`.

    Args:
        encoder: from an example to `(2L,)`: means, then log-variances.

    Example:
        >>> q = DiagonalPosterior(lambda x: jnp.zeros(4))(jnp.ones(3))
        >>> round(float(q.log_prob(jnp.zeros(2))), 4)
        -1.8379
    """

    encoder: Callable[[Array], Array]

    def __call__(self, x: Array) -> Distribution:
        """Return q(z | x)."""
        return _diagonal(*jnp.split(self.encoder(x), 2))


class FullPosterior(Posterior):
    """q(z | x) = N(μ(x), T(x) T(x)ᵀ), T lower triangular with diagonal exp(½ v).

    Args:
        encoder: from an example to `(L (L + 3)/2,)`: means, log-variances v, then T's entries below
            its diagonal, row by row.
        dim: L.

    Example:
        >>> q = FullPosterior(lambda x: jnp.array([0.0, 0.0, 0.0, 0.0, 0.5]), 2)(jnp.ones(3))
        >>> q.law.covariance_matrix.tolist()
        [[1.0, 0.5], [0.5, 1.25]]
    """

    encoder: Callable[[Array], Array]
    dim: int = eqx.field(static=True)

    def __call__(self, x: Array) -> Distribution:
        """Return q(z | x)."""
        mean, log_variance, below = _cut(self.encoder(x), self.dim, self.dim * (self.dim - 1) // 2)
        rows = jnp.tril_indices(self.dim, -1)
        tril = jnp.diag(_scale(log_variance)).at[rows].set(below)
        return Known(dist.MultivariateNormal(mean, scale_tril=tril))


class FlowPosterior(Posterior):
    """q(z | x): z = f(u; h(x)) with u ~ N(μ(x), diag σ(x)²).

    Args:
        encoder: from an example to `(2L + H,)`: means, log-variances v, then the flow's context h.
        bijection: f, with a context of length H; one that is fast from u to z, such as that of
            `models.flow.IAF`.
        dim: L.

    Example:
        >>> import jax
        >>> from jensen.models.flow import IAF
        >>> flow = IAF(jax.random.key(0), 2, n_layers=2, hidden=(4,), context_dim=3)
        >>> q = FlowPosterior(lambda x: jnp.zeros(7), flow.bijection, 2)(jnp.ones(5))
        >>> round(float(q.log_prob(jnp.zeros(2))), 4)
        -1.8379
    """

    encoder: Callable[[Array], Array]
    bijection: Bijection
    dim: int = eqx.field(static=True)

    def __call__(self, x: Array) -> Distribution:
        """Return q(z | x)."""
        mean, log_variance, context = _cut(self.encoder(x), self.dim, None)
        base = _diagonal(mean, log_variance)
        return Pushed(self.bijection, base, context if len(context) else None)


class HierarchicalPosterior(Posterior):
    """q(z | x) = q(z₁ | x) q(z₂ | z₁) for z = (z₁, z₂): two stochastic layers.

    Args:
        first: from x to q(z₁ | x).
        second: from z₁ to q(z₂ | z₁).
        n_first: the length of z₁.

    Example:
        >>> layer = DiagonalPosterior(lambda x: jnp.zeros(2))
        >>> HierarchicalPosterior(layer, layer, 1)(jnp.ones(3)).log_prob(jnp.zeros(2)).shape
        ()
    """

    first: Posterior
    second: Posterior
    n_first: int = eqx.field(static=True)

    def __call__(self, x: Array) -> Distribution:
        """Return q(z₁, z₂ | x)."""
        return Chained(self.first(x), self.second, self.n_first)


class FreePosterior(Posterior):
    """N(μ, diag exp(v)) with μ and v parameters: one example's posterior, without an encoder.

    Args:
        mean: μ `(L,)`.
        log_variance: v `(L,)`.

    Example:
        >>> import jax
        >>> rows = FreePosterior(jnp.arange(6.0).reshape(3, 2), jnp.zeros((3, 2)))
        >>> jax.vmap(lambda q, x: q(x).log_prob(jnp.zeros(2)))(rows, jnp.ones((3, 5))).shape
        (3,)
    """

    mean: Array
    log_variance: Array

    def __call__(self, x: Array) -> Distribution:
        """Return the same for every x."""
        return _diagonal(self.mean, self.log_variance)


def _scale(log_variance: Array) -> Array:
    return jnp.exp(0.5 * jnp.clip(log_variance, -LIMIT, LIMIT))


def _diagonal(mean: Array, log_variance: Array) -> Known:
    return normal(mean, _scale(log_variance))


def _cut(output: Array, dim: int, rest: int | None) -> tuple[Array, Array, Array]:
    """Return the means, the log-variances `(L,)` and what is left of an encoder's output."""
    if len(output) < 2 * dim or (rest is not None and len(output) != 2 * dim + rest):
        wanted = "at least" if rest is None else "exactly"
        raise InputError(
            f"an encoder with an output of length {len(output)} for {dim} latent coordinates",
            "encoder",
            f"give it {wanted} {2 * dim + (rest or 0)} outputs",
        )
    return output[:dim], output[dim : 2 * dim], output[2 * dim :]
