"""Figures of training, likelihood and calibration.

Every function is pure: arrays in, a matplotlib `Figure` out, nothing global touched. Values that
are not finite are never drawn as if they were: they are left out or gathered at the edge, and the
figure says how many there were. All likelihoods are in nats per example, and losses
where no unit is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from scipy import stats

from jensen._errors import InputError
from jensen.report.canvas import (
    BLUE,
    GREY,
    INK,
    PALE,
    SKY,
    VERMILION,
    finite,
    heading,
    legend,
    number,
    sheet,
    tidy,
    with_error,
)


def learning_curves(metrics: Mapping[str, ArrayLike], unit: str = "nats per example") -> Figure:
    """Draw training and validation loss, and the learning rate, against the step.

    Args:
        metrics: `step` `(n,)` and any of `train_loss`, `validation_loss` (each `(n,)`, or
            `(n, members)` for an ensemble; lower is better) and
            `learning_rate` `(n,)`. Entries that are not finite are not drawn.
        unit: of the losses.

    Returns:
        A figure; the best validation step of each member is marked, and the loss axis is scaled
        to the last nine tenths of the run, so that the first steps may leave it at the top.

    Raises:
        InputError: when `step` or both losses are missing, or a column's length differs.

    Example:
        >>> figure = learning_curves({"step": [1, 2, 3], "train_loss": [3.0, 2.0, 1.5]})
        >>> figure.axes[0].get_ylabel()
        'loss (nats per example)'
    """
    step, losses, rate = _metrics(metrics)
    fig = sheet(4.4 if rate is not None else 3.4)
    panels = fig.subplots(
        2 if rate is not None else 1,
        1,
        sharex=True,
        squeeze=False,
        height_ratios=[3.2, 1] if rate is not None else [1],
    )[:, 0]
    ax = panels[0]
    for name, colour, style in (("train", SKY, "--"), ("validation", BLUE, "-")):
        if name in losses:
            _draw_members(ax, step, losses[name], name, colour, style)
    if "validation" in losses:
        _mark_best(ax, step, losses["validation"])
    _limit_losses(ax, losses)
    tidy(ax, "" if rate is not None else "step", f"loss ({unit})")
    if ax.get_legend_handles_labels()[0]:
        legend(ax, loc="upper right")
    if rate is not None:
        panels[1].plot(step, np.where(rate > 0, rate, np.nan), color=INK, linewidth=1.2)
        panels[1].set_yscale("log")
        tidy(panels[1], "step", "learning rate")
        panels[1].minorticks_off()
    panels[-1].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return fig


def likelihood_bars(entries: Sequence[tuple[str, float, float]]) -> Figure:
    """Draw mean held-out log-likelihoods side by side, each with an error bar.

    Zero has no meaning on a scale of log densities (it moves with the units of the data), so each
    mean is a point and not the length of a bar.

    Args:
        entries: `(label, mean, se)` in nats per example, the first one drawn on top; the bar
            spans 1.96 standard errors to each side. A mean of −∞ is written, not drawn.

    Returns:
        The figure.

    Raises:
        InputError: when `entries` is empty.

    Example:
        >>> figure = likelihood_bars([("flow", -3.1, 0.1), ("Gaussian", -4.0, 0.2)])
        >>> figure.axes[0].get_xlabel()
        'held-out log-likelihood (nats per row, right is better)'
    """
    if not entries:
        raise InputError("no likelihoods to draw", "likelihood_bars")
    fig = sheet(1.1 + 0.55 * len(entries))
    ax = fig.subplots()
    colours = [BLUE, *[GREY] * (len(entries) - 1)]
    shapes = ["o", *["s"] * (len(entries) - 1)]
    for row, (_, mean, se) in enumerate(entries):
        text = with_error(mean, se)
        if np.isfinite(mean):
            ax.errorbar(
                mean,
                row,
                xerr=1.96 * se if np.isfinite(se) else None,
                fmt=shapes[row],
                color=colours[row],
                capsize=4,
                linewidth=2,
                markersize=7,
            )
        x = mean if np.isfinite(mean) else 0.5
        across = ax.transData if np.isfinite(mean) else ax.get_yaxis_transform()
        ax.annotate(
            text,
            (x, row),
            xycoords=across,
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=9.5,
            color=INK,
        )
    ax.set_yticks(range(len(entries)), [entry[0] for entry in entries], parse_math=False)
    ax.set_ylim(len(entries) - 0.5, -0.75)
    ax.margins(x=0.25)
    ax.grid(axis="x", color=PALE, linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax, "held-out log-likelihood (nats per row, right is better)")
    ax.tick_params(axis="y", length=0, labelsize=10)
    return fig


def pit_histogram(u: ArrayLike) -> Figure:
    """Draw the histogram of probability integral transforms against the uniform law.

    Under a true model the values are uniform on [0, 1]. The grey band holds every bar at once
    with probability at least 95% under that law (binomial, Bonferroni over the bars).

    Args:
        u: `(n,)` PIT values in [0, 1]; entries that are not finite are left out and counted.

    Returns:
        The figure, with the Kolmogorov–Smirnov p-value against uniformity in its title.

    Raises:
        InputError: when no finite value is left or one lies outside [0, 1].

    Example:
        >>> figure = pit_histogram(np.linspace(0.0, 1.0, 200))
        >>> figure.axes[0].get_title(loc="left")
        'Kolmogorov–Smirnov p-value 1.00, 200 values'
    """
    raw = np.asarray(u, dtype=np.float64).ravel()
    values = finite(raw)
    if values.size == 0:
        raise InputError("no finite PIT values to draw", "pit_histogram")
    if values.min() < 0.0 or values.max() > 1.0:
        raise InputError("PIT values must lie in [0, 1]", "pit_histogram")
    bins = int(np.clip(values.size // 20, 5, 20))
    low, high = stats.binom.ppf([0.025 / bins, 1 - 0.025 / bins], values.size, 1.0 / bins)
    expected = values.size / bins
    counts, edges = np.histogram(values, bins=bins, range=(0.0, 1.0))
    fig = sheet(3.2)
    ax = fig.subplots()
    ax.bar(
        edges[:-1],
        counts / expected,
        width=1.0 / bins,
        align="edge",
        color=BLUE,
        alpha=0.75,
        edgecolor="white",
        label="held-out values",
    )
    ax.axhspan(
        low / expected,
        high / expected,
        facecolor=GREY,
        alpha=0.28,
        zorder=2,
        label="95% band, all bars at once",
    )
    ax.axhline(1.0, color=INK, linestyle="--", linewidth=1, label="ideal")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.35 * max(counts.max(), high) / expected)
    tidy(ax, "PIT value (no unit; uniform under a true model)", "count ÷ expected count")
    heading(ax, _uniformity(values, raw.size - values.size))
    legend(ax, loc="upper center", ncols=3, columnspacing=1.0, handlelength=1.4)
    return fig


def _uniformity(values: np.ndarray, missing: int) -> str:
    """Write the Kolmogorov–Smirnov test of `values` against the uniform law on [0, 1]."""
    p = float(stats.kstest(values, "uniform").pvalue)
    text = f"p-value {p:.2f}" if p >= 0.1 else f"p-value {p:.2g}"
    text = text if p >= 1e-3 else "p-value below 0.001"
    rest = f", {missing} not finite left out" if missing else ""
    return f"Kolmogorov–Smirnov {text}, {values.size} values{rest}"


def _metrics(
    metrics: Mapping[str, ArrayLike],
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray | None]:
    """Return step `(n,)`, the losses as `(n, members)` and the learning rate `(n,)` if finite."""
    where = "learning_curves"
    if "step" not in metrics:
        raise InputError("metrics hold no 'step'", where)
    step = np.asarray(metrics["step"], np.float64).ravel()
    losses = {}
    for name in ("train", "validation"):
        if (key := f"{name}_loss") in metrics:
            loss = np.asarray(metrics[key], np.float64)
            if loss.shape[:1] != step.shape:
                raise InputError(f"{key} has shape {loss.shape}, step {step.shape}", where)
            losses[name] = loss.reshape(step.size, -1)
    if not losses:
        raise InputError("metrics hold neither 'train_loss' nor 'validation_loss'", where)
    rate = np.asarray(metrics.get("learning_rate", np.nan), np.float64)
    if not (rate > 0).any():
        return step, losses, None
    if rate.shape != step.shape:
        raise InputError(f"learning_rate has shape {rate.shape}, step {step.shape}", where)
    return step, losses, rate


def _draw_members(
    ax: Axes, step: np.ndarray, loss: np.ndarray, name: str, colour: str, style: str
) -> None:
    """Draw one line per member, and their mean on top where there are several."""
    many = loss.shape[1] > 1
    for member in range(loss.shape[1]):
        seen = np.isfinite(loss[:, member])
        ax.plot(
            step[seen],
            loss[seen, member],
            linestyle=style,
            color=colour,
            linewidth=0.7 if many else 1.7,
            alpha=0.55 if many else 1.0,
            label=None if many else name,
        )
    whole = np.isfinite(loss).all(axis=1)
    if many:
        mean = loss[whole].mean(axis=1)
        text = f"{name}, mean of {loss.shape[1]}"
        ax.plot(step[whole], mean, linestyle=style, color=colour, linewidth=2.2, label=text)


def _mark_best(ax: Axes, step: np.ndarray, loss: np.ndarray) -> None:
    """Mark the lowest validation loss of each member."""
    lowest = np.where(np.isfinite(loss), loss, np.inf)
    best = [int(c.argmin()) for c in lowest.T if np.isfinite(c).any()]
    members = [m for m in range(loss.shape[1]) if np.isfinite(lowest[:, m]).any()]
    if not best:
        return
    first, last = (f"{step[i]:,.0f}" for i in (min(best), max(best)))
    text = f"best, step {first}" if first == last else f"best, steps {first} to {last}"
    height = loss[best, members]
    ax.plot(step[best], height, "D", color=VERMILION, markersize=6, zorder=5, label=text)


def _limit_losses(ax: Axes, losses: Mapping[str, np.ndarray]) -> None:
    """Scale the loss axis to what happens after the first tenth of the run."""
    late = finite(np.concatenate([loss[len(loss) // 10 :].ravel() for loss in losses.values()]))
    everything = finite(np.concatenate([loss.ravel() for loss in losses.values()]))
    if late.size == 0:
        return
    low, high = everything.min(), late.max()
    room = 0.08 * (high - low) or 0.5
    ax.set_ylim(low - room, high + 2 * room)
    if everything.max() > high + 2 * room:
        heading(ax, f"First steps leave the axis; they start at {number(everything.max(), 3)}", 9.5)
