r"""A table's model: categories by the chain rule, then numbers given the categories.

    p(v, c) = p(c_1) p(c_2 | c_1) … p(c_k | c_1, …, c_{k-1}) · p(v | c)

The categorical factors come from one masked network over one-hot vectors, the numeric part is a
flow with the one-hot vectors as its context. The log-probability is exact: a density in v, a
probability in c. With no categories this is the flow, with no numbers the categorical model.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array, Key
from jensen.models.flow import Flow
from jensen.nn.masked import MaskedMLP


class Categories(eqx.Module):
    """An autoregressive distribution over k categorical variables.

    Args:
        key: randomness of the initial weights.
        levels: number of levels of each variable.
        hidden: widths of the masked network.

    Example:
        >>> model = Categories(jax.random.key(0), (2, 3), (8,))
        >>> round(float(model.log_prob(jnp.array([1, 2]))), 4) == round(-float(np.log(6)), 4)
        True
    """

    net: MaskedMLP
    levels: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, key: Key, levels: tuple[int, ...], hidden: tuple[int, ...]) -> None:
        self.levels = levels
        self.net = MaskedMLP(key, len(levels), max(levels), hidden, groups=levels)

    def one_hot(self, codes: Array) -> Array:
        """Return the one-hot vectors of the codes `(k,)`, one after the other."""
        return jnp.concatenate(
            [jax.nn.one_hot(codes[j].astype(int), n) for j, n in enumerate(self.levels)]
        )

    def _log_probs(self, codes: Array) -> Array:
        exists = np.arange(max(self.levels)) < np.array(self.levels)[:, None]
        logits = self.net(self.one_hot(codes))
        return jax.nn.log_softmax(jnp.where(exists, logits, -jnp.inf), axis=1)

    def log_prob(self, codes: Array) -> Array:
        """Return log p(c) in nats, a scalar, for codes `(k,)`."""
        chosen = jnp.arange(max(self.levels)) == codes[:, None]
        return jnp.sum(jnp.where(chosen, self._log_probs(codes), 0.0))

    def sample(self, key: Key) -> Array:
        """Return codes `(k,)` as floats, one variable after the other."""
        codes = jnp.zeros(len(self.levels))
        for j in range(len(self.levels)):
            drawn = jax.random.categorical(jax.random.fold_in(key, j), self._log_probs(codes)[j])
            codes = codes.at[j].set(drawn)
        return codes


class Mixed(eqx.Module):
    """The distribution of one row: y `(D,)` numbers, then k category codes.

    Args:
        flow: p(v | c), or None where no column is numeric.
        categories: p(c), or None where no column is categorical.

    Example:
        >>> from jensen.models.flow import MAF
        >>> model = Mixed(MAF(jax.random.key(0), 2, n_layers=1, hidden=(4,)), None)
        >>> model.sample(jax.random.key(1)).shape
        (2,)
    """

    flow: Flow | None
    categories: Categories | None

    def log_prob(self, x: Array, context: Array | None = None) -> Array:
        """Return log p(v, c) in nats, a scalar, for one row `(D + k,)`."""
        numbers, context, total = self.split(x, context)
        if self.flow is not None:
            total = total + self.flow.log_prob(numbers, context)
        return total

    def split(self, x: Array, context: Array | None = None) -> tuple[Array, Array | None, Array]:
        """Return the numbers `(D,)` of a row, the context of their flow, and log p(c), nats."""
        d = 0 if self.flow is None else self.flow.base.dim
        if self.categories is None:
            return x[:d], context, jnp.zeros((), x.dtype)
        return x[:d], self.categories.one_hot(x[d:]), self.categories.log_prob(x[d:])

    def sample(self, key: Key) -> Array:
        """Return one row `(D + k,)`."""
        for_codes, for_numbers = jax.random.split(key)
        parts, context = [], None
        if self.categories is not None:
            parts = [self.categories.sample(for_codes)]
            context = self.categories.one_hot(parts[0])
        if self.flow is not None:
            parts = [self.flow.sample(for_numbers, (), context), *parts]
        return jnp.concatenate(parts)
