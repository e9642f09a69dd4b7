"""Sections that several families share, and the layout of a density's page.

Every function takes the content of a report and returns a section, or None where its values are
missing.
"""

from __future__ import annotations

import numpy as np

from jensen.anomaly.errors import roc_curve
from jensen.report.canvas import number
from jensen.report.cases import cases
from jensen.report.columns import marginals, pairs
from jensen.report.content import Report
from jensen.report.detection import roc, score_histogram
from jensen.report.duel import level_shares
from jensen.report.images import tiles
from jensen.report.page import Layout, Picture, Section, Table, picture
from jensen.report.plots import learning_curves, likelihood_bars, pit_histogram
from jensen.report.slider import slider
from jensen.report.words import (
    Detection,
    against_baseline,
    agreement,
    area_card,
    counts,
    false_alarm_card,
    figure_of,
    likelihood_card,
    measure_detection,
    missed_card,
    percent,
    scores,
)

_MOST_CATEGORICAL, _LEVELS = 8, 12


def fitted(report: Report) -> Section | None:
    """Return the section of facts about the data and the model."""
    tables = [
        Table(caption, ("", "value"), [(str(k), _text(v)) for k, v in facts])
        for caption, facts in (("Data", report.data_facts), ("Model", report.model_facts))
        if facts
    ]
    return Section("fitted", "What was fitted", tables) if tables else None


def _text(value: object) -> str:
    """Write a fact: digits grouped, lists joined, nothing shown as `none`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return number(float(value))
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(item) for item in value) or "none"
    return "none" if value is None or value == "" else str(value)


def learning(report: Report) -> Section | None:
    """Return the section of the training and validation losses."""
    if report.metrics is None or np.size(report.metrics.get("step", ())) == 0:
        return None
    last = number(float(np.max(np.asarray(report.metrics["step"], np.float64))), 6)
    alt = f"Training and validation loss against the step, up to step {last}; lower is better."
    caption = (
        "Lower is better. When the validation curve climbs while the training curve still falls, "
        "the model is memorising; the diamond marks the best validation loss."
    )
    drawn = picture(learning_curves(report.metrics, report.loss_unit), alt, caption)
    return Section("learning", "Learning", pictures=[drawn])


def likelihood(report: Report) -> Section | None:
    """Return the section that compares the held-out likelihood with the baseline's."""
    if report.log_prob is None or report.baseline is None:
        return None
    name = str(report.baseline.get("name", "Baseline"))
    entries = [
        (label, figure_of(values, "mean"), figure_of(values, "se"))
        for label, values in (("this model", report.log_prob), (name, report.baseline))
    ]
    alt = "Held-out log-likelihood of the model and of the baseline. "
    alt += against_baseline(report.log_prob, report.baseline)
    caption = (
        "Further right is better, and each nat is a factor of 2.72 in density; bars span 1.96 "
        "standard errors to each side. The scale has no natural zero: it moves with the units of "
        "the data, so only differences mean something."
    )
    drawn = picture(likelihood_bars(entries), alt, caption)
    return Section("likelihood", "Held-out likelihood", pictures=[drawn])


def columns(report: Report) -> Section | None:
    """Return the section that holds the columns of the data beside those of the samples."""
    if report.data is None or report.samples is None or not len(report.names):
        return None
    data, samples = np.asarray(report.data), np.asarray(report.samples)
    if 0 in data.shape or 0 in samples.shape:
        return None
    total = len(report.names)
    first = marginals(report.names, data, samples)
    which = f"the {len(first.axes)} of {total} columns that fit worst, worst first"
    which = which if len(first.axes) < total else "every column" if total > 1 else "the only column"
    alt = f"Histograms of {which}: {len(data):,} rows of data beside {len(samples):,} samples."
    caption = (
        f"Shown: {which}. Where the line leaves the filled shape, samples differ from data; KS is "
        "the largest gap between the two cumulative shares, from 0 (same) to 1 (apart)."
    )
    pictures = [picture(first, alt, caption)]
    if total > 1:
        few = total > 5
        chosen = "Five columns whose rank correlations differ most" if few else "All columns"
        alt = f"{chosen}, plotted against each other: data beside samples on the same axes."
        caption = (
            f"{chosen}. The two clouds of a pair should have the same shape; structure in one and "
            "not in the other is what the model missed or invented."
        )
        pictures.append(picture(pairs(report.names, data, samples), alt, caption))
    return Section("samples", "Data beside samples", pictures=pictures)


def levels(report: Report) -> Section | None:
    """Return the section that holds the shares of categories in the data beside the samples'."""
    if not report.levels:
        return None
    gaps = {
        name: 0.5 * sum(abs(a - b) for a, b in shares.values())
        for name, shares in report.levels.items()
    }
    worst = sorted(gaps, key=lambda name: -gaps[name])[:_MOST_CATEGORICAL]
    shown = {
        name: dict(sorted(report.levels[name].items(), key=lambda entry: -max(entry[1]))[:_LEVELS])
        for name in worst
    }
    cut = any(len(shown[name]) < len(report.levels[name]) for name in worst)
    which = (
        "every categorical column"
        if len(worst) == len(gaps)
        else (f"the {len(worst)} of {len(gaps)} categorical columns that fit worst, worst first")
    )
    rare = f", their {_LEVELS} most frequent levels" if cut else ""
    alt = f"Shares of the levels of {which}, in the data and in the samples."
    caption = (
        f"Shown: {which}{rare}. The end of a bar is the share in the data, the circle that in the "
        "samples: they should meet."
    )
    drawn = picture(level_shares(shown), alt, caption)
    return Section("levels", "Categories", pictures=[drawn])


