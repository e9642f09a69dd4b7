"""Figures that hold the columns of the data beside those of the samples.

When there are more columns than fit, the worst ones are shown: marginals by their
Kolmogorov–Smirnov distance, pairs by the largest difference between the Spearman correlations of
data and samples. By those measures the columns left out look better than the ones shown. Tables
longer than 100,000 rows are thinned evenly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from scipy import stats

from jensen._errors import InputError
from jensen.report.canvas import (
    BLUE,
    BROAD,
    INK,
    VERMILION,
    WIDTH,
    finite,
    heading,
    label,
    sheet,
    tidy,
)

_POINTS = 2_000  # per cloud: more only hides the shape
_VALUES = 10  # fewer are no cloud
_ROWS = 100_000  # per table: more changes no histogram that the eye can see


def marginals(
    names: Sequence[str], data: ArrayLike, samples: ArrayLike, max_columns: int = 12
) -> Figure:
    """Draw each column's distribution in the data (filled) and in the samples (line).

    Args:
        names: the `D` column names.
        data: `(n, D)` rows in their own units; entries that are not finite are left out.
        samples: `(m, D)` rows drawn from the model.
        max_columns: how many to draw; beyond it, those of largest distance `KS` are drawn,
            worst first, and otherwise the order is that of the table.

    Returns:
        The figure, one panel a column, titled by name and two-sample Kolmogorov–Smirnov distance
        (0 = same distribution, 1 = no overlap).

    Raises:
        InputError: when the shapes do not fit together.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> figure = marginals(["a", "b"], rng.normal(size=(90, 2)), rng.normal(size=(80, 2)))
        >>> len(figure.axes)
        2
    """
    x, y = _tables(names, data, samples)
    distances = np.array([_distance(x[:, j], y[:, j]) for j in range(x.shape[1])])
    shown = np.arange(x.shape[1])
    if x.shape[1] > max_columns:
        shown = np.argsort(-distances, kind="stable")[:max_columns]
    across = min(3, len(shown))
    rows = -(-len(shown) // across)
    fig = sheet(1.0 + 1.85 * rows, BROAD if across == 3 else WIDTH)
    panels = fig.subplots(rows, across, squeeze=False).ravel()
    for ax, column in zip(panels, shown, strict=False):
        _overlay(ax, x[:, column], y[:, column])
        tidy(ax, size=9.5)
        heading(ax, f"{label(names[column], 18)} · KS {distances[column]:.2f}", 9.5)
    for ax in panels[len(shown) :]:
        ax.remove()
    fig.supylabel("density (1 / unit of the column)", fontsize=10, color=INK)
    fig.supxlabel("value, in the column’s own unit", fontsize=10, color=INK)
    _key(fig)
    return fig


def pairs(
    names: Sequence[str], data: ArrayLike, samples: ArrayLike, max_columns: int = 5
) -> Figure:
    """Draw columns against each other, data beside samples on the same axes.

    Two columns give one large pair of clouds. More give a matrix: data below the diagonal,
    samples mirrored above it, both distributions on it.

    Args:
        names: the `D` column names, `D >= 2`.
        data: `(n, D)` rows in their own units; rows with an entry that is not finite are left out.
        samples: `(m, D)` rows drawn from the model.
        max_columns: how many to draw, at least 2; beyond it, those in whose pairs the Spearman
            correlations of data and samples differ most.

    Returns:
        The figure; at most 2000 rows a cloud, evenly taken.

    Raises:
        InputError: when there are fewer than two columns or the shapes do not fit together.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> figure = pairs(["a", "b"], rng.normal(size=(90, 2)), rng.normal(size=(80, 2)))
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['data', 'samples']
    """
    x, y = (table[np.isfinite(table).all(axis=1)] for table in _tables(names, data, samples))
    if x.shape[1] < 2 or max_columns < 2:
        raise InputError("pairs need at least two columns", "pairs")
    shown = _worst_pairs(x, y, max_columns)
    names = [label(names[j], 16) for j in shown]
    x, y = x[:, shown], y[:, shown]
    limits = [_window(x[:, j], y[:, j]) for j in range(len(shown))]
    return _two(names, x, y, limits) if len(shown) == 2 else _matrix(names, x, y, limits)


def most_related(data: ArrayLike) -> list[int]:
    """Return the two columns whose Spearman correlation is largest in absolute value.

    Args:
        data: `(n, D)` with D ≥ 2; rows with an entry that is not finite are left out. Columns of
            fewer than ten values give no cloud: they are taken only where there are no others.

    Example:
        >>> line = np.arange(9.0)
        >>> most_related(np.column_stack([line, np.cos(7 * line), -line]))
        [0, 2]
    """
    table = np.asarray(data, np.float64)
    table = table[np.isfinite(table).all(axis=1)]
    related = np.abs(_rank_correlation(table)) + 1.0
    few = np.array([len(np.unique(column)) < _VALUES for column in table.T])
    related = np.triu(
        related - 1.0 * few - 1.0 * few[:, None] + 2.0, 1
    )  # 0: not above the diagonal
    return [int(j) for j in np.unravel_index(int(related.argmax()), related.shape)]


def _two(names: Sequence[str], x: np.ndarray, y: np.ndarray, limits: list) -> Figure:
    """Draw the two clouds of a table with two columns."""
    fig = sheet(2.9)
    panels = fig.subplots(1, 2, sharex=True, sharey=True)
    for ax, table, colour, title in zip(
        panels, (x, y), (BLUE, VERMILION), ("data", "samples"), strict=True
    ):
        _cloud(ax, table[:, 0], table[:, 1], colour, 5.0)
        ax.set(xlim=limits[0], ylim=limits[1])
        tidy(ax, names[0], names[1] if title == "data" else "")
        heading(ax, title, 11)
    return fig


def _matrix(names: Sequence[str], x: np.ndarray, y: np.ndarray, limits: list) -> Figure:
    """Draw the matrix: data below the diagonal, samples above, both on it."""
    count = len(names)
    fig = sheet(7.4, BROAD)
    panels = fig.subplots(count, count, squeeze=False)
    for i in range(count):
        for j in range(count):
            ax = panels[i, j]
            if i == j:
                _overlay(ax, x[:, j], y[:, j])
                ax.set_yticks([])
            else:
                table, colour = (x, BLUE) if i > j else (y, VERMILION)
                _cloud(ax, table[:, j], table[:, i], colour, 2.5)
                ax.set_ylim(limits[i])
                ax.yaxis.set_major_locator(MaxNLocator(3))
            ax.set_xlim(limits[j])
            ax.xaxis.set_major_locator(MaxNLocator(3))
            tidy(ax, names[j] if i == count - 1 else "", names[i] if j == 0 else "", 9)
            ax.tick_params(labelsize=7.5, labelbottom=i == count - 1, labelleft=j == 0 and i > 0)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=BLUE, label="data, below the diagonal"),
        Line2D([], [], marker="o", linestyle="", color=VERMILION, label="samples, above it"),
    ]
    fig.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=10, frameon=False)
    return fig


def _tables(
    names: Sequence[str], data: ArrayLike, samples: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return both tables, evenly thinned, or refuse shapes that do not fit together."""
    x, y = np.asarray(data), np.asarray(samples)
    fits = x.ndim == y.ndim == 2 and x.shape[1] == y.shape[1] == len(names)
    if not fits or 0 in x.shape or 0 in y.shape:
        raise InputError(
            f"{len(names)} names, data {x.shape} and samples {y.shape} do not fit together",
            "report",
            "give (n, D) data, (m, D) samples and D names",
        )
    return _thin(x, _ROWS).astype(np.float64), _thin(y, _ROWS).astype(np.float64)


