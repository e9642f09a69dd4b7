r"""Fitting a flow to an unnormalised density: search, start, train, judge.

1. *Search*: chains annealed from N(0, s² I) find the mass (`jensen.evaluation.target.search`).
2. *Start*: the flow is N(m, Σ), with the mean and covariance of their ends. Then it learns either
   the weighted ends by maximum likelihood, which covers every mode that they found (`chains`), or
   β log p̃ + (1 - β) log N(m, Σ) with β = (a/A)², a = 1 … A, one epoch each (`annealed`).
3. *Train* by reverse KL; the weights with the least on fixed noise are kept.
4. *Judge* by fresh draws and by fresh chains, which took no part in the fit.

Every part is a function of (density, recipe, seed), so that a resumed run ends in the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Key
from jensen.bijections import Affine, Chain
from jensen.data.preprocess import Preprocess, whitening
from jensen.data.schema import Column, Schema
from jensen.data.split import check_seed
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.progress import Report, silent
from jensen.engine.run import Game, Result, train
from jensen.evaluation.certificate import Certificate, certify
from jensen.evaluation.target import Chains, log_densities, search
from jensen.fitting.recipe import Recipe
from jensen.fitting.target_options import BATCHES, SCALE, TargetOptions, default_recipe
from jensen.models.families import FlowInit
from jensen.models.flow import Flow
from jensen.models.table import TableDensity
from jensen.objectives.likelihood import Mean, NegativeLogProb
from jensen.objectives.reverse import LogDensity, Rescaled, ReverseKL

_VALIDATION = 2048  # draws that choose the weights
_SEARCH, _CHECK, _DRAWS, _RESAMPLE, _TRAIN, _START = range(6)  # what a seed is folded with, per use


@dataclass(frozen=True)
class TargetFit:
    """A flow fitted to an unnormalised density, and what it is worth.

    Args:
        density: the flow in the density's own units.
        certificate: log Z, errors and coverage.
        chains: the annealed chains that judged it.
    """

    density: TableDensity
    certificate: Certificate
    chains: Chains

    @property
    def flow(self) -> Flow:
        """The flow itself, for one x `(D,)` in the density's units: `log_prob`, `sample`."""
        member = jax.tree.map(
            lambda a: a[0] if eqx.is_array(a) else a, self.density.members, is_leaf=eqx.is_array
        )
        scale = jnp.asarray(self.density.preprocess.scale, jnp.float32)
        shift = jnp.asarray(self.density.preprocess.mean, jnp.float32)
        units = Affine(shift, jnp.log(scale))
        return Flow(Chain((units, member.flow.bijection)), member.flow.base)

    @property
    def log_z(self) -> tuple[float, float]:
        """log Ẑ and its standard error, nats."""
        return self.certificate.log_z, self.certificate.se

    @property
    def ess(self) -> float:
        """Effective sample size of the weights behind log Ẑ."""
        return self.certificate.ess

    @property
    def pareto_k(self) -> float:
        """k̂ of these weights; above 0.7 log Ẑ cannot be trusted."""
        return self.certificate.pareto_k

    @property
    def warnings(self) -> list[str]:
        """What speaks against the figures, in plain words."""
        return self.certificate.warnings()

    @property
    def verdict(self) -> str:
        """Whether log Z and the draws can be believed, in plain words."""
        return self.certificate.verdict()

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return log q `(n,)` of points `(n, D)`, nats, normalised."""
        return self.density.log_prob(np.asarray(x, np.float64))[0]

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Return `n` draws `(n, D)` of the flow."""
        return self.density.sample(n, seed)


def fit_log_density(
    log_density: LogDensity,
    dim: int,
    *,
    seed: int = 0,
    report: Report = silent,
    **settings: Any,
) -> TargetFit:
    """Fit a flow to an unnormalised density by reverse KL, and estimate log Z.

    Args:
        log_density: log p̃ of one x `(D,)` as a JAX array, nats; -inf outside its support.
        dim: D.
        seed: all randomness.
        report: called with the progress.
        **settings: of the recipe, see `TargetOptions`, `Training` and `Optimisation`.

    Returns:
        The flow with log Z, its standard error, ESS, Pareto k̂, coverage and a verdict.

    Raises:
        InputError: for a density that cannot be used, naming the point, or unknown settings.
        DivergedError: if training leaves the finite numbers.

    Example:
        >>> small = {"epochs": 1, "annealing": 1, "n_layers": 1, "width": 4, "draws": 2000}
        >>> fit = fit_log_density(lambda x: -jnp.sum(x**2), 1, chains=64, **small)
        >>> bool(abs(fit.log_z[0] - 0.5 * np.log(np.pi)) < 0.05)
        True
    """
    check_seed(seed)
    recipe = Recipe.from_settings({**settings, "dim": dim}, default_recipe())
    chains = found_by_search(log_density, recipe.options, seed)
    names = tuple(f"x{i}" for i in range(1, dim + 1))
    density, _, _ = fit_density(
        log_density, schema_of(names), chains, recipe, seed=seed, report=report
    )
    chains = found_by_search(log_density, recipe.options, seed, check=True)
    certificate = judged(log_density, density, chains, recipe.options.draws, seed)
    return TargetFit(density, certificate, chains)


def found_by_search(
    log_density: LogDensity, options: TargetOptions, seed: int, *, check: bool = False
) -> Chains:
    """Return the chains of a fit, or those that check it."""
    return search(
        log_density,
        options.dim or 1,
        scale=options.scale or SCALE,
        n_chains=options.chains,
        n_temperatures=options.temperatures,
        seed=_seed(seed, _CHECK if check else _SEARCH),
    )


