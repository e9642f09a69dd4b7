"""The sheet every figure is drawn on: colours, sizes, and how a figure leaves the program.

Colours are those of Okabe and Ito, which stay apart under the common forms of colour blindness;
no figure relies on colour alone (fills stand against lines, shapes against shapes, and every one
of the `STYLES` of lines has its own colour, dash and marker). Figures are
made through `matplotlib.figure.Figure` and never through pyplot, so nothing global is changed and
nothing has to be closed. The same figure always gives the same bytes: no dates, fixed ids.
"""

from __future__ import annotations

import base64
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jensen.data.output import write_bytes

BLUE, SKY, VERMILION = "#0072B2", "#56B4E9", "#D55E00"
GREEN, PURPLE, ORANGE = "#009E73", "#CC79A7", "#E69F00"
INK, GREY, PALE = "#222222", "#7A7A7A", "#D9D9D9"
WIDTH = 4.8  # inches: 10 pt text stays legible when a phone shrinks the figure to its screen
BROAD = 7.2  # inches, for figures of many panels

_SAVING: dict[Any, Any] = {"svg.hashsalt": "jensen", "svg.fonttype": "path"}
DPI = 160
"""Pixels of a PNG file to an inch."""


class Style(NamedTuple):
    """The look of a line: `colour`, `dash` (a matplotlib line style) and `marker`."""

    colour: str
    dash: Any
    marker: str


STYLES: tuple[Style, ...] = (
    Style(BLUE, "-", "o"),
    Style(VERMILION, (0, (5, 1.5)), "s"),
    Style(GREEN, (0, (5, 1.5, 1, 1.5)), "^"),
    Style(PURPLE, (0, (1.5, 1)), "D"),
    Style(ORANGE, (0, (9, 2)), "v"),
    Style(INK, (0, (3, 1, 1, 1, 1, 1)), "P"),
    Style(SKY, (0, (2.5, 2.5)), "X"),
    Style(GREY, (0, (9, 2, 1, 2)), "<"),
)
"""Looks of lines in the order they are used; any two differ in colour, in dash and in marker."""


def style(index: int) -> Style:
    """Return the look of line number `index` (from 0); the first 64 all differ.

    Example:
        >>> len({style(i) for i in range(64)})
        64
    """
    turn, place = divmod(index, len(STYLES))
    colour = STYLES[place].colour
    dash = STYLES[(place + turn) % len(STYLES)].dash
    return Style(colour, dash, STYLES[(place + 3 * turn) % len(STYLES)].marker)


def sheet(height: float, width: float = WIDTH) -> Figure:
    """Return an empty white figure of `width` × `height` inches that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy(ax: Axes, x: str = "", y: str = "", size: float = 10.0) -> None:
    """Name the axes `x` and `y` and take away what carries no information."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(labelsize=size - 1, color=GREY, labelcolor=INK)
    ax.set_xlabel(x, fontsize=size, color=INK, parse_math=False)
    ax.set_ylabel(y, fontsize=size, color=INK, parse_math=False)


def heading(ax: Axes, text: str, size: float = 10.5) -> None:
    """Write `text` above the axes, flush left."""
    ax.set_title(text, fontsize=size, color=INK, loc="left", parse_math=False)


def caption(ax: Axes, title: str, lines: Sequence[str] = (), width: int = 34) -> None:
    """Write `title` above the axes in bold, and `lines`, wrapped at `width`, in small type."""
    lines = [piece for line in lines for piece in textwrap.wrap(line, width)]
    size, small = 10.5, 9.0
    pad = 4 + small * (1.4 + 1.3 * (len(lines) - 1)) if lines else 6.0
    options: dict[str, Any] = {"color": INK, "parse_math": False}
    ax.set_title(title, fontsize=size, fontweight="bold", loc="left", pad=pad, **options)
    if lines:
        ax.annotate(
            "\n".join(lines),
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 4),
            textcoords="offset points",
            va="bottom",
            fontsize=small,
            linespacing=1.15,
            **options,
        )


