r"""An alarm for streams: raised when the rows no longer come from the law of the calibration rows.

Each row gets an online conformal p-value (`jensen.anomaly.online`), and the p-values together an
evidence log M_t (`jensen.anomaly.evidence`). The alarm is raised at the first row with
M_t ≥ 1/rate and stays. Two statements hold:

- **false alarms**: a stream that is exchangeable with its calibration rows *ever* raises the alarm
  with chance at most `rate`, however long it is and whatever the density;
- **delay**: `Monitor.stated_delay` says within how many rows a change is found 95 times in 100. It
  depends on ranks alone, so that it can be computed without knowing the law of the scores.

What comes after a change joins the reference: where few rows came before it, a small change may be
learned before it is proved. The more calibration rows, the shorter the delay.

Sources: those of the two modules; Vovk 2020 (testing for concept shift online, arXiv:2012.14246).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jensen._errors import InputError
from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.evidence import Evidence
from jensen.anomaly.online import REFERENCE, Reference, uniforms
from jensen.anomaly.rules import percent
from jensen.data.split import check_seed

_REPEATS = 300  # streams simulated for a stated delay


@dataclass(frozen=True)
class StreamState:
    """All that the alarm remembers of a stream.

    Args:
        rows: stream rows seen.
        reference: the rows that p-values compare with.
        evidence: the running sums of the bets.
        alarm_row: the row (from 0) that raised the alarm; None before it.
        change_row: the estimate, made then, of the row (from 0) where the change began.
    """

    rows: int
    reference: Reference
    evidence: Evidence
    alarm_row: int | None = None
    change_row: int | None = None


@dataclass(frozen=True)
class Readings:
    """What the alarm says of a block of m rows.

    Args:
        p_values: `(m,)` online conformal p-values, in (0, 1).
        log_evidence: `(m,)` log M_t, nats.
        alarm: `(m,)` bool, True from the row that raised the alarm on.
        change_row: the row of the stream (from 0) where the change seems to have begun, else None.
    """

    p_values: np.ndarray
    log_evidence: np.ndarray
    alarm: np.ndarray
    change_row: int | None


@dataclass(frozen=True)
class Monitor:
    """Watches a stream of scores.

    Args:
        calibration: scores of normal rows that the model has not seen.
        rate: the largest chance that a stream that never changes ever raises the alarm, in (0, 1).
        seed: of the numbers that break ties and smooth p-values, in [0, 2³²).

    Raises:
        InputError: for a rate outside (0, 1), or a seed out of range.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> monitor = Monitor(Conformal(rng.normal(size=499)))
        >>> state, quiet = monitor.update(monitor.start(), rng.normal(size=1000))
        >>> bool(quiet.alarm.any())
        False
        >>> state, loud = monitor.update(state, rng.normal(size=100) - 2.0)
        >>> bool(loud.alarm[-1]), 990 < loud.change_row < 1010
        (True, True)
    """

    calibration: Conformal
    rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0.0 < self.rate < 1.0:
            raise InputError(
                f"the rate of false alarms must lie strictly between 0 and 1, got {self.rate}",
                "rate",
                "0.01: one quiet stream in 100 may ever raise the alarm",
            )

    def start(self) -> StreamState:
        """Return the state before the first row of a stream, or of what follows an alarm.

        Each start has its own chance `rate` of a false alarm.
        """
        return StreamState(0, Reference.of(self.calibration, self.seed), Evidence.none())

    def update(self, state: StreamState, scores: np.ndarray) -> tuple[StreamState, Readings]:
        """Return the state after a block of rows and what the alarm says of each.

        Blocks of any size give the same numbers to the last bit; `state` is not changed.

        Args:
            state: from `start`, or of the block before.
            scores: `(m,)`, nats, higher = more normal; -inf is legal.

        Raises:
            InputError: for NaN.
        """
        scores = np.asarray(scores, np.float64).ravel()
        smooth, ties = uniforms(self.seed, self.calibration.n + state.rows, scores.size)
        reference, p_values = state.reference.extend(scores, smooth, ties)
        threshold = -math.log(self.rate)
        evidence, log_evidence, change = state.evidence.advance(p_values, threshold)
        alarm_row, change_row = state.alarm_row, state.change_row
        reached = np.flatnonzero(log_evidence >= threshold)
        if alarm_row is None and reached.size:
            alarm_row, change_row = state.rows + int(reached[0]), change
        rows = state.rows + np.arange(scores.size)
        alarm = rows >= alarm_row if alarm_row is not None else np.zeros(scores.size, bool)
        after = StreamState(state.rows + scores.size, reference, evidence, alarm_row, change_row)
        return after, Readings(p_values, log_evidence, alarm, change_row)

    def stated_delay(
        self, share: float, level: float, rows_before: int = 0, limit: int = 10_000
    ) -> int | None:
        """Return within how many rows a change raises the alarm with chance at least 95%.

        After `rows_before` quiet rows, a share of all rows is replaced by rows whose scores lie
        among the `level` lowest of the normal law; the others stay as they were. P-values are
        functions of ranks, so that this holds for any scores without ties.

        Args:
            share: of rows that become anomalous, in (0, 1].
            level: the share of normal rows that score as low as they do, in (0, 1).
            rows_before: quiet rows of the stream before the change.
            limit: rows after the change that are looked at.

        Returns:
            Rows; None where the alarm is not raised within `limit` rows 95 times in 100. Simulated
            with 300 streams of a fixed seed: an order statistic that covers the 95% quantile with
            99% confidence. Evidence from before the change is left out, which errs upwards.

        Raises:
            InputError: for a share outside (0, 1], a level outside (0, 1) or negative rows.
        """
        if not (0.0 < share <= 1.0 and 0.0 < level < 1.0 and rows_before >= 0):
            raise InputError(
                f"a delay needs a share in (0, 1], a level in (0, 1) and rows from 0, got {share}, "
                f"{level}, {rows_before}",
                "stated_delay",
                "for example share 0.2, level 0.01",
            )
        rng = np.random.default_rng([17, self.calibration.n, rows_before])
        delays = [self._delay(rng, share, level, rows_before, limit) for _ in range(_REPEATS)]
        order = int(stats.binom.ppf(0.99, _REPEATS, 0.95))  # from 0: one above the quantile
        delay = sorted(delays)[min(order, _REPEATS - 1)]
        return None if delay > limit else delay

    def _delay(
        self, rng: np.random.Generator, share: float, level: float, before: int, limit: int
    ) -> int:
        known = self.calibration.n + before
        capacity = max(REFERENCE, self.calibration.n)
        keys = np.sort(rng.random(min(known, capacity)))
        cells = np.diff(keys, prepend=0.0, append=1.0)
        counts = rng.multinomial(known - keys.size, cells / cells.sum())
        reference, evidence = Reference(keys + 0j, counts, capacity), Evidence.none(before)
        done, size, threshold = 0, 32, -math.log(self.rate)
        while done < limit:
            scores = rng.random(size) * np.where(rng.random(size) < share, level, 1.0)
            reference, p_values = reference.extend(scores, *rng.random((2, size)))
            evidence, log_evidence, change = evidence.advance(p_values, threshold)
            if change is not None:
                return done + int(np.argmax(log_evidence >= threshold)) + 1
            done, size = done + size, min(2 * size, 1024)
        return limit + 1

    def promise(self) -> str:
        """Return, in plain words, what holds for a stream that never changes."""
        return (
            f"a stream that never changes (rows exchangeable with the calibration rows, so that "
            f"their order says nothing) ever raises the alarm with chance at most "
            f"{percent(self.rate)}, however long it runs"
        )
