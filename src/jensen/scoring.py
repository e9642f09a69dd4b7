r"""Scores of rows by a trained run, all in nats and higher for more normal rows.

    default         the score that the run is calibrated by: log p(x), or that of its pool
    log-prob        log p(x)
    typicality      -|log p(x) + H|,           H = -E log p of the model's own samples
    ratio           log p(x) - log p_0(x),     p_0 the baseline's density, or another run's
    reconstruction  E_q log p(x | z)           what the decoder makes of the row's own code
    latent          -KL(q(z | x) ‖ p(z)); for a flow log p_Z(z), z the row's noise

Density can be high where no data is: samples of a law in many dimensions lie near the level -H of
log p, not at its mode, and simple rows (a constant image) score above them. `typicality` is low on
both sides of that level; `ratio` takes away what every row of its kind scores. Reconstruction plus
latent is the evidence lower bound: the one is low where the decoder cannot make the row, the other
where its code is odd.

H is that of `SAMPLES` samples of a fixed seed, so that it owes nothing to the calibration rows, and
the noise of q is a function of the row: every score is a fixed function of the row, to which
conformal calibration applies. An impossible row scores -∞ by all of them, as does one whose log p
is not a number because a cell lies beyond the model's arithmetic.

Sources: Nalisnick et al. 2019 (typicality, arXiv:1906.02994; here of single rows); Ren et al. 2019
(likelihood ratios, arXiv:1906.02845).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError, check_name
from jensen._typing import Array, Key, PyTree
from jensen.data.schema import Column
from jensen.evaluation.evidence import PARTICLES, row_blocks, row_keys, rows_at_once
from jensen.fitting import TableLatent
from jensen.models.latent import Latent
from jensen.models.pool import TablePool
from jensen.models.table import TableDensity, block_rows
from jensen.runs import Run, open_run

SCORES = {
    "default": "what the run is calibrated by: log p(x), or the pooled score of a detector",
    "log-prob": "log p(x)",
    "typicality": "-|log p(x) + H|: how near log p is to that of the model's own samples",
    "ratio": "log p(x) less that of the baseline, or of --background",
    "reconstruction": "E_q log p(x | z): how well the decoder makes the row (vae, iwae)",
    "latent": "-KL(q(z | x) || p(z)), or log p(z) of a flow's noise: how usual the row's code is",
}
"""Scores by name, each in one line."""

SAMPLES = 1000
"""Samples whose mean log p is -H."""

_SEED = 0x74797069  # of those samples
_DRAWS = 0x6C617465  # folded into a row's key for the draws of z

Scorer = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Encoded rows `(n, columns)` → score `(n,)` and log p `(n,)`, nats."""

_Part = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scoring:
    """A score of a run that any process can open.

    Args:
        folder: the run.
        score: one of `SCORES`.
        background: the run whose log p `ratio` takes away; None for the baseline.

    Raises:
        InputError: for an unknown score, or a background that does not go with it.
    """

    folder: Path
    score: str
    background: Path | None = None

    def __post_init__(self) -> None:
        _check(self.score, self.background is not None)

    def __call__(self) -> Scorer:
        """Open the runs and return the score."""
        other = None if self.background is None else open_run(self.background)
        return scorer(open_run(self.folder), self.score, other)


def is_default(run: Run, score: str) -> bool:
    """Return whether the run's own calibration is that of this score."""
    return score == "default" or (score == "log-prob" and not isinstance(run.density, TablePool))


def is_log_prob(run: Run, score: str) -> bool:
    """Return whether the score is log p(x)."""
    return score == "log-prob" or (score == "default" and is_default(run, "log-prob"))


