r"""Images as a flow takes them: every pixel a grey level, whatever values its column shows.

A table would take a pixel that is always 0 for a constant, of which another value is impossible,
and one that is only ever even for a grid of spacing 2. Here all pixels are whole numbers
0, …, L - 1, dequantised to cells of width 1, and a histogram's smoothing leaves each possible.
"""

from __future__ import annotations

import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.bijections import Affine, Bijection
from jensen.bijections.pixels import Histogram, Logit, chosen_smoothing
from jensen.data.preprocess import Preprocess, fit_preprocess
from jensen.data.schema import Schema
from jensen.fitting.family import Arrays
from jensen.fitting.recipe import Recipe
from jensen.models.dequantised import Dequantised
from jensen.models.families import IMAGES, FlowOptions
from jensen.models.image import MultiscaleFlow, patch_order, patch_side
from jensen.models.mixed import Mixed

_LEAST_SIDE = 8
_NOISE_LAYERS = 2  # each half of a patch sees the other, and both the image
_MOST_LEVELS = 1024


def are_images(schema: Schema) -> bool:
    """Return whether a table is a stack of images that an image flow takes.

    Example:
        >>> from jensen.data.schema import read
        >>> from jensen.data.source import open_table
        >>> [are_images(read(open_table(name))[0]) for name in ("digits", "iris")]
        [True, False]
    """
    shape = schema.shape
    return (
        shape is not None
        and len(shape) in (2, 3)
        and all(side >= _LEAST_SIDE and side % 2 == 0 for side in shape[:2])
    )


def pixel_columns(schema: Schema) -> Schema:
    """Return the columns with every pixel a whole number.

    Raises:
        InputError: if the table is none of images, or its pixels are no whole numbers.
    """
    if schema.shape is None:
        raise InputError(
            f"architecture={IMAGES} is for images, and this is a table",
            "architecture",
            "give an array (n, H, W) as .npy, .npz or .idx, or leave the option out",
        )
    patch_side(schema.shape)
    grey = [column for column in schema.columns if column.kind != "constant"]
    values = [c.value for c in schema.columns if c.kind == "constant"]
    whole = [c.step > 0 and c.step % 1 == 0 and c.offset % 1 == 0 for c in grey]
    if not all(whole) or any(isinstance(v, str) or v is None or v % 1 for v in values):
        raise InputError(
            "the pixels are not whole grey levels; they may have been scaled to [0, 1]",
            "the images",
            "give the levels themselves (of 8 bits: multiply by 255, round, save as uint8), or "
            "--set architecture=spline-autoregressive to take them as a table of numbers",
        )
    whole_numbers = [
        replace(column, kind="integer", step=1.0, offset=0.0, value=None)
        for column in schema.columns
    ]
    return replace(schema, columns=tuple(whole_numbers))


def as_images(schema: Schema, recipe: Recipe, shape: tuple[int, ...]) -> tuple[Schema, Recipe]:
    """Return the columns as pixels of images of a shape, and the recipe of an image flow.

    Args:
        schema: the columns, one a pixel.
        recipe: of a flow; the architecture of images unless it has another.
        shape: (H, W) or (H, W, C).

    Raises:
        InputError: if the shape has another number of pixels, or they are no whole numbers.
    """
    if math.prod(shape) != len(schema.columns):
        raise InputError(
            f"images of shape {shape} do not have {len(schema.columns)} pixels, as the rows do",
            "image_shape",
            "give the shape of one image, (H, W) or (H, W, C)",
        )
    options = replace(recipe.options, architecture=recipe.options.architecture or IMAGES)
    schema = replace(schema, shape=shape)
    if options.architecture == IMAGES:
        schema = pixel_columns(schema)
    return schema, replace(recipe, options=options)


