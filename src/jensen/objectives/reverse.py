r"""Reverse Kullback–Leibler divergence: fit a sampler to a density that has no samples.

    L(θ) = E_{z ~ p_Z} [log q_θ(x) - log p̃(x)],   x = f_θ(z)      =  KL(q_θ ‖ p) - log Z

for an unnormalised density p̃ = Z p. Two estimators of its gradient, the same in the mean:

* *total*: through x and through the parameters in log q_θ. The second part is E[∂_θ log q_θ(x)],
  which is 0 in the mean and noise in every batch;
* *path* ("sticking the landing"): through x alone, the parameters in log q_θ held still. Where
  q = p it is 0 for every single draw, so that a fit can settle.

Annealing replaces log p̃ by β log p̃ + (1 - β) log N(0, Σ): at β = 0 the divergence of a flow that
starts as N(0, Σ) is 0, and modes part while mass can still move between them.

A draw where p̃ = 0 has no finite loss: it counts as the worst of the other draws, without a slope.

Sources: Rezende & Mohamed 2015 (arXiv:1505.05770); the path gradient: Roeder et al. 2017
(arXiv:1703.09194), here for log q at f(z) by the inverse of f, as Vaitl et al. 2022
(arXiv:2206.09016); annealing between a base and the target: Neal 2001.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._typing import Array, Key, PyTree

LogDensity = Callable[[Array], Array]
"""`log_density(x) -> log p̃(x)`, nats, up to a constant, for one x `(D,)`."""


class Sampler(Protocol):
    """A model with a log-density that is sampled by a differentiable map of noise."""

    def log_prob(self, x: Array) -> Array:
        """Return log q(x) in nats."""
        ...

    def sample(self, key: Key) -> Array:
        """Return one x `(D,)`."""
        ...


class Rescaled(eqx.Module):
    """An unnormalised density in the units y = (x - shift)/scale; Z stays the same.

    Args:
        log_density: log p̃ of one x `(D,)`.
        shift: `(D,)`.
        scale: `(D,)`, above zero.

    Example:
        >>> half = Rescaled(lambda x: -jnp.sum(x), jnp.zeros(1), jnp.full(1, 2.0))
        >>> round(float(half(jnp.ones(1))), 4)  # -2 + log 2
        -1.3069
    """

    log_density: LogDensity
    shift: Array
    scale: Array

    def __call__(self, y: Array) -> Array:
        """Return log p̃(shift + scale y) + Σ log scale, nats."""
        return self.log_density(self.shift + self.scale * y) + jnp.sum(jnp.log(self.scale))


class ReverseKL(eqx.Module):
    """The per-draw loss log q(x) - log p̃_β(x), nats, of a one-player game.

    Args:
        log_density: log p̃ of one x `(D,)`; -inf outside its support.
        beta: β in [0, 1]; 1 is the target itself.
        whiten: W `(D, D)` with WᵀW = Σ⁻¹, triangular; None for β = 1 alone.
        path: take the path gradient, else the total one.

    Example:
        >>> from jensen.models.flow import RealNVP
        >>> flow = RealNVP(jax.random.key(0), 2, n_layers=1, hidden=(4,))
        >>> loss = ReverseKL(flow.log_prob)  # a target that the flow already is
        >>> bool(jnp.all(jnp.abs(loss((flow,), jnp.zeros((3, 1)), jax.random.key(1))) < 1e-5))
        True
    """

    log_density: LogDensity
    beta: Array = eqx.field(default=1.0, converter=jnp.asarray)
    whiten: Array | None = None
    path: bool = eqx.field(default=True, static=True)

    def __call__(self, players: tuple[Sampler, ...], batch: PyTree, key: Key) -> Array:
        """Return the loss `(B,)` of as many fresh draws as the batch has rows; it is not read."""
        n = jax.tree.leaves(batch)[0].shape[0]
        log_q, log_p = jax.vmap(lambda k: self._one(players[0], k))(jax.random.split(key, n))
        inside = log_p > -jnp.inf
        loss = jnp.where(inside, log_q - log_p, 0.0)
        worst = jnp.max(jnp.where(inside, loss, -jnp.inf))
        return jnp.where(inside, loss, jax.lax.stop_gradient(worst))

    def _one(self, model: Any, key: Key) -> tuple[Array, Array]:
        """Return log q(x) and log p̃_β(x) of one draw."""
        x = model.sample(key)
        log_q = (jax.lax.stop_gradient(model) if self.path else model).log_prob(x)
        target = self.log_density(x)
        if self.whiten is None:
            return log_q, target
        base = -0.5 * jnp.sum((self.whiten @ x) ** 2 + jnp.log(2 * jnp.pi))
        base = base + jnp.sum(jnp.log(jnp.diag(self.whiten)))
        tempered = self.beta * target + (1.0 - self.beta) * base
        return log_q, jnp.where(target == -jnp.inf, -jnp.inf, tempered)
