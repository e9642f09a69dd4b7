"""Draw the README's picture: a learned density beside the true one, and a calibrated detector.

python docs/picture.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from jensen.apply import log_probs
from jensen.data.toys import TOYS
from jensen.report import save
from jensen.runs import Run, fit_run

ALPHA = 0.05
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#888888"


def density_panel(axes: list, run: Run) -> None:
    """Draw the true and the learned log-density of the Swiss roll."""
    side = np.linspace(-1.5, 1.5, 300)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    truth = TOYS["swiss-roll"].log_prob(grid)
    learned, _ = run.density.log_prob(grid)
    held_out, _, _ = log_probs(run, "swiss-roll:test", print)
    figures = (
        f"learned from 5,000 rows: {held_out.mean():+.3f} nats per row",
        f"truth: {TOYS['swiss-roll'].log_prob(_rows('swiss-roll:test')).mean():+.3f} nats per row",
    )
    for ax, values, title in zip(axes, (learned, truth), figures, strict=True):
        image = ax.imshow(
            values.reshape(300, 300),
            origin="lower",
            extent=(-1.5, 1.5, -1.5, 1.5),
            vmin=-6,
            vmax=2,
            cmap="viridis",
        )
        ax.set(title=title, xlabel="$x_1$", ylabel="$x_2$")
    axes[0].figure.colorbar(image, ax=axes, label="log density (nats)", shrink=0.8)


def _rows(name: str) -> np.ndarray:
    from jensen.data.schema import read
    from jensen.data.source import open_table

    return read(open_table(name))[1]


def detector_panel(ax: object, run: Run) -> None:
    """Draw the scores of unseen benign and malignant cases, and the calibrated threshold."""
    benign, _, _ = log_probs(run, "breast-cancer:test", print)
    malignant, _, _ = log_probs(run, "breast-cancer:anomaly", print)
    threshold = run.conformal.threshold(ALPHA)
    bins = np.linspace(-150, 80, 47)
    for scores, colour, name in ((benign, BLUE, "benign"), (malignant, ORANGE, "malignant")):
        inside = np.clip(scores, bins[0], bins[-1])
        share = f"{np.mean(scores < threshold):.0%} flagged"
        ax.hist(inside, bins, density=True, alpha=0.7, color=colour, label=f"{name}: {share}")
    ax.axvline(threshold, color="black", label=f"threshold for a {ALPHA:.0%} false-alarm rate")
    ax.set(
        title="Unseen tumours, scored by a model of benign ones",
        xlabel="log density (nats; below −150 at the edge)",
        ylabel="share per nat",
    )
    ax.legend(frameon=False)


def main() -> None:
    """Fit both runs and write docs/figures/first-result.{png,svg}."""
    with tempfile.TemporaryDirectory() as folder:
        roll = fit_run("swiss-roll:train", Path(folder) / "roll")
        cells = fit_run("breast-cancer:train", Path(folder) / "cells")
        figure = Figure(figsize=(15, 4.4), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(2.1, 1.3))
        density_panel(list(left.subplots(1, 2)), roll)
        detector_panel(right.subplots(), cells)
        save(figure, Path(__file__).parent / "figures", "first-result")


if __name__ == "__main__":
    main()
