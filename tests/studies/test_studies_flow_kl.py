"""The study of both directions of KL holds, and sees the mistakes that are easily made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jensen.evaluation import certificate
from jensen.studies import flow_identity, flow_kl
from jensen.studies.notebook import Notebook


def failed(tmp_path: Path, *parts: Any, **options: Any) -> set[str]:
    """Run parts of the study in its short form; return the claims that fail."""
    book = Notebook(tmp_path, quick=True, **options)
    for part in parts:
        part(book)
    assert book.claims
    return {claim.id for claim in book.claims if not claim.holds}


def test_the_identity_and_the_path_gradient_hold(tmp_path):
    assert failed(tmp_path, flow_identity.identity, flow_identity.path_gradient) == set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_claim_holds(seed, tmp_path):
    book = Notebook(tmp_path, quick=True, seed=seed)
    flow_kl.study(book)
    assert [c.id for c in book.claims if not c.holds] == []
    assert len(book.figures) == 6
    assert all(path.stat().st_size > 1000 for path in book.figures)


def test_a_swapped_direction_is_seen(tmp_path, monkeypatch):
    real = flow_identity.kl
    monkeypatch.setattr(flow_identity, "kl", lambda p, q, w: real(q, p, w))
    assert "direction" in failed(tmp_path, flow_identity.identity)


def test_a_log_determinant_of_the_wrong_sign_is_seen(tmp_path, monkeypatch):
    def wrong(flow, x):
        u, log_det = flow.bijection.inverse_and_log_det(x)
        return flow_identity.log_normal(u) - log_det

    monkeypatch.setattr(flow_identity, "pushed", wrong)
    names = ("affine", "planar", "spline")
    seen = {f"{claim}-{name}" for claim in ("identity", "mass") for name in names}
    assert seen <= failed(tmp_path, flow_identity.identity)


def test_a_missing_normaliser_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(flow_identity, "log_normal", lambda u: -0.5 * (u**2).sum())
    assert {"mass-affine", "mass-planar", "mass-spline"} <= failed(tmp_path, flow_identity.identity)


def test_a_path_gradient_that_is_the_total_one_is_seen(tmp_path, monkeypatch):
    real = flow_identity.ReverseKL
    monkeypatch.setattr(flow_identity, "ReverseKL", lambda f, path: real(f, path=False))
    assert {"path-vanishes", "path-quieter"} <= failed(tmp_path, flow_identity.path_gradient)


@pytest.mark.slow
def test_a_mean_of_logs_for_the_log_of_a_mean_is_seen(tmp_path, monkeypatch):
    real = certificate.summarised

    def mean_of_logs(log_w):
        _, se, ess, k = real(log_w)
        return np.mean(np.where(np.isfinite(log_w), log_w, 0.0), axis=1), se, ess, k

    monkeypatch.setattr(certificate, "summarised", mean_of_logs)
    assert "log-z" in failed(tmp_path, flow_kl._known_integral)
