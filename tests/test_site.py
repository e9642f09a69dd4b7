"""The pages that the site makes: systems from a stored run, reference, and the build itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import prose
import reference
import systems
import verified

ROOT = Path(__file__).parent.parent
NAME = "dual-gan"
CLAIM = {"id": "sum", "statement": "1 + 1", "expected": 2.0, "measured": 2.0, "tolerance": 0.0}
STUDY = {"study": NAME, "seconds": 3.2, "seed": 0, "quick": True, "data": "made", "remarks": []}


def test_a_page_shows_the_claims_of_the_stored_run(tmp_path: Path) -> None:
    claims = [{**CLAIM, "holds": True}, {**CLAIM, "id": "b", "measured": None, "holds": False}]
    figure = tmp_path / "picture.png"
    figure.write_bytes(b"png")
    run = {**STUDY, "claims": claims, "figures": [str(figure), str(figure.with_suffix(".svg"))]}
    verified.keep({"studies": [run], "claims": 2, "held": 1}, tmp_path / "kept")
    text = (tmp_path / "kept/verify.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert (tmp_path / "kept" / NAME / "picture.png").read_bytes() == b"png"
    found = systems.stored(tmp_path / "kept/verify.json")
    page = systems.system_page(NAME, found[NAME])
    assert "| `sum`<br>1 + 1 | 2 | 2 | 0 | holds |" in page
    assert "| `b`<br>1 + 1 | 2 | not a number | 0 | FAILS |" in page
    assert "1 of 2 hold" in page
    assert f"](../verified/{NAME}/picture.png)" in page
    assert "| 1 of 2 |" in systems.systems_index(found)


def test_a_study_that_is_not_in_the_stored_run_is_said_to_be_missing(tmp_path: Path) -> None:
    assert systems.stored(tmp_path / "nowhere.json") == {}
    page = systems.system_page(NAME, None)
    assert systems.NOT_STORED in page
    assert "## Claims" not in page
    assert f"jensen study {NAME}" in page
    assert systems.systems_index({}).count("not in the stored run") == len(systems.STUDIES)
    crashed: dict[str, Any] = {**STUDY, "claims": [], "figures": [], "error": "a_b | c"}
    assert "ended with an error: a\\_b \\| c" in systems.system_page(NAME, crashed)


def test_marks_in_a_statement_are_shown_and_not_meant() -> None:
    claim = {**CLAIM, "statement": "|q*| of D* < E_q[p] `x`", "holds": True}
    row = systems.claims_table([claim]).splitlines()[-1]
    assert row.count(" | ") == 4
    assert r"\|q\*\| of D\* &lt; E\_q\[p\] \`x\`" in row


def test_a_docstring_keeps_equations_and_stress() -> None:
    text = "Both *at once*: q* and `a_b`\nof **1.1** E_q.\n\n    y = a*b*c\n\n    z = 1\n\nEnd."
    assert prose.markdown(text) == (
        "Both *at once*: q\\* and `a_b` of **1.1** E\\_q.\n\n"
        "```text\ny = a*b*c\n\nz = 1\n```\n\nEnd."
    )


def test_every_public_name_and_command_has_its_place() -> None:
    import jensen

    pages = "".join(reference.api_pages().values())
    assert sorted(re.findall(r"^::: jensen\.(\w+)$", pages, re.MULTILINE)) == sorted(jensen.__all__)
    commands = reference.commands_page()
    assert "## jensen fit" in commands
    assert "| `--alpha` |" in commands


def test_the_stored_run_has_the_studies_figures() -> None:
    folder = ROOT / "docs/verified"
    run = json.loads((folder / "verify.json").read_text(encoding="utf-8"))
    assert run["held"] == sum(c["holds"] for s in run["studies"] for c in s["claims"])
    for study in run["studies"]:
        assert study["study"] in systems.STUDIES
        assert all((folder / path).exists() for path in study["figures"])


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loads = re.compile(r"<(?:script|link|img)\b[^>]*(?:src|href)=[\"']?https?://")
    for page in tmp_path.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page.name
