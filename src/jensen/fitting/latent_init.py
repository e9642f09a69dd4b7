r"""How a table's latent-variable model begins: at its factor analysis, or at its frequencies.

With `experts` the decoder's means start as those of a factor analysis of the columns (categories as
one-hot vectors), its scales as the factor analysis' noise, and the posterior as the exact one: the
model starts as a Gaussian of low rank plus a diagonal, with a tight bound, for any pattern of
missing cells. For an observation whose means are μ(η), the decoder's slopes solve ∂μ/∂η · W_η = W_μ
at the bias. Otherwise decoder and posterior start at the frequencies and means of the columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.fitting.latent_options import LatentOptions
from jensen.models.columns import Columns
from jensen.models.discrete import DiscretisedLogistic, Poisson
from jensen.models.experts import AffinePlus, ExpertsPosterior
from jensen.models.factors import Factors, factor_analysis
from jensen.models.flow import IAF, RealNVP
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli, Gaussian, Observation, StudentT
from jensen.models.posteriors import (
    DiagonalPosterior,
    FlowPosterior,
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
from jensen.models.scales import LearnedScale
from jensen.nn.features import Features, Leading
from jensen.nn.mlp import MLP
from jensen.nn.patch import PatchDecoder, PatchEncoder

T = TypeVar("T")

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
    f, p, n_latent = features.n_values, observation.n_params, _chosen(options.latent_dim)
    n_cells = features.n_numbers + len(features.levels)
    shapes = ((p,), (p, n_latent), (f, n_latent), (f,), (f,), (f,), (options.components, n_cells))
    return Start(observation, features, *map(jnp.zeros, shapes))


class LatentInit(eqx.Module):
    """How the one player begins: `init(key) -> (Latent,)`.

    Args:
        start: what is read from the training rows.
        options: with every choice made.
        shape: of one example, where it is an image and the networks see patches.
        vamp: the VampPrior, where there is one: it starts at training rows.
    """

    start: Start
    vamp: VampPrior | None
    options: LatentOptions = eqx.field(static=True)
    shape: tuple[int, ...] | None = eqx.field(static=True)

    def __call__(self, key: Key) -> tuple[Latent]:
        """Return the model."""
        for_prior, for_posterior, for_decoder = jax.random.split(key, 3)
        prior = self._prior(for_prior)
        likelihood = Likelihood(self._decoder(for_decoder), self.start.observation)
        return (Latent(prior, likelihood, self._posterior(for_posterior)),)

    @property
    def _dim(self) -> int:
        """L, the coordinates of z that the decoder sees."""
        return _chosen(self.options.latent_dim)

    @property
    def _hidden(self) -> tuple[int, ...]:
        return (_chosen(self.options.width),) * self.options.depth

    def _net(self, key: Key, n_in: int, n_out: int, last: float = 0.0) -> MLP:
        return MLP(key, n_in, n_out, self._hidden, self.options.activation, last=last)

    def _decoder(self, key: Key) -> Callable[[Array], Array]:
        start, n_params = self.start, self.start.observation.n_params
        if self.options.posterior == "experts":
            return AffinePlus(start.weight, start.bias, self._net(key, self._dim, n_params))
        if self.options.network == "patch":
            shape, hidden = _chosen(self.shape), self._hidden[:1]
            return Biased(PatchDecoder(key, self._dim, shape, hidden=hidden, last=1.0), start.bias)
        net = self._net(key, self._dim, n_params, last=1.0)
        net = eqx.tree_at(lambda n: n.biases[-1], net, start.bias)
        if self.options.posterior == "hierarchical":
            return Leading(net, self._dim)
        return net

    def _encoder(self, key: Key, n_out: int) -> Encoder:
        start = self.start
        features = start.features
        if self.options.network == "patch":
            net: Any = PatchEncoder(key, _chosen(self.shape), n_out, hidden=self._hidden[:1])
        else:
            net = self._net(key, features.size, n_out)
        return Encoder(features, start.centre, start.spread, net)

    def _posterior(self, key: Key) -> Posterior:
        dim, kind, start = self._dim, self.options.posterior, self.start
        if kind == "experts":
            return ExpertsPosterior(
                start.features,
                start.loadings,
                -jnp.log(start.noise),
                start.centre,
                start.spread,
                self._net(key, start.features.size, 2 * dim),
            )
        if kind == "full":
            return FullPosterior(self._encoder(key, dim * (dim + 3) // 2), dim)
        if kind == "flow":
            for_flow, key = jax.random.split(key)
            context = _chosen(self.options.width) // 2
            flow = IAF(for_flow, dim, n_layers=2, hidden=(2 * context,), context_dim=context)
            return FlowPosterior(self._encoder(key, 2 * dim + context), flow.bijection, dim)
        if kind == "hierarchical":
            first, second = jax.random.split(key)
            top = DiagonalPosterior(self._net(second, dim, 2 * _top(dim)))
            return HierarchicalPosterior(DiagonalPosterior(self._encoder(first, 2 * dim)), top, dim)
        return DiagonalPosterior(self._encoder(key, 2 * dim))

    def _prior(self, key: Key) -> Prior:
        kind, dim, options = self.options.prior, self._dim, self.options
        if self.vamp is not None:
            return self.vamp
        if options.posterior == "hierarchical":
            dim = _top(dim)
        if kind == "diagonal":
            prior: Prior = DiagonalNormal(dim)
        elif kind == "mixture":
            prior = MixturePrior(key, dim, options.components)
        elif kind == "flow":
            prior = FlowPrior(RealNVP(key, dim, n_layers=4, hidden=self._hidden[:1] * 2))
        else:
            prior = StandardNormal(dim)
        if options.posterior != "hierarchical":
            return prior
        below = DiagonalPosterior(self._net(key, dim, 2 * self._dim, last=0.0))
        return HierarchicalPrior(prior, below, dim)


class Biased(eqx.Module):
    """A network plus a trained vector: η = net(z) + b.

    Args:
        net: from `(L,)` to `(P,)`.
        bias: b `(P,)`.
    """

    net: Callable[[Array], Array]
    bias: Array

    def __call__(self, z: Array) -> Array:
        """Return η `(P,)`."""
        return self.net(z) + self.bias


class Encoder(eqx.Module):
    """A network of the standardised features of an example.

    Args:
        features: the map from an example.
        centre: of the values and one-hot codes `(F,)`.
        spread: of the values and one-hot codes `(F,)`.
        net: from the features to its output.
    """

    features: Features
    centre: Array
    spread: Array
    net: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        """Return the network's output for one example `(D + k,)`."""
        return self.net(self.features.standardised(x, self.centre, self.spread))


