r"""Base distributions: where a flow's latent variable lives.

normal:      p(z) = Π_d N(z_d; 0, 1)
student-t:   p(z) = Π_d t(z_d; ν_d, 0, 1),   ν_d = ν_min + softplus(r_d), learnable tails
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from jensen._typing import Array, Key


class Base(eqx.Module):
    """A factorised distribution on R^D."""

    dim: eqx.AbstractVar[int]

    @abc.abstractmethod
    def distribution(self) -> dist.Distribution:
        """Return the numpyro distribution of one example, with event shape `(D,)`."""

    def log_prob(self, z: Array) -> Array:
        """Return log p(z) in nats, a scalar, for one z `(D,)`."""
        return jnp.asarray(self.distribution().log_prob(z))

    def sample(self, key: Key) -> Array:
        """Return one z `(D,)`."""
        return jnp.asarray(self.distribution().sample(key))


class NormalBase(Base):
    """The standard normal distribution on R^D.

    Example:
        >>> round(float(NormalBase(2).log_prob(jnp.zeros(2))), 4)
        -1.8379
    """

    dim: int = eqx.field(static=True)

    def distribution(self) -> dist.Distribution:
        """Return N(0, I)."""
        return dist.Normal(jnp.zeros(self.dim), 1.0).to_event(1)


class StudentTBase(Base):
    r"""Independent Student-t distributions with learnable degrees of freedom.

    The tails of the base are the tails of the flow where its bijection is linear far out, so a
    heavy-tailed table needs a heavy-tailed base. Starts at ν = 30, close to the normal.

    Args:
        dim: D.
        min_df: ν_min, the heaviest tail allowed.

    Source: Jaini et al. 2020 (arXiv:1907.04481). Deviation: one ν per dimension, learned through
    softplus.

    Example:
        >>> base = StudentTBase(1)
        >>> bool(base.log_prob(jnp.full(1, 9.0)) > NormalBase(1).log_prob(jnp.full(1, 9.0)))
        True
    """

    raw_df: Array
    dim: int = eqx.field(static=True)
    min_df: float = eqx.field(static=True)

    def __init__(self, dim: int, *, min_df: float = 1.0) -> None:
        self.dim, self.min_df = dim, min_df
        self.raw_df = jnp.full(dim, 30.0 - min_df)

    def distribution(self) -> dist.Distribution:
        """Return the product of t(ν_d, 0, 1)."""
        return dist.StudentT(self.min_df + jax.nn.softplus(self.raw_df), 0.0, 1.0).to_event(1)
