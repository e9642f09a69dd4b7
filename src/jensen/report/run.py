r"""The report of a run: the page of its family.

A family's page is one row of `PAGES`: what reads the run into a `Report`, and the layout, a list of
cards and a list of sections. Nothing else asks which family a run is of. A new family brings

1. a module with its content: `content(run, asked) -> Report` (`flow.py`, `gan.py`, `latent.py` are
   such), and a field of `Report` for what no other family has (`game` for GANs, `hidden` for models
   with latent variables);
2. a module with its own sections, functions of the report, and its layout (`game.py`, `hidden.py`
   are such), which also takes any of the shared ones (`sections.py`: facts, learning curves,
   likelihood, data beside samples, images, calibration, detection);
3. its row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jensen._errors import InputError
from jensen.apply import Note
from jensen.report.content import Report
from jensen.report.facts import Asked
from jensen.report.flow import flow_content
from jensen.report.game import GAME
from jensen.report.gan import gan_content
from jensen.report.hidden import LATENT
from jensen.report.html import write_report
from jensen.report.latent import latent_content
from jensen.report.page import Layout
from jensen.report.sections import DENSITY
from jensen.report.target import TARGET, target_content
from jensen.runs import Run


@dataclass(frozen=True)
class Page:
    """The page of a family.

    Args:
        content: reads what is to be shown off a run.
        layout: the cards and sections, in order.
    """

    content: Callable[[Run, Asked], Report]
    layout: Layout


PAGES: dict[str, Page] = {
    "flow": Page(flow_content, DENSITY),
    "detector": Page(flow_content, DENSITY),
    "gan": Page(gan_content, GAME),
    "vae": Page(latent_content, LATENT),
    "iwae": Page(latent_content, LATENT),
    "target": Page(target_content, TARGET),
}
"""The page of every family, by its name in `--model`."""


def report_run(
    run: Run,
    *,
    normal: Any = None,
    anomalies: Any = None,
    alpha: float | None = None,
    note: Note = print,
) -> Path:
    """Write `report.html` into the run folder.

    Args:
        run: a finished run.
        normal: fresh normal rows, anything `open_table` opens; the run's held-out rows if None.
        anomalies: known anomalies, or None.
        alpha: stated false-alarm rate; None for 0.05, or the smallest the run reaches above it.
        note: receives remarks.

    Returns:
        The path of the page.

    Raises:
        InputError: for data that does not fit the run, an α it cannot reach, an option that the
            family has no use for, or a family without a page.
    """
    family = run.spec["model"]
    if family not in PAGES:
        raise InputError(
            f"there is no report of a {family} yet",
            str(run.folder),
            f"reports are made of {', '.join(PAGES)}",
        )
    page = PAGES[family]
    report = page.content(run, Asked(normal, anomalies, alpha, note))
    return write_report(report, run.folder / "report.html", page.layout)
