"""Memory and speed of `jensen score` on a large table: 2,000,000 rows × 8 columns of Parquet.

    python benchmarks/score_memory.py

Writes the tables to a temporary folder, fits a small run with the command line, scores the large
table in a process of its own, and writes `score_memory.md`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from flows import machine

HERE = Path(__file__).parent
N_COLUMNS = 8
CHUNK = 100_000  # rows written at a time: the parent stays small, so the child's peak is its own
FIT_ROWS = 10_000
LIMIT_GB = 1.5

PAGE = """# Memory of `jensen score`

Made by `benchmarks/score_memory.py`; do not edit.

{date}, {cpu}, {cores} cores, {system}, Python {python}, jensen {jensen}.

| rows × columns | file, MB | peak memory, GB | limit, GB | rows per second | wall time, s |
|---|---|---|---|---|---|
{table}

Protocol: `jensen fit` with one epoch on {fit_rows:,} rows of the same law, default settings; then
`jensen score RUN DATA.parquet --out FILE.parquet` in a process of its own. Peak memory is the
largest resident set of that process, from the system's accounting (`wait4`); 1 GB = 10⁹ bytes. Rows
per second are rows over the whole wall time, start of Python and compilation included. The small
table shows what the process takes before rows count.
"""


def write_table(path: Path, n_rows: int) -> None:
    """Write `n_rows` rows of eight dependent float columns, a chunk at a time."""
    rng = np.random.default_rng(0)
    names = [f"x{d}" for d in range(N_COLUMNS)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_rows, CHUNK):
            x = rng.normal(size=(min(CHUNK, n_rows - start), N_COLUMNS))
            x[:, 1:] = 0.5 * x[:, 1:] + np.sin(2.0 * x[:, :-1])
            writer.write_table(pa.table(dict(zip(names, x.T, strict=True)), schema=schema))


def jensen(*arguments: str) -> tuple[float, float]:
    """Run one `jensen` command; return its wall seconds and its peak memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "jensen", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"jensen {' '.join(arguments)} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def score(run: Path, folder: Path, n_rows: int) -> str:
    """Score a table of `n_rows` rows; return its line of the page."""
    data, out = folder / f"data-{n_rows}.parquet", folder / f"scores-{n_rows}.parquet"
    write_table(data, n_rows)
    seconds, peak = jensen("score", str(run), str(data), "--out", str(out))
    scored = pq.read_metadata(out).num_rows
    if scored != n_rows:
        raise RuntimeError(f"{scored} rows of {n_rows} were scored")
    figures = f"{data.stat().st_size / 1e6:.0f} | {peak / 1e9:.2f} | {LIMIT_GB}"
    return f"| {n_rows:,} × {N_COLUMNS} | {figures} | {n_rows / seconds:,.0f} | {seconds:.1f} |"


def main() -> None:
    """Fit, score a small and the large table, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--out", type=Path, default=HERE / "score_memory.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, run = folder / "train.parquet", folder / "run"
        write_table(train, FIT_ROWS)
        jensen("fit", str(train), "--model", "flow", "--out", str(run), "--epochs", "1")
        table = "\n".join(score(run, folder, n) for n in (1_000, args.rows))
    page = PAGE.format(table=table, fit_rows=FIT_ROWS, jensen=version("jensen"), **machine())
    args.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
