r"""Spectra: eigenvalues of a game's Jacobian, and the steps under which rules are stable.

At a stationary point the velocity ẋ = -v(x) has the Jacobian J with eigenvalues λ. The continuous
flow is asymptotically stable when every Re λ < 0 and unstable when one Re λ > 0; a largest real
part of zero decides nothing by itself. A rule with step h multiplies a small deviation along the
eigenvector of λ by factors whose greatest modulus is its radius ρ(λ), for instance

    simultaneous    ρ = |1 + hλ|
    extragradient   ρ = |1 + hλ + (hλ)²|
    optimistic      ρ = max |μ| over μ² - (1 + 2hλ) μ + hλ = 0

and the rule contracts where ρ(λ) < 1 for every λ. The two verdicts differ: a step adds an error
that grows with h. Eigenvalues are per unit of the flow's time, of which a step takes h.

Sources: Mescheder et al. 2017 (arXiv:1705.10461), whose v is minus ours; Daskalakis et al. 2018
(arXiv:1711.00141).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from jensen._errors import InputError
from jensen.report.canvas import (
    BLUE,
    GREY,
    INK,
    PALE,
    SKY,
    VERMILION,
    caption,
    fit_height,
    key,
    label,
    number,
    panels,
    sheet,
    style,
    tidy,
)

Radius = Callable[[np.ndarray], ArrayLike]
"""The greatest modulus of a rule's factors at each λ: complex `(m,)` → real `(m,)`."""

REAL, IMAGINARY = "Re λ (per unit of time)", "Im λ (per unit of time)"
_POINT: dict[str, Any] = {"linestyle": "none", "mec": "white", "mew": 0.7, "ms": 8}
_LEVEL = 1e-9  # a radius this near to 1 is called 1: rounding of an eigenvalue moves it as much


def spectrum(
    eigenvalues: ArrayLike | Mapping[str, ArrayLike], title: str = "", verdict: str = ""
) -> Figure:
    """Draw eigenvalues in the complex plane, the stable half plane Re λ < 0 shaded.

    Args:
        eigenvalues: `(n,)` complex eigenvalues of the Jacobian of the velocity, or several such
            by name; entries that are not finite are left out and counted.
        title: written above the picture.
        verdict: a short line under the title.

    Returns:
        The figure; it states the largest real part, and how often a repeated eigenvalue occurs.

    Raises:
        InputError: when no finite eigenvalue is left.

    Example:
        >>> figure = spectrum([-0.5, 0.5j, -0.5j], "Dirac-GAN", "marginal: inconclusive")
        >>> figure.axes[0].get_xlabel()
        'Re λ (per unit of time)'
    """
    groups = eigenvalues if isinstance(eigenvalues, Mapping) else {"": eigenvalues}
    found = {name: _eigenvalues(values) for name, values in groups.items()}
    everything = np.concatenate([values for values, _ in found.values()] or [np.empty(0, complex)])
    if everything.size == 0:
        raise InputError("no finite eigenvalues to draw", "spectrum")
    fig, (ax,) = panels(1)
    low, high, reach = _plane(everything, 0.25)
    _half_plane(ax, (low, high), reach)
    entries: list = [Patch(facecolor=SKY, alpha=0.3, label="stable flow: Re λ < 0")]
    for place, (name, (values, _)) in enumerate(found.items()):
        look = style(place)
        points: dict[str, Any] = {"marker": look.marker, "color": look.colour, "linestyle": "none"}
        ax.plot(
            np.real(values), np.imag(values), markersize=8, mec="white", mew=0.7, zorder=3, **points
        )
        if name:
            entries.append(Line2D([], [], markersize=8, label=label(name), **points))
    _repeats(ax, everything)
    tidy(ax, REAL, IMAGINARY)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6))
    lost = sum(count for _, count in found.values())
    lines = [verdict, f"largest real part {number(float(np.real(everything).max()) + 0.0, 3)}"]
    lines += [f"{lost} eigenvalues not finite, left out"] if lost else []
    caption(ax, title, lines, width=66)
    key(fig, entries, 3)
    fit_height(fig, 0.8)
    return fig


