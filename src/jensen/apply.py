r"""A trained run applied to tables of any size: score, sample, impute, evaluate.

Rows stream through in bounded memory, from any format to any format; the output is written whole
or not at all. A row's figures depend on the row alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jensen._errors import InputError
from jensen.data.output import TableWriter, check_output
from jensen.data.source import Source, open_table
from jensen.data.split import check_seed
from jensen.evaluation.equation import equation_error
from jensen.evaluation.likelihood import mean_and_error, summarise
from jensen.fitting import TableLatent, judged
from jensen.models.continuous import equation_of
from jensen.models.pool import TablePool
from jensen.models.table import TableDensity
from jensen.parallel import check_jobs, mapped
from jensen.runs import Run, open_run

Note = Callable[[str], None]
"""Receives remarks in plain words."""


def encoded(run: Run, source: Source, note: Note) -> Iterator[np.ndarray]:
    """Yield the encoded rows of a table, block by block, checked against the run's columns."""
    if run.schema.named and source.named:
        extra = run.schema.extra_columns(source.names)
        if extra:
            shown = ", ".join(extra[:5]) + (", …" if len(extra) > 5 else "")
            note(f"columns the model was not trained on are not used: {shown}")
    row = 1
    for batch in source.batches():
        yield run.schema.encode(batch, label=source.label, first_row=row, missing=run.takes_missing)
        row += batch.num_rows


Columns = dict[str, np.ndarray]
"""The columns of some rows, `(n,)` each."""


@dataclass(frozen=True)
class _LogProbs:
    """Opens a run in any process: encoded rows → the columns of `score_table`."""

    folder: Path

    def __call__(self) -> Callable[[np.ndarray], Columns]:
        return partial(_log_probs, open_run(self.folder))


def _log_probs(run: Run, matrix: np.ndarray) -> Columns:
    log_prob, error = run.density.log_prob(matrix)
    return {"log_prob": log_prob, "log_prob_se": error}


def score_table(
    run: Run, data: Any, out: str | os.PathLike[str], note: Note, jobs: int = 1
) -> dict[str, Any]:
    """Write `log_prob` and `log_prob_se` (nats), one row per row of `data`.

    Args:
        run: a finished run of a density.
        data: anything `open_table` opens.
        out: the file to write.
        note: receives remarks.
        jobs: processes that score; results are the same to the last bit.

    Returns:
        `n`, `seconds`, `out`.

    Raises:
        InputError: for data, an output or a number of jobs that cannot be used.
    """
    return _transform(run, data, out, note, partial(_log_probs, run), _LogProbs(run.folder), jobs)


