"""All studies as one table: what fails is named, what crashes stops no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli_tools import Cli, caller
from jensen.report.claims import claims_page
from jensen.studies import verify as verifying
from jensen.studies.verify import Verified, verify

HELD = {"id": "a", "statement": "so", "expected": 1.0, "measured": 1.0, "tolerance": 0.0}
HELD |= {"holds": True}
FAILED = {**HELD, "id": "b", "statement": "<not> so", "measured": float("nan"), "holds": False}


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


def finished(*claims: dict, **more: object) -> dict:
    return {"study": "s", "title": "T.", "seconds": 1.0, "claims": list(claims), "figures": []} | (
        more
    )


@pytest.mark.parametrize(
    ("studies", "counts", "holds"),
    [
        ([finished(HELD)], (1, 1), True),
        ([finished(HELD, FAILED), finished(HELD)], (3, 2), False),
        ([finished(HELD), finished(error="broke")], (1, 1), False),
    ],
)
def test_claims_are_counted(studies, counts, holds):
    found = Verified(studies, 2.0)
    assert (found.to_dict()["claims"], found.to_dict()["held"]) == counts
    assert found.holds is holds


def test_the_page_says_what_fails_and_is_escaped():
    page = claims_page([finished(HELD, FAILED), finished(error="broke <it>")], 2.0)
    assert "1 of 2" in page
    assert "Not all hold" in page
    assert "fails: &lt;not&gt; so" in page
    assert "ended with an error: broke &lt;it&gt;" in page
    assert "All hold" in claims_page([finished(HELD)], 2.0)


def test_a_study_that_crashes_stops_no_other(tmp_path, cli, monkeypatch):
    """A name that the studies' processes do not know stands for the crash."""
    chosen = {"robust-logistic": "", "crashes": ""}
    monkeypatch.setattr(verifying, "STUDIES", chosen)
    code, out, err = cli("verify", "--out", tmp_path, "--jobs", "2", "--json")
    found = json.loads(out)
    assert code == 1
    assert [study["study"] for study in found["studies"]] == list(chosen)
    assert found["claims"] == found["held"] == len(found["studies"][0]["claims"]) >= 6
    assert "unknown study 'crashes'" in found["studies"][1]["error"]
    assert any("crashes: ended with an error" in line for line in err)
    figures = [Path(path) for path in found["studies"][0]["figures"]]
    assert {path.parent for path in figures} == {tmp_path / "robust-logistic"}
    assert all(path.stat().st_size > 1000 for path in figures)
    page = (tmp_path / "verify.html").read_text()
    assert page.count('src="data:image/') == 1  # one figure, of two files
    assert {path.name for path in tmp_path.iterdir()} == {"robust-logistic", "verify.html"}


def test_claims_that_fail_end_with_one(tmp_path, cli, monkeypatch):
    monkeypatch.setattr(verifying, "verify", lambda *_, **__: Verified([finished(FAILED)], 2.0))
    code, out, _ = cli("verify", "--out", tmp_path)
    assert code == 1
    assert "FAILS  s: b" in out
    assert "0 of 1 claims hold" in out
    monkeypatch.setattr(verifying, "verify", lambda *_, **__: Verified([finished(HELD)], 2.0))
    assert cli("verify", "--out", tmp_path)[0] == 0


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verifying, "STUDIES", {"crashes": ""})
    with pytest.raises(KeyboardInterrupt):
        verify(tmp_path, jobs=1, told=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_what_verify_refuses(tmp_path, cli):
    (tmp_path / "file").write_text("")
    code, out, err = cli("verify", "--out", tmp_path / "file")
    assert (code, out) == (2, "")
    assert "output folder is a file" in err[-1]
    assert cli("verify", "--out", tmp_path, "--jobs", "0")[0] == 2


def test_the_studies_that_begin_first_are_studies():
    assert set(verifying._LONGEST) <= set(verifying.STUDIES)
