"""The page of density figures: sections that several benchmarks write, each its own."""

from __future__ import annotations

import re
from pathlib import Path

TITLE = "# Density figures, as measured\n\nEach section is made by the benchmark that it names.\n"


def put_section(page: Path, section: str) -> None:
    """Write a section that starts with `## …`, in place of an older one with the same heading."""
    heading = section.split("\n", 1)[0]
    text = page.read_text() if page.exists() else TITLE
    parts = [part.strip() for part in re.split(r"^(?=## )", text, flags=re.MULTILINE)]
    kept = [part for part in parts if part.split("\n", 1)[0] != heading]
    page.write_text("\n\n".join([*kept, section.strip()]) + "\n")