def spectrum_by_rule(
    eigenvalues: ArrayLike,
    radii: Mapping[str, Radius],
    step: float,
    *,
    limits: tuple[float, float, float, float] | None = None,
    resolution: int = 181,
) -> Figure:
    """Draw, for each rule, where in the λ-plane its step contracts, and the eigenvalues over it.

    Args:
        eigenvalues: `(n,)` complex eigenvalues of the Jacobian of the velocity.
        radii: rule → its radius ρ(λ) at step `step`, complex `(m,)` → real `(m,)`; a value that
            is not finite counts as not contracting.
        step: the step size h, positive, in units of the flow's time.
        limits: least and greatest Re λ, least and greatest Im λ; None for the eigenvalues and
            the disc |1 + hλ| < 1 of the simultaneous rule.
        resolution: points of the grid along each axis, at least 2.

    Returns:
        The figure: a filled region where ρ < 1, bounded by the line ρ = 1; a full disc where an
        eigenvalue contracts, a cross where it does not; the greatest radius in each caption.

    Raises:
        InputError: when there is no rule or eigenvalue, h ≤ 0, or a radius has another shape.

    Example:
        >>> one = {"simultaneous": lambda λ: abs(1 + 0.5 * λ)}
        >>> spectrum_by_rule([0.5j, -0.5j], one, 0.5).axes[0].texts[0].get_text()
        'radius 1.031: grows'
    """
    where = "spectrum_by_rule"
    values, lost = _eigenvalues(eigenvalues)
    if values.size == 0 or not radii:
        raise InputError("no finite eigenvalue or no rule to draw", where)
    if not (np.isfinite(step) and step > 0):
        raise InputError(f"the step is {step}", where, "give a positive number")
    re, im = _axes_of(values, step, limits, resolution, where)
    fig, places = panels(len(radii))
    for ax, (rule, radius) in zip(places, radii.items(), strict=True):
        rho = np.minimum(region(radius, re, im), 9.0)
        ax.contourf(re, im, rho, [-1.0, 1.0], colors=[SKY], alpha=0.4)
        if rho.min() < 1 < rho.max():
            ax.contour(re, im, rho, [1.0], colors=[BLUE], linewidths=1.4)
        ax.axhline(0, color=PALE, linewidth=0.7, zorder=1)
        ax.axvline(0, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
        at = _radius_at(radius, values, rule)
        for good, marker, colour in ((True, "o", INK), (False, "X", VERMILION)):
            some = values[(at < 1 - _LEVEL) == good]
            ax.plot(np.real(some), np.imag(some), marker, color=colour, zorder=4, **_POINT)
        tidy(ax, size=9.5)
        caption(ax, label(rule, 26), [_said(float(at.max()))])
        ax.set(xlim=(re[0], re[-1]), ylim=(im[0], im[-1]))
    fig.supxlabel(REAL, fontsize=10, color=INK)
    fig.supylabel(IMAGINARY, fontsize=10, color=INK)
    key(fig, _region_key(step, lost), 2)
    true = (im[-1] - im[0]) / (re[-1] - re[0])
    fit_height(fig, true if 0.5 <= true <= 1.4 else 0.9)
    return fig


def radius_curves(
    steps: ArrayLike, radii: Mapping[str, ArrayLike], *, log: bool = False, title: str = ""
) -> Figure:
    """Draw each rule's spectral radius against the step size, with the line at 1.

    Args:
        steps: `(n,)` increasing positive step sizes, in units of the flow's time.
        radii: rule → `(n,)` spectral radii at these steps; entries that are not finite are left
            out.
        log: whether the axis of the steps is logarithmic.
        title: written above the picture.

    Returns:
        The figure; the legend tells the largest step up to which a rule contracts, read off the
        curve by linear interpolation, and a mark shows it.

    Raises:
        InputError: when there is no curve, a length differs or the steps are not increasing.

    Example:
        >>> h = np.linspace(0.01, 2.5, 250)
        >>> figure = radius_curves(h, {"descent": abs(1 - h)})
        >>> figure.legends[0].get_texts()[0].get_text()
        'descent: contracts for h < 2'
    """
    where = "radius_curves"
    h = np.asarray(steps, np.float64)
    if h.ndim != 1 or h.size < 2 or not (h[0] > 0 and (np.diff(h) > 0).all()):
        raise InputError("the steps are not increasing and positive", where, "use numpy.linspace")
    if not radii:
        raise InputError("no curves to draw", where)
    rho = {rule: np.asarray(given, np.float64) for rule, given in radii.items()}
    if wrong := [rule for rule in rho if rho[rule].shape != h.shape]:
        raise InputError(f"{wrong[0]} has shape {rho[wrong[0]].shape}, the steps {h.shape}", where)
    fig = sheet(3.6 + 0.19 * len(radii))
    ax = fig.subplots()
    entries = [_radius_curve(ax, h, rho[rule], rule, i) for i, rule in enumerate(rho)]
    top = max(float(line[np.isfinite(line)].max(initial=1.0)) for line in rho.values())
    ax.axhline(1.0, color=INK, linewidth=1.1, linestyle="-", zorder=1)
    ax.set_xscale("log" if log else "linear")
    ax.set_xlim(h[0], h[-1])
    ax.set_ylim(top=min(top, 1.6) + 0.03)
    tidy(ax, "step size h (units of time)", "spectral radius (no unit)")
    beyond = "; curves leave the picture at 1.6" if top > 1.6 else ""
    caption(ax, title, [f"a rule contracts where its radius is below 1{beyond}"], width=66)
    key(fig, entries, 1)
    return fig


def region(radius: Radius, re: ArrayLike, im: ArrayLike) -> np.ndarray:
    """Return ρ(λ) on a grid of the complex plane, as `spectrum_by_rule` draws it.

    Args:
        radius: complex `(m,)` → real `(m,)`.
        re: `(g,)` real parts.
        im: `(h,)` imaginary parts.

    Returns:
        `(h, g)` radii; +∞ where `radius` is not finite.

    Raises:
        InputError: when `radius` returns another shape.

    Example:
        >>> region(abs, [-1.0, 0.0], [0.0]).tolist()
        [[1.0, 0.0]]
    """
    plane = np.asarray(re, np.float64) + 1j * np.asarray(im, np.float64)[:, None]
    return _radius_at(radius, plane.ravel(), "region").reshape(plane.shape)


def _radius_at(radius: Radius, values: np.ndarray, rule: str) -> np.ndarray:
    """Return the radii at `values` `(m,)`, +∞ where they are not finite."""
    with np.errstate(all="ignore"):
        found = np.asarray(radius(values), np.float64)
    if found.shape != values.shape:
        raise InputError(
            f"the radius of {rule} has shape {found.shape} at {values.size} eigenvalues",
            "spectrum_by_rule",
            "return one radius for each eigenvalue",
        )
    return np.where(np.isfinite(found), found, np.inf)


def _said(greatest: float) -> str:
    """Write a verdict on the greatest radius."""
    if abs(greatest - 1) <= _LEVEL:
        return "radius 1: neither grows nor contracts"
    digits = 4 if abs(greatest - 1) > 5e-4 else 8
    return f"radius {number(greatest, digits)}: {'contracts' if greatest < 1 else 'grows'}"


def _region_key(step: float, lost: int) -> list:
    """Return the legend of `spectrum_by_rule`."""
    text = f"radius < 1 at step h = {number(step, 3)}"
    entries = [
        Patch(facecolor=SKY, edgecolor=BLUE, alpha=0.6, label=text),
        Line2D([], [], color=GREY, linestyle="--", label="Re λ = 0, limit of the flow"),
        Line2D([], [], marker="o", color=INK, label="eigenvalue, contracts", **_POINT),
        Line2D([], [], marker="X", color=VERMILION, label="eigenvalue, does not", **_POINT),
    ]
    if lost:
        entries.append(Line2D([], [], linestyle="none", label=f"{lost} not finite, left out"))
    return entries


def _axes_of(
    values: np.ndarray,
    step: float,
    limits: tuple[float, float, float, float] | None,
    resolution: int,
    where: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the real and the imaginary parts of the grid."""
    if limits is None:
        disc = np.array([-2.2, 0.5, 1.3j, -1.3j]) / step
        low, high, reach = _plane(np.concatenate([values, disc]), 0.05)
        limits = (low, high, -reach, reach)
    ordered = np.isfinite(limits).all() and limits[0] < limits[1] and limits[2] < limits[3]
    if not ordered or resolution < 2:
        raise InputError(
            f"the limits are {limits}, the resolution {resolution}",
            where,
            "give (least Re, greatest Re, least Im, greatest Im) and 2 points or more",
        )
    return np.linspace(*limits[:2], resolution), np.linspace(*limits[2:], resolution)


def _eigenvalues(values: ArrayLike) -> tuple[np.ndarray, int]:
    """Return the finite eigenvalues and how many were not finite."""
    flat = np.asarray(values).astype(np.complex128).ravel()
    seen = np.isfinite(flat)
    return flat[seen], int((~seen).sum())


def _plane(values: np.ndarray, room: float) -> tuple[float, float, float]:
    """Return least Re, greatest Re and greatest |Im| to show; the line Re = 0 lies between."""
    low, high = min(np.real(values).min(), 0.0), max(np.real(values).max(), 0.0)
    reach = float(np.abs(np.imag(values)).max())
    size = max(high - low, reach) or 1.0
    reach = max(reach, 0.3 * size)
    return float(low - room * size), float(high + room * size), reach * (1 + room)


def _half_plane(ax: Axes, across: tuple[float, float], reach: float) -> None:
    """Shade Re λ < 0 and draw the two axes."""
    ax.set(xlim=across, ylim=(-reach, reach))
    ax.axvspan(across[0], 0.0, facecolor=SKY, alpha=0.3, linewidth=0, zorder=0)
    ax.axvline(0, color=INK, linewidth=1.1, zorder=1)
    ax.axhline(0, color=GREY, linewidth=0.7, zorder=1)


def _repeats(ax: Axes, values: np.ndarray) -> None:
    """Write ×2, ×3, … beside eigenvalues that coincide (up to 20 places)."""
    scale = np.abs(values).max() or 1.0
    rounded = np.round(values / scale, 5)
    for place, count in list(zip(*np.unique(rounded, return_counts=True), strict=True))[:200]:
        if count > 1:
            at = values[rounded == place][0]
            ax.annotate(
                f"×{count}",
                (at.real, at.imag),
                xytext=(7, 5),
                textcoords="offset points",
                fontsize=9.5,
                color=INK,
            )


def _radius_curve(ax: Axes, h: np.ndarray, rho: np.ndarray, rule: str, place: int) -> Line2D:
    """Draw one rule's radius, mark its largest step, and return its entry of the legend."""
    seen = np.isfinite(rho)
    last = _largest_step(h[seen], rho[seen])
    colour, dash, marker = style(place)
    ax.plot(h[seen], rho[seen], color=colour, linestyle=dash, linewidth=1.8)
    if np.isfinite(last) and last > 0:
        ax.plot(last, 1.0, marker, color=colour, zorder=5, **_POINT)
    text = f"{label(rule)}: {_reach(last)}"
    return Line2D([], [], color=colour, linestyle=dash, marker=marker, label=text)


def _largest_step(h: np.ndarray, rho: np.ndarray) -> float:
    """Return where the radius first reaches 1, 0 if it starts there, ∞ if it never does."""
    over = np.flatnonzero(rho >= 1 - _LEVEL)
    if over.size == 0:
        return float("inf")
    i = int(over[0])
    if i == 0:
        return 0.0
    share = (1 - rho[i - 1]) / (rho[i] - rho[i - 1])
    return float(h[i - 1] + share * (h[i] - h[i - 1]))


def _reach(last: float) -> str:
    if last == 0:
        return "does not contract"
    return "contracts throughout" if np.isinf(last) else f"contracts for h < {number(last, 3)}"
