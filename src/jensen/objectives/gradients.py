r"""Gradient estimators of a bound V(ℓ), ℓ_k = log p_θ(x, z_k) - log q_φ(z_k | x), z_k = T_φ(ε_k).

With a = ∂V/∂ℓ and h = ∂²V/∂ℓ² on the diagonal, every estimator is three coefficients a particle,

    Σ_k a_k ∂log p_θ(x, z_k)/∂θ  +  Σ_k b_k (∂ℓ_k/∂z_k) ∂z_k/∂φ  +  Σ_k c_k ∂log q_φ(z_k | x)/∂φ

(in the last sum z_k is held fixed):

| estimator | b: along the path | c: score | bounds |
|---|---|---|---|
| `Reparameterised` | a | -a | all |
| `StickingTheLanding` | a | 0 | linear ones (ELBO, β): biased for others |
| `DoublyReparameterised` | a - h | 0 | all |
| `ScoreFunction` | 0 | (V_m - V₋ₘ)/M - a | all |
| `VIMCO` | 0 | V - V₋ₖ - a | importance-weighted ones, at least two draws |
| `ClosedFormKL` | – | – | linear ones, Gaussian q and p |

E[a_k ∂log q/∂φ] = E[h_k (∂ℓ_k/∂z_k) ∂z_k/∂φ] is the identity behind a - h: for IWAE it is the
squared self-normalised weight. V_m is the bound of row m of ℓ alone, V₋ₘ the mean of those of the
other rows (0 where M = 1); V₋ₖ is V with ℓ_k replaced by the mean of the others.
Neither baseline depends on what it is subtracted for, so both leave the mean gradient as it is.

The value that comes back is always V itself (the ELBO for a β-VAE), whatever the estimator; with
`ClosedFormKL` the KL divergence in it is the exact one, the mean is the same.

Sources: Roeder et al. 2017 (arXiv:1703.09194); Tucker et al. 2019 (arXiv:1810.04152), here for any
bound; Mnih & Rezende 2016 (arXiv:1602.06725); Kool et al. 2019.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from jensen._errors import InputError
from jensen._typing import Array, Key, PyTree
from jensen.models.distributions import Distribution, Known
from jensen.models.latent import Latent
from jensen.objectives.bounds import Bound


class Estimator(eqx.Module):
    """How the gradient of a bound is estimated."""

    @abc.abstractmethod
    def check(self, bound: Bound) -> None:
        """Raise InputError if the estimator is biased or undefined for this bound."""

    @abc.abstractmethod
    def terms(self, model: Latent, x: Array, key: Key, bound: Bound) -> tuple[Array, Array]:
        """Return V's value (the ELBO for a β-VAE) and a scalar whose gradient is the estimate."""


class Reparameterised(Estimator):
    """The total derivative along z = T_φ(ε)."""

    def check(self, bound: Bound) -> None:
        """Accept every bound."""

    def terms(self, model: Latent, x: Array, key: Key, bound: Bound) -> tuple[Array, Array]:
        """Return V, and the objective that automatic differentiation takes whole."""
        draws = _Draws(model, x, key, bound)
        parts = draws.log_parts(draws.z)
        return draws.value(parts), bound.value(draws.tempered(parts, draws.log_q))


class StickingTheLanding(Estimator):
    """The path derivative alone: c = 0."""

    def check(self, bound: Bound) -> None:
        """Raise InputError for a bound that is not linear in the log-weights."""
        if not bound.linear:
            raise InputError(
                "sticking-the-landing is biased for importance-weighted bounds",
                "gradient",
                "use doubly-reparameterised, or one particle",
            )

    def terms(self, model: Latent, x: Array, key: Key, bound: Bound) -> tuple[Array, Array]:
        """Return V, and the surrogate."""
        draws = _Draws(model, x, key, bound)
        return draws.along_path(jnp.ones(bound.n_samples * bound.n_particles))


class DoublyReparameterised(Estimator):
    """The path derivative with b = a - h: no score term, unbiased for every bound."""

    def check(self, bound: Bound) -> None:
        """Accept every bound."""

    def terms(self, model: Latent, x: Array, key: Key, bound: Bound) -> tuple[Array, Array]:
        """Return V, and the surrogate."""
        draws = _Draws(model, x, key, bound)
        log_w = draws.shaped(draws.fixed_log_weights())
        # b/a = 1 - h/a: a = 0 only where the weight is lost to rounding, and h = 0 there too
        slopes, curvatures = bound.slopes(log_w), bound.curvatures(log_w)
        ratio = 1.0 - curvatures / jnp.where(slopes > 0, slopes, 1.0)
        return draws.along_path(ratio.ravel())


