r"""A flow of images in several scales, built of what is fast on a CPU.

    pixels  →  real line  →  patches  →  level 1  →  half of each patch leaves  →  level 2  →  …

The image is cut into p × p patches, the N positions of the flow; the C p² pixels of a patch are the
channels of its position. On the first level the two halves of every patch, the dark and the white
squares of a checkerboard, transform each other in turn (`Coupling`, splines by `PatchMixer`). Then
one half leaves for the base distribution, and on each later level an invertible 1 × 1 map
(`LULinear` at every position) mixes the channels that are left between the couplings.

There is no convolution: cutting is a permutation, the networks are matrix products, and the whole
trains inside one compiled loop.

Source: levels, squeezing and factoring out as in RealNVP (Dinh et al. 2017, arXiv:1605.08803, sec.
3.6), 1 × 1 maps as in Glow (Kingma & Dhariwal 2018), spline couplings as in Durkan et al. 2019.
Deviations: patches and mixers in place of convolutions, one cut for all levels, no actnorm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import numpy as np

from jensen._errors import InputError
from jensen._typing import Key
from jensen.bijections import (
    AffineTransformer,
    Bijection,
    Chain,
    Coupling,
    LULinear,
    Permutation,
    Pointwise,
    Repeat,
    Rest,
    SplineTransformer,
)
from jensen.bijections.elementwise import Transformer
from jensen.models.base import Base, NormalBase
from jensen.models.flow import Flow
from jensen.nn.mixer import PatchMixer

_FEWEST = 4  # positions along a side: below, patches say too little of where they are


def patch_side(shape: tuple[int, ...]) -> int:
    """Return p: 4 where it divides both sides into at least 4 patches, else 2.

    Args:
        shape: of an image, `(H, W)` or `(H, W, C)`.

    Raises:
        InputError: if the sides are odd, or it is no image.

    Example:
        >>> patch_side((28, 28)), patch_side((8, 8))
        (4, 2)
    """
    if len(shape) not in (2, 3) or min(shape) < 1 or shape[0] % 2 or shape[1] % 2:
        raise InputError(
            f"an image flow takes images (H, W) or (H, W, C) of even height and width, not {shape}",
            "shape",
            "crop or pad the images, or choose architecture=spline-coupling",
        )
    return 4 if all(side % 4 == 0 and side // 4 >= _FEWEST for side in shape[:2]) else 2


def patch_order(shape: tuple[int, ...], side: int) -> np.ndarray:
    """Return the pixels of each patch `(N, C p²)`, the even squares of the checkerboard first.

    Args:
        shape: of an image, `(H, W)` or `(H, W, C)`.
        side: p.

    Returns:
        Numbers of pixels of the flattened image, patch by patch.

    Example:
        >>> patch_order((4, 4), 2)[0].tolist()
        [0, 5, 1, 4]
    """
    height, width = shape[:2]
    pixels = np.arange(np.prod(shape)).reshape(height // side, side, width // side, side, -1)
    patches = pixels.transpose(0, 2, 1, 3, 4).reshape(-1, side * side, pixels.shape[-1])
    squares = np.indices((side, side)).sum(axis=0).ravel() % 2
    return patches[:, np.argsort(squares, kind="stable")].reshape(len(patches), -1)


def MultiscaleFlow(
    key: Key,
    shape: tuple[int, ...],
    *,
    first: Bijection | None = None,
    n_layers: int = 8,
    levels: int = 2,
    width: int = 64,
    depth: int = 1,
    bins: int = 8,
    bound: float = 5.0,
    context_parts: tuple[int, ...] = (),
    base: Base | None = None,
) -> Flow:
    """Return a flow of images, flattened as tables have them: row by row, channels together.

    Args:
        key: randomness of the initial weights.
        shape: of an image, `(H, W)` or `(H, W, C)`, with even sides.
        first: the layer next to the pixels, such as `Histogram`; none if None.
        n_layers: couplings of each level.
        levels: scales; after each but the last half of the channels leaves.
        width: of the networks.
        depth: blocks of each network.
        bins: K, bins of the splines.
        bound: B, where they end.
        context_parts: lengths of the parts of the context, each position by position; empty for
            none.
        base: distribution of z; standard normal if None.

    Raises:
        InputError: for sides that cannot be cut, or more levels than channels allow.

    Example:
        >>> flow = MultiscaleFlow(jax.random.key(0), (8, 8), n_layers=2, width=8)
        >>> flow.sample(jax.random.key(1)).shape
        (64,)
    """
    order = patch_order(shape, patch_side(shape))
    positions, channels = order.shape
    if n_layers < 1 or levels < 1 or channels % 2**levels:
        raise InputError(
            f"{channels} channels cannot be halved on {levels} levels of {n_layers} couplings",
            "levels",
            "take fewer levels, and at least one coupling on each",
        )
    network = partial(PatchMixer, positions=positions, width=width, depth=depth)
    keys, inner = jax.random.split(key, levels), ()
    for i in reversed(range(levels)):
        transformer = AffineTransformer() if i else SplineTransformer(bins, bound)
        here = _Level(positions, channels >> i, transformer, network, context_parts)
        couplings = here.couplings(keys[i], n_layers, mixed=i > 0)
        rest = (here.apart, Rest(Chain(inner), here.half)) if inner else ()
        inner = (couplings, *rest)
    steps = () if first is None else (first,)
    cut = Permutation(tuple(order.ravel().tolist()))
    return Flow(Chain((*steps, cut, *inner)), base or NormalBase(positions * channels))


@dataclass(frozen=True)
class _Level:
    """Positions with so many channels each, position by position, and how their halves couple."""

    positions: int
    channels: int
    transformer: Transformer
    network: Callable[..., PatchMixer]
    context_parts: tuple[int, ...]

    @property
    def half(self) -> int:
        """Half of the coordinates."""
        return self.positions * self.channels // 2

    @property
    def apart(self) -> Permutation:
        """The first halves of all positions, then the second ones."""
        places = np.arange(2 * self.half).reshape(self.positions, 2, self.channels // 2)
        return Permutation(tuple(places.transpose(1, 0, 2).ravel().tolist()))

    def couplings(self, key: Key, n_layers: int, *, mixed: bool) -> Bijection:
        """Return couplings of either half in turn, with a 1 × 1 map after each where `mixed`."""
        half, apart = self.half, self.apart
        together = Permutation(tuple(np.argsort(apart.order).tolist()))
        swap = Permutation((*range(half, 2 * half), *range(half)))
        parts = (half, *self.context_parts) if self.context_parts else ()
        network, seen = partial(self.network, parts=parts), sum(self.context_parts)

        def block(key: Key) -> Bijection:
            coupling = Coupling(key, 2 * half, self.transformer, network, context_dim=seen)
            if not mixed:
                return Chain((coupling, swap))
            mix = Pointwise(LULinear(self.channels), self.channels)
            return Chain((coupling, swap, together, mix, apart))

        blocks = eqx.filter_vmap(block)(jax.random.split(key, n_layers))
        return Chain((apart, Repeat(blocks, unroll=1), together))
