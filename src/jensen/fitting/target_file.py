r"""A density from a user's file, `path.py:log_density`.

The file defines a function of one x `(D,)`, a JAX array, and how long x is:

    import jax.numpy as jnp
    dim = 2
    columns = ["a", "b"]          # names of the entries of x, if wanted
    scale = 5.0                   # how far from 0 there may be mass; 10 if left out
    def log_density(x):           # log p up to a constant; -inf outside the support
        return -0.5 * jnp.sum(x**2)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jensen._errors import InputError
from jensen.data.code import function_of, python_module
from jensen.fitting.target_options import SCALE, TargetOptions
from jensen.objectives.reverse import LogDensity

_EXAMPLE = "give path.py:log_density"


@dataclass(frozen=True)
class Target:
    """An unnormalised density and what is known of it.

    Args:
        log_density: log p̃ of one x `(D,)`.
        names: of the D entries of x.
        options: with `dim` and `scale` chosen.
        label: what messages call it.
        fingerprint: of the file, the function's name and D.
    """

    log_density: LogDensity
    names: tuple[str, ...]
    options: TargetOptions
    label: str
    fingerprint: str


def load_density(name: str, options: TargetOptions) -> Target:
    """Return the density of a user's file.

    Args:
        name: `path.py:function`.
        options: a `dim` or a `scale` here goes before the file's.

    Raises:
        InputError: if there is no such file or function, or `dim`, `columns` or `scale` in the
            file cannot be used.
    """
    path_text, colon, function = name.rpartition(":")
    if not colon or not path_text.endswith(".py") or not function:
        raise InputError(f"cannot read {name!r}", "--density", _EXAMPLE)
    path = Path(path_text)
    module = python_module(path, _EXAMPLE)
    log_density = function_of(module, function, path, "define log_density(x) of one x")
    columns = getattr(module, "columns", None)
    dim = _dim(options.dim or getattr(module, "dim", None), columns, path)
    names = tuple(f"x{i}" for i in range(1, dim + 1)) if columns is None else tuple(columns)
    if len(names) != dim or len(set(names)) != dim or not all(isinstance(n, str) for n in names):
        raise InputError(
            f"columns = {columns!r} are not the names of {dim} entries of x",
            str(path),
            f"give {dim} different names, or leave columns out",
        )
    scale = _scale(options.scale or getattr(module, "scale", None) or SCALE, path)
    options = replace(options, dim=dim, scale=scale)
    content = path.read_bytes() + f":{function}:{dim}".encode()
    return Target(log_density, names, options, name, hashlib.sha256(content).hexdigest())


def _dim(given: Any, columns: Any, path: Path) -> int:
    if given is None and isinstance(columns, list | tuple):
        given = len(columns)
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise InputError(
            "the length of x is not known" if given is None else f"dim = {given!r} is no length",
            str(path),
            "define dim = 2, say, beside the function, or write --set dim=2",
        )
    return given


def _scale(given: Any, path: Path) -> float:
    if not isinstance(given, int | float) or not 0 < given < float("inf"):
        raise InputError(
            f"scale = {given!r} is not a number above 0", str(path), "define scale = 10.0, say"
        )
    return float(given)
