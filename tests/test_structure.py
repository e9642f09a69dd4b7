"""The house: where imports may point, what `import jensen` loads, and the size of things."""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jensen

SOURCE = Path(jensen.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

ROOMS = (
    ("_typing", "_errors", "_xla"),
    ("nn", "data"),
    ("bijections",),
    ("models",),
    ("objectives", "games"),
    ("engine",),
    ("evaluation", "anomaly"),
    ("fitting", "spec"),
    ("runs", "parallel"),
    ("apply", "examine", "densities", "scoring", "comparing"),
    ("explaining", "detecting", "advising"),
    ("estimators", "report"),
    ("studies",),
    ("demo",),
    ("cli",),
    ("__init__", "__main__"),
)
"""From the bottom to the top: a module imports from its own room and from rooms above it here."""

RANK = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in ("jensen", *parts) if part != "__init__") or "jensen"


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


NAMES = {name_of(path) for path in MODULES}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(nodes: Iterator[ast.AST] | list[ast.AST]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (submodules & NAMES) or {node.module}
    return found


@functools.cache
def imported_by(path: Path) -> frozenset[str]:
    return frozenset(imports(list(ast.walk(tree_of(path)))))


def at_top(tree: ast.Module) -> list[ast.AST]:
    """Return the nodes that run on import: neither in functions nor for type checkers alone."""
    queue: list[ast.AST] = list(tree.body)
    found = []
    while queue:
        node = queue.pop()
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if checking or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        found.append(node)
        queue += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    room = room_of(name_of(path))
    if room == "__init__":
        return  # the public names come from everywhere, each when it is used
    assert room in RANK, f"give the room {room!r} its place in ROOMS"
    for target in imported_by(path):
        if target.startswith("jensen.") and room_of(target) != room:
            assert RANK[room_of(target)] < RANK[room], f"{name_of(path)} imports {target}"


def test_the_check_sees_a_wrong_import() -> None:
    lines = "from jensen.cli import main", "import jensen.cli", "from jensen import cli"
    for line in lines:
        assert imports(list(ast.walk(ast.parse(line)))) == {"jensen.cli"}
    assert RANK["cli"] > RANK["nn"]


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        name_of(p): {t for t in imports(at_top(tree_of(p))) if t.startswith("jensen")}
        for p in MODULES
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join((*path, module))
        if module not in done:
            for target in graph.get(module, ()):
                visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())
    assert len(done) >= len(MODULES)


def test_import_jensen_is_light() -> None:
    heavy = (
        "sklearn",
        "matplotlib",
        "pyarrow",
        "ray",
        "jax",
        "numpyro",
        "orbax",
        "pandas",
        "scipy",
    )
    code = f"import jensen, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert set(jensen.__all__) == set(jensen._HOME)
    for name in jensen.__all__:
        assert getattr(jensen, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Flwo'"):
        _ = jensen.Flwo


ONLY = {
    "matplotlib": {"report"},
    "sklearn.base": {"estimators"},
    "typer": {"cli"},
    "jinja2": {"report"},
    "rich": {"cli", "engine"},
}
"""Who alone may import what."""


@pytest.mark.parametrize("package", ONLY)
def test_some_packages_have_one_room(package: str) -> None:
    users = {
        room_of(name_of(p))
        for p in MODULES
        for t in imported_by(p)
        if t == package or t.startswith(package + ".")
    }
    assert users
    assert users <= ONLY[package]


def calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_command_line_prints_and_exits(path: Path) -> None:
    allowed = {
        "cli": {"print"},
        "engine": {"print"} if name_of(path).endswith("progress") else set(),
    }
    speaking = {"print", "input", "exit", "quit", "sys.exit", "os._exit", "breakpoint"}
    assert set(calls(tree_of(path))) & speaking <= allowed.get(room_of(name_of(path)), set())
    raised = {
        ast.unparse(node.exc)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Raise) and node.exc is not None
    }
    assert room_of(name_of(path)) == "cli" or not any(r.startswith("SystemExit") for r in raised)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_size_docstrings_and_no_assert(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise, never assert"
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"
    for owner in (tree, *(n for n in tree.body if isinstance(n, ast.ClassDef))):
        for node in owner.body:
            named = isinstance(node, ast.FunctionDef | ast.ClassDef)
            if named and not node.name.startswith("_"):
                private = isinstance(owner, ast.ClassDef) and owner.name.startswith("_")
                assert private or ast.get_docstring(node), f"{node.name} has no docstring"


def swallowed(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            silent = all(isinstance(n, ast.Pass | ast.Continue) for n in node.body)
            if silent or node.type is None or "NotImplementedError" in ast.unparse(node.type):
                yield node.lineno


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_swallowed(path: Path) -> None:
    assert list(swallowed(tree_of(path))) == []


@pytest.mark.parametrize("path", [p for p in MODULES if ">>> " in p.read_text()], ids=name_of)
def test_examples_hold(path: Path) -> None:
    module = importlib.import_module(name_of(path))
    globals_ = {**vars(module)}
    if "np" not in globals_:
        globals_["np"] = importlib.import_module("numpy")
    result = doctest.testmod(module, extraglobs=globals_, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
