"""Numbers and findings of a report, in plain words.

A number is written with as many digits as its standard error supports, a rate with its interval
and its counts, and every finding with one sentence that says what it means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from jensen.anomaly.errors import auroc, binomial_interval
from jensen.report.canvas import number, with_error
from jensen.report.content import Report
from jensen.report.page import Finding

_KINDS = {
    "exact": "computed exactly",
    "iwae": "a lower bound in expectation: the true value is at least as high",
    "quadrature": "computed by numerical integration",
    "ais": "estimated by annealed importance sampling",
}


@dataclass(frozen=True)
class Rate:
    """A measured proportion `k / n` with its exact 95% interval `[low, high]`."""

    k: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The proportion itself."""
        return self.k / self.n


@dataclass(frozen=True)
class Detection:
    """What was measured of a detector; a part without rows to measure it on is None."""

    alpha: float
    threshold: float
    spread: tuple[float, float] | None
    type_one: Rate | None
    type_two: Rate | None
    area: tuple[float, float] | None


def measure_detection(report: Report) -> Detection | None:
    """Measure the errors of the detector that a report describes.

    Args:
        report: its `alpha`, `threshold` and scores are read; NaN scores are left out.

    Returns:
        The measured rates, or None when the report states no `alpha` or no `threshold`.
        `spread` holds the central 95% of the true false-alarm rates that detectors calibrated on
        that many exchangeable rows have: Beta(k, n + 1 − k) with k = ⌊α (n + 1)⌋.

    Example:
        >>> scores = np.arange(100.0)
        >>> found = measure_detection(
        ...     Report("r", normal_scores=scores, alpha=0.05, threshold=4.5)
        ... )
        >>> found.type_one.k, found.type_one.n
        (5, 100)
    """
    if report.alpha is None or report.threshold is None:
        return None
    calibration = scores(report.calibration_scores)
    normal, anomaly = scores(report.normal_scores), scores(report.anomaly_scores)
    rank = math.floor(report.alpha * (calibration.size + 1) + 1e-9)
    spread = None
    if calibration.size and rank >= 1:
        law = stats.beta(rank, calibration.size + 1 - rank)
        spread = (float(law.ppf(0.025)), float(law.ppf(0.975)))
    return Detection(
        alpha=float(report.alpha),
        threshold=float(report.threshold),
        spread=spread,
        type_one=_rate(normal <= report.threshold),
        type_two=_rate(anomaly > report.threshold),
        area=auroc(normal, anomaly) if normal.size and anomaly.size else None,
    )


def scores(values: object) -> np.ndarray:
    """Return scores as a flat float64 array without its NaN entries; empty for None."""
    if values is None:
        return np.empty(0)
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[~np.isnan(flat)]


def figure_of(values: Mapping[str, object], key: str) -> float:
    """Return `values[key]` as a float, NaN where it is missing."""
    value = values.get(key)
    return math.nan if value is None else float(value)  # type: ignore[arg-type]


def percent(rate: float) -> str:
    """Write a proportion as a percentage."""
    points = 100.0 * rate
    text = f"{points:.2g}" if 0 < points < 1 else f"{points:.1f}".removesuffix(".0")
    return f"{text}%"


def counts(rate: Rate) -> str:
    """Write a rate as the counts behind it."""
    return f"{rate.k:,} of {rate.n:,}"


def interval(rate: Rate) -> str:
    """Write the interval of a rate."""
    return f"95% interval {percent(rate.low)} to {percent(rate.high)}"


def agreement(detection: Detection) -> str:
    """Return one sentence: does the measured false-alarm rate bear out the stated one?"""
    rate = detection.type_one
    if rate is None:
        return "No held-out normal rows were given, so the rate has not been measured."
    if rate.low > detection.alpha:
        return (
            "The measured rate is higher than stated: these rows differ from the calibration rows, "
            "or the calibration drew an unlucky threshold."
        )
    if rate.high < detection.alpha:
        return "The measured rate is lower than stated: fewer false alarms than promised."
    return "The stated rate lies inside the interval."


