r"""Anomalies in tables of any size, by a trained run: flags at a stated rate, and alarms.

Rows stream through in bounded memory, in one process or in several, and a row's score depends on
the row alone; see `jensen.scoring` for the scores, `jensen.anomaly.rules` for the rules. False
discoveries are controlled over the whole file: its p-values take the n + 1 values (r + 1)/(n + 1)
alone, so that one pass counts ranks and keeps the scores in a nameless temporary file beside the
output, from which the flags are then written.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from jensen._errors import InputError
from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.discoveries import discovery_threshold
from jensen.anomaly.discoveries import promise as discovery_promise
from jensen.anomaly.rules import SLACK, Rule, rule
from jensen.anomaly.stream import Monitor
from jensen.anomaly.units import Thinned, most, units_note
from jensen.apply import Note, encoded
from jensen.data.output import TableWriter, check_output
from jensen.data.schema import fingerprint
from jensen.data.source import open_table
from jensen.models.pool import TablePool
from jensen.parallel import check_jobs, mapped
from jensen.runs import Run, open_run
from jensen.scoring import Scorer, Scoring, is_default, is_log_prob, scorer

SHARE, LEVEL = 0.2, 0.01
"""The change whose delay `monitor_table` states: one row in five as odd as the oddest 1%."""

_DELAY_ROWS = 1000  # looked at; a longer delay is not stated
_BLOCK = 65_536  # rows read back at once

Judged = tuple[np.ndarray, np.ndarray]
"""Score and log p of some rows, `(n,)` each, nats."""


@dataclass(frozen=True)
class _Judge:
    """What rows are judged by.

    Args:
        run: the run.
        scoring: the score, for any process.
        score: the score, opened.
        calibration: the scores of normal rows.
        jobs: processes.
        note: receives remarks.
    """

    run: Run
    scoring: Scoring
    score: Scorer
    calibration: Conformal
    jobs: int
    note: Note

    def judged(self, blocks: Iterator[np.ndarray]) -> Generator[Judged, None, None]:
        """Yield score and log p of encoded rows, block by block, in order."""
        return mapped(self.score, self.scoring, blocks, self.jobs)

    def columns(self, score: np.ndarray, log_prob: np.ndarray, **others: np.ndarray) -> dict:
        """Return the columns to write: log p, the others, and the score where it is not log p."""
        own = {} if is_log_prob(self.run, self.scoring.score) else {"score": score}
        return {"log_prob": log_prob, **others, **own}

    def warn_of_units(self, flagged: int, n: int, seen: Thinned) -> None:
        """Say so where most rows are flagged."""
        if not most(flagged, n):
            return
        numeric, standard = list(self.run.schema.continuous), self.run.baseline.preprocess
        names = [self.run.schema.names[j] for j in numeric]
        normal = self.run.held_out()[0][:, numeric]
        rows = seen.rows[:, numeric]
        self.note(units_note(flagged, n, rows, normal, standard.scale, names))


def detect_table(
    run: Run,
    data: Any,
    alpha: float | None,
    out: str | os.PathLike[str],
    note: Note,
    *,
    rule_name: str = "conformal",
    discoveries: float | None = None,
    score: str = "default",
    background: str | os.PathLike[str] | None = None,
    calibration: Any = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Write `log_prob`, `p_value`, `is_anomaly`, and `score` where it is not log p, of every row.

    Args:
        run: a finished run of a density.
        data: anything `open_table` opens.
        alpha: the false-alarm rate; None with `discoveries`.
        out: the file to write.
        note: receives remarks.
        rule_name: one of `jensen.anomaly.rules.RULES`.
        discoveries: in place of a rate, the bound on the mean share of normal rows among the
            flagged ones.
        score: one of `jensen.scoring.SCORES`.
        background: a run folder, for the score `ratio`.
        calibration: fresh normal rows in place of those that the run was calibrated on.
        jobs: processes that score; results are the same to the last bit.

    Returns:
        `n`, `alpha`, `discoveries`, `flagged`, `threshold` (rows with a lower score are flagged;
        None where none is), `calibration_n`, `smallest_alpha`, `rule`, `score`, `promise`,
        `seconds`, `out`.

    Raises:
        InputError: for a run, data, an output or an option, or a rate that cannot be reached.
    """
    started = time.monotonic()
    chosen = rule(rule_name)
    _check_level(alpha, discoveries, rule_name)
    check_jobs(jobs)
    path = check_output(out, open_table(data).paths)
    scoring = Scoring(run.folder, score, None if background is None else Path(background))
    judge = _judge(run, scoring, calibration, jobs, note)
    return {
        **(
            _discover(judge, data, path, discoveries or 0.0)
            if alpha is None
            else _flag(judge, data, path, chosen, alpha)
        ),
        "alpha": alpha,
        **({} if discoveries is None else {"discoveries": discoveries}),
        "calibration_n": judge.calibration.n,
        "smallest_alpha": chosen.smallest_alpha(judge.calibration),
        "rule": rule_name,
        "score": score,
        "seconds": time.monotonic() - started,
        "out": str(path),
    }


