"""XLA's flags: ours are added where jaxlib knows them, a user's stay."""

from __future__ import annotations

import os

import pytest

from jensen import _xla
from jensen._xla import compile_quickly


def test_flags_are_added_once_and_a_users_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_xla, "version", lambda _: "0.9.1")
    monkeypatch.setattr(_xla, "find_spec", lambda _: None)
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    compile_quickly()
    once = os.environ["XLA_FLAGS"]
    assert once == "--xla_backend_optimization_level=3 --xla_cpu_use_fusion_emitters=false"
    compile_quickly()
    assert os.environ["XLA_FLAGS"] == once


def test_an_accelerators_level_and_an_unknown_jaxlib_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_xla, "find_spec", lambda _: object())
    monkeypatch.setenv("XLA_FLAGS", "")
    for release in ("0.6.2", "0.11.0", "1.0"):
        monkeypatch.setattr(_xla, "version", lambda _, r=release: r)
        compile_quickly()
        assert os.environ["XLA_FLAGS"] == ""
    monkeypatch.setattr(_xla, "version", lambda _: "0.10.2")
    compile_quickly()
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_use_fusion_emitters=false"
