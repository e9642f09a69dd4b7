"""Every example of the documentation runs.

The blocks of a page run in their order and in one folder, so that a later one may use the files of
an earlier one; Python names do not pass from block to block. Lines that begin with `jensen` go to
the command line's own entry point, in this process.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cli_tools import caller

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def examples(page: Path) -> list[tuple[str, str]]:
    """Return language and text of the blocks that run."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(name, code) for name, code in found if name in ("python", "console")]


EVERYDAY = {"README.md", "docs/tutorial.md"}
"""Pages whose examples run in every run of the tests; those of the others train for minutes."""
WITH_EXAMPLES = [
    pytest.param(page, marks=() if name_of(page) in EVERYDAY else pytest.mark.slow)
    for page in PAGES
    if examples(page)
]


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cli = caller(monkeypatch, capsys)
    for number, (language, code) in enumerate(examples(page)):
        if language == "python":
            exec(compile(code, f"{page.name}, block {number}", "exec"), {"__name__": "__example__"})
            continue
        for line in code.splitlines():
            program, *arguments = shlex.split(line, comments=True) or [""]
            if program == "jensen":
                status, _, said = cli(*arguments)
                assert status == 0, f"block {number}: {line}\n" + "\n".join(said)


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
