r"""Several families on one split of a table, judged on rows that none of them has seen.

    log p     mean over the test rows, nats, data units; its error is sd/√n
    JSD       held-out lower bound between test rows and as many samples, by a fresh classifier
    MMD²      the same rows, standardised; coverage: test rows with a sample in their neighbourhood

Figures of log p are on one measure: the density of continuous numbers, the average density over the
cell of a number known to a resolution (for integers the probability of the value), the probability
of a level. So differences are taken row by row, and their error is that of their mean. The training
rows stand beside the models' samples: they have the law of the test rows.

Every family has a process of its own: its memory is the largest resident set of that process until
the fit was done, with the libraries and the table in it. Its time is that of the clock, with
compilation, and families that are fitted side by side slow each other down.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from jensen._errors import InputError, JensenError
from jensen.data.missing import count_missing
from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import Schema, read
from jensen.data.source import open_table
from jensen.data.split import Split, check_seed, split_rows
from jensen.engine.state import steps_per_epoch
from jensen.evaluation.baselines import BASELINES
from jensen.evaluation.discriminator import MIN_ROWS, train_discriminator
from jensen.evaluation.likelihood import mean_and_error
from jensen.evaluation.samples import mmd, precision_recall
from jensen.fitting import TableGAN, family_named
from jensen.fitting.judge import as_in_table
from jensen.fitting.recipe import Recipe
from jensen.parallel import apart, processors

WIDE = {"flow": 10, "vae": 40, "iwae": 40, "gan": 40}
"""Columns from which a network's step costs as its columns do."""
NETWORKS = tuple(WIDE)
ORACLE = "training rows"
"""What samples are compared with: real rows that are no test rows."""
ROWS = 20_000
"""Rows of a table that are looked at."""
STEPS, FEWEST_STEPS = 2400, 300
"""Steps of a network at most, where no number of epochs is asked for: of up to as many columns as
are `WIDE`, and in any case."""

_SEEN_ROWS = 2000  # test rows that MMD and coverage look at
_NEIGHBOUR = 5
_FEWEST = 3


