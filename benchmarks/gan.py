"""GAN training steps beside PyTorch, torchgan and CTGAN, and the dual solver beside scikit-learn.

    python benchmarks/gan.py --peers-python PEERS/bin/python [--sections roll modes dual]

Writes `gan.md`; sections that are not measured stay as they are. PEERS holds torch, torchgan and
ctgan; scikit-learn stands beside jensen. A library that cannot be started there is said to be
missing in its row.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from flows import Worker, machine, worker

from jensen.data.toys import TOYS

_OWN_THREADS = ("gan_jensen", "latent_jensen", "latent_products")
"""Workers of JAX, whose threads are its own."""

HERE = Path(__file__).parent
ROLL_ROWS, MODE_ROWS = 2000, 25_600
ROLL_STEPS, ROLL_PEER_STEPS, DOCUMENT_STEPS = 6400, 960, 64_000
MODE_STEPS, MODE_PEER_STEPS = 1000, 200
LOGISTIC_ROWS, LOGISTIC_COLUMNS = 10_000, 100
TIGHT = 1e-10

HEAD = """# GANs and the dual discriminator beside the peers

Made by `benchmarks/gan.py`; do not edit.

Each section says when it was measured, and how many processes wanted a core just before. Within
one, each library is in a process of its own; one is at work at a time, in a random order in each of
the repetitions. The first run includes compilation (and not the start of Python); µs a step are
those of later runs. Where there is a choice, the number of threads that was faster in a second run
goes on. The last column compares the best runs; above 1 jensen is faster.
"""

MEASURED = """{date}, {cpu}, {cores} cores, {system}, Python {python}; {versions}. {repeats}
repetitions, threads {threads}; load average {load:.1f} before the run.
"""

ROLL = """## The Swiss-roll GAN of the documents

{measured}
| | steps | threads | first run, s | µs a step, median | best | times jensen's |
|---|---|---|---|---|---|---|
{rows}

2,000 rows; z in one dimension, discriminator 2-128-128-1, generator 1-32-2, tanh; the
non-saturating logistic loss, Adam 5e-4 for each, batch 64; a step is one of each player, each with
fresh generated rows. jensen: the engine's `train` as the study calls it, which looks at the weights
after every epoch. Plain: a shuffling `DataLoader` (whose last batch has 16 rows; jensen completes
it) and two `Adam`. Fused: batches from one permutation an epoch and `Adam(fused=True)`. The
document's {document:,} steps take jensen {jensen_document:.0f} s and the plain loop
{plain_document:.0f} s at the best rate. The discriminator's mean loss in the last of {roll_epochs}
epochs is {jensen_loss:.2f} (jensen) and {torch_loss:.2f} (plain loop); it differs by some tenths
from seed to seed. {verdict}

{tried}
"""

TRIED = """What was tried to make that step faster (2026-11-21, the same two cores, other work
beside it, load average 8 to 16; the candidates in turn in one process, best of 14 runs of 1,024
steps, 8 runs where marked):

