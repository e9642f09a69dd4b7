r"""The figures of a trained GAN: how far apart its samples and held-out rows are.

A discriminator is trained anew between data rows and samples, and judged on rows of both that have
taken no part. Rows are compared as their table holds them (integers whole, grids snapped to), seen
through the map to examples: there no scale is too small to be seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jensen.data.schema import Schema
from jensen.data.split import Split
from jensen.evaluation.discriminator import MIN_ROWS, train_discriminator
from jensen.evaluation.samples import mmd
from jensen.fitting.pair import TableGAN

_MOST_ROWS = 5000
_MOST_MMD_ROWS = 2000
_FEWEST_PER_PART = 2
_HIDDEN = (128, 128)
_UNKNOWN = ("jsd", "se", "p_value", "normalisation", "mmd", "mmd_p_value")


def gan_figures(gan: TableGAN, matrix: np.ndarray, split: Split, seed: int) -> dict[str, Any]:
    """Return how well samples and a table's calibration rows are told apart.

    The discriminator trains on training rows and is stopped by validation rows; calibration rows
    neither trained the GAN nor chose its weights. Each part meets as many samples.

    Args:
        gan: the trained pair.
        matrix: encoded rows `(n, columns)` of the whole table.
        split: of these rows.
        seed: of the samples and the discriminator.

    Returns:
        `validation`, see `judged`; n is the number of calibration rows.
    """
    parts = [part[:_MOST_ROWS] for part in (split.train, split.validation, split.calibration)]
    sizes = [len(part) for part in parts]
    if sum(sizes) < MIN_ROWS or min(sizes) < _FEWEST_PER_PART:
        return {"validation": {**dict.fromkeys(_UNKNOWN, math.nan), "kind": "none", "n": sizes[2]}}
    folds = np.repeat([0, 1, 2], sizes)
    return {"validation": judged(gan, matrix[np.concatenate(parts)], seed, folds)}


def judged(
    gan: TableGAN, rows: np.ndarray, seed: int, folds: np.ndarray | None = None
) -> dict[str, Any]:
    """Return how well rows and as many samples are told apart.

    Args:
        gan: the trained pair.
        rows: encoded rows `(n, columns)`.
        seed: of the samples and the discriminator.
        folds: 0, 1 or 2 for rows that train, stop and judge `(n,)`; at random if None.

    Returns:
        `jsd` (nats, a held-out lower bound, cut to [0, log 2]), its standard error `se`, `p_value`
        of "no difference", `normalisation` (E_q[ratio], 1 where the samples cover the data and the
        ratio is right), `mmd` (MMD² of the judging rows, 0 on average where nothing differs) with
        its `mmd_p_value`, `kind`, and `n` judging rows.

    Raises:
        InputError: for fewer than 20 rows.
    """
    real = gan.vectors(rows, seed)
    fake = gan.vectors(as_in_table(gan.preprocess.schema, gan.sample(len(rows), seed)), seed + 1)
    found = train_discriminator(
        real,
        fake,
        seed=seed,
        hidden=_HIDDEN,
        folds=None if folds is None else np.tile(folds, 2),
    )
    of_real, of_fake = np.split(found.folds == 2, 2)
    distance = mmd(real[of_real][:_MOST_MMD_ROWS], fake[of_fake][:_MOST_MMD_ROWS], seed=seed)
    return {
        "jsd": found.jsd,
        "se": found.se,
        "p_value": found.p_value(seed),
        "normalisation": found.normalisation.value,
        "mmd": distance.squared,
        "mmd_p_value": distance.p_value,
        "kind": "held-out lower bound",
        "n": int(of_real.sum()),
    }


def as_in_table(schema: Schema, rows: np.ndarray) -> np.ndarray:
    """Return sampled encoded rows as a reader of their table sees them: whole numbers whole."""
    out = rows.copy()
    for j in schema.continuous:
        out[:, j] = np.asarray(schema.columns[j].decode(rows[:, j]), np.float64)
    return out
