"""Jensen's `fit_table` on MINIBOONE: what `jensen fit` calls, with the rows of the benchmark."""

from __future__ import annotations

import time
from importlib.metadata import version

import numpy as np
from serve import answer_lines

from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.data.split import Split
from jensen.fitting import Recipe, fit_table


def fit(data: str, setting: dict, seed: int, out: str) -> dict:
    """Fit one flow; write the log-likelihoods of the validation and the test rows.

    Args:
        data: a `.npz` with `train`, `validation` and `test`.
        setting: of `Recipe`.
        seed: of the fit.
        out: where the log-likelihoods go.
    """
    start, raw = time.perf_counter(), np.load(data)
    schema, rows = read(open_table(np.concatenate([raw["train"], raw["validation"]])))
    n = len(raw["train"])
    split = Split(np.arange(n), np.arange(n, len(rows)), np.arange(0))
    recipe = Recipe.from_settings({**setting, "members": 1})
    density, result = fit_table(schema, rows, recipe, seed=seed, split=split)
    found = {name: density.log_prob(raw[name])[0] for name in ("validation", "test")}
    np.savez(out, **found)
    return {
        "validation": float(found["validation"].mean()),
        "epochs": round(result.metrics[-1]["epoch"]),
        "seconds": time.perf_counter() - start,
    }


if __name__ == "__main__":
    names = ("jensen", "jax", "jaxlib", "equinox", "optax", "numpy")
    answer_lines({"versions": lambda: {name: version(name) for name in names}, "fit": fit})
