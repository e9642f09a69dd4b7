"""Ridge-penalised logistic regression: jensen's dual solver and scikit-learn's solvers.

    {"op": "versions"}
    {"op": "solve", "solver", "data", "ridge", "tol"}    seconds, processor seconds (cpu), weights

`solver` is "dual" or one of LogisticRegression's; `tol` None leaves its tolerance and its limit of
iterations at their defaults. The objective is c/2 ‖w‖² + mean softplus(-y wᵀx): C = 1/(c n).
"""

from __future__ import annotations

import time
import warnings
from importlib.metadata import version

import numpy as np
from serve import answer_lines
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from jensen.games.dual import solve_discriminator


def solve(solver: str, data: str, ridge: float, tol: float | None) -> dict:
    """Solve one problem, and time it from the arrays to the weights."""
    with np.load(data) as file:
        rows, labels = file["rows"], file["labels"]
    limits = {} if tol is None else {"tol": tol, "max_iter": 10_000}
    start, cpu = time.perf_counter(), time.process_time()
    if solver == "dual":
        found = solve_discriminator(rows, labels, ridge)
        spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        reached = {"steps": found.steps, "dual_value": found.dual_value, "gap": found.gap}
        return {"weights": found.weights.tolist(), **reached, **spent}
    model = LogisticRegression(
        C=1 / (ridge * len(rows)), fit_intercept=False, solver=solver, **limits
    )
    with warnings.catch_warnings():
        # at the tightest tolerances a line search ends at rounding: the objective tells
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, labels)
    spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    return {"weights": model.coef_[0].tolist(), "steps": int(model.n_iter_[0]), **spent}


if __name__ == "__main__":
    packages = ("jensen", "jax", "scikit-learn", "scipy", "numpy")
    answer_lines({"versions": lambda: {p: version(p) for p in packages}, "solve": solve})