def panels(count: int, across: int | None = None) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` small panels that share both axes.

    Args:
        count: how many panels, at least 1.
        across: how many stand side by side; None for 1, 2 or 3, as suits the number.

    Returns:
        The figure and its axes in reading order; tick labels only at the left and the lower edge.

    Example:
        >>> figure, axes = panels(5)
        >>> len(axes), float(figure.get_figwidth())
        (5, 7.2)
    """
    across = across or {1: 1, 2: 2, 4: 2}.get(count, 3)
    down = -(-count // across)
    fig = sheet(1.0 + 2.8 * down, WIDTH if across == 1 else BROAD)
    grid = fig.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.ravel())
    for ax in axes[count:]:
        ax.remove()
    for ax in axes[max(0, count - across) : count]:
        ax.tick_params(labelbottom=True)
    return fig, axes[:count]


def fit_height(fig: Figure, shape: float) -> None:
    """Give the figure the height at which its panels are `shape` times as high as they are wide.

    The margins (captions, legends, labels) keep their size in inches, so one measurement is exact.
    All panels must be of one size, and the figure must be complete.
    """
    fig.draw_without_rendering()
    boxes = [ax.get_position() for ax in fig.axes if ax.get_subplotspec() is not None]
    down = len({round(box.y0, 4) for box in boxes})
    height = fig.get_figheight()
    wanted = boxes[0].width * fig.get_figwidth() * shape
    fig.set_figheight(height + down * (wanted - boxes[0].height * height))


def key(fig: Figure, entries: Sequence[Artist], columns: int) -> None:
    """Put a legend of `entries` above the panels, in at most `columns` columns."""
    if entries:
        fig.legend(
            handles=list(entries),
            loc="outside upper left",
            ncols=min(columns, len(entries)),
            fontsize=9,
            frameon=False,
            columnspacing=1.3,
            handletextpad=0.5,
        )


def legend(ax: Axes, **options: Any) -> None:
    """Add a legend without a frame line, at the place that hides least."""
    ax.legend(fontsize=9, framealpha=0.85, edgecolor="none", **options)


def label(name: object, width: int = 24) -> str:
    """Return `name` on one printable line of at most `width` characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(name)).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def finite(values: ArrayLike) -> np.ndarray:
    """Return the finite entries of `values` as a flat float64 array."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]


def number(value: float, digits: int = 4) -> str:
    """Write `value` with `digits` significant digits, a true minus sign and ∞."""
    if np.isnan(value):
        return "not a number"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}".replace("-", "−")


def with_error(mean: float, se: float) -> str:
    """Write `mean ± se` with two digits of `se`, unbreakable; the mean alone without an error."""
    if not (math.isfinite(mean) and math.isfinite(se) and se > 0):
        return number(mean)
    decimals = min(max(0, 1 - math.floor(math.log10(se))), 8)
    return f"{mean:.{decimals}f}\u00a0±\u00a0{se:.{decimals}f}".replace("-", "−")


def save(fig: Figure, folder: str | Path, name: str) -> list[Path]:
    """Write a figure as PNG and as SVG.

    Args:
        fig: the figure.
        folder: where the files go; made when missing.
        name: file name without its ending.

    Returns:
        The two paths, PNG first. The same figure gives the same bytes every time.

    Raises:
        OSError: when the folder cannot be made.
        InputError: when a file cannot be written; it is there whole or not at all.

    Example:
        >>> import tempfile
        >>> from jensen.report.plots import pit_histogram
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = save(pit_histogram(np.linspace(0.0, 1.0, 200)), folder, "pit")
        >>> [path.name for path in paths]
        ['pit.png', 'pit.svg']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        write_bytes(path, _encode(fig, path.suffix[1:]))
    return paths


def to_data_uri(fig: Figure) -> str:
    """Return a figure as a `data:` address, ready for the `src` of an `<img>`.

    Line drawings become SVG, sharp at every size. A figure with rasterised artists (clouds of
    points) becomes PNG, which stays small however many points there are.

    Args:
        fig: the figure.

    Returns:
        `data:image/svg+xml;base64,…` or `data:image/png;base64,…`.

    Example:
        >>> from jensen.report.plots import pit_histogram
        >>> to_data_uri(pit_histogram(np.linspace(0.0, 1.0, 200)))[:18]
        'data:image/svg+xml'
    """
    clouded = any(artist.get_rasterized() for ax in fig.axes for artist in ax.get_children())
    kind, mime = ("png", "image/png") if clouded else ("svg", "image/svg+xml")
    return f"data:{mime};base64,{base64.b64encode(_encode(fig, kind)).decode('ascii')}"


def _encode(fig: Figure, kind: str) -> bytes:
    """Return the bytes of the figure as `png` or `svg`, the same ones every time."""
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    stream = io.BytesIO()
    with matplotlib.rc_context(_SAVING):
        fig.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
    return stream.getvalue()
