"""Modes covered by a GAN with default settings: ring of 8 and grid of 25, by PacGAN's protocol.

    python benchmarks/modes.py --seeds 10

Writes `modes.md`. Each trial fits a built-in set as `jensen fit NAME --model gan --seed S` does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from flows import machine

from jensen.data.source import open_table
from jensen.evaluation.coverage import Coverage, toy_coverage
from jensen.runs import Run, fit_run

HERE = Path(__file__).parent
SETS = {"ring": 7.9, "grid": 24.8}  # and the mean number of modes aimed at
SAMPLES = 2500

PAGE = """# Modes covered by a GAN

Made by `benchmarks/modes.py`; do not edit.

{date}, {cpu}, {cores} cores, {system}, Python {python}; {versions}.

Means ± standard deviations over {n} seeds, the least in brackets.

{means}

{verdict} The best published figures of the protocol are 7.9 and 24.8 modes
(PacGAN, arXiv:1712.04086); its plain GAN has 6.3 and 17.3.

Each trial is `jensen fit NAME --model gan --seed S` with nothing else set: the same settings for
both sets, the built-in {rows:,} rows ({training:,} of them train), {steps:,} steps at most, batch
{batch}, `gaussian` start, R₁ and R₂ of weight {gamma:.2g} chosen by the size of the table, no
packing. {samples:,} samples of each; a mode (σ = 0.01 on the ring of radius 1, 0.05 on the grid of
spacing 2) is covered where a sample lies within 3σ. The oracle has as many rows of the true law.
Spread is the standard deviation of the samples within 3σ of their mode over that of the true law
cut there: below 1 a mode is shrunk. Imbalance is the KL divergence of the samples' shares of the
modes from equal ones.

## Every trial

| | seed | modes | share within 3σ | spread | imbalance, nats | steps | s |
|---|---|---|---|---|---|---|---|
{trials}
"""


def trial(name: str, seed: int) -> tuple[Run, Coverage]:
    """Fit one set with one seed; return the run, and how its samples cover the modes."""
    with tempfile.TemporaryDirectory() as folder:
        run = fit_run(name, Path(folder) / "run", model="gan", seed=seed)
    found = toy_coverage(run.gan.sample(SAMPLES, seed), name, seed=seed)
    print(f"{name} {seed}: {run.spec['seconds']:.0f} s, {found}", file=sys.stderr)
    return run, found


def summary(values: list[float], digits: int, *, least: bool = False) -> str:
    """Return mean ± standard deviation, and the least where asked for."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    low = f" ({min(values):.{0 if least else digits}f})" if least else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}{low}"


def head() -> str:
    """Return the first two lines of the table of means."""
    pairs = [
        f"{figure} | of the oracle" for figure in ("share within 3σ", "spread", "imbalance, nats")
    ]
    names = ["", "modes", "aim", "of the oracle", *pairs, "s a fit"]
    return f"| {' | '.join(names)} |".replace("|  |", "| |") + "\n|" + "---|" * 11


def row_of_means(name: str, trials: list[tuple[Run, Coverage]]) -> str:
    """Return the line of one set."""
    found = [c for _, c in trials]
    oracle = [c.oracle for c in found if c.oracle is not None]
    cells = [summary([c.covered for c in found], 1, least=True), f"≥ {SETS[name]}"]
    cells.append(f"{statistics.fmean(c.covered for c in oracle):.1f}")
    for figure, digits in (("share", 4), ("spread", 3), ("imbalance", 4)):
        cells.append(summary([getattr(c, figure) for c in found], digits))
        cells.append(f"{statistics.fmean(getattr(c, figure) for c in oracle):.{digits}f}")
    cells.append(f"{statistics.fmean(run.spec['seconds'] for run, _ in trials):.0f}")
    return f"| {name} | {' | '.join(cells)} |"


def rows_of_trials(name: str, trials: list[tuple[Run, Coverage]]) -> list[str]:
    """Return the lines of one set's trials."""
    return [
        f"| {name} | {run.spec['seed']} | {c.covered} of {c.total} | {c.share:.4f} | "
        f"{c.spread:.3f} | {c.imbalance:.4f} | {run.spec['steps']:,} | {run.spec['seconds']:.0f} |"
        for run, c in trials
    ]


def main() -> None:
    """Make all trials and write the page."""
    parser = argparse.ArgumentParser(description="modes covered by a GAN with default settings")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=HERE / "modes.md")
    args = parser.parse_args()
    found = {name: [trial(name, seed) for seed in range(args.seeds)] for name in SETS}
    met = all(
        statistics.fmean(c.covered for _, c in found[name]) >= aim for name, aim in SETS.items()
    )
    spec = found["grid"][0][0].spec
    page = PAGE.format(
        **machine(),
        versions=", ".join(f"{p} {version(p)}" for p in ("jensen", "jax", "jaxlib", "numpy")),
        n=args.seeds,
        means="\n".join([head(), *(row_of_means(n, trials) for n, trials in found.items())]),
        verdict=f"The aim is {'met' if met else 'missed'}.",
        rows=open_table("grid").n_rows,
        training=spec["split"]["train"],
        steps=max(run.spec["steps"] for trials in found.values() for run, _ in trials),
        batch=spec["recipe"]["batch_size"],
        gamma=spec["recipe"]["r1"],
        samples=SAMPLES,
        trials="\n".join(line for n, t in found.items() for line in rows_of_trials(n, t)),
    )
    args.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
