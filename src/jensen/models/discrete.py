r"""Observations of whole numbers, of numbers on a grid, and of categories.

| observation | x_d | log p(x_d) |
|---|---|---|
| `Poisson` | 0, 1, 2, … | x log λ - λ - log x! |
| `DiscretisedLogistic` | o + δ m | log [F(x + δ/2) - F(x - δ/2)] - log δ |
| `Categorical` | 0, …, n_d - 1 | log softmax(η_d)[x_d] |
"""

from __future__ import annotations

from itertools import accumulate

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.models.observations import Observation, moments
from jensen.models.scales import LearnedScale, Scale, as_scale

_KNEE = 10.0  # e¹⁰ = 22026: above the largest mean of a column that counts (10⁴)
_TERMS = 32  # of a discretised mean where a cell is wide; e^(-32/2) of the sum is left
_WIDE = 0.5  # least δ/s of such a cell


class Poisson(Observation):
    r"""x_d ∈ {0, 1, 2, …}: log p = x log λ - λ - log x!, λ = exp(η) up to η = 10.

    The exponential is the canonical link: log p is concave in η, effects multiply, and outputs
    below 10 reach every rate from 10⁻⁴ to 10⁴, which those of a softplus do not. Beyond η = 10 it
    goes on along its tangent, λ = e¹⁰ (η - 9), so that neither λ nor its slope overflows. numpyro's
    law takes λ and loses log λ where λ underflows, so log λ is written out here; elsewhere the two
    agree.

    Args:
        dim: D.

    Example:
        >>> round(float(Poisson(1).log_probs(jnp.full(1, 2.0), jnp.zeros(1))[0]), 4)
        -1.6931
    """

    dim: int = eqx.field(static=True)

    @property
    def n_params(self) -> int:
        """D log-rates."""
        return self.dim

    def _rate(self, params: Array) -> tuple[Array, Array]:
        """Return λ and log λ `(D,)`."""
        beyond = 1.0 + jax.nn.relu(params - _KNEE)
        below = jnp.minimum(params, _KNEE)
        return jnp.exp(below) * beyond, below + jnp.log(beyond)

    def log_probs(self, x: Array, params: Array) -> Array:
        """Return log p(x_d | η_d) `(D,)`, nats."""
        rate, log_rate = self._rate(params)
        return x * log_rate - rate - gammaln(x + 1.0)

    def sample(self, key: Key, params: Array) -> Array:
        """Return whole numbers `(D,)`, as floats."""
        return jax.random.poisson(key, self._rate(params)[0]).astype(params.dtype)

    def means(self, params: Array) -> Array:
        """Return λ `(D,)`."""
        return self._rate(params)[0]

    def possible(self, x: np.ndarray) -> np.ndarray:
        """Return where x is 0, 1, 2, … or missing `(n, D)`."""
        return ((x >= 0) & (x == np.floor(x)) & np.isfinite(x)) | np.isnan(x)

    def bias(self, x: np.ndarray) -> np.ndarray:
        """Return the log-rates of the rows, with half a count added to each sum."""
        n = np.sum(~np.isnan(x), axis=0)
        log_rate = np.log((np.nansum(x, axis=0) + 0.5) / np.maximum(n, 1))
        beyond = np.exp(np.maximum(log_rate - _KNEE, 0.0)) - 1.0
        return np.minimum(log_rate, _KNEE) + beyond


