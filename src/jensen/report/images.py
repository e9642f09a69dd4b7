"""Figures of images: small tiles, a group in each block of rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import BROAD, GREY, INK, label, sheet

_GAP = 1  # pixels of white between two tiles


def tiles(groups: Mapping[str, ArrayLike], *, across: int = 12, down: int = 2) -> Figure:
    """Draw the first images of each group in a block of its own, the groups one above the other.

    All share one scale, from the smallest value of the first group (black) to its largest (white);
    what lies beyond is cut off.

    Args:
        groups: name → images `(n, H, W)`, or `(n, H, W, C)` with C = 1 or 3; all of one shape.
        across: images side by side.
        down: rows of a group.

    Raises:
        InputError: when there is no group, one is empty, or the shapes are not those of images.

    Example:
        >>> figure = tiles({"data": np.zeros((5, 4, 4)), "samples": np.ones((5, 4, 4))})
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['data', 'samples']
    """
    tables = {name: _images(images, name) for name, images in groups.items()}
    if len({images.shape[1:] for images in tables.values()}) != 1:
        raise InputError("the groups do not hold images of one shape", "tiles")
    first = next(iter(tables.values()))
    low, high = float(first.min()), float(first.max())
    span = high - low or 1.0
    across = min(across, max(len(images) for images in tables.values()))
    blocks = {
        name: _block(np.clip((images - low) / span, 0, 1), across, down)
        for name, images in tables.items()
    }
    width = BROAD - 1.0
    heights = [width * block.shape[0] / block.shape[1] for block in blocks.values()]
    fig = sheet(sum(heights) + 0.12 * len(heights) + 0.1, BROAD)
    places = fig.subplots(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (name, block) in zip(places, blocks.items(), strict=True):
        ax.imshow(block, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        ax.images[0].set_rasterized(True)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_color(GREY)
        ax.set_ylabel(label(name, 18), fontsize=9.5, color=INK, rotation=0, ha="right", va="center")
    return fig


def _images(images: ArrayLike, name: str) -> np.ndarray:
    """Return images `(n, H, W)` or `(n, H, W, 3)`."""
    found = np.asarray(images, np.float64)
    if found.ndim == 4 and found.shape[3] == 1:
        found = found[..., 0]
    if found.ndim not in (3, 4) or 0 in found.shape or (found.ndim == 4 and found.shape[3] != 3):
        raise InputError(f"{name} has shape {found.shape}", "tiles", "give images (n, H, W)")
    return found


def _block(images: np.ndarray, across: int, down: int) -> np.ndarray:
    """Return images side by side on white, at most `down` rows of them."""
    shown = images[: across * down]
    rows = -(-len(shown) // across)
    h, w = images.shape[1] + _GAP, images.shape[2] + _GAP
    out = np.ones((rows * h - _GAP, across * w - _GAP, *images.shape[3:]))
    for i, image in enumerate(shown):
        top, left = (i // across) * h, (i % across) * w
        out[top : top + h - _GAP, left : left + w - _GAP] = image
    return out
