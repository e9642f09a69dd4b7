"""The page of claims: what was expected, what was measured, and every figure of every study.

Its content is the plain data of finished studies, so it knows none of them. Of each figure's files
the smaller one lies inside the page.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jensen.report.canvas import DPI, WIDTH, number
from jensen.report.content import Report
from jensen.report.html import render
from jensen.report.page import PIXELS, Finding, Layout, Picture, Section, Table

_MIME = {".png": "image/png", ".svg": "image/svg+xml"}


def claims_page(studies: Sequence[Mapping[str, Any]], seconds: float) -> str:
    """Return the page of finished studies as HTML.

    Args:
        studies: each as `jensen.studies.run.Finished.to_dict`, its figures as PNG and SVG files;
            with `error` where it did not come to its end.
        seconds: that all of them took.

    Raises:
        OSError: if a figure cannot be read.

    Example:
        >>> claim = {"statement": "1 + 1", "expected": 2.0, "measured": 2.0}
        >>> claim |= {"tolerance": 0.0, "holds": True}
        >>> study = {"study": "sums", "title": "Sums.", "claims": [claim], "figures": []}
        >>> "1 of 1" in claims_page([study], 3.0)
        True
    """
    claims = [claim for study in studies for claim in study["claims"]]
    held, ended = sum(claim["holds"] for claim in claims), [s for s in studies if "error" in s]
    right = "All hold" if held == len(claims) and not ended else "Not all hold"
    cards = [
        Finding("Claims that hold", f"{held} of {len(claims)}", "Each could have failed."),
        Finding(
            "Studies", f"{len(studies) - len(ended)} of {len(studies)}", "That came to their end."
        ),
    ]
    layout = Layout(
        cards=tuple(lambda _, card=card: card for card in cards),
        sections=tuple(lambda _, study=study: _section(study) for study in studies),
        footer=f"All studies in their short form, {seconds:.0f} s. Unless a statement says "
        "otherwise a tolerance is for rounding.",
    )
    notes = [f"{study['study']} ended with an error: {study['error']}" for study in ended]
    notes += [f"fails: {claim['statement']}" for claim in claims if not claim["holds"]]
    return render(Report(title="Claims, checked", subtitle=f"{right}.", notes=notes), layout)


def claim_cells(claim: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return a claim's expected, measured, tolerance and `holds` or `FAILS` as text.

    Example:
        >>> claim_cells({"expected": 0.5, "measured": 0.4, "tolerance": 0.01, "holds": False})
        ('0.5', '0.4', '0.01', 'FAILS')
    """
    expected = claim["expected"]
    return (
        number(expected, 6) if isinstance(expected, float) else expected,
        number(claim["measured"], 6),
        number(claim["tolerance"], 2),
        "holds" if claim["holds"] else "FAILS",
    )


def _section(study: Mapping[str, Any]) -> Section:
    title = study.get("title", study["study"])
    header = ("claim", "expected", "measured", "tolerance", "holds")
    rows = [(claim["statement"], *claim_cells(claim)) for claim in study["claims"]]
    said = [f"It ended with an error: {study['error']}"] if "error" in study else [title]
    return Section(
        study["study"],
        study["study"],
        tables=[Table(f"{len(rows)} claims", header, rows)] if rows else (),
        pictures=_pictures(study["figures"], title),
        words=[*said, *study.get("remarks", ())],
    )


def _pictures(paths: Sequence[str], title: str) -> list[Picture]:
    """Return each figure once, from the smaller of its files."""
    files: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        if path.suffix in _MIME:
            files.setdefault(path.stem, []).append(path)
    found = []
    for name, kinds in files.items():
        best = min(kinds, key=lambda path: path.stat().st_size)
        uri = f"data:{_MIME[best.suffix]};base64,{base64.b64encode(best.read_bytes()).decode()}"
        wide, high = _inches(next(path for path in kinds if path.suffix == ".png"))
        pixels = round(PIXELS * wide), round(PIXELS * high)
        alt = f"Figure {name}: {title}"
        found.append(Picture(uri, alt, name, *pixels, wide=wide > WIDTH))
    return found


def _inches(png: Path) -> tuple[float, float]:
    """Return the width and height of a figure, from the header of its PNG file."""
    wide, high = struct.unpack(">II", png.read_bytes()[16:24])
    return wide / DPI, high / DPI
