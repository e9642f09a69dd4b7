r"""The exact log p(x) of a model whose latent vector has one or two dimensions, by quadrature.

    p(x) = ∫ p(x | z) p(z) dz ≈ Σ_j v_j p(x | z_j) p(z_j)

over a box, cut into equal panels with eight Gauss–Legendre nodes each (their tensor product in two
dimensions): exact for polynomials of degree 15 on every panel, so once a panel is as short as the
likelihood's width the error falls by orders of magnitude at each doubling. The number of panels is
doubled for a row until two successive doublings change its log p by less than the tolerance (one
could by chance, while a narrow likelihood still falls between the nodes).

The box comes from draws of the prior, twice as long as their range; where the outermost twentieth
on a side holds a noticeable share of a row's integral, that row's box is made longer. Stated error:
the last change, plus that share, plus what the integral of the prior over the same nodes lacks to
1, plus rounding.

Source: Davis & Rabinowitz 1984, Methods of Numerical Integration, sec. 2.7.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array
from jensen.evaluation.evidence import checked, row_blocks
from jensen.models.latent import Latent

FIRST = {1: 512, 2: 64}
"""Nodes a dimension at the start, by the dimension of the latent vector."""

MOST = {1: 2**17, 2: 2**11}
"""Nodes a dimension at most, unless told otherwise."""

_ORDER = 8  # nodes a panel
_AT_ONCE = 512  # nodes; divides every number of nodes there is
_CELLS_AT_ONCE = 2**22  # rows × nodes × coordinates
_EDGE = 0.05
_WIDENINGS = 8
_PRIOR_DRAWS = 4096


class Integral(NamedTuple):
    """Log-integrals of a block of rows: in all, over the box's edges, and of the prior alone."""

    total: np.ndarray
    edge: np.ndarray
    prior: np.ndarray


def quadrature(
    model: Latent, rows: np.ndarray, nodes: int | None = None, tolerance: float = 1e-4
) -> tuple[np.ndarray, np.ndarray]:
    """Return log p(x) `(n,)` and its error `(n,)`, nats, float64: figures of kind `quadrature`.

    Args:
        model: one whose latent vector has length 1 or 2.
        rows: `(n, D)`; NaN where a cell is missing. A row's figure does not depend on the others.
        nodes: most nodes a dimension; None for 131,072 in one dimension and 2,048 in two.
        tolerance: change of log p, nats, below which no more panels are taken.

    Returns:
        log p(x), and how far it can be off; an error above the tolerance says that `nodes` was
        too small.

    Raises:
        InputError: for another latent dimension, or too few nodes.

    Example:
        >>> from jensen.models.latent import Likelihood
        >>> from jensen.models.observations import Gaussian
        >>> from jensen.models.posteriors import DiagonalPosterior
        >>> from jensen.models.priors import StandardNormal
        >>> posterior = DiagonalPosterior(lambda x: jnp.zeros(2))
        >>> likelihood = Likelihood(lambda z: z, Gaussian(1, scale=1.0))
        >>> model = Latent(StandardNormal(1), likelihood, posterior)
        >>> value, error = quadrature(model, np.array([[0.5]]))  # x ~ N(0, 2)
        >>> round(float(value[0]), 4), bool(error[0] < 1e-4)
        (-1.328, True)
    """
    rows = checked(rows)
    box = _box(model)
    dim = len(box)
    if dim not in FIRST:
        raise InputError(
            f"quadrature is for one or two latent dimensions, this model has {dim}",
            "model",
            "use evidence, or annealed importance sampling",
        )
    most = MOST[dim] if nodes is None else nodes
    if most < 4 * FIRST[dim]:
        raise InputError(f"nodes must be at least {4 * FIRST[dim]}, got {most}", "nodes")
    log_prob, error = np.full(len(rows), np.nan), np.full(len(rows), np.inf)
    left = np.arange(len(rows))
    for i in range(_WIDENINGS):
        middle, half = box.mean(axis=1, keepdims=True), (box[:, 1:] - box[:, :1]) / 2
        wider = middle + 1.5**i * half * np.array([-1.0, 1.0])
        value, change, edge = _refined(model, rows[left], wider, most, tolerance)
        log_prob[left], error[left] = value, change + edge
        left = left[edge > tolerance]
        if len(left) == 0:
            break
    return log_prob, error


