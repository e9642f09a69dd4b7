"""What a page is built of: cards, sections, and the layout of a family.

A `Layout` is the whole of what one family of models shows: functions from the content of a report
to a card, or to a section, in reading order. Each looks whether its values are there and returns
None otherwise, so that nothing is ever shown empty. Every picture carries a text for readers who
cannot see it and one sentence on how to read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from jensen.report.canvas import WIDTH, to_data_uri
from jensen.report.content import Report

PIXELS = 125
"""Pixels of the page to an inch of a figure."""


@dataclass(frozen=True)
class Finding:
    """One card of the summary: a label, a value, and what the value means."""

    label: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Picture:
    """A figure: its `data:` address, a text that stands for it, how to read it, its pixels."""

    uri: str
    alt: str
    caption: str
    width: int
    height: int
    wide: bool


@dataclass(frozen=True)
class Table:
    """A table with a caption, a header row and rows of text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Slider:
    """A histogram of scores with a threshold that the reader moves.

    Args:
        data: what the script of the page reads: JSON that is safe inside an HTML page.
        steps: number of places of the slider.
        start: the place of the stated false-alarm rate.
        groups: `(name, look, SVG path)` of each histogram, in a box of 1000 × 300.
        ticks: `(place in % of the width, text)` of the axis of scores.
        anomalies: whether there are known anomalies.
        caption: how to read it.
    """

    data: str
    steps: int
    start: int
    groups: Sequence[tuple[str, str, str]]
    ticks: Sequence[tuple[float, str]]
    anomalies: bool
    caption: str


@dataclass(frozen=True)
class Bar:
    """One line of a table of bars: texts, then a value that runs left or right from the middle.

    Args:
        cells: the texts.
        value: the value as text.
        left: where the bar begins, in % of its room.
        width: how long it is, in %.
        low: whether the value is negative.
    """

    cells: Sequence[str]
    value: str
    left: float
    width: float
    low: bool


@dataclass(frozen=True)
class Fold:
    """A block that the reader opens: a line, a table of bars, and sentences below it."""

    title: str
    header: Sequence[str]
    bars: Sequence[Bar]
    words: Sequence[str]
    open: bool = False


@dataclass(frozen=True)
class Section:
    """A heading with its sentences, tables, slider, pictures and folds, in this order.

    With a slider, the first picture stands for it where there is no script, and in print.
    """

    anchor: str
    title: str
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    words: Sequence[str] = ()
    slider: Slider | None = None
    folds: Sequence[Fold] = ()


@dataclass(frozen=True)
class Layout:
    """What the pages of one family show, in reading order.

    Args:
        cards: the summary, most important first.
        sections: the rest of the page.
        footer: what the figures' units and errors are, in one sentence.
    """

    cards: Sequence[Callable[[Report], Finding | None]]
    sections: Sequence[Callable[[Report], Section | None]]
    footer: str


def picture(fig: Figure, alt: str, caption: str) -> Picture:
    """Return a figure ready for the page; broad ones scroll sideways on a phone.

    Args:
        fig: the figure.
        alt: a text that stands for it.
        caption: how to read it.
    """
    width, height = fig.get_size_inches()
    pixels = round(PIXELS * width), round(PIXELS * height)
    return Picture(to_data_uri(fig), alt, caption, *pixels, wide=bool(width > WIDTH))
