r"""Where a latent-variable model's bound is lost, which latents it uses, and how noisy it learns.

    log p(x) - ELBO(q_φ)  =  [log p(x) - ELBO(q*)]  +  [ELBO(q*) - ELBO(q_φ)]
                              approximation gap          amortisation gap

q_φ(z | x) is the encoder's diagonal Gaussian and q* the best one for each row by itself, found by
gradient ascent from q_φ. The first gap is what no encoder can gain (the family is too poor: it is
KL(q* ‖ p(z | x))), the second what a better encoder could. For a linear-Gaussian model with
posterior precision P, q* has the precision diag P and the first gap is ½ log(Π P_ii/|P|).

log p̂ and ELBO(q*) come from the same weights of q*, which suit importance sampling better than
those of q_φ, so that the estimated approximation gap is a Jensen gap: never below 0. ELBO(q_φ)
uses the same noise ε as ELBO(q*).

Sources: Cremer et al. 2018 (arXiv:1801.03558) for the decomposition; active units: Burda et al.
2016 (arXiv:1509.00519), sec. 5.2; signal-to-noise: Rainforth et al. 2018 (arXiv:1802.04537), eq. 9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.evaluation.evidence import (
    PARTICLES,
    Evidence,
    checked,
    row_blocks,
    row_keys,
    rows_at_once,
    summarised,
)
from jensen.evaluation.likelihood import mean_and_error
from jensen.models.distributions import Distribution, Known
from jensen.models.latent import Latent
from jensen.models.posteriors import FreePosterior, Posterior
from jensen.models.priors import Prior
from jensen.objectives.bounds import ELBO, Bound
from jensen.objectives.gradients import Estimator, StickingTheLanding, lower_bound
from jensen.objectives.likelihood import Mean

ACTIVE = 0.01
"""Variance of a latent's posterior mean over rows above which it counts as active."""

_TRAIN_DRAWS = 8
_CHECK_DRAWS = 64
_ROWS_TOGETHER = 512  # optimised in one run
_MEAN_DRAWS = 512  # where the mean of q(z | x) is not known


@dataclass(frozen=True)
class Gaps:
    """The decomposition of log p - ELBO for each row.

    Where the exact log p is known, or `evidence.verdict()` does not trust the figure, replace it:
    `dataclasses.replace(gaps, evidence=annealed(model, rows))`.

    Attributes:
        evidence: log p̂ by importance sampling from q*.
        best: ELBO(q*) `(n,)`, nats.
        amortised: ELBO(q_φ) `(n,)`, nats.
        best_se: Monte Carlo standard error of `best` `(n,)`.
        difference_se: Monte Carlo standard error of `best - amortised` `(n,)`.
    """

    evidence: Evidence
    best: np.ndarray
    amortised: np.ndarray
    best_se: np.ndarray
    difference_se: np.ndarray

    def approximation(self) -> tuple[float, float]:
        """Return the mean over rows of log p̂ - ELBO(q*) and its standard error, nats."""
        own = np.hypot(self.evidence.se, self.best_se)
        return _mean(
            self.evidence.log_prob - self.best, own, float(np.mean(self.evidence.se**2)) / 2
        )

    def amortisation(self) -> tuple[float, float]:
        """Return the mean over rows of ELBO(q*) - ELBO(q_φ) and its standard error, nats."""
        return _mean(self.best - self.amortised, self.difference_se, 0.0)


def decompose(
    model: Latent, rows: np.ndarray, n_particles: int = 1000, *, epochs: int = 4000, seed: int = 0
) -> Gaps:
    """Return the approximation and the amortisation gap of every row.

    Args:
        model: one whose posterior is a diagonal Gaussian.
        rows: `(n, D)`; NaN where a cell is missing.
        n_particles: draws of each row in every figure, at least 2.
        epochs: steps of the search for q* at most; it stops by itself before.
        seed: of all noise.

    Raises:
        InputError: for another posterior, or rows or counts that cannot be used.
    """
    rows = checked(rows, epochs=epochs)
    if n_particles < 2:
        raise InputError(f"n_particles must be at least 2, got {n_particles}", "n_particles")
    prior = _Fixed(model.prior, model.posterior)
    starts = _amortised(model, jnp.asarray(rows))
    found = []
    for first in range(0, len(rows), _ROWS_TOGETHER):
        at = slice(first, first + _ROWS_TOGETHER)
        start = Gaussians(starts.mean[at], starts.log_variance[at])
        found.append(_search(prior, model, jnp.asarray(rows[at]), start, epochs, seed))
    best = Gaussians(*(jnp.concatenate(parts) for parts in zip(*found, strict=True)))
    return _figures(
        Latent(prior, model.likelihood, model.posterior), rows, (best, starts), n_particles, seed
    )


class Gaussians(NamedTuple):
    """Diagonal Gaussians, one for each row: means and log-variances `(n, L)`."""

    mean: Array
    log_variance: Array


