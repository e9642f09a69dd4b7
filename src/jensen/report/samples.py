"""Figures of samples: clouds of points side by side, as a generator learns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import BLUE, INK, caption, fit_height, label, panels, tidy


def growing(
    clouds: Mapping[str, ArrayLike],
    *,
    axes: tuple[str, str] = ("x₁", "x₂"),
    same_unit: bool = True,
) -> Figure:
    """Draw clouds of points in the plane on the same axes, the first in black.

    Args:
        clouds: name → `(n, 2)`; the first is the data, and its range sets the axes. Points outside
            are counted in the heading, as are those that are not finite.
        axes: names of the axes, with units.
        same_unit: whether both axes have one unit, and so one scale.

    Raises:
        InputError: when there is no cloud, or one has another shape.

    Example:
        >>> figure = growing({"data": np.eye(2), "epoch 1": np.zeros((3, 2))})
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['data', 'epoch 1']
    """
    if not clouds:
        raise InputError("no clouds to draw", "growing")
    tables = {name: np.asarray(rows, np.float64) for name, rows in clouds.items()}
    for name, rows in tables.items():
        if rows.ndim != 2 or rows.shape[1] != 2:
            raise InputError(f"{name} has shape {rows.shape}", "growing", "give rows (n, 2)")
    first = next(iter(tables.values()))
    low, high = first.min(axis=0), first.max(axis=0)
    room = 0.25 * ((high - low).max() if same_unit else high - low)
    low, high = low - room, high + room
    fig, places = panels(len(tables))
    for place, (ax, (name, rows)) in enumerate(zip(places, tables.items(), strict=True)):
        inside = ((rows >= low) & (rows <= high)).all(axis=1)
        shown = rows[inside]
        colour = BLUE if place else INK
        ax.plot(shown[:, 0], shown[:, 1], ".", color=colour, markersize=1.6, rasterized=True)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        tidy(ax, size=9.5)
        lost = len(rows) - len(shown)
        caption(ax, label(name, 26), [f"{lost} of {len(rows)} points outside"] if lost else [])
    fig.supxlabel(axes[0], fontsize=10, color=INK, parse_math=False)
    fig.supylabel(axes[1], fontsize=10, color=INK, parse_math=False)
    fit_height(fig, float((high[1] - low[1]) / (high[0] - low[0])) if same_unit else 1.0)
    return fig