def _transform(
    run: Run,
    data: Any,
    out: str | os.PathLike[str],
    note: Note,
    columns: Callable[[np.ndarray], Columns],
    opening: Callable[[], Callable[[np.ndarray], Columns]] | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    started = time.monotonic()
    check_jobs(jobs)
    source = open_table(data)
    path = check_output(out, source.paths)
    n = 0
    results = mapped(columns, opening or (lambda: columns), encoded(run, source, note), jobs)
    with TableWriter(path) as writer, closing(results):
        for block in results:
            writer.write(block)
            n += len(next(iter(block.values())))
    return {"n": n, "seconds": time.monotonic() - started, "out": str(path)}


def sample_table(
    run: Run,
    n: int,
    out: str | os.PathLike[str],
    seed: int,
    given: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `n` new rows in the columns and units of the training table.

    Args:
        run: a finished run.
        n: number of rows.
        out: the file to write.
        seed: all randomness.
        given: column name → value that every row is to have; for a GAN alone.

    Returns:
        `n`, `seconds`, `out`.

    Raises:
        InputError: for n < 1, a seed out of range, an output that cannot be used, or values that
            cannot be given.
    """
    started = time.monotonic()
    if n < 1:
        raise InputError(f"the number of rows must be at least 1, got {n}", "-n")
    check_seed(seed)
    is_gan = run.spec["model"] == "gan"
    if given and not is_gan:
        raise InputError(
            "rows with given values are drawn from GANs alone",
            str(run.folder),
            "train with --model gan, or leave the values out",
        )
    path = check_output(out)
    with TableWriter(path) as writer:
        blocks = (
            run.gan.sample_blocks(n, seed, given) if is_gan else run.density.sample_blocks(n, seed)
        )
        for rows in blocks:
            writer.write(run.schema.decode(rows))
    return {"n": n, "seconds": time.monotonic() - started, "out": str(path)}


def impute_table(run: Run, data: Any, out: str | os.PathLike[str], note: Note) -> dict[str, Any]:
    """Write the rows of `data` with every missing cell filled in, the others as they are.

    Returns:
        `n`, `filled` (cells), `seconds`, `out`.

    Raises:
        InputError: for data, an output or a run that cannot be used.
    """
    latent, filled = run.latent, 0

    def columns(matrix: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal filled
        filled += int(np.isnan(matrix).sum())
        return run.schema.decode(latent.impute(matrix))

    done = _transform(run, data, out, note, columns)
    return {"n": done["n"], "filled": filled, "seconds": done["seconds"], "out": done["out"]}


def log_probs(run: Run, data: Any, note: Note) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log p of the run's density, its row error, and log p of the baseline, `(n,)` each."""
    blocks = [
        (*run.density.log_prob(matrix), run.baseline.log_prob(matrix))
        for matrix in encoded(run, open_table(data), note)
    ]
    scores, errors, base = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return scores, errors, base


def evaluate_table(run: Run, data: Any, note: Note) -> dict[str, Any]:
    """Return held-out figures of the rows of `data`, with the Gaussian baseline beside them.

    A GAN has no log p (kind `none`): its figures say how well the rows and its samples are told
    apart, see `jensen.fitting.judge.judged`. For a latent-variable model `ess` is the mean
    effective sample size of a row's weights, `pareto_k` the 95th percentile of k̂ over the rows,
    and `certificate` says in plain words whether the figure can be read as log p. For a continuous
    flow `equation` says how it is solved, and what that costs, see
    `jensen.evaluation.equation.equation_error`.
    """
    if run.spec["model"] == "gan":
        return _evaluate_gan(run, data, note)
    if isinstance(run.density, TableLatent):
        return _evaluate_latent(run, data, note)
    flow = run.density.flow if isinstance(run.density, TablePool) else run.density
    if equation_of(flow.members) is not None:
        return _evaluate_equation(run, flow, data, note)
    log_prob, error, base = log_probs(run, data, note)
    return _compared(run, log_prob, error, base)


def _evaluate_equation(run: Run, flow: TableDensity, data: Any, note: Note) -> dict[str, Any]:
    matrix = np.concatenate(list(encoded(run, open_table(data), note)))
    log_prob, error = run.density.log_prob(matrix)
    found = _compared(run, log_prob, error, run.baseline.log_prob(matrix))
    return {**found, "equation": equation_error(flow, matrix)}


def _evaluate_latent(run: Run, data: Any, note: Note) -> dict[str, Any]:
    matrix = np.concatenate(list(encoded(run, open_table(data), note)))
    found = run.latent.evidence(matrix)
    base = run.baseline_log_prob(matrix)
    result = _compared(run, found.log_prob, found.se, base)
    known = found.pareto_k[~np.isnan(found.pareto_k)]
    result["log_prob"]["ess"] = float(np.mean(found.ess))
    result["log_prob"]["pareto_k"] = float(np.quantile(known, 0.95)) if len(known) else None
    return {
        **result,
        "missing_cells": int(np.isnan(matrix).sum()),
        "certificate": {"flagged": int(found.flagged.sum()), "verdict": found.verdict()},
    }


def _compared(
    run: Run, log_prob: np.ndarray, error: np.ndarray, base: np.ndarray
) -> dict[str, Any]:
    """Return the figures of held-out rows beside the baseline's, nats."""
    density = run.density
    dim = len(run.schema.continuous) + len(run.schema.categorical)
    mean, se = mean_and_error(base)
    # where both say "impossible" (a new value in a constant column) neither is ahead
    apart = np.subtract(log_prob, base, out=np.zeros_like(base), where=log_prob != base)
    _, difference = mean_and_error(apart)
    return {
        "run": str(run.folder),
        **summarise(log_prob, error, density.kind, density.n_points, dim),
        run.baseline_name.replace(" ", "_").lower(): {
            "mean": mean,
            "se": se,
            "difference_se": difference,
        },
        "baseline": run.baseline_name,
    }


def _evaluate_gan(run: Run, data: Any, note: Note) -> dict[str, Any]:
    matrix = np.concatenate(list(encoded(run, open_table(data), note)))
    nothing = dict.fromkeys(("mean", "se", "k", "ess", "pareto_k"))
    return {
        "run": str(run.folder),
        "n": len(matrix),
        "log_prob": {**nothing, "kind": "none"},
        "bits_per_dim": None,
        "impossible": int(np.sum(~run.gan.preprocess.possible(matrix))),
        "two_sample": judged(run.gan, matrix, run.spec["seed"]),
    }