class DiscretisedLogistic(Observation):
    r"""x_d on a grid of spacing δ_d: the mass of its cell under a logistic law, per unit of x.

        log p = log [F((x + δ/2 - η)/s) - F((x - δ/2 - η)/s)] - log δ,     F(t) = 1/(1 + e^(-t))

    The mass sums to one over the grid; divided by δ it is a density that compares with the average
    of a continuous density over the cell. Its logarithm is exact however far out, because

        F(b) - F(a) = F(b) F(-a) (1 - e^(a-b)),      b - a = δ/s

    With bounds the end cells take the tails: F(-a) = 1 falls away at `low`, F(b) at `high`. In this
    observation the scale gives s; the standard deviation is s π/√3.

    Args:
        step: δ, `(D,)`, above zero.
        origin: a point of each grid, a number or `(D,)`.
        low: the least value of each coordinate, on its grid; -inf for none.
        high: the largest value, on its grid; inf for none.
        scale: s as a number, or where it comes from; learned, one for each coordinate, if None.

    Raises:
        InputError: a spacing that is not above zero, or bounds without a cell between them.

    Source: Kingma et al. 2016 (arXiv:1606.04934), sec. 5.2; the end cells as in Salimans et al.
    2017 (arXiv:1701.05517), eq. 2. Deviation: the product form of the difference.

    Example:
        >>> grey = DiscretisedLogistic(np.full(1, 1 / 255), low=0.0, high=1.0, scale=0.1)
        >>> x = jnp.linspace(0.0, 1.0, 256)
        >>> mass = jnp.exp(jax.vmap(grey.log_probs, (0, None))(x[:, None], jnp.full(1, 0.9))) / 255
        >>> round(float(mass.sum()), 5)
        1.0
    """

    step: tuple[float, ...] = eqx.field(static=True)
    origin: tuple[float, ...] = eqx.field(static=True)
    low: tuple[float, ...] = eqx.field(static=True)
    high: tuple[float, ...] = eqx.field(static=True)
    scale: Scale

    def __init__(
        self,
        step: np.ndarray,
        origin: float | np.ndarray = 0.0,
        *,
        low: float | np.ndarray = -np.inf,
        high: float | np.ndarray = np.inf,
        scale: float | Scale | None = None,
    ) -> None:
        every = np.broadcast_arrays(np.atleast_1d(step), origin, low, high)
        self.step, self.origin, self.low, self.high = (tuple(map(float, a)) for a in every)
        step, _, low, high = every
        if not np.all((step > 0) & np.isfinite(step) & (high > low)):
            raise InputError(
                f"a grid of spacing {step.min():g} from {low.min():g} to {high.max():g}",
                "step",
                "give spacings above zero, and bounds with at least two values",
            )
        self.scale = LearnedScale(len(step)) if scale is None else as_scale(scale)

    @property
    def n_params(self) -> int:
        """D locations, then what the scale takes."""
        return len(self.step) + self.scale.n_params

    def _split(self, params: Array) -> tuple[Array, Array]:
        """Return the locations `(D,)` and s, `()` or `(D,)`."""
        d = len(self.step)
        return params[:d], self.scale(params[d:])

    def _constants(self, dtype: jnp.dtype) -> tuple[Array, Array, Array, Array]:
        """Return δ, o, low and high `(D,)`."""
        step, origin, low, high = np.array([self.step, self.origin, self.low, self.high], dtype)
        return jnp.asarray(step), jnp.asarray(origin), jnp.asarray(low), jnp.asarray(high)

    def log_probs(self, x: Array, params: Array) -> Array:
        """Return log p(x_d | η_d) `(D,)`, nats per unit of x."""
        location, s = self._split(params)
        step, _, low, high = self._constants(params.dtype)
        first, last = x < low + 0.5 * step, x > high - 0.5 * step
        centred, width = x - location, step / s
        above = -jax.nn.softplus((centred - 0.5 * step) / s)  # log F(-a)
        below = -jax.nn.softplus(-(centred + 0.5 * step) / s)  # log F(b)
        inside = jnp.log(-jnp.expm1(-width))
        tails = jnp.where(first, 0.0, above) + jnp.where(last, 0.0, below)
        return tails + jnp.where(first | last, 0.0, inside) - jnp.log(step)

    def sample(self, key: Key, params: Array) -> Array:
        """Return one x `(D,)` on the grid."""
        location, s = self._split(params)
        step, origin, low, high = self._constants(params.dtype)
        drawn = location + s * jax.random.logistic(key, location.shape, params.dtype)
        return jnp.clip(origin + step * jnp.round((drawn - origin) / step), low, high)

    def means(self, params: Array) -> Array:
        """Return E[x] `(D,)`, exact to 10⁻⁴ δ.

        Where cells are wide, by Σ_m P(x ≥ m) around the location's cell; where they are narrow, by
        the integral in its place, with the first term of the Euler–Maclaurin formula.
        """
        location, s = self._split(params)
        step, origin, low, high = self._constants(params.dtype)
        cell = jnp.clip(origin + step * jnp.round((location - origin) / step), low, high)
        m = jnp.arange(1, _TERMS + 1, dtype=params.dtype)[:, None]
        up = jax.nn.sigmoid((location - cell - (m - 0.5) * step) / s)
        down = jax.nn.sigmoid((cell - (m - 0.5) * step - location) / s)
        some = (m - 0.25) * step
        up, down = jnp.where(cell + some < high, up, 0.0), jnp.where(cell - some > low, down, 0.0)
        wide = cell + step * jnp.sum(up - down, axis=0)
        narrow = location + _beyond(low - location, s, step) - _beyond(location - high, s, step)
        return jnp.where(step > _WIDE * s, wide, narrow)

    def possible(self, x: np.ndarray) -> np.ndarray:
        """Return where x is missing, or finite and within the bounds to half a cell `(n, D)`."""
        half = 0.5 * np.array(self.step)
        within = (x > np.array(self.low) - half) & (x < np.array(self.high) + half)
        return (within & ~np.isinf(x)) | np.isnan(x)

    def bias(self, x: np.ndarray) -> np.ndarray:
        """Return the means of the rows, and their spread with a cell's as the scale takes it."""
        mean, spread = moments(x)
        s = np.sqrt(3.0) / np.pi * np.sqrt(spread**2 + np.array(self.step) ** 2 / 12.0)
        return np.concatenate([mean, self.scale.bias(s)])


