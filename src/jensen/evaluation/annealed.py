r"""Annealed importance sampling: the second opinion on log p(x).

A chain walks from z ~ q(z | x) (or the prior) to the posterior through the bridges

    log π_t(z) = (1 - β_t) log q(z | x) + β_t log p(x, z),        0 = β_0 < β_1 < … < β_T = 1,

with one Hamiltonian Monte Carlo transition that leaves π_t as it is at each t < T. Its weight

    log w = Σ_t (β_t - β_{t-1}) (log p(x, z_{t-1}) - log q(z_{t-1} | x))

has E[w] = p(x) for every T and every quality of the transitions, so that log 1/C Σ_c w_c over C
chains is below log p(x) in expectation; with T = 1 it is plain importance sampling.

E[w] = p(x) needs transitions that do not look at the chains they move. The step sizes and the
scales of the momentum are therefore found for each t in a run of other chains, whose keys are
theirs alone: there the step grows or shrinks towards an acceptance of 0.65, and the scales are
the standard deviations over the chains. Then both are fixed.

Sources: Neal 2001 (Annealed importance sampling, Statistics and Computing 11, 125); Wu et al. 2017
(arXiv:1611.04273) for HMC and decoders; the sigmoid schedule of β is theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.evaluation.evidence import Evidence, checked, row_blocks, row_keys, summarised
from jensen.models.latent import Latent

STARTS = ("posterior", "prior")

PILOTS = 32
"""Chains that find the step sizes."""

_FIRST_STEP = 0.5
_SMALLEST = 1e-6  # scale
_ACCEPTANCE = 0.65
_GAIN = 2.0  # change of log step size per unit of acceptance
_STEEPNESS = 4.0  # of the sigmoid schedule
_CHAINS_AT_ONCE = 2048


class Plan(NamedTuple):
    """How a chain is run.

    Attributes:
        chains: C.
        temperatures: T.
        leapfrogs: leapfrog steps of a transition.
        start: `posterior` or `prior`.
    """

    chains: int
    temperatures: int
    leapfrogs: int
    start: str


def annealed(
    model: Latent,
    rows: np.ndarray,
    n_chains: int = 32,
    n_temperatures: int = 200,
    *,
    n_leapfrogs: int = 5,
    start: str = "posterior",
    seed: int = 0,
) -> Evidence:
    """Return log p̂(x) of every row by annealed importance sampling.

    Args:
        model: the latent-variable model; log p(x, z) must have a gradient in z.
        rows: `(n, D)`; NaN where a cell is missing. A row's figure does not depend on the others.
        n_chains: C, for each row; the standard error is over them.
        n_temperatures: T.
        n_leapfrogs: leapfrog steps of a transition.
        start: where chains start, `posterior` (q(z | x)) or `prior`.
        seed: of the noise.

    Returns:
        Figures of kind `ais`, with k = C.

    Raises:
        InputError: for rows or a count that cannot be used, another start, or a weight that is not
            a number.

    Example:
        >>> from jensen.models.latent import Likelihood
        >>> from jensen.models.observations import Gaussian
        >>> from jensen.models.posteriors import DiagonalPosterior
        >>> from jensen.models.priors import StandardNormal
        >>> posterior = DiagonalPosterior(lambda x: jnp.zeros(2))
        >>> model = Latent(StandardNormal(1), Likelihood(lambda z: z, Gaussian(1, 1.0)), posterior)
        >>> found = annealed(model, np.array([[0.5]]))  # x ~ N(0, 2): log p = -1.328
        >>> bool(abs(found.log_prob[0] + 1.328) < 3 * found.se[0] + 1e-4)
        True
    """
    rows = checked(rows, n_chains=n_chains, n_temperatures=n_temperatures, n_leapfrogs=n_leapfrogs)
    if start not in STARTS:
        raise InputError(f"start must be posterior or prior, got {start!r}", "start")
    plan = Plan(n_chains, n_temperatures, n_leapfrogs, start)
    parts, done = [], 0
    for block, n in row_blocks(rows, max(_CHAINS_AT_ONCE // n_chains, 1)):
        log_w = np.asarray(_block(model, row_keys(block, seed), jnp.asarray(block), plan))[:n]
        if not np.all(log_w < np.inf):
            bad = int(np.argwhere(~(log_w < np.inf))[0, 0])
            raise InputError("a chain's weight is not a number", f"row {done + bad}")
        parts.append(summarised(log_w))
        done += n
    log_prob, se, ess, k_hat = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Evidence(log_prob, se, ess, k_hat, "ais", n_chains)


def schedule(n: int) -> np.ndarray:
    """Return β_0, …, β_n `(n + 1,)`: a sigmoid from 0 to 1, slow at both ends.

    Example:
        >>> schedule(2).tolist()
        [0.0, 0.5, 1.0]
    """
    s = 1.0 / (1.0 + np.exp(-_STEEPNESS * np.linspace(-1.0, 1.0, n + 1)))
    return (s - s[0]) / (s[-1] - s[0])


class Bridge(NamedTuple):
    """The path from q to the posterior of one row, for one z `(L,)` at a time."""

    log_q: Callable[[Array], Array]
    log_joint: Callable[[Array], Array]
    plan: Plan

    def log_ratio(self, z: Array) -> Array:
        """Return log p(x, z) - log q(z), nats."""
        return self.log_joint(z) - self.log_q(z)

    def log_density(self, z: Array, beta: Array) -> Array:
        """Return log π_β(z), not normalised."""
        return (1.0 - beta) * self.log_q(z) + beta * self.log_joint(z)


@eqx.filter_jit
def _block(model: Latent, keys: Key, x: Array, plan: Plan) -> Array:
    """Return log w `(R, C)` of the rows x `(R, D)`."""
    return jax.vmap(lambda key, row: _chains(model, key, row, plan))(keys, x)


def _chains(model: Latent, key: Key, x: Array, plan: Plan) -> Array:
    """Return log w `(C,)` of one row."""
    p = model.prior.distribution(model.posterior)
    q = p if plan.start == "prior" else model.posterior(x)

    def log_joint(z: Array) -> Array:
        return model.likelihood.log_prob(x, z) + p.log_prob(z)

    keys = jax.random.split(key, 4)
    bridge = Bridge(q.log_prob, log_joint, plan)
    pilots, _ = q.sample_and_log_prob(keys[0], PILOTS)
    *_, tuning = walk(bridge, keys[1], pilots, None)
    starts, _ = q.sample_and_log_prob(keys[2], plan.chains)
    return walk(bridge, keys[3], starts, tuning)[0]


def walk(
    bridge: Bridge, key: Key, z: Array, tuning: tuple[Array, Array] | None
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Return log w `(C,)`, the ends `(C, L)`, and the step sizes and scales that were used.

    The ends with these weights stand for draws of π_1.

    Args:
        bridge: the path from β = 0 to 1.
        key: of these chains.
        z: their starts `(C, L)`.
        tuning: step sizes `(T-1,)` and scales `(T-1, L)`; None to find them on the way.
    """
    betas = jnp.asarray(schedule(bridge.plan.temperatures), z.dtype)
    keys = jax.random.split(key, betas.shape[0] - 2)

    def step(carry: tuple[Array, Array, Array], at: tuple) -> tuple[tuple, tuple[Array, Array]]:
        z, log_w, log_step = carry
        before, beta, key, tuned = at
        log_w = log_w + (beta - before) * jax.vmap(bridge.log_ratio)(z)
        if tuned is None:
            tuned = jnp.exp(log_step), jnp.maximum(jnp.std(z, axis=0), _SMALLEST)
        each = jax.random.split(key, z.shape[0])
        z, accepted = jax.vmap(lambda k, zc: _transition(bridge, beta, k, zc, *tuned))(each, z)
        log_step = log_step + _GAIN * (jnp.mean(accepted) - _ACCEPTANCE)
        return (z, log_w, log_step), tuned

    start = z, jnp.zeros(z.shape[0], z.dtype), jnp.log(jnp.asarray(_FIRST_STEP, z.dtype))
    (z, log_w, _), used = jax.lax.scan(step, start, (betas[:-2], betas[1:-1], keys, tuning))
    return log_w + (betas[-1] - betas[-2]) * jax.vmap(bridge.log_ratio)(z), z, used


