"""Figures of what a model with latent variables has learned, and of cells that it filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import (
    BLUE,
    BROAD,
    GREY,
    INK,
    PALE,
    SKY,
    VERMILION,
    WIDTH,
    finite,
    heading,
    label,
    legend,
    number,
    sheet,
    style,
    tidy,
)

_POINTS = 1000  # of a cloud
_LINES = 6  # of a panel
_BARS = 40
_FEW = 30  # values that are marked one by one


def bound_curves(metrics: Mapping[str, ArrayLike], trained: str) -> Figure:
    """Draw the bounds of the training and of the validation rows against the step.

    Args:
        metrics: `step` `(n,)`, the bounds `training` and `validation` in nats per row, and `rate`.
        trained: the bound that was trained.

    Returns:
        A figure; the best validation step is marked. Training bounds far below those of the
        validation rows are left out and counted.

    Raises:
        InputError: when a column is missing or its length differs.

    Example:
        >>> columns = {"step": [1, 2], "training": [-3, -2], "validation": [-3, -2], "rate": [1, 1]}
        >>> bound_curves(columns, "ELBO").axes[0].get_ylabel()
        'lower bound of log p\\n(nats per row)'
    """
    names = ("step", "training", "validation", "rate")
    columns = {name: np.asarray(metrics.get(name, ()), np.float64) for name in names}
    step = columns["step"]
    if not step.size or any(column.shape != step.shape for column in columns.values()):
        raise InputError("the columns of the metrics do not fit together", "bound_curves")
    fig = sheet(4.4)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    looks = (("training", SKY, "--", f"training: {trained}"), ("validation", BLUE, "-", "held out"))
    low = _lowest(columns["training"], columns["validation"])
    for name, colour, dash, text in looks:
        seen = np.flatnonzero(np.isfinite(columns[name]))
        y = np.where(columns[name][seen] < low, np.nan, columns[name][seen])  # the line breaks
        marker = "." if name == "training" and len(seen) <= _FEW else ""
        drawn = {"color": colour, "linestyle": dash, "marker": marker}
        top.plot(step[seen], y, **drawn, linewidth=1.8, label=text)
    validation = columns["validation"]
    if np.isfinite(validation).any():
        best = int(np.nanargmax(np.where(np.isfinite(validation), validation, np.nan)))
        text = f"kept, step {step[best]:,.0f}"
        top.plot(step[best], validation[best], "D", color=VERMILION, markersize=6, label=text)
    lost = finite(columns["training"][columns["training"] < low])
    text = f"{lost.size} training value{'s' if lost.size > 1 else ''} not drawn, down to "
    heading(top, f"{text}{number(lost.min(), 2)}" if lost.size else "", 9)
    tidy(top, "", "lower bound of log p\n(nats per row)")
    legend(top, loc="lower right")
    bottom.plot(step, np.where(columns["rate"] > 0, columns["rate"], np.nan), color=INK)
    bottom.set_yscale("log")
    tidy(bottom, "step", "learning rate")
    bottom.minorticks_off()
    bottom.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    fig.align_ylabels([top, bottom])
    return fig


def _lowest(training: np.ndarray, validation: np.ndarray) -> float:
    """Return the lowest bound that is drawn: not far below those of the validation rows."""
    held_out, both = finite(validation), finite(np.concatenate([training, validation]))
    if not held_out.size:
        return -math.inf
    return float(held_out.min() - 0.5 * (both.max() - held_out.min()))


def activities(variance: ArrayLike, limit: float) -> Figure:
    """Draw how much each latent variable varies from row to row, the most active first.

    Args:
        variance: of the posterior means over rows `(L,)`; at most 40 are drawn.
        limit: above which a latent variable is active.

    Raises:
        InputError: when there is no latent variable.

    Example:
        >>> activities([0.9, 0.001], 0.01).axes[0].get_yscale()
        'log'
    """
    values = np.asarray(variance, np.float64).ravel()
    if not values.size:
        raise InputError("no latent variables to draw", "activities")
    order = np.argsort(-values, kind="stable")[:_BARS]
    floor = limit / 100
    shown = np.maximum(values[order], floor)
    fig = sheet(3.2)
    ax = fig.subplots()
    ax.set_yscale("log")
    active = values[order] > limit
    at = np.arange(len(order))
    ax.plot(at[active], shown[active], "o", color=BLUE, markersize=6, label="active")
    ax.plot(at[~active], shown[~active], "s", color=GREY, mfc="white", label="not in use")
    ax.axhline(limit, color=VERMILION, linestyle="--", linewidth=1.2, label=f"limit {limit:g}")
    ax.set_ylim(floor / 2, 3 * max(shown.max(), 1.0))
    step = -(-len(order) // 16)
    ax.set_xticks(at[::step], [str(i + 1) for i in order[::step]])
    ax.set_xlim(-0.7, len(order) - 0.3)
    ax.grid(axis="y", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax, "latent variable (its number)", "variance of its posterior\nmean over rows (no unit)")
    low = int(np.sum(values[order] < floor))
    text = [f"{low} below {floor:g} drawn there"] if low else []
    text += [f"the {_BARS} most active of {len(values)}"] if len(values) > _BARS else []
    heading(ax, "; ".join(text), 9)
    ax.legend(fontsize=9, frameon=False, ncols=3, loc="upper right")
    return fig


def rebuilt_columns(columns: Mapping[str, Mapping[str, ArrayLike]], most: int = 12) -> Figure:
    """Draw rebuilt cells against observed ones, a panel for each column, the worst first.

    Args:
        columns: name → `observed` and `rebuilt` `(n,)`, in the unit of the column.
        most: panels.

    Returns:
        The figure; headings tell R², the share of the variance that is rebuilt. At most 1,000
        points a panel, evenly taken; R² is that of all.

    Raises:
        InputError: when there is no column.

    Example:
        >>> found = rebuilt_columns({"a": {"observed": [0.0, 1.0], "rebuilt": [0.0, 1.0]}})
        >>> found.axes[0].get_title(loc="left")
        'a · R² 1.00'
    """
    if not columns:
        raise InputError("no columns to draw", "rebuilt_columns")
    scores = {name: r_squared(pair["observed"], pair["rebuilt"]) for name, pair in columns.items()}
    names = sorted(columns, key=lambda name: scores[name]) if len(columns) > most else list(columns)
    names = names[:most]
    across = min(3, len(names))
    down = -(-len(names) // across)
    fig = sheet(0.5 + 2.2 * down if across > 1 else 3.6, BROAD if across > 1 else WIDTH)
    panels = fig.subplots(down, across, squeeze=False).ravel()
    for ax, name in zip(panels, names, strict=False):
        pair = np.stack([np.asarray(columns[name][k], float) for k in ("observed", "rebuilt")])
        ends = np.quantile(pair[0], [0.0, 1.0])
        step = max(pair.shape[1] // _POINTS, 1)
        ax.plot(*pair[:, ::step], ".", color=BLUE, markersize=3, alpha=0.5, rasterized=True)
        ax.plot(ends, ends, color=INK, linewidth=1, linestyle="--")
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        tidy(ax, size=9.5)
        heading(ax, f"{label(name, 18)} · R² {scores[name]:.2f}".replace("-", "−"), 9.5)
    for ax in panels[len(names) :]:
        ax.remove()
    fig.supxlabel("observed, in the column’s own unit", fontsize=10, color=INK)
    fig.supylabel("rebuilt, in the same unit", fontsize=10, color=INK)
    return fig


def r_squared(observed: ArrayLike, rebuilt: ArrayLike) -> float:
    """Return 1 - Σ (rebuilt - observed)²/Σ (mean - observed)²; nan where nothing varies."""
    x, y = np.asarray(observed, np.float64), np.asarray(rebuilt, np.float64)
    total = float(np.sum((x - x.mean()) ** 2))
    return 1.0 - float(np.sum((y - x) ** 2)) / total if total > 0 else math.nan


def responses(panels: Mapping[str, Mapping[str, ArrayLike]], at: ArrayLike) -> Figure:
    """Draw what the decoder makes of each column as one latent variable moves.

    Args:
        panels: name of a latent variable → column → its value `(s,)`, in standard deviations of
            the column. The six that move most are drawn.
        at: of the latent variable `(s,)`, in standard deviations.

    Raises:
        InputError: when there is no panel, or one without a line.

    Example:
        >>> responses({"z₁": {"a": [0.0, 1.0]}}, [-1, 1]).axes[0].get_title(loc="left")
        'z₁'
    """
    if not panels or not all(panels.values()):
        raise InputError("no panel, or a panel without a line", "responses")
    x = np.asarray(at, np.float64)
    across = 2 if len(panels) > 1 else 1
    down = -(-len(panels) // across)
    fig = sheet(0.5 + 3.4 * down, BROAD if across > 1 else WIDTH)
    places = fig.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, (name, lines) in zip(places, panels.items(), strict=False):
        moves = {key: float(np.ptp(np.asarray(line))) for key, line in lines.items()}
        shown = sorted(moves, key=lambda key: -moves[key])[:_LINES]
        for place, key in enumerate(shown):
            look, y = style(place), np.asarray(lines[key], np.float64)
            drawn = {"color": look.colour, "linestyle": look.dash, "marker": look.marker}
            marks = slice(place, None, max(len(x) // 5, 1))
            ax.plot(x, y, color=look.colour, linestyle=look.dash, linewidth=1.6)
            ax.plot(x[marks], y[marks], look.marker, color=look.colour, markersize=4.5)
            ax.plot([], [], **drawn, markersize=4.5, label=label(key, 22))
        ax.axhline(0.0, color=GREY, linewidth=0.8, linestyle=":")
        tidy(ax, size=9.5)
        ax.tick_params(labelbottom=True)
        heading(ax, name, 11)
        ax.legend(
            fontsize=8,
            frameon=False,
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.1),
            columnspacing=1.0,
            handlelength=2.6,
        )
    for ax in places[len(panels) :]:
        ax.remove()
    unit = "latent variable (standard deviations of the posterior means)"
    fig.supxlabel(unit, fontsize=10, color=INK)
    fig.supylabel("decoder’s mean (standard deviations of the column)", fontsize=10, color=INK)
    return fig


def gains(entries: Sequence[tuple[str, float, float, float, int]]) -> Figure:
    """Draw the share of the error that imputation takes away, with 95% intervals.

    Args:
        entries: `(column, gain, low, high, cells)`, the first one on top; an end of an interval
            may be nan.

    Raises:
        InputError: when there is nothing to draw.

    Example:
        >>> figure = gains([("a", 0.5, 0.3, 0.7, 40)])
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['a (40 cells)']
    """
    if not entries:
        raise InputError("no columns to draw", "gains")
    table = np.array([entry[1:4] for entry in entries], np.float64)
    fig = sheet(1.25 + 0.3 * len(entries))
    ax = fig.subplots()
    at = np.arange(len(entries))
    known = np.isfinite(table).all(axis=1)
    ends = np.clip(table, -1.0, 1.0)
    ax.hlines(at[known], ends[known, 1], ends[known, 2], color=BLUE, linewidth=1.6)
    sure = known & ((table[:, 1] > 0) | (table[:, 2] < 0))
    for picked, filled, text in (
        (sure, BLUE, "differs from 0 by more than chance"),
        (~sure, "white", "does not"),
    ):
        ax.plot(
            ends[picked, 0], at[picked], "o", color=BLUE, mfc=filled, markersize=6.5, label=text
        )
    ax.axvline(0.0, color=GREY, linewidth=1, linestyle=":")
    names = [f"{label(name, 20)} ({n:,} cells)" for name, *_, n in entries]
    ax.set_yticks(at, names, parse_math=False)
    ax.set_ylim(len(entries) - 0.5, -0.5)
    ax.set_xlim(min(-0.05, float(np.nanmin(ends, initial=0.0)) - 0.05), 1.02)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.grid(axis="x", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax, "share of the error taken away (100%: every cell right)")
    ax.tick_params(axis="y", length=0)
    fig.legend(loc="outside upper left", ncols=2, fontsize=9, frameon=False)
    lost = int(np.sum(table[:, :2] < -1.0))
    heading(ax, f"{lost} values below {number(-1.0)} drawn at the edge" if lost else "", 9)
    return fig


def missing_shares(columns: Mapping[str, int], n: int) -> Figure:
    """Draw the share of the cells of each column that is missing, the largest first.

    Args:
        columns: name → missing cells; at most 30 are drawn.
        n: rows.

    Raises:
        InputError: when nothing is missing.

    Example:
        >>> missing_shares({"a": 1, "b": 3}, 10).axes[0].get_yticklabels()[0].get_text()
        'b'
    """
    if not columns or n < 1:
        raise InputError("no missing cells to draw", "missing_shares")
    names = sorted(columns, key=lambda name: -columns[name])[:30]
    fig = sheet(0.9 + 0.27 * len(names))
    ax = fig.subplots()
    at = np.arange(len(names))
    shares = [columns[name] / n for name in names]
    ax.barh(at, shares, height=0.6, color=SKY)
    for row, name in enumerate(names):
        ax.annotate(
            f"{columns[name]:,}",
            (shares[row], row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=INK,
        )
    ax.set_yticks(at, [label(name) for name in names], parse_math=False)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.set_xlim(0, min(1.0, 1.15 * max(shares)) or 1.0)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    tidy(ax, f"missing cells (share of {n:,} rows; their number beside the bar)")
    ax.tick_params(axis="y", length=0)
    return fig
