"""Flows side by side: training step, log_prob, sampling and time to first result.

    python benchmarks/flows.py run --peers-python PATH --out benchmarks/results/flows.json
    python benchmarks/flows.py table --results benchmarks/results/flows.json

`run` starts one worker a library and asks them in turn, one at work at a time, each repetition in a
new random order; it writes the results after every repetition. `table` renders `flows.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from flows_table import render

HERE = Path(__file__).parent
LIBRARIES = ("jensen", "zuko", "nflows", "flowjax")
CACHED = ("jensen", "flowjax")  # those that compile, and so gain from JAX's cache on disk
FAMILIES = ("affine", "spline")
DIMS = (8, 43)
BLOCKS = ("train", "log_prob", "sample")
MEASURES = (*BLOCKS, "first", "first_cached")
PRODUCTS = ((256, 128, 128), (2048, 2048, 2048))


class Worker:
    """A worker process: `ask` sends one request and waits for its reply."""

    def __init__(self, python: str, name: str, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [python, str(HERE / "workers" / f"{name}_worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )

    def ask(self, **request: object) -> dict:
        """Return the reply to one request."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.name} worker stopped on {request}; see its trace above")
        return json.loads(line)

    def close(self) -> None:
        """End the process by closing its input."""
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def worker(python: str, name: str, env: dict[str, str] | None = None) -> Iterator[Worker]:
    """Start a worker, and end it afterwards."""
    started = Worker(python, name, env)
    try:
        yield started
    finally:
        started.close()


def machine() -> dict:
    """Describe the machine: CPU model, cores, system, date."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def first_result(python: str, name: str, family: str, dim: int, cache: Path | None) -> float:
    """Return the seconds from starting a process to its first result.

    Args:
        python: the interpreter.
        name: the library.
        family: "affine" or "spline".
        dim: D.
        cache: where compiled programs are kept; None for a fresh, empty cache folder.
    """
    with tempfile.TemporaryDirectory() as fresh:
        env = {"XDG_CACHE_HOME": str(cache or fresh)}
        if cache is not None:
            env["JAX_COMPILATION_CACHE_DIR"] = str(cache)
            env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        start = time.perf_counter()
        with worker(python, name, env) as w:
            w.ask(op="first", family=family, dim=dim)
            return time.perf_counter() - start


class Run:
    """One run of all libraries: the workers, the order, and what was measured.

    Args:
        args: the parsed command line.
        workers: library to its worker.
        cache: folder of compiled programs for the "first_cached" measure.
    """

    def __init__(self, args: argparse.Namespace, workers: dict[str, Worker], cache: Path) -> None:
        self.args, self.workers, self.cache = args, workers, cache
        self.rng = random.Random(args.seed)
        self.samples: dict[tuple[str, str, int, str], list[float]] = {}
        self.checks: list[dict] = []
        self.gflops: dict[tuple[str, int], list[float]] = {}

    def prepare(self) -> None:
        """Build, compile and train every flow, and fill the cache of compiled programs."""
        for library, family, dim in product(self.workers, self.args.families, self.args.dims):
            if library in CACHED and "first_cached" in self.args.measures:
                first_result(self.python(library), library, family, dim, self.cache)
            if not set(self.args.measures) & set(BLOCKS):
                continue
            reply = self.workers[library].ask(
                op="prepare",
                family=family,
                dim=dim,
                warm_steps=self.args.warm_steps,
                seconds=self.args.seconds,
            )
            self.checks.append({"library": library, "family": family, "dim": dim, **reply})
            print(f"ready: {library} {family} D={dim}  {reply}", file=sys.stderr)

    def repeat(self) -> None:
        """Measure every cell once, cells and libraries in random order."""
        cells = list(product(self.args.families, self.args.dims, self.args.measures))
        for family, dim, measure in self.rng.sample(cells, len(cells)):
            names = [n for n in self.workers if measure != "first_cached" or n in CACHED]
            for library in self.rng.sample(names, len(names)):
                seconds = self.measure(library, family, dim, measure)
                self.samples.setdefault((library, family, dim, measure), []).append(seconds)
        for backend, shape in product(("jax", "torch"), PRODUCTS):
            python = self.args.jensen_python if backend == "jax" else self.args.peers_python
            with worker(python, "matmul") as w:
                reply = w.ask(op="matmul", backend=backend, shape=shape, seconds=self.args.seconds)
            self.gflops.setdefault((backend, shape[1]), []).append(reply["gflops"])

    def measure(self, library: str, family: str, dim: int, measure: str) -> float:
        """Return seconds: of a step, of a row, or to the first result."""
        if measure in BLOCKS:
            reply = self.workers[library].ask(op="measure", family=family, dim=dim, measure=measure)
            return reply["seconds"]
        cache = self.cache if measure == "first_cached" else None
        return first_result(self.python(library), library, family, dim, cache)

    def python(self, library: str) -> str:
        """Return the interpreter of a library."""
        return self.args.jensen_python if library == "jensen" else self.args.peers_python

    def report(self, versions: dict[str, dict]) -> dict:
        """Return everything measured so far."""
        return {
            "machine": machine(),
            "versions": versions,
            "protocol": {"warm_steps": self.args.warm_steps, "seconds": self.args.seconds},
            "cells": [
                {"library": k[0], "family": k[1], "dim": k[2], "measure": k[3], "seconds": v}
                for k, v in sorted(self.samples.items())
            ],
            "checks": self.checks,
            "products": [
                {"backend": k[0], "size": k[1], "gflops": v} for k, v in self.gflops.items()
            ],
        }


def run(args: argparse.Namespace) -> None:
    """Measure, writing the results after every repetition."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pythons = {n: args.jensen_python if n == "jensen" else args.peers_python for n in LIBRARIES}
        workers = {n: stack.enter_context(worker(pythons[n], n)) for n in args.libraries}
        versions = {name: w.ask(op="versions") for name, w in workers.items()}
        bench = Run(args, workers, cache)
        bench.prepare()
        for i in range(args.reps):
            bench.repeat()
            args.out.write_text(json.dumps(bench.report(versions), indent=1) + "\n")
            print(f"repetition {i + 1} of {args.reps} done", file=sys.stderr)


def table(args: argparse.Namespace) -> None:
    """Render the results, of one or several runs on one machine, as Markdown."""
    first, *others = (json.loads(path.read_text()) for path in args.results)
    for other in others:
        for part in ("cells", "checks", "products"):
            first[part] += other[part]
    args.out.write_text(render(first))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True)
    r = commands.add_parser("run", help="measure")
    r.add_argument("--peers-python", required=True, help="interpreter that has the peers")
    r.add_argument("--jensen-python", default=sys.executable)
    r.add_argument("--out", type=Path, default=HERE / "results" / "flows.json")
    r.add_argument("--reps", type=int, default=5)
    r.add_argument("--seconds", type=float, default=1.0, help="aimed length of a timed block")
    r.add_argument("--warm-steps", type=int, default=300)
    r.add_argument("--seed", type=int, default=0, help="of the random order")
    r.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    r.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    r.add_argument("--dims", nargs="+", type=int, default=DIMS)
    r.add_argument("--measures", nargs="+", choices=MEASURES, default=MEASURES)
    r.set_defaults(act=run)
    t = commands.add_parser("table", help="render the results")
    t.add_argument("--results", type=Path, nargs="+", default=[HERE / "results" / "flows.json"])
    t.add_argument("--out", type=Path, default=HERE / "flows.md")
    t.set_defaults(act=table)
    return top


if __name__ == "__main__":
    arguments = parser().parse_args()
    arguments.act(arguments)
