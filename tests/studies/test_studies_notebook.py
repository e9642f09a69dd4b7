"""The notebook: claims that may fail, and studies that are found by name."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from jensen._errors import InputError
from jensen.studies.notebook import Notebook
from jensen.studies.run import STUDIES, run_study, title_of


@pytest.fixture
def book(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path)


@pytest.mark.parametrize(
    ("kind", "measured", "given", "holds"),
    [
        ("equal", 1.05, (1.0, 0.1), True),
        ("equal", 1.15, (1.0, 0.1), False),
        ("equal", 0.85, (1.0, 0.1), False),
        ("equal", math.nan, (1.0, 0.1), False),
        ("at_most", 0.5, (0.5,), True),
        ("at_most", 0.51, (0.5,), False),
        ("at_most", 0.51, (0.5, 0.02), True),
        ("at_most", -math.inf, (0.5,), False),
        ("at_least", 0.5, (0.5,), True),
        ("at_least", 0.49, (0.5,), False),
        ("at_least", math.inf, (0.5,), False),
        ("at_least", math.nan, (0.5,), False),
    ],
)
def test_a_claim_holds_or_fails(book, kind, measured, given, holds):
    getattr(book, kind)("a", "a number", measured, *given)
    (claim,) = book.claims
    assert claim.holds is holds


def test_a_fact_is_a_claim(book):
    book.true("yes", "so", True)
    book.true("no", "not so", False)
    assert [claim.holds for claim in book.claims] == [True, False]


def test_a_name_is_used_once(book):
    book.true("a", "so", True)
    with pytest.raises(InputError, match="two claims are called 'a'"):
        book.true("a", "so", True)


def test_claims_are_plain_data(book):
    book.at_most("a", "a number", 0.1, 0.5)
    plain = json.loads(json.dumps(book.claims[0].to_dict()))
    assert plain == {
        "id": "a",
        "statement": "a number",
        "expected": "≤ 0.5",
        "measured": 0.1,
        "tolerance": 0.0,
        "holds": True,
    }


def test_every_study_has_a_title_that_ends():
    for name in STUDIES:
        title = title_of(name)
        assert title.endswith(".")
        assert len(title) < 100


def test_what_a_study_refuses(tmp_path):
    with pytest.raises(InputError, match="did you mean 'dirac-gan'"):
        run_study("dirac-gam", tmp_path)
    with pytest.raises(InputError, match="no such data folder"):
        run_study("dirac-gan", tmp_path, data=tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output folder is a file"):
        run_study("dirac-gan", tmp_path / "file")
    with pytest.raises(InputError, match="cannot make the output folder"):
        run_study("dirac-gan", tmp_path / "file" / "below")
    with pytest.raises(InputError, match="seed"):
        run_study("dirac-gan", tmp_path, seed=-1)
