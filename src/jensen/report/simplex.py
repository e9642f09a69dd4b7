r"""Simplex plots: mixed strategies over three actions in barycentric coordinates.

A mixed strategy p = (p_1, p_2, p_3), p_i ≥ 0, Σ p_i = 1, is drawn at the point

    p_1 c_1 + p_2 c_2 + p_3 c_3,   c_1 = (0, 0),  c_2 = (1, 0),  c_3 = (½, √3/2),

so a corner is a pure strategy and the side opposite to it lacks that action. The map is affine and
treats the three actions alike: straight lines stay straight and lengths are √½ times those in p.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import (
    GREY,
    INK,
    PALE,
    caption,
    fit_height,
    key,
    label,
    panels,
    style,
)
from jensen.report.tracks import (
    STAR,
    Drawn,
    Paths,
    draw_track,
    entries_of,
    looks,
    named,
    path,
    told,
    track,
)

CORNERS = ("rock", "paper", "scissors")
HEIGHT = float(np.sqrt(3.0) / 2.0)
_GREYS = LinearSegmentedColormap.from_list("jensen-greys", ["#FFFFFF", "#8A8A8A"])
_OFF = 1e-6  # how far from the simplex a point may lie: float32 rounding over many steps

Heat = Callable[[np.ndarray], ArrayLike]
"""A function on the simplex: points `(m, 3)` → values `(m,)`."""


def barycentric(points: ArrayLike) -> np.ndarray:
    """Return where mixed strategies lie in the plane of the picture.

    Args:
        points: `(n, 3)` on the simplex; rows that are not finite stay so.

    Returns:
        `(n, 2)` coordinates, no unit.

    Raises:
        InputError: when the shape is another one, or a finite row has an entry below -1e-6 or a
            sum that differs from 1 by more.

    Example:
        >>> barycentric([[1, 0, 0], [0, 1, 0], [0.25, 0.25, 0.5]]).round(3).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.5, 0.433]]
    """
    p = path(points, 3, "simplex")
    whole = p[np.isfinite(p).all(axis=1)]
    off = (whole < -_OFF).any(axis=1) | (np.abs(whole.sum(axis=1) - 1.0) > _OFF)
    if off.any():
        raise InputError(
            f"{whole[off][0].tolist()} is no mixed strategy",
            "simplex",
            "give shares that are not negative and sum to 1",
        )
    return p @ np.array([[0.0, 0.0], [1.0, 0.0], [0.5, HEIGHT]])


def ternary(
    orbits: Paths,
    *,
    corners: Sequence[str] = CORNERS,
    equilibrium: ArrayLike | None = (1 / 3, 1 / 3, 1 / 3),
    heat: Heat | None = None,
    unit: str = "exploitability (payoff per round)",
    title: str = "",
    verdict: str = "",
) -> Figure:
    """Draw orbits of mixed strategies on the simplex.

    Args:
        orbits: name → `(n, 3)`, a row for each step; may be empty.
        corners: the three actions.
        equilibrium: `(3,)` or `(k, 3)`, marked by a star; None for none.
        heat: a function on the simplex, drawn in grey, darker is more.
        unit: what `heat` is, with its unit, written at the colour bar.
        title: written above the picture.
        verdict: a short line under the title.

    Returns:
        The figure. Points that are not finite are left out and counted.

    Raises:
        InputError: when an orbit has another shape or leaves the simplex, or `heat` returns
            something else than a value for each point.

    Example:
        >>> figure = ternary({"orbit": [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2]]})
        >>> [text.get_text() for text in figure.axes[0].texts[:3]]
        ['rock', 'paper', 'scissors']
    """
    fig, (ax,) = panels(1)
    stars = _equilibria(equilibrium)
    shade = _triangle(ax, _corners(corners), stars, heat, small=False)
    _shares(ax, corners)
    numbers = looks([orbits])
    tracks = {name: track(barycentric(orbit)) for name, orbit in orbits.items()}
    drawn = [draw_track(ax, t, style(numbers[name])) for name, t in tracks.items()]
    caption(ax, title, [verdict, *told(tracks)], width=66)
    _bar(fig, [ax], shade, unit)
    key(fig, entries_of(drawn, numbers, "equilibrium" if len(stars) else ""), 3)
    fit_height(fig, _PLOT[1] / _PLOT[0])
    return fig


def ternary_panels(
    rules: Mapping[str, Paths | ArrayLike],
    *,
    verdicts: Mapping[str, str] | None = None,
    corners: Sequence[str] = CORNERS,
    equilibrium: ArrayLike | None = (1 / 3, 1 / 3, 1 / 3),
    heat: Heat | None = None,
    unit: str = "exploitability (payoff per round)",
) -> Figure:
    """Draw one small simplex for each learning rule.

    Args:
        rules: rule → its orbit `(n, 3)`, or several by name; a name looks the same in each panel.
        verdicts: rule → a short line such as "cycles; the average converges".
        corners: the three actions.
        equilibrium: `(3,)` or `(k, 3)`, marked by a star; None for none.
        heat: a function on the simplex, the same in each panel, darker is more.
        unit: what `heat` is, with its unit.

    Returns:
        The figure.

    Raises:
        InputError: when there is no rule, or as in `ternary`.

    Example:
        >>> orbit = [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2]]
        >>> figure = ternary_panels({"Hedge": orbit, "replicator": orbit})
        >>> [ax.get_title(loc="left") for ax in figure.axes]
        ['Hedge', 'replicator']
    """
    return ternary_scene(
        rules, verdicts=verdicts, corners=corners, equilibrium=equilibrium, heat=heat, unit=unit
    )[0]


def ternary_scene(
    rules: Mapping[str, Paths | ArrayLike],
    *,
    verdicts: Mapping[str, str] | None = None,
    corners: Sequence[str] = CORNERS,
    equilibrium: ArrayLike | None = (1 / 3, 1 / 3, 1 / 3),
    heat: Heat | None = None,
    unit: str = "exploitability (payoff per round)",
) -> tuple[Figure, list[Drawn]]:
    """Return the figure of `ternary_panels` and its drawn orbits, which an animation moves."""
    if not rules:
        raise InputError("no rules to draw", "ternary_panels", "give at least one")
    paths = {rule: named(given, f"ternary_panels, {rule}") for rule, given in rules.items()}
    numbers, stars = looks(list(paths.values())), _equilibria(equilibrium)
    fig, places = panels(len(rules))
    drawn: list[Drawn] = []
    shade = None
    for ax, (rule, given) in zip(places, paths.items(), strict=True):
        shade = _triangle(ax, _corners(corners), stars, heat, small=True)
        tracks = {name: track(barycentric(orbit)) for name, orbit in given.items()}
        drawn += [draw_track(ax, t, style(numbers[name]), 1.1) for name, t in tracks.items()]
        caption(ax, label(rule, 26), [(verdicts or {}).get(rule, ""), *told(tracks)])
    _bar(fig, places, shade, unit)
    entries = entries_of(drawn, numbers, "equilibrium" if len(stars) else "")
    key(fig, entries, 5 if len(rules) > 1 else 3)
    fit_height(fig, _PLOT[1] / _PLOT[0])
    return fig, drawn


_PLOT = (1.3, 1.13)
"""Width and height of what the axes show, in sides of the triangle."""


def _corners(corners: Sequence[str]) -> list[str]:
    if isinstance(corners, str) or len(corners) != 3:
        raise InputError(f"the corners are {corners!r}", "simplex", "give three names")
    return [label(name, 14) for name in corners]


def _equilibria(points: ArrayLike | None) -> np.ndarray:
    """Return the equilibria as `(k, 2)` points of the picture."""
    return np.empty((0, 2)) if points is None else barycentric(np.atleast_2d(points))


def _triangle(
    ax: Axes, corners: Sequence[str], stars: np.ndarray, heat: Heat | None, *, small: bool
) -> Any:
    """Draw the triangle, its corners, the grid of quarters and the heat; return what is shaded."""
    left, bottom = -(_PLOT[0] - 1) / 2, -0.13
    ax.set(xlim=(left, left + _PLOT[0]), ylim=(bottom, bottom + _PLOT[1]))
    ax.set_axis_off()
    size = 9 if small else 10.5
    places = (((0, 0), (0, -5), "top"), ((1, 0), (0, -5), "top"), ((0.5, HEIGHT), (0, 4), "bottom"))
    for name, (place, shift, side) in zip(corners, places, strict=True):
        ax.annotate(
            name,
            place,
            xytext=shift if small or place[1] > 0 else (0, -16),
            textcoords="offset points",
            ha="center",
            va=side,
            fontsize=size,
            fontweight="bold",
            color=INK,
            parse_math=False,
        )
    shade = None
    if heat is not None:
        grid = _lattice(48)
        values = _heat(heat, grid)
        mesh = Triangulation(*barycentric(grid).T)
        low, high = float(values.min()), float(values.max())
        levels = MaxNLocator(nbins=10).tick_values(low, high if high > low else low + 1.0)
        shade = ax.tricontourf(mesh, values, levels=levels, cmap=_GREYS, zorder=0)
    for share in (0.25, 0.5, 0.75):
        for i in range(3):
            ends = np.zeros((2, 3))
            ends[:, i] = share
            ends[0, (i + 1) % 3] = ends[1, (i + 2) % 3] = 1 - share
            x, y = barycentric(ends).T
            ax.plot(x, y, color=PALE if heat is None else "white", linewidth=0.6, zorder=1)
    x, y = barycentric(np.eye(3)[[0, 1, 2, 0]]).T
    ax.plot(x, y, color=INK, linewidth=1.2, zorder=2, solid_joinstyle="miter")
    ax.plot(*stars.T, **STAR)
    return shade


def _shares(ax: Axes, corners: Sequence[str]) -> None:
    """Write the shares along the sides: each side counts the action it leads to, anticlockwise."""
    around = np.eye(3)[[0, 1, 2, 0]]
    sides = (((0, -4), "center", "top"), ((5, 0), "left", "center"), ((-5, 0), "right", "center"))
    for i, (shift, ha, va) in enumerate(sides):
        for share in (0.25, 0.5, 0.75):
            ((x, y),) = barycentric([(1 - share) * around[i] + share * around[i + 1]])
            ax.annotate(
                f"{share:g}",
                (x, y),
                xytext=shift,
                textcoords="offset points",
                ha=ha,
                va=va,
                fontsize=8.5,
                color=GREY,
            )
    out = ((0.5, -0.085, 0), (0.86, 0.5, -60), (0.14, 0.5, 60))
    arrows = ("share of {} (no unit) →", "← share of {}", "← share of {}")
    for i, ((x, y, angle), words) in enumerate(zip(out, arrows, strict=True)):
        name = label(corners[(i + 1) % 3], 14)
        ax.text(
            x,
            y,
            words.format(name),
            rotation=angle,
            ha="center",
            va="center",
            fontsize=9.5,
            color=INK,
            parse_math=False,
        )


def _lattice(n: int) -> np.ndarray:
    """Return the points of the simplex whose shares are multiples of 1/n."""
    i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    i, j = i[i + j <= n], j[i + j <= n]
    return np.stack([i, j, n - i - j], axis=1) / n


def _heat(heat: Heat, grid: np.ndarray) -> np.ndarray:
    """Return the heat at the points of the grid."""
    values = np.asarray(heat(grid), np.float64)
    if values.shape != (len(grid),) or not np.isfinite(values).all():
        raise InputError(
            f"the heat has shape {values.shape} at {len(grid)} points, or is not finite",
            "simplex",
            "return one finite value for each point",
        )
    return values


def _bar(fig: Figure, places: Sequence[Axes], shade: Any, unit: str) -> None:
    """Add the colour bar of the heat, if there is one."""
    if shade is None:
        return
    bar = fig.colorbar(shade, ax=list(places), location="bottom", shrink=0.7, aspect=30, pad=0.02)
    bar.set_label(unit, fontsize=9.5, color=INK, parse_math=False)
    bar.ax.tick_params(labelsize=8.5, color=GREY, labelcolor=INK)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(nbins=6)
    bar.update_ticks()
