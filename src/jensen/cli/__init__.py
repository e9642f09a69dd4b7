"""The command line: parses, calls, prints. No logic lives here.

Results go to standard output (with `--json` one JSON document and nothing else), progress and
remarks to standard error. Exit status: 0 done, 1 a claim failed, 2 usage or input, 3 the run
diverged, 130 interrupted. `--debug` anywhere on the line shows tracebacks.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

import typer

from jensen._errors import JensenError
from jensen.cli import anomaly, tables, theory
from jensen.cli.shared import app

__all__ = ["anomaly", "app", "main", "tables", "theory"]


def _use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder: the second run starts at once."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(home) / "jensen" / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # a full disk or a damaged entry costs the time of compiling, nothing else
    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")


def _fail(message: str, status: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def _explained(error: BaseException) -> tuple[str, int]:
    """Return the line that tells a user of an error, and the exit status."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return (
            "interrupted — a run that was training goes on with the same command and --resume",
            130,
        )
    if isinstance(error, JensenError):
        return str(error), error.exit_status
    if isinstance(error, OSError):
        return f"{error.strerror or error} — {error.filename or 'a file'} — check path and space", 2
    if isinstance(error, MemoryError):
        return "not enough memory — this machine — use fewer rows or a smaller model", 2
    usage = getattr(error, "format_message", None)
    if usage is not None:
        return f"{usage()} — see jensen --help", 2
    return (
        f"an unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]} — this is "
        "a fault of jensen — please report it with the output of --debug",
        70,
    )


def main() -> None:
    """Run the command line; every failure is one line and an exit status."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"] or ["--help"]
    _use_compilation_cache()
    try:
        status = typer.main.get_command(app).main(
            arguments, prog_name="jensen", standalone_mode=False
        )
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - no traceback for a user
        if debug:
            traceback.print_exc()
        _fail(*_explained(error))
    if status == 130:  # typer turned Ctrl-C into this status
        _fail(*_explained(KeyboardInterrupt()))
    raise SystemExit(status if isinstance(status, int) else 0)