def _distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the two-sample Kolmogorov–Smirnov distance; 1 when a side holds nothing finite."""
    x, y = np.sort(finite(x)), np.sort(finite(y))
    if min(x.size, y.size) == 0:
        return 1.0
    at = np.concatenate([x, y])
    below_x = np.searchsorted(x, at, side="right") / x.size
    below_y = np.searchsorted(y, at, side="right") / y.size
    return float(np.abs(below_x - below_y).max())


def _worst_pairs(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` column numbers, in table order, of the worst reproduced pairs."""
    count = x.shape[1]
    if count <= most or min(len(x), len(y)) < 3:
        return np.arange(min(count, most))
    gap = np.abs(_rank_correlation(x) - _rank_correlation(y))
    chosen = [int(k) for k in np.unravel_index(int(gap.argmax()), gap.shape)]
    if chosen[0] == chosen[1]:
        chosen = [0, 1]
    while len(chosen) < most:
        reach = gap[chosen].max(axis=0)
        reach[chosen] = -1.0
        chosen.append(int(reach.argmax()))
    return np.sort(chosen)


def _rank_correlation(table: np.ndarray) -> np.ndarray:
    """Return the `(D, D)` Spearman correlations of evenly taken rows, 0 for a constant column."""
    ranks = stats.rankdata(_thin(table, _POINTS), axis=0)
    ranks = ranks - ranks.mean(axis=0)
    scale = np.sqrt((ranks**2).sum(axis=0))
    ranks = ranks / np.where(scale > 0, scale, 1.0)
    return ranks.T @ ranks


