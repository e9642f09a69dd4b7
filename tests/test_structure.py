"""The structure of the source: who may import whom, what stays light, what every name explains."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "jensen"
FILES = sorted(SOURCE.rglob("*.py"))
# a room may import from rooms before it, and from itself; rooms on one line not from each other
RANKS = [
    {"_typing", "_errors"},
    {"nn", "data"},
    {"bijections"},
    {"models"},
    {"objectives", "games"},
    {"engine"},
    {"evaluation", "anomaly"},
    {"fitting", "spec"},
    {"runs"},
    {"apply"},
    {"estimators", "report"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
RANK = {room: i for i, rooms in enumerate(RANKS) for room in rooms}
HEAVY = ("sklearn", "matplotlib", "pyarrow", "ray", "jax", "numpyro", "orbax", "pandas")


def room(path: Path) -> str:
    """Return the room a file is in: its folder under `jensen`, or its own name."""
    inside = path.relative_to(SOURCE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imported_rooms(tree: ast.AST) -> set[str]:
    """Return the rooms of `jensen` that a module imports anywhere."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jensen"):
            parts = (node.module or "").split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            found.update(names)
        elif isinstance(node, ast.Import):
            found.update(
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("jensen.")
            )
    return found


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":  # the public names: loaded when first used
        return
    assert here in RANK, f"give the new room {here!r} a rank"
    for other in imported_rooms(parsed(path)) - {here}:
        assert RANK[other] < RANK[here], f"{here} must not import {other}"


def test_the_check_sees_a_wrong_import() -> None:
    assert imported_rooms(ast.parse("from jensen.cli import main")) == {"cli"}
    assert RANK["cli"] > RANK["nn"]


def test_importing_jensen_is_light() -> None:
    code = f"import sys, jensen; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_loads() -> None:
    import jensen

    for name in jensen.__all__:
        assert getattr(jensen, name) is not None


def uses(path: Path, name: str) -> bool:
    """Return whether a module calls the bare function `name`."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(parsed(path))
    )


def test_only_the_command_line_prints_or_exits() -> None:
    allowed = {SOURCE / "cli.py", SOURCE / "engine" / "progress.py"}
    for path in FILES:
        if path not in allowed:
            assert not uses(path, "print"), path
            assert not uses(path, "exit"), path
            assert "sys.exit" not in path.read_text(encoding="utf-8"), path


def test_only_the_report_draws() -> None:
    for path in FILES:
        if room(path) != "report":
            for node in ast.walk(parsed(path)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not any(n.split(".")[0] == "matplotlib" for n in names), path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_are_small_documented_and_raise(path: Path) -> None:
    text, tree = path.read_text(encoding="utf-8"), parsed(path)
    assert ast.get_docstring(tree), "a module needs a docstring"
    assert text.count("\n") <= 400, "a file has at most 400 lines"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise, never assert"
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines, at most 60"
        if isinstance(node, ast.ExceptHandler):
            silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert node.type is not None, "name the exceptions"
            assert not silent, f"line {node.lineno}: an exception is swallowed"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} needs a docstring"


def test_doctests() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--doctest-modules", "-q", "-p", "no:cacheprovider"]
        + [str(SOURCE)],
        capture_output=True,
        text=True,
        cwd=SOURCE.parent.parent,
    )
    assert done.returncode == 0, done.stdout[-4000:]
