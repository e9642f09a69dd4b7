"""Curves: convergence on logarithmic axes beside theory, and lines in stacked panels.

A quantity that falls as C/t^a is a straight line of slope -a on two logarithmic axes, one that
falls as C ρ^t is straight where only the vertical axis is logarithmic; drawn beside a rate of
theory the slopes can be compared by eye. Values of 0 or less have no logarithm: they are drawn at
a floor, which the figure states.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import (
    GREY,
    INK,
    PALE,
    caption,
    heading,
    key,
    label,
    legend,
    number,
    sheet,
    style,
    tidy,
)

Curve = tuple[ArrayLike, ArrayLike]
"""x `(n,)` and y `(n,)`."""


def convergence(
    curves: Mapping[str, Curve],
    rates: Mapping[str, Curve] | None = None,
    xlabel: str = "iteration",
    ylabel: str = "gap (no unit)",
    *,
    logx: bool = True,
    logy: bool = True,
    title: str = "",
) -> Figure:
    """Draw how quantities fall, and the rates that theory promises as thin dashed lines.

    Args:
        curves: name → `(x, y)`, each `(n,)`; entries that are not finite are left out and counted.
        rates: name → `(x, y)` of theory, such as "1/√t"; they do not widen the picture below the
            curves.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
        logx: whether x is logarithmic; then points with x ≤ 0 are left out and counted.
        logy: whether y is logarithmic; then values of 0 or less are drawn at the floor, a power
            of ten below the least positive value, which the figure states.
        title: written above the picture.

    Returns:
        The figure.

    Raises:
        InputError: when there is no curve, lengths differ, or nothing can be drawn.

    Example:
        >>> t = np.arange(1, 100)
        >>> figure = convergence({"Hedge": (t, 1 / t)}, {"1/√t": (t, t**-0.5)}, "round", "gap")
        >>> figure.axes[0].get_yscale(), figure.axes[0].get_ylabel()
        ('log', 'gap')
    """
    where = "convergence"
    if not curves:
        raise InputError("no curves to draw", where, "give at least one")
    lines = {name: _curve(curve, name, where) for name, curve in curves.items()}
    theory = {name: _curve(curve, name, where) for name, curve in (rates or {}).items()}
    seen = {name: _visible(x, y, logx) for name, (x, y) in lines.items()}
    shown = np.concatenate([y for _, y in seen.values()])
    floor = _floor(shown) if logy else -np.inf
    if shown.size == 0:
        raise InputError("no finite point to draw", where)
    fig = sheet(3.9 + 0.2 * ((len(lines) + len(theory) + 1) // 2))
    ax = fig.subplots()
    ax.set_xscale("log" if logx else "linear")
    ax.set_yscale("log" if logy else "linear")
    entries = []
    for place, (name, (x, y)) in enumerate(seen.items()):
        entries.append(_line(ax, x, np.maximum(y, floor), place, name))
    entries += _theory(ax, theory)
    ax.grid(color=PALE, linewidth=0.5)
    ax.set_axisbelow(True)
    tidy(ax, xlabel, ylabel)
    caption(ax, title, _left_out(lines, seen, floor if logy else None), width=66)
    key(fig, entries, 2)
    return fig


def curves(
    x: ArrayLike,
    stacked: Mapping[str, Mapping[str, ArrayLike]],
    xlabel: str = "epoch",
    *,
    log: Collection[str] = (),
    title: str = "",
) -> Figure:
    """Draw named lines against one shared x, in panels one above the other.

    Args:
        x: `(n,)`, the same for every line.
        stacked: name of a vertical axis, with its unit → line name → `(n,)`; a panel each, the
            first on top. Entries that are not finite (or, on a logarithmic axis, not positive)
            are left out and counted.
        xlabel: what x is, with its unit.
        log: the vertical axes, by name, that are logarithmic.
        title: written above the first panel.

    Returns:
        The figure.

    Raises:
        InputError: when there is no panel or line, a length differs, or `log` names no panel.

    Example:
        >>> figure = curves([1, 2], {"loss (nats)": {"train": [3, 2]}, "norm": {"D": [1, 1]}})
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['loss (nats)', 'norm']
    """
    where = "curves"
    across = np.asarray(x, np.float64)
    if not stacked or not all(stacked.values()):
        raise InputError("no panel, or a panel without a line", where, "give at least one line")
    if unknown := set(log) - set(stacked):
        raise InputError(f"log names no panel: {sorted(unknown)}", where, f"use {list(stacked)}")
    fig = sheet(0.8 + 2.1 * len(stacked))
    places = fig.subplots(len(stacked), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (ylabel, lines) in zip(places, stacked.items(), strict=True):
        lost = 0
        for place, (name, given) in enumerate(lines.items()):
            _, y = _curve((across, given), name, where)
            keep = np.isfinite(across) & np.isfinite(y) & ((y > 0) | (ylabel not in log))
            lost += int((~keep).sum())
            line = _line(ax, across[keep], y[keep], place, name)
            ax.plot([], [], **_look(line), label=label(name))
        ax.set_yscale("log" if ylabel in log else "linear")
        ax.grid(color=PALE, linewidth=0.5)
        ax.set_axisbelow(True)
        tidy(ax, "", ylabel)
        legend(ax, loc="best")
        why = "not finite or not positive" if ylabel in log else "not finite"
        text = f"{lost} value{'s' if lost > 1 else ''} {why}, left out" if lost else ""
        if ax is places[0]:
            caption(ax, title, [text], width=66)
        else:
            heading(ax, text, 9)
    places[-1].set_xlabel(xlabel, fontsize=10, color=INK, parse_math=False)
    return fig


def _theory(ax: Axes, rates: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[Line2D]:
    """Draw the rates of theory, thin and dashed; the picture keeps to the curves."""
    low, high = ax.get_ylim()
    logx, logy = ax.get_xscale() == "log", ax.get_yscale() == "log"
    top, entries = high, []
    for place, (name, curve) in enumerate(rates.items()):
        x, y = _visible(*curve, logx)
        keep = y > 0 if logy else np.ones(y.shape, bool)
        dash = ((0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))[place % 3]
        look: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "linestyle": dash}
        ax.plot(x[keep], y[keep], zorder=1, **look)
        top = max(top, float(y[keep].max(initial=-np.inf)))
        entries.append(Line2D([], [], label=f"theory: {label(name)}", **look))
    room = 30 * high if logy else high + (high - low)
    ax.set_ylim(low, min(top, room))
    return entries


def _curve(curve: Curve, name: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a curve, both `(n,)` float64."""
    if len(curve) != 2:
        raise InputError(f"{name} has {len(curve)} parts", where, "give (x, y)")
    x, y = (np.asarray(part, np.float64) for part in curve)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"{name} has x of shape {x.shape} and y of shape {y.shape}", where)
    return x, y