class ScoreFunction(Estimator):
    """The log-derivative trick: no derivative of z. Leave-one-out baseline over the M samples."""

    def check(self, bound: Bound) -> None:
        """Accept every bound."""

    def terms(self, model: Latent, x: Array, key: Key, bound: Bound) -> tuple[Array, Array]:
        """Return V, and the surrogate."""

        def gains(objective: Array) -> Array:
            m = objective.shape[0]
            each = jax.vmap(lambda row: bound.value(row[None]))(objective)
            baseline = (jnp.sum(each) - each) / max(m - 1, 1)
            return jnp.broadcast_to((each - baseline)[:, None] / m, objective.shape)

        return _Draws(model, x, key, bound).by_score(gains)


class VIMCO(Estimator):
    """The score function for importance-weighted bounds, every particle with its own baseline."""

    def check(self, bound: Bound) -> None:
        """Raise InputError for a linear bound or a single particle."""
        if bound.linear or bound.for_posterior.linear:
            raise InputError(
                "VIMCO is for importance-weighted bounds of at least two particles",
                "gradient",
                "use score-function, or more particles",
            )

    def terms(self, model: Latent, x: Array, key: Key, bound: Bound) -> tuple[Array, Array]:
        """Return V, and the surrogate."""

        def gains(objective: Array) -> Array:
            flat = objective.ravel()
            others = (jnp.sum(flat) - flat) / (flat.size - 1)
            replaced = jnp.where(jnp.eye(flat.size, dtype=bool), others[:, None], flat)
            without = jax.vmap(lambda each: bound.value(each.reshape(objective.shape)))(replaced)
            return bound.value(objective) - without.reshape(objective.shape)

        return _Draws(model, x, key, bound).by_score(gains)


class ClosedFormKL(Estimator):
    """The reparameterised gradient of 1/M Σ log p(x | z_m) - β KL(q ‖ p), the KL in closed form."""

    def check(self, bound: Bound) -> None:
        """Raise InputError for a bound without a KL divergence."""
        if not bound.linear:
            raise InputError(
                "an importance-weighted bound has no KL divergence to take in closed form",
                "gradient",
                "use reparameterised, or one particle",
            )

    def terms(self, model: Latent, x: Array, key: Key, bound: Bound) -> tuple[Array, Array]:
        """Return the ELBO, and the β-VAE's objective."""
        draws = _Draws(model, x, key, bound)
        log_lik = jnp.mean(jax.vmap(lambda z: model.likelihood.log_prob(x, z))(draws.z))
        kl = kl_divergence(draws.q, draws.p)
        return log_lik - kl, log_lik - bound.beta * kl


GRADIENTS: dict[str, type[Estimator]] = {
    "reparameterised": Reparameterised,
    "sticking-the-landing": StickingTheLanding,
    "doubly-reparameterised": DoublyReparameterised,
    "score-function": ScoreFunction,
    "vimco": VIMCO,
    "closed-form-kl": ClosedFormKL,
}
"""Every gradient estimator by its name in `--set gradient=…`."""


def lower_bound(model: Latent, x: Array, key: Key, bound: Bound, estimator: Estimator) -> Array:
    """Return V(x), a scalar in nats, whose gradient is that of the estimator.

    Args:
        model: the latent-variable model.
        x: one example `(D,)`; NaN where a cell is missing.
        key: randomness of the draws.
        bound: V.
        estimator: of its gradient.

    Raises:
        InputError: if the estimator is not for this bound.
    """
    estimator.check(bound)
    inference = bound.for_posterior
    if inference is bound:
        value, surrogate = estimator.terms(model, x, key, bound)
    else:
        held = eqx.tree_at(lambda m: m.posterior, model, stopped(model.posterior))
        value, for_model = estimator.terms(held, x, key, bound)
        fixed = Latent(stopped(model.prior), stopped(model.likelihood), model.posterior)
        surrogate = for_model + estimator.terms(fixed, x, key, inference)[1]
    return jax.lax.stop_gradient(value) + (surrogate - jax.lax.stop_gradient(surrogate))


