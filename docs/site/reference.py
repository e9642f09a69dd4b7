"""Pages of reference: public names by room, from their docstrings, and the commands' own help."""

from __future__ import annotations

from typing import Any

import typer

import jensen
from jensen.cli import app
from prose import paragraph

TITLES = {
    "estimators": "scikit-learn's face",
    "models": "Models",
    "bijections": "Bijections",
    "objectives": "Objectives",
    "games": "Games",
    "engine": "Training",
    "evaluation": "Evaluation",
    "anomaly": "Anomalies",
    "data": "Tables",
    "runs": "Runs",
    "fitting": "Densities of your own",
    "examine": "Stability",
    "studies": "Studies",
    "_errors": "Errors",
}
"""Room → title of its page, in the order of the navigation."""

FURTHER = {
    "models": ("priors", "posteriors", "observations", "scales"),
    "bijections": ("base", "affine", "elementwise", "coupling", "autoregressive", "compose"),
    "objectives": ("bounds", "gradients", "divergences", "adversarial", "penalties"),
    "games": ("rules", "sets", "matrix", "learners", "continuous", "spectrum"),
    "evaluation": ("evidence", "quadrature", "annealed", "discriminator", "samples", "coverage"),
    "anomaly": ("rules", "explain", "stream"),
}
"""Room → modules whose names are imported from there, not from `jensen`."""

_FULL = "\n    options: {show_root_full_path: true}"


def api_pages() -> dict[str, str]:
    """Return the pages of the public names: file name → Markdown."""
    rooms: dict[str, list[str]] = {room: [] for room in TITLES}
    for name, home in jensen._HOME.items():
        rooms[home.split(".")[1]].append(name)
    return {f"api/{room.strip('_')}.md": _room(room, names) for room, names in rooms.items()}


def _room(room: str, names: list[str]) -> str:
    parts = [f"# {TITLES[room]}"]
    if names:
        parts += ["As `import jensen as jn` has them."]
    parts += [f"::: jensen.{name}" for name in sorted(names)]
    parts += [f"::: jensen.{room}.{module}{_FULL}" for module in FURTHER.get(room, ())]
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """Return the page of the commands, as `--help` tells of them."""
    group: Any = typer.main.get_command(app)
    parts = [
        "# Commands",
        *group.help.split("\n\n"),
        "What `jensen COMMAND --help` prints. What options of models mean: "
        "[options, run folders, errors](reference.md).",
    ]
    for name, command in group.commands.items():
        words = [p.metavar for p in command.params if p.param_type_name == "argument"]
        usage = " ".join(["jensen", name, *filter(None, words), "[OPTIONS]"])
        parts += [f"## jensen {name}", command.help, f"```text\n{usage}\n```", _options(command)]
    return "\n\n".join(parts) + "\n"


def _options(command: Any) -> str:
    rows = ["| | meaning | if left out |", "|---|---|---|"]
    for given in command.params:
        label = ", ".join(given.opts) if given.param_type_name == "option" else given.metavar
        rows.append(f"| `{label}` | {paragraph(given.help or '')} | {_default(given)} |")
    return "\n".join(rows)


def _default(given: Any) -> str:
    if given.required:
        return "must be given"
    shown = given.default is not None and not isinstance(given.default, bool)
    return f"`{given.default}`" if shown and given.param_type_name == "option" else ""
