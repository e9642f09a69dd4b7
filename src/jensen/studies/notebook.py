r"""What a study writes down: claims that may fail, figures, remarks.

A claim compares a measured number with what theory expects:

    equal      |measured - expected| <= tolerance
    at most    measured <= bound + tolerance
    at least   measured >= bound - tolerance

A number that is not finite never holds. Nothing here knows what is studied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jensen._errors import InputError


@dataclass(frozen=True)
class Claim:
    """One checked statement.

    Attributes:
        id: short name, unique in its study.
        statement: what is claimed, with units.
        expected: the number, or the bound as text (`≤ 0.01`).
        measured: what the run gave.
        tolerance: how far measured may lie from expected, in the same units; with its reason in
            the statement where it is not rounding.
        holds: whether it does.
    """

    id: str
    statement: str
    expected: float | str
    measured: float
    tolerance: float
    holds: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as plain data."""
        return dict(vars(self))


@dataclass
class Notebook:
    """Where a study runs, and what it found.

    Args:
        out: folder for the figures.
        quick: whether to take the short form, within a minute.
        seed: all randomness of the study.
        data: folder with full-size data, or None.
        animate: whether to save animations too.
    """

    out: Path
    quick: bool = False
    seed: int = 0
    data: Path | None = None
    animate: bool = False
    used: str = "made"
    claims: list[Claim] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def equal(
        self, id: str, statement: str, measured: Any, expected: float, tolerance: float
    ) -> None:
        """Claim that a number is `expected` within `tolerance`."""
        value = float(measured)
        holds = math.isfinite(value) and abs(value - expected) <= tolerance
        self._add(Claim(id, statement, float(expected), value, float(tolerance), holds))

    def at_most(
        self, id: str, statement: str, measured: Any, bound: float, tolerance: float = 0.0
    ) -> None:
        """Claim that a number is at most `bound`, give or take `tolerance`."""
        value = float(measured)
        holds = math.isfinite(value) and value <= bound + tolerance
        self._add(Claim(id, statement, f"≤ {bound:g}", value, float(tolerance), holds))

    def at_least(
        self, id: str, statement: str, measured: Any, bound: float, tolerance: float = 0.0
    ) -> None:
        """Claim that a number is at least `bound`, give or take `tolerance`."""
        value = float(measured)
        holds = math.isfinite(value) and value >= bound - tolerance
        self._add(Claim(id, statement, f"≥ {bound:g}", value, float(tolerance), holds))

    def true(self, id: str, statement: str, fact: Any) -> None:
        """Claim that something is so: expected 1, measured 1 or 0."""
        self._add(Claim(id, statement, 1.0, float(bool(fact)), 0.0, bool(fact)))

    def _add(self, claim: Claim) -> None:
        if any(claim.id == other.id for other in self.claims):
            raise InputError(f"two claims are called {claim.id!r}", "study", "name each once")
        self.claims.append(claim)

    def figure(self, figure: Any, name: str) -> None:
        """Save a figure as PNG and SVG."""
        from jensen.report.canvas import save

        self.figures.extend(save(figure, self.out, name))

    def remark(self, text: str) -> None:
        """Note something that a reader should know."""
        self.remarks.append(text)
