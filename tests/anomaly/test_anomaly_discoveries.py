"""False discoveries: the procedure by its definition, its rate exactly and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.discoveries import (
    benjamini_hochberg,
    discovery_threshold,
    fewest_discoveries,
    promise,
)


def by_definition(p: np.ndarray, q: float) -> np.ndarray:
    best = 0
    for i in range(1, len(p) + 1):
        if np.sort(p)[i - 1] * len(p) <= q * i * (1 + 1e-9):
            best = i
    return p <= np.sort(p)[best - 1] if best else np.zeros(len(p), bool)


def test_it_is_the_step_up_procedure() -> None:
    rng = np.random.default_rng(0)
    for m in (1, 2, 7, 40):
        for _ in range(50):
            p = np.round(rng.random(m) ** 3, 2)
            for q in (0.05, 0.2, 0.5):
                np.testing.assert_array_equal(benjamini_hochberg(p, q), by_definition(p, q))


def test_step_up_flags_where_step_down_stops() -> None:
    """p_(1) = .03 > q/4, but p_(3) = .07 ≤ 3q/4."""
    flags = benjamini_hochberg(np.array([0.9, 0.03, 0.06, 0.07]), 0.1)
    assert flags.tolist() == [False, True, True, True]


def test_a_p_value_on_the_line_is_flagged() -> None:
    """3 rows of p = 1/20 among 10 at q = 1/6, and 7 of p = 7/100 at q = .1 among 10."""
    assert benjamini_hochberg(np.repeat([0.05, 0.9], [3, 7]), 1 / 6).sum() == 3
    assert benjamini_hochberg(np.repeat([0.07, 0.9], [7, 3]), 0.1).sum() == 7


def test_nothing_to_flag() -> None:
    assert benjamini_hochberg(np.array([]), 0.1).shape == (0,)
    assert not benjamini_hochberg(np.array([0.5, 1.0]), 0.1).any()
    assert discovery_threshold(np.zeros(10, int), 9, 0.1) == 0.0


@pytest.mark.parametrize("n", [1, 9, 99, 640])
def test_counts_and_rows_agree(n: int) -> None:
    rng = np.random.default_rng(n)
    conformal = Conformal(rng.normal(size=n))
    for m, share in itertools.product((1, 10, 300, 5000), (0.0, 0.05, 0.5)):
        scores = rng.normal(size=m) - 4.0 * (rng.random(m) < share)
        ranks = np.searchsorted(conformal.scores, scores, side="right")
        counts = np.bincount(ranks, minlength=n + 1)
        p = conformal.p_values(scores)
        for q in (0.01, 0.1, 0.3, 0.9):
            flags = benjamini_hochberg(p, q)
            np.testing.assert_array_equal(p <= discovery_threshold(counts, n, q), flags)
            if flags.any():
                assert p[flags].max() == discovery_threshold(counts, n, q)
                assert flags.sum() >= fewest_discoveries(m, n, q)


def ranks_law(n: int, m: int) -> list[tuple[tuple[int, ...], float]]:
    """Every tuple of ranks of m new rows among n, with its chance: a Pólya urn of n + 1 cells."""
    law = []
    for ranks in itertools.product(range(n + 1), repeat=m):
        chance = 1.0
        for i, r in enumerate(ranks):
            chance *= (1 + ranks[:i].count(r)) / (n + 1 + i)
        law.append((ranks, chance))
    return law


@pytest.mark.parametrize("q", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize(("n", "m"), [(4, 3), (4, 4), (9, 3)])
def test_the_rate_holds_exactly_where_all_rows_are_normal(n: int, m: int, q: float) -> None:
    """Then any flag is false: P(any) ≤ q, summed over every tuple of ranks. Without the +1 in the
    p-values it does not hold."""
    law = ranks_law(n, m)
    assert sum(chance for _, chance in law) == pytest.approx(1.0)

    def any_flag(add: int) -> float:
        p = {r: (r + add) / (n + add) for r in range(n + 1)}
        flagged = (benjamini_hochberg(np.array([p[r] for r in rs]), q).any() for rs, _ in law)
        return sum(chance for (_, chance), flag in zip(law, flagged, strict=True) if flag)

    assert any_flag(1) <= q + 1e-12
    if q < 0.5:
        assert any_flag(0) > q + 0.01


def test_the_mean_share_of_false_discoveries_is_at_most_q() -> None:
    """Gaussian scores, 999 calibration rows, 900 normal rows and 100 anomalies 3 sd below; q = 10%.

    Theory: mean ≤ .09. Mean of 200 batches at most .09 + 4.3 standard errors, wrong once in 1e5;
    the same batches with p-values that leave the row itself out, and α in place of q, are far off.
    """
    rng, shares, found, at_level = np.random.default_rng(4), [], [], []
    for _ in range(200):
        conformal = Conformal(rng.normal(size=999))
        p = conformal.p_values(np.concatenate([rng.normal(size=900), rng.normal(-3, 1, 100)]))
        flags = benjamini_hochberg(p, 0.1)
        shares.append(flags[:900].sum() / max(flags.sum(), 1))
        found.append(flags[900:].mean())
        at_level.append(np.sum(p[:900] <= 0.1) / np.sum(p <= 0.1))
    error = np.std(shares, ddof=1) / np.sqrt(200)
    assert np.mean(shares) <= 0.09 + 4.3 * error
    assert np.mean(shares) <= 0.1
    assert np.mean(shares) >= 0.09 - 4.3 * error - 0.02  # and is not bought by flagging nothing
    assert np.mean(found) > 0.6
    assert np.mean(at_level) > 0.4  # the false-alarm rate is another promise


def test_the_fewest_discoveries_are_the_fewest() -> None:
    for n, m, q in ((99, 1000, 0.1), (9, 30, 0.2), (999, 50, 0.1), (19, 7, 0.35)):
        least = fewest_discoveries(m, n, q)
        for i in range(max(1, least - 2), min(m, least + 2) + 1):
            p = np.ones(m)
            p[:i] = 1 / (n + 1)
            assert benjamini_hochberg(p, q).any() == (i >= least)
        assert f"at least {least}" in promise(q, m, n)


@pytest.mark.parametrize("q", [0.0, 1.0, -1.0, float("nan")])
def test_q_outside_the_open_interval_is_refused(q: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        benjamini_hochberg(np.array([0.5]), q)
    with pytest.raises(InputError, match="between 0 and 1"):
        discovery_threshold(np.ones(2), 1, q)


def test_what_are_no_p_values_is_refused() -> None:
    for p in ([-3.0, 0.5], [0.2, 1.5], [float("nan")]):
        with pytest.raises(InputError, match="not its scores"):
            benjamini_hochberg(np.array(p), 0.1)
    for counts in (np.ones(3), np.array([1, -1])):
        with pytest.raises(InputError, match="ranks"):
            discovery_threshold(counts, 1, 0.1)
