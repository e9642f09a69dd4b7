"""Every example of the documentation runs: Python blocks in process, console blocks in a shell.

The blocks of a page run in their order and in one folder, so that a later one may use the files of
an earlier one; Python names do not pass from block to block.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")

sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "docs" / "site")]  # what makes the site
import prose
import reference
import systems
import verified

NAME = "dual-gan"
CLAIM = {"id": "sum", "statement": "1 + 1", "expected": 2.0, "measured": 2.0, "tolerance": 0.0}
STUDY = {"study": NAME, "seconds": 3.2, "seed": 0, "quick": True, "data": "made", "remarks": []}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def examples(page: Path) -> list[tuple[str, str]]:
    """Return language and text of the blocks that run."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(name, code) for name, code in found if name in ("python", "console")]


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=name_of)
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for number, (language, code) in enumerate(examples(page)):
        if language == "python":
            exec(compile(code, f"{page.name}, block {number}", "exec"), {"__name__": "__example__"})
            continue
        for line in code.splitlines():
            if line.startswith("jensen "):
                done = subprocess.run(line, shell=True, capture_output=True, text=True)
                assert done.returncode == 0, f"block {number}: {line}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_point_at_files_and_headings(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target) if target else page
        made = page.parent / target
        if made.parent.name in ("systems", "api") or made.name == "commands.md":
            continue  # pages that the site makes: its build checks these links
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
            assert anchor[1:] in [re.sub(r"[\s-]+", "-", slug) for slug in slugs], target + anchor


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
    assert "| `sum` | 1 + 1 | 2 | 2 | 0 | holds |" in page
    assert "| `b` | 1 + 1 | 2 | not a number | 0 | FAILS |" in page
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
    assert row.count(" | ") == 5
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
