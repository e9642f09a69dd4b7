"""Figures of densities in the plane, side by side on one scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import INK, caption, fit_height, label, panels, tidy

_DEPTH = 8.0  # nats below the largest log-density that are still told apart


def planes(
    x: ArrayLike,
    y: ArrayLike,
    log_densities: Mapping[str, ArrayLike],
    *,
    axes: tuple[str, str] = ("x₁", "x₂"),
) -> Figure:
    """Draw log-densities on a grid of the plane, all on one scale: dark is dense.

    The scale begins 8 nats below the largest value of all; what is lower is white.

    Args:
        x: grid `(a,)`, increasing and even.
        y: grid `(b,)`, increasing and even.
        log_densities: name → log p `(b, a)`, nats.
        axes: names of the axes, with units.

    Raises:
        InputError: when there is no density, a shape differs, or none is finite.

    Example:
        >>> figure = planes([0, 1], [0, 1], {"truth": np.zeros((2, 2)), "model": np.ones((2, 2))})
        >>> [ax.get_title(loc="left") for ax in figure.axes[:2]]
        ['truth', 'model']
    """
    across, up, tables = _tables(x, y, log_densities)
    top = max(table[np.isfinite(table)].max(initial=-np.inf) for table in tables.values())
    fig, places = panels(len(tables))
    half = 0.5 * (across[1] - across[0]), 0.5 * (up[1] - up[0])
    extent = (across[0] - half[0], across[-1] + half[0], up[0] - half[1], up[-1] + half[1])
    for ax, (name, table) in zip(places, tables.items(), strict=True):
        image = ax.imshow(
            np.where(np.isfinite(table), table, -np.inf),
            extent=extent,
            origin="lower",
            cmap="Blues",
            vmin=top - _DEPTH,
            vmax=top,
            interpolation="nearest",
        )
        image.set_rasterized(True)
        ax.set_aspect("auto")
        tidy(ax, size=9.5)
        caption(ax, label(name, 26))
    fig.supxlabel(axes[0], fontsize=10, color=INK, parse_math=False)
    fig.supylabel(axes[1], fontsize=10, color=INK, parse_math=False)
    bar = fig.colorbar(image, ax=places, shrink=0.6, extend="min")  # one scale for all
    bar.set_label("log p (nats)", fontsize=10, color=INK)
    bar.ax.tick_params(labelsize=9)
    fit_height(fig, (extent[3] - extent[2]) / (extent[1] - extent[0]))
    return fig


def _tables(
    x: ArrayLike, y: ArrayLike, log_densities: Mapping[str, ArrayLike]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return the grid and the tables as float64."""
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    tables = {name: np.asarray(table, np.float64) for name, table in log_densities.items()}
    if not tables:
        raise InputError("no densities to draw", "planes")
    for name, table in tables.items():
        if table.shape != (*up.shape, *across.shape):
            raise InputError(
                f"{name} is {table.shape} on a grid of {across.shape} by {up.shape}",
                "planes",
                "give log p (b, a) for x (a,) and y (b,)",
            )
    if not any(np.isfinite(table).any() for table in tables.values()):
        raise InputError("no log-density is finite", "planes")
    return across, up, tables
