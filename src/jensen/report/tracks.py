"""Paths through a picture: where they start, where they end, and where they leave it.

A path is the sequence x_0, x_1, … of points that an update rule visits. It is drawn from its start
(an open mark) to its last point in the picture (a full mark). A path that ends outside the window
is cut at the border of the window, where a cross stands, and the step at which it left is said.
Points that are not finite are left out and counted; the others keep their step number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import GREY, Style, label, style

PATHS = 10
"""Layer from which on paths and their marks lie; the stars of stationary points lie above."""

Window = tuple[float, float, float, float]
"""Least x, greatest x, least y, greatest y."""

Paths = Mapping[str, ArrayLike]
"""Named paths, each `(n, 2)` (in the plane) or `(n, 3)` (on the simplex)."""


END: dict[str, Any] = {"markersize": 7, "mew": 0.8, "clip_on": True}
CROSS: dict[str, Any] = {"marker": "x", "markersize": 9, "mew": 2.4, "clip_on": False}
STAR: dict[str, Any] = {
    "zorder": PATHS + 4,
    "linestyle": "none",
    "marker": "*",
    "color": "#F0E442",
    "mec": "#222222",
    "mew": 0.9,
    "markersize": 13,
}
"""The looks of a path's last point, of the place where it leaves, and of a stationary point."""


@dataclass(frozen=True)
class Track:
    """A path as it is drawn.

    Args:
        points: `(n, 2)` finite points in the units of the axes, cut at the window.
        steps: `(n,)` the step number of each point.
        left_out: how many points were not finite.
        leaves: the first step from which on the path is outside for good; None if it ends inside.
        outside: how many points of a path that ends inside are outside.
        length: the number of points that were given.
    """

    points: np.ndarray
    steps: np.ndarray
    left_out: int
    leaves: int | None
    outside: int
    length: int

    @property
    def last(self) -> int:
        """The number of the last step."""
        return self.length - 1


@dataclass(frozen=True)
class Drawn:
    """A track and its marks: `lines` (a halo and the line) and, at their end, `head`."""

    track: Track
    lines: tuple[Line2D, Line2D]
    head: Line2D
    look: Style


def path(values: ArrayLike, width: int, where: str) -> np.ndarray:
    """Return `values` as a float64 array of shape `(n, width)`.

    Raises:
        InputError: when the shape is another one or the entries are not real numbers.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a path does not hold real numbers alone: {error}",
            where,
            f"give an (n, {width}) array",
        ) from error
    if array.ndim != 2 or array.shape[1] != width or len(array) == 0:
        raise InputError(
            f"a path has shape {array.shape}",
            where,
            f"give an (n, {width}) array, n at least 1, a row for each step",
        )
    return array


def track(points: np.ndarray, window: Window | None = None) -> Track:
    """Cut a path at the window.

    Args:
        points: `(n, 2)`, in the units of the axes.
        window: what the picture shows; None if every point lies in it.

    Returns:
        The track; its last point is on the border if it leaves for good.

    Example:
        >>> track(np.array([[0.0, 0.0], [4.0, 2.0], [9.0, 9.0]]), (-2.0, 2.0, -2.0, 2.0)).leaves
        1
        >>> track(np.array([[0.0, 0.0], [4.0, 2.0]]), (-2.0, 2.0, -2.0, 2.0)).points[-1].tolist()
        [2.0, 1.0]
    """
    seen = np.isfinite(points).all(axis=1)
    steps, kept = np.flatnonzero(seen), points[seen]
    left_out, length = int((~seen).sum()), len(points)
    if window is None or len(kept) == 0:
        return Track(kept, steps, left_out, None, 0, length)
    low, high = np.array(window[::2]), np.array(window[1::2])
    inside = np.flatnonzero(((kept >= low) & (kept <= high)).all(axis=1))
    if len(inside) == 0:
        return Track(kept[:0], steps[:0], left_out, int(steps[0]), 0, length)
    end = inside[-1] + 1
    if end == len(kept):
        return Track(kept, steps, left_out, None, len(kept) - len(inside), length)
    cut = _crossing(kept[end - 1], kept[end], low, high)
    whole = np.vstack([kept[:end], cut])
    return Track(whole, steps[: end + 1], left_out, int(steps[end]), 0, length)


def _crossing(a: np.ndarray, b: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return where the line from `a` (inside) to `b` (outside) crosses the border."""
    with np.errstate(over="ignore"):
        way = np.clip(b, -1e100, 1e100) - a
        border = np.where(way > 0, high, low)
        share = np.divide(border - a, way, out=np.full(2, np.inf), where=way != 0)
    return a + min(1.0, float(share.min())) * way


