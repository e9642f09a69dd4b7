"""Phase portraits: the velocity field of a game of two numbers, and the paths of update rules.

A game with players x and y has a velocity (ẋ, ẏ) = -v(x, y), the descent of each on its own loss.
Its streamlines are what infinitely small steps would follow; an update rule's path is drawn over
them, so that the eye sees what the rule adds or takes away. Axes are parameters: they have the
unit that the caller writes into their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import (
    GREY,
    INK,
    caption,
    fit_height,
    key,
    label,
    panels,
    style,
    tidy,
)
from jensen.report.tracks import (
    STAR,
    Drawn,
    Paths,
    Track,
    Window,
    draw_track,
    entries_of,
    looks,
    named,
    path,
    told,
    track,
)

PLANE = ("x (no unit)", "y (no unit)")
"""Names of the axes, if the caller gives none."""


FLOW = "#B4B4B4"
"""Colour of the field: behind everything."""


class Velocity(NamedTuple):
    """A velocity field on a grid: `x` `(g,)`, `y` `(h,)`, `u` = ẋ and `v` = ẏ, each `(h, g)`."""

    x: np.ndarray
    y: np.ndarray
    u: np.ndarray
    v: np.ndarray


def velocity_grid(
    velocity: Callable[[np.ndarray], ArrayLike], x: ArrayLike, y: ArrayLike
) -> Velocity:
    """Evaluate a velocity field at every point of a grid.

    Args:
        velocity: takes points `(m, 2)`, returns their velocities `(m, 2)`.
        x: `(g,)` increasing, evenly spaced, g at least 2; the horizontal axis.
        y: `(h,)` the same for the vertical axis.

    Returns:
        The field; row i of `u` and `v` belongs to `y[i]`.

    Raises:
        InputError: when an axis is not increasing and even or the velocities have another shape.

    Example:
        >>> turn = velocity_grid(lambda p: p[:, ::-1] * [1, -1], [-1, 0, 1], [-1, 1])
        >>> turn.u.tolist()
        [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]
    """
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    mesh = np.meshgrid(across, up)
    points = np.stack([mesh[0].ravel(), mesh[1].ravel()], axis=1)
    found = np.asarray(velocity(points), np.float64)
    if found.shape != points.shape:
        raise InputError(
            f"the velocity has shape {found.shape} at {len(points)} points",
            "velocity_grid",
            f"return {points.shape}",
        )
    u, v = (found[:, i].reshape(mesh[0].shape) for i in (0, 1))
    return _checked((across, up, u, v))


def phase_portrait(
    velocity: Velocity | Sequence[ArrayLike],
    trajectories: Paths,
    *,
    axes: tuple[str, str] = PLANE,
    fixed_points: ArrayLike = ((0.0, 0.0),),
    arrows: Literal["stream", "quiver"] = "stream",
    title: str = "",
    verdict: str = "",
) -> Figure:
    """Draw a velocity field in the plane and paths over it.

    Args:
        velocity: `(x, y, u, v)` as in `Velocity`; the picture shows the range of x and y. Entries
            that are not finite are left out and counted.
        trajectories: name → `(n, 2)`, a row for each step; may be empty.
        axes: names of the horizontal and the vertical axis, with units.
        fixed_points: `(k, 2)` stationary points; k may be 0.
        arrows: streamlines, or arrows as long as the velocity is fast.
        title: written above the picture.
        verdict: a short line under the title.

    Returns:
        The figure. A path that leaves it is cut at the border and the step is said.

    Raises:
        InputError: when the field is no even grid or a path has another shape.

    Example:
        >>> grid = np.arange(-2, 3)
        >>> turn = velocity_grid(lambda p: p[:, ::-1] * [1, -1], grid, grid)
        >>> figure = phase_portrait(turn, {"circle": [[1, 0], [0, -1]]}, axes=("θ", "ψ"))
        >>> figure.axes[0].get_xlabel()
        'θ'
    """
    field = _checked(velocity)
    window = _window(field)
    fig, (ax,) = panels(1)
    stars = _stars(fixed_points)
    lost = _background(ax, field, stars, _flow(field, arrows, 1.1), 0.012)
    numbers = looks([trajectories])
    tracks = _tracks(trajectories, window, "phase_portrait")
    drawn = [draw_track(ax, t, style(numbers[name])) for name, t in tracks.items()]
    tidy(ax, *axes)
    caption(ax, title, [verdict, *told(tracks), lost], width=66)
    key(fig, entries_of(drawn, numbers, "stationary point" if len(stars) else ""), 3)
    fit_height(fig, _shape(window))
    return fig


def phase_panels(
    velocity: Velocity | Sequence[ArrayLike],
    rules: Mapping[str, Paths | ArrayLike],
    *,
    verdicts: Mapping[str, str] | None = None,
    axes: tuple[str, str] = PLANE,
    fixed_points: ArrayLike = ((0.0, 0.0),),
    arrows: Literal["stream", "quiver"] = "stream",
) -> Figure:
    """Draw one small phase portrait for each update rule, over the same field and on the same axes.

    Args:
        velocity: `(x, y, u, v)` as in `Velocity`.
        rules: rule → its path `(n, 2)`, or several by name; a name looks the same in each panel.
        verdicts: rule → a short line such as "radius 1.005: spirals out".
        axes: names of the horizontal and the vertical axis, with units.
        fixed_points: `(k, 2)` stationary points; k may be 0.
        arrows: streamlines, or arrows as long as the velocity is fast.

    Returns:
        The figure; each heading tells the rule, its verdict, and whether its path leaves.

    Raises:
        InputError: when there is no rule, the field is no even grid, or a path has another shape.

    Example:
        >>> grid = np.arange(-2, 3)
        >>> turn = velocity_grid(lambda p: p[:, ::-1] * [1, -1], grid, grid)
        >>> figure = phase_panels(turn, {"simultaneous": [[1, 0]], "alternating": [[1, 0]]})
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['simultaneous', 'alternating']
    """
    return phase_scene(
        velocity, rules, verdicts=verdicts, axes=axes, fixed_points=fixed_points, arrows=arrows
    )[0]


def phase_scene(
    velocity: Velocity | Sequence[ArrayLike],
    rules: Mapping[str, Paths | ArrayLike],
    *,
    verdicts: Mapping[str, str] | None = None,
    axes: tuple[str, str] = PLANE,
    fixed_points: ArrayLike = ((0.0, 0.0),),
    arrows: Literal["stream", "quiver"] = "stream",
) -> tuple[Figure, list[Drawn]]:
    """Return the figure of `phase_panels` and its drawn tracks, which an animation moves."""
    where = "phase_panels"
    if not rules:
        raise InputError("no rules to draw", where, "give at least one")
    field = _checked(velocity)
    window, stars = _window(field), _stars(fixed_points)
    paths = {rule: named(given, f"{where}, {rule}") for rule, given in rules.items()}
    numbers = looks(list(paths.values()))
    fig, places = panels(len(rules))
    drawn: list[Drawn] = []
    flow = _flow(field, arrows, 0.7)
    for ax, (rule, given) in zip(places, paths.items(), strict=True):
        lost = _background(ax, field, stars, flow, 0.02)
        tracks = _tracks(given, window, f"{where}, {rule}")
        drawn += [draw_track(ax, t, style(numbers[name]), 1.5) for name, t in tracks.items()]
        tidy(ax, size=9.5)
        verdict = (verdicts or {}).get(rule, "")
        caption(ax, label(rule, 26), [verdict, *told(tracks), lost])
    fig.supxlabel(axes[0], fontsize=10, color=INK, parse_math=False)
    fig.supylabel(axes[1], fontsize=10, color=INK, parse_math=False)
    key(
        fig,
        entries_of(drawn, numbers, "stationary point" if len(stars) else ""),
        5 if len(rules) > 1 else 3,
    )
    fit_height(fig, _shape(window))
    return fig, drawn


def _checked(velocity: Velocity | Sequence[ArrayLike]) -> Velocity:
    """Return the field as float64 arrays on an increasing, even grid."""
    where = "velocity"
    if len(velocity) != 4:
        raise InputError(f"a field has {len(velocity)} parts", where, "give (x, y, u, v)")
    x, y, u, v = (np.asarray(part, np.float64) for part in velocity)
    for name, axis in (("x", x), ("y", y)):
        if axis.ndim != 1 or axis.size < 2 or not np.isfinite(axis).all():
            raise InputError(
                f"{name} has shape {axis.shape}", where, "give two finite values or more"
            )
        gaps = np.diff(axis)
        if gaps.min() <= 0 or np.ptp(gaps) > 1e-6 * gaps.mean():
            raise InputError(f"{name} is not increasing in even steps", where, "use numpy.linspace")
    for name, part in (("u", u), ("v", v)):
        if part.shape != (y.size, x.size):
            raise InputError(
                f"{name} has shape {part.shape}", where, f"give (y, x) = ({y.size}, {x.size})"
            )
    return Velocity(x, y, u, v)


def _window(field: Velocity) -> Window:
    return float(field.x[0]), float(field.x[-1]), float(field.y[0]), float(field.y[-1])


def _shape(window: Window) -> float:
    """Return height over width: true to scale where that is legible, else nearly square."""
    true = (window[3] - window[2]) / (window[1] - window[0])
    return true if 0.5 <= true <= 1.4 else 0.9


def _stars(fixed_points: ArrayLike) -> np.ndarray:
    """Return the stationary points as `(k, 2)`."""
    given = np.asarray(fixed_points, np.float64)
    return path(given, 2, "fixed_points") if given.size else np.empty((0, 2))


def _tracks(paths: Paths, window: Window, where: str) -> dict[str, Track]:
    return {name: track(path(p, 2, f"{where}, {name}"), window) for name, p in paths.items()}


def _bad(field: Velocity) -> np.ndarray:
    return ~(np.isfinite(field.u) & np.isfinite(field.v))


def _flow(field: Velocity, arrows: str, density: float) -> list[np.ndarray] | None:
    """Return the streamlines, each `(n, 2)` (none if nothing moves), or None for arrows."""
    if arrows not in ("stream", "quiver"):
        raise InputError(f"unknown arrows {arrows!r}", "phase portrait", "use 'stream' or 'quiver'")
    u, v = (np.ma.array(part, mask=_bad(field)).filled(0.0) for part in (field.u, field.v))
    if not np.hypot(u, v).any():
        return []
    if arrows == "quiver":
        return None
    u, v = (np.ma.array(part, mask=_bad(field)) for part in (u, v))
    ax = Figure().subplots()
    ax.set(xlim=(field.x[0], field.x[-1]), ylim=(field.y[0], field.y[-1]))
    pieces = ax.streamplot(field.x, field.y, u, v, density=density).lines.get_segments()
    lines: list[list[np.ndarray]] = []
    for piece in pieces:
        if lines and np.array_equal(lines[-1][-1], piece[0]):
            lines[-1].extend(piece[1:])
        else:
            lines.append(list(piece))
    found = [np.stack(line) for line in lines]
    new = [np.r_[True, (np.diff(line, axis=0) != 0).any(axis=1)] for line in found]
    return [line[keep] for line, keep in zip(found, new, strict=True) if keep.sum() > 2]


def _heads(flow: list[np.ndarray], field: Velocity, size: float) -> np.ndarray:
    """Return a triangle `(lines, 3, 2)` half-way along each streamline, pointing along it.

    `size` is the length of a triangle as a share of the panel's width.
    """
    window = _window(field)
    unit = np.array([window[1] - window[0], (window[3] - window[2]) / _shape(window)])
    middle = np.stack([line[len(line) // 2] for line in flow]) / unit
    way = middle - np.stack([line[len(line) // 2 - 1] for line in flow]) / unit
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    normal = np.stack([-way[:, 1], way[:, 0]], axis=1)
    back = middle - 0.5 * size * way
    sides = (back + 0.5 * size * normal, back - 0.5 * size * normal)
    return np.stack([middle + size * way, *sides], axis=1) * unit


def _background(
    ax: Axes, field: Velocity, stars: np.ndarray, flow: list[np.ndarray] | None, size: float
) -> str:
    """Draw the field and its stationary points; return what had to be left out, in words."""
    bad = _bad(field)
    ax.set(xlim=(field.x[0], field.x[-1]), ylim=(field.y[0], field.y[-1]))
    if flow:
        ax.add_collection(LineCollection(flow, colors=FLOW, linewidths=0.7, zorder=1))
        heads = PolyCollection(
            list(_heads(flow, field, size)), facecolors=FLOW, edgecolors="none", zorder=1
        )
        ax.add_collection(heads)
    elif flow is None:
        rows, columns = (slice(None, None, -(-axis.size // 17)) for axis in (field.y, field.x))
        u, v = (np.where(bad, 0.0, part)[rows, columns] for part in (field.u, field.v))
        ax.quiver(
            field.x[columns], field.y[rows], u, v, color=GREY, alpha=0.8, width=0.004, zorder=1
        )
    ax.plot(*stars.T, **STAR)
    return f"{int(bad.sum())} of {bad.size} arrows not finite, left out" if bad.any() else ""
