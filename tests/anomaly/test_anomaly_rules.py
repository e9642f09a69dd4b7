"""Rules of detection: the law of their errors by closed form, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, betabinom, binom, norm

from jensen._errors import InputError
from jensen.anomaly import rules
from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.rules import (
    RULES,
    MeanSigma,
    Quantile,
    Rule,
    SplitConformal,
    TrainingConditional,
)

ALPHAS = [0.01, 0.05, 0.07, 0.1, 0.2, 0.5, 0.99]


def test_every_rule_is_in_the_table() -> None:
    assert set(RULES.values()) == set(Rule.__subclasses__())
    assert isinstance(rules.rule("conformal"), SplitConformal)
    with pytest.raises(InputError, match="did you mean 'mean-sigma'"):
        rules.rule("meansigma")


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("n", [20, 59, 100, 299, 500])
@pytest.mark.parametrize("ties", [False, True])
def test_flagged_exactly_when_p_is_at_most_alpha(name: str, n: int, ties: bool) -> None:
    """At every reachable level, the smallest included; ties, repeats and new values among rows."""
    rng, rule = np.random.default_rng(n), rules.rule(name)
    calibration = Conformal(rng.integers(0, 15, n) if ties else rng.normal(size=n))
    new = np.concatenate([calibration.scores, rng.normal(size=200), np.arange(-1.0, 16.0, 0.5)])
    p = rule.p_values(calibration, new)
    assert ((p >= 0.0) & (p <= 1.0)).all()
    smallest = rule.smallest_alpha(calibration)
    for alpha in [a for a in [*ALPHAS, smallest] if a > 0 and rule.reaches(calibration, a)]:
        flags = rule.flags(calibration, new, alpha)
        np.testing.assert_array_equal(flags, p <= alpha * (1 + 1e-12))
        np.testing.assert_array_equal(flags, new < rule.threshold(calibration, alpha))


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("n", [59, 100, 299, 1000])
def test_the_conditional_threshold_is_the_largest_that_holds(n: int, confidence: float) -> None:
    """P(s_(k) ≤ α) of uniform scores is P(Binomial(n, α) ≥ k): the largest k, tried one by one."""
    rule, calibration = TrainingConditional(confidence), Conformal(np.arange(1.0, n + 1.0))
    for alpha in ALPHAS:
        good = [k for k in range(1, n + 1) if binom.sf(k - 1, n, alpha) >= confidence]
        if good:
            assert rule.threshold(calibration, alpha) == good[-1]
        else:
            with pytest.raises(InputError, match="calibration rows can reach"):
                rule.threshold(calibration, alpha)


def test_conditional_p_values_are_beta_quantiles() -> None:
    calibration = Conformal(np.arange(50.0))
    p = TrainingConditional(0.9).p_values(calibration, np.arange(-0.5, 50.0))
    expected = [beta.ppf(0.9, r + 1, 50 - r) for r in range(50)] + [1.0]
    np.testing.assert_allclose(p, expected, rtol=1e-10)
    # the column shape is kept, and a score equal to a calibration score counts it
    assert TrainingConditional().p_values(calibration, np.full((2, 1), 49.0)).tolist() == [[1], [1]]


@pytest.mark.parametrize(("alpha", "confidence"), [(0.05, 0.95), (0.01, 0.95), (0.1, 0.9)])
def test_the_advice_of_an_unreachable_alpha_is_right(alpha: float, confidence: float) -> None:
    """n with 1 − (1−α)ⁿ ≥ c: 59 rows for 5% at 95% confidence, 299 for 1%."""
    needed = next(n for n in range(1, 1000) if 1 - (1 - alpha) ** n >= confidence)
    rule = TrainingConditional(confidence)
    assert rule.reaches(Conformal(np.arange(float(needed))), alpha)
    with pytest.raises(InputError, match=f"at least {needed} rows"):
        rule.threshold(Conformal(np.arange(needed - 1.0)), alpha)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_type_one_error_over_200_random_splits_of_one_table(alpha: float) -> None:
    """Of a table without ties split at random into n = 499 and m = 1,501 rows, the alarms are
    Beta-binomial(m, k, n+1−k) with k = 500α, independently from split to split.

    The mean of 200 splits lies within 4.4 standard errors of α but for one table in 1e5, and at
    least Binomial(200, .95)'s 1e-5 quantile (175) of splits lie in the law's 95% interval.
    """
    rng, n, m, splits = np.random.default_rng(11), 499, 1501, 200
    scores = rng.standard_t(2, n + m)
    law = betabinom(m, round(500 * alpha), n + 1 - round(500 * alpha))
    alarms = []
    for _ in range(splits):
        order = rng.permutation(n + m)
        calibration = Conformal(scores[order[:n]])
        alarms.append(SplitConformal().flags(calibration, scores[order[n:]], alpha).sum())
    assert abs(np.mean(alarms) - alpha * m) < 4.4 * law.std() / np.sqrt(splits)
    low, high = law.ppf([0.025, 0.975])
    inside = np.sum((alarms >= low) & (alarms <= high))
    assert inside >= binom.ppf(1e-5, splits, 0.95) == 175


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_the_conditional_rule_holds_in_its_share_of_splits(alpha: float) -> None:
    """The error of a threshold t is t itself for uniform scores. Over 2,000 calibration sets the
    number that holds is Binomial(2000, P(Binomial(n, α) ≥ k)), that chance is at least .95 and is
    not with k + 1; two-sided band with false-alarm rate 1e-5."""
    rng, n, sets = np.random.default_rng(5), 499, 2000
    rule, k = TrainingConditional(), None
    held, of_conformal = 0, 0
    for _ in range(sets):
        calibration = Conformal(rng.random(n))
        t = rule.threshold(calibration, alpha)
        k = int(np.searchsorted(calibration.scores, t)) + 1
        held += t <= alpha
        of_conformal += calibration.threshold(alpha) <= alpha
    chance = binom.sf(k - 1, n, alpha)
    assert chance >= 0.95 > binom.sf(k, n, alpha)
    low, high = binom.ppf([5e-6, 1 - 5e-6], sets, chance)
    assert low <= held <= high
    assert of_conformal < 0.7 * sets  # on average is not for most sets


@pytest.mark.parametrize(("n", "alpha"), [(20, 0.05), (99, 0.05), (150, 0.01)])
def test_the_plug_in_rule_exceeds_alpha_as_it_says(n: int, alpha: float) -> None:
    """The mean error of s_(k) is k/(n+1): sd ≤ √(k)/(n+1), 4,000 sets, 4.4 standard errors."""
    rng, k = np.random.default_rng(2), int(alpha * n + 1e-9) + 1
    errors = [Quantile().threshold(Conformal(rng.random(n)), alpha) for _ in range(4000)]
    assert abs(np.mean(errors) - k / (n + 1)) < 4.4 * np.sqrt(k) / (n + 1) / np.sqrt(4000)
    assert k / (n + 1) >= alpha
    said = Quantile().promise(Conformal(rng.random(n)), alpha)
    assert "nothing is promised" in said
    assert rules.percent(k / (n + 1)) in said


def test_mean_sigma_is_the_textbook_rule() -> None:
    rng = np.random.default_rng(0)
    calibration = Conformal(rng.normal(3.0, 2.0, 400))
    mean, sigma = np.mean(calibration.scores), np.std(calibration.scores, ddof=1)
    assert MeanSigma(k=3).threshold(calibration, 0.05) == pytest.approx(mean - 3 * sigma)
    assert MeanSigma().threshold(calibration, 0.05) == pytest.approx(mean - 1.6448536 * sigma)
    new = np.array([mean, mean - sigma, -np.inf, np.inf])
    p = MeanSigma().p_values(calibration, new)
    np.testing.assert_allclose(p, [0.5, norm.cdf(-1), 0.0, 1.0], atol=1e-12)
    assert "0.135%" in MeanSigma(k=3).promise(calibration, 0.05)
    assert "up to 10%" in MeanSigma(k=3).promise(calibration, 0.05)


def test_mean_sigma_fails_on_other_laws_and_no_further_than_it_says() -> None:
    """A tenth of the scores at 0, the others at 1: mean .9, sigma .3, so that 2.9 sigma flag 10%
    where a normal law would give .19%; 1/(1 + 2.9²) = 10.6% is the most."""
    calibration = Conformal(np.repeat([0.0, 1.0], [1000, 9000]))
    rate = MeanSigma(k=2.9).flags(calibration, calibration.scores, 0.05).mean()
    assert rate == 0.1
    assert "10.6%" in MeanSigma(k=2.9).promise(calibration, 0.05)


@pytest.mark.parametrize("value", [0.1, 1 / 3, -7e9])
def test_mean_sigma_of_equal_scores_flags_what_is_lower(value: float) -> None:
    calibration = Conformal(np.full(7, value))
    new = np.array([value, np.nextafter(value, -np.inf), value + 1.0])
    assert MeanSigma().flags(calibration, new, 0.05).tolist() == [False, True, False]
    assert MeanSigma().p_values(calibration, new).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("scores", [[-np.inf, 1.0, 2.0], [1.0], [np.inf, 1.0]])
def test_mean_sigma_needs_finite_scores(scores: list[float]) -> None:
    for call in (MeanSigma().threshold, MeanSigma().promise):
        with pytest.raises(InputError, match="use the rule 'conformal'"):
            call(Conformal(np.array(scores)), 0.1)


def test_promises_name_their_figures() -> None:
    calibration = Conformal(np.arange(499.0))
    said = SplitConformal().promise(calibration, 0.05)
    low, high = (rules.percent(q) for q in beta.ppf([0.025, 0.975], 25, 475))
    assert all(part in said for part in ("on average", "at most 5%", low, high))
    assert "at most 4.8%" in SplitConformal().promise(calibration, 0.049)  # 24 of 500
    assert "with 95% confidence" in TrainingConditional().promise(calibration, 0.05)
    k = int(TrainingConditional().threshold(calibration, 0.05)) + 1
    assert rules.percent(k / 500) in TrainingConditional().promise(calibration, 0.05)


def test_thresholds_come_from_the_calibration_rows_alone() -> None:
    """All new rows are anomalies: a quantile of the new rows would flag 5% of them."""
    calibration = Conformal(np.random.default_rng(1).normal(size=999))
    for name in RULES:
        assert rules.rule(name).flags(calibration, np.linspace(-20, -10, 100), 0.05).all()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan"), "0.1"])
def test_alpha_outside_the_open_interval_is_refused(name: str, alpha: object) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        rules.rule(name).threshold(Conformal(np.arange(99.0)), alpha)  # type: ignore[arg-type]


def test_settings_out_of_range_are_refused() -> None:
    for confidence in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="confidence"):
            TrainingConditional(confidence)
    for k in (0.0, -3.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="above 0"):
            MeanSigma(k)
    with pytest.raises(InputError, match="1 <= k <= n"):
        rules.error_band(0, 99)