def draw_track(ax: Axes, made: Track, look: Style, width: float = 1.3) -> Drawn:
    """Draw a track: a line, an open mark at its start, a full mark (or a cross) at its end.

    Small marks on the line are its steps, each one up to 160 steps, some 60 of them beyond.

    Args:
        ax: where to draw.
        made: the track.
        look: its colour and marker (a dash would hide the steps).
        width: of the line, points.

    Returns:
        The marks that an animation moves.
    """
    x, y = made.points.T
    colour, _, marker = look
    every = max(1, len(x) // 60) if made.length > 160 else 1
    (halo,) = ax.plot(x, y, color="white", linewidth=width + 1.6, alpha=0.8, zorder=PATHS)
    (line,) = ax.plot(
        x,
        y,
        color=colour,
        linewidth=width,
        zorder=PATHS + 1,
        marker=marker,
        markersize=2.3,
        markevery=every,
    )
    ax.plot(x[:1], y[:1], marker, markersize=7, mfc="white", mec=colour, mew=1.6, zorder=PATHS + 2)
    (head,) = ax.plot([], [], linestyle="none", color=colour, zorder=PATHS + 3)
    drawn = Drawn(made, (halo, line), head, look)
    advance(drawn, made.last)
    return drawn


def advance(drawn: Drawn, step: int) -> None:
    """Show a track as far as `step`; a cross stands at its end once it has left the picture."""
    track, look = drawn.track, drawn.look
    shown = track.points[: np.searchsorted(track.steps, step, side="right")]
    for line in drawn.lines:
        line.set_data(*shown.T)
    drawn.head.set_data(*shown[-1:].T)
    gone = track.leaves is not None and step >= track.leaves
    marks = CROSS if gone else {**END, "marker": look.marker}
    drawn.head.set(**marks, mec=look.colour if gone else "white")


def told(tracks: Mapping[str, Track]) -> list[str]:
    """Say which tracks leave the picture, and how many points were left out, in short lines.

    Example:
        >>> told({"": Track(np.zeros((2, 2)), np.arange(2), 3, 7, 0, 12)})
        ['leaves the picture at step 7', '3 points not finite, left out']
    """
    lines = []
    leaving = {name: t.leaves for name, t in tracks.items() if t.leaves is not None}
    if leaving and (len(tracks) == 1 or len(leaving) == 1):
        ((name, step),) = leaving.items()
        who = f"{name} " if len(tracks) > 1 else ""
        seen = len(tracks[name].points) > 0
        what = f"leaves the picture at step {step}" if seen else "lies outside the picture"
        lines.append(who + what)
    elif leaving:
        first = min(leaving.values())
        everyone = "both" if len(tracks) == 2 else f"all {len(tracks)}"
        who = everyone if len(leaving) == len(tracks) else f"{len(leaving)} of {len(tracks)}"
        lines.append(f"{who} leave the picture, the first at step {first}")
    if outside := sum(t.outside for t in tracks.values()):
        lines.append(f"{outside} point{'s' if outside > 1 else ''} outside the picture")
    if missing := sum(t.left_out for t in tracks.values()):
        lines.append(f"{missing} point{'s' if missing > 1 else ''} not finite, left out")
    return lines


def entries_of(drawn: Sequence[Drawn], numbers: Mapping[str, int], fixed: str = "") -> list[Line2D]:
    """Return the entries of the legend: the paths by name, then the marks that all share.

    Args:
        drawn: every track of the figure.
        numbers: the number of each name's look.
        fixed: what the star marks; empty if there is none.
    """
    entries = []
    for name, number in numbers.items():
        colour, _, marker = style(number)
        if name:
            entries.append(Line2D([], [], color=colour, marker=marker, label=label(name)))
    look: dict[str, Any] = {"linestyle": "none", "color": GREY, "markersize": 7}
    if drawn:
        entries += [
            Line2D([], [], marker="o", mfc="white", mew=1.6, label="start (open)", **look),
            Line2D([], [], marker="o", label="end (full)", **look),
        ]
    if any(d.track.leaves is not None for d in drawn):
        entries.append(Line2D([], [], marker="x", mew=2.4, label="leaves the picture", **look))
    if fixed:
        entries.append(Line2D([], [], **STAR, label=fixed))
    return entries


def named(paths: Paths | ArrayLike, where: str) -> dict[str, ArrayLike]:
    """Return the paths by name; one array alone gets the empty name.

    Raises:
        InputError: when there is none.
    """
    if not isinstance(paths, Mapping):
        return {"": paths}
    if not paths:
        raise InputError("no paths to draw", where, "give at least one")
    return dict(paths)


def looks(panels: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """Number the names that occur in `panels`, so that a name looks the same in each."""
    names = dict.fromkeys(name for panel in panels for name in panel)
    return {name: number for number, name in enumerate(names)}
