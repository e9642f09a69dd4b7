"""Figures of a detector: its scores, its threshold and its errors.

The convention of the scores is the library's: higher is more normal, and a row is flagged when its
score is at or below the threshold. Scores are log-likelihoods or pooled ones, in nats.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import (
    BLUE,
    GREY,
    INK,
    PALE,
    VERMILION,
    finite,
    heading,
    legend,
    number,
    sheet,
    tidy,
)


def score_histogram(
    calibration: ArrayLike,
    normal: ArrayLike | None,
    anomalies: ArrayLike | None,
    threshold: float,
    alpha: float,
) -> Figure:
    """Draw the scores of each group of rows and the threshold that flags.

    Args:
        calibration: `(c,)` scores of the calibration rows, nats, higher = more normal.
        normal: `(n,)` of held-out normal rows, or None.
        anomalies: `(m,)` of anomalies, or None.
        threshold: rows at or below it are flagged; −∞ flags only rows of zero density.
        alpha: stated false-alarm rate, in (0, 1).

    Returns:
        The figure; scores far to the left (−∞ included) are gathered in the first bar and
        counted in the title.

    Raises:
        InputError: when no group holds a finite score.

    Example:
        >>> scores = np.random.default_rng(0).normal(size=300)
        >>> figure = score_histogram(scores, scores, None, -1.6, 0.05)
        >>> figure.axes[0].get_xlabel()
        'score (nats per row; right is more normal)'
    """
    groups = {"calibration": calibration, "held-out normal": normal, "anomalies": anomalies}
    scores = {k: np.asarray(v, np.float64).ravel() for k, v in groups.items() if v is not None}
    scores = {k: v[~np.isnan(v)] for k, v in scores.items()}
    low, high = score_window(scores, threshold)
    fig = sheet(3.6)
    ax = fig.subplots()
    edges = np.linspace(low, high, 41)
    if threshold >= low:
        ax.axvspan(low, min(threshold, high), facecolor=PALE, alpha=0.55, zorder=0, linewidth=0)
    _draw_scores(ax, scores, edges)
    if np.isfinite(threshold):
        ax.axvline(
            threshold,
            color=INK,
            linewidth=1.6,
            linestyle="--",
            label=f"threshold {number(threshold, 3)}, α = {number(alpha, 3)}",
        )
    ax.set_xlim(low, high)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    tidy(ax, "score (nats per row; right is more normal)", "share of the group")
    beyond = {name: int((v < low).sum()) for name, v in scores.items()}
    told = [f"{count} {name}" for name, count in beyond.items() if count]
    heading(ax, f"First bar gathers lower scores: {', '.join(told)}" if told else "", 9.5)
    fig.legend(loc="outside upper left", ncols=2, fontsize=9, frameon=False)
    return fig


def roc(
    fpr: ArrayLike,
    tpr: ArrayLike,
    auroc: float,
    ci: tuple[float, float],
    point: tuple[float, float] | None = None,
) -> Figure:
    """Draw the share of anomalies caught against the share of normal rows flagged.

    Args:
        fpr: `(t,)` false-alarm rates, rising from 0 to 1.
        tpr: `(t,)` detection rates at the same thresholds.
        auroc: area under the curve.
        ci: 95% interval of the area; NaN bounds are left unwritten.
        point: `(false-alarm rate, detection rate)` at the detector's own threshold, if known.

    Returns:
        The figure.

    Raises:
        InputError: when `fpr` and `tpr` differ in length or are empty.

    Example:
        >>> figure = roc([0.0, 0.0, 1.0], [0.0, 0.8, 1.0], 0.9, (0.85, 0.95))
        >>> figure.axes[0].get_title(loc="left")
        'AUROC 0.900 (95% interval 0.850 to 0.950)'
    """
    x, y = np.asarray(fpr, np.float64), np.asarray(tpr, np.float64)
    if x.shape != y.shape or x.size == 0:
        raise InputError(f"fpr has shape {x.shape} and tpr {y.shape}; they must match", "roc")
    fig = sheet(4.4, 4.4)
    ax = fig.subplots()
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="chance")
    ax.plot(x, y, color=BLUE, linewidth=2, label="detector")
    if point is not None:
        ax.plot(*point, "o", color=VERMILION, markersize=9, label="at the threshold", zorder=5)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_aspect("equal")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    tidy(ax, "normal rows flagged (type I error)", "anomalies flagged (1 − type II error)")
    span = f" (95% interval {ci[0]:.3f} to {ci[1]:.3f})" if np.isfinite(ci).all() else ""
    heading(ax, f"AUROC {auroc:.3f}{span}")
    legend(ax, loc="lower right")
    return fig


def score_window(scores: Mapping[str, np.ndarray], threshold: float) -> tuple[float, float]:
    """Return the range of scores to draw: normal rows whole, anomalies as far as is legible.

    Args:
        scores: group → scores; `anomalies` may lie far below the others.
        threshold: always inside the range, where it is finite.

    Raises:
        InputError: when no score is finite.
    """
    normal = finite(np.concatenate([v for k, v in scores.items() if k != "anomalies"]))
    everything = finite(np.concatenate(list(scores.values())))
    if everything.size == 0:
        raise InputError("no finite scores to draw", "score_histogram")
    core = normal if normal.size else everything
    bulk, high = np.quantile(core, 0.01), everything.max()
    furthest = bulk - 2.0 * (high - bulk)
    low = max(everything.min(), furthest)
    if np.isfinite(threshold):
        low, high = min(low, threshold), max(high, threshold)
    room = 0.03 * (high - low) or 0.5
    return float(low - room), float(high + room)


def _draw_scores(ax: Axes, scores: Mapping[str, np.ndarray], edges: np.ndarray) -> None:
    """Draw each group as shares of itself: fills for held-out rows, a line for calibration."""
    looks = {
        "calibration": {"histtype": "step", "edgecolor": INK, "linewidth": 1.3},
        "held-out normal": {"histtype": "stepfilled", "facecolor": BLUE, "alpha": 0.55},
        "anomalies": {"histtype": "stepfilled", "facecolor": VERMILION, "alpha": 0.6},
    }
    marks = {"anomalies": {"hatch": "////", "edgecolor": "white", "linewidth": 0.0}}
    for name in ("held-out normal", "anomalies", "calibration"):
        values = scores.get(name, np.empty(0))
        if values.size:
            ax.hist(
                np.clip(values, edges[0], edges[-1]),
                bins=edges.tolist(),
                weights=np.full(values.size, 1.0 / values.size),
                label=f"{name} ({values.size})",
                **looks[name],
                **marks.get(name, {}),
            )
