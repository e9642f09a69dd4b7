"""Errors that a user can act on.

Every error says three things: what is wrong, where, and how to mend it. The command line prints
them as one line, ``error: WHAT — WHERE — HOW TO MEND``, and ends with `exit_status`.
"""

from __future__ import annotations

from collections.abc import Iterable


class JensenError(Exception):
    """Base of every error that Jensen raises on purpose.

    Args:
        what: what is wrong, in plain words.
        where: the file, row, column, option or object it was found in; may be empty.
        mend: how to mend it; may be empty.
    """

    exit_status = 2

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        super().__init__(what, where, mend)
        self.what, self.where, self.mend = what, where, mend

    def __str__(self) -> str:
        return " — ".join(" ".join(part.split()) for part in self.args if part)


class InputError(JensenError, ValueError):
    """Data, an option or a run folder that cannot be used as given (exit status 2)."""


class DivergedError(JensenError, ArithmeticError):
    """Training left the finite numbers (exit status 3); the last good checkpoint is kept."""

    exit_status = 3


def nearest(name: str, choices: object) -> str:
    """Return `` (did you mean 'x'?)`` for the choice nearest to `name`, or an empty string."""
    from difflib import get_close_matches

    match = get_close_matches(name, [str(c) for c in choices], n=1, cutoff=0.5)  # type: ignore[attr-defined]
    return f" (did you mean {match[0]!r}?)" if match else ""


def check_name(name: str, choices: Iterable[str], kind: str, where: str = "") -> None:
    """Raise unless `name` is one of the choices.

    Args:
        name: what a user wrote.
        choices: what there is.
        kind: of thing, in plain words.
        where: the option it was given to.

    Raises:
        InputError: with the nearest choice, and all of them.

    Example:
        >>> check_name("optimstic", ["optimistic", "alternating"], "rule")
        Traceback (most recent call last):
        ...
        jensen._errors.InputError: unknown rule 'optimstic' (did you mean 'optimistic'?) ...
    """
    if name not in set(choices):
        raise InputError(
            f"unknown {kind} {name!r}{nearest(name, choices)}",
            where,
            f"choose one of {', '.join(choices)}",
        )