def schema_of(names: tuple[str, ...]) -> Schema:
    """Return the columns of a density's x: numbers without a grid."""
    return Schema(tuple(Column(name, "continuous", dtype="double") for name in names))


def fit_density(
    log_density: LogDensity,
    schema: Schema,
    chains: Chains,
    recipe: Recipe,
    *,
    seed: int,
    checkpoints: Checkpoints | None = None,
    report: Report = silent,
) -> tuple[TableDensity, np.ndarray, Result]:
    """Return the flow trained by reverse KL, the linear map it started as, and the engine's result.

    Args:
        log_density: log p̃ of one x `(D,)`.
        schema: the names of its D columns.
        chains: they say where the flow starts.
        recipe: every choice made.
        seed: all randomness.
        checkpoints: where to keep the state of the last part, or None; the annealing is repeated
            where there is none yet.
        report: called with the progress.

    Raises:
        DivergedError: if training leaves the finite numbers.
    """
    options = recipe.options
    ends = chains.points[np.isfinite(chains.log_weights)]
    preprocess = _units(schema, ends)
    whiten = whitening(preprocess, preprocess.forward(ends))
    init = FlowInit(jnp.asarray(whiten, jnp.float32), None, options.flow(), ())
    shift, scale = (jnp.asarray(v, jnp.float32) for v in (preprocess.mean, preprocess.scale))
    target = Rescaled(log_density, shift, scale)
    rows = np.zeros((BATCHES * recipe.training.optimisation.batch_size, 1), np.float32)
    start: Any = init
    if checkpoints is None or checkpoints.latest() is None:
        if options.start == "chains":
            start = _taught(init, preprocess, chains, recipe, seed)
        else:
            start = _annealed(init, target, rows, recipe, seed)
    loss = ReverseKL(target)
    result = train(
        Game(start, Mean(loss), loss),
        rows,
        np.zeros((_VALIDATION, 1), np.float32),
        recipe.training,
        seed=_seed(seed, _TRAIN),
        checkpoints=checkpoints,
        report=report,
    )
    return TableDensity(result.players[0], preprocess), whiten, result


class Continued(eqx.Module):
    """How a game begins that goes on with given players: `init(key) -> players`.

    Args:
        players: the tuple to go on with.
    """

    players: tuple[Any, ...]

    def __call__(self, key: Key) -> tuple[Any, ...]:
        """Return the players, whatever the key."""
        return self.players


def _annealed(init: FlowInit, target: Rescaled, rows: np.ndarray, recipe: Recipe, seed: int) -> Any:
    """Return how the last part begins: with the flow at the end of the annealing."""
    start: Any = init
    n = recipe.options.annealing
    for a in range(1, n + 1):
        loss = ReverseKL(target, (a / n) ** 2, init.whiten)
        result = train(
            Game(start, Mean(loss), loss),
            rows,
            None,
            replace(recipe.training, epochs=1),
            seed=_seed(seed, _START + a),
        )
        start = Continued(jax.tree.map(_first, result.players))
    return start


def _taught(
    init: FlowInit, preprocess: Preprocess, chains: Chains, recipe: Recipe, seed: int
) -> Continued:
    """Return how the last part begins: with the flow of the largest likelihood of the chains."""
    rows = preprocess.forward(chains.resampled(len(chains.points), _seed(seed, _RESAMPLE)))
    rows = np.random.default_rng(_seed(seed, _RESAMPLE)).permutation(rows)
    held_out = len(rows) // 10
    loss = NegativeLogProb()
    steps = BATCHES * recipe.options.annealing
    epochs = -(-steps // -(-(len(rows) - held_out) // recipe.training.optimisation.batch_size))
    result = train(
        Game(init, Mean(loss), loss),
        rows[held_out:],
        rows[:held_out],
        replace(recipe.training, epochs=epochs, evaluate_every=25, patience=10, reductions=1),
        seed=_seed(seed, _START),
    )
    return Continued(jax.tree.map(_first, result.players))


def _first(leaf: Any) -> Any:
    return leaf[0] if eqx.is_array(leaf) else leaf


def _units(schema: Schema, ends: np.ndarray) -> Preprocess:
    """Return the map to the units in which the chains' ends have mean 0 and variance 1."""
    mean, spread = ends.mean(axis=0), ends.std(axis=0)
    scale = np.where(spread > 0, spread, np.maximum(np.abs(mean), 1.0))
    return Preprocess(mean, scale, np.zeros(len(mean)), np.empty(0), schema)


def judged(
    log_density: LogDensity,
    density: TableDensity,
    chains: Chains,
    n_draws: int,
    seed: int,
) -> Certificate:
    """Return what the flow is worth, by fresh draws and by the chains.

    Args:
        log_density: log p̃ of one x `(D,)`.
        density: the flow.
        chains: that took no part in the fit.
        n_draws: N.
        seed: of the draws.

    Raises:
        InputError: if the density is nan or +inf at a draw, naming it.
    """
    draws = density.sample(n_draws, _seed(seed, _DRAWS))
    return certify(
        density.log_prob(draws)[0],
        log_densities(log_density, draws.astype(np.float32)),
        chains,
        density.log_prob(chains.points)[0],
        log_densities(log_density, chains.points.astype(np.float32)),
    )


def _seed(seed: int, use: int) -> int:
    """Return the seed of one use of a run's seed."""
    return int(np.random.SeedSequence([seed, use]).generate_state(1)[0])