def _rate(events: np.ndarray) -> Rate | None:
    """Return the share of true entries with its interval, None for no entries."""
    if events.size == 0:
        return None
    k, n = int(events.sum()), int(events.size)
    return Rate(k, n, *binomial_interval(k, n))


def likelihood_card(report: Report) -> Finding | None:
    """Return the card of the held-out log-likelihood."""
    if report.log_prob is None:
        return None
    log_prob = report.log_prob
    mean, se = figure_of(log_prob, "mean"), figure_of(log_prob, "se")
    kind = _KINDS.get(str(log_prob.get("kind")), "")
    n = log_prob.get("n")
    rows = f"{n:,} rows never trained on" if n else "held-out rows"
    meaning = f"Mean over {rows}{', ' + kind if kind else ''}."
    if mean == -math.inf:
        meaning += " At least one of them has no density at all under the model."
    if report.baseline is not None:
        meaning += " " + against_baseline(log_prob, report.baseline)
    return Finding("Held-out log-likelihood", f"{with_error(mean, se)} nats per row", meaning)


def against_baseline(log_prob: Mapping[str, object], baseline: Mapping[str, object]) -> str:
    """Return one sentence or two that compare a model's log-likelihood with a baseline's."""
    name = str(baseline.get("name", "unnamed"))
    mean, se = figure_of(baseline, "mean"), figure_of(baseline, "se")
    told = f"Baseline ({name}): {with_error(mean, se)}."
    gain = figure_of(log_prob, "mean") - mean
    error = figure_of(baseline, "difference_se")
    if math.isnan(error):  # without the paired error, the sum of both is the most it can be
        error = figure_of(log_prob, "se") + se
    if not math.isfinite(gain):
        return told
    if math.isfinite(error) and abs(gain) <= 1.96 * error:
        return f"{told} The difference, {with_error(gain, error)} nats, is within its error."
    ratio = f"{math.exp(gain):.3g}" if abs(gain) < 9 else f"e^{number(gain, 3)}"
    return (
        f"{told} The model is {'better' if gain > 0 else 'worse'} by "
        f"{with_error(abs(gain), error)} nats: a typical unseen row (geometric mean) gets {ratio} "
        "times the density that the baseline gives it."
    )


def false_alarm_card(report: Report) -> Finding | None:
    """Return the card of the type I error."""
    detection = measure_detection(report)
    if detection is None:
        return None
    stated = f"Stated: {percent(detection.alpha)}."
    rate = detection.type_one
    if rate is None:
        value = f"stated {percent(detection.alpha)}"
        return Finding("False alarms (type I error)", value, agreement(detection))
    meaning = (
        f"{stated} Measured: {counts(rate)} held-out normal rows were flagged. {interval(rate)}. "
        f"{agreement(detection)}"
    )
    return Finding("False alarms (type I error)", percent(rate.value), meaning)


def missed_card(report: Report) -> Finding | None:
    """Return the card of the type II error."""
    detection = measure_detection(report)
    if detection is None or detection.type_two is None:
        return None
    rate = detection.type_two
    meaning = f"{counts(rate)} known anomalies passed unnoticed. {interval(rate)}."
    return Finding("Anomalies missed (type II error)", percent(rate.value), meaning)


def area_card(report: Report) -> Finding | None:
    """Return the card of the area under the ROC curve."""
    detection = measure_detection(report)
    if detection is None or detection.area is None:
        return None
    value, se = detection.area
    text = f"{value:.3f} ± {se:.3f}" if math.isfinite(se) and se > 0 else f"{value:.3f}"
    error = "standard error by DeLong’s method"
    if not se > 0:
        error = "too few rows, or no overlap at all, for a standard error"
    meaning = (
        "Chance that an anomaly scores below a normal row: 0.5 is guessing, 1 is perfect "
        f"({error})."
    )
    return Finding("Separation (AUROC)", text, meaning)
