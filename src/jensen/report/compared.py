"""A comparison of families as a table and as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jensen._errors import InputError
from jensen.advising import advise
from jensen.comparing import ORACLE, Comparison, Judged
from jensen.data.output import TableWriter
from jensen.report.canvas import (
    BLUE,
    BROAD,
    GREY,
    PALE,
    VERMILION,
    caption,
    number,
    save,
    sheet,
    tidy,
    with_error,
)

HEADER = ("model", "log p", "kind", "JSD", "MMD²", "coverage", "fit s", "MiB")


def comparison_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return the figures of every family as text, in the order of `HEADER`; units: nats.

    A family without figures has the reason in the place of its log p.
    """
    return [_cells(one) for one in found.models]


def _cells(one: Judged) -> tuple[str, ...]:
    if one.reason:
        return (one.name, one.reason, *[""] * (len(HEADER) - 2))
    s = one.samples
    return (
        one.name,
        "" if one.rows is None else with_error(*one.log_prob),
        "" if one.kind == "none" else one.kind,
        with_error(s["jsd"], s["se"]) if s else "",
        number(s["mmd"], 2) if s else "",
        f"{s['coverage']:.2f}" if s else "",
        "" if np.isnan(one.seconds) else f"{one.seconds:.1f}",
        "" if np.isnan(one.memory) else f"{one.memory:.0f}",
    )


def comparison_figure(found: Comparison) -> Figure:
    """Draw log p (higher is better) and the divergence of samples (lower is better), 95% intervals.

    Args:
        found: a comparison in which at least one family has figures.

    Raises:
        InputError: when no family has any.
    """
    shown = [one for one in found.models if not one.reason]
    scored = [one for one in shown if one.rows is not None and np.isfinite(one.log_prob[0])]
    sampled = [one for one in shown if one.samples]
    if not scored and not sampled:
        raise InputError("no family has figures to draw", found.data)
    place = {one.name: at for at, one in enumerate(shown)}
    fig = sheet(1.4 + 0.36 * len(shown), BROAD)
    left, right = fig.subplots(1, 2, sharey=True)
    for one in scored:
        mean, se = one.log_prob
        left.errorbar(mean, place[one.name], xerr=1.96 * se, fmt="o", color=BLUE, capsize=4)
    for one in sampled:
        look = (
            {"fmt": "D", "color": GREY} if one.name == ORACLE else {"fmt": "s", "color": VERMILION}
        )
        s = one.samples
        right.errorbar(s["jsd"], place[one.name], xerr=1.96 * s["se"], capsize=4, **look)
    left.set_yticks(range(len(shown)), [one.name for one in shown], parse_math=False)
    left.set_ylim(len(shown) - 0.5, -0.5)
    for ax in (left, right):
        ax.grid(axis="x", color=PALE, linewidth=0.6)
        ax.set_axisbelow(True)
    tidy(left, "log p (nats per row)")
    tidy(right, "Jensen–Shannon divergence (nats)")
    caption(left, "Test rows: higher is better")
    caption(right, "Samples: lower is better")
    return fig


def write_comparison(found: Comparison, out: Path) -> dict[str, Any]:
    """Write `compare.csv` and the figure to a folder; return everything as plain data.

    Args:
        found: a finished comparison.
        out: the folder, which exists.

    Raises:
        InputError: if a file cannot be written, or no family has figures.
    """
    table = out / "compare.csv"
    with TableWriter(table) as writer:
        writer.write(_columns(found.models))
    figures = save(comparison_figure(found), out, "compare")
    return {
        "data": found.data,
        "split": dict(zip(("train", "validation", "test"), found.sizes, strict=True)),
        "models": [one.to_dict() for one in found.models],
        "recommendation": [advice.to_dict() for advice in advise(found)],
        "notes": found.notes,
        "jobs": found.jobs,
        "seconds": found.seconds,
        "table": str(table),
        "figures": [str(path) for path in figures],
    }


def _columns(models: list[Judged]) -> dict[str, np.ndarray]:
    """Return the columns of the table; a figure that is not there is a missing cell."""

    def numbers(values: list[float]) -> np.ndarray:
        return np.ma.masked_invalid(np.array(values, np.float64))

    samples = ("jsd", "se", "mmd", "mmd_p_value", "coverage")
    names = {"se": "jsd_se"}
    return {
        "model": np.array([one.name for one in models]),
        "log_prob": numbers([one.log_prob[0] for one in models]),
        "log_prob_se": numbers([one.log_prob[1] for one in models]),
        "kind": np.array([one.kind for one in models]),
        **{
            names.get(key, key): numbers([one.samples.get(key, np.nan) for one in models])
            for key in samples
        },
        "seconds": numbers([one.seconds for one in models]),
        "memory_mib": numbers([one.memory for one in models]),
        "chosen": np.array([one.chosen for one in models]),
        "reason": np.array([one.reason for one in models]),
    }
