r"""Networks of images from patches: convolutions whose stride is their kernel, as matrix products.

An image h `(C, H, W)` is cut into p × p patches; each becomes a column, and one matrix serves all:

    encoder level   h⁺_{:, n} = a(W h_{patch n} + b)         (C, H, W) → (C⁺, H/p, W/p)
    decoder level   h⁺_{patch n} = a(W h_{:, n} + b)         (C, H, W) → (C⁺, pH, pW)

Patches do not overlap, so cutting and laying are a reshape and a transposition, and the convolution
is one product, which XLA's CPU loops run at full speed (a convolution they do not). Images whose
sides the patches do not divide are padded with zeros below and to the right, and cropped again.

Vectors are images flattened as tables have them: row by row, the channels of a pixel together.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.nn.activations import activation
from jensen.nn.mlp import MLP, uniform_weights


def cut(image: Array, side: int) -> Array:
    """Return the patches of an image as columns.

    Args:
        image: `(C, H, W)`, sides multiples of `side`.
        side: p.

    Returns:
        `(C p², N)` with N = (H/p)(W/p): a column is a patch, channel by channel, row by row.

    Example:
        >>> cut(jnp.arange(16.0).reshape(1, 4, 4), 2)[:, 1].tolist()
        [2.0, 3.0, 6.0, 7.0]
    """
    c, h, w = image.shape
    parts = image.reshape(c, h // side, side, w // side, side)
    return parts.transpose(0, 2, 4, 1, 3).reshape(c * side**2, -1)


def lay(columns: Array, side: int, grid: tuple[int, int]) -> Array:
    """Return the image of which `cut` makes these columns.

    Args:
        columns: `(C p², N)`.
        side: p.
        grid: patches in a column and in a row of the image, N in all.

    Returns:
        `(C, H, W)`, H and W the grid's sides times p.

    Example:
        >>> image = jnp.arange(32.0).reshape(2, 4, 4)
        >>> bool((lay(cut(image, 2), 2, (2, 2)) == image).all())
        True
    """
    rows, across = grid
    parts = columns.reshape(-1, side, side, rows, across)
    return parts.transpose(0, 3, 1, 4, 2).reshape(-1, rows * side, across * side)


class PatchEncoder(eqx.Module):
    """An image to a vector: levels of patches, then a multilayer perceptron.

    Args:
        key: randomness of the initial weights.
        shape: of an image, `(H, W)` or `(H, W, C)`, as the table has it.
        n_out: length of the output.
        patches: p of each level, the first cuts the image.
        widths: channels of each level's output.
        hidden: widths of the perceptron's hidden layers.
        activation: name of all of the levels' and hidden layers' activations.
        last: gain of the perceptron's last layer, see `MLP`.

    Raises:
        InputError: for a shape, patch or width below 1, or not one width for each patch.

    Example:
        >>> net = PatchEncoder(jax.random.key(0), (28, 28), 10)
        >>> net(jnp.ones(784)).shape
        (10,)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    head: MLP
    shape: tuple[int, ...] = eqx.field(static=True)
    patches: tuple[int, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        shape: tuple[int, ...],
        n_out: int,
        patches: tuple[int, ...] = (4, 2),
        widths: tuple[int, ...] = (32, 64),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
        *,
        last: float = 0.0,
    ) -> None:
        _check(shape, patches, widths)
        for_levels, for_head = jax.random.split(key)
        channels = (_sides(shape)[2], *widths)
        shapes = [(channels[i + 1], channels[i] * p**2) for i, p in enumerate(patches)]
        self.weights = tuple(uniform_weights(for_levels, shapes, [2.0] * len(shapes)))
        self.biases = tuple(jnp.zeros(width) for width in widths)
        coarse = math.prod(_padded(shape, patches)) // math.prod(patches) ** 2 * widths[-1]
        self.head = MLP(for_head, coarse, n_out, hidden, activation, last=last)
        self.shape, self.patches, self.activation = shape, patches, activation

    def __call__(self, x: Array) -> Array:
        """Return the output `(n_out,)` for one flattened image `(H·W·C,)`."""
        act = activation(self.activation)
        height, width, channels = _sides(self.shape)
        tall, wide = _padded(self.shape, self.patches)
        image = x.reshape(height, width, channels).transpose(2, 0, 1)
        h = jnp.pad(image, ((0, 0), (0, tall - height), (0, wide - width)))
        for p, weight, bias in zip(self.patches, self.weights, self.biases, strict=True):
            tall, wide = tall // p, wide // p
            h = act(weight @ cut(h, p) + bias[:, None]).reshape(-1, tall, wide)
        return self.head(h.ravel())


