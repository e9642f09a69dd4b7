"""log Z of densities whose integral is known, by flows fitted with reverse KL: error in its errors.

    python benchmarks/targets.py [--epochs 20] [--seeds 3]

One line a fit: how far log Ẑ is from the truth in its own standard errors, and whether the verdict
trusts it. A trusted figure more than 3 errors off is a failure.
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from jensen.fitting import fit_log_density

LOG_Z = 1.7


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


def main() -> None:
    """Print the table."""
    told = argparse.ArgumentParser()
    told.add_argument("--epochs", type=int, default=20)
    told.add_argument("--seeds", type=int, default=3)
    asked = told.parse_args()
    print(
        "| target | D | seed | log Ẑ - log Z | se | off/se | ESS | k-hat | missed | trusted | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for seed in range(asked.seeds):
        for dim in (2, 5, 10):
            cases = {
                f"{k} modes, {r:g} from 0": mixture(dim, k, r) for k, r in ((2, 3), (4, 6), (8, 9))
            }
            for name, log_density in {**cases, "funnel": funnel(dim)}.items():
                began = time.monotonic()
                fit = fit_log_density(log_density, dim, seed=seed, epochs=asked.epochs)
                found = fit.certificate
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
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
