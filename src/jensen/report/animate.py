"""Animations: the paths of phase portraits and simplex plots growing step by step, as a GIF.

Frame j of F shows the points of steps 0, 1, …, ⌈j (n - 1) / (F - 1)⌉, for every path the same
step at the same time, n being the greatest number of steps. What does not move is drawn once. All
frames share the colours of the last one, so the same paths give the same bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image
from scipy.spatial import KDTree

from jensen._errors import InputError
from jensen.data.output import write_bytes
from jensen.report.canvas import INK
from jensen.report.portrait import PLANE, Velocity, phase_scene
from jensen.report.simplex import CORNERS, Heat, ternary_scene
from jensen.report.tracks import PATHS, Drawn, Paths, advance

_DPI = 110
_HOLD = 2.0  # seconds the last frame stands
_COLOURS = 255


def animate(
    frames: Iterable[Figure | Callable[[], Figure]], path: str | os.PathLike[str], fps: float = 10.0
) -> Path:
    """Save figures as the frames of a GIF that repeats for ever, whole or not at all.

    Args:
        frames: figures of one size, or functions that draw them, each called once in order.
        path: where the GIF goes; its name ends in `.gif`.
        fps: frames per second, in [1, 50]; the last frame stands for two seconds.

    Returns:
        The path.

    Raises:
        InputError: when there is no frame, sizes differ, or the file cannot be written; an older
            file stands as it was.

    Example:
        >>> import tempfile
        >>> from jensen.report.curves import convergence
        >>> draw = [lambda k=k: convergence({"a": ([1, 2], [1, k])}, logx=False) for k in (2, 3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     animate(draw, Path(folder, "a.gif")).name
        'a.gif'
    """
    target = _target(path, fps)
    return _save((_render(f() if callable(f) else f) for f in frames), target, fps)


def animate_trajectories(
    velocity: Velocity | Sequence[ArrayLike],
    rules: Mapping[str, Paths | ArrayLike],
    path: str | os.PathLike[str],
    *,
    verdicts: Mapping[str, str] | None = None,
    axes: tuple[str, str] = PLANE,
    fixed_points: ArrayLike = ((0.0, 0.0),),
    frames: int = 48,
    fps: float = 10.0,
) -> Path:
    """Save the panels of `phase_panels` as a GIF in which the paths grow.

    Args:
        velocity: `(x, y, u, v)` as in `portrait.Velocity`.
        rules: rule → its path `(n, 2)`, or several by name.
        path: where the GIF goes; its name ends in `.gif`.
        verdicts: rule → a short line.
        axes: names of the horizontal and the vertical axis, with units.
        fixed_points: `(k, 2)` stationary points.
        frames: how many, in [2, 200].
        fps: frames per second, in [1, 50].

    Returns:
        The path.

    Raises:
        InputError: as in `phase_panels` and `animate`.

    Example:
        >>> import tempfile
        >>> grid = np.linspace(-2, 2, 9)
        >>> still = (grid, grid, np.zeros((9, 9)), np.zeros((9, 9)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     animate_trajectories(still, {"a": [[1, 0], [0, 1]]}, f"{folder}/a.gif").name
        'a.gif'
    """
    target = _target(path, fps)
    fig, drawn = phase_scene(
        velocity, rules, verdicts=verdicts, axes=axes, fixed_points=fixed_points
    )
    return _save(_growing(fig, drawn, frames), target, fps)


def animate_orbits(
    rules: Mapping[str, Paths | ArrayLike],
    path: str | os.PathLike[str],
    *,
    verdicts: Mapping[str, str] | None = None,
    corners: Sequence[str] = CORNERS,
    equilibrium: ArrayLike | None = (1 / 3, 1 / 3, 1 / 3),
    heat: Heat | None = None,
    unit: str = "exploitability (payoff per round)",
    frames: int = 48,
    fps: float = 10.0,
) -> Path:
    """Save the panels of `ternary_panels` as a GIF in which the orbits grow.

    Args:
        rules: rule → its orbit `(n, 3)`, or several by name.
        path: where the GIF goes; its name ends in `.gif`.
        verdicts: rule → a short line.
        corners: the three actions.
        equilibrium: `(3,)` or `(k, 3)`, or None.
        heat: a function on the simplex, drawn in grey.
        unit: what `heat` is, with its unit.
        frames: how many, in [2, 200].
        fps: frames per second, in [1, 50].

    Returns:
        The path.

    Raises:
        InputError: as in `ternary_panels` and `animate`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     orbit = [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2]]
        ...     animate_orbits({"Hedge": orbit}, f"{folder}/a.gif", frames=2).name
        'a.gif'
    """
    target = _target(path, fps)
    fig, drawn = ternary_scene(
        rules, verdicts=verdicts, corners=corners, equilibrium=equilibrium, heat=heat, unit=unit
    )
    return _save(_growing(fig, drawn, frames), target, fps)


def _target(path: str | os.PathLike[str], fps: float) -> Path:
    """Check the name and the speed before anything is drawn."""
    target = Path(path)
    if target.suffix.lower() != ".gif":
        raise InputError(
            f"an animation cannot be saved to a name ending {target.suffix!r}",
            str(path),
            "use .gif",
        )
    if not 1 <= fps <= 50:
        raise InputError(f"fps is {fps}", "animate", "give a number in [1, 50]")
    return target


def _render(fig: Figure) -> np.ndarray:
    """Return the pixels of a figure, `(height, width, 3)`."""
    canvas = FigureCanvasAgg(fig)
    fig.set_dpi(_DPI)
    canvas.draw()
    return _pixels(canvas)


def _pixels(canvas: FigureCanvasAgg) -> np.ndarray:
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _growing(fig: Figure, drawn: Sequence[Drawn], frames: int) -> Iterator[np.ndarray]:
    """Draw what stands still once, and in each frame the tracks up to its step."""
    if not 2 <= frames <= 200:
        raise InputError(f"frames is {frames}", "animate", "give a number in [2, 200]")
    fig.set_dpi(_DPI)
    counter = fig.text(0.008, 0.008, "step 0", fontsize=10.5, color=INK, va="bottom")
    counter.set_in_layout(False)
    over = [line for ax in fig.axes for line in ax.lines if line.get_zorder() >= PATHS]
    over.sort(key=lambda line: line.get_zorder())
    for artist in (*over, counter):
        artist.set_animated(True)
    canvas: Any = FigureCanvasAgg(fig)
    canvas.draw()
    ground = canvas.copy_from_bbox(fig.bbox)
    last = max((one.track.last for one in drawn), default=0)
    for step in np.ceil(np.linspace(0, last, frames)).astype(int):
        canvas.restore_region(ground)
        for one in drawn:
            advance(one, int(step))
        for line in over:
            fig.draw_artist(line)
        counter.set_text(f"step {step}")
        fig.draw_artist(counter)
        yield _pixels(canvas)


def _indexed(images: Sequence[np.ndarray]) -> list[Image.Image]:
    """Give images `(height, width, 3)` one palette: the commonest colours of the last.

    Every colour becomes the nearest of the palette, so flat colours stay exact. One of the 256
    places stays free, with which the file leaves out what does not change.
    """
    codes = [
        image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32) for image in images
    ]
    found, counts = np.unique(codes[-1], return_counts=True)
    common = found[np.lexsort((found, -counts))[:_COLOURS]]
    palette = _split(common)
    place = np.full(1 << 24, _COLOURS, np.uint8)
    frames = []
    for code in codes:
        new = np.unique(code[place[code] == _COLOURS])
        place[new] = KDTree(palette).query(_split(new))[1]
        frame = Image.fromarray(place[code])
        frame.putpalette(palette.astype(np.uint8).tobytes())
        frames.append(frame)
    return frames


def _split(codes: np.ndarray) -> np.ndarray:
    """Return colours `(n, 3)` in [0, 255] from 24-bit codes."""
    return np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], axis=1).astype(np.float64)


def _save(images: Iterable[np.ndarray], path: Path, fps: float) -> Path:
    """Write the frames with one palette, whole or not at all."""
    frames = list(images)
    if not frames:
        raise InputError("no frames to save", "animate", "give at least one")
    sizes = sorted({frame.shape for frame in frames})
    if len(sizes) > 1:
        raise InputError(
            f"frames of several sizes: {sizes} (height, width, colours)",
            "animate",
            "draw them alike",
        )
    first, *rest = _indexed(frames)
    wait = round(100 / fps) * 10
    stream = io.BytesIO()
    first.save(
        stream,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=[wait] * len(rest) + [round(1000 * _HOLD)],
        loop=0,
        optimize=True,
    )
    write_bytes(path, stream.getvalue())
    return path
