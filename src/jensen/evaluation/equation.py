r"""What a continuous flow's log p owes to the solver of its equation.

    e_i = log p̂(x_i) − log p(x_i)

log p̂ is the figure that users get: in single precision, to the flow's tolerance, with its probes if
it has any; log p that of the same field in double precision, to a tolerance a thousand times
tighter, with the exact divergence.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from jensen.evaluation.likelihood import mean_and_error
from jensen.models.continuous import equation_of, solved
from jensen.models.table import TableDensity, score_block

_ROWS = 256
_TIGHTER = 1e-3


def equation_error(density: TableDensity, matrix: np.ndarray) -> dict[str, Any] | None:
    """Return how a continuous flow is solved, and the error of log p that this leaves.

    Args:
        density: a trained density; for one without an equation the answer is None.
        matrix: encoded rows `(n, columns)`; at most 256 of them, evenly spread, are solved again.

    Returns:
        `tolerance`, `divergence` (`exact` or `hutchinson`), `probes`, and `log_prob_error`: `mean`
        of e with its standard error `se`, `largest` of |e|, nats, and `n` rows; None where every
        row is impossible.
    """
    ode = equation_of(density.members)
    if ode is None:
        return None
    told = {
        "tolerance": ode.tolerance,
        "divergence": "hutchinson" if ode.probes else "exact",
        "probes": ode.probes,
    }
    possible = matrix[density.preprocess.possible(matrix)]
    if not len(possible):
        return {**told, "log_prob_error": None}
    rows = possible[np.unique(np.linspace(0, len(possible) - 1, _ROWS).astype(int))]
    error = density.log_prob(rows)[0] - _tightly(density, rows, _TIGHTER * ode.tolerance)
    mean, se = mean_and_error(error)
    largest = float(np.max(np.abs(error)))
    found = {"mean": mean, "se": se, "largest": largest, "n": len(rows)}
    return {**told, "log_prob_error": found}


def _tightly(density: TableDensity, rows: np.ndarray, tolerance: float) -> np.ndarray:
    """Return log p `(n,)` in double precision, to a tighter tolerance, with exact divergence."""
    vectors, noise = density.preprocess.forward(rows).astype(np.float64), density.noise()
    with jax.enable_x64(True):
        members = jax.tree.map(
            lambda a: a.astype(np.float64) if eqx.is_inexact_array(a) else a, density.members
        )
        members = solved(members, tolerance=tolerance, probes=0)
        value, _ = score_block(members, vectors, None if noise is None else noise.astype("f8"))
        return np.asarray(value) + density.preprocess.log_det
