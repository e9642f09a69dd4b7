"""Figures of latent-variable models: reconstructions, traversals, latent clouds, bounds against K.

Images are drawn as `report.images.tiles` draws them; a row of its own for each version of the same
images, so that what belongs together stands in one column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import (
    GREY,
    INK,
    PALE,
    heading,
    key,
    label,
    legend,
    number,
    sheet,
    style,
    tidy,
)
from jensen.report.images import tiles

_MOST_LABELS = 12


def reconstructions(
    originals: ArrayLike, versions: Mapping[str, ArrayLike], *, across: int = 12
) -> Figure:
    """Draw images in a row, and below each what a model makes of it.

    Args:
        originals: images `(n, H, W)` or `(n, H, W, C)`; their range sets the scale of grey.
        versions: name → reconstructions of the same images, of the same shape.
        across: how many of them are drawn, the first ones.

    Raises:
        InputError: when there is no version, or one has another shape.

    Example:
        >>> figure = reconstructions(np.eye(4)[None], {"epoch 1": np.zeros((1, 4, 4))})
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['originals', 'epoch 1']
    """
    first = np.asarray(originals, np.float64)
    rows = {name: np.asarray(images, np.float64) for name, images in versions.items()}
    if not rows:
        raise InputError("no reconstructions to draw", "reconstructions")
    for name, images in rows.items():
        if images.shape != first.shape:
            raise InputError(
                f"{name} has shape {images.shape} and the originals {first.shape}",
                "reconstructions",
                "give one reconstruction an image",
            )
    return _settled(tiles({"originals": first, **rows}, across=across, down=1))


def image_samples(data: ArrayLike, versions: Mapping[str, ArrayLike]) -> Figure:
    """Draw images of the data in two rows of twelve, and below them those that models make.

    Args:
        data: images `(n, H, W)` or `(n, H, W, C)`; their range sets the scale of grey.
        versions: name → images of the same shape, in any number.

    Raises:
        InputError: when a group is empty, or the shapes are not those of images.

    Example:
        >>> figure = image_samples(np.eye(4)[None], {"epoch 1": np.zeros((2, 4, 4))})
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['data', 'epoch 1']
    """
    return _settled(tiles({"data": data, **versions}))


def _settled(fig: Figure) -> Figure:
    """Lay the figure out twice: images of a fixed shape make room for their names only then."""
    for _ in range(2):
        fig.draw_without_rendering()
    return fig


def traversal(rows: Mapping[str, ArrayLike], values: ArrayLike, *, unit: str = "") -> Figure:
    """Draw what the decoder makes of one latent coordinate that moves while the others rest.

    Args:
        rows: name of a coordinate → images `(steps, H, W)` or `(steps, H, W, C)`.
        values: of the coordinate `(steps,)`, the same for each row.
        unit: what the values are.

    Raises:
        InputError: when there is no row, or a row has another number of images.

    Example:
        >>> figure = traversal({"z₁": np.zeros((3, 4, 4))}, [-1, 0, 1])
        >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
        ['−1', '0', '1']
    """
    at = np.asarray(values, np.float64)
    images = {name: np.asarray(row, np.float64) for name, row in rows.items()}
    if not images or any(row.shape[:1] != at.shape for row in images.values()):
        raise InputError(
            "the traversal has no row, or a row with another number of images than values",
            "traversal",
            "give one image a value",
        )
    fig = tiles(images, across=len(at), down=1)
    ax = fig.axes[-1]
    pitch = (ax.get_xlim()[1] - ax.get_xlim()[0] + 1) / len(at)  # a tile and the gap beside it
    places = (np.arange(len(at)) + 0.5) * pitch - 1.0
    ax.set_xticks(places, [number(value, 3) for value in at], fontsize=9, color=INK)
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel(unit or "value of the coordinate", fontsize=10, color=INK, parse_math=False)
    fig.set_figheight(fig.get_figheight() + 0.45)  # what the values take below the images
    return _settled(fig)


def latent_scatter(
    means: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    axes: tuple[str, str] = ("z₁", "z₂"),
    density: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """Draw where examples lie in two latent coordinates.

    Args:
        means: posterior means `(n, 2)`; rows that are not finite are left out and counted.
        labels: of the examples `(n,)`: each label has a colour and a marker of its own.
        axes: names of the coordinates.
        density: the prior's density on a grid: x `(a,)`, y `(b,)`, p `(b, a)`, drawn as contours
            at 90, 50 and 10% of its maximum.

    Raises:
        InputError: for another shape, no row to draw, or more than 12 labels.

    Example:
        >>> figure = latent_scatter([[0.0, 1.0], [1.0, 0.0]], ["a", "b"])
        >>> figure.axes[0].get_xlabel()
        'z₁'
    """
    where = "latent_scatter"
    points = np.asarray(means, np.float64)
    named = np.full(len(points), "") if labels is None else np.asarray(labels).astype(str)
    if points.ndim != 2 or points.shape[1] != 2 or named.shape != points.shape[:1]:
        raise InputError(
            f"means {points.shape} and labels {named.shape} do not fit",
            where,
            "give means (n, 2) and one label a row",
        )
    keep = np.isfinite(points).all(axis=1)
    if not keep.any():
        raise InputError("no finite point to draw", where)
    levels = np.unique(named[keep])
    if len(levels) > _MOST_LABELS:
        raise InputError(f"{len(levels)} labels cannot be told apart", where, "give at most 12")
    fig = sheet(4.6 + 0.2 * (len(levels) > 1) * -(-len(levels) // 5))
    ax = fig.subplots()
    entries = []
    if density is not None:
        entries.append(_contours(ax, density))
    for place, level in enumerate(levels):
        look, rows = style(place), points[keep & (named == level)]
        drawn: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": ""}
        ax.plot(rows[:, 0], rows[:, 1], markersize=3, mec="none", rasterized=True, **drawn)
        if level:
            entries.append(Line2D([], [], markersize=6, label=label(level, 12), **drawn))
    ax.set_aspect("equal", adjustable="datalim")
    tidy(ax, *axes)
    lost = int((~keep).sum())
    heading(ax, f"{lost} of {len(points)} points not finite, left out" if lost else "", 9)
    key(fig, entries, 6)
    return fig


def _contours(ax: Any, density: tuple[ArrayLike, ArrayLike, ArrayLike]) -> Line2D:
    """Draw the contours of the prior's density; return their entry of the legend."""
    x, y, p = (np.asarray(part, np.float64) for part in density)
    if p.shape != (*y.shape, *x.shape):
        raise InputError(
            f"the density is {p.shape} on a grid of {x.shape} by {y.shape}",
            "latent_scatter",
            "give p (b, a) for x (a,) and y (b,)",
        )
    ax.contour(x, y, p, levels=np.array([0.1, 0.5, 0.9]) * p.max(), colors=GREY, linewidths=1.0)
    return Line2D([], [], color=GREY, linewidth=1.0, label="prior")


