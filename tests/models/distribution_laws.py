"""The tables of distributions, posteriors and priors, and the laws that every row obeys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import flow_laws
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from conftest import key, randomise
from jensen.bijections import Affine
from jensen.models.distributions import Chained, Distribution, Known, Mixture, Pushed, normal
from jensen.models.flow import IAF, MAF
from jensen.models.posteriors import (
    DiagonalPosterior,
    FlowPosterior,
    FreePosterior,
    FullPosterior,
    HierarchicalPosterior,
    Posterior,
)
from jensen.models.priors import (
    DiagonalNormal,
    FlowPrior,
    HierarchicalPrior,
    MixturePrior,
    Prior,
    StandardNormal,
    VampPrior,
)
from jensen.nn.mlp import MLP

DRAWS = 4000


@eqx.filter_jit
def _evaluated(q: Distribution, k: jax.Array, nodes: jax.Array) -> tuple[jax.Array, ...]:
    z, log_q = q.sample_and_log_prob(k, DRAWS)
    return z, log_q, jax.vmap(q.log_prob)(z), jax.vmap(q.log_prob)(nodes)


def nodes_and_weights(dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an axis `(m,)`, its grid `(m^dim, dim)` and the weights `(m,) * dim`.

    The trapezoid rule in t, z = sinh t, |t| ≤ 6: to ±200, with nodes 0.08 apart at ±3.
    """
    t = np.linspace(-6, 6, 481)
    weight = np.cosh(t) * (t[1] - t[0])
    grid = np.stack(np.meshgrid(*[np.sinh(t)] * dim, indexing="ij"), -1)
    return np.sinh(t), grid.reshape(-1, dim), weight if dim == 1 else np.outer(weight, weight)


def assert_lawful(q: Distribution, dim: int = 2) -> None:
    """Raise unless q, of one or two dimensions, integrates to one and its draws follow it.

    The draws' log q is that of `log_prob`, and their counts in cells fit the integral (chi-square,
    false alarms at `flow_laws.ALARM` = 1e-4).
    """
    axis, grid, weights = nodes_and_weights(dim)
    z, log_q, again, log_p = map(np.asarray, _evaluated(q, key(17), jnp.asarray(grid)))
    assert z.shape == (DRAWS, dim)
    # moderate parameters in float64, conditioning below 1e5
    assert np.abs(log_q - again).max() < 1e-8
    mass = np.exp(log_p).reshape(weights.shape) * weights
    flow_laws.assert_integrates_to_one(mass)
    flow_laws.assert_samples_fit(z, [axis] * dim, mass)


def float64(module: Any) -> Any:
    """Return the module with its numbers in float64."""
    return jax.tree.map(lambda a: a.astype("f8") if eqx.is_inexact_array(a) else a, module)


def net(n_in: int, n_out: int, seed: int = 0) -> MLP:
    """A network with moderate weights in every layer."""
    return randomise(MLP(key(), n_in, n_out, (6,), "tanh"), 0.4, seed, np.float64)


def flow(build: Callable, context_dim: int = 0) -> Any:
    made = build(key(), 2, n_layers=1, hidden=(6,), context_dim=context_dim, activation="tanh")
    return randomise(made, 0.3, 4, np.float64)


def _tail() -> DiagonalPosterior:
    return DiagonalPosterior(net(1, 2, 3))


DISTRIBUTIONS: dict[str, Callable[[], Distribution]] = {
    "Known": lambda: normal(jnp.array([0.3, -1.0]), jnp.array([0.5, 2.0])),
    "Known-full": lambda: Known(
        dist.MultivariateNormal(jnp.ones(2), scale_tril=jnp.array([[1.0, 0.0], [-0.8, 0.4]]))
    ),
    "Pushed": lambda: Pushed(
        flow(IAF, 1).bijection, normal(jnp.array([0.3, -1.0]), jnp.array([0.5, 2.0])), jnp.ones(1)
    ),
    "Chained": lambda: Chained(normal(jnp.array([0.3]), jnp.array([0.5])), _tail(), 1),
    "Chained-last": lambda: Chained(normal(jnp.array([0.3]), jnp.array([0.5])), _tail(), 1, True),
    "Mixture": lambda: Mixture(
        eqx.filter_vmap(normal)(
            jnp.array([[-1.0, 0.5], [1.0, 0.0]]), jnp.array([[0.5, 1.0], [2.0, 0.3]])
        ),
        jnp.array([0.3, -0.5]),
    ),
    "Mixture-of-chains": lambda: Mixture(
        eqx.filter_vmap(lambda m: Chained(normal(m, jnp.array([0.5])), _tail(), 1))(
            jnp.array([[-1.0], [1.0]])
        ),
        jnp.zeros(2),
    ),
}
"""Each distribution, in each of its forms; the name starts with the class's."""

POSTERIORS: dict[str, Callable[[], Posterior]] = {
    "DiagonalPosterior": lambda: DiagonalPosterior(net(3, 4)),
    "FullPosterior": lambda: FullPosterior(net(3, 5), 2),
    "FlowPosterior": lambda: FlowPosterior(net(3, 6), flow(IAF, 2).bijection, 2),
    "FlowPosterior-no-context": lambda: FlowPosterior(
        net(3, 4), Affine(jnp.array([0.3, 1.0]), jnp.array([-0.5, 0.4])), 2
    ),
    "HierarchicalPosterior": lambda: HierarchicalPosterior(
        DiagonalPosterior(net(3, 2)), _tail(), 1
    ),
    "FreePosterior": lambda: FreePosterior(jnp.array([0.3, -1.0]), jnp.array([-1.0, 0.5])),
}
"""Each posterior of examples of length 3, in each of its forms."""

PRIORS: dict[str, Callable[[], Prior]] = {
    "StandardNormal": lambda: StandardNormal(2),
    "DiagonalNormal": lambda: randomise(DiagonalNormal(2), 0.7, 1, np.float64),
    "MixturePrior": lambda: float64(MixturePrior(key(), 2, 3)),
    "VampPrior": lambda: VampPrior(jnp.array([[1.0, 0.0, 2.0], [-1.0, 3.0, 0.5]])),
    "VampPrior-unit": lambda: VampPrior(jnp.array([[1.0, 0.0, 0.3], [0.1, 0.9, 0.5]]), "unit"),
    "FlowPrior": lambda: FlowPrior(flow(MAF)),
    "HierarchicalPrior": lambda: HierarchicalPrior(DiagonalNormal(1), _tail(), 1),
}
"""Each prior, in each of its forms."""
