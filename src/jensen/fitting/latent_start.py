r"""Where a table's latent-variable model starts: its factor analysis, or its frequencies.

With `experts` the decoder's means start as those of a factor analysis of the columns (categories as
one-hot vectors), its scales as the factor analysis' noise, and the posterior as the exact one: the
model starts as a Gaussian of low rank plus a diagonal, with a tight bound, for any pattern of
missing cells. For an observation whose means are μ(η), the decoder's slopes solve ∂μ/∂η · W_η = W_μ
at the bias. Otherwise decoder and posterior start at the frequencies and means of the columns.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array
from jensen.fitting.latent_options import LatentOptions, chosen
from jensen.models.columns import Columns
from jensen.models.discrete import DiscretisedLogistic, Poisson
from jensen.models.factors import Factors, factor_analysis
from jensen.models.observations import Bernoulli, Gaussian, Observation, StudentT
from jensen.models.scales import LearnedScale
from jensen.nn.features import Features

_FACTOR_ROWS = 3000
_LEAST_NOISE = 1e-4
_LOGISTIC = 3.0**0.5 / np.pi  # scale of a logistic law over its standard deviation


class Start(eqx.Module):
    """What is read from the training rows before training.

    Args:
        observation: of the columns, its scales at their start.
        features: what the encoder sees.
        bias: η at the columns' means and frequencies `(P,)`.
        weight: W_η `(P, L)`; zeros where there is no factor analysis.
        loadings: W of the factor analysis `(F, L)`, in units of `spread`.
        noise: ψ `(F,)`.
        centre: of the features `(F,)`.
        spread: of the features `(F,)`.
        pseudo: training rows at which a VampPrior starts `(C, D + k)`, without missing cells.
    """

    observation: Observation
    features: Features
    bias: Array
    weight: Array
    loadings: Array
    noise: Array
    centre: Array
    spread: Array
    pseudo: Array


def start_of(
    observation: Columns, features: Features, vectors: np.ndarray, options: LatentOptions, seed: int
) -> Start:
    """Return the start of a model of these training rows.

    Args:
        observation: of the columns.
        features: what the encoder sees.
        vectors: training rows `(n, D + k)` in the model's units; NaN where a cell is missing.
        options: with every choice made.
        seed: of the rows that the factor analysis sees, where there are many.
    """
    rng = np.random.default_rng(seed)
    some = vectors[rng.permutation(len(vectors))[:_FACTOR_ROWS]]
    values = feature_values(features, some)
    all_values = values if len(some) == len(vectors) else feature_values(features, vectors)
    centre, spread = np.nanmean(all_values, axis=0), np.nanstd(all_values, axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    bias = observation.bias(vectors.astype(np.float64))
    n_latent = options.latent_dim or 1
    weight = np.zeros((observation.n_params, n_latent))
    factors = Factors(
        np.zeros((len(centre), n_latent)), np.zeros(len(centre)), np.ones(len(centre))
    )
    if options.posterior == "experts":
        floor = _least_noise(observation, features, centre, spread)
        standard = (values - centre) / spread
        factors = _padded(factor_analysis(standard, n_latent, floor=floor), n_latent)
        centre = centre + spread * factors.intercept
        weight = _slopes(observation, features, bias, centre, factors.loadings * spread[:, None])
        weight, bias = _log_normal_rates(observation, vectors, weight, bias)
        observation = _with_noise(observation, factors.noise * spread**2, options.scale)
    filled = np.where(np.isnan(some), _typical(features, centre), some)
    pseudo = filled[np.arange(options.components) % len(filled)]
    arrays = (bias, weight, factors.loadings, factors.noise, centre, spread, pseudo)
    return Start(observation, features, *(jnp.asarray(a, jnp.float32) for a in arrays))


def start_shapes(observation: Columns, features: Features, options: LatentOptions) -> Start:
    """Return a start of the right shapes, with nothing in it.

    Args:
        observation: of the columns.
        features: what the encoder sees.
        options: with every choice made.
    """
    f, p, n_latent = features.n_values, observation.n_params, chosen(options.latent_dim)
    n_cells = features.n_numbers + len(features.levels)
    shapes = ((p,), (p, n_latent), (f, n_latent), (f,), (f,), (f,), (options.components, n_cells))
    return Start(observation, features, *map(jnp.zeros, shapes))


def feature_values(features: Features, vectors: np.ndarray) -> np.ndarray:
    """Return numbers and one-hot codes `(n, F)` of examples; NaN where a cell is missing."""
    inputs = np.asarray(jax.vmap(features)(jnp.asarray(vectors)))[:, : features.n_values]
    seen = np.asarray(jax.vmap(features.seen)(jnp.asarray(vectors)))
    return np.where(seen, inputs, np.nan).astype(np.float64)


def _slopes(
    observation: Observation,
    features: Features,
    bias: np.ndarray,
    centre: np.ndarray,
    loadings: np.ndarray,
) -> np.ndarray:
    """Return W_η `(P, L)`: its first-order effect on the means is that of loadings `(F, L)`."""
    with jax.enable_x64(True):
        jacobian = np.asarray(jax.jacfwd(observation.means)(jnp.asarray(bias, jnp.float64)))
    of_means = loadings.copy()
    counts = list(features.counts)
    of_means[counts] *= np.exp(centre[counts])[:, None]  # d(count)/d(log(1 + count))
    return np.linalg.lstsq(jacobian, of_means, rcond=1e-6)[0]


def _least_noise(
    observation: Columns, features: Features, centre: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Return the share of each feature's variance `(F,)` that no latent variable explains.

    A bit or a one-hot entry of probability p keeps p(1-p) on average over z, half of its variance
    at the least where p(z) is spread evenly; a count of rate m keeps m, m/(1+m)² after log(1 + v).
    """
    least = np.full(features.n_values, _LEAST_NOISE)
    least[features.n_numbers :] = 0.5
    for part, places in zip(observation.parts, observation.places, strict=True):
        at = list(places)
        if isinstance(part, Bernoulli):
            least[at] = 0.5
        elif isinstance(part, Poisson):
            mean = np.expm1(centre[at])
            least[at] = np.clip(mean / (1 + mean) ** 2 / spread[at] ** 2, _LEAST_NOISE, 0.95)
    return least


