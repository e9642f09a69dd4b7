"""MNIST by the flow of images: the page's section, from what the study printed.

    jensen study flow-anomaly --data DIR --out OUT --json > study.json
    python benchmarks/images.py study.json

DIR holds `mnist/` and `kmnist_test/` with the original IDX files.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from pathlib import Path

from density_page import put_section

PAGE = Path(__file__).parent / "density.md"


def main(path: str) -> None:
    """Write the section of a study's JSON document."""
    found = json.loads(Path(path).read_text())
    held = sum(claim["holds"] for claim in found["claims"])
    lines = [
        "## MNIST, and KMNIST found by it",
        "",
        f"Made by `jensen study flow-anomaly` and `benchmarks/images.py`: {datetime.date.today()},"
        f" {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
        "",
        f"{found['data']}; seed {found['seed']}; {found['seconds']:.0f} s in all,"
        f" {held} of {len(found['claims'])} claims hold. RealNVP is published at 1.06 bits a pixel"
        " (on uniformly dequantised MNIST), Glow at 1.05.",
        "",
        *[f"* {remark}" for remark in found["remarks"]],
    ]
    put_section(PAGE, "\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1])
