"""The study of dropout and ridge holds, and sees the mistakes that are easily made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jensen.studies import dropout_ridge
from jensen.studies.notebook import Notebook

ANSWERS = (dropout_ridge._expectation, dropout_ridge._solution, dropout_ridge._comparison)


def failed(tmp_path: Path, *parts: Any) -> set[str]:
    """Run parts of the study in its short form; return the claims that fail."""
    book = Notebook(tmp_path, quick=True)
    for part in parts:
        part(book, *dropout_ridge.example(0))
    assert book.claims
    return {claim.id for claim in book.claims if not claim.holds}


def trained(book: Notebook, X: np.ndarray, y: np.ndarray) -> None:
    assert len(dropout_ridge._trained(book, X, y, 0.5)) == 4


def test_answers_and_training_hold(tmp_path):
    assert failed(tmp_path, *ANSWERS, trained) == set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_study_holds(seed, tmp_path):
    book = Notebook(tmp_path, seed=seed)
    dropout_ridge.study(book)
    assert [claim.id for claim in book.claims if not claim.holds] == []
    assert len(book.figures) == 4
    assert all(path.stat().st_size > 1000 for path in book.figures)


def without_factor(X, y, w, p):
    misfit = y - p * X @ w
    return float(misfit @ misfit + (1 - p) * dropout_ridge.penalties(X) @ w**2)


def unweighted(X, y, lam):
    return np.linalg.solve(X.T @ X + lam * np.eye(4), X.T @ y)


def per_row(X, y, mu):
    return np.linalg.solve(X.T @ X + mu / len(X) * np.eye(4), X.T @ y)


@pytest.mark.parametrize(
    ("name", "mistake", "seen"),
    [
        ("expected_loss", without_factor, {"all-masks", "monte-carlo"}),
        ("strength", lambda p: 1 - p, {"identity", "stationary"}),
        ("strength", lambda p: p / (2 - p), {"less-kept-more-shrunk", "keep-all"}),
        ("penalties", lambda X: (X**2).mean(axis=0), {"all-masks", "stationary"}),
        ("dropout", unweighted, {"identity", "stationary", "units-dropout", "unequal-norms"}),
        ("ridge", per_row, {"ridge", "equal-norms"}),
    ],
)
def test_a_mistake_is_seen(name, mistake, seen, tmp_path, monkeypatch):
    monkeypatch.setattr(dropout_ridge, name, mistake)
    assert seen <= failed(tmp_path, *ANSWERS)


def test_masks_that_are_divided_by_p_are_seen(tmp_path, monkeypatch):
    class Inverted(dropout_ridge.DroppedSquares):
        def __call__(self, players, batch, key):
            x, y = batch
            return super().__call__(players, (x / self.p, y), key)

    monkeypatch.setattr(dropout_ridge, "DroppedSquares", Inverted)
    assert {"training-0.5", "training-error-0.5"} <= failed(tmp_path, trained)
