r"""Distributions of a latent vector z, as priors and posteriors give them.

    sample_and_log_prob(key, n):   z_1, …, z_n ~ q,   log q(z_1), …, log q(z_n)
    log_prob(z):                   log q(z), nats

| distribution | z | log q(z) |
|---|---|---|
| `Known` | one of numpyro's | numpyro's |
| `Pushed` | f(u; c), u ~ base | log base(f⁻¹(z; c)) + log \|det ∂f⁻¹/∂z\| |
| `Chained` | (a, b): a ~ head, b ~ tail(a) | log head(a) + log tail(a)(b) |
| `Mixture` | of component c with probability w_c | log Σ_c w_c q_c(z) |

Draws are reparameterised, z = T(ε) with ε free of parameters, so that gradients pass through them;
those of a `Mixture` are not. A distribution is a pytree; stopping the gradient of its arrays stops
everything behind them, the encoder included.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from jensen._typing import Array, Key
from jensen.bijections import Bijection


class Distribution(eqx.Module):
    """A distribution of a latent vector `(L,)` that can be drawn from and evaluated."""

    @abc.abstractmethod
    def sample_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        """Return n reparameterised draws `(n, L)` and their log-densities `(n,)`, nats."""

    @abc.abstractmethod
    def log_prob(self, z: Array) -> Array:
        """Return log q(z), a scalar in nats, for one z `(L,)`."""


class Known(Distribution):
    """A distribution that numpyro has.

    Args:
        law: a reparameterisable numpyro distribution with event shape `(L,)`.

    Example:
        >>> z, log_q = normal(jnp.zeros(2), jnp.ones(2)).sample_and_log_prob(jax.random.key(0), 5)
        >>> z.shape, log_q.shape
        ((5, 2), (5,))
    """

    law: dist.Distribution

    def sample_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        """Return n draws `(n, L)` and their log-densities `(n,)`, nats."""
        z = jnp.asarray(self.law.rsample(key, (n,)))
        return z, jnp.asarray(self.law.log_prob(z))

    def log_prob(self, z: Array) -> Array:
        """Return log q(z), a scalar in nats."""
        return jnp.asarray(self.law.log_prob(z))


def normal(mean: Array, scale: Array) -> Known:
    """Return N(mean, diag scale²) for arrays `(L,)`."""
    return Known(dist.Normal(mean, scale).to_event(1))


class Pushed(Distribution):
    """A distribution pushed through a bijection, given a context: z = f(u; c), u ~ base.

    Draws take one pass of f, and so does their log q; `log_prob` of another z takes one of f⁻¹,
    which for an inverse autoregressive f is a recursion over the L coordinates.

    Args:
        bijection: f.
        base: the distribution of u.
        context: c `(C,)`, or None.

    Example:
        >>> from jensen.models.flow import IAF
        >>> flow = IAF(jax.random.key(0), 2, n_layers=2, hidden=(4,))
        >>> pushed = Pushed(flow.bijection, Known(flow.base.distribution()))
        >>> z, log_q = pushed.sample_and_log_prob(jax.random.key(1), 3)
        >>> bool(jnp.allclose(jax.vmap(pushed.log_prob)(z), log_q, atol=1e-5))
        True
    """

    bijection: Bijection
    base: Distribution
    context: Array | None = None

    def sample_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        """Return n draws `(n, L)` and their log-densities `(n,)`, nats."""
        u, log_q = self.base.sample_and_log_prob(key, n)
        forward = self.bijection.forward_and_log_det
        z, log_det = jax.vmap(lambda one: forward(one, self.context))(u)
        return z, log_q - log_det

    def log_prob(self, z: Array) -> Array:
        """Return log q(z), a scalar in nats."""
        u, log_det = self.bijection.inverse_and_log_det(z, self.context)
        return self.base.log_prob(u) + log_det


class Chained(Distribution):
    """Two vectors in one, the second given the first: q(a, b) = q(a) q(b | a).

    Args:
        head: q(a).
        tail: from a to q(b | a).
        n_head: the length of a.
        head_last: z = (b, a); else z = (a, b).

    Example:
        >>> walk = Chained(normal(jnp.zeros(1), jnp.ones(1)), lambda a: normal(a, jnp.ones(1)), 1)
        >>> round(float(walk.log_prob(jnp.array([1.0, 3.0]))), 4)
        -4.3379
    """

    head: Distribution
    tail: Callable[[Array], Distribution]
    n_head: int = eqx.field(static=True)
    head_last: bool = eqx.field(static=True, default=False)

    def sample_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        """Return n draws `(n, L)` and their log-densities `(n,)`, nats."""
        for_head, for_tail = jax.random.split(key)
        a, log_a = self.head.sample_and_log_prob(for_head, n)

        def draw(k: Key, given: Array) -> tuple[Array, Array]:
            b, log_b = self.tail(given).sample_and_log_prob(k, 1)
            return b[0], log_b[0]

        b, log_b = jax.vmap(draw)(jax.random.split(for_tail, n), a)
        parts = [b, a] if self.head_last else [a, b]
        return jnp.concatenate(parts, axis=1), log_a + log_b

    def log_prob(self, z: Array) -> Array:
        """Return log q(a) + log q(b | a), a scalar in nats."""
        if self.head_last:
            a, b = z[-self.n_head :], z[: -self.n_head]
        else:
            a, b = z[: self.n_head], z[self.n_head :]
        return self.head.log_prob(a) + self.tail(a).log_prob(b)


class Mixture(Distribution):
    """A mixture of C distributions of one kind: log q(z) = log Σ_c w_c q_c(z).

    Which component a draw comes from has no derivative, so no gradient passes through the draws.
    Only priors are mixtures, and nothing differentiates the draws of a prior; `log_prob` is
    differentiable in everything.

    Args:
        components: a distribution whose arrays have a first axis of length C, as `eqx.filter_vmap`
            makes one.
        logits: log w_c up to a constant, `(C,)`.

    Example:
        >>> means = jnp.array([[-1.0], [1.0]])
        >>> two = Mixture(eqx.filter_vmap(normal)(means, jnp.ones((2, 1))), jnp.zeros(2))
        >>> round(float(two.log_prob(jnp.zeros(1))), 4)
        -1.4189
    """

    components: Distribution
    logits: Array

    def sample_and_log_prob(self, key: Key, n: int) -> tuple[Array, Array]:
        """Return n draws `(n, L)`, without gradients, and their log-densities `(n,)`, nats."""
        for_choice, for_draws = jax.random.split(key)
        chosen = jax.random.categorical(for_choice, self.logits, shape=(n,))

        def draw(k: Key, c: Array) -> Array:
            one = jax.tree.map(lambda a: a[c] if eqx.is_array(a) else a, self.components)
            return one.sample_and_log_prob(k, 1)[0][0]

        z = jax.lax.stop_gradient(jax.vmap(draw)(jax.random.split(for_draws, n), chosen))
        return z, jax.vmap(self.log_prob)(z)

    def log_prob(self, z: Array) -> Array:
        """Return log q(z), a scalar in nats."""
        each = eqx.filter_vmap(lambda component: component.log_prob(z))(self.components)
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + each)
