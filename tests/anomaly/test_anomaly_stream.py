"""The alarm of streams: how often it is false, how soon it is raised, in blocks of any size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from jensen._errors import InputError
from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.evidence import Evidence
from jensen.anomaly.stream import Monitor


def test_blocks_of_any_size_give_the_same_numbers() -> None:
    """To the last bit, through the change from kept rows to counted cells, with ties and -inf."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(size=6000).round(2), rng.normal(-1, 1, 500).round(2)])
    scores[rng.random(6500) < 0.01] = -np.inf
    monitor = Monitor(Conformal(scores[:300]), seed=5)
    stream = scores[300:]
    end, whole = monitor.update(monitor.start(), stream)
    for sizes in (np.full(7000, 1), rng.integers(0, 600, 200), np.full(10, 4096)):
        state, i, parts = monitor.start(), 0, []
        head = 800 if sizes[0] == 1 else len(stream)
        for size in sizes:
            state, reading = monitor.update(state, stream[i : min(i + size, head)])
            parts.append(reading)
            i += size
            if i >= head:
                break
        for name in ("p_values", "log_evidence", "alarm"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(whole, name)[:head])
        if head == len(stream):
            assert (state.alarm_row, state.change_row) == (end.alarm_row, end.change_row)
            assert state.alarm_row is not None


def test_a_state_is_never_changed() -> None:
    rng = np.random.default_rng(1)
    monitor = Monitor(Conformal(rng.normal(size=99)))
    state, _ = monitor.update(monitor.start(), rng.normal(size=500))
    first, again = (monitor.update(state, np.linspace(-3, 0, 300))[1] for _ in range(2))
    np.testing.assert_array_equal(first.log_evidence, again.log_evidence)
    assert state.rows == 500


def test_the_seed_is_all_the_chance_there_is() -> None:
    scores = np.random.default_rng(2).normal(size=200)
    readings = [
        Monitor(Conformal(scores[:50]), seed=s).update(
            Monitor(Conformal(scores[:50]), seed=s).start(), scores[50:]
        )[1]
        for s in (3, 3, 4)
    ]
    np.testing.assert_array_equal(readings[0].p_values, readings[1].p_values)
    assert (readings[0].p_values != readings[2].p_values).all()


def test_a_quiet_stream_ever_raises_the_alarm_at_most_at_the_rate() -> None:
    """200 streams of 2,000 rows after 50 calibration rows at rate 20%: at most Binomial(200, .2)'s
    1 − 1e-5 quantile; p-values that compare with the 50 rows alone alarm in most."""
    rng, alarms, fixed = np.random.default_rng(6), 0, 0
    for seed in range(200):
        scores = rng.exponential(size=2050)
        monitor = Monitor(Conformal(scores[:50]), rate=0.2, seed=seed)
        state, _ = monitor.update(monitor.start(), scores[50:])
        alarms += state.alarm_row is not None
        below = np.searchsorted(monitor.calibration.scores, scores[50:])
        p = (below + rng.random(2000)) / 51.0
        fixed += Evidence.none().advance(p, np.log(5.0))[2] is not None
    assert alarms <= binom.ppf(1 - 1e-5, 200, 0.2)
    assert fixed > 100


@pytest.mark.slow
def test_no_alarm_in_twenty_quiet_runs() -> None:
    """20 runs of 20,000 rows at rate 1%: two or more alarms have chance at most 1.7%, so that three
    (0.1%) fail the test."""
    rng, alarms = np.random.default_rng(7), 0
    for seed in range(20):
        scores = rng.normal(size=20_499)
        monitor = Monitor(Conformal(scores[:499]), seed=seed)
        state, _ = monitor.update(monitor.start(), scores[499:])
        alarms += state.alarm_row is not None
    assert alarms < 3


