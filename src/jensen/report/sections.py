"""The sections of a report page: figures with their captions, and tables.

Each section looks whether its values are there and returns None otherwise, so that nothing is ever
shown empty. Every figure carries a text for readers who cannot see it and one sentence on how to
read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from jensen.anomaly.errors import roc_curve
from jensen.report.canvas import WIDTH, number, to_data_uri
from jensen.report.columns import marginals, pairs
from jensen.report.content import Report
from jensen.report.detection import roc, score_histogram
from jensen.report.plots import learning_curves, likelihood_bars, pit_histogram
from jensen.report.words import (
    Detection,
    against_baseline,
    agreement,
    counts,
    figure_of,
    percent,
    scores,
)

_PIXELS = 125  # on the page, an inch of a figure


@dataclass(frozen=True)
class Picture:
    """A figure: its `data:` address, a text that stands for it, how to read it, its pixels."""

    uri: str
    alt: str
    caption: str
    width: int
    height: int
    wide: bool


@dataclass(frozen=True)
class Table:
    """A table with a caption, a header row and rows of text."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with its tables and pictures."""

    anchor: str
    title: str
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def sections(report: Report, detection: Detection | None) -> list[Section]:
    """Return the sections for which the report holds values, in reading order."""
    built = (
        _fitted(report),
        _learning(report),
        _likelihood(report),
        _columns(report),
        _calibration(report),
        _detection(report, detection),
    )
    return [section for section in built if section is not None]


def _picture(fig: Figure, alt: str, caption: str) -> Picture:
    """Return a figure ready for the page; broad ones scroll sideways on a phone."""
    width, height = fig.get_size_inches()
    pixels = round(_PIXELS * width), round(_PIXELS * height)
    return Picture(to_data_uri(fig), alt, caption, *pixels, wide=bool(width > WIDTH))


def _fitted(report: Report) -> Section | None:
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


def _learning(report: Report) -> Section | None:
    if report.metrics is None or np.size(report.metrics.get("step", ())) == 0:
        return None
    last = number(float(np.max(np.asarray(report.metrics["step"], np.float64))), 6)
    alt = f"Training and validation loss against the step, up to step {last}; lower is better."
    caption = (
        "Lower is better. When the validation curve climbs while the training curve still falls, "
        "the model is memorising; the diamond marks the best validation loss."
    )
    picture = _picture(learning_curves(report.metrics), alt, caption)
    return Section("learning", "Learning", pictures=[picture])


def _likelihood(report: Report) -> Section | None:
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
    picture = _picture(likelihood_bars(entries), alt, caption)
    return Section("likelihood", "Held-out likelihood", pictures=[picture])


def _columns(report: Report) -> Section | None:
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
    pictures = [_picture(first, alt, caption)]
    if total > 1:
        few = total > 5
        chosen = "Five columns whose rank correlations differ most" if few else "All columns"
        alt = f"{chosen}, plotted against each other: data beside samples on the same axes."
        caption = (
            f"{chosen}. The two clouds of a pair should have the same shape; structure in one and "
            "not in the other is what the model missed or invented."
        )
        pictures.append(_picture(pairs(report.names, data, samples), alt, caption))
    return Section("samples", "Data beside samples", pictures=pictures)


def _calibration(report: Report) -> Section | None:
    if report.pit is None or not np.isfinite(np.asarray(report.pit, np.float64)).any():
        return None
    fig = pit_histogram(report.pit)
    title = fig.axes[0].get_title(loc="left")
    alt = f"Histogram of probability integral transforms of held-out rows. {title}."
    caption = (
        "Bars inside the band agree with a well-calibrated model. A dip in the middle means the "
        "model is too narrow, a hump too wide, a slope shifted."
    )
    return Section("calibration", "Calibration", pictures=[_picture(fig, alt, caption)])


def _detection(report: Report, detection: Detection | None) -> Section | None:
    if detection is None:
        return None
    normal, anomaly = scores(report.normal_scores), scores(report.anomaly_scores)
    calibration = scores(report.calibration_scores)
    pictures = []
    if np.isfinite(np.concatenate([calibration, normal, anomaly])).any():
        threshold, alpha = detection.threshold, detection.alpha
        fig = score_histogram(
            calibration,
            normal if normal.size else None,
            anomaly if anomaly.size else None,
            threshold,
            alpha,
        )
        alt = (
            f"Histogram of log-likelihoods: {calibration.size:,} calibration rows, {normal.size:,} "
            f"held-out normal rows, {anomaly.size:,} anomalies; threshold {number(threshold)} nats."
        )
        caption = (
            "Rows in the shaded part, left of the dashed threshold, are flagged: normal rows "
            "there are false alarms, anomalies outside it are missed."
        )
        pictures.append(_picture(fig, alt, caption))
    if detection.area is not None:
        pictures.append(_roc(normal, anomaly, detection))
    table = Table(
        "Stated and measured errors",
        ("", "stated", "measured", "95% interval", "rows"),
        _errors(detection),
        _note(detection, calibration.size),
    )
    return Section("detection", "Detection", [table], pictures)


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
    return _picture(fig, alt, caption)


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