class PatchDecoder(eqx.Module):
    """A vector to an image: a multilayer perceptron, then levels of patches, the encoder's mirror.

    Args:
        key: randomness of the initial weights.
        n_in: length of the input.
        shape: of an image, `(H, W)` or `(H, W, C)`, as the table has it.
        patches: p of each level, in the encoder's order: the first makes the image's pixels.
        widths: channels of each level's input, in the encoder's order.
        hidden: widths of the perceptron's hidden layers.
        activation: name of all of the levels' and hidden layers' activations.
        last: gain of the last level's weights; at 0 the network starts at its bias.
        final: name of the output's activation.

    `bias` `(H·W·C,)` is added to the pixels; a model of images begins with their log-odds there.

    Raises:
        InputError: for a shape, patch or width below 1, or not one width for each patch.

    Example:
        >>> net = PatchDecoder(jax.random.key(0), 5, (28, 28))
        >>> net(jnp.ones(5)).shape
        (784,)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    bias: Array
    head: MLP
    shape: tuple[int, ...] = eqx.field(static=True)
    patches: tuple[int, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    final: str = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        n_in: int,
        shape: tuple[int, ...],
        patches: tuple[int, ...] = (4, 2),
        widths: tuple[int, ...] = (32, 64),
        hidden: tuple[int, ...] = (),
        activation: str = "relu",
        *,
        last: float = 0.0,
        final: str = "identity",
    ) -> None:
        _check(shape, patches, widths)
        for_levels, for_head = jax.random.split(key)
        channels = (_sides(shape)[2], *widths)
        shapes = [(channels[i] * p**2, channels[i + 1]) for i, p in enumerate(patches)]
        gains = [last, *[2.0] * (len(shapes) - 1)]
        self.weights = tuple(uniform_weights(for_levels, shapes, gains))
        self.biases = tuple(jnp.zeros(width) for width in widths[:-1])
        self.bias = jnp.zeros(math.prod(shape))
        coarse = math.prod(_padded(shape, patches)) // math.prod(patches) ** 2 * widths[-1]
        self.head = MLP(for_head, n_in, coarse, hidden, activation, last=2.0, final=activation)
        self.shape, self.patches = shape, patches
        self.activation, self.final = activation, final

    def __call__(self, z: Array) -> Array:
        """Return one flattened image `(H·W·C,)` for one input `(n_in,)`."""
        act = activation(self.activation)
        height, width, channels = _sides(self.shape)
        tall, wide = (side // math.prod(self.patches) for side in _padded(self.shape, self.patches))
        h = self.head(z).reshape(-1, tall, wide)
        for level in reversed(range(len(self.patches))):
            p = self.patches[level]
            h = lay(self.weights[level] @ h.reshape(-1, tall * wide), p, (tall, wide))
            tall, wide = p * tall, p * wide
            if level:
                h = act(h + self.biases[level - 1][:, None, None])
        pixels = h[:, :height, :width].transpose(1, 2, 0).reshape(height * width * channels)
        return activation(self.final)(pixels + self.bias)


def _sides(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return H, W and C."""
    return (shape[0], shape[1], shape[2] if len(shape) == 3 else 1)


def _padded(shape: tuple[int, ...], patches: tuple[int, ...]) -> tuple[int, int]:
    """Return H and W, raised to multiples of all patches' product."""
    step = math.prod(patches)
    return (-(-shape[0] // step) * step, -(-shape[1] // step) * step)


def _check(shape: tuple[int, ...], patches: tuple[int, ...], widths: tuple[int, ...]) -> None:
    """Raise InputError unless an image of this shape can be cut so."""
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError(
            f"an image has shape (H, W) or (H, W, C), got {shape}", "shape", "give its sides"
        )
    if not patches or len(patches) != len(widths):
        raise InputError(
            f"{len(patches)} patches and {len(widths)} widths",
            "widths",
            "give one width for each patch, and at least one of them",
        )
    if min(*patches, *widths) < 1:
        raise InputError(
            f"patches and widths must be at least 1, got {patches} and {widths}", "patches"
        )
