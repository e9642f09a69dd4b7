r"""Observations: how the decoder's output η becomes a distribution of x, coordinate by coordinate.

    p(x | η) = Π_d p(x_d | η_d)

An observation says how many parameters it needs, the log-probability of every coordinate, draws,
means, which values it can take, and where the decoder's bias should start. Those of whole numbers
and categories stand in `discrete`, those of mixed tables in `columns`, the scales σ in `scales`.
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.models.scales import Scale, as_scale

MAX_DF = 100.0
"""Most degrees of freedom of a Student-t observation: as good as normal."""


class Observation(eqx.Module):
    """A factorised distribution of one example `(D,)`, given the decoder's output."""

    @property
    @abc.abstractmethod
    def n_params(self) -> int:
        """P, the length of the decoder's output η."""

    @abc.abstractmethod
    def log_probs(self, x: Array, params: Array) -> Array:
        """Return log p(x_d | η_d) `(D,)`, nats, for x `(D,)` without missing cells and η `(P,)`."""

    @abc.abstractmethod
    def sample(self, key: Key, params: Array) -> Array:
        """Return one x `(D,)`."""

    @abc.abstractmethod
    def means(self, params: Array) -> Array:
        """Return E[x] `(F,)`: one entry per number; for a category its levels' probabilities."""

    @abc.abstractmethod
    def possible(self, x: np.ndarray) -> np.ndarray:
        """Return `(n, D)`, False where a cell of x `(n, D)` cannot occur; a missing one can."""

    @abc.abstractmethod
    def bias(self, x: np.ndarray) -> np.ndarray:
        """Return η `(P,)` at the frequencies and means of the cells of x `(n, D)` that are seen."""


class Bernoulli(Observation):
    """x_d ∈ {0, 1}: log p = x η - softplus(η), η the log-odds.

    numpyro's law, written so that XLA fuses it: with its gradient, on 1000 × 784 cells, 0.95 ms
    where numpyro's takes 1.47 and `jax.nn.softplus` 2.13 (two cores, least of 60 calls).

    Args:
        dim: D.

    Example:
        >>> round(float(Bernoulli(1).log_probs(jnp.ones(1), jnp.zeros(1))[0]), 4)
        -0.6931
    """

    dim: int = eqx.field(static=True)

    @property
    def n_params(self) -> int:
        """D log-odds."""
        return self.dim

    def log_probs(self, x: Array, params: Array) -> Array:
        """Return log p(x_d | η_d) `(D,)`, nats."""
        softplus = jnp.maximum(params, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(params)))
        return x * params - softplus

    def sample(self, key: Key, params: Array) -> Array:
        """Return zeros and ones `(D,)`."""
        return jax.random.bernoulli(key, jax.nn.sigmoid(params)).astype(params.dtype)

    def means(self, params: Array) -> Array:
        """Return the probabilities of 1 `(D,)`."""
        return jax.nn.sigmoid(params)

    def possible(self, x: np.ndarray) -> np.ndarray:
        """Return where x is 0, 1 or missing `(n, D)`."""
        return (x == 0) | (x == 1) | np.isnan(x)

    def bias(self, x: np.ndarray) -> np.ndarray:
        """Return the log-odds of the rows, with half a count added on each side."""
        ones, n = np.nansum(x, axis=0), np.sum(~np.isnan(x), axis=0)
        return np.log((ones + 0.5) / (n - ones + 0.5))