def grey_levels(schema: Schema, matrix: np.ndarray) -> int:
    """Return L: 256 for bytes, else one more than the largest level of the rows.

    Args:
        schema: the columns.
        matrix: encoded rows `(n, columns)`.

    Raises:
        InputError: for negative levels or more than 1,024.
    """
    low, high = float(matrix.min()), float(matrix.max())
    if low < 0 or high >= _MOST_LEVELS:
        raise InputError(
            f"grey levels run from {low:g} to {high:g}",
            "the images",
            f"give levels from 0 to {_MOST_LEVELS - 1} at most, such as bytes",
        )
    return 256 if schema.columns[0].dtype == "uint8" else int(high) + 1


def image_preprocess(schema: Schema, matrix: np.ndarray) -> Preprocess:
    """Return the preprocessing that leaves every pixel its units; arguments as `grey_levels`."""
    return fit_preprocess(schema, matrix, raw=schema.continuous)


def level_counts(matrix: np.ndarray, levels: int) -> np.ndarray:
    """Return how often each level occurs at each pixel `(levels, D)`, whole numbers.

    Example:
        >>> level_counts(np.array([[0.0], [2.0], [2.0]]), 3).ravel().tolist()
        [1, 0, 2]
    """
    codes = matrix.astype(np.int64)
    return np.stack([np.bincount(c, minlength=levels) for c in codes.T], axis=1).astype(np.int32)


class ImageInit(eqx.Module):
    """How the one player of an image flow's game begins: `init(key) -> (Mixed,)`.

    Args:
        counts: how often each level occurs at each pixel `(L, D)`.
        smoothing: of the histogram, κ `(D,)`.
        pooling: λ of the histogram.
        options: the flow's options.
        shape: of an image.
    """

    counts: Array
    smoothing: Array
    pooling: Array
    options: FlowOptions = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, key: Key) -> tuple[Mixed | Dequantised]:
        """Return the model of one member.

        Raises:
            InputError: while sizes are not chosen.
        """
        options = self.options
        if (
            options.width is None
            or options.n_layers is None
            or options.depth is None
            or options.bins is None
        ):
            raise InputError("sizes of the flow are not chosen yet", mend="use chosen_for")
        flow = MultiscaleFlow(
            key,
            self.shape,
            first=self._first(),
            n_layers=options.n_layers,
            width=options.width,
            depth=options.depth,
            bins=options.bins,
            bound=options.bound,
        )
        if options.dequantisation == "uniform":
            return (Mixed(flow, None),)
        order = patch_order(self.shape, patch_side(self.shape)).ravel().tolist()
        noise = MultiscaleFlow(
            jax.random.fold_in(key, 1),
            self.shape,
            n_layers=_NOISE_LAYERS,
            levels=1,
            width=options.width,
            bins=options.bins,
            bound=options.bound,
            context_parts=(len(order),),
        )
        levels = jnp.asarray(self.counts.shape[0])
        return (Dequantised(flow, noise, tuple(order), levels),)

    def _first(self) -> Bijection:
        """Return the layer next to the pixels."""
        levels = self.counts.shape[0]
        if self.options.pixels == "histogram":
            return Histogram(self.counts, self.smoothing, self.pooling)
        if self.options.pixels == "logit":
            return Logit(jnp.asarray(levels))
        total = jnp.sum(self.counts, axis=0)
        grey = jnp.arange(levels)[:, None]
        mean = jnp.sum(self.counts * grey, axis=0) / total
        variance = jnp.sum(self.counts * (grey - mean) ** 2, axis=0) / total + 1.0 / 12.0
        return Affine(mean, 0.5 * jnp.log(variance))


def image_init(options: FlowOptions, schema: Schema, counts: np.ndarray) -> ImageInit:
    """Return how the flow of a stack of images begins."""
    smoothing, pooling = map(jnp.asarray, chosen_smoothing(counts))
    return ImageInit(jnp.asarray(counts), smoothing, pooling, options, tuple(schema.shape or ()))


def image_skeleton(options: FlowOptions, schema: Schema, arrays: Arrays) -> ImageInit:
    """Return an init whose model has the shapes of these arrays, for them to be filled in."""
    counts = [array for name, array in arrays.items() if name.endswith(".counts")]
    levels = counts[0].shape[-2] if counts else 1
    return image_init(options, schema, np.ones((levels, len(schema.columns)), np.int32))
