"""log Z of densities whose integral is known, by flows fitted with reverse KL: error in its errors.

    python benchmarks/targets.py [--epochs 20] [--seeds 3] [--dims 2 5 10]

One line a fit: how far log Ẑ is from the truth in its own standard errors, and whether the verdict
trusts it. A trusted figure more than 3 errors off is a failure. Writes a section of `density.md`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from density_page import put_section
from flows import machine

from jensen.fitting import fit_log_density
from jensen.objectives.reverse import LogDensity

LOG_Z = 1.7

SECTION = """## Reverse KL: log Z of densities whose integral is known

Made by `benchmarks/targets.py`: {date}, {cpu}, {cores} cores, {system}, Python {python}.

Mixtures of normal laws of unit variance with means as far from 0 as said, and Neal's funnel.
Defaults of `jensen.fit_log_density` but {epochs} epochs. *Trusted* is the verdict; a trusted figure
more than 3 of its standard errors off is a failure: {failures} of {n} fits.
"""


def mixture(dim: int, n_modes: int, distance: float):
    """Return log p̃ of normal laws with unit variance, their means `distance` away from 0."""
    random = np.random.default_rng(1000 * dim + n_modes)
    means = random.normal(size=(n_modes, dim))
    means *= distance / np.linalg.norm(means, axis=1, keepdims=True)
    means, log_w = jnp.asarray(means), jnp.log(jnp.asarray(random.dirichlet(np.full(n_modes, 5.0))))

    def log_density(x):
        each = log_w - 0.5 * jnp.sum((x - means) ** 2, axis=1)
        return jax.nn.logsumexp(each) - 0.5 * dim * jnp.log(2 * jnp.pi) + LOG_Z

    return log_density


def funnel(dim: int):
    """Return log p̃ of Neal's funnel: v ~ N(0, 9), the other entries N(0, exp(v))."""

    def log_density(x):
        v, rest = x[0], x[1:]
        squares = v**2 / 9.0 + jnp.sum(rest**2) * jnp.exp(-v)
        scales = jnp.log(3.0) + 0.5 * (dim - 1) * v
        return -0.5 * squares - scales - 0.5 * dim * jnp.log(2 * jnp.pi) + LOG_Z

    return log_density


CASES: dict[str, Callable[[int], LogDensity]] = {
    "2 modes, 3 from 0": lambda dim: mixture(dim, 2, 3),
    "4 modes, 6 from 0": lambda dim: mixture(dim, 4, 6),
    "8 modes, 9 from 0": lambda dim: mixture(dim, 8, 9),
    "funnel": funnel,
}
COLUMNS = "target | D | seed | log Ẑ - log Z | se | off/se | ESS | k-hat | missed | trusted | s"


def row(name: str, log_density: LogDensity, dim: int, seed: int, epochs: int) -> tuple[str, bool]:
    """Fit a density; return its row, and whether a trusted figure is more than 3 errors off."""
    began = time.monotonic()
    found = fit_log_density(log_density, dim, seed=seed, epochs=epochs).certificate
    off = found.log_z - LOG_Z
    cells = [
        name,
        f"{dim}",
        f"{seed}",
        f"{off:+.4f}",
        f"{found.se:.4f}",
        f"{off / found.se:+.1f}",
        f"{found.ess / found.n:.0%}",
        f"{found.pareto_k:.2f}",
        f"{found.missed:.2%}",
        "yes" if found.trusted else "no",
        f"{time.monotonic() - began:.0f}",
    ]
    return f"| {' | '.join(cells)} |", found.trusted and abs(off) > 3 * found.se


def main() -> None:
    """Print the table, and write its section of the page."""
    told = argparse.ArgumentParser()
    told.add_argument("--epochs", type=int, default=20)
    told.add_argument("--seeds", type=int, default=3)
    told.add_argument("--dims", type=int, nargs="+", default=[2, 5, 10])
    asked = told.parse_args()
    lines, failures = [f"| {COLUMNS} |", "|---" * 11 + "|"], 0
    print("\n".join(lines), flush=True)
    for dim in asked.dims:
        for name, make in CASES.items():
            log_density = make(dim)  # one function, so that all seeds share their programs
            for seed in range(asked.seeds):
                line, failed = row(name, log_density, dim, seed, asked.epochs)
                lines, failures = [*lines, line], failures + failed
                print(line, flush=True)
    about = SECTION.format(epochs=asked.epochs, n=len(lines) - 2, failures=failures, **machine())
    put_section(Path(__file__).parent / "density.md", "\n".join([about, *lines]))


if __name__ == "__main__":
    main()
