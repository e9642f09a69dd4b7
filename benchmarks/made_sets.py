"""How near flows come to the known densities of the made sets.

    python benchmarks/made_sets.py run --architecture continuous --sets swiss-roll moons
    python benchmarks/made_sets.py table       # writes its section of density.md

`run` adds a line for each fit to `results/made_sets.jsonl`; a later line of the same set,
architecture and settings takes the place of an earlier one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from density_page import put_section
from flows import machine

from jensen.apply import evaluate_table
from jensen.cli.shared import settings_of
from jensen.data.toys import TOYS
from jensen.evaluation.likelihood import mean_and_error
from jensen.runs import fit_run

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "made_sets.jsonl", HERE / "density.md"
TRAIN_ROWS, TEST_ROWS = 20_000, 10_000
HEADING = "## Made sets: beside their known densities"

SECTION = """{heading}

Made by `benchmarks/made_sets.py`; do not edit this section.

Held-out mean log p, nats, of {test:,} rows after a fit to {train:,} (of which {kept:,} train; the
rest decide when to stop, or calibrate), the truth on the same rows, and the mean ± standard error
of the difference, truth − flow: an unbiased estimate of KL(truth ‖ flow).

| set | truth | {names} |
|---|---|{rules}|
{rows}

{notes}
"""


def trial(name: str, architecture: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Fit one set; return its figures."""
    toy = TOYS[name]
    rows, fresh = toy.sample(seed, TRAIN_ROWS), toy.sample(10_000 + seed, TEST_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        told = {"architecture": architecture, **settings}
        run = fit_run(rows, Path(folder) / "run", settings=told, seed=seed)
        started = time.monotonic()
        log_prob, _ = run.density.log_prob(fresh)
        seconds = time.monotonic() - started
        solved = evaluate_table(run, fresh[:256], print).get("equation")
    truth = toy.log_prob(fresh)
    gap, se = mean_and_error(truth - log_prob)
    return {
        "set": name,
        "architecture": architecture,
        "settings": settings,
        "seed": seed,
        "truth": float(truth.mean()),
        "log_prob": float(log_prob.mean()),
        "gap": gap,
        "se": se,
        "train_rows": run.spec["split"]["train"],
        "recipe": run.spec["recipe"],
        "steps": run.spec["steps"],
        "fit_seconds": run.spec["seconds"],
        "score_seconds": seconds,
        "equation": solved,
        **machine(),
        "jensen": version("jensen"),
        "jax": version("jax"),
    }


def run(args: argparse.Namespace) -> None:
    """Make the fits that are asked for, and keep their figures."""
    for name in args.sets:
        found = trial(name, args.architecture, settings_of(args.set), args.seed)
        with RESULTS.open("a") as file:
            file.write(json.dumps(found) + "\n")
        shown = {k: found[k] for k in ("set", "log_prob", "truth", "gap", "se", "fit_seconds")}
        print(shown, file=sys.stderr, flush=True)


def latest() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the newest line by the method's name and the set."""
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for line in RESULTS.read_text().splitlines():
        found = json.loads(line)
        set_ = ", ".join(f"{k}={v}" for k, v in found["settings"].items())
        method = found["architecture"] + (f" ({set_})" if set_ else "")
        out.setdefault(method, {})[found["set"]] = found
    return out


def section() -> str:
    """Return the section of the page."""
    by_method = latest()
    names = [f"{m}: log p | truth − flow | steps; s to fit, to score" for m in by_method]
    rows, sample = [], next(iter(next(iter(by_method.values())).values()))
    for name in TOYS:
        found = [results.get(name) for results in by_method.values()]
        if not any(found):
            continue
        truth = next(f["truth"] for f in found if f)
        cells = [
            f"{f['log_prob']:+.4f} | {f['gap']:.4f} ± {f['se']:.4f} | {f['steps']:,}; "
            f"{f['fit_seconds']:.0f}, {f['score_seconds']:.0f}"
            if f
            else "— | — | —"
            for f in found
        ]
        rows.append(f"| {name} | {truth:+.4f} | {' | '.join(cells)} |")
    notes = [
        f"`{method}`: {sample_of['date']}, {sample_of['cpu']}, {sample_of['cores']} cores, "
        f"jax {sample_of['jax']}." + equation_note(results)
        for method, results in by_method.items()
        for sample_of in [next(iter(results.values()))]
    ]
    return SECTION.format(
        heading=HEADING,
        test=TEST_ROWS,
        train=TRAIN_ROWS,
        kept=sample["train_rows"],
        names=" | ".join(names),
        rules="|".join(["---|---|---"] * len(names)),
        rows="\n".join(rows),
        notes="\n".join(notes),
    )


def equation_note(results: dict[str, dict[str, Any]]) -> str:
    """Return what the solver costs, the worst over the sets; nothing without an equation."""
    solved = [f["equation"] for f in results.values() if f["equation"]]
    if not solved:
        return ""
    mean = max(abs(e["log_prob_error"]["mean"]) for e in solved)
    largest = max(e["log_prob_error"]["largest"] for e in solved)
    return (
        f" Solved to {solved[0]['tolerance']:g}: log p is off by at most {mean:.1g} nats on "
        f"average over a set, by {largest:.1g} in a single row."
    )


def main() -> None:
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--architecture", default="continuous")
    parser.add_argument("--sets", nargs="+", choices=list(TOYS), default=list(TOYS))
    parser.add_argument("--set", action="append", metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "run":
        run(args)
    else:
        put_section(PAGE, section())


if __name__ == "__main__":
    main()
