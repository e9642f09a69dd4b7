"""Commands on theory: run a study, solve a matrix game, ask whether a game is stable."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jensen._errors import InputError
from jensen._xla import compile_quickly
from jensen.cli.shared import Json, aligned, app, note, settings_of, show

if TYPE_CHECKING:
    import numpy as np

    from jensen.games.matrix import Equilibrium
    from jensen.games.payoff import Payoff
    from jensen.games.stability import Stability
    from jensen.studies.run import Finished
    from jensen.studies.verify import Verified


@app.command()
def study(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which study.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the studies and stop.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the figures [study-NAME].")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The short form, within a minute.")
    ] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Folder with full-size data.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="All randomness of the study.")] = 0,
    animate: Annotated[bool, typer.Option("--animate", help="Save animations too.")] = False,
    as_json: Json = False,
) -> None:
    """Run a system of theory: its claims checked against ground truth, and its figures."""
    from jensen.studies.run import STUDIES, run_study, title_of

    if list_ or name is None:
        if not list_:
            raise InputError("which study?", "study", "give a NAME, or --list to see them")
        titles = {one: title_of(one) for one in STUDIES}
        lines = [f"{one:22}{title}" for one, title in titles.items()]
        show({"studies": list(STUDIES), "titles": titles}, as_json, lines)
        return
    compile_quickly()
    folder = out or Path(f"study-{name}")
    found = run_study(name, folder, quick=quick, data=data, seed=seed, animate=animate)
    for remark in found.notebook.remarks:
        note(remark)
    show(found.to_dict(), as_json, _claims(found))
    if not found.holds:
        raise typer.Exit(1)


def _claims(found: Finished) -> list[str]:
    """Return the table of claims as lines."""
    claims = found.notebook.claims
    held = sum(claim.holds for claim in claims)
    lines = [found.title, ""]
    for claim in claims:
        mark = "holds" if claim.holds else "FAILS"
        expected = claim.expected
        if isinstance(expected, float):
            expected = f"{expected:.6g}"
        within = f" ± {claim.tolerance:.2g}" if claim.tolerance else ""
        lines.append(f"{mark}  {claim.statement}")
        lines.append(f"       measured {claim.measured:.6g}, expected {expected}{within}")
    lines.append("")
    lines.append(f"{held} of {len(claims)} claims hold; {found.seconds:.1f} s")
    lines.extend(f"figure       {path}" for path in found.notebook.figures)
    return lines


@app.command()
def verify(
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and the figures.")] = Path(
        "verify"
    ),
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Studies at a time [one per processor].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run all studies in their short form: one table of claims, and a page with every figure."""
    from jensen.studies.verify import verify as run_all

    compile_quickly()
    found = run_all(out, jobs=jobs, told=_told)
    show(found.to_dict(), as_json, _verified(found, out))
    if not found.holds:
        raise typer.Exit(1)


def _told(study: dict[str, Any]) -> None:
    """Say on standard error that a study is done."""
    held = sum(claim["holds"] for claim in study["claims"])
    if "error" in study:
        what = f"ended with an error: {study['error']}"
    else:
        what = f"{held} of {len(study['claims'])} claims hold, {study['seconds']:.0f} s"
    note(f"{study['study']}: {what}")


def _verified(found: Verified, out: Path) -> list[str]:
    """Return the table of all claims as lines, and what fails again below it."""
    from jensen.report.claims import claim_cells

    header = ("study", "claim", "expected", "measured", "tolerance", "holds")
    rows = [
        (study["study"], claim["id"], *claim_cells(claim))
        for study in found.studies
        for claim in study["claims"]
    ]
    failed = [f"FAILS  {name}: ended with an error" for name in found.ended]
    failed += [f"FAILS  {study}: {claim}" for study, claim, *_, holds in rows if holds == "FAILS"]
    total = f"{found.held} of {found.claims} claims hold in {len(found.studies)} studies"
    page = out / "verify.html"
    return [
        *aligned([header, *rows]),
        "",
        *failed,
        f"{total}; {found.seconds:.0f} s",
        f"page   {page}",
    ]


