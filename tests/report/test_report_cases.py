"""The section of the lowest rows, and the slider's values, without a browser."""

import json
import re

import numpy as np
import pytest

from jensen.anomaly.calibrate import Conformal
from jensen.report import Report, render
from jensen.report.cases import cases
from jensen.report.content import Case, Explained
from jensen.report.explained import lowest_of
from jensen.report.slider import PLACES, _safe, slider
from jensen.report.words import measure_detection

RNG = np.random.default_rng(0)


def case(**changes):
    given = {
        "row": 12,
        "score": -20.0,
        "p_value": 0.01,
        "reference_score": -2.0,
        "shares": [("<glucose>", "7.2", "1.4", -15.0), ("age", "9", "8", 2.5)],
        "others": (-5.5, 3),
        "told": "<glucose> 7.2 → 1.4; then log p is −3 (threshold −8)",
    }
    return Case(**{**given, **changes})


def report(*found, **changes):
    given = {"title": "t", "threshold": -8.0, "alpha": 0.05}
    return Report(**{**given, **changes}, explained=Explained("rows <b>", 40, list(found), 8))


def detector(n, alpha=0.05, **changes):
    calibration = np.sort(RNG.normal(size=n))
    given = {
        "title": "t",
        "calibration_scores": calibration,
        "normal_scores": RNG.normal(size=300),
        "anomaly_scores": RNG.normal(-2, 1, 80),
        "alpha": alpha,
        "threshold": float(np.nextafter(Conformal(calibration).threshold(alpha), -np.inf)),
    }
    return Report(**{**given, **changes})


def test_a_case_is_told_in_bars_and_words():
    section = cases(report(case(), case(row=3, score=-7.0, p_value=0.3, told="")))
    first, second = section.folds
    assert first.title == "Row 12: score −20, p-value 0.01"
    assert second.title.endswith("(not flagged)")
    assert first.open
    assert not second.open
    guilty, other = first.bars
    assert (guilty.left, guilty.width, guilty.low, guilty.value) == (0.0, 50.0, True, "−15")
    assert (other.left, other.low, other.value) == (50.0, False, "+2.5")
    assert other.width == pytest.approx(50 * 2.5 / 15)
    assert first.words[0].endswith("the other 3 columns add −5.5 together.")
    assert "the 2 lowest of 40 rows (rows <b>)" in section.words[0]
    assert "exact" in section.words[0]
    assert len(second.words) == 1


def test_impossible_cells_reach_the_end():
    shares = [("unit", "8", "7", -np.inf), ("age", "9", "8", -2.0)]
    bars = cases(report(case(score=-np.inf, shares=shares))).folds[0].bars
    assert (bars[0].value, bars[0].width) == ("−∞: impossible", 50.0)
    assert bars[1].width == pytest.approx(40.0)
    only = [("unit", "8", "7", -np.inf)]
    assert cases(report(case(shares=only, others=(0.0, 0)))).folds[0].bars[0].width == 50.0


def test_many_columns_are_means_over_orders():
    assert "means over 8 orders" in cases(report(case(others=(0.0, 30)))).words[0]


def test_what_the_user_wrote_is_text():
    page = render(report(case()))
    assert "<glucose>" not in page
    assert "&lt;glucose&gt; 7.2 → 1.4" in page
    assert "rows &lt;b&gt;" in page


def test_images_have_maps_instead_of_bars():
    image, heat = RNG.uniform(size=(8, 8)), RNG.normal(size=(8, 8))
    heat[0, 0] = -np.inf
    for shape in ((8, 8), (8, 8, 1)):
        found = case(image=image.reshape(shape), heat=heat.reshape(shape))
        section = cases(report(found, found))
        assert len(section.pictures) == 1
        assert section.folds[0].bars == []
    colour = case(image=RNG.uniform(size=(6, 5, 3)), heat=RNG.normal(size=(6, 5, 3)))
    assert len(cases(report(colour)).pictures) == 1


def test_nothing_to_explain_is_no_section():
    assert cases(Report(title="t")) is None
    assert cases(report()) is None


def test_lowest_rows_are_the_lowest_and_the_first_of_ties():
    scores = np.array([3.0, -np.inf, 2.0, -np.inf, 2.0])
    found = lowest_of(np.arange(5.0)[:, None], scores, "x")
    assert found.numbers.tolist() == [2, 4, 3, 5, 1]
    assert found.rows[:, 0].tolist() == [1, 3, 2, 4, 0]


@pytest.mark.parametrize(("n", "alpha"), [(38, 0.05), (199, 0.05), (5000, 0.01)])
def test_the_slider_counts_what_the_rule_flags(n, alpha):
    content = detector(n, alpha)
    found = slider(content, measure_detection(content))
    held = json.loads(found.data)
    conformal = Conformal(content.calibration_scores)
    assert found.steps == len(held["alphas"]) <= PLACES + 1
    assert held["alphas"] == sorted(held["alphas"])
    assert held["alphas"][found.start] == alpha
    assert held["alphas"][-1] == pytest.approx(0.5, abs=1 / n)
    for name, scores in (("normal", content.normal_scores), ("anomalies", content.anomaly_scores)):
        counts = np.cumsum(held["flagged"][name]["more"])
        expected = [conformal.flags(scores, level).sum() for level in held["alphas"]]
        np.testing.assert_array_equal(counts, expected)


def test_a_threshold_that_is_not_that_of_alpha_is_where_it_stands():
    content = detector(199, threshold=-0.5)
    found = slider(content, measure_detection(content))
    alphas = json.loads(found.data)["alphas"]
    below = np.sum(content.calibration_scores <= -0.5)
    assert alphas[found.start] == pytest.approx((below + 1) / 200)


def test_nothing_to_slide():
    for content in (
        detector(38, calibration_scores=None, threshold=0.0),
        detector(38, calibration_scores=[0.0, 1.0], threshold=0.0),
    ):
        assert slider(content, measure_detection(content)) is None


def test_json_is_safe_inside_a_page():
    text = _safe({"a": "</script><!--&\u2028"})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}
