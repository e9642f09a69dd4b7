"""Compile in less time what is run few times.

On a processor XLA makes each fused kernel by MLIR and then by LLVM's level 2. Many small programs,
each run for seconds, wait mostly for that. With the older emitters and level 1 all programs of a
study's trainings are compiled in less than half the time, single large ones in 60 to 90% of it
(`benchmarks/compile.md`). Training steps take from an eighth less to a fifth more, which long
trainings win and lose by turns, and short ones always win: the engine asks for it. Scores cost 1.4
to 1.9 times as much, so that `score` and `detect` leave XLA as it is; whole processes of `study`,
`verify` and `compare` ask for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

__all__ = ["compile_quickly", "quickly_compiled"]

_EMITTERS, _LEVEL = "--xla_cpu_use_fusion_emitters=false", "--xla_backend_optimization_level"
_KNOWN = (0, 7), (0, 10)
"""The first and the last jaxlib that knows both; XLA ends a process that names an unknown flag."""


def compile_quickly(level: int = 1) -> None:
    """Ask XLA for short compilation, before its first program; flags that a user set stay.

    Where JAX has a plugin for an accelerator, the level is left alone: it is that device's, too.

    Args:
        level: of LLVM's optimisation; 0 for programs that run but once, such as those of tests.
    """
    if not _known():
        return
    flags = os.environ.get("XLA_FLAGS", "")
    wanted = [_EMITTERS] if find_spec("jax_plugins") else [_EMITTERS, f"{_LEVEL}={level}"]
    added = [flag for flag in wanted if flag.partition("=")[0] not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *added]).strip()


def quickly_compiled(**how: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator like `equinox.filter_jit` that asks for short compilation on processors.

    The function takes no keyword arguments. Flags that a user set for the whole process stay.

    Args:
        **how: of `equinox.filter_jit`.

    Example:
        >>> @quickly_compiled()
        ... def twice(x):
        ...     return 2 * x
        >>> float(twice(np.float32(3.0)))
        6.0
    """

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @cache
        def program() -> Callable[..., Any]:
            import equinox as eqx

            given: dict[str, Any] = {"compiler_options": _options(), **how}
            return eqx.filter_jit(function, **given)

        @wraps(function)
        def call(*args: Any) -> Any:
            return program()(*args)

        return call

    return decorated


def _options() -> dict[str, Any] | None:
    """Return what a single program is compiled with; None for XLA as it is."""
    import jax

    if not _known() or jax.default_backend() != "cpu":
        return None
    flags = os.environ.get("XLA_FLAGS", "")
    names = {_EMITTERS.partition("=")[0]: False, _LEVEL: 1}
    return {name.removeprefix("--"): v for name, v in names.items() if name not in flags} or None


def _known() -> bool:
    """Return whether this jaxlib has both flags."""
    release = tuple(int(part) for part in version("jaxlib").split(".")[:2])
    return _KNOWN[0] <= release <= _KNOWN[1]
