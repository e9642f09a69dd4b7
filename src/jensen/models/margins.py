r"""A flow's first layer: each column made normal on its own.

    z_d = T_d(y_d),      log p(y) = log p_Z(T(y)) + Σ_d log T_d′(y_d)

T_d is a monotone rational-quadratic spline through quantiles of the training rows: Φ(z) of them lie
below the knot that goes to z. The linear map behind it then starts at the whitening of the normal
scores, so that a flow starts at a Gaussian copula with the table's own margins. A flow without the
layer starts at a Gaussian, and has to learn the flat shape of a uniform column, ½ log(πe/6) = 0.176
nats (0.254 bits) from it, step by step.

* Knots stand at evenly spaced z, as far out as `_TAIL` rows lie beyond the last; a straight line
  through the extreme row leads from there to ±B, and beyond ±B the map is affine: the tails are
  Gaussian.
* The slope at a knot is the density of the rows within half a spacing over the normal density
  there; that is exact where the rows are uniform.
* Columns on a grid count as spread evenly over their cells, as in training.
* A column keeps its own shape unless validation rows are likelier with the layer, by more than one
  standard error of the difference; and so does the whole table unless they are likelier at the
  start. A flow still starts at least as good as the best Gaussian.

Quantiles of n rows cost K/2n nats a column, or less: no network is fitted here.

Source: marginal Gaussianisation, Chen & Gopinath 2000; spline of Durkan et al. 2019
(arXiv:1906.04032).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array
from jensen.bijections import Affine, Chain, Elementwise, SplineTransformer
from jensen.data.preprocess import Preprocess, whitening

BOUND = 4.0
"""B: the splines end at z = ±B, beyond which lies a share of 6e-5 of a normal law."""

_LEAST = 1e-5  # smallest bin, as a share of 2B: at an edge of a column few rows fill many z
_ROWS = 20_000  # whose quantiles are taken
_CELL = (np.arange(8) + 0.5) / 8 - 0.5  # where a value on a grid counts as lying in its cell
_AT_ONCE = 4096  # rows that go through a layer together
_TAIL = 4.0  # rows beyond the last knot whose place is a quantile
_FEWEST = 5  # training rows, below which there are no quantiles to speak of


@dataclass(frozen=True)
class Start:
    """Where a table's flow begins.

    Args:
        whiten: W `(D, D)`, lower triangular, the first linear map.
        margins: the layer before it, next to the data; None for none.
    """

    whiten: np.ndarray
    margins: Chain | None = None


def no_change(dim: int, bins: int) -> Chain:
    """Return the layer of D columns that are left as they are.

    Example:
        >>> no_change(2, 8).inverse_and_log_det(jnp.array([0.5, 7.0]))[0].round(5).tolist()
        [0.5, 7.0]
    """
    spline = SplineTransformer(bins, BOUND, _LEAST)
    return _layer(spline, np.zeros(dim), np.ones(dim), np.zeros((dim, spline.n_params)))


def start_of(preprocess: Preprocess, vectors: np.ndarray, held_out: np.ndarray, bins: int) -> Start:
    """Return where a flow of the training rows begins.

    Args:
        preprocess: the map that made the vectors.
        vectors: training rows `(n, D + k)` in the model's units.
        held_out: validation rows `(m, D + k)`, which decide whether a column is changed.
        bins: K of the splines; 0 for no such layer.
    """
    gaussian = Start(whitening(preprocess, vectors))
    d = len(preprocess.mean)
    if not bins or not d:
        return gaussian
    unchanged = Start(gaussian.whiten, no_change(d, bins))
    if len(vectors) < _FEWEST:
        return unchanged
    rng = np.random.default_rng(0)
    train, check = (
        (rows[:, :d] + preprocess.noise * rng.uniform(-0.5, 0.5, (len(rows), d))).astype("f4")
        for rows in (vectors, held_out)
    )
    layer = _normal_scores(vectors[:_ROWS, :d], preprocess.noise, bins)
    each = _log_prob(layer, check) + 0.5 * check**2
    layer = _only(layer, each.mean(axis=0) > each.std(axis=0) / len(each) ** 0.5)
    scores = np.asarray(_through(layer, train)[0])
    # the rows are spread over their cells already: no resolution is to be added to the covariance
    found = Start(whitening(replace(preprocess, step=np.zeros(d)), scores), layer)
    if _first_log_prob(found, check) > _first_log_prob(gaussian, check):
        return found
    return unchanged


def _normal_scores(values: np.ndarray, step: np.ndarray, bins: int) -> Chain:
    """Return the layer whose splines go through the quantiles of the columns `(n, D)`."""
    y = np.asarray(values, np.float64)
    cells = y if not step.any() else (y[:, None] + _CELL[:, None] * step).reshape(-1, y.shape[1])
    far, last = _quantile(1 - min(_TAIL / len(y), 0.2)), _quantile(1 - 0.5 / len(y))
    z = np.linspace(-far, far, bins - 1)
    width = z[1] - z[0]

    def at(z: np.ndarray) -> np.ndarray:
        return np.quantile(cells, _share(z), axis=0)

    knots, beyond = at(z), (BOUND - far) / (last - far)
    low = knots[0] - beyond * (knots[0] - cells.min(axis=0))
    high = knots[-1] + beyond * (cells.max(axis=0) - knots[-1])
    centre, scale = (low + high) / 2, (high - low) / (2 * BOUND)
    # a column of few values in the training rows: a line
    scale = np.where(scale > 0, scale, 1.0)
    below, above = z - width / 2, z + width / 2
    gap = np.maximum(at(above) - at(below), 1e-3 * width * scale)
    normal = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    slope = ((_share(above) - _share(below)) / normal)[:, None] / gap * scale
    ends = np.full((1, len(centre)), BOUND)
    u = np.concatenate([-ends, np.clip((knots - centre) / scale, -BOUND, BOUND), ends])
    v = np.concatenate([-ends, np.tile(z[:, None], len(centre)), ends])
    spline = SplineTransformer(bins, BOUND, _LEAST)
    return _layer(spline, centre, scale, spline.params_through(u.T, v.T, slope.T))


def _layer(
    spline: SplineTransformer, centre: np.ndarray, scale: np.ndarray, params: np.ndarray
) -> Chain:
    shift, log_scale, raw = (jnp.asarray(a, jnp.float32) for a in (centre, np.log(scale), params))
    return Chain((Affine(shift, log_scale), Elementwise(spline, raw)))


def _only(layer: Chain, changed: np.ndarray) -> Chain:
    """Return the layer that changes these columns `(D,)` alone."""

    def kept(a: Array) -> Array:
        return jnp.where(changed.reshape(-1, *(1,) * (a.ndim - 1)), a, 0.0)

    return jax.tree.map(lambda a: kept(a) if eqx.is_array(a) else a, layer)


@eqx.filter_jit
def _through(layer: Chain, rows: np.ndarray) -> tuple[Array, Array]:
    """Return z and log dz/dy of the layer, each `(n, D)`."""
    affine, last = layer.bijections
    if not isinstance(affine, Affine) or not isinstance(last, Elementwise):
        raise TypeError(f"not a layer of margins: {layer}")

    def one(row: Array) -> tuple[Array, Array]:
        u = jnp.exp(-affine.log_scale) * (row - affine.shift)
        z, log_slope = last.transformer.apply(last.params, u)
        return z, log_slope - affine.log_scale

    return jax.lax.map(one, jnp.asarray(rows), batch_size=_AT_ONCE)


def _log_prob(layer: Chain, rows: np.ndarray) -> np.ndarray:
    """Return log p of each cell `(n, D)` but for ½ log 2π, nats, if z is standard normal."""
    z, log_slope = (np.asarray(a, np.float64) for a in _through(layer, rows))
    return log_slope - 0.5 * z**2


def _first_log_prob(start: Start, rows: np.ndarray) -> float:
    """Return the mean log p of rows `(n, D)` at the start but for ½ D log 2π, nats."""
    z, extra = np.asarray(rows, np.float64), 0.0
    if start.margins is not None:
        z, log_slope = (np.asarray(a, np.float64) for a in _through(start.margins, rows))
        extra = log_slope.sum(axis=1)
    whitened = np.sum((z @ start.whiten.T) ** 2, axis=1)
    return float(np.mean(extra - 0.5 * whitened) + np.sum(np.log(np.diag(start.whiten))))


def _share(z: np.ndarray) -> np.ndarray:
    """Return Φ(z)."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def _quantile(share: float) -> float:
    """Return Φ⁻¹ of a share in (0, 1)."""
    from scipy.special import ndtri

    return float(ndtri(share))
