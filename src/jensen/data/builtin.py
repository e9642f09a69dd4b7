"""Real tables that scikit-learn carries, without their labels.

===============  =======  ================================================================
name             columns  parts
===============  =======  ================================================================
`digits`         8 × 8    `train`, `test`
`iris`           4        `train`, `test`
`breast-cancer`  30       `train`, `test`, `normal` (benign), `anomaly` (malignant)
`wine`           13       `train`, `test`, `normal` (cultivars 2, 3), `anomaly` (cultivar 1)
===============  =======  ================================================================

Without a part all rows come in scikit-learn's order. `train` and `test` are 70% and 30% of one
fixed shuffle, of the normal rows only where normal is known. `wine` is used as outlier benchmarks
use it: one cultivar against the other two.
"""

from __future__ import annotations

import numpy as np

from jensen._errors import InputError, nearest
from jensen.data.images import array_source
from jensen.data.table import Source, batch_of
from jensen.data.toys import TEST_ROWS, TEST_SEED, TOYS, TRAIN_ROWS, TRAIN_SEED

_SHUFFLE_SEED = 20240229
_TRAIN_SHARE = 0.7
_LOADERS = {
    "digits": ("load_digits", None),
    "breast-cancer": ("load_breast_cancer", (1,)),
    "wine": ("load_wine", (1, 2)),
    "iris": ("load_iris", None),
}
_SPLIT: tuple[str, ...] = ("train", "test")

BUILTIN: dict[str, tuple[str, ...]] = {
    **{
        name: _SPLIT if normal is None else (*_SPLIT, "normal", "anomaly")
        for name, (_, normal) in _LOADERS.items()
    },
    **dict.fromkeys(TOYS, _SPLIT),
}
"""The names of the built-in sets and the parts each has."""


def builtin_source(name: str, part: str | None = None) -> Source:
    """Open a built-in set.

    Args:
        name: one of `BUILTIN`.
        part: one of the parts of this set; without it all rows (of a made set, the training rows).

    Returns:
        The rows without labels, in the types they are published in.

    Raises:
        InputError: there is no such set, or it has no such part.

    Example:
        >>> builtin_source("breast-cancer", "anomaly").n_rows
        212
    """
    if name not in BUILTIN:
        raise InputError(
            f"no built-in data set {name!r}{nearest(name, BUILTIN)}",
            "",
            f"give a path, or one of: {', '.join(BUILTIN)}",
        )
    if part is not None and part not in BUILTIN[name]:
        raise InputError(
            f"the built-in set {name!r} has no part {part!r}{nearest(part, BUILTIN[name])}",
            "",
            f"its parts are: {', '.join(f'{name}:{p}' for p in BUILTIN[name])}",
        )
    label = f"{name}:{part}" if part else name
    if name in TOYS:
        seed, rows = (TEST_SEED, TEST_ROWS) if part == "test" else (TRAIN_SEED, TRAIN_ROWS)
        return array_source(TOYS[name].sample(seed, rows), label)
    return _real(name, part, label)


def _real(name: str, part: str | None, label: str) -> Source:
    from sklearn import datasets

    function, normal_classes = _LOADERS[name]
    bunch = getattr(datasets, function)()
    normal = np.isin(bunch.target, normal_classes) if normal_classes else np.ones(len(bunch.data))
    rows = _rows(part, np.asarray(normal, bool))
    if name == "digits":
        return array_source(bunch.images[rows].astype(np.int64), label)
    names = tuple(map(str, bunch.feature_names))
    table = bunch.data[rows]
    return Source(
        label,
        names,
        lambda size: (batch_of(table[i : i + size], names) for i in range(0, len(table), size)),
        n_rows=len(table),
    )


def _rows(part: str | None, normal: np.ndarray) -> np.ndarray:
    """Return the row numbers of a part."""
    if part is None:
        return np.arange(len(normal))
    if part in ("normal", "anomaly"):
        return np.flatnonzero(normal == (part == "normal"))
    shuffled = np.random.default_rng(_SHUFFLE_SEED).permutation(np.flatnonzero(normal))
    cut = round(_TRAIN_SHARE * len(shuffled))
    return shuffled[:cut] if part == "train" else shuffled[cut:]
