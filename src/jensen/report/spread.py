"""Figures of estimates with their errors, of densities on a line, and of calibration curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import BLUE, GREY, INK, PALE, VERMILION, legend, sheet, style, tidy


def estimates(
    entries: Sequence[tuple[str, float, float, float]],
    *,
    unit: str,
    limit: tuple[float, str] | None = None,
) -> Figure:
    """Draw estimates with 95% intervals, and the truth of each.

    Args:
        entries: `(label, estimate, standard error, truth)`, the first one on top.
        unit: of the horizontal axis.
        limit: a value that no estimate can exceed, and its name.

    Raises:
        InputError: when there is nothing to draw.

    Example:
        >>> figure = estimates([("a", 0.1, 0.01, 0.11)], unit="nats")
        >>> figure.axes[0].get_xlabel()
        'nats'
    """
    if not entries:
        raise InputError("no estimates to draw", "estimates")
    fig = sheet(1.2 + 0.34 * len(entries))
    ax = fig.subplots()
    for row, (_, value, se, truth) in enumerate(entries):
        ax.errorbar(value, row, xerr=1.96 * se, fmt="o", color=BLUE, capsize=4, markersize=6)
        ax.plot(truth, row, "|", color=VERMILION, markersize=16, markeredgewidth=2.2)
    ax.plot([], [], "o-", color=BLUE, label="estimate, 95% interval")
    ax.plot([], [], "|", color=VERMILION, markersize=12, markeredgewidth=2.2, label="truth")
    if limit is not None:
        ax.axvline(limit[0], color=GREY, linestyle=":", linewidth=1.2, label=limit[1])
    ax.set_yticks(range(len(entries)), [entry[0] for entry in entries], parse_math=False)
    ax.set_ylim(len(entries) - 0.5, -0.5)
    ax.grid(axis="x", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax, unit)
    legend(ax, loc="best")
    return fig


def densities(
    x: ArrayLike, curves: Mapping[str, ArrayLike], *, unit: str = "x (no unit)"
) -> Figure:
    """Draw densities on a line.

    Args:
        x: points `(n,)`.
        curves: name → density `(n,)`.
        unit: of the horizontal axis.

    Raises:
        InputError: when there is no curve or a length differs.

    Example:
        >>> figure = densities([0.0, 1.0], {"uniform": [1.0, 1.0]})
        >>> figure.axes[0].get_ylabel()
        'density (per unit of x)'
    """
    at = np.asarray(x, np.float64)
    if not curves or any(np.shape(curve) != at.shape for curve in curves.values()):
        raise InputError(
            "the densities do not fit the points", "densities", "give one value a point"
        )
    fig = sheet(3.4)
    ax = fig.subplots()
    for place, (name, curve) in enumerate(curves.items()):
        look = style(place)
        ax.plot(at, curve, color=look.colour, linestyle=look.dash, linewidth=1.9, label=name)
    ax.set_xlim(at[0], at[-1])
    top = max(float(np.max(curve)) for curve in curves.values())
    ax.set_ylim(0, 1.45 * top)  # room for the names
    tidy(ax, unit, "density (per unit of x)")
    legend(ax, loc="upper left", ncols=2)
    return fig


def calibration(curves: Mapping[str, ArrayLike]) -> Figure:
    """Draw calibration curves: how often rows were of p, against what the discriminator said.

    Args:
        curves: name → `(bins, ≥3)`: mean D, share of p, its standard error.

    Raises:
        InputError: when there is no curve.

    Example:
        >>> figure = calibration({"D": [[0.2, 0.25, 0.05], [0.8, 0.78, 0.05]]})
        >>> figure.axes[0].get_xlabel()
        'D (no unit)'
    """
    if not curves:
        raise InputError("no calibration curves to draw", "calibration")
    fig = sheet(4.2)
    ax = fig.subplots()
    ax.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--", label="calibrated")
    for place, (name, rows) in enumerate(curves.items()):
        look, table = style(place), np.asarray(rows, np.float64)
        ax.errorbar(
            table[:, 0],
            table[:, 1],
            yerr=1.96 * table[:, 2],
            fmt=look.marker,
            color=look.colour,
            capsize=3,
            label=f"{name}, 95% intervals",
        )
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    tidy(ax, "D (no unit)", "share of rows of p (no unit)")
    legend(ax, loc="upper left")
    return fig
