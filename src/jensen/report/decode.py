"""What a decoder makes of latent vectors, in the units of the table; and where the prior puts them.

The decoder gives the mean of every number and the probability of every level.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy import stats

from jensen._typing import Array
from jensen.evaluation.likelihood import Gaussian
from jensen.fitting import TableLatent
from jensen.models.distributions import Known
from jensen.models.latent import Latent

_DRAWS = 4000  # of a prior without a known margin
_GRID = 80


@dataclass(frozen=True)
class Decoded:
    """The decoder's means at n latent vectors.

    Attributes:
        numbers: of the numeric columns `(n, D)`, in the units of the table.
        levels: of each categorical column, the probabilities of its levels `(n, C)`.
    """

    numbers: np.ndarray
    levels: tuple[np.ndarray, ...]

    def rows(self, latent: TableLatent) -> np.ndarray:
        """Return encoded rows `(n, columns)`: the means, and the most probable levels."""
        schema = latent.preprocess.schema
        out = np.empty((len(self.numbers), len(schema.columns)))
        out[:, list(schema.continuous)] = self.numbers
        out[:, list(schema.constant)] = latent.preprocess.constants
        for j, table in zip(schema.categorical, self.levels, strict=True):
            out[:, j] = np.argmax(table, axis=1)
        return out

    def scaled(self, baseline: Gaussian) -> dict[str, np.ndarray]:
        """Return column, or column = level, → `(n,)` in standard deviations from its mean.

        Means and deviations are those of the training rows; a level counts as 0 or 1.
        """
        units, schema = baseline.preprocess, baseline.preprocess.schema
        numbers = (self.numbers - units.mean) / units.scale
        found = {schema.names[j]: numbers[:, i] for i, j in enumerate(schema.continuous)}
        for j, mine, logs in zip(
            schema.categorical, self.levels, baseline.frequencies, strict=True
        ):
            share = np.exp(logs)
            table = (mine - share) / np.sqrt(share * (1.0 - share))
            for name, column in zip(schema.columns[j].levels, table.T, strict=True):
                found[f"{schema.names[j]} = {name}"] = column
        return found


def decoded(latent: TableLatent, z: np.ndarray) -> Decoded:
    """Return the decoder's means at the latent vectors `(n, L)`."""
    means = np.asarray(_means(latent.model, jnp.asarray(z, jnp.float32)), np.float64)
    schema, units = latent.preprocess.schema, latent.preprocess
    d = len(schema.continuous)
    widths = [len(schema.columns[j].levels) for j in schema.categorical]
    levels = np.split(means[:, d:], np.cumsum(widths)[:-1], axis=1) if widths else []
    return Decoded(means[:, :d] * units.scale + units.mean, tuple(levels))


def prior_draws(latent: TableLatent, n: int, seed: int) -> np.ndarray:
    """Return n latent vectors `(n, L)` of the prior."""
    prior = latent.model.prior.distribution(latent.model.posterior)
    return np.asarray(prior.sample_and_log_prob(jax.random.key(seed), n)[0])


def prior_plane(
    latent: TableLatent, axes: tuple[int, ...], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the prior's density of two latent variables on a grid: x `(g,)`, y `(g,)`, p `(g, g)`.

    Exact where the prior is a diagonal Gaussian, else smoothed from draws.

    Args:
        latent: the trained model.
        axes: the two latent variables, from 0.
        points: what else the picture shows `(n, 2)`; the grid holds these as well.
    """
    prior = latent.model.prior.distribution(latent.model.posterior)
    draws = prior_draws(latent, _DRAWS, 0)[:, axes]
    both = np.concatenate([draws, points])
    x, y = np.linspace(both.min(axis=0), both.max(axis=0), _GRID).T
    law = getattr(prior.law, "base_dist", None) if isinstance(prior, Known) else None
    if isinstance(law, dist.Normal):
        loc, scale = (np.asarray(part)[list(axes)] for part in (law.loc, law.scale))
        margins = [stats.norm.pdf(v, loc[i], scale[i]) for i, v in enumerate((x, y))]
        return x, y, margins[1][:, None] * margins[0]
    grid = np.stack([part.ravel() for part in np.meshgrid(x, y)])
    return x, y, stats.gaussian_kde(draws.T)(grid).reshape(_GRID, _GRID)


@eqx.filter_jit
def _means(model: Latent, z: Array) -> Array:
    return jax.vmap(model.likelihood.means)(z)