def _log_normal_rates(
    observation: Columns, vectors: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes and bias whose counts have the columns' means and variances.

    A count with rate exp(b + w z), z ~ N(0, I), s = |w|, has the mean m = exp(b + s²/2) and the
    variance m + m² (exp(s²) - 1): a linear slope at the mean would make rates far too large.
    """
    weight, bias, at = weight.copy(), bias.copy(), 0
    for part, places in zip(observation.parts, observation.places, strict=True):
        rows = slice(at, at + part.n_params)
        at += part.n_params
        if isinstance(part, Poisson):
            counts = vectors[:, list(places)].astype(np.float64)
            mean, variance = np.nanmean(counts, axis=0), np.nanvar(counts, axis=0)
            extra = np.maximum(variance - mean, 0.0) / np.maximum(mean, 1e-6) ** 2
            squared = np.log1p(extra)
            length = np.linalg.norm(weight[rows], axis=1)
            weight[rows] *= (np.sqrt(squared) / np.maximum(length, 1e-12))[:, None]
            bias[rows] -= 0.5 * squared
    return weight, bias


def _with_noise(observation: Columns, noise: np.ndarray, scale: str) -> Columns:
    """Return the columns with learned scales at the factor analysis' noise variances `(F,)`."""
    if scale not in ("shared", "per-coordinate"):
        return observation
    parts = list(observation.parts)
    for i, (part, at) in enumerate(zip(observation.parts, observation.places, strict=True)):
        if isinstance(part, Gaussian | StudentT | DiscretisedLogistic):
            law = part.scale
            if not isinstance(law, LearnedScale):
                raise InputError(f"a {type(law).__name__} where scales are learned", "scale")
            variance = noise[list(at)] * (
                _LOGISTIC**2 if isinstance(part, DiscretisedLogistic) else 1
            )
            variance = np.maximum(variance - law.floor**2, 1e-8)
            value = np.log(variance if law.log_variance.ndim else variance.mean())
            parts[i] = eqx.tree_at(
                lambda p: p.scale.log_variance, part, jnp.asarray(value, jnp.float32)
            )
    return eqx.tree_at(lambda c: c.parts, observation, tuple(parts))


def _padded(factors: Factors, n_latent: int) -> Factors:
    """Return the factors with columns of zeros up to L."""
    short = n_latent - factors.loadings.shape[1]
    loadings = np.pad(factors.loadings, ((0, 0), (0, short)))
    return Factors(loadings, factors.intercept, factors.noise)


def _typical(features: Features, centre: np.ndarray) -> np.ndarray:
    """Return an example `(D + k,)` of the columns' means and most frequent levels."""
    d = features.n_numbers
    numbers = centre[:d].copy()
    numbers[list(features.counts)] = np.expm1(numbers[list(features.counts)])
    ends = d + np.cumsum(features.levels, dtype=int)
    codes = [np.argmax(centre[e - n : e]) for n, e in zip(features.levels, ends, strict=True)]
    return np.concatenate([numbers, codes])
