"""Figures of a game of two players: its curves, who can be told apart, who has which neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    finite,
    heading,
    label,
    sheet,
    tidy,
)

LOG_2 = math.log(2.0)
_FEW = 12
_COLUMNS = ("step", "jsd", "jsd_se", "discriminator", "generator", "gradient_norm")


def game_curves(
    metrics: Mapping[str, ArrayLike],
    *,
    losses_if_same: tuple[float, float] = (math.nan, math.nan),
    implied: tuple[str, ArrayLike, float] | None = None,
) -> Figure:
    """Draw how far samples are from the data during training, both losses, and the gradients.

    Args:
        metrics: `step`, `jsd` and `jsd_se` (held out, nats), the losses `discriminator` and
            `generator`, and `gradient_norm`, `(n,)` each; entries that are not finite are left out.
        losses_if_same: the losses of both players where samples follow the law of the data.
        implied: what the discriminator's loss would imply: name with unit, values `(n,)`, and the
            largest value there can be. In nats with largest value log 2 it is drawn beside the
            held-out divergence, else in a panel of its own.

    Returns:
        The figure; a diamond marks the weights that were kept, those of least held-out divergence.

    Raises:
        InputError: when a column is missing or its length differs.

    Example:
        >>> columns = ("jsd", "jsd_se", "discriminator", "generator", "gradient_norm")
        >>> figure = game_curves({"step": [1, 2], **dict.fromkeys(columns, [0.5, 0.4])})
        >>> [ax.get_ylabel() for ax in figure.axes]
        ['divergence (nats)', 'loss', 'gradient norm']
    """
    missing = [name for name in _COLUMNS if name not in metrics]
    columns = {name: np.asarray(metrics.get(name, ()), np.float64) for name in _COLUMNS}
    step = columns["step"]
    if missing or any(column.shape != step.shape for column in columns.values()):
        raise InputError(
            "the columns of the metrics do not fit together", "game_curves", f"give {_COLUMNS}"
        )
    beside = implied is not None and math.isclose(implied[2], LOG_2)
    own = implied is not None and not beside
    heights = [2.2, *([1.5] if own else []), 2.0, 1.2]
    fig = sheet(0.9 + sum(heights))
    places = list(fig.subplots(len(heights), 1, sharex=True, height_ratios=heights))
    _distance(places[0], columns, implied if beside else None)
    if implied is not None and own:
        _implied(places[1], step, implied)
    _losses(places[-2], columns, losses_if_same)
    norm = np.where(columns["gradient_norm"] > 0, columns["gradient_norm"], np.nan)
    _line(places[-1], step, norm, INK, "-", "gradient norm")
    places[-1].set_yscale("log")
    if np.isfinite(norm).any():
        places[-1].set_ylim(0.7 * np.nanmin(norm), 1.4 * np.nanmax(norm))
    places[-1].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    places[-1].yaxis.set_major_formatter("{x:g}")
    places[-1].yaxis.set_minor_locator(NullLocator())
    tidy(places[-1], "step", "gradient norm")
    places[-1].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    fig.align_ylabels(places)
    return fig


def _implied(ax: Axes, step: np.ndarray, implied: tuple[str, ArrayLike, float]) -> None:
    """Draw what the discriminator's loss implies, over the whole range that it can have."""
    name, given, most = implied
    values = np.asarray(given, np.float64)
    _line(ax, step, values, PURPLE, "--", "implied")
    ax.axhline(0.0, color=GREY, linewidth=1, linestyle=":")
    if math.isfinite(most):
        low = float(np.min(finite(values), initial=0.0))
        ax.set_ylim(low - 0.08 * most, 1.05 * most)
    tidy(ax, "", name)


