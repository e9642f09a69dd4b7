r"""Implicit models: a law that can be drawn from and has no log p, and the judge of its draws.

A generator pushes noise through networks. One example has D numbers y and k categories as one-hot
vectors c_1, …, c_k of n_1, …, n_k entries:

    z ~ N(0, I_L),  g ~ Gumbel(0, 1) for every level
    c_j = one-hot of argmax_i (l_ji + g_ji),     l = net_c(z, g)
    y = net_y(z, c) + (z_1, …, z_D)              with the skip (z cut or filled with zeros), else
                                                 net_y(z, c)

Where l does not depend on g, c_j has the law softmax(l_j) given z (the Gumbel-max trick). It may
depend on g, so that categories can depend on each other without sharp networks; the numbers see the
categories that were drawn. The gradient of c_j is that of softmax((l_j + g_j)/τ), straight through.
With the skip the networks start at zero: the generator starts as N(0, I) and the given frequencies,
for whitened numbers the best Gaussian.

Sources: Goodfellow et al. 2014 (arXiv:1406.2661); Jang et al. 2017 (arXiv:1611.01144), sec. 2.2.
"""

from __future__ import annotations

from itertools import accumulate

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.nn.activations import activation as activation_named
from jensen.nn.mlp import MLP, uniform_weights
from jensen.nn.spectral import normalised


class Generator(eqx.Module):
    """A law of examples `(D + Σ n_j,)`, given by how they are drawn.

    Args:
        key: randomness of the initial weights.
        dim: D, how many numbers an example has.
        hidden: width of each hidden layer.
        latent_dim: L, length of z.
        levels: n_j, the number of levels of each category.
        activation: name of the hidden layers' activation.
        skip: add z to the numbers, and start the last layer at zero.
        temperature: τ of the categories' gradient.
        logits: where the categories' logits start `(Σ n_j,)`, nats; zeros if None.

    Raises:
        InputError: for no latent variable or a temperature that is not above 0.

    Example:
        >>> generator = Generator(jax.random.key(0), 2, (8,), latent_dim=3, levels=(4,))
        >>> generator.sample(jax.random.key(1)).shape
        (6,)
    """

    net: MLP | None
    category_net: MLP | None
    dim: int = eqx.field(static=True)
    latent_dim: int = eqx.field(static=True)
    levels: tuple[int, ...] = eqx.field(static=True)
    skip: bool = eqx.field(static=True)
    temperature: float = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        dim: int,
        hidden: tuple[int, ...],
        *,
        latent_dim: int,
        levels: tuple[int, ...] = (),
        activation: str = "leaky_relu",
        skip: bool = True,
        temperature: float = 0.5,
        logits: Array | None = None,
    ) -> None:
        if latent_dim < 1:
            raise InputError(f"latent_dim must be at least 1, got {latent_dim}")
        if not temperature > 0:
            raise InputError(f"temperature must be above 0, got {temperature}")
        self.dim, self.latent_dim, self.levels = dim, latent_dim, levels
        self.skip, self.temperature = skip, temperature
        for_numbers, for_levels = jax.random.split(key)
        n_in, n_levels = latent_dim + sum(levels), sum(levels)
        self.net = _network(for_numbers, n_in, dim, hidden, activation, skip) if dim else None
        self.category_net = None
        if levels:
            net = _network(for_levels, n_in, n_levels, hidden, activation, skip)
            start = jnp.zeros(n_levels) if logits is None else jnp.asarray(logits, jnp.float32)
            self.category_net = eqx.tree_at(lambda n: n.biases[-1], net, start)

    def noise(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
        """Return all the randomness of examples `(*shape, L + Σ n_j)`: z, then g."""
        for_z, for_levels = jax.random.split(key)
        z = jax.random.normal(for_z, (*shape, self.latent_dim))
        if not self.levels:
            return z
        gumbel = jax.random.gumbel(for_levels, (*shape, sum(self.levels)))
        return jnp.concatenate([z, gumbel], axis=-1)

    def __call__(self, noise: Array) -> Array:
        """Return the example `(D + Σ n_j,)` of one noise vector `(L + Σ n_j,)`."""
        z = noise[: self.latent_dim]
        chosen = self._categories(noise)
        if self.net is None:
            return jnp.concatenate(chosen)
        numbers = self.net(jnp.concatenate([z, *chosen]))
        if self.skip:
            short = z[: self.dim]
            numbers = numbers + jnp.pad(short, (0, self.dim - short.shape[0]))
        return jnp.concatenate([numbers, *chosen])

    def _categories(self, noise: Array) -> list[Array]:
        """Return the one-hot vectors of the categories."""
        if self.category_net is None:
            return []
        scores = self.category_net(noise) + noise[self.latent_dim :]
        chosen = []
        for n, end in zip(self.levels, accumulate(self.levels), strict=True):
            score = scores[end - n : end]
            soft = jax.nn.softmax(score / self.temperature)
            hard = jax.nn.one_hot(jnp.argmax(score), n, dtype=soft.dtype)
            chosen.append(hard + (soft - jax.lax.stop_gradient(soft)))
        return chosen

    def sample(self, key: Key) -> Array:
        """Return one example `(D + Σ n_j,)`."""
        return self(self.noise(key))


def _network(
    key: Key, n_in: int, n_out: int, hidden: tuple[int, ...], activation: str, at_zero: bool
) -> MLP:
    """Return a perceptron with its last layer at zero, or at random."""
    for_net, for_last = jax.random.split(key)
    net = MLP(for_net, n_in, n_out, hidden, activation)
    if at_zero:
        return net
    (last,) = uniform_weights(for_last, [(n_out, hidden[-1])], [1.0])
    return eqx.tree_at(lambda n: n.weights[-1], net, last)


class Discriminator(eqx.Module):
    """A logit C(x) of one example (or pack of examples): above 0 where it takes x for real.

    Starts at C = 0, undecided.

    Args:
        key: randomness of the initial weights.
        n_in: length of its input, m·(D + Σ n_j) for packs of m.
        hidden: width of each hidden layer.
        activation: name of the hidden layers' activation.
        spectral: divide every weight matrix by its largest singular value (the network is then
            1-Lipschitz for activations with slopes at most 1); the last layer then starts at
            random, since zero has no direction.

    Example:
        >>> float(Discriminator(jax.random.key(0), 2, (8,))(jnp.ones(2)))
        0.0
    """

    net: MLP
    spectral: bool = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        n_in: int,
        hidden: tuple[int, ...],
        *,
        activation: str = "leaky_relu",
        spectral: bool = False,
    ) -> None:
        activation_named(activation)
        self.net = _network(key, n_in, 1, hidden, activation, not spectral)
        self.spectral = spectral

    def __call__(self, x: Array) -> Array:
        """Return C(x), a scalar, for one input `(n_in,)`."""
        return self._weighted()(x)[0]

    def features(self, x: Array) -> Array:
        """Return the last hidden layer `(width,)` for one input `(n_in,)`; C is linear in it."""
        net = self._weighted()
        width = net.weights[-1].shape[1]
        last = (jnp.eye(width, dtype=x.dtype), jnp.zeros(width, x.dtype))
        return eqx.tree_at(lambda n: (n.weights[-1], n.biases[-1]), net, last)(x)

    def _weighted(self) -> MLP:
        net = self.net
        if not self.spectral:
            return net
        return eqx.tree_at(lambda n: n.weights, net, tuple(map(normalised, net.weights)))