def images(report: Report) -> Section | None:
    """Return the section that holds images of the data beside those of the samples."""
    if report.images is None or any(np.size(group) == 0 for group in report.images.values()):
        return None
    drawn = tiles(report.images)
    alt = f"Small images in {len(report.images)} groups: {', '.join(report.images)}."
    caption = "Taken as they come, none chosen; all on one scale, that of the data."
    return Section("images", "Images", pictures=[picture(drawn, alt, caption)])


def calibration(report: Report) -> Section | None:
    """Return the section of the probability integral transforms."""
    if report.pit is None or not np.isfinite(np.asarray(report.pit, np.float64)).any():
        return None
    fig = pit_histogram(report.pit)
    title = fig.axes[0].get_title(loc="left")
    alt = f"Histogram of probability integral transforms of held-out rows. {title}."
    caption = (
        "Bars inside the band agree with a well-calibrated model. A dip in the middle means the "
        "model is too narrow, a hump too wide, a slope shifted."
    )
    return Section("calibration", "Calibration", pictures=[picture(fig, alt, caption)])


def detection(report: Report) -> Section | None:
    """Return the section of the detector: its scores, its threshold and its errors."""
    measured = measure_detection(report)
    if measured is None:
        return None
    normal, anomaly = scores(report.normal_scores), scores(report.anomaly_scores)
    calibration = scores(report.calibration_scores)
    pictures = []
    if np.isfinite(np.concatenate([calibration, normal, anomaly])).any():
        threshold, alpha = measured.threshold, measured.alpha
        fig = score_histogram(
            calibration,
            normal if normal.size else None,
            anomaly if anomaly.size else None,
            threshold,
            alpha,
        )
        alt = (
            f"Histogram of scores: {calibration.size:,} calibration rows, {normal.size:,} "
            f"held-out normal rows, {anomaly.size:,} anomalies; threshold {number(threshold)} nats."
        )
        caption = (
            "Rows in the shaded part, left of the dashed threshold, are flagged: normal rows "
            "there are false alarms, anomalies outside it are missed."
        )
        pictures.append(picture(fig, alt, caption))
    if measured.area is not None:
        pictures.append(_roc(normal, anomaly, measured))
    table = Table(
        "Stated and measured errors",
        ("", "stated", "measured", "95% interval", "rows"),
        _errors(measured),
        _note(measured, calibration.size),
    )
    moved = slider(report, measured) if pictures else None
    return Section("detection", "Detection", [table], pictures, slider=moved)


def _roc(normal: np.ndarray, anomaly: np.ndarray, detection: Detection) -> Picture:
    """Return the ROC curve with the detector's own operating point."""
    value, se = detection.area or (np.nan, np.nan)
    wide = 1.96 * se if se > 0 else np.nan
    ci = (max(0.0, value - wide), min(1.0, value + wide)) if se > 0 else (np.nan, np.nan)
    point = None
    if detection.type_one is not None and detection.type_two is not None:
        point = (detection.type_one.value, 1.0 - detection.type_two.value)
    fig = roc(*roc_curve(normal, anomaly), value, ci, point)
    alt = f"ROC curve, area {value:.3f}."
    caption = (
        "Each point of the curve is one threshold; the nearer to the upper left corner, the more "
        "anomalies are caught for the same false alarms."
    )
    return picture(fig, alt, caption)


def _errors(detection: Detection) -> list[tuple[str, ...]]:
    """Return the rows of the table of errors."""
    rows = []
    for name, stated, rate in (
        ("False alarms (type I)", percent(detection.alpha), detection.type_one),
        ("Anomalies missed (type II)", "—", detection.type_two),
    ):
        if rate is not None:
            span = f"{percent(rate.low)} to {percent(rate.high)}"
            rows.append((name, stated, percent(rate.value), span, counts(rate)))
        elif stated != "—":
            rows.append((name, stated, "not measured", "—", "—"))
    if detection.area is not None:
        value, se = detection.area
        span = f"{max(0.0, value - 1.96 * se):.3f} to {min(1.0, value + 1.96 * se):.3f}"
        rows.append(("AUROC", "—", f"{value:.3f}", span if se > 0 else "—", "—"))
    return rows


def _note(detection: Detection, n: int) -> str:
    """Say how the intervals were made and what the stated rate promises."""
    note = f"{agreement(detection)} Rates carry exact binomial (Clopper–Pearson) intervals"
    note += "; that of AUROC is 1.96 DeLong standard errors." if detection.area else "."
    if detection.spread is not None:
        low, high = detection.spread
        note += (
            f" The stated rate holds on average over calibrations; with {n:,} calibration rows, "
            f"95% of detectors have a true rate between {percent(low)} and {percent(high)}."
        )
    return note


DENSITY = Layout(
    cards=(likelihood_card, false_alarm_card, missed_card, area_card),
    sections=(fitted, learning, likelihood, columns, calibration, detection, cases),
    footer=(
        "Log-likelihoods are natural logarithms (nats) of the density in the units of the data; "
        "errors after ± are standard errors."
    ),
)
"""The page of a model with a density."""
