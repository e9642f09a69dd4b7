r"""A function in a user's Python file, written `path.py:function`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from jensen._errors import InputError, nearest


def python_module(path: Path, mend: str) -> Any:
    """Run a Python file and return it as a module; it may import its neighbours.

    Args:
        path: the file.
        mend: what to give instead.

    Raises:
        InputError: if there is no such file, or it fails.
    """
    if not path.is_file():
        raise InputError("there is no such file", str(path), mend)
    spec = importlib.util.spec_from_file_location(f"_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError("this file cannot be read as Python", str(path), mend)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.resolve().parent))  # so that it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise InputError(
            f"the file fails: {type(error).__name__}: {error}", str(path), "run it by itself"
        ) from error
    finally:
        sys.path.pop(0)
    return module


def function_of(module: Any, name: str, path: Path, mend: str) -> Any:
    """Return the function called `name`.

    Args:
        module: what `python_module` returned.
        name: of the function.
        path: of the file.
        mend: what to define.

    Raises:
        InputError: if there is none; the nearest is suggested.
    """
    found = getattr(module, name, None)
    if not callable(found):
        public = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
        raise InputError(
            f"no function {name!r} in the file{nearest(name, public)}", str(path), mend
        )
    return found