def _distance(
    ax: Axes, columns: Mapping[str, np.ndarray], implied: tuple[str, ArrayLike, float] | None
) -> None:
    """Draw the held-out divergence with its band, and what the loss implies."""
    step, jsd, se = columns["step"], columns["jsd"], columns["jsd_se"]
    seen = np.isfinite(jsd)
    wide = 1.96 * np.where(np.isfinite(se), se, 0.0)
    ax.fill_between(step[seen], (jsd - wide)[seen], (jsd + wide)[seen], color=SKY, alpha=0.35)
    _line(ax, step, jsd, BLUE, "-", "held out, 95% band")
    if implied is not None:
        _line(ax, step, np.asarray(implied[1], np.float64), PURPLE, "--", "implied by the loss")
    if seen.any():
        best = int(np.nanargmin(np.where(seen, jsd, np.nan)))
        text = f"kept, step {step[best]:,.0f}"
        ax.plot(step[best], jsd[best], "D", color=VERMILION, markersize=6, zorder=5, label=text)
    for level, text in ((0.0, "0: the same law"), (LOG_2, "log 2: told apart")):
        ax.axhline(level, color=GREY, linewidth=1, linestyle=":")
        ax.annotate(
            text,
            (1.0, level),
            xycoords=ax.get_yaxis_transform(),
            xytext=(-2, 2 if level else -2),
            textcoords="offset points",
            ha="right",
            va="bottom" if level else "top",
            fontsize=8.5,
            color=INK,
        )
    low = min(0.0, float(np.min(finite(jsd), initial=0.0)))
    ax.set_ylim(max(low, -0.2) - 0.1, LOG_2 + 0.09)
    tidy(ax, "", "divergence (nats)")
    _above(ax, 3)