def latent_init(
    start: Start, options: LatentOptions, shape: tuple[int, ...] | None, unit: bool
) -> LatentInit:
    """Return how a table's model begins.

    Args:
        start: what is read from the training rows.
        options: with every choice made.
        shape: of one example where it is an image.
        unit: whether examples live in [0, 1].

    Raises:
        InputError: for options that do not go together.
    """
    if options.network == "patch" and (shape is None or options.posterior == "experts"):
        raise InputError(
            "patch networks are for images, with a posterior other than experts",
            "network",
            "set network=dense, or give a stack of images and posterior=diagonal",
        )
    if options.posterior == "hierarchical" and options.prior == "vamp":
        raise InputError(
            "a VampPrior mixes posteriors of one layer", "prior", "use another prior or posterior"
        )
    if options.prior == "flow" and options.latent_dim == 1:
        raise InputError("a flow prior needs two latent dimensions", "prior", "raise latent_dim")
    vamp = None
    if options.prior == "vamp":
        vamp = VampPrior(start.pseudo, "unit" if unit else "real")
    return LatentInit(start, vamp, options, shape)


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


def _top(dim: int) -> int:
    """Return the length of z₂ for z₁ of length L: half of it."""
    return max(dim // 2, 1)


def _chosen(value: T | None) -> T:
    if value is None:
        raise InputError("the model's sizes are not chosen yet", mend="use chosen_for")
    return value
