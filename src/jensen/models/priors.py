r"""Priors p(z): where the latent vector of a latent-variable model lives before data are seen.

| prior | p(z) |
|---|---|
| `StandardNormal` | N(0, I) |
| `DiagonalNormal` | N(λ₁, diag λ₂) |
| `MixturePrior` | Σ_c w_c N(m_c, diag exp(v_c)) |
| `VampPrior` | 1/C Σ_c q(z \| u_c), u_c learned |
| `FlowPrior` | f(u), u ~ its base |
| `HierarchicalPrior` | p(z₂) p(z₁ \| z₂) |

A prior is asked for its distribution with the model's posterior at hand, because a VampPrior mixes
posteriors; the others do not look at it.
"""

from __future__ import annotations

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._errors import InputError, check_name
from jensen._typing import Array, Key
from jensen.models.distributions import Chained, Distribution, Known, Mixture, Pushed, normal
from jensen.models.flow import Flow
from jensen.models.posteriors import Posterior


class Prior(eqx.Module):
    """How p(z) is made."""

    @abc.abstractmethod
    def distribution(self, posterior: Posterior) -> Distribution:
        """Return p(z), given the model's posterior q(z | ·)."""


class StandardNormal(Prior):
    """p(z) = N(0, I).

    Args:
        dim: L.
    """

    dim: int = eqx.field(static=True)

    def distribution(self, posterior: Posterior) -> Distribution:
        """Return N(0, I)."""
        return normal(jnp.zeros(self.dim), jnp.ones(self.dim))


class DiagonalNormal(Prior):
    """p(z) = N(λ₁, diag λ₂) with trainable λ₁ and log λ₂, starting at N(0, I).

    Args:
        dim: L.
    """

    mean: Array
    log_variance: Array

    def __init__(self, dim: int) -> None:
        self.mean, self.log_variance = jnp.zeros(dim), jnp.zeros(dim)

    def distribution(self, posterior: Posterior) -> Distribution:
        """Return N(λ₁, diag λ₂)."""
        return normal(self.mean, jnp.exp(0.5 * self.log_variance))


class MixturePrior(Prior):
    """p(z) = Σ_c w_c N(m_c, diag exp(v_c)), all trainable; starts at equal weights, m_c ~ N(0, I).

    Args:
        key: randomness of the means.
        dim: L.
        n_components: C.

    Raises:
        InputError: there is no component.

    Example:
        >>> prior = MixturePrior(jax.random.key(0), 2, 5)
        >>> prior.means.shape
        (5, 2)
    """

    logits: Array
    means: Array
    log_variances: Array

    def __init__(self, key: Key, dim: int, n_components: int) -> None:
        if n_components < 1:
            raise InputError(
                f"a mixture of {n_components} components", "n_components", "give it at least one"
            )
        self.logits = jnp.zeros(n_components)
        self.means = jax.random.normal(key, (n_components, dim))
        self.log_variances = jnp.zeros((n_components, dim))

    def distribution(self, posterior: Posterior) -> Distribution:
        """Return the mixture."""
        each = eqx.filter_vmap(lambda m, v: normal(m, jnp.exp(0.5 * v)))
        return Mixture(each(self.means, self.log_variances), self.logits)


SUPPORTS = ("real", "unit")
"""Where the numbers of an example live: anywhere, or between 0 and 1."""


class VampPrior(Prior):
    """p(z) = 1/C Σ_c q(z | u_c): the posterior, mixed over C learned pseudo-inputs.

    Args:
        inputs: where u_c start, `(C, D)` in the form of examples: training rows, say, or noise.
        support: `unit` keeps u between 0 and 1 as a sigmoid of what is learned; `real` leaves it.

    Category codes among the numbers stay as they are: no gradient passes through a one-hot vector.

    Raises:
        InputError: a cell is missing, outside the support, or there is no row.

    Source: Tomczak & Welling 2018 (arXiv:1705.07120), eq. 11. Deviation: a sigmoid where their code
    cuts at 0 and 1, beyond which no gradient passes.

    Example:
        >>> VampPrior(jnp.full((3, 2), 0.25), "unit").inputs.round(2).tolist()[0]
        [0.25, 0.25]
    """

    raw: Array
    support: str = eqx.field(static=True)

    def __init__(self, inputs: Array, support: str = "real") -> None:
        check_name(support, SUPPORTS, "support", "support")
        inputs = jnp.asarray(inputs, float)
        within = (inputs >= 0) & (inputs <= 1) if support == "unit" else jnp.isfinite(inputs)
        if inputs.ndim != 2 or not len(inputs) or not bool(jnp.all(within)):
            raise InputError(
                f"pseudo-inputs of shape {inputs.shape}, {int(jnp.sum(~within))} cells of which are"
                " missing or out of range",
                "inputs",
                "give at least one row, complete" + (" and in [0, 1]" * (support == "unit")),
            )
        # 0 and 1 themselves are infinitely far away
        self.raw = (
            jax.scipy.special.logit(jnp.clip(inputs, 0.01, 0.99)) if support == "unit" else inputs
        )
        self.support = support

    @property
    def inputs(self) -> Array:
        """u `(C, D)`."""
        return jax.nn.sigmoid(self.raw) if self.support == "unit" else self.raw

    def distribution(self, posterior: Posterior) -> Distribution:
        """Return the mixture of the posterior over the pseudo-inputs."""
        return Mixture(eqx.filter_vmap(posterior)(self.inputs), jnp.zeros(len(self.raw)))


class FlowPrior(Prior):
    """p(z) is a normalizing flow's.

    Args:
        flow: one without a context, of dimension L; `log_prob` is what training asks of it, so one
            that is fast from z to u (`RealNVP`, `MAF`).
    """

    flow: Flow

    def distribution(self, posterior: Posterior) -> Distribution:
        """Return the flow's distribution."""
        return Pushed(self.flow.bijection, Known(self.flow.base.distribution()))


class HierarchicalPrior(Prior):
    """p(z) = p(z₂) p(z₁ | z₂) for z = (z₁, z₂); the likelihood sees z₁ (`nn.features.Leading`).

    Args:
        top: p(z₂); not a VampPrior, whose posterior would be that of both layers.
        conditional: from z₂ to p(z₁ | z₂), such as a `DiagonalPosterior` of a network of z₂.
        n_top: the length of z₂.

    Source: Burda et al. 2016 (arXiv:1509.00519), sec. 5.

    Raises:
        InputError: the top is a VampPrior.
    """

    top: Prior
    conditional: Posterior
    n_top: int = eqx.field(static=True)

    def __post_init__(self) -> None:
        if isinstance(self.top, VampPrior):
            raise InputError(
                "a VampPrior mixes posteriors of both layers", "top", "use another prior on top"
            )

    def distribution(self, posterior: Posterior) -> Distribution:
        """Return p(z₁, z₂)."""
        return Chained(self.top.distribution(posterior), self.conditional, self.n_top, True)
