r"""Scales: where the spread σ of a continuous observation comes from.

    σ² = f² + exp(v)

v is the log-variance and f ≥ 0 a floor. A likelihood that can put σ → 0 at a value that repeats is
unbounded; a floor above the resolution of the data keeps it finite (Mattei & Frellsen 2018,
arXiv:1802.04826). v is cut at ±40 (σ from 2e-9 to 5e8), so that no step leaves the finite numbers.

| scale | v |
|---|---|
| `FixedScale` | none: σ is given |
| `LearnedScale` | a parameter of the model: one for all coordinates, or one for each |
| `NetworkScale` | the decoder's output: it depends on z |
"""

from __future__ import annotations

import abc
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError, check_name
from jensen._typing import Array

LIMIT = 40.0
"""Largest |v|."""


class Scale(eqx.Module):
    """Where σ comes from."""

    @property
    @abc.abstractmethod
    def n_params(self) -> int:
        """How many of the decoder's outputs it takes."""

    @abc.abstractmethod
    def __call__(self, params: Array) -> Array:
        """Return σ, `()` or `(D,)`, above zero, given its part of the decoder's output."""

    @abc.abstractmethod
    def bias(self, spread: np.ndarray) -> np.ndarray:
        """Return the decoder's output `(n_params,)` at which σ is `spread` `(D,)`."""


class FixedScale(Scale):
    """A given σ.

    Args:
        value: σ, one for all coordinates.

    Raises:
        InputError: σ is not above zero.
    """

    value: float = eqx.field(static=True)

    def __post_init__(self) -> None:
        _check(self.value, 0.0)

    @property
    def n_params(self) -> int:
        """0."""
        return 0

    def __call__(self, params: Array) -> Array:
        """Return σ `()`."""
        return jnp.asarray(self.value, params.dtype)

    def bias(self, spread: np.ndarray) -> np.ndarray:
        """Return nothing `(0,)`."""
        return np.zeros(0)


class LearnedScale(Scale):
    """A σ that is a parameter of the model.

    Args:
        dim: how many: D for one per coordinate; None for one that all coordinates share.
        value: where σ starts.
        floor: f.

    Raises:
        InputError: σ is not above the floor, or the floor is below zero.

    Example:
        >>> LearnedScale(2, value=0.5)(jnp.zeros(0)).tolist()
        [0.5, 0.5]
    """

    log_variance: Array
    floor: float = eqx.field(static=True)

    def __init__(self, dim: int | None = None, *, value: float = 1.0, floor: float = 0.0) -> None:
        _check(value, floor)
        self.log_variance = jnp.full(() if dim is None else dim, math.log(value**2 - floor**2))
        self.floor = floor

    @property
    def n_params(self) -> int:
        """0."""
        return 0

    def __call__(self, params: Array) -> Array:
        """Return σ, `()` or `(D,)`."""
        return _sigma(self.log_variance, self.floor)

    def bias(self, spread: np.ndarray) -> np.ndarray:
        """Return nothing `(0,)`."""
        return np.zeros(0)


class NetworkScale(Scale):
    """A σ for every coordinate that the decoder gives: v `(D,)`.

    Args:
        dim: D.
        floor: f.

    Raises:
        InputError: the floor is below zero.

    Example:
        >>> NetworkScale(2)(jnp.zeros(2)).tolist()
        [1.0, 1.0]
    """

    dim: int = eqx.field(static=True)
    floor: float = eqx.field(static=True, default=0.0)

    def __post_init__(self) -> None:
        _check(math.inf, self.floor)

    @property
    def n_params(self) -> int:
        """D log-variances."""
        return self.dim

    def __call__(self, params: Array) -> Array:
        """Return σ `(D,)`."""
        return _sigma(params, self.floor)

    def bias(self, spread: np.ndarray) -> np.ndarray:
        """Return v `(D,)`."""
        return np.log(np.maximum(spread**2 - self.floor**2, 1e-6 * (spread**2 + 1e-6)))


SCALES = ("fixed", "shared", "per-coordinate", "network")
"""The names of the scales."""


def scale_named(name: str, dim: int, *, value: float = 1.0, floor: float = 0.0) -> Scale:
    """Return the scale of that name for D coordinates.

    Args:
        name: one of `SCALES`.
        dim: D.
        value: σ, or where it starts; a network's starts at its bias.
        floor: f; a fixed σ has none.

    Raises:
        InputError: there is no scale of that name, or σ is not above the floor.

    Example:
        >>> scale_named("network", 3).n_params
        3
    """
    check_name(name, SCALES, "scale", "scale")
    if name == "fixed":
        return FixedScale(value)
    if name == "network":
        return NetworkScale(dim, floor)
    return LearnedScale(dim if name == "per-coordinate" else None, value=value, floor=floor)


def as_scale(scale: float | Scale) -> Scale:
    """Return the scale itself, or the fixed one of that σ."""
    return scale if isinstance(scale, Scale) else FixedScale(float(scale))


def _sigma(log_variance: Array, floor: float) -> Array:
    v = jnp.clip(log_variance, -LIMIT, LIMIT)
    return jnp.sqrt(floor**2 + jnp.exp(v)) if floor else jnp.exp(0.5 * v)


def _check(value: float, floor: float) -> None:
    if not (value > floor >= 0):
        raise InputError(
            f"a scale of {value} with a floor of {floor}",
            "scale",
            "give a scale above its floor, and a floor of at least 0",
        )
