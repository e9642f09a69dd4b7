"""One self-contained HTML page from the content of a report.

Figures, style and text all lie inside the file: it opens without a network, on a phone, and prints.
Everything that comes from the user (names of columns, notes, facts) is escaped by the template
engine. The same report gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from jensen.data.output import write_text
from jensen.report.content import Report
from jensen.report.page import Layout
from jensen.report.sections import DENSITY


def render(report: Report, layout: Layout = DENSITY) -> str:
    """Return the page of a report as HTML.

    Args:
        report: its content; sections without values are left out.
        layout: the cards and sections of its family.

    Returns:
        A whole HTML document with every figure inside it.

    Raises:
        InputError: when arrays of the report do not fit together.

    Example:
        >>> page = render(Report(title="A flow of two moons", subtitle="300 rows, 2 columns"))
        >>> page.startswith("<!DOCTYPE html>"), "A flow of two moons" in page
        (True, True)
    """
    environment = Environment(
        loader=PackageLoader("jensen.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = (card(report) for card in layout.cards)
    sections = (section(report) for section in layout.sections)
    return environment.get_template("report.html").render(
        report=report,
        findings=[card for card in cards if card is not None],
        sections=[section for section in sections if section is not None],
        footer=layout.footer,
    )


def write_report(report: Report, path: str | Path, layout: Layout = DENSITY) -> Path:
    """Write the page of a report, whole or not at all.

    Args:
        report: its content.
        path: the file to write; an existing one is replaced in one step.
        layout: the cards and sections of its family.

    Returns:
        The path.

    Raises:
        InputError: when arrays of the report do not fit together or the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_report(Report(title="A flow"), Path(folder) / "report.html")
        ...     path.name, path.stat().st_size > 1000
        ('report.html', True)
    """
    path = Path(path)
    write_text(path, render(report, layout))
    return path
