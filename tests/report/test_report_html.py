"""The page: whole, self-contained, escaped, and without empty sections."""

import base64
import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.report import Report, render, write_report
from jensen.report.words import measure_detection

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page, checks that tags balance, and collects what is in it."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.ids = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).replace("\u00a0", " ").split())


def full(d=3, **changes):
    rng = np.random.default_rng(0)
    loss = np.linspace(3, 1, 20)
    normal = rng.normal(size=400)
    calibration = rng.normal(size=199)
    content = Report(
        title="Moons <b>&",
        subtitle="A spline flow fitted to 300 rows",
        data_facts=[("rows", 123456), ("constant columns", []), ("whole", True)],
        model_facts=[("family", "spline <flow>"), ("seconds", 21.345678), ("notes", None)],
        metrics={"step": np.arange(20), "train_loss": loss, "validation_loss": loss + 0.1},
        log_prob={"mean": -3.1042, "se": 0.0521, "kind": "exact", "n": 400},
        baseline={"name": "Gaussian", "mean": -4.5, "se": 0.061},
        names=[f"<col {j}>" for j in range(d)],
        data=rng.normal(size=(120, d)),
        samples=rng.normal(size=(100, d)),
        pit=rng.uniform(size=300),
        calibration_scores=calibration,
        normal_scores=normal,
        anomaly_scores=rng.normal(-3, 1, 90),
        alpha=0.05,
        threshold=float(np.sort(calibration)[9]),
        notes=["one <script>alert(1)</script> note"],
    )
    return dataclasses.replace(content, **changes)


@pytest.fixture
def undrawn(monkeypatch):
    """Build the figures but do not encode them: for tests that read words only."""
    monkeypatch.setattr("jensen.report.page.to_data_uri", lambda figure: "data:image/png,")


def test_full_page_is_whole_and_self_contained():
    page = render(full())
    read = Page(page)
    assert not re.search(r"https?:|@import|url\(", page)
    for _, attributes in read.tags:
        for name in {"src", "href", "srcset", "data"} & set(attributes):
            assert attributes[name].startswith(("data:image/", "#"))
    assert read.all("script") == [{"type": "application/json", "class": "detector"}, {}]
    assert not read.all("link")
    assert read.all("html")[0]["lang"] == "en"
    assert any(m.get("name") == "viewport" for m in read.all("meta"))
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page
    assert len(read.all("img")) == 7
    assert len(read.ids) == len(set(read.ids))
    targets = [a["href"] for a in read.all("a")]
    assert targets == [f"#{anchor}" for anchor in read.ids]
    assert all(row["scope"] in {"col", "row"} for row in read.all("th"))
    assert len(page) < 3_000_000


def test_every_figure_embeds_and_has_words_for_it():
    for image in Page(render(full())).all("img"):
        head, body = image["src"].split(",", 1)
        raw = base64.b64decode(body, validate=True)
        assert raw.startswith(b"\x89PNG" if "png" in head else b"<?xml")
        assert len(image["alt"]) > 15
        assert int(image["width"]) > 300


def test_what_the_user_wrote_is_escaped(undrawn):
    page = render(full())
    assert page.count("<script") == 2  # what the page itself brings: values, and the slider
    assert "<script>alert" not in page
    assert "Moons &lt;b&gt;&amp;" in page
    assert "spline &lt;flow&gt;" in page


def test_summary_says_it_in_plain_words(undrawn):
    words = Page(render(full())).words
    assert "−3.104 ± 0.052 nats per row" in words
    assert "Mean over 400 rows never trained on, computed exactly." in words
    assert "Baseline (Gaussian): −4.500 ± 0.061." in words
    assert "better by 1.40 ± 0.11 nats" in words
    assert "4.04 times the density" in words
    assert "Stated: 5%." in words
    assert re.search(r"\d+ of 400 held-out normal rows were flagged\. 95% interval", words)
    assert re.search(r"\d+ of 90 known anomalies passed unnoticed", words)
    assert re.search(r"Separation \(AUROC\) 0\.9\d\d ± 0\.0\d\d", words)
    assert "rows 123,456" in words
    assert "constant columns none" in words
    assert "seconds 21.35" in words


def test_measured_rates_are_counts_at_or_below_the_threshold():
    content = full(
        calibration_scores=np.arange(99.0),
        normal_scores=np.r_[np.arange(100.0), np.nan, -np.inf],
        anomaly_scores=np.array([-np.inf, 4.0, 5.0]),
        alpha=0.05,
        threshold=4.0,
    )
    found = measure_detection(content)
    assert (found.type_one.k, found.type_one.n) == (6, 101)
    assert (found.type_two.k, found.type_two.n) == (1, 3)
    low, high = found.spread
    assert low < 0.05 < high


