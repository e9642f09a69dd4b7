"""XLA's flags: ours are added where jaxlib knows them, a user's stay."""

from __future__ import annotations

import os

import jax
import numpy as np
import pytest

from jensen import _xla
from jensen._xla import compile_quickly, quickly_compiled


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


def test_a_program_is_compiled_quickly_unless_the_user_said_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_xla, "version", lambda _: "0.10.2")
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert _xla._options() == {"xla_cpu_use_fusion_emitters": False}
    monkeypatch.setenv("XLA_FLAGS", "")
    assert _xla._options() == {
        "xla_cpu_use_fusion_emitters": False,
        "xla_backend_optimization_level": 1,
    }
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert _xla._options() is None  # the level is that device's, too
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(_xla, "version", lambda _: "0.11.0")
    assert _xla._options() is None


def test_a_quickly_compiled_function_is_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "")  # so that this jaxlib is told the options

    @quickly_compiled()
    def scaled(x: np.ndarray, by: str) -> np.ndarray:
        """Return x, or twice x."""
        return 2 * x if by == "two" else x

    np.testing.assert_array_equal(scaled(np.arange(3), "two"), [0, 2, 4])
    np.testing.assert_array_equal(scaled(np.arange(3), "one"), [0, 1, 2])
    assert scaled.__doc__ == "Return x, or twice x."