@pytest.mark.parametrize(
    ("share", "level", "before"), [(0.3, 0.01, 0), (0.2, 0.01, 600), (1.0, 0.3, 300)]
)
def test_a_change_raises_the_alarm_within_the_stated_delay(
    share: float, level: float, before: int
) -> None:
    """200 streams of another law of scores (minus a chi-square variable), one seed each: at least
    Binomial(200, .95)'s 1e-5 quantile (175) raise it in time, and not before the change more often
    than at the rate; a third of the delay would not pass."""
    rng, n = np.random.default_rng(8), 499
    monitor = Monitor(Conformal(-rng.chisquare(3, n)))
    delay = monitor.stated_delay(share, level, before)
    assert delay is not None
    early, late, soon = 0, 0, 0
    for seed in range(200):
        calibration = -rng.chisquare(3, n)
        normal = -rng.chisquare(3, 200_000)
        low = np.partition(normal, int(level * normal.size))[: int(level * normal.size)]
        after = np.where(rng.random(delay) < share, rng.choice(low, delay), normal[-delay:])
        watch = Monitor(Conformal(calibration), seed=seed)
        state, _ = watch.update(watch.start(), np.concatenate([normal[:before], after]))
        row = np.inf if state.alarm_row is None else state.alarm_row - before
        early += row < 0
        late += row >= delay
        soon += row < delay / 3
    assert 200 - late >= binom.ppf(1e-5, 200, 0.95) == 175
    assert early <= binom.ppf(1 - 1e-5, 200, 0.01)
    assert soon < 175  # the statement is not idle


def test_the_delay_grows_slowly_with_the_quiet_before_it() -> None:
    """Each tenfold of quiet rows costs some 2.6 nats; a larger reference pays a part of it back."""
    monitor = Monitor(Conformal(np.arange(4999.0)))
    delays = [monitor.stated_delay(0.5, 0.01, before) for before in (0, 1000, 100_000)]
    assert delays[0] < delays[1] < delays[2] < 1.8 * delays[0]


def test_a_delay_that_cannot_be_promised_is_none() -> None:
    monitor = Monitor(Conformal(np.arange(19.0)))
    assert monitor.stated_delay(0.02, 0.01, 0, limit=300) is None
    assert monitor.stated_delay(1.0, 0.01, 2000) < monitor.stated_delay(0.5, 0.01, 2000)


@pytest.mark.parametrize("kind", ["lower", "higher", "stuck"])
def test_the_change_is_dated(kind: str) -> None:
    rng = np.random.default_rng(9)
    after = {"lower": rng.normal(-2, 1, 200), "higher": rng.normal(2, 1, 200)}.get(
        kind, np.full(200, 0.1)
    )
    scores = np.concatenate([rng.normal(size=499 + 3000), after])
    monitor = Monitor(Conformal(scores[:499]))
    state, reading = monitor.update(monitor.start(), scores[499:])
    assert state.alarm_row is not None
    assert 3000 < state.alarm_row < 3080
    assert abs(state.change_row - 3000) <= 12
    assert reading.change_row == state.change_row
    np.testing.assert_array_equal(reading.alarm, np.arange(3200) >= state.alarm_row)


def test_the_alarm_stays() -> None:
    """Quiet rows after the alarm bring the evidence down, not the alarm."""
    rng = np.random.default_rng(10)
    monitor = Monitor(Conformal(rng.normal(size=499)))
    state, _ = monitor.update(monitor.start(), rng.normal(-3, 1, 30))
    raised = state.alarm_row
    assert raised is not None
    state, reading = monitor.update(state, rng.normal(size=5000))
    assert reading.alarm.all()
    assert reading.log_evidence[-1] < -np.log(monitor.rate)
    assert state.alarm_row == raised


def test_scores_of_any_scale_give_the_same_alarm() -> None:
    rng = np.random.default_rng(11)
    z = np.concatenate([rng.normal(size=600), rng.normal(-1, 1, 100)])
    rows = [
        Monitor(Conformal(x[:99])).update(Monitor(Conformal(x[:99])).start(), x[99:])[0].alarm_row
        for x in (z, 1e6 * z - 7.0, norm.cdf(z))
    ]
    assert rows[0] == rows[1] == rows[2] is not None


def test_bad_input_is_refused() -> None:
    calibration = Conformal(np.arange(9.0))
    for rate in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="rate"):
            Monitor(calibration, rate=rate)
    with pytest.raises(InputError, match="seed"):
        Monitor(calibration, seed=-1)
    monitor = Monitor(calibration)
    with pytest.raises(InputError, match="NaN"):
        monitor.update(monitor.start(), np.array([np.nan]))
    for wrong in ((0.0, 0.1, 0), (1.5, 0.1, 0), (0.5, 1.0, 0), (0.5, 0.1, -1)):
        with pytest.raises(InputError, match="delay"):
            monitor.stated_delay(*wrong)
    state, reading = monitor.update(monitor.start(), np.empty(0))
    assert state.rows == 0
    assert reading.p_values.shape == reading.alarm.shape == (0,)
    assert "at most 1%" in monitor.promise()