def _beyond(distance: Array, s: Array, step: Array) -> Array:
    """Return how far a bound moves a mean, ∫ F beyond it and its correction; 0 for none (-inf)."""
    bounded = jnp.isfinite(distance)
    t = jnp.where(bounded, distance, 0.0) / s
    slope = jax.nn.sigmoid(t) * jax.nn.sigmoid(-t) / s
    return jnp.where(bounded, s * jax.nn.softplus(t) - step**2 / 24.0 * slope, 0.0)


class Categorical(Observation):
    """k columns of codes, x_j ∈ {0, …, n_j - 1} as floats: log p = log softmax(η_j)[x_j].

    Args:
        levels: n_j, the number of levels of each column.

    Raises:
        InputError: a column without levels.

    Example:
        >>> log_p = Categorical((2, 4)).log_probs(jnp.array([1.0, 3.0]), jnp.zeros(6))
        >>> [round(float(v), 4) for v in log_p]
        [-0.6931, -1.3863]
    """

    levels: tuple[int, ...] = eqx.field(static=True)

    def __post_init__(self) -> None:
        if any(n < 1 for n in self.levels):
            raise InputError(f"levels {self.levels}", "levels", "give each column at least one")

    @property
    def n_params(self) -> int:
        """The logits of all levels, column after column."""
        return sum(self.levels)

    def _each(self, params: Array) -> list[Array]:
        """Return log softmax(η_j) `(n_j,)` of every column."""
        ends = accumulate(self.levels)
        return [
            jax.nn.log_softmax(params[end - n : end])
            for end, n in zip(ends, self.levels, strict=True)
        ]

    def log_probs(self, x: Array, params: Array) -> Array:
        """Return log p(x_j | η_j) `(k,)`, nats; -inf for a code that is no level."""

        def one(code: Array, log_p: Array) -> Array:
            chosen = jnp.arange(len(log_p), dtype=code.dtype) == code
            total = jnp.sum(jnp.where(chosen, log_p, 0.0))
            return jnp.where(jnp.any(chosen), total, -jnp.inf)

        return jnp.stack([one(x[j], log_p) for j, log_p in enumerate(self._each(params))])

    def sample(self, key: Key, params: Array) -> Array:
        """Return codes `(k,)`, as floats."""
        keys = jax.random.split(key, len(self.levels))
        drawn = [
            jax.random.categorical(k, p) for k, p in zip(keys, self._each(params), strict=True)
        ]
        return jnp.stack(drawn).astype(params.dtype)

    def means(self, params: Array) -> Array:
        """Return the probabilities of all levels `(Σ n_j,)`, column after column."""
        return jnp.exp(jnp.concatenate(self._each(params)))

    def possible(self, x: np.ndarray) -> np.ndarray:
        """Return where x is the code of a level, or missing `(n, k)`."""
        return ((x >= 0) & (x < np.array(self.levels)) & (x == np.floor(x))) | np.isnan(x)

    def bias(self, x: np.ndarray) -> np.ndarray:
        """Return the log-frequencies of the rows, with half a count added to each level."""
        counts = [
            np.sum(x[:, j, None] == np.arange(n), axis=0) + 0.5 for j, n in enumerate(self.levels)
        ]
        return np.concatenate([np.log(c / c.sum()) for c in counts])
