"""Columns that are named as if they held labels."""

from __future__ import annotations

from collections.abc import Sequence

LABELS = ("label", "target", "class", "anomaly", "outlier", "is_anomaly")
"""Names that labels go by; and `y`, where no column is `x`."""


def label_notes(names: Sequence[str]) -> list[str]:
    """Return a remark on columns that are named like labels, or nothing.

    Example:
        >>> label_notes(["x", "y"])
        []
        >>> label_notes(["a", "Class"])[0][:35]
        "column 'Class' is named like a labe"
    """
    plain = [name.strip().lower() for name in names]
    labels = set(LABELS) | (set() if "x" in plain else {"y"})
    found = [name for name, low in zip(names, plain, strict=True) if low in labels]
    if not found:
        return []
    shown = ", ".join(map(repr, found))
    what = "is named like a label" if len(found) == 1 else "are named like labels"
    return [
        f"column{'s' if len(found) > 1 else ''} {shown} {what}, and used like any other column: "
        "leave labels out, for new rows must then have them too"
    ]