@app.command("solve-game")
def solve_game(
    payoff: Annotated[
        str, typer.Argument(metavar="PAYOFF", help="CSV or NPY: the row player's payoff.")
    ],
    as_json: Json = False,
) -> None:
    """Solve a matrix game exactly: value, both strategies, and a certificate of optimality."""
    from jensen.games.matrix import solve_game as solve
    from jensen.games.payoff import read_payoff

    table = read_payoff(payoff)
    found = solve(table)
    result = {
        "value": found.value,
        "row": found.row.tolist(),
        "column": found.column.tolist(),
        "gap": found.gap,
        "unique": found.unique,
        "lower": found.lower,
        "upper": found.upper,
        "scale": found.scale,
        "method": found.method,
        "row_unique": found.row_unique,
        "column_unique": found.column_unique,
        "row_names": table.rows,
        "column_names": table.columns,
    }
    for side in ("row_vertices", "column_vertices"):
        corners = getattr(found, side)
        result[side] = None if corners is None else corners.tolist()
    show(result, as_json, _equilibrium(found, table))


def _equilibrium(found: Equilibrium, table: Payoff) -> list[str]:
    """Return an equilibrium as lines."""

    def strategy(p: np.ndarray, names: tuple[str, ...] | None) -> str:
        named = names or [str(i + 1) for i in range(len(p))]
        played = [(name, x) for name, x in zip(named, p.tolist(), strict=True) if x > 0]
        first = ", ".join(f"{name}: {x:.6g}" for name, x in played[:8])
        return first + (f", … ({len(played)} actions played)" if len(played) > 8 else "")

    only = {True: "the only one", False: "one of many", None: "uniqueness not examined"}
    value = 0.0 if abs(found.value) <= 1e-12 * found.scale else found.value
    return [
        f"value        {value:.10g} to the row player",
        f"row          {strategy(found.row, table.rows)} ({only[found.row_unique]})",
        f"column       {strategy(found.column, table.columns)} ({only[found.column_unique]})",
        f"certificate  neither player gains more than {found.gap:.3g} by leaving",
    ]


@app.command()
def stability(
    game: Annotated[
        str,
        typer.Argument(
            metavar="GAME",
            help="dirac-gan, bilinear, gaussian-gan, robust-logistic, path.py:losses, or the run "
            "folder of a GAN.",
        ),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the game, or step=0.2."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether a game is stable where it rests: its spectrum, and a verdict per update rule."""
    from jensen.examine import stability_of

    with redirect_stdout(sys.stderr):  # what a user's file prints is a remark, not the result
        found = stability_of(game, settings_of(set_))
    show(found.to_dict(), as_json, _stability(found))


def _place(point: np.ndarray) -> str:
    """Return the first entries of a point, rounding noise as 0."""
    return ", ".join(f"{0.0 if abs(x) < 1e-12 else x:.6g}" for x in point[:6].tolist())


def _stability(found: Stability) -> list[str]:
    """Return what a game does as lines."""
    shown = _place(found.point)
    more = f", … ({len(found.point)} entries)" if len(found.point) > 6 else ""
    lines = [
        f"game         {found.game}",
        f"point        ({shown}{more}), max |v| = {found.residual:.2g}",
    ]
    values = found.spectrum.values
    shown = ", ".join(
        f"{z.real + 0.0:.6g}{z.imag:+.6g}i" if z.imag else f"{z.real:.6g}" for z in values[:8]
    )
    rest = f", … ({len(values)})" if len(values) > 8 else ""
    kind = "eigenvalues" if found.spectrum.whole else "extreme"
    lines += [f"{kind:13}{shown}{rest}", f"flow         {found.continuous}", ""]
    several = len(set(found.steps)) > 1
    steps = ", ".join(f"{s:g}" for s in (found.steps if several else found.steps[:1]))
    lines.append(f"{'rule':20}{'radius':>12}  {'verdict':10}largest stable step (now {steps})")
    for name, rule in found.rules.items():
        largest = f"{rule.largest_stable_step:.6g}"
        largest = {"0": "none", "inf": "no limit", "nan": "not sought"}.get(largest, largest)
        lines.append(f"{name:20}{rule.radius:12.6f}  {rule.verdict:10}{largest}")
    for point, verdict in found.points:
        lines.append(f"{'another point':20}({_place(point)}{more}): {verdict}")
    return lines + ([""] if found.remarks else []) + [f"- {remark}" for remark in found.remarks]
