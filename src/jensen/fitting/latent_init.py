r"""How the one player of a table's latent-variable model is built, from where it starts.

Priors, posteriors and networks by their names in the options; see `latent_start` for the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.fitting.latent_options import LatentOptions, chosen
from jensen.fitting.latent_start import Start
from jensen.models.experts import AffinePlus, ExpertsPosterior
from jensen.models.flow import IAF, RealNVP
from jensen.models.latent import Latent, Likelihood
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
from jensen.nn.features import Features, Leading
from jensen.nn.mlp import MLP
from jensen.nn.patch import PatchDecoder, PatchEncoder


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
        return chosen(self.options.latent_dim)

    @property
    def _hidden(self) -> tuple[int, ...]:
        return (chosen(self.options.width),) * self.options.depth

    def _net(self, key: Key, n_in: int, n_out: int, last: float = 0.0) -> MLP:
        return MLP(key, n_in, n_out, self._hidden, self.options.activation, last=last)

    def _decoder(self, key: Key) -> Callable[[Array], Array]:
        start, n_params = self.start, self.start.observation.n_params
        if self.options.posterior == "experts":
            return AffinePlus(start.weight, start.bias, self._net(key, self._dim, n_params))
        if self.options.network == "patch":
            shape, hidden = chosen(self.shape), self._hidden[:1]
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
            net: Any = PatchEncoder(key, chosen(self.shape), n_out, hidden=self._hidden[:1])
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
            context = chosen(self.options.width) // 2
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


def _top(dim: int) -> int:
    """Return the length of z₂ for z₁ of length L: half of it."""
    return max(dim // 2, 1)