@dataclass(frozen=True)
class Judged:
    """What one family came to; nats, data units.

    Args:
        name: of the family.
        reason: why there are no figures; empty where there are.
        chosen: what was chosen for this table, in words.
        kind: of its log p: `exact`, `iwae` (a lower bound in expectation) or `none`.
        rows: log p of each test row `(n,)`; None where there is no density.
        row_se: mean Monte Carlo error of one row's figure.
        samples: `jsd`, `se`, `mmd`, `mmd_p_value`, `coverage`, `n`; empty where there are too few
            test rows, or test rows with missing cells.
        seconds: of the fit, with compilation.
        memory: of its process until then, MiB; NaN where the system does not say.
    """

    name: str
    reason: str = ""
    chosen: str = ""
    kind: str = "none"
    rows: np.ndarray | None = field(default=None, repr=False)
    row_se: float = 0.0
    samples: dict[str, float] = field(default_factory=dict)
    seconds: float = math.nan
    memory: float = math.nan

    @property
    def log_prob(self) -> tuple[float, float]:
        """The mean log p of the test rows and its standard error; NaN where there is none."""
        return (math.nan, math.nan) if self.rows is None else mean_and_error(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows as plain data."""
        mean, se = self.log_prob
        return {
            "model": self.name,
            "reason": self.reason,
            "chosen": self.chosen,
            "log_prob": {"mean": mean, "se": se, "kind": self.kind, "row_se": self.row_se},
            "samples": self.samples,
            "seconds": self.seconds,
            "memory_mib": self.memory,
        }


@dataclass(frozen=True)
class Setting:
    """What every family is given: one table, one split, one seed.

    Args:
        schema: the columns.
        matrix: encoded rows `(n, columns)`, NaN where a cell is missing.
        split: training, validation and test rows (`calibration`).
        seed: all randomness.
        settings: name → value, of all networks, such as `epochs`.
    """

    schema: Schema
    matrix: np.ndarray
    split: Split
    seed: int
    settings: dict[str, Any]

    @property
    def test(self) -> np.ndarray:
        """The test rows `(n, columns)`, encoded."""
        return self.matrix[self.split.calibration]


@dataclass(frozen=True)
class Comparison:
    """All families on one table.

    Args:
        data: the label of the table.
        sizes: rows that train, validate and test.
        models: what each came to; the last is `ORACLE`.
        notes: what is worth knowing of the table.
        jobs: families that were fitted at a time.
        seconds: that everything took.
    """

    data: str
    sizes: tuple[int, int, int]
    models: list[Judged]
    notes: list[str]
    jobs: int
    seconds: float


def compare(
    data: Any,
    *,
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    families: Sequence[str] = (*NETWORKS, *BASELINES),
    most_rows: int = ROWS,
    jobs: int | None = None,
    told: Callable[[Judged], None] | None = None,
) -> Comparison:
    """Fit several families to the training rows of a table, and judge each on its test rows.

    Args:
        data: anything `jensen.open_table` opens.
        seed: of the split and of every fit.
        settings: name → value that all networks have, such as `epochs`.
        families: names of networks and of `BASELINES`.
        most_rows: of the table that are looked at; of a larger one as many are drawn.
        jobs: families that are fitted at a time; None for one per processor. Figures are the same,
            times are not.
        told: called with each family as it is done.

    Returns:
        The figures. A family that cannot take the table has a `reason` in their place.

    Raises:
        InputError: for data, a seed, settings or numbers of rows or jobs that cannot be used.
    """
    began = time.monotonic()
    check_seed(seed)
    settings = settings or {}
    for name in families:
        if name in NETWORKS:
            family_named(name).recipe(settings)
    source = open_table(data)
    schema, matrix = read(source, missing=True)
    n_rows = len(matrix)
    if n_rows < _FEWEST:
        raise InputError(f"there are only {n_rows} rows", source.label, "give hundreds, at least 3")
    if most_rows < _FEWEST:
        raise InputError(f"rows is {most_rows}", "compare", "use thousands, at least 3")
    if n_rows > most_rows:
        drawn = np.random.default_rng([seed, 2]).choice(n_rows, most_rows, replace=False)
        matrix = matrix[np.sort(drawn)]
    split = split_rows(len(matrix), seed, calibrate=True)
    setting = Setting(schema, matrix, split, seed, settings)
    found: dict[str, Judged] = {}
    names, jobs = [*families, ORACLE], processors() if jobs is None else jobs
    with closing(apart(partial(judge, setting), names, jobs)) as results:
        for name, result in results:
            found[name] = _settled(name, result)
            if told is not None:
                told(found[name])
    sizes = len(split.train), len(split.validation), len(split.calibration)
    models, notes = [found[name] for name in names], _notes(setting, n_rows)
    return Comparison(source.label, sizes, models, notes, jobs, time.monotonic() - began)


def judge(setting: Setting, name: str) -> Judged:
    """Fit one family and judge it on the test rows.

    Raises:
        InputError: if it cannot take the table.
    """
    if name == ORACLE:
        train = setting.split.train
        drawn = np.random.default_rng([setting.seed, 1]).permutation(train)
        return Judged(name, samples=_samples(setting, setting.matrix[drawn[: len(setting.test)]]))
    began = time.monotonic()
    fit = _baseline if name in BASELINES else _network
    model, chosen = fit(setting, name)
    seconds, memory = time.monotonic() - began, _memory()
    rows, kind, error = None, "none", 0.0
    if not isinstance(model, TableGAN):
        rows, each = model.log_prob(setting.test)
        kind, error = model.kind, float(np.mean(each))
    drawn = model.sample(len(setting.test), setting.seed)
    samples = _samples(setting, as_in_table(setting.schema, drawn))
    return Judged(name, "", chosen, kind, rows, error, samples, seconds, memory)


def _network(setting: Setting, name: str) -> tuple[Any, str]:
    """Return a trained network, and what was chosen for the table."""
    family = family_named(name)
    if not family.takes_missing:
        _check_complete(setting, name)
    start = family.recipe(setting.settings)
    split, matrix = setting.split, setting.matrix
    schema = family.columns(setting.schema, start)
    recipe = family.chosen_for(start, schema, len(split.train))
    family.check(schema, matrix, recipe, split)
    most = most_steps(name, len(schema.columns))
    recipe, cut = _cut(recipe, split, most) if start.training.epochs is None else (recipe, False)
    model, result = family.fit(schema, matrix, recipe, seed=setting.seed, split=split)
    ended = "steps of a comparison used up" if cut else "epochs used up"
    ended = "stopped by validation" if result.stopped_early else ended
    density = model if isinstance(model, TableGAN) else model.density
    return density, f"{result.steps:,} steps, {ended}"


def most_steps(name: str, n_columns: int) -> int:
    """Return how many steps a network makes at most: half of them for twice the columns.

    Example:
        >>> [most_steps("flow", n) for n in (6, 20, 2000)]
        [2400, 1200, 300]
    """
    return max(round(STEPS * min(WIDE[name] / n_columns, 1.0)), min(STEPS, FEWEST_STEPS))


def _cut(recipe: Recipe, split: Split, steps: int) -> tuple[Recipe, bool]:
    """Return the recipe with at most so many steps, but one epoch, and whether it had more."""
    training = recipe.training
    per_epoch = steps_per_epoch(len(split.train), training.optimisation.batch_size)
    most = max(steps // per_epoch, 1)
    if training.most_steps(per_epoch) <= most * per_epoch:
        return recipe, False
    return replace(recipe, training=replace(training, epochs=most)), True


def _baseline(setting: Setting, name: str) -> tuple[Any, str]:
    _check_complete(setting, name)
    preprocess = fit_preprocess(setting.schema, setting.matrix[setting.split.train])
    return BASELINES[name](preprocess, setting.matrix, setting.split, setting.seed)


def _check_complete(setting: Setting, name: str) -> None:
    gaps = int(np.isnan(setting.matrix).sum())
    if gaps:
        raise InputError(
            f"{gaps} missing cells", name, "a vae or an iwae integrates over them; or fill them in"
        )


def _samples(setting: Setting, drawn: np.ndarray) -> dict[str, float]:
    """Return how samples `(m, columns)`, encoded, compare with the test rows."""
    test = setting.test
    if min(len(test), len(drawn)) < MIN_ROWS or np.isnan(test).any():
        return {}
    schema = setting.schema
    preprocess = fit_preprocess(schema, setting.matrix[setting.split.train])
    numbers = len(schema.continuous)

    def inputs(rows: np.ndarray) -> np.ndarray:
        vectors = preprocess.forward(rows)
        levels = [
            np.eye(len(schema.columns[j].levels), dtype="f4")[vectors[:, numbers + at].astype(int)]
            for at, j in enumerate(schema.categorical)
        ]
        return np.concatenate([vectors[:, :numbers], *levels], axis=1)

    real, fake = inputs(test), inputs(drawn)
    told = train_discriminator(real, fake, seed=setting.seed)
    seen, made = real[:_SEEN_ROWS], fake[:_SEEN_ROWS]
    distance = mmd(seen, made, seed=setting.seed, permutations=199)
    return {
        "jsd": told.jsd,
        "se": told.se,
        "mmd": distance.squared,
        "mmd_p_value": distance.p_value,
        "coverage": precision_recall(seen, made, _NEIGHBOUR).coverage,
        "n": len(test),
    }


def _memory() -> float:
    """Return the largest resident set of this process so far, MiB; NaN where no system says it."""
    if find_spec("resource") is None:  # Windows
        return math.nan
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _settled(name: str, result: Judged | Exception) -> Judged:
    if isinstance(result, Judged):
        return result
    what = str(result) if isinstance(result, JensenError) else repr(result)
    return Judged(name, reason=" ".join(what.split()))


def _notes(setting: Setting, n_rows: int) -> list[str]:
    """Return what is worth knowing of the table, of `n_rows`, before its figures are believed."""
    notes = []
    if n_rows > len(setting.matrix):
        notes.append(f"{len(setting.matrix):,} of {n_rows:,} rows, drawn at random: see --rows")
    gaps = count_missing(setting.schema, setting.matrix)
    if gaps.cells:
        notes.append(gaps.remark())
    train = {row.tobytes() for row in setting.matrix[setting.split.train]}
    copies = sum(row.tobytes() in train for row in setting.test)
    if copies:
        notes.append(
            f"{copies} of {len(setting.test)} test rows are copies of training rows: models that "
            "learn rows by heart gain by it"
        )
    if len(setting.test) < MIN_ROWS:
        notes.append(f"fewer than {MIN_ROWS} test rows: samples are not judged")
    return notes