def scorer(run: Run, score: str = "default", background: Run | None = None) -> Scorer:
    """Return a score of a run.

    Args:
        run: a finished run of a density.
        score: one of `SCORES`.
        background: for `ratio`: the run whose log p is taken away; None for the baseline.

    Raises:
        InputError: for an unknown score, one that the family has not, a GAN, or a background that
            does not go with the score or the run.
    """
    _check(score, background is not None)
    run.conformal  # noqa: B018 - raises where the run has no scores
    if score == "default":
        return _never_nan(run.density.judge)
    return _never_nan(_beside_log_prob(run, _part(run, score, background)))


def _check(score: str, with_background: bool) -> None:
    check_name(score, SCORES, "score", "--score")
    if with_background and score != "ratio":
        raise InputError(
            f"the score {score!r} has no background", "--background", "add --score ratio"
        )


def _never_nan(judge: Scorer) -> Scorer:
    def judged(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        score, log_prob = judge(matrix)
        return _or_impossible(score), _or_impossible(log_prob)

    return judged


def _or_impossible(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), -np.inf, values)


def _beside_log_prob(run: Run, part: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Scorer:
    """Return the score `part(rows, log p)`, -inf where log p is."""

    def judge(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_prob = _or_impossible(run.density.log_prob(matrix)[0])
        with np.errstate(invalid="ignore"):  # -inf less -inf
            score = part(matrix, log_prob)
        return np.where(np.isneginf(log_prob), -np.inf, score), log_prob

    return judge


def _part(
    run: Run, score: str, background: Run | None
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    if score == "log-prob":
        return lambda _, log_prob: log_prob
    if score == "typicality":
        entropy = _entropy(run)
        return lambda _, log_prob: -np.abs(log_prob + entropy)
    if score == "ratio":
        base = _baseline(run, background)
        return lambda matrix, log_prob: log_prob - _or_impossible(base(matrix))
    other = _reconstruction(run) if score == "reconstruction" else _latent(run)
    return lambda matrix, _: other(matrix)


def _entropy(run: Run) -> float:
    """Return H, nats: minus the mean log p of samples, whole numbers and grids as in the data."""
    rows = run.density.sample(SAMPLES, _SEED)
    for j in run.schema.continuous:
        rows[:, j] = np.asarray(run.schema.columns[j].decode(rows[:, j]), np.float64)
    log_prob, _ = run.density.log_prob(rows)
    finite = log_prob[np.isfinite(log_prob)]
    if not len(finite):
        raise InputError(
            "the model gives its own samples no density",
            str(run.folder),
            "use another --score, or train longer",
        )
    return -float(np.mean(finite))


def _baseline(run: Run, background: Run | None) -> _Part:
    if background is None:
        return run.baseline_log_prob
    translate = _translation(run, background)
    return lambda matrix: background.density.log_prob(translate(matrix))[0]


def _translation(run: Run, other: Run) -> _Part:
    """Return the map from the run's encoded rows to those of another run with the same columns."""
    mine = {column.name: column for column in run.schema.columns}
    odd = sorted(set(mine) ^ set(other.schema.names))
    if odd:
        raise InputError(
            f"column {odd[0]!r} is not in both runs",
            "--background",
            "give a run of a table with the same columns",
        )
    places = [run.schema.names.index(name) for name in other.schema.names]
    codes = {}
    for k, column in enumerate(other.schema.columns):
        own = mine[column.name]
        if not _goes_with(own, column):
            raise InputError(
                f"column {column.name!r} has not the type, or not the levels, of the run's",
                "--background",
                "give a run that was trained on such a column with every level",
            )
        if own.levels:
            codes[k] = np.array([column.levels.index(level) for level in own.levels], float)

    def translate(matrix: np.ndarray) -> np.ndarray:
        out = matrix[:, places]
        for k, table in codes.items():
            gaps = np.isnan(out[:, k])
            out[:, k] = np.where(gaps, np.nan, table[np.where(gaps, 0, out[:, k]).astype(int)])
        if not other.takes_missing and np.isnan(out).any():
            raise InputError(
                "the background cannot score rows with missing cells",
                "--background",
                "give a run of --model vae or iwae, or fill the cells in",
            )
        return out

    return translate


def _goes_with(mine: Column, theirs: Column) -> bool:
    """Return whether every value of a column is one of the other, numbers or texts."""
    if mine.levels or theirs.levels:
        return bool(mine.levels) and set(mine.levels) <= set(theirs.levels)
    texts = [isinstance(column.value, str) for column in (mine, theirs)]
    return mine.value == theirs.value if any(texts) else True


def _reconstruction(run: Run) -> _Part:
    density = run.density
    if not isinstance(density, TableLatent):
        raise InputError(
            f"a {run.spec['model']} has no decoder, so that no row is reconstructed",
            "--score reconstruction",
            "give a run of --model vae or iwae, or another --score",
        )

    def part(matrix: np.ndarray) -> np.ndarray:
        vectors = density.vectors(matrix)
        return _latent_parts(density, vectors)[0] + density.log_det(vectors)

    return part


def _latent(run: Run) -> _Part:
    density = run.density
    if isinstance(density, TableLatent):
        return lambda matrix: -_latent_parts(density, density.vectors(matrix))[1]
    flow = density.flow if isinstance(density, TablePool) else density
    if not run.schema.continuous:
        raise InputError(
            "no column is numeric, so that there is no noise behind a row",
            "--score latent",
            "use another --score",
        )
    return lambda matrix: _noise_log_prob(flow, matrix)


def _noise_log_prob(density: TableDensity, matrix: np.ndarray) -> np.ndarray:
    """Return log p_Z(z) `(n,)`, nats, of an equal mixture where the density is one."""
    vectors = density.preprocess.forward(matrix)
    parts = [
        np.asarray(_noise_block(density.members, jnp.asarray(block)), np.float64)[:n]
        for block, n in row_blocks(vectors, block_rows(density.members))
    ]
    return np.concatenate([np.zeros(0), *parts])


@eqx.filter_jit
def _noise_block(members: PyTree, vectors: Array) -> Array:
    def one(member: PyTree, x: Array) -> Array:
        flow, context = member.flow, None
        if member.categories is not None:
            context = member.categories.one_hot(x[flow.base.dim :])
        z, _ = flow.bijection.inverse_and_log_det(x[: flow.base.dim], context)
        return flow.base.log_prob(z)

    each = eqx.filter_vmap(lambda member: jax.vmap(lambda x: one(member, x))(vectors))(members)
    return jax.nn.logsumexp(each, axis=0) - jnp.log(each.shape[0])


def _latent_parts(density: TableLatent, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return estimates of E_q log p(x | z) and KL(q ‖ p(z)), `(n,)` each, nats, model units."""
    safe = np.where(density.model.likelihood.observation.possible(vectors), vectors, np.nan)
    if not len(safe):
        return np.zeros(0), np.zeros(0)
    size = rows_at_once(density.model, safe.shape[1])
    parts = [
        np.asarray(_latent_block(density.model, row_keys(block, density.seed), block))[:, :n]
        for block, n in row_blocks(safe, size)
    ]
    made, code = np.concatenate(parts, axis=1).astype(np.float64)
    return made, code


@eqx.filter_jit
def _latent_block(model: Latent, keys: Key, rows: Array | np.ndarray) -> Array:
    """Return both parts `(2, R)` of rows `(R, D)`, each a mean of `PARTICLES` draws of q."""
    prior = model.prior.distribution(model.posterior)

    def one(key: Key, x: Array) -> Array:
        draw = jax.random.fold_in(key, _DRAWS)
        z, log_q = model.posterior(x).sample_and_log_prob(draw, PARTICLES)
        made = jax.vmap(lambda zk: model.likelihood.log_prob(x, zk))(z)
        code = log_q - jax.vmap(prior.log_prob)(z)
        return jnp.stack([jnp.mean(made), jnp.mean(code)])

    return jax.vmap(one)(keys, jnp.asarray(rows)).T
