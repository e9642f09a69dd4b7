"""What a page is built of: cards, sections with tables and pictures, and the layout of a family.

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

_PIXELS = 125  # on the page, an inch of a figure


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
class Section:
    """A heading with its sentences, tables and pictures, in this order."""

    anchor: str
    title: str
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    words: Sequence[str] = ()


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
    pixels = round(_PIXELS * width), round(_PIXELS * height)
    return Picture(to_data_uri(fig), alt, caption, *pixels, wide=bool(width > WIDTH))