def _visible(x: np.ndarray, y: np.ndarray, logx: bool) -> tuple[np.ndarray, np.ndarray]:
    keep = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not logx))
    return x[keep], y[keep]


def _floor(shown: np.ndarray) -> float:
    """Return the power of ten below the least positive value; 1e-16 if there is none."""
    positive = shown[shown > 0]
    return float(10.0 ** np.floor(np.log10(positive.min()) - 1e-9)) if positive.size else 1e-16


def _line(ax: Axes, x: np.ndarray, y: np.ndarray, place: int, name: str) -> Line2D:
    """Draw a line with a few marks on it, shifted from line to line; return its legend entry."""
    colour, dash, marker = style(place)
    marks = np.unique(np.linspace(0, len(x) - 1, 6).astype(int)) if len(x) else np.empty(0, int)
    if ax.get_xscale() == "log" and len(x):
        evenly = np.geomspace(x[0], x[-1], 8) * (x[-1] / x[0]) ** (place / 60)
        marks = np.unique(np.clip(np.searchsorted(x, evenly), 0, len(x) - 1))
    ax.plot(x, y, color=colour, linestyle=dash, linewidth=1.7, zorder=3)
    ax.plot(
        x[marks], y[marks], marker, color=colour, markersize=5.5, mec="white", mew=0.6, zorder=4
    )
    return Line2D(
        [], [], color=colour, linestyle=dash, marker=marker, markersize=5.5, label=label(name)
    )


def _look(line: Line2D) -> dict:
    """Return the look of a legend's entry as options of `plot`."""
    return {
        "color": line.get_color(),
        "linestyle": line.get_linestyle(),
        "marker": line.get_marker(),
        "markersize": line.get_markersize(),
    }


def _left_out(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    seen: Mapping[str, tuple[np.ndarray, np.ndarray]],
    floor: float | None,
) -> list[str]:
    """Say what is not drawn where it is: points left out, values at the floor."""
    said = []
    lost = sum(len(x) for x, _ in lines.values()) - sum(len(x) for x, _ in seen.values())
    if lost:
        said.append(f"{lost} point{'s' if lost > 1 else ''} not finite or at x ≤ 0, left out")
    low = sum(int((y <= 0).sum()) for _, y in seen.values())
    if floor is not None and low:
        what = "value of 0 or less is" if low == 1 else "values of 0 or less are"
        said.append(f"{low} {what} drawn at the floor {number(floor, 1)}")
    return said
