"""What short compilation wins and costs: `jensen._xla.compile_quickly` against XLA as it is.

    python benchmarks/compile.py

Each setting has a process of its own, without a cache of programs. Seconds are those of the clock:
to compile one program, and the best of five for one run of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SETTINGS = {
    "as it is": "",
    "older emitters": "--xla_cpu_use_fusion_emitters=false",
    "and level 1": "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1",
}


def measured(name: str, function: Callable[..., Any], *given: Any) -> None:
    """Print the seconds to compile a function and to run it."""
    import equinox as eqx
    import jax

    began = time.perf_counter()
    program = eqx.filter_jit(function).lower(*given).compile()
    compiled, runs = time.perf_counter() - began, []
    for _ in range(6):
        began = time.perf_counter()
        jax.block_until_ready(jax.tree.leaves(eqx.filter(program(*given), eqx.is_array)))
        runs.append(time.perf_counter() - began)
    print(f"| {name} | {compiled:.2f} | {1000 * min(runs[1:]):.2f} |", flush=True)


def programs() -> None:
    """Compile and run training steps and scoring of flows and networks."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from jensen.models.flow import RealNVP, SplineAutoregressive, SplineCoupling
    from jensen.models.image import MultiscaleFlow
    from jensen.nn.mlp import MLP

    jax.config.update("jax_enable_compilation_cache", False)
    key = jax.random.key(0)

    def score(flow: Any, x: jax.Array) -> jax.Array:
        return jax.vmap(flow.log_prob)(x)

    step = eqx.filter_value_and_grad(lambda flow, x: -jnp.mean(score(flow, x)))
    fit = eqx.filter_value_and_grad(lambda f, x: jnp.mean((jax.vmap(f)(x) - x) ** 2))

    def rows(n: int, dim: int) -> jax.Array:
        return jax.random.normal(key, (n, dim))

    spline = SplineAutoregressive(key, 20, n_layers=4, hidden=(64, 64), linear=True)
    image = MultiscaleFlow(key, (28, 28), n_layers=2, width=48)
    measured("step, spline autoregressive, 256 × 20", step, spline, rows(256, 20))
    measured("step, spline couplings, 256 × 6", step, SplineCoupling(key, 6), rows(256, 6))
    measured("step, RealNVP, 256 × 20", step, RealNVP(key, 20), rows(256, 20))
    measured("step, image flow, 64 of 28×28", step, image, rows(64, 784))
    measured("step, 784-500-500-784, 200 rows", fit, MLP(key, 784, 784, (500, 500)), rows(200, 784))
    measured("scores, spline autoregressive, 8192 × 20", score, spline, rows(8192, 20))
    measured("scores, RealNVP, 8192 × 20", score, RealNVP(key, 20), rows(8192, 20))


def main() -> None:
    """Run every setting in turn."""
    for name, flags in SETTINGS.items():
        print(f"\n{name}\n\n| program | compile, s | run, ms |\n| --- | --- | --- |", flush=True)
        environment = {**os.environ, "XLA_FLAGS": flags}
        subprocess.run([sys.executable, __file__, "programs"], env=environment, check=True)


if __name__ == "__main__":
    programs() if sys.argv[1:] else main()
