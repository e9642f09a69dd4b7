"""The section of the rows that score lowest: what is to blame, and what would make them normal."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jensen.report.canvas import BROAD, INK, heading, label, number, sheet
from jensen.report.content import Case, Explained, Report
from jensen.report.page import Bar, Fold, Picture, Section, picture


def cases(report: Report) -> Section | None:
    """Return the section of the rows that score lowest and why."""
    found = report.explained
    if found is None or not found.cases:
        return None
    few = len(found.cases)
    which = f"the {few} lowest of {found.n:,} rows" if few < found.n else f"all {few} rows"
    exact = (
        "exact"
        if all(len(case.shares) + case.others[1] <= 8 for case in found.cases)
        else (f"means over {found.orders} orders")
    )
    words = [
        f"Shown: {which} ({found.origin}), lowest first. Each stands beside the nearest normal row "
        "that the run keeps. A bar is what a column adds to the score in going over from the "
        f"normal row to this one, over all orders of the columns (Shapley values, {exact}): that "
        "of the normal row and all bars sum to that of the row. Long bars to the left are to blame."
    ]
    folds = [_fold(case, report.threshold, first) for first, case in _counted(found)]
    return Section("lowest", "Lowest rows, explained", (), _pictures(found), words, folds=folds)


def _counted(found: Explained) -> list[tuple[bool, Case]]:
    return [(i == 0, case) for i, case in enumerate(found.cases)]


def _fold(case: Case, threshold: float | None, first: bool) -> Fold:
    """Return one row's block."""
    flagged = threshold is not None and case.score <= threshold
    title = (
        f"Row {case.row:,}: score {number(case.score)}, p-value {number(case.p_value, 2)}"
        f"{'' if flagged else ' (not flagged)'}"
    )
    gained, count = case.others
    words = [
        f"The nearest normal row scores {number(case.reference_score)}"
        + (f"; the other {count:,} columns add {_signed(gained)} together." if count else ".")
    ]
    if case.told:
        words.append(f"Nearest normal values: {case.told}.")
    header = ("column", "this row", "normal row", "nats added")
    return Fold(title, header, [] if case.heat is not None else _bars(case), words, first)


def _bars(case: Case) -> list[Bar]:
    """Return the bars of a row; an impossible cell's reaches the end."""
    sizes = [abs(share) for *_, share in case.shares if math.isfinite(share)]
    longest = max(sizes, default=0.0) or 1.0
    if any(math.isinf(share) for *_, share in case.shares):
        longest *= 1.25
    bars = []
    for name, now, normal, share in case.shares:
        width = 50.0 * min(abs(share) / longest, 1.0)
        cells = (label(name, 40), label(now), label(normal))
        text = _signed(share) if math.isfinite(share) else "−∞: impossible"
        bars.append(Bar(cells, text, 50.0 - width if share < 0 else 50.0, width, share < 0))
    return bars


def _signed(value: float) -> str:
    """Write nats with their sign, digits grouped from a thousand on."""
    text = number(value, 3) if abs(value) < 1000 else f"{value:,.0f}".replace("-", "−")
    return f"{'+' if value >= 0 else ''}{text}"


def _pictures(found: Explained) -> list[Picture]:
    """Return the images with what each pixel adds, where rows are images."""
    if any(case.heat is None or case.image is None for case in found.cases):
        return []
    alt = "Lowest images, and under each the nats that its pixels add to the score."
    caption = (
        "Above: the images. Below: what each pixel adds to the score, in nats; red lowers it. The "
        "scale ends at the 99.5th percentile of the sizes."
    )
    return [picture(heat_tiles(found), alt, caption)]


def heat_tiles(found: Explained) -> Figure:
    """Draw images, and under each what its pixels add to the score.

    Args:
        found: rows with images.

    Returns:
        The figure; nats of colour channels are added up.
    """
    images = [np.asarray(case.image, np.float64) for case in found.cases]
    heats = [np.asarray(case.heat, np.float64) for case in found.cases]
    images = [image[..., 0] if image.shape[2:] == (1,) else image for image in images]
    heats = [heat.sum(axis=2) if heat.ndim == 3 else heat for heat in heats]
    sizes = np.abs(np.concatenate([heat.ravel() for heat in heats]))
    sizes = sizes[np.isfinite(sizes)]
    span = float(np.quantile(sizes, 0.995)) if sizes.size and sizes.any() else 1.0
    low, high = min(image.min() for image in images), max(image.max() for image in images)
    across = max(len(images), 4)
    fig = sheet(0.6 + 2 * BROAD / across * images[0].shape[0] / images[0].shape[1], BROAD)
    grid = fig.subplots(2, across, squeeze=False)
    for ax in grid.ravel():
        ax.set_axis_off()
    shown = None
    for ax, below, image, heat, case in zip(
        grid[0], grid[1], images, heats, found.cases, strict=False
    ):
        bright = (image - low) / ((high - low) or 1.0)
        ax.imshow(bright, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
        ax.images[0].set_rasterized(True)
        heading(ax, f"row {case.row:,}", 9.5)
        clipped = np.clip(heat, -span, span)
        shown = below.imshow(clipped, cmap="RdBu", vmin=-span, vmax=span, interpolation="nearest")
        shown.set_rasterized(True)
    if shown is not None:
        bar = fig.colorbar(shown, ax=grid[1].tolist(), shrink=0.8, ticks=MaxNLocator(3))
        bar.set_label("nats", fontsize=9, color=INK)
        bar.ax.tick_params(labelsize=8)
    return fig
