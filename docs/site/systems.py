"""The pages of the systems: a study's own words, its figures, its claims and its source.

What is checked comes from a stored run of `jensen verify` (`docs/verified.py` stores it); a study
that is not in it says so. Nothing is written here that a study or the run says already.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jensen.report.claims import claim_cells
from jensen.studies.run import STUDIES, title_of
from prose import markdown, paragraph, plain

Study = Mapping[str, Any]

NOT_STORED = (
    "This study is not in the stored run: its command makes its figures and checks its claims."
)


def stored(path: Path) -> dict[str, Study]:
    """Return the studies of a stored run by name; none where nothing is stored."""
    if not path.exists():
        return {}
    return {study["study"]: study for study in json.loads(path.read_text("utf-8"))["studies"]}


def system_page(name: str, study: Study | None) -> str:
    """Return the page of one system as Markdown.

    Args:
        name: one of the studies.
        study: what the stored run has of it, or None.
    """
    module = STUDIES[name]
    title, _, rest = _docstring(module).partition("\n")
    parts = [f"# {name}", f"**{paragraph(title)}**", markdown(rest), *_helpers(module)]
    parts += [f"```console\njensen study {name} --out {name}\n```"]
    parts += [f"!!! note\n    {NOT_STORED}"] if study is None else _found(study, title)
    parts += [_source(module)]
    return "\n\n".join(parts) + "\n"


def systems_index(found: Mapping[str, Study]) -> str:
    """Return the gallery of all systems as Markdown."""
    claims = [claim for study in found.values() for claim in study["claims"]]
    held = sum(claim["holds"] for claim in claims)
    rows = ["| | system | claims that hold |", "|---|---|---|"]
    rows += [_gallery_row(name, found.get(name)) for name in STUDIES]
    return "\n\n".join(
        [
            "# Systems",
            f"{len(STUDIES)} systems of theory. Each is a command, `jensen study NAME`, that "
            "computes its statements with the library, compares them with closed forms or "
            "quadrature, and draws its figures. `jensen verify` runs them all.",
            f"The stored run has {len(found)} of them, each in its short form: {held} of "
            f"{len(claims)} claims hold.",
            "\n".join(rows),
        ]
    )


def claims_table(claims: list[Mapping[str, Any]]) -> str:
    """Return claims as a table in Markdown."""
    rows = [
        "| claim | expected | measured | tolerance | |",
        "|---|---:|---:|---:|---|",
    ]
    for claim in claims:
        said = f"`{claim['id']}`<br>{plain(claim['statement'])}"
        rows.append("| " + " | ".join([said, *map(plain, _cells(claim))]) + " |")
    return "\n".join(rows)


def _cells(claim: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a claim's cells; JSON has null for a number that is not finite."""
    if claim["measured"] is None:
        claim = {**claim, "measured": float("nan")}
    return claim_cells(claim)


def _found(study: Study, title: str) -> list[str]:
    """Return what the stored run has of a study."""
    figures = [path for path in study["figures"] if path.endswith(".png")]
    parts = ["## Figures"] if figures else []
    parts += [
        f"![{plain(Path(path).stem)}: {plain(title)}](../verified/{path})" for path in figures
    ]
    parts += ["## Claims, as checked"]
    if "error" in study:
        return [*parts, f"!!! failure\n    It ended with an error: {plain(study['error'])}"]
    form = "short form" if study["quick"] else "full form"
    parts += [
        f"{_held(study)} hold. {form.capitalize()}, seed {study['seed']}, "
        f"{study['seconds']:.0f} s. Data: {plain(study['data'])}. Unless a statement says "
        "otherwise a tolerance is for rounding.",
        claims_table(study["claims"]),
    ]
    return parts + [f"* {plain(remark)}" for remark in study["remarks"]]


def _held(study: Study) -> str:
    return f"{sum(claim['holds'] for claim in study['claims'])} of {len(study['claims'])}"


def _gallery_row(name: str, study: Study | None) -> str:
    pictures = [path for path in study["figures"] if path.endswith(".png")] if study else []
    picture = f"![](../verified/{pictures[0]}){{ .thumbnail loading=lazy }}" if pictures else ""
    if study is None:
        held = "not in the stored run"
    else:
        held = "ended with an error" if "error" in study else _held(study)
    return f"| {picture} | [{name}]({name}.md)<br>{paragraph(title_of(name))} | {held} |"


def _helpers(module: str) -> list[str]:
    """Return the words of modules that the study's own words point at."""
    named = dict.fromkeys(re.findall(r"`(jensen\.studies\.\w+)`", _docstring(module)))
    parts = []
    for helper in named:
        title, _, rest = _docstring(helper).partition("\n")
        parts += [f"### {plain(helper)}", paragraph(title), markdown(rest)]
    return parts


def _docstring(module: str) -> str:
    return ast.get_docstring(ast.parse(_text(module))) or module


def _source(module: str) -> str:
    path = f"src/{module.replace('.', '/')}.py"
    code = "\n".join(f"    {line}".rstrip() for line in _text(module).splitlines())
    block = f'??? abstract "The study: `{path}`"\n    ```python\n{code}\n    ```'
    return f"<div markdown data-search-exclude>\n\n{block}\n\n</div>"


def _text(module: str) -> str:
    found = find_spec(module)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"the module {module} is not installed: install jensen first")
    return Path(found.origin).read_text("utf-8")