def bounds(
    particles: ArrayLike,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    exact: tuple[float, float] | None = None,
    xlabel: str = "K (particles)",
    ylabel: str = "lower bound of log p (nats per row)",
) -> Figure:
    """Draw lower bounds against the number of particles, with 95% intervals, below the truth.

    Args:
        particles: K `(m,)`, positive; the axis is logarithmic.
        curves: name → bounds `(m,)` and their standard errors `(m,)`, nats; bounds that are not
            finite are left out.
        exact: log p and its standard error, nats; a line with a band.
        xlabel: what K is.
        ylabel: what is bounded, with its unit.

    Raises:
        InputError: when there is no curve, a length differs, or a K is not positive.

    Example:
        >>> figure = bounds([1, 5], {"IWAE": ([-2.0, -1.5], [0.1, 0.1])}, exact=(-1.2, 0.05))
        >>> figure.axes[0].get_xscale()
        'log'
    """
    at = np.asarray(particles, np.float64)
    tables = {
        name: (np.asarray(mean, np.float64), np.asarray(error, np.float64))
        for name, (mean, error) in curves.items()
    }
    fits = all(part.shape == at.shape for table in tables.values() for part in table)
    if not tables or at.ndim != 1 or not fits or not (at > 0).all():
        raise InputError(
            "the bounds do not fit the numbers of particles",
            "bounds",
            "give K > 0, and one bound and one standard error for each K",
        )
    fig = sheet(3.8)
    ax = fig.subplots()
    ax.set_xscale("log")
    if exact is not None:
        ax.axhline(exact[0], color=INK, linewidth=1.3, linestyle="--", label="log p, exact")
        ax.axhspan(exact[0] - 1.96 * exact[1], exact[0] + 1.96 * exact[1], color=PALE, zorder=0)
    for place, (name, table) in enumerate(tables.items()):
        beside = at * 1.03 ** (place - (len(tables) - 1) / 2)
        _with_bars(ax, beside, table, place, name)
    ax.set_xticks(at, [number(k) for k in at], parse_math=False)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax, xlabel, ylabel)
    heading(ax, "bars and band: 95% intervals", 9)
    legend(ax, loc="best")
    return fig