class Gaussian(Observation):
    """x_d ~ N(η_d, σ_d²).

    Args:
        dim: D.
        scale: σ as a number, or where it comes from.

    Example:
        >>> from jensen.models.scales import NetworkScale
        >>> Gaussian(2, scale=NetworkScale(2)).n_params
        4
    """

    dim: int = eqx.field(static=True)
    scale: Scale

    def __init__(self, dim: int, scale: float | Scale = 1.0) -> None:
        self.dim, self.scale = dim, as_scale(scale)

    @property
    def n_params(self) -> int:
        """D means, then what the scale takes."""
        return self.dim + self.scale.n_params

    def _law(self, params: Array) -> dist.Normal:
        return dist.Normal(params[: self.dim], self.scale(params[self.dim :]))

    def log_probs(self, x: Array, params: Array) -> Array:
        """Return log N(x_d; η_d, σ_d²) `(D,)`, nats."""
        return jnp.asarray(self._law(params).log_prob(x))

    def sample(self, key: Key, params: Array) -> Array:
        """Return η + σ ε `(D,)`."""
        return jnp.asarray(self._law(params).sample(key))

    def means(self, params: Array) -> Array:
        """Return η `(D,)`."""
        return params[: self.dim]

    def possible(self, x: np.ndarray) -> np.ndarray:
        """Return where x is finite or missing `(n, D)`."""
        return ~np.isinf(x)

    def bias(self, x: np.ndarray) -> np.ndarray:
        """Return the means of the rows, and their standard deviations as the scale takes them."""
        mean, spread = moments(x)
        return np.concatenate([mean, self.scale.bias(spread)])


class StudentT(Observation):
    r"""x_d ~ η_d + σ_d t(ν_d), with learned degrees of freedom.

    ν = ν_min + (100 - ν_min) sigmoid(r), one r for each coordinate: bounded, because float32 loses
    the normalising constant, a difference of two logarithms of Γ, for large ν.

    Args:
        dim: D.
        scale: σ as a number, or where it comes from.
        min_df: ν_min ≥ 1, the heaviest tail allowed; at 1 there may be hardly a mean.
        df: where ν starts.

    Raises:
        InputError: unless 1 ≤ ν_min < ν < 100.

    Example:
        >>> x, far = jnp.full(1, 9.0), jnp.zeros(1)
        >>> bool(StudentT(1).log_probs(x, far)[0] > Gaussian(1).log_probs(x, far)[0])
        True
    """

    dim: int = eqx.field(static=True)
    min_df: float = eqx.field(static=True)
    raw_df: Array
    scale: Scale

    def __init__(
        self, dim: int, scale: float | Scale = 1.0, *, min_df: float = 2.0, df: float = 10.0
    ) -> None:
        if not 1.0 <= min_df < df < MAX_DF:
            raise InputError(
                f"degrees of freedom {df} with a least of {min_df}",
                "df",
                f"choose 1 ≤ min_df < df < {MAX_DF:g}",
            )
        self.dim, self.min_df, self.scale = dim, min_df, as_scale(scale)
        self.raw_df = jnp.full(dim, np.log((df - min_df) / (MAX_DF - df)))

    @property
    def n_params(self) -> int:
        """D locations, then what the scale takes."""
        return self.dim + self.scale.n_params

    @property
    def df(self) -> Array:
        """ν `(D,)`."""
        return self.min_df + (MAX_DF - self.min_df) * jax.nn.sigmoid(self.raw_df)

    def _law(self, params: Array) -> dist.StudentT:
        return dist.StudentT(self.df, params[: self.dim], self.scale(params[self.dim :]))

    def log_probs(self, x: Array, params: Array) -> Array:
        """Return log p(x_d | η_d) `(D,)`, nats."""
        return jnp.asarray(self._law(params).log_prob(x))

    def sample(self, key: Key, params: Array) -> Array:
        """Return one x `(D,)`."""
        return jnp.asarray(self._law(params).sample(key))

    def means(self, params: Array) -> Array:
        """Return η `(D,)`, the means: ν is above 1."""
        return params[: self.dim]

    def possible(self, x: np.ndarray) -> np.ndarray:
        """Return where x is finite or missing `(n, D)`."""
        return ~np.isinf(x)

    def bias(self, x: np.ndarray) -> np.ndarray:
        """Return the means of the rows, and their standard deviations as the scale takes them."""
        mean, spread = moments(x)
        return np.concatenate([mean, self.scale.bias(spread)])


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the means and standard deviations `(D,)` of rows `(n, D)`, missing cells left out.

    A column without any cell counts as 0 ± 0.
    """
    seen = ~np.isnan(x)
    n = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, x, 0.0).sum(axis=0) / n
    return mean, np.sqrt((np.where(seen, x - mean, 0.0) ** 2).sum(axis=0) / n)