def _transition(
    bridge: Bridge, beta: Array, key: Key, z: Array, size: Array, scale: Array
) -> tuple[Array, Array]:
    """Return the next z `(L,)` of one chain and the probability with which it was accepted.

    One Hamiltonian trajectory of leapfrog steps for π_β in the coordinates z/scale.
    """
    for_momentum, for_choice = jax.random.split(key)
    slope = jax.grad(bridge.log_density)
    momentum = jax.random.normal(for_momentum, z.shape, z.dtype)
    move = size * scale

    def leap(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        z, v = state
        z = z + move * v
        return z, v + move * slope(z, beta)

    half = momentum + 0.5 * move * slope(z, beta)
    end, v = jax.lax.fori_loop(0, bridge.plan.leapfrogs, leap, (z, half))
    v = v - 0.5 * move * slope(end, beta)  # the last step was whole
    gain = bridge.log_density(end, beta) - bridge.log_density(z, beta)
    log_accept = gain - 0.5 * jnp.sum(v**2) + 0.5 * jnp.sum(momentum**2)
    accept = jnp.exp(jnp.minimum(jnp.where(jnp.isnan(log_accept), -jnp.inf, log_accept), 0.0))
    chosen = jax.random.uniform(for_choice, (), z.dtype) < accept
    return jnp.where(chosen, end, z), accept