class _Fixed(Prior):
    """A prior that keeps the posterior it was trained with (a VampPrior is made of it)."""

    prior: Prior
    posterior: Posterior

    def distribution(self, posterior: Posterior) -> Distribution:
        """Return the trained model's p(z), whatever q is tried."""
        return self.prior.distribution(self.posterior)


class _Offsets(eqx.Module):
    """The player: how far q* is from q_φ, in standard deviations of q_φ and in log-variance."""

    shift: Array
    log_variance: Array

    def moved(self, start: Gaussians) -> Gaussians:
        """Return q* for each row."""
        scale = jnp.exp(0.5 * start.log_variance)
        return Gaussians(start.mean + scale * self.shift, start.log_variance + self.log_variance)


class _PerRow(eqx.Module):
    """The loss -ELBO(q*) of each row."""

    prior: Prior
    model: Latent
    start: Gaussians
    draws: int = eqx.field(static=True)

    def __call__(self, players: tuple[_Offsets], batch: tuple[Array, Array], key: Key) -> Array:
        """Return -ELBO `(B,)` for rows `(B, D)` and their numbers `(B,)`."""
        x, index = batch
        q = players[0].moved(self.start)

        def one(x: Array, i: Array, key: Key) -> Array:
            held = Latent(
                self.prior, self.model.likelihood, FreePosterior(q.mean[i], q.log_variance[i])
            )
            return -lower_bound(held, x, key, ELBO(self.draws), StickingTheLanding())

        return jax.vmap(one)(x, index, jax.random.split(key, len(index)))


def _search(
    prior: Prior, model: Latent, x: Array, start: Gaussians, epochs: int, seed: int
) -> Gaussians:
    """Return q* of the rows x `(n, D)`, starting from q_φ."""
    zeros = jnp.zeros_like(start.mean)
    data = x, jnp.arange(x.shape[0])
    game = Game(
        init=lambda key: (_Offsets(zeros, zeros),),
        objective=Mean(_PerRow(prior, model, start, _TRAIN_DRAWS)),
        validate=_PerRow(prior, model, start, _CHECK_DRAWS),
    )
    how = Optimisation(batch_size=x.shape[0], learning_rate=0.05, clip=None, warmup=0)
    training = Training(epochs, how, evaluate_every=50, patience=3, reductions=3)
    offsets = jax.tree.map(lambda a: a[0], train(game, data, data, training, seed=seed).players[0])
    return offsets.moved(start)


