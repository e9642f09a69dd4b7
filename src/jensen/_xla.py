"""Compile in less time what is run few times.

On a processor XLA makes each fused kernel by MLIR and then by LLVM's level 2. Many small programs,
each run for seconds, wait mostly for that. With the older emitters and level 1 all programs of a
study's trainings are compiled in less than half the time, single large ones in 60 to 90% of it
(`benchmarks/compile.md`). Steps cost up to a fifth more, and scores 1.4 to 1.9 times as much, so
that `fit`, `score` and `detect` leave XLA as it is.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from importlib.util import find_spec

__all__ = ["compile_quickly"]

_EMITTERS, _LEVEL = "--xla_cpu_use_fusion_emitters=false", "--xla_backend_optimization_level"
_KNOWN = (0, 7), (0, 10)
"""The first and the last jaxlib that knows both; XLA ends a process that names an unknown flag."""


def compile_quickly(level: int = 1) -> None:
    """Ask XLA for short compilation, before its first program; flags that a user set stay.

    Where JAX has a plugin for an accelerator, the level is left alone: it is that device's, too.

    Args:
        level: of LLVM's optimisation; 0 for programs that run but once, such as those of tests.
    """
    release = tuple(int(part) for part in version("jaxlib").split(".")[:2])
    if not _KNOWN[0] <= release <= _KNOWN[1]:
        return
    flags = os.environ.get("XLA_FLAGS", "")
    wanted = [_EMITTERS] if find_spec("jax_plugins") else [_EMITTERS, f"{_LEVEL}={level}"]
    added = [flag for flag in wanted if flag.partition("=")[0] not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *added]).strip()