def _check_level(alpha: float | None, discoveries: float | None, rule_name: str) -> None:
    if (alpha is None) == (discoveries is None):
        raise InputError(
            "give either a false-alarm rate or a bound on false discoveries",
            "--alpha, --discoveries",
            "--alpha 0.05 flags 5% of normal rows; --discoveries 0.1 lets 10% of flags be false",
        )
    if discoveries is not None and rule_name != "conformal":
        raise InputError(
            f"false discoveries are not controlled by the rule {rule_name!r}",
            "--discoveries",
            "leave --rule out: the procedure needs conformal p-values",
        )
    if discoveries is not None and not 0.0 < discoveries < 1.0:
        raise InputError(
            f"the bound must lie strictly between 0 and 1, got {discoveries}",
            "--discoveries",
            "0.1 lets 10% of the flagged rows be normal, on average",
        )


def _flag(judge: _Judge, data: Any, path: Path, chosen: Rule, alpha: float) -> dict[str, Any]:
    calibration, seen = judge.calibration, Thinned()
    threshold = chosen.threshold(calibration, alpha)
    n = flagged = 0
    judged = judge.judged(seen.watch(encoded(judge.run, open_table(data), judge.note)))
    with TableWriter(path) as writer, closing(judged):
        for score, log_prob in judged:
            flags = chosen.flags(calibration, score, alpha)
            p_value = chosen.p_values(calibration, score)
            writer.write(judge.columns(score, log_prob, p_value=p_value, is_anomaly=flags))
            n, flagged = n + len(score), flagged + int(flags.sum())
    judge.warn_of_units(flagged, n, seen)
    promise = chosen.promise(calibration, alpha)
    return {"n": n, "flagged": flagged, "threshold": threshold, "promise": promise}


def _discover(judge: _Judge, data: Any, path: Path, q: float) -> dict[str, Any]:
    calibration, seen = judge.calibration, Thinned()
    if calibration.smallest_alpha > q * (1.0 + SLACK):
        raise InputError(
            f"the bound {q:g} is below {calibration.smallest_alpha:.4g}, the smallest p-value of "
            f"{calibration.n} calibration rows: no row could be flagged",
            "--discoveries",
            f"calibrate on at least {int(np.ceil(1.0 / q - SLACK)) - 1} rows, and on more for a "
            "large file",
        )
    counts, n = np.zeros(calibration.n + 1, np.int64), 0
    judged = judge.judged(seen.watch(encoded(judge.run, open_table(data), judge.note)))
    with _spool(path) as spool:
        with closing(judged):
            for score, log_prob in judged:
                ranks = np.searchsorted(calibration.scores, score, side="right")
                counts += np.bincount(ranks, minlength=counts.size)
                spool.write(np.column_stack([score, log_prob]).astype("<f8").tobytes())
                n += len(score)
        largest = discovery_threshold(counts, calibration.n, q)
        spool.seek(0)
        with TableWriter(path) as writer:
            while block := spool.read(16 * _BLOCK):
                score, log_prob = np.frombuffer(block, "<f8").reshape(-1, 2).T
                p_value = calibration.p_values(score)
                flags = p_value <= largest
                writer.write(judge.columns(score, log_prob, p_value=p_value, is_anomaly=flags))
    last = round(largest * (calibration.n + 1)) - 1  # the largest rank that is flagged
    flagged = int(counts[: last + 1].sum())
    judge.warn_of_units(flagged, n, seen)
    above = [*calibration.scores, np.inf]
    return {
        "n": n,
        "flagged": flagged,
        "threshold": float(above[last]) if last >= 0 else None,
        "promise": discovery_promise(q, n, calibration.n),
    }


@contextmanager
def _spool(path: Path) -> Iterator[IO[bytes]]:
    """Open a nameless file beside the output; it is gone when it is closed, or the process ends."""
    try:
        with tempfile.TemporaryFile(dir=path.resolve().parent) as file:
            yield file
    except OSError as error:
        raise InputError(
            f"could not keep the scores: {error.strerror or error}",
            str(path.parent),
            "free some space: 16 bytes for each row, beside the output itself",
        ) from error


def _judge(run: Run, scoring: Scoring, calibration: Any, jobs: int, note: Note) -> _Judge:
    """Return what rows are judged by, calibrated on the rows given, or else on the run's own."""
    other = None if scoring.background is None else open_run(scoring.background)
    score = scorer(run, scoring.score, other)
    if calibration is not None:
        normal = _fresh(run, scoring, score, calibration, jobs, note)
    elif is_default(run, scoring.score):
        normal = run.conformal
    else:
        normal = Conformal(score(run.held_out()[0])[0])
    return _Judge(run, scoring, score, normal, jobs, note)


