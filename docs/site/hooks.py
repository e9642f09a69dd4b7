"""What the site adds to the pages in `docs`: systems, reference, benchmarks, and working links."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

from jensen.studies.run import STUDIES
from reference import api_pages, commands_page
from systems import stored, system_page, systems_index

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")
OUTSIDE = ["CONTRIBUTING.md", "CHANGELOG.md"]
"""Pages beside `docs` that the site shows too; and those in `benchmarks`."""


def on_config(config: Any) -> Any:
    """Fill in the parts of the navigation whose pages are made here."""
    made = {
        "systems/": ["systems/index.md", *(f"systems/{name}.md" for name in STUDIES)],
        "api/": list(api_pages()),
        "benchmarks/": [f"benchmarks/{path.name}" for path in _benchmarks()],
    }
    config.nav = [_filled(item, made) for item in config.nav]
    return config


def _filled(item: Any, made: dict[str, list[str]]) -> Any:
    if isinstance(item, dict):
        return {title: _filled(inner, made) for title, inner in item.items()}
    if isinstance(item, list):
        return [_filled(inner, made) for inner in item]
    return made.get(item, item)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here."""
    found = stored(ROOT / "docs/verified/verify.json")
    pages = {f"systems/{name}.md": system_page(name, found.get(name)) for name in STUDIES}
    pages |= {"systems/index.md": systems_index(found), "commands.md": commands_page()}
    pages |= api_pages()
    for path in [*(ROOT / name for name in OUTSIDE), *_benchmarks()]:
        pages[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8")
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Point links at the site's pages; in the files they point at the repository's files."""
    here = Path(page.file.src_uri)
    lies = here if (ROOT / here).exists() else Path("docs") / here

    def placed(found: re.Match) -> str:
        target = Path(os.path.normpath(lies.parent / found[1]))
        if target == Path("README.md"):
            target = Path("index.md")
        elif target.parts[0] == "docs":
            target = target.relative_to("docs")
        return f"]({os.path.relpath(target, here.parent)}"

    return LINK.sub(placed, markdown)


def _benchmarks() -> list[Path]:
    return sorted((ROOT / "benchmarks").glob("*.md"))