def _figures(
    model: Latent, rows: np.ndarray, q: tuple[Gaussians, Gaussians], n: int, seed: int
) -> Gaps:
    """Return the gaps between the given Gaussians q* and q_φ."""
    size = max(rows_at_once(model, rows.shape[1]) * PARTICLES // n, 1)
    summaries, columns = [], []
    for block, count in row_blocks(np.arange(len(rows))[:, None], size):
        at = block[:, 0]
        best, start = (Gaussians(each.mean[at], each.log_variance[at]) for each in q)
        log_w = _both(model, row_keys(rows[at], seed), jnp.asarray(rows[at]), best, start, n)
        ours, theirs = (np.asarray(a, np.float64)[:count] for a in log_w)
        sd, sd_difference = ours.std(axis=1, ddof=1), (ours - theirs).std(axis=1, ddof=1)
        errors = sd / math.sqrt(n), sd_difference / math.sqrt(n)
        summaries.append(summarised(ours))
        columns.append((ours.mean(axis=1), theirs.mean(axis=1), *errors))
    log_prob, se, ess, k_hat = map(np.concatenate, zip(*summaries, strict=True))
    best, amortised, best_se, difference_se = map(np.concatenate, zip(*columns, strict=True))
    given = Evidence(log_prob, se, ess, k_hat, "iwae", n)
    return Gaps(given, best, amortised, best_se, difference_se)


@eqx.filter_jit
def _both(
    model: Latent, keys: Key, x: Array, best: Gaussians, start: Gaussians, n: int
) -> tuple[Array, Array]:
    """Return log-weights `(R, n)` of two Gaussians for each row, with the same noise."""

    def one(key: Key, x: Array, q: Gaussians) -> Array:
        given = Latent(model.prior, model.likelihood, FreePosterior(q.mean, q.log_variance))
        return given.log_weights(key, x, n)

    each = jax.vmap(one)
    return each(keys, x, best), each(keys, x, start)


@eqx.filter_jit
def _amortised(model: Latent, x: Array) -> Gaussians:
    """Return the encoder's Gaussians of the rows `(n, D)`."""

    def one(row: Array) -> Gaussians:
        law = getattr(model.posterior(row), "law", None)
        base = getattr(law, "base_dist", None)
        if not isinstance(law, dist.Independent) or not isinstance(base, dist.Normal):
            raise InputError(
                "the gaps are those of a diagonal Gaussian posterior, and this one is another",
                "model",
                "compare bounds of the two posteriors by evidence instead",
            )
        return Gaussians(jnp.asarray(base.loc), 2.0 * jnp.log(jnp.asarray(base.scale)))

    return jax.lax.map(one, x, batch_size=1024)


def _mean(each: np.ndarray, own: np.ndarray, bias: float) -> tuple[float, float]:
    """Return the mean and its error: the spread over rows, at least the rows' own, and a bias."""
    mean, error = mean_and_error(each)
    return mean, math.hypot(np.fmax(error, np.sqrt(np.sum(own**2)) / len(own)), bias)


def active_units(model: Latent, rows: np.ndarray, seed: int = 0) -> tuple[np.ndarray, int]:
    """Return Var_x(E_q[z | x]) `(L,)`, and how many are above 0.01: the latents in use.

    Args:
        model: the latent-variable model.
        rows: `(n, D)`, n ≥ 2.
        seed: of the draws, where the mean of q(z | x) has no closed form; the variance that they
            add is taken off.

    Raises:
        InputError: for fewer than two rows.
    """
    rows = checked(rows)
    if len(rows) < 2:
        raise InputError("a variance over rows needs at least two rows, got 1", "rows")
    mean, noise = _posterior_means(model, jnp.asarray(rows), row_keys(rows, seed))
    variance = np.var(np.asarray(mean, np.float64), axis=0, ddof=1)
    variance = np.maximum(variance - np.mean(np.asarray(noise, np.float64), axis=0), 0.0)
    return variance, int(np.sum(variance > ACTIVE))


@eqx.filter_jit
def _posterior_means(model: Latent, x: Array, keys: Key) -> tuple[Array, Array]:
    """Return E_q[z | x] `(n, L)` and the variance of its estimate `(n, L)`."""

    def one(at: tuple[Array, Key]) -> tuple[Array, Array]:
        q = model.posterior(at[0])
        if isinstance(q, Known):
            mean = jnp.asarray(q.law.mean)
            return mean, jnp.zeros_like(mean)
        z, _ = q.sample_and_log_prob(at[1], _MEAN_DRAWS)
        return jnp.mean(z, axis=0), jnp.var(z, axis=0, ddof=1) / _MEAN_DRAWS

    return jax.lax.map(one, (x, keys), batch_size=64)


class SignalToNoise(NamedTuple):
    """|mean|/sd of a gradient, the mean over the parameters of the encoder and of the decoder."""

    encoder: float
    decoder: float


def signal_to_noise(
    model: Latent,
    rows: np.ndarray,
    bound: Bound,
    estimator: Estimator,
    repeats: int = 200,
    seed: int = 0,
) -> SignalToNoise:
    """Return the signal-to-noise ratio of the gradient of a bound, summed over the rows.

    SNR = 1/P Σ_p |mean_r g_rp|/sd_r g_rp over repeats r with fresh noise. Even without any signal
    it is about √(2/(π repeats)).

    Args:
        model: the latent-variable model; its gradient is taken as it is.
        rows: the batch `(B, D)`.
        bound: V.
        estimator: of its gradient.
        repeats: fresh gradients, at least 2.
        seed: of the noise.

    Raises:
        InputError: if the estimator is not for this bound, or the rows or the count cannot be used.
    """
    rows = checked(rows)
    if repeats < 2:
        raise InputError(f"repeats must be at least 2, got {repeats}", "repeats")
    estimator.check(bound)
    moments = _gradient_moments(model, jnp.asarray(rows), bound, estimator, repeats, seed)
    return SignalToNoise(*(_ratio(*part) for part in moments))


@eqx.filter_jit
def _gradient_moments(
    model: Latent, x: Array, bound: Bound, estimator: Estimator, repeats: int, seed: Any
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return mean and standard deviation `(P,)` of the encoder's and of the decoder's gradient."""

    @eqx.filter_grad
    def gradient(model: Latent, key: Key) -> Array:
        keys = jax.random.split(key, x.shape[0])
        return jnp.mean(jax.vmap(lambda r, k: lower_bound(model, r, k, bound, estimator))(x, keys))

    def flat(part: Any) -> Array:
        arrays = jax.tree.leaves(eqx.filter(part, eqx.is_inexact_array))
        return jnp.concatenate([jnp.zeros(0), *(a.ravel() for a in arrays)])

    def one(key: Key) -> tuple[Array, Array]:
        g = gradient(model, key)
        return flat(g.posterior), flat(g.likelihood)

    every = jax.lax.map(one, jax.random.split(jax.random.key(seed), repeats))
    return tuple((jnp.mean(g, axis=0), jnp.std(g, axis=0, ddof=1)) for g in every)  # type: ignore[return-value]


def _ratio(mean: Array, sd: Array) -> float:
    """Return the mean of |mean|/sd over the parameters whose gradient varies; nan without any."""
    varies = np.asarray(sd) > 0
    if not np.any(varies):
        return math.nan
    return float(np.mean(np.abs(np.asarray(mean)[varies]) / np.asarray(sd)[varies]))