def _fresh(
    run: Run, scoring: Scoring, score: Scorer, data: Any, jobs: int, note: Note
) -> Conformal:
    """Return the scores of normal rows that the model has not seen."""
    source = open_table(data)
    rows = np.concatenate(list(encoded(run, source, note)))
    note(_check_fresh(run, rows, source.label))
    judged = mapped(score, scoring, [rows], jobs)
    with closing(judged):
        return Conformal(np.concatenate([part for part, _ in judged]))


def _check_fresh(run: Run, rows: np.ndarray, label: str) -> str:
    """Raise where most rows were trained on, as far as the run can tell; return what was checked.

    The run knows the fingerprint of its whole table, the rows that it kept from training, and a
    detector the rows of its kernel density.
    """
    seen = rows.shape[0] * (fingerprint(rows, run.schema.names) == run.spec["data"]["fingerprint"])
    checks = ["they are not the table that the run was trained on"]
    both = np.concatenate(run.held_out())
    held = np.unique(both, axis=0)
    kept = int(_among(held, rows).sum())
    # rows that hardly ever repeat, most of them there, and more: then the others were trained on
    if len(held) > 0.9 * len(both) and 2 * kept > len(held) and len(rows) > 2 * kept:
        seen = max(seen, len(rows) - kept)
    checks.append(f"{kept:,} of the {len(held):,} rows that the run keeps are among them")
    if isinstance(run.density, TablePool):
        kernel: Any = run.density.kernel.members
        centres = np.asarray(kernel.centres[0])
        trained = int(_among(run.density.preprocess.forward(rows), centres).sum())
        seen = max(seen, trained)
        checks.append(f"{trained:,} of them are among the {len(centres):,} of its kernel density")
    if 2 * seen > len(rows):
        raise InputError(
            f"{seen:,} of the {len(rows):,} calibration rows are rows that the run was trained on",
            label,
            "give normal rows that took no part in training, or leave --calibration out",
        )
    return f"calibrated on {len(rows):,} rows of {label}: {'; '.join(checks)}"


def _among(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return whether each row `(n, D)` is one of the others, to the last bit, `(n,)`."""
    known = {row.tobytes() for row in np.ascontiguousarray(others) + 0.0}
    return np.array([row.tobytes() in known for row in np.ascontiguousarray(rows) + 0.0], bool)


def monitor_table(
    run: Run, data: Any, out: str | os.PathLike[str], note: Note, rate: float = 0.01
) -> dict[str, Any]:
    """Watch the rows of `data`, in their order, for a change.

    The columns are `log_prob`, `p_value` (online), `log_evidence` (nats), `alarm`, and `score`
    where the run's score is not log p: see `jensen.anomaly.stream.Monitor`.

    Args:
        run: a finished run of a density.
        data: anything `open_table` opens; its first row is the oldest.
        out: the file to write.
        note: receives remarks.
        rate: the largest chance that rows that never change ever raise the alarm.

    Returns:
        `n`, `rate`, `alarm_row` (counted from 1, None without an alarm), `change_row` (where the
        change seems to have begun), `log_evidence_max`, `calibration_n`, `promise`, `stated_delay`
        (`share`, `level`, `rows`: None where more than 1,000 are needed), `seconds`, `out`.

    Raises:
        InputError: for a run, data, an output or a rate that cannot be used.
    """
    started = time.monotonic()
    monitor = Monitor(run.conformal, rate)
    judge = _judge(run, Scoring(run.folder, "default"), None, 1, note)
    source = open_table(data)
    path = check_output(out, source.paths)
    state, highest = monitor.start(), -np.inf
    judged = judge.judged(encoded(run, source, note))
    with TableWriter(path) as writer, closing(judged):
        for score, log_prob in judged:
            state, readings = monitor.update(state, score)
            highest = max(highest, float(readings.log_evidence.max()))
            others = {
                "p_value": readings.p_values,
                "log_evidence": readings.log_evidence,
                "alarm": readings.alarm,
            }
            writer.write(judge.columns(score, log_prob, **others))
    return {
        "n": state.rows,
        "rate": rate,
        "alarm_row": None if state.alarm_row is None else state.alarm_row + 1,
        "change_row": None if state.change_row is None else state.change_row + 1,
        "log_evidence_max": highest,
        "calibration_n": run.conformal.n,
        "promise": monitor.promise(),
        "stated_delay": {
            "share": SHARE,
            "level": LEVEL,
            "rows": monitor.stated_delay(SHARE, LEVEL, limit=_DELAY_ROWS),
        },
        "seconds": time.monotonic() - started,
        "out": str(path),
    }