| | µs a step | as it is, µs |
|---|---|---|
| random bits without a loop (threefry's rounds unrolled) | 217 | 233 |
| and each optimiser on one vector (`optax.flatten`) | 201 | 233 |
| and each player one vector throughout | 198 | 233 |
| and 512-bit instructions preferred by the compiler | 181 | 233 |
| data and generated rows in one pass of the discriminator, bits unrolled (8) | 254 | 233 |
| the same, each player one vector (8) | 230 | 233 |
| the same, four steps to a turn of the loop (8) | 241 | 233 |

Most of a step is arithmetic. Alone in a loop (processor time, one core) a product of 64 × 128 by
128 × 128 takes 10 to 12 µs, and a step has eight of them: 85 µs. Six tanh layers take 13 µs and
Adam 8 µs. Eight times the plain loop would be 129 µs a step. One pass over 128 rows loses because
its product for the weights' gradient takes 43 µs, two over 64 rows 24 µs. Of this the
library has taken on one vector for each player since, which the table's first rows do not have yet;
unrolling needs private parts of JAX."""

MODES = """## Ring of 8 and grid of 25

{measured}
{rows}

{mode_rows:,} rows of two columns; discriminator of 3 × 128 hidden units, generator of 3 × 128, z in
two dimensions, batch 256, Adam 1e-3; one step of each player a step. Each peer is compared with
jensen on its own loss:

* torchgan: the non-saturating logistic loss. Its step is what `Trainer.train` does for a batch,
  from batches laid out before; files and pictures at the end of an epoch are left out.
* CTGAN: `fit`, Wasserstein with a gradient penalty of weight 10, pac 1 (its 10 does not
  divide the batch). Its networks are larger than their widths say: a generator with batch
  normalisation whose layers see all inputs before them, a discriminator with dropout, and for each
  column a number and up to ten categories. Its steps' clock starts after the Gaussians of the
  columns are fitted; the first run includes that.
* jensen's GAN of tables adds R₁ and R₂ penalties and a moving average of the weights.

How many modes such GANs cover is in [modes.md](modes.md).
"""

DUAL = """## The dual solver

{measured}
| | threads | first, ms | median | best | times jensen's | processor | ratio | objective | above |
|---|---|---|---|---|---|---|---|---|---|
{rows}

n = {n:,} rows, d = {d} standard normal columns, labels drawn from a logistic model, no intercept,
c = 1/n (scikit-learn's C = 1). Times are in milliseconds, from arrays to weights; the median of the
processor time leaves out what other processes took, and has its own ratio to jensen's. The
objective c/2 ‖w‖² + mean softplus(-y wᵀx), in nats, of every solver's weights is computed by the
same NumPy code in float64; the last column says how far above the bound it is. The bound is
jensen's dual value, {bound:.15g}: no weights reach less (differences of 1e-15 are rounding); its
relative gap is {gap:.1e}. scikit-learn runs at its default tolerance and at {tight:g}. jensen stops
at a relative gap of 1e-12, and factors no Hessian here: its
truncated Newton steps take conjugate gradients, with products in single precision.
"""


@dataclass
class Contestant:
    """A row of a table: what to ask which worker, and what was measured."""

    label: str
    module: str
    request: dict[str, object]
    rival: str = ""  # label of the row it is compared with
    chosen: int = 0  # number of threads; 0 for what JAX does
    first: float = 0.0
    later: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # processor seconds of the later runs
    reply: dict = field(default_factory=dict)
    missing: bool = False


class Contest:
    """One section's contestants, measured in turn."""

    def __init__(self, pythons: dict[str, str], cache: str, threads: list[int]) -> None:
        self.pythons, self.cache, self.threads = pythons, cache, threads
        self.versions: dict[str, str] = {}
        self.workers: dict[tuple[str, int], Worker] = {}

    def run(self, contestants: list[Contestant], repeats: int) -> None:
        """Choose every contestant's threads, and measure all of them `repeats` times."""
        with contextlib.ExitStack() as stack:
            for c in contestants:
                try:
                    self._choose(stack, c)
                except (RuntimeError, BrokenPipeError):  # its own trace is on stderr
                    c.missing = True
            ready = [c for c in contestants if not c.missing]
            for _ in range(repeats):
                for c in random.sample(ready, len(ready)):
                    c.later.append(self._ask(c, c.chosen)[1])
                    c.cpu.append(c.reply.get("cpu", math.nan))
        self.workers.clear()

    def _choose(self, stack: contextlib.ExitStack, c: Contestant) -> None:
        """Make the first run, which compiles; a second run decides on the threads."""
        trials = {}
        chosen = c.module not in _OWN_THREADS
        for threads in self.threads if chosen else (0,):
            if (c.module, threads) not in self.workers:
                self.workers[c.module, threads] = self._start(stack, c.module, threads)
            first = self._ask(c, threads)[0]
            trials[threads] = (self._ask(c, threads)[1] if chosen else 0.0, first)
        c.chosen = min(trials, key=lambda t: trials[t])
        c.first = trials[c.chosen][1]

    def _start(self, stack: contextlib.ExitStack, module: str, threads: int) -> Worker:
        environment = {"XDG_CACHE_HOME": self.cache}
        if threads:
            names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
            environment |= dict.fromkeys(names, str(threads))
        found = stack.enter_context(worker(self.pythons[module], module, environment))
        self.versions.update(found.ask(op="versions"))
        return found

    def _ask(self, c: Contestant, threads: int) -> tuple[float, float]:
        """Make one run; return its seconds, and those of a step (of all of it for a solver)."""
        c.reply = self.workers[c.module, threads].ask(**c.request)
        seconds = c.reply["seconds"]
        print(f"{c.label}, {threads or 'free'} threads: {seconds:.3g} s", file=sys.stderr)
        return seconds, c.reply.get("step", seconds)


def table(contestants: list[Contestant], *, steps: bool) -> list[list[str]]:
    """Return the cells of a table: label, steps, threads, first run, median, best and ratio."""
    rows, best = [], {c.label: min(c.later) for c in contestants if c.later}
    for c in contestants:
        made = [f"{c.request['steps']:,}"] if steps else []
        if c.missing:
            rows.append([c.label, *made, "does not run here", "", "", "", ""])
            continue
        unit = 1e6 if steps else 1e3
        figures = c.first * (1 if steps else 1e3), statistics.median(c.later) * unit
        threads = str(c.chosen) if c.chosen else "JAX's"
        ratio = best[c.label] / best[c.rival or c.label]
        shown = [short(x) for x in (*figures, best[c.label] * unit, ratio)]
        rows.append([c.label, *made, threads, *shown])
    return rows


def short(x: float) -> str:
    """Return a figure with three digits, or all of those before the point."""
    return f"{x:,.0f}" if x >= 1000 else f"{x:.3g}"


def lines(rows: list[list[str]]) -> str:
    """Return the rows of a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def roll(contest: Contest, folder: Path, repeats: int, measured: Callable[[], str]) -> str:
    """Measure the Swiss-roll GAN; return its section."""
    data = folder / "swiss-roll.npy"
    np.save(data, TOYS["swiss-roll"].sample(0, ROLL_ROWS))
    request = {"op": "run", "data": str(data)}
    peer = {**request, "steps": ROLL_PEER_STEPS}
    ours = Contestant(
        "jensen", "gan_jensen", {**request, "name": "swiss-roll", "steps": ROLL_STEPS}
    )
    plain, fused = (
        Contestant(f"PyTorch, {n} loop", "gan_torch", {**peer, "name": n}, "jensen")
        for n in ("plain", "fused")
    )
    contest.run([ours, plain, fused], repeats)
    check = Contestant("check", "gan_torch", {**plain.request, "steps": ROLL_STEPS}, "jensen")
    Contest(contest.pythons, contest.cache, [plain.chosen]).run([check], 0)
    best, plain_best = min(ours.later), min(plain.later)
    ratio = plain_best / best
    return ROLL.format(
        measured=measured(),
        rows=lines(table([ours, plain, fused], steps=True)),
        document=DOCUMENT_STEPS,
        jensen_document=DOCUMENT_STEPS * best,
        plain_document=DOCUMENT_STEPS * plain_best,
        roll_epochs=ROLL_STEPS // -(-ROLL_ROWS // 64),
        jensen_loss=ours.reply["loss"],
        torch_loss=check.reply["loss"],
        verdict=f"The aim of 8 times the plain loop is {'met' if ratio >= 8 else 'missed'}.",
        tried=TRIED,
    )


def modes(contest: Contest, folder: Path, repeats: int, measured: Callable[[], str]) -> str:
    """Measure ring and grid, each with new workers; return their section."""
    head = "| {} | steps | threads | first run, s | µs a step, median | best | times jensen's |"
    out = []
    for name in ("ring", "grid"):
        data = folder / f"{name}.npy"
        np.save(data, TOYS[name].sample(0, MODE_ROWS))
        request = {"op": "run", "data": str(data)}
        ours = {**request, "steps": MODE_STEPS}
        peer = {**request, "steps": MODE_PEER_STEPS}
        plain, penalised = "jensen, logistic", "jensen, Wasserstein with gradient penalty"
        contestants = [
            Contestant(plain, "gan_jensen", {**ours, "name": "plain"}),
            Contestant("torchgan", "gan_torchgan", {**peer, "name": "torchgan"}, plain),
            Contestant(penalised, "gan_jensen", {**ours, "name": "wgan-gp"}),
            Contestant("CTGAN", "gan_ctgan", {**peer, "name": "ctgan"}, penalised),
            Contestant("jensen, as for tables", "gan_jensen", {**ours, "name": "table"}),
        ]
        contest.run(contestants, repeats)
        out += [head.format(name), "|" + "---|" * 7, lines(table(contestants, steps=True)), ""]
    rows = "\n".join(out).strip()
    return MODES.format(measured=measured(), rows=rows, mode_rows=MODE_ROWS)


def dual(contest: Contest, folder: Path, repeats: int, measured: Callable[[], str]) -> str:
    """Measure the dual solver and scikit-learn's; return their section."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((LOGISTIC_ROWS, LOGISTIC_COLUMNS))
    logits = 3.0 * x @ rng.standard_normal(LOGISTIC_COLUMNS) / LOGISTIC_COLUMNS**0.5
    y = np.where(rng.uniform(size=LOGISTIC_ROWS) < 1 / (1 + np.exp(-logits)), 1.0, -1.0)
    data, ridge = folder / "logistic.npz", 1.0 / LOGISTIC_ROWS
    np.savez(data, rows=x, labels=y)

    def contestant(label: str, module: str, solver: str, tol: float | None) -> Contestant:
        request = {"op": "solve", "solver": solver, "data": str(data), "ridge": ridge, "tol": tol}
        return Contestant(label, module, request, "" if solver == "dual" else "jensen")

    contestants = [contestant("jensen", "logistic", "dual", None)]
    for solver in ("lbfgs", "newton-cholesky"):
        for tol, said in ((None, "default"), (TIGHT, f"{TIGHT:g}")):
            label = f"scikit-learn, {solver}, tol {said}"
            contestants.append(contestant(label, "logistic", solver, tol))
    contest.run(contestants, 3 * repeats)
    bound = contestants[0].reply["dual_value"]
    rows = table(contestants, steps=False)
    for row, c in zip(rows, contestants, strict=True):
        w = np.array(c.reply["weights"])
        value = 0.5 * ridge * w @ w + np.logaddexp(0.0, -y * (x @ w)).mean()
        cpu = statistics.median(c.cpu)
        row += [short(cpu * 1e3), short(cpu / statistics.median(contestants[0].cpu))]
        row += [f"{value:.12f}", f"{value - bound:.1e}"]
    return DUAL.format(
        measured=measured(),
        rows=lines(rows),
        n=LOGISTIC_ROWS,
        d=LOGISTIC_COLUMNS,
        bound=bound,
        gap=contestants[0].reply["gap"] / bound,
        tight=TIGHT,
    )


SECTIONS: dict[str, Callable[..., str]] = {"roll": roll, "modes": modes, "dual": dual}


def kept(out: Path, at: int) -> str:
    """Return a section of the page that is there, by its place.

    Raises:
        SystemExit: if there is none to keep.
    """
    parts = out.read_text().split("\n## ") if out.exists() else []
    if len(parts) != len(SECTIONS) + 1:
        raise SystemExit(f"{out} holds no sections to keep: measure all of them")
    return "## " + parts[at + 1].rstrip() + "\n"


def main() -> None:
    """Measure the chosen sections and write the page."""
    parser = argparse.ArgumentParser(description="GANs and the dual solver beside the peers")
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="that peers try")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=HERE / "gan.md")
    args = parser.parse_args()
    pythons: dict[str, str] = dict.fromkeys(
        ("gan_torch", "gan_torchgan", "gan_ctgan"), args.peers_python
    )
    pythons |= dict.fromkeys(("gan_jensen", "logistic"), sys.executable)
    page = [HEAD]
    with tempfile.TemporaryDirectory() as name:
        for at, (section, measure) in enumerate(SECTIONS.items()):
            if section not in args.sections:
                page.append(kept(args.out, at))
                continue
            contest = Contest(pythons, f"{name}/cache", args.threads)
            load = os.getloadavg()[0]

            def measured(contest: Contest = contest, load: float = load) -> str:
                return MEASURED.format(
                    **machine(),
                    versions=", ".join(f"{p} {v}" for p, v in contest.versions.items()),
                    repeats=args.repeats,
                    threads=" or ".join(map(str, args.threads)),
                    load=load,
                )

            page.append(measure(contest, Path(name), args.repeats, measured))
    text = "\n".join(page)
    args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
