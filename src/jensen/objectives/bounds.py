r"""Lower bounds of log p(x), as functions of importance log-weights ℓ `(M, K)`, nats.

    ELBO     1/M Σ_m ℓ_m
    IWAE-K   log 1/K Σ_k exp ℓ_k                                     K = 1 is the ELBO
    MIWAE    1/M Σ_m log 1/K Σ_k exp ℓ_mk                            (M, 1) ELBO, (1, K) IWAE
    CIWAE    β ELBO + (1 - β) IWAE, both of the same K weights
    PIWAE    the model sees IWAE-MK, the posterior sees MIWAE(M, K)
    Rényi-α  1/(1 - α) log 1/K Σ_k exp((1 - α) ℓ_k)                  α = 0 IWAE, α → 1 ELBO
    β-VAE    E log p(x | z) - β KL(q ‖ p) is trained; what is reported is the ELBO

Every one is at most log p(x) in expectation, for weights of any q. Two derivatives are all that a
gradient estimator needs to know of a bound V:

    slopes      a = ∂V/∂ℓ            (self-normalised weights for IWAE)
    curvatures  h = ∂²V/∂ℓ² on the diagonal

Sources: Burda et al. 2016 (arXiv:1509.00519); Rainforth et al. 2018 (arXiv:1802.04537); Li & Turner
2016 (arXiv:1602.02311); Higgins et al. 2017. Deviation: the Rényi bound is refused for α < 0, where
its estimate from K draws is no bound.
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array


class Bound(eqx.Module):
    """A lower bound V of log p(x), of log-weights ℓ `(M, K)`."""

    n_samples: eqx.AbstractVar[int]
    n_particles: eqx.AbstractVar[int]
    beta: eqx.AbstractVar[float]

    @abc.abstractmethod
    def value(self, log_weights: Array) -> Array:
        """Return V, a scalar in nats, for log-weights `(M, K)`."""

    @abc.abstractmethod
    def slopes(self, log_weights: Array) -> Array:
        """Return a = ∂V/∂ℓ `(M, K)`."""

    @abc.abstractmethod
    def curvatures(self, log_weights: Array) -> Array:
        """Return h = ∂²V/∂ℓ² on the diagonal `(M, K)`."""

    @property
    @abc.abstractmethod
    def linear(self) -> bool:
        """Whether V is linear in ℓ, so that h = 0."""

    @property
    @abc.abstractmethod
    def for_posterior(self) -> Bound:
        """The bound whose gradient trains the posterior: itself, but for PIWAE."""


class PowerMean(Bound):
    r"""V = 1/M Σ_m 1/(1-α) log 1/K Σ_k exp((1-α) ℓ_mk), and with β ≠ 1 the β-VAE's objective.

    Built by `ELBO`, `IWAE`, `MIWAE` and `Renyi`.

    Args:
        n_samples: M.
        n_particles: K.
        alpha: α ≥ 0.
        beta: weight of the KL divergence in training; only with K = 1.

    Raises:
        InputError: for a number out of range, or β ≠ 1 with K > 1.
    """

    n_samples: int = eqx.field(static=True)
    n_particles: int = eqx.field(static=True)
    alpha: float = eqx.field(static=True)
    beta: float = eqx.field(static=True)

    def __init__(
        self, n_samples: int = 1, n_particles: int = 1, alpha: float = 0.0, beta: float = 1.0
    ) -> None:
        _check_counts(n_samples, n_particles)
        if not 0 <= alpha < float("inf"):
            raise InputError(
                f"alpha must be at least 0 and finite, got {alpha}",
                "alpha",
                "below 0 the estimate from finitely many draws is not a bound",
            )
        if not 0 < beta < float("inf"):
            raise InputError(f"beta must be above 0 and finite, got {beta}", "beta")
        if beta != 1 and n_particles > 1 and alpha != 1:
            raise InputError(
                f"beta={beta} weighs the KL divergence of an ELBO, and this bound has none",
                "beta",
                "use n_particles=1, or beta=1",
            )
        self.n_samples, self.n_particles = n_samples, n_particles
        self.alpha, self.beta = alpha, beta

    def value(self, log_weights: Array) -> Array:
        """Return V, a scalar in nats."""
        if self.linear:
            return jnp.mean(log_weights)
        power = 1.0 - self.alpha
        sums = jax.nn.logsumexp(power * log_weights, axis=1) - jnp.log(log_weights.shape[1])
        return jnp.mean(sums) / power

    def slopes(self, log_weights: Array) -> Array:
        """Return a = softmax_k((1-α) ℓ)/M `(M, K)`."""
        if self.linear:
            return jnp.full_like(log_weights, 1.0 / log_weights.size)
        shares = jax.nn.softmax((1.0 - self.alpha) * log_weights, axis=1)
        return shares / log_weights.shape[0]

    def curvatures(self, log_weights: Array) -> Array:
        """Return h = (1-α) s(1-s)/M with s the shares of a row `(M, K)`."""
        if self.linear:
            return jnp.zeros_like(log_weights)
        shares = jax.nn.softmax((1.0 - self.alpha) * log_weights, axis=1)
        return (1.0 - self.alpha) * shares * (1.0 - shares) / log_weights.shape[0]

    @property
    def linear(self) -> bool:
        """Whether this is an ELBO."""
        return self.n_particles == 1 or self.alpha == 1

    @property
    def for_posterior(self) -> Bound:
        """Return itself."""
        return self


class CIWAE(Bound):
    """V = β ELBO + (1-β) IWAE of the same K log-weights.

    Args:
        mix: β in [0, 1].
        n_particles: K.

    Raises:
        InputError: for a number out of range.
    """

    mix: float = eqx.field(static=True)
    n_samples: int = eqx.field(static=True)
    n_particles: int = eqx.field(static=True)
    beta: float = eqx.field(static=True)

    def __init__(self, mix: float, n_particles: int) -> None:
        _check_counts(1, n_particles)
        if not 0 <= mix <= 1:
            raise InputError(f"mix must be between 0 and 1, got {mix}", "mix")
        self.mix, self.n_samples, self.n_particles, self.beta = mix, 1, n_particles, 1.0

    def value(self, log_weights: Array) -> Array:
        """Return V, a scalar in nats."""
        elbo, iwae = self._parts()
        return self.mix * elbo.value(log_weights) + (1 - self.mix) * iwae.value(log_weights)

    def slopes(self, log_weights: Array) -> Array:
        """Return β/K + (1-β) s, with s the self-normalised weights `(1, K)`."""
        elbo, iwae = self._parts()
        return self.mix * elbo.slopes(log_weights) + (1 - self.mix) * iwae.slopes(log_weights)

    def curvatures(self, log_weights: Array) -> Array:
        """Return (1-β) s(1-s) `(1, K)`."""
        return (1 - self.mix) * self._parts()[1].curvatures(log_weights)

    def _parts(self) -> tuple[PowerMean, PowerMean]:
        k = self.n_particles
        return PowerMean(1, k, alpha=1.0), PowerMean(1, k)

    @property
    def linear(self) -> bool:
        """Whether only the ELBO is left."""
        return self.mix == 1 or self.n_particles == 1

    @property
    def for_posterior(self) -> Bound:
        """Return itself."""
        return self


class PIWAE(Bound):
    """V = IWAE of all M·K weights for the model; the posterior is trained by MIWAE(M, K).

    Args:
        n_samples: M.
        n_particles: K.

    Raises:
        InputError: for a number out of range.
    """

    n_samples: int = eqx.field(static=True)
    n_particles: int = eqx.field(static=True)
    beta: float = eqx.field(static=True)

    def __init__(self, n_samples: int, n_particles: int) -> None:
        _check_counts(n_samples, n_particles)
        self.n_samples, self.n_particles, self.beta = n_samples, n_particles, 1.0

    def value(self, log_weights: Array) -> Array:
        """Return the IWAE bound of all weights, nats."""
        return self._all().value(log_weights.reshape(1, -1))

    def slopes(self, log_weights: Array) -> Array:
        """Return the self-normalised weights `(M, K)`, over all of them."""
        return self._all().slopes(log_weights.reshape(1, -1)).reshape(log_weights.shape)

    def curvatures(self, log_weights: Array) -> Array:
        """Return s(1-s) `(M, K)`."""
        return self._all().curvatures(log_weights.reshape(1, -1)).reshape(log_weights.shape)

    def _all(self) -> PowerMean:
        return PowerMean(1, self.n_samples * self.n_particles)

    @property
    def linear(self) -> bool:
        """Whether there is one weight only."""
        return self.n_samples * self.n_particles == 1

    @property
    def for_posterior(self) -> Bound:
        """Return MIWAE(M, K)."""
        return MIWAE(self.n_samples, self.n_particles)


def ELBO(n_samples: int = 1, *, beta: float = 1.0) -> PowerMean:
    """Return the ELBO of M draws; with β ≠ 1 the β-VAE's objective, reported as an ELBO.

    Example:
        >>> float(ELBO(2).value(jnp.array([[-1.0], [-3.0]])))
        -2.0
    """
    return PowerMean(n_samples, 1, beta=beta)


def IWAE(n_particles: int) -> PowerMean:
    """Return the importance-weighted bound of K particles.

    Example:
        >>> round(float(IWAE(2).value(jnp.log(jnp.array([[1.0, 3.0]])))), 4) == 0.6931
        True
    """
    return PowerMean(1, n_particles)


def MIWAE(n_samples: int, n_particles: int) -> PowerMean:
    """Return the mean of M importance-weighted bounds of K particles each."""
    return PowerMean(n_samples, n_particles)


def Renyi(alpha: float, n_particles: int) -> PowerMean:
    """Return the variational Rényi bound of order α ≥ 0 from K particles."""
    return PowerMean(1, n_particles, alpha)


def _check_counts(n_samples: int, n_particles: int) -> None:
    for name, value in (("n_samples", n_samples), ("n_particles", n_particles)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}", name)
