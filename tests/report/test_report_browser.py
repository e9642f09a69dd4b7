"""The page in a real browser: the slider, moved by keys, tells the errors that Python computes."""

import numpy as np
import pytest
from headless import NAMES, Browser, found

from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.errors import binomial_interval
from jensen.report import Report, write_report
from jensen.report.canvas import number
from jensen.report.content import Case, Explained
from jensen.report.words import percent

PROGRAM = found()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason=f"no browser: none of {', '.join(NAMES)} is on the path"
)

RIGHT, LEFT, HOME, END, PAGE_UP = (
    ("ArrowRight", 39),
    ("ArrowLeft", 37),
    ("Home", 36),
    ("End", 35),
    ("PageUp", 33),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return one browser for all tests: to start one takes seconds."""
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def content(n_calibration, n_normal=357, n_anomalies=212):
    """Return a report with ties and impossible rows among its scores."""
    rng = np.random.default_rng(n_calibration)
    calibration = np.round(rng.normal(size=n_calibration), 1)
    conformal = Conformal(calibration)
    anomalies = np.r_[np.full(5, -np.inf), np.round(rng.normal(-2, 1, n_anomalies - 5), 1)]
    case = Case(3, -9.5, 0.01, -1.0, [("<i>a</i>", "7", "1", -8.0)], (-0.5, 4), "<b>a</b> 7 → 1")
    return Report(
        title="A <flow>",
        calibration_scores=calibration,
        normal_scores=np.round(rng.normal(size=n_normal), 1),
        anomaly_scores=anomalies,
        alpha=0.05,
        threshold=float(np.nextafter(conformal.threshold(0.05), -np.inf)),
        explained=Explained("rows", 9, [case], 8),
    )


def told(page):
    parts = ("alpha", "threshold", "one", "one-span", "one-count", "two", "two-span", "two-count")
    script = "Object.fromEntries([...document.querySelectorAll('output [data-part]')]"
    found = page.value(f"{script}.map((part) => [part.dataset.part, part.textContent]))")
    return {name: found[name] for name in parts}


def expected(report, alpha):
    """Return what is to be told at α, by the library."""
    conformal = Conformal(report.calibration_scores)
    found = {
        "alpha": percent(alpha),
        "threshold": f"threshold {number(conformal.threshold(alpha))} nats",
    }
    for name, scores, flags, what in (
        ("one", report.normal_scores, True, "normal rows flagged"),
        ("two", report.anomaly_scores, False, "anomalies missed"),
    ):
        k = int(np.sum(conformal.flags(scores, alpha) == flags))
        n = len(scores)
        low, high = binomial_interval(k, n)
        found[name] = percent(k / n)
        found[f"{name}-span"] = f"95% interval {percent(low)} to {percent(high)}"
        found[f"{name}-count"] = f"{k:,} of {n:,} {what}"
    return found


def test_moving_the_slider_tells_the_errors(tmp_path, page):
    report = content(199)
    path = write_report(report, tmp_path / "report.html")
    page.open(path)
    assert told(page) == expected(report, 0.05)
    page.value("document.querySelector('.slider input').focus()")
    k = 10  # of α = k / 200
    for key, times, k in (
        (RIGHT, 7, 17),
        (LEFT, 15, 2),
        (HOME, 1, 1),
        (LEFT, 1, 1),
        (RIGHT, 30, 31),
        (END, 1, 100),
    ):
        page.press(*key, times)
        assert told(page) == expected(report, k / 200), k
        cut = page.value("Number(document.querySelector('.cut').getAttribute('x1'))")
        assert cut == page.value("Number(document.querySelector('.shade').getAttribute('width'))")
    spoken = page.value("document.querySelector('.slider input').ariaValueText")
    assert spoken is None or "alpha 50%" in spoken
    assert "alpha 50%" in page.value(
        "document.querySelector('.slider input').getAttribute('aria-valuetext')"
    )
    # the label names the input, the figure gives way, and user input stays text
    name = "document.querySelector('.slider input').labels[0].textContent"
    assert "False-alarm rate" in page.value(name)
    assert page.value("getComputedStyle(document.querySelector('.still')).display") == "none"
    assert page.value("document.querySelectorAll('details i:not(.low):not(.high)').length") == 0
    assert "<b>a</b> 7 → 1" in page.value("document.querySelector('details').textContent")
    assert page.complaints() == []
    assert [url for url in page.requests() if not url.startswith(("file:", "data:"))] == []


def test_many_calibration_rows_a_phone_and_print(tmp_path, page):
    report = content(20_001, n_normal=40_000)
    path = write_report(report, tmp_path / "report.html")
    assert path.stat().st_size < 500_000
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=390,
        height=800,
        deviceScaleFactor=2,
        mobile=True,
    )
    page.open(path)
    assert told(page) == expected(report, 0.05)
    page.value("document.querySelector('.slider input').focus()")
    page.press(*HOME)
    assert told(page) == expected(report, 1 / 20_002)
    page.press(*RIGHT, 20)
    data = "JSON.parse(document.querySelector('script.detector').textContent).alphas[20]"
    assert told(page) == expected(report, page.value(data))
    width = "document.documentElement.scrollWidth"
    assert page.value(width) == page.value("document.documentElement.clientWidth")
    height = "document.querySelector('.slider input').getBoundingClientRect().height"
    assert page.value(height) >= 36  # wide enough for a thumb
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.value("getComputedStyle(document.querySelector('.still')).display") == "block"
    assert page.value("getComputedStyle(document.querySelector('.slider')).display") == "none"
    assert page.complaints() == []
    page.call("Emulation.setEmulatedMedia", media="")
    page.call("Emulation.clearDeviceMetricsOverride")


def test_without_a_script_the_figure_stands(tmp_path, page):
    path = write_report(content(199), tmp_path / "report.html")
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(path)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page.value("getComputedStyle(document.querySelector('.still')).display") == "block"
    assert page.value("getComputedStyle(document.querySelector('.slider')).display") == "none"