def test_spread_is_the_law_of_the_true_rate():
    rng = np.random.default_rng(1)
    rank, n = 10, 199
    true_rate = np.sort(rng.uniform(size=(4000, n)), axis=1)[:, rank - 1]
    found = measure_detection(full(calibration_scores=np.arange(float(n))))
    assert np.quantile(true_rate, [0.025, 0.975]) == pytest.approx(found.spread, abs=0.003)


@pytest.mark.parametrize(
    ("change", "gone", "images"),
    [
        ({"metrics": None}, "Learning", 6),
        ({"metrics": {"step": []}}, "Learning", 6),
        ({"baseline": None}, "Baseline", 6),
        ({"log_prob": None}, "Held-out likelihood", 6),
        ({"samples": None}, "Data beside samples", 5),
        ({"data": np.empty((0, 3))}, "Data beside samples", 5),
        ({"names": ()}, "Data beside samples", 5),
        ({"pit": None}, "Calibration", 6),
        ({"pit": [np.nan]}, "Calibration", 6),
        ({"anomaly_scores": None}, "AUROC", 6),
        ({"anomaly_scores": []}, "type II", 6),
        ({"alpha": None}, "Detection", 5),
        ({"threshold": None}, "False alarms", 5),
        ({"data_facts": (), "model_facts": ()}, "What was fitted", 7),
        ({"notes": ()}, "To keep in mind", 7),
    ],
)
def test_a_section_without_values_is_left_out(undrawn, change, gone, images):
    page = Page(render(full(**change)))
    assert gone not in page.words
    assert len(page.all("img")) == images


def test_title_alone_is_a_page():
    page = Page(render(Report(title="A flow")))
    assert page.all("img") == page.all("table") == []
    assert page.words.startswith("A flow A flow Made by Jensen")


def test_stated_but_not_measured(undrawn):
    words = Page(render(full(normal_scores=None, anomaly_scores=None))).words
    assert "stated 5%" in words
    assert "has not been measured" in words
    assert "not measured" in words


@pytest.mark.parametrize(
    ("threshold", "told"),
    [(0.0, "higher than stated"), (-9.0, "lower than stated")],
)
def test_disagreement_is_told(undrawn, threshold, told):
    assert told in Page(render(full(threshold=threshold))).words


def test_perfect_separation_claims_no_error(undrawn):
    words = Page(render(full(anomaly_scores=np.full(20, -np.inf)))).words
    assert "Separation (AUROC) 1.000 Chance" in words
    assert "no overlap at all" in words


@pytest.mark.parametrize(
    ("log_prob", "baseline", "told"),
    [
        ({"mean": -np.inf, "se": np.nan, "n": 9}, {"mean": -4.0, "se": 0.1}, "no density at all"),
        ({"mean": -4.0, "se": 0.2}, {"mean": -4.1, "se": 0.2}, "within its error"),
        ({"mean": -6.0, "se": 0.1}, {"mean": -4.0, "se": 0.1}, "worse by 2.00 ± 0.20 nats"),
        ({"mean": -6.0, "se": 0.1, "kind": "iwae"}, None, "a lower bound in expectation"),
        ({"mean": 40.0, "se": 0.1}, {"mean": 0.0, "se": 0.1}, "e^40 times"),
        (
            {"mean": -4.0, "se": 0.2},
            {"mean": -4.1, "se": 0.2, "difference_se": 0.01},
            "better by 0.100 ± 0.010 nats",
        ),
    ],
)
def test_likelihood_in_words(undrawn, log_prob, baseline, told):
    assert told in Page(render(full(log_prob=log_prob, baseline=baseline))).words


@pytest.mark.parametrize("d", [1, 2, 40])
def test_any_number_of_columns(undrawn, d):
    page = Page(render(full(d)))
    assert len(page.all("img")) == (6 if d == 1 else 7)
    assert ("12 of 40 columns that fit worst" in page.words) == (d == 40)


def test_ensemble_and_scores_that_are_not_finite(undrawn):
    loss = np.linspace(3, 1, 20)[:, None] + np.zeros(4)
    scores = np.r_[np.full(5, -np.inf), np.random.default_rng(0).normal(size=90)]
    content = full(
        metrics={"step": np.arange(20), "train_loss": loss, "validation_loss": loss},
        calibration_scores=scores,
        normal_scores=scores,
        anomaly_scores=np.full(4, -np.inf),
        threshold=-np.inf,
    )
    assert "5 of 95 held-out normal rows" in Page(render(content)).words


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="fit together"):
        render(full(names=["a"]))


def test_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.html"
    assert write_report(full(), path) == path
    first = path.read_bytes()
    write_report(full(), path)
    assert path.read_bytes() == first
    with pytest.raises(InputError):
        write_report(full(names=["a"]), path)
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError, match="folder"):
        write_report(full(), tmp_path / "folder.html")
    assert path.read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.html", "report.html"]