def _losses(ax: Axes, columns: Mapping[str, np.ndarray], if_same: tuple[float, float]) -> None:
    """Draw both losses, and where they would lie if samples followed the law of the data."""
    step = columns["step"]
    looks = (("discriminator", GREEN, "-"), ("generator", VERMILION, "--"))
    for (name, colour, dash), same in zip(looks, if_same, strict=True):
        _line(ax, step, columns[name], colour, dash, name)
        if math.isfinite(same):
            ax.axhline(same, color=colour, linewidth=1, linestyle=":")
    if any(map(math.isfinite, if_same)):
        ax.plot([], [], ":", color=GREY, label="if laws agree")
    late = finite(np.concatenate([columns[name][len(step) // 10 :] for name, _, _ in looks]))
    if late.size:
        low, high = np.quantile(np.append(late, finite(if_same)), [0.0, 1.0])
        room = 0.08 * (high - low) or 0.5
        ax.set_ylim(low - room, high + room)
    tidy(ax, "", "loss")
    _above(ax, 3)


def _line(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str, dash: str, name: str) -> None:
    seen = np.isfinite(y)
    marker = "o" if seen.sum() <= _FEW else ""  # a single point is no line
    look = {"linestyle": dash, "marker": marker, "markersize": 3.5}
    ax.plot(x[seen], y[seen], color=colour, linewidth=1.7, label=name, **look)


def _above(ax: Axes, columns: int) -> None:
    """Put the legend above the panel, where it hides nothing."""
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.99),
        ncols=columns,
        fontsize=8.5,
        frameon=False,
        borderaxespad=0.1,
        columnspacing=1.0,
        handlelength=2.0,
        handletextpad=0.5,
    )


def told_apart(entries: Sequence[tuple[str, float, float, bool]]) -> Figure:
    """Draw how far apart two samples are in each column, with 95% intervals.

    Args:
        entries: `(label, divergence in nats, standard error, whether it is more than chance)`, the
            first one on top: full circles where more than chance, open ones where not.

    Raises:
        InputError: when there is nothing to draw.

    Example:
        >>> figure = told_apart([("all columns", 0.2, 0.02, True), ("a", 0.01, 0.02, False)])
        >>> figure.axes[0].get_xlabel()
        'Jensen–Shannon divergence (nats)'
    """
    if not entries:
        raise InputError("no columns to draw", "told_apart")
    fig = sheet(1.25 + 0.3 * len(entries))
    ax = fig.subplots()
    for row, (_, value, se, sure) in enumerate(entries):
        ax.errorbar(
            value,
            row,
            xerr=1.96 * se if math.isfinite(se) else None,
            fmt="o",
            color=BLUE,
            mfc=BLUE if sure else "white",
            capsize=3,
            markersize=6.5,
        )
    marks = {"marker": "o", "linestyle": "none", "color": BLUE, "markersize": 6.5}
    ax.plot([], [], **marks, label="differs by more than chance")
    ax.plot([], [], **marks, mfc="white", label="not told apart")
    ax.set_yticks(range(len(entries)), [label(entry[0]) for entry in entries], parse_math=False)
    ax.set_ylim(len(entries) - 0.5, -0.5)
    most = max(value + 1.96 * se for _, value, se, _ in entries if math.isfinite(se))
    ax.axvline(0.0, color=GREY, linewidth=1, linestyle=":")
    if most > 0.8 * LOG_2:
        ax.axvline(LOG_2, color=GREY, linewidth=1, linestyle=":")
    ax.set_xlim(right=max(1.05 * most, 0.02))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(axis="x", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax, "Jensen–Shannon divergence (nats)")
    ax.tick_params(axis="y", length=0)
    fig.legend(loc="outside upper left", ncols=2, fontsize=9, frameon=False)
    return fig


def neighbours(groups: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw shares such as precision and recall of several samples beside each other.

    Args:
        groups: name of a sample → figure → its value; the same figures for each.

    Raises:
        InputError: when there is no sample or no figure.

    Example:
        >>> figure = neighbours({"samples": {"recall": 0.5}, "real rows": {"recall": 0.9}})
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['recall']
    """
    if not groups or not all(groups.values()):
        raise InputError("no figures to draw", "neighbours")
    names = list(next(iter(groups.values())))
    fig = sheet(1.1 + 0.42 * len(names))
    ax = fig.subplots()
    looks = ((VERMILION, "o"), (BLUE, "s"), (GREEN, "^"))
    for (name, values), (colour, marker) in zip(groups.items(), looks, strict=False):
        ax.plot(
            [values[key] for key in names],
            range(len(names)),
            marker,
            color=colour,
            markersize=8,
            mfc=colour if marker == "o" else "none",
            mew=1.8,
            label=name,
        )
    ax.set_yticks(range(len(names)), names, parse_math=False)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, max(1.05, 1.05 * max(max(v.values()) for v in groups.values())))
    ax.grid(axis="both", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax, "share (no unit)")
    ax.tick_params(axis="y", length=0, labelsize=10)
    fig.legend(loc="outside upper left", ncols=3, fontsize=9, frameon=False)
    return fig


def level_shares(columns: Mapping[str, Mapping[str, tuple[float, float]]]) -> Figure:
    """Draw the shares of the levels of categorical columns: data as bars, samples as marks.

    Args:
        columns: name → level → its share in the data and in the samples; at most 12 columns of at
            most 12 levels are legible.

    Raises:
        InputError: when there is no column or a column has no level.

    Example:
        >>> figure = level_shares({"city": {"oslo": (0.5, 0.4), "rome": (0.5, 0.6)}})
        >>> figure.axes[0].get_title(loc="left")
        'city'
    """
    if not columns or not all(columns.values()):
        raise InputError("no levels to draw", "level_shares")
    heights = [0.55 + 0.25 * len(levels) for levels in columns.values()]
    fig = sheet(0.75 + sum(heights))
    places = fig.subplots(len(columns), 1, sharex=True, squeeze=False, height_ratios=heights)
    for i, (ax, (name, levels)) in enumerate(zip(places[:, 0], columns.items(), strict=True)):
        at = np.arange(len(levels))
        data, samples = np.array(list(levels.values()), np.float64).T
        ax.barh(at, data, height=0.65, color=BLUE, alpha=0.4, label="" if i else "data")
        ax.plot(samples, at, "o", color=VERMILION, markersize=6, label="" if i else "samples")
        ax.set_yticks(at, [label(level, 20) for level in levels], parse_math=False)
        ax.set_ylim(len(levels) - 0.45, -0.55)
        ax.grid(axis="x", color=PALE, linewidth=0.6)
        ax.set_axisbelow(True)
        tidy(ax, "", size=9.5)
        heading(ax, label(name, 40), 9.5)
    most = max(share for levels in columns.values() for pair in levels.values() for share in pair)
    places[-1, 0].set_xlim(0, 1.05 * most or 1.0)  # of every panel: they share the axis
    places[-1, 0].set_xlabel("share of rows (no unit)", fontsize=10, color=INK)
    marks, words = places[0, 0].get_legend_handles_labels()
    fig.legend(
        marks[::-1], words[::-1], loc="outside upper left", ncols=2, fontsize=9, frameon=False
    )
    return fig
