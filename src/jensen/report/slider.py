r"""The histogram of scores whose threshold the reader moves, on the page itself.

The slider runs over the false-alarm rates α = k/(n + 1) that n calibration rows can state, with
their thresholds c_(k), the k-th smallest calibration score; a row is flagged below it. The page
holds, for each place of the slider, how many more rows are flagged there than at the place before;
its script adds these up and works out both errors and their Clopper–Pearson intervals. Beyond
`PLACES` thresholds the k are thinned out evenly in log k.
"""

from __future__ import annotations

import json
import math

import numpy as np
from matplotlib.ticker import MaxNLocator

from jensen.report.canvas import number
from jensen.report.content import Report
from jensen.report.detection import score_window
from jensen.report.page import Slider
from jensen.report.words import Detection, scores

PLACES = 300
"""Places of the slider at most, give or take one."""

WIDTH, HEIGHT, BINS = 1000.0, 300.0, 40


def slider(report: Report, measured: Detection) -> Slider | None:
    """Return the slider of a detector, None where there is nothing to slide.

    Args:
        report: its scores are read; NaN scores are left out.
        measured: the detector, as `jensen.report.words.measure_detection` gives it.
    """
    groups = {
        "calibration": np.sort(scores(report.calibration_scores)),
        "held-out normal": np.sort(scores(report.normal_scores)),
        "anomalies": np.sort(scores(report.anomaly_scores)),
    }
    calibration = groups["calibration"]
    most = (calibration.size + 1) // 2
    if most < 2 or not np.isfinite(np.concatenate(list(groups.values()))).any():
        return None
    stated = _stated(calibration, measured)
    ranks = _ranks(most, stated)
    start = int(np.searchsorted(ranks, stated))
    alphas = ranks / (calibration.size + 1.0)
    if stated == _rank(calibration, measured.alpha):
        alphas[start] = measured.alpha
    thresholds = calibration[ranks - 1]
    low, high = score_window(groups, measured.threshold)
    held = {
        "alphas": alphas.tolist(),
        "thresholds": [number(t, 4) for t in thresholds],
        "places": (100.0 * np.clip((thresholds - low) / (high - low), 0, 1)).tolist(),
        "flagged": {
            name: {"n": found.size, "more": _more(found, thresholds)}
            for name, found in (
                ("normal", groups["held-out normal"]),
                ("anomalies", groups["anomalies"]),
            )
        },
    }
    return Slider(
        data=_safe(held),
        steps=len(ranks),
        start=start,
        groups=_paths(groups, low, high),
        ticks=[
            (100.0 * (t - low) / (high - low), number(t))
            for t in MaxNLocator(5).tick_values(low, high)
            if low < t < high
        ],
        anomalies=bool(groups["anomalies"].size),
        caption=_caption(groups, low),
    )


def _rank(calibration: np.ndarray, alpha: float) -> int:
    """Return the k of the threshold c_(k) that α sets."""
    return math.floor(alpha * (calibration.size + 1) + 1e-9)


def _stated(calibration: np.ndarray, measured: Detection) -> int:
    """Return the k whose threshold is the detector's: that of its α, where it fits."""
    most = (calibration.size + 1) // 2
    rank = _rank(calibration, measured.alpha)
    own = calibration[min(max(rank, 1), most) - 1]
    if measured.threshold not in (own, np.nextafter(own, -np.inf)):
        rank = int(np.searchsorted(calibration, measured.threshold, side="right")) + 1
    return min(max(rank, 1), most)


def _ranks(most: int, stated: int) -> np.ndarray:
    """Return the k of each place, rising."""
    spread = np.geomspace(1, most, PLACES) if most > PLACES else np.arange(1, most + 1)
    return np.union1d(np.round(spread).astype(int), [stated])


def _more(found: np.ndarray, thresholds: np.ndarray) -> list[int]:
    """Return how many more rows are below each threshold than below the one before."""
    return np.diff(np.searchsorted(found, thresholds, side="left"), prepend=0).tolist()


def _paths(groups: dict[str, np.ndarray], low: float, high: float) -> list[tuple[str, str, str]]:
    """Return name with number of rows, look, and outline of the histogram of each group."""
    edges = np.linspace(low, high, BINS + 1)
    looks = {"held-out normal": "normal", "anomalies": "strange", "calibration": "outline"}
    heights = {
        name: np.histogram(np.clip(groups[name], low, high), edges)[0] / groups[name].size
        for name in looks
        if groups[name].size
    }
    top = max(height.max() for height in heights.values()) / 0.96
    across = np.linspace(0.0, WIDTH, BINS + 1)
    found = []
    for name, height in heights.items():
        down = np.round(HEIGHT * (1.0 - height / top), 1)
        steps = "".join(f"V{y:g}H{x:g}" for y, x in zip(down, np.round(across[1:], 1), strict=True))
        look = looks[name]
        found.append((f"{name} ({groups[name].size:,})", look, f"M0,{HEIGHT:g}{steps}V{HEIGHT:g}Z"))
    return found


def _caption(groups: dict[str, np.ndarray], low: float) -> str:
    beyond = {name: int((found < low).sum()) for name, found in groups.items()}
    told = ", ".join(f"{count:,} {name}" for name, count in beyond.items() if count)
    first = f" The first bar gathers lower scores: {told}." if told else ""
    return (
        "Heights are shares of each group; scores in nats per row, right is more normal. "
        f"Rows in the shaded part, left of the threshold, are flagged.{first}"
    )


def _safe(held: object) -> str:
    """Return JSON that no HTML parser takes for anything but text."""
    text = json.dumps(held, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
