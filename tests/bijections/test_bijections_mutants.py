"""The laws can fail: flip any sign of any log-determinant and a law breaks."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import bijection_laws as laws
import numpy as np
import pytest

from conftest import BIJECTIONS, unless_heavy
from jensen.bijections import (
    Affine,
    AffineTransformer,
    Chain,
    LULinear,
    MaskedAutoregressive,
    Planar,
    Radial,
    Repeat,
    SplineTransformer,
    Sylvester,
    elementwise,
    planar,
    radial,
)

VERBS = ("forward_and_log_det", "inverse_and_log_det")
BOTH = (*[(v,) for v in VERBS], VERBS)


def fresh() -> laws.Programs:
    """Return programs that compile the changed code; the reference stays as it was compiled."""
    programs = laws.Programs()
    programs.reference = laws.PROGRAMS.reference
    return programs


def flipped(verbs: tuple[str, ...], change: Callable) -> laws.Programs:
    """Return programs in which the log-determinants that `verbs` return are changed."""
    programs = fresh()

    def batch(*args: Any) -> tuple:
        f, f_log_det, g, g_log_det = laws.PROGRAMS.batch(*args)
        return (
            f,
            change(f_log_det) if VERBS[0] in verbs else f_log_det,
            g,
            change(g_log_det) if VERBS[1] in verbs else g_log_det,
        )

    programs.batch = batch
    return programs


@pytest.mark.parametrize(
    ("name", "verbs"),
    [unless_heavy(n, v, spare=v != VERBS) for v in BOTH for n in BIJECTIONS],
)
def test_a_flipped_log_determinant_is_caught(name, verbs):
    # the log-determinant of a permutation is zero and has no sign: it is moved instead
    change = (lambda v: v + 0.25) if name == "Permutation" else (lambda v: -v)
    laws.check(BIJECTIONS[name], 1, np.float64)
    with pytest.raises(AssertionError, match=r"log-determinant|antisymmetry"):
        laws.check(BIJECTIONS[name], 1, np.float64, flipped(verbs, change))


def mutants(function: Callable) -> Iterator[tuple[str, ast.Module]]:
    """Yield `function`'s source with one + or - exchanged in a statement about logarithms."""
    source = textwrap.dedent(inspect.getsource(function))
    signs = (ast.Add, ast.Sub, ast.USub)

    def places(tree: ast.Module) -> list[tuple[ast.stmt, Any]]:
        simple = (ast.Assign, ast.Return)
        statements = [n for n in ast.walk(tree) if isinstance(n, simple)]
        return [
            (statement, node)
            for statement in statements
            if any(word in ast.unparse(statement) for word in ("log", "total", " m", "top"))
            for node in ast.walk(statement)
            if isinstance(getattr(node, "op", None), signs)
        ]

    for i in range(len(places(ast.parse(source)))):
        tree = ast.parse(source)
        _, node = places(tree)[i]
        before = ast.unparse(node)
        node.op = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.USub: ast.UAdd}[type(node.op)]()
        yield f"{before} → {ast.unparse(node)}", tree


TARGETS = [
    (Affine, VERBS[0], "Affine"),
    (Affine, VERBS[1], "Affine"),
    (LULinear, VERBS[0], "LULinear"),
    (LULinear, VERBS[1], "LULinear"),
    (AffineTransformer, "apply", "Elementwise-affine"),
    (AffineTransformer, "invert", "Elementwise-affine"),
    (SplineTransformer, "invert", "Elementwise-spline"),
    (elementwise, "_log_slope", "Elementwise-spline"),
    (MaskedAutoregressive, VERBS[0], "MaskedAutoregressive-affine"),
    (Chain, VERBS[0], "Chain"),
    (Chain, VERBS[1], "Chain"),
    (Repeat, "_run", "Repeat"),
    (Planar, VERBS[0], "Planar"),
    (Planar, VERBS[1], "Planar"),
    (planar, "log_slope", "Planar"),
    (Radial, VERBS[0], "Radial"),
    (Radial, VERBS[1], "Radial"),
    (radial, "_log_det", "Radial"),
    (Sylvester, VERBS[0], "Sylvester"),
    (Sylvester, VERBS[1], "Sylvester"),
]


@pytest.mark.parametrize("target", TARGETS, ids=[f"{o.__name__}.{f}" for o, f, _ in TARGETS])
def test_each_flipped_sign_in_the_source_is_caught(target):
    owner, name, row = target
    original = getattr(owner, name)
    module = sys.modules[getattr(owner, "__module__", owner.__name__)]
    # the honest code passes, and compiles the reference before anything is changed
    laws.check(BIJECTIONS[row], 1, np.float64)
    n = 0
    for what, tree in mutants(original):
        n += 1
        space = dict(vars(module))
        exec(compile(tree, "<mutant>", "exec"), space)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, space[name])
            try:
                laws.check(BIJECTIONS[row], 1, np.float64, fresh())
            except AssertionError:
                continue
        pytest.fail(f"{owner.__name__}.{name}: {what} passes every law")
    assert n > 0