def _with_bars(
    ax: Any, x: np.ndarray, table: tuple[np.ndarray, np.ndarray], place: int, name: str
) -> None:
    """Draw means and 95% intervals `(m,)` where the means are finite."""
    look, (mean, error) = style(place), table
    seen = np.isfinite(mean)
    ax.errorbar(
        x[seen],
        mean[seen],
        yerr=1.96 * error[seen],
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markersize=5.5,
        capsize=3,
        linewidth=1.5,
        label=label(name, 32),
    )


def prior_densities(
    x: ArrayLike, priors: Mapping[str, ArrayLike], posterior: ArrayLike, *, unit: str = "z"
) -> Figure:
    """Draw priors on a line, a panel each, before the aggregate posterior that each must cover.

    Args:
        x: points `(n,)`.
        priors: name → density `(n,)`.
        posterior: 1/n Σ_i q(z | x_i) of each model, in the order of `priors`, `(priors, n)`.
        unit: name of the latent coordinate.

    Raises:
        InputError: when there is no prior or a shape differs.

    Example:
        >>> one = np.ones(3)
        >>> figure = prior_densities([0, 1, 2], {"standard": one}, [one])
        >>> figure.axes[0].get_ylabel()
        'density'
    """
    at, below = np.asarray(x, np.float64), np.asarray(posterior, np.float64)
    right = below.shape == (len(priors), *at.shape) and at.ndim == 1 and len(priors) > 0
    if not right or any(np.shape(p) != at.shape for p in priors.values()):
        raise InputError(
            "the priors do not fit the points or the aggregate posteriors",
            "prior_densities",
            "give one density a point for each prior, and one aggregate posterior a prior",
        )
    fig = sheet(0.8 + 1.35 * len(priors))
    places = fig.subplots(len(priors), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, density), filled in zip(places, priors.items(), below, strict=True):
        ax.fill_between(at, filled, color=PALE, linewidth=0, label="1/n Σ q(z | xᵢ)")
        ax.plot(at, density, color=style(0).colour, linewidth=1.6, label="p(z)")
        ax.set_ylim(0)
        tidy(ax, "", "density", 9)
        heading(ax, label(name, 40), 9.5)
    places[0].set_xlim(at[0], at[-1])
    legend(places[0], loc="upper right")
    places[-1].set_xlabel(unit, fontsize=10, color=INK, parse_math=False)
    return fig


def spreads(table: Mapping[str, Mapping[str, float]], unit: str) -> Figure:
    """Draw positive figures of several methods, a row for each kind, on a logarithmic axis.

    Args:
        table: method → kind → figure; a figure that is 0 or less has no place on the axis and is
            counted.
        unit: of the figures.

    Raises:
        InputError: when no figure is positive.

    Example:
        >>> figure = spreads({"a": {"θ": 1.0, "φ": 2.0}, "b": {"θ": 3.0, "φ": 9.0}}, "variance")
        >>> figure.axes[0].get_xscale()
        'log'
    """
    kinds = list(dict.fromkeys(kind for row in table.values() for kind in row))
    shown = [v for row in table.values() for v in row.values() if v > 0 and np.isfinite(v)]
    if not shown:
        raise InputError("no positive figure to draw", "spreads")
    fig = sheet(1.5 + 0.55 * len(kinds))
    ax = fig.subplots()
    ax.set_xscale("log")
    entries = []
    for place, (name, row) in enumerate(table.items()):
        look, shift = style(place), 0.14 * (place - (len(table) - 1) / 2)
        drawn: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": ""}
        seen = {kind: v for kind, v in row.items() if v > 0 and np.isfinite(v)}
        ax.plot(list(seen.values()), [kinds.index(k) + shift for k in seen], markersize=7, **drawn)
        entries.append(Line2D([], [], markersize=7, label=label(name, 32), **drawn))
    ax.set_yticks(range(len(kinds)), kinds, parse_math=False)
    ax.set_ylim(len(kinds) - 0.5, -0.5)
    ax.grid(axis="x", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax, unit)
    lost = sum(map(len, table.values())) - len(shown)
    heading(ax, f"{lost} that is 0 or not finite left out" if lost else "", 9)
    key(fig, entries, 2)
    return fig