def _refined(
    model: Latent, rows: np.ndarray, box: np.ndarray, most: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the log-integrals over one box, their errors, and the shares of its edges."""
    n = FIRST[len(box)]
    value = _integrate(model, rows, box, n).total
    error, share = np.full(len(rows), np.inf), np.zeros(len(rows))
    left = np.arange(len(rows))
    while n < most and len(left):
        n *= 2
        new = _integrate(model, rows[left], box, n)
        change = np.where(new.total == value[left], 0.0, np.abs(new.total - value[left]))
        settled = (change < tolerance) & (error[left] < tolerance)
        lacking = np.abs(np.expm1(new.prior))
        rounding = 8 * np.finfo(jnp.zeros(()).dtype).eps * np.maximum(1.0, np.abs(new.total))
        rounding = np.where(np.isfinite(new.total), rounding, 0.0)
        value[left], error[left] = new.total, change + np.where(settled, lacking + rounding, 0.0)
        possible = np.isfinite(new.total)
        share[left] = np.exp(
            np.where(possible, new.edge, -np.inf) - np.where(possible, new.total, 0)
        )
        left = left[~settled]
    return value, error, share


def _integrate(model: Latent, rows: np.ndarray, box: np.ndarray, n: int) -> Integral:
    """Return log ∫ p(x | z) p(z) dz of each row over the box, n nodes a dimension."""
    size = int(np.clip(_CELLS_AT_ONCE // (_AT_ONCE * rows.shape[1]), 1, 256))
    parts = []
    for block, count in row_blocks(rows, size):
        x = jnp.asarray(block)
        total = Integral(*(np.full(size, -np.inf) for _ in range(3)))
        for start in range(0, n ** len(box), _AT_ONCE):
            z, log_v, at_edge = _nodes(box, n, start)
            block_sums = _node_block(model, x, jnp.asarray(z), jnp.asarray(log_v), at_edge)
            new = [np.asarray(a, np.float64) for a in block_sums]
            total = Integral(*map(np.logaddexp, total, new))
        parts.append(Integral(*(a[:count] for a in total)))
    return Integral(*(np.concatenate(a) for a in zip(*parts, strict=True)))


@eqx.filter_jit
def _node_block(
    model: Latent, x: Array, z: Array, log_v: Array, at_edge: np.ndarray
) -> tuple[Array, Array, Array]:
    """Return the log-sums over the nodes z `(J, L)` for rows x `(R, D)`, `(R,)` each."""
    prior = model.prior.distribution(model.posterior)
    log_p = jax.vmap(prior.log_prob)(z) + log_v
    log_lik = jax.vmap(lambda row: jax.vmap(lambda zj: model.likelihood.log_prob(row, zj))(z))(x)
    each = log_lik + log_p
    edge = jax.nn.logsumexp(jnp.where(at_edge, each, -jnp.inf), axis=1)
    alone = jnp.broadcast_to(jax.nn.logsumexp(log_p), edge.shape)
    return jax.nn.logsumexp(each, axis=1), edge, alone


def _nodes(box: np.ndarray, n: int, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return nodes `(J, L)`, their log-weights `(J,)` and which lie at an edge, from `start` on."""
    point, weight = np.polynomial.legendre.leggauss(_ORDER)
    index = start + np.arange(_AT_ONCE)
    z, log_v = np.empty((_AT_ONCE, len(box))), np.zeros(_AT_ONCE)
    at_edge = np.zeros(_AT_ONCE, bool)
    for d, (low, high) in enumerate(box):
        at, panel = index // n**d % n, (high - low) * _ORDER / n
        share = (at // _ORDER + 0.5 * (1.0 + point[at % _ORDER])) * _ORDER / n
        z[:, d] = low + (high - low) * share
        log_v += np.log(0.5 * panel * weight[at % _ORDER])
        at_edge |= (share < _EDGE) | (share > 1.0 - _EDGE)
    return z, log_v, at_edge


def _box(model: Latent) -> np.ndarray:
    """Return `(L, 2)`: around draws of the prior, twice as long as their range."""
    prior = model.prior.distribution(model.posterior)
    draws = np.asarray(prior.sample_and_log_prob(jax.random.key(0), _PRIOR_DRAWS)[0], np.float64)
    low, high = draws.min(axis=0), draws.max(axis=0)
    spare = 0.5 * (high - low)
    return np.stack([low - spare, high + spare], axis=1)