def _thin(table: np.ndarray, most: int) -> np.ndarray:
    """Return at most `most` rows, evenly taken."""
    if len(table) <= most:
        return table
    return table[np.linspace(0, len(table) - 1, most).astype(int)]


def _window(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return axis limits: all the data (but for 0.1 % a side), and samples not far beyond it."""
    x, y = finite(x), finite(y)
    both = np.concatenate([x, y])
    if both.size == 0:
        return 0.0, 1.0
    core = x if x.size else y
    low, high = np.quantile(core, [0.001, 0.999])
    room = 0.15 * (high - low) or 0.5 * max(1.0, abs(high))
    return float(max(both.min(), low - room) - room / 3), float(
        min(both.max(), high + room) + room / 3
    )


def _overlay(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the histogram of the data filled and that of the samples as a line."""
    low, high = _window(x, y)
    edges = _edges(finite(x), low, high)
    looks = (
        {"histtype": "stepfilled", "facecolor": BLUE, "alpha": 0.4},
        {"histtype": "step", "edgecolor": VERMILION, "linewidth": 1.6},
    )
    for values, look in zip((finite(x), finite(y)), looks, strict=True):
        if values.size:
            share = np.full(values.size, 1.0 / values.size / (edges[1] - edges[0]))
            ax.hist(
                np.clip(values, edges[0], edges[-1]), bins=edges.tolist(), weights=share, **look
            )
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(3))


def _edges(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return bin edges: one bar a value for few whole numbers, else equal bars."""
    whole = x.size > 0 and bool((x == np.round(x)).all())
    if whole and 1 < high - low < 40:
        return np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.0)
    return np.linspace(low, high, int(np.clip(np.sqrt(x.size), 8, 40)) + 1)


def _cloud(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str, size: float) -> None:
    """Draw points evenly taken, as pixels also inside an SVG."""
    points = _thin(np.column_stack([x, y]), _POINTS)
    ax.scatter(*points.T, s=size, color=colour, alpha=0.45, linewidths=0, rasterized=True)


def _key(fig: Figure) -> None:
    """Say above the panels which is data and which is samples."""
    handles = [
        Patch(facecolor=BLUE, alpha=0.4, label="data"),
        Line2D([], [], color=VERMILION, linewidth=1.6, label="samples"),
    ]
    fig.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=10, frameon=False)