def kl_divergence(q: Distribution, p: Distribution) -> Array:
    """Return KL(q ‖ p), a scalar in nats, in closed form.

    Raises:
        InputError: for a pair of which numpyro knows none.

    Example:
        >>> from jensen.models.distributions import normal
        >>> one = jnp.ones(1)
        >>> round(float(kl_divergence(normal(one, one), normal(0 * one, one))), 4)
        0.5
    """
    if isinstance(q, Known) and isinstance(p, Known) and _kind(q) is _kind(p) is not None:
        return jnp.asarray(dist.kl_divergence(q.law, p.law))
    raise InputError(
        "this pair of prior and posterior has no KL divergence in closed form",
        "gradient",
        "use reparameterised, or Gaussian prior and posterior",
    )


def _kind(known: Known) -> type | None:
    """Return the Gaussian family of a distribution, or None."""
    law = known.law.base_dist if isinstance(known.law, dist.Independent) else known.law
    return next(
        (kind for kind in (dist.Normal, dist.MultivariateNormal) if type(law) is kind), None
    )


def stopped(tree: PyTree) -> PyTree:
    """Return the pytree with no gradient through its arrays."""
    return jax.tree.map(lambda a: jax.lax.stop_gradient(a) if eqx.is_array(a) else a, tree)


@jax.custom_jvp
def scale_gradient(z: Array, factor: Array) -> Array:
    """Return z, its derivative multiplied by `factor`, which itself has none."""
    return z


@scale_gradient.defjvp
def _scaled(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (z, factor), (dz, _) = primals, tangents
    return z, factor * dz


class _Draws:
    """The draws z `(M·K, L)` of one example, and what is computed of them."""

    def __init__(self, model: Latent, x: Array, key: Key, bound: Bound) -> None:
        self.model, self.x, self.bound = model, x, bound
        self.q = model.posterior(x)
        self.p = model.prior.distribution(model.posterior)
        n = bound.n_samples * bound.n_particles
        self.z, self.log_q = self.q.sample_and_log_prob(key, n)

    def shaped(self, each: Array) -> Array:
        """Return `(M·K,)` figures as `(M, K)`."""
        return each.reshape(self.bound.n_samples, self.bound.n_particles)

    def log_parts(self, z: Array) -> tuple[Array, Array]:
        """Return log p(x | z_k) and log p(z_k), `(M·K,)` each."""
        log_lik = jax.vmap(lambda zk: self.model.likelihood.log_prob(self.x, zk))(z)
        return log_lik, jax.vmap(self.p.log_prob)(z)

    def tempered(self, parts: tuple[Array, Array], log_q: Array) -> Array:
        """Return log p(x | z) + β (log p(z) - log q(z)) `(M, K)`."""
        return self.shaped(parts[0] + self.bound.beta * (parts[1] - log_q))

    def value(self, parts: tuple[Array, Array]) -> Array:
        """Return V of the log-weights (β = 1)."""
        return self.bound.value(self.shaped(parts[0] + parts[1] - self.log_q))

    def fixed_log_weights(self) -> Array:
        """Return log w `(M·K,)`, without gradients."""
        log_lik, log_p = self.log_parts(jax.lax.stop_gradient(self.z))
        return jax.lax.stop_gradient(log_lik + log_p - self.log_q)

    def along_path(self, ratio: Array) -> tuple[Array, Array]:
        """Return V and the surrogate with b = ratio · a and c = 0."""
        z = scale_gradient(self.z, jax.lax.stop_gradient(ratio)[:, None])
        parts = self.log_parts(z)
        log_q = jax.vmap(stopped(self.q).log_prob)(z)
        return self.value(parts), self.bound.value(self.tempered(parts, log_q))

    def by_score(self, gains: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Return V and the surrogate with b = 0 and c = gains - β a.

        Args:
            gains: of the objective's log-weights `(M, K)`, what c adds to -β a `(M, K)`.
        """
        z = jax.lax.stop_gradient(self.z)
        parts = self.log_parts(z)
        log_q = jax.vmap(self.q.log_prob)(z)
        objective = self.tempered(parts, log_q)
        gain = gains(jax.lax.stop_gradient(objective))
        # the objective itself carries a ∂log p/∂θ and the score's -β a
        return self.value(parts), self.bound.value(objective) + jnp.sum(gain * self.shaped(log_q))
