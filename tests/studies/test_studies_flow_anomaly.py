"""The study of anomalies by a flow: each claim fails where its classic mistake is planted."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from jensen.anomaly.calibrate import Conformal
from jensen.anomaly.rules import MeanSigma
from jensen.cli import app
from jensen.studies import flow_anomaly as study
from jensen.studies.notebook import Notebook


class Scores:
    """A density whose score of a row is its first cell, as a stand-in for a trained flow."""

    n_points = 16

    def log_prob(self, rows):
        return rows[:, 0], np.zeros(len(rows))


def fitted(calibration=0.0, normal=0.0, odd=-6.0):
    """Scores with the spread of real ones: normal rows, held-out ones and anomalies."""
    rng = np.random.default_rng(0)
    held = Conformal(rng.normal(calibration, 1.0, 999))
    model = SimpleNamespace(conformal=held, density=Scores())
    rows, digits = rng.normal(size=(50, 4)), rng.normal(normal, 1.0, 4000)
    odd = rng.normal(odd, 1.0, 3000)
    return study.Fitted(model, None, None, rows, None, digits, held, digits, odd)


def claims(tmp_path, found):
    """Return the claims about both rules, by name."""
    book = Notebook(tmp_path)
    errors = {name: study.rule_errors(rule, found) for name, rule in study.RULES.items()}
    study._textbook(book, errors["mean - 3 s"], found)
    study._calibrated(book, found)
    study._apart(book, found, errors)
    return {claim.id: claim.holds for claim in book.claims}


def test_every_claim_holds_where_the_scores_are_exchangeable(tmp_path):
    assert all(claims(tmp_path, fitted()).values())


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        # scores of the training images themselves: too high, and far more than α is flagged
        ({"calibration": 1.0}, {"calibrated-0.01", "calibrated-0.05", "calibrated-0.1"}),
        # the sign turned: anomalies seem more normal than digits
        ({"odd": 6.0}, {"told-apart"}),
    ],
)
def test_scores_of_the_wrong_rows_are_caught(tmp_path, found, broken):
    holds = claims(tmp_path, fitted(**found))
    assert broken <= {name for name, held in holds.items() if not held}


def test_a_threshold_above_the_mean_is_caught(tmp_path, monkeypatch):
    class Turned(MeanSigma):
        def threshold(self, calibration, alpha):
            return 2 * calibration.scores.mean() - super().threshold(calibration, alpha)

    monkeypatch.setitem(study.RULES, "mean - 3 s", Turned(3.0))
    holds = claims(tmp_path, fitted())
    assert not holds["textbook-threshold"]
    assert not holds["textbook-cantelli"]


def test_scores_that_hang_on_their_neighbours_are_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(Scores, "log_prob", lambda self, rows: (rows[:, 0] - rows.mean(), None))
    assert not claims(tmp_path, fitted())["scores-stand-alone"]


def test_the_start_is_told_from_a_mean_for_a_sum(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    matrix, images = rng.integers(0, 9, (300, 16)).astype(float), np.zeros((1, 4, 4), np.float32)
    split = SimpleNamespace(train=np.arange(200), validation=np.arange(200, 300))
    start = -study.independent_log_prob(matrix[:200], matrix[200:], 9).mean()
    made = study.Images(images + 8, rng.integers(0, 9, (50, 4, 4)), images, "", 1, 1, 1)
    model = SimpleNamespace(baseline=Scores(), density=Scores())
    model.baseline = SimpleNamespace(log_prob=lambda rows: np.full(len(rows), -90.0))

    def holds(first_loss):
        result = SimpleNamespace(metrics=[{"validation_loss_member_0": first_loss}])
        normal = rng.normal(-20.0, 1.0, 50)
        found = study.Fitted(
            model, result, None, matrix, split, normal, Conformal(normal), normal, normal
        )
        book = Notebook(tmp_path)
        study._likelihood(book, made, found)
        return {claim.id: claim.holds for claim in book.claims}

    assert all(holds(start).values())
    assert not holds(start / 16)["starts-as-independent-pixels"]


def test_the_independent_model_is_a_distribution():
    rows = np.random.default_rng(2).integers(0, 3, (40, 1)).astype(float)
    every = np.arange(3.0)[:, None]
    assert np.isclose(np.exp(study.independent_log_prob(rows, every, 3)).sum(), 1.0, atol=1e-6)


@pytest.mark.slow
def test_the_study_holds_on_the_embedded_digits(tmp_path):
    done = CliRunner().invoke(
        app, ["study", "flow-anomaly", "--quick", "--out", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert all(claim["holds"] for claim in json.loads(done.stdout)["claims"])
