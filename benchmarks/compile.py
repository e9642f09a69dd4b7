"""What short compilation wins and costs: `jensen._xla.compile_quickly` against XLA as it is.

    python benchmarks/compile.py

Each setting has a process of its own, without a cache of programs. Times are those of the clock: to
compile one program, and the best of five for one run of it. Writes `compile.md`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flows import machine

PAGE = """# What short compilation wins and costs

Made by `benchmarks/compile.py`; do not edit.

{date}, {cpu}, {cores} cores, {system}, Python {python}, jaxlib {jaxlib}.
Seconds to compile a program, and milliseconds of one run of it: XLA as it is; with the older
emitters; with them and LLVM's level 1, which is what training asks for everywhere, and `study`,
`verify` and `compare` for all their programs.

| program | compile, s | older emitters | and level 1 | run, ms | older emitters | and level 1 |
|---|---|---|---|---|---|---|
{table}
"""
EMITTERS = "--xla_cpu_use_fusion_emitters=false"
SETTINGS = "", EMITTERS, f"{EMITTERS} --xla_backend_optimization_level=1"


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
    print(f"{name}\t{compiled:.2f}\t{1000 * min(runs[1:]):.2f}", flush=True)


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
    small = MLP(key, 2, 2, (32, 32))
    measured("step, 2-32-32-2, 200 rows", fit, small, rows(200, 2))
    measured("step, 784-500-500-784, 200 rows", fit, MLP(key, 784, 784, (500, 500)), rows(200, 784))
    measured("scores, spline autoregressive, 8192 × 20", score, spline, rows(8192, 20))
    measured("scores, RealNVP, 8192 × 20", score, RealNVP(key, 20), rows(8192, 20))
    training()


def training() -> None:
    """Train two priors of the study for 400 steps: seconds of all compilation, and of the whole."""
    from jax import monitoring

    from jensen.studies import trainable_prior as study

    compiled = []

    def heard(event: str, duration: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(duration)

    monitoring.register_event_duration_secs_listener(heard)
    began, data = time.perf_counter(), study.clumps(0, 4000)
    for name in ("standard", "flow"):
        init = study.CurveInit(study.priors(data)[name])
        study.trained(init, data, study.LOSS, (400, 5e-3), 0)
    whole = time.perf_counter() - began
    name = "two trainings of `trainable-prior`, 400 steps (run: the whole, with compiling)"
    print(f"{name}\t{sum(compiled):.2f}\t{1000 * whole:.0f}", flush=True)


def main() -> None:
    """Run every setting in turn, and write the page."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for flags in SETTINGS:
        done = subprocess.run(
            [sys.executable, __file__, "programs"],
            env={**os.environ, "XLA_FLAGS": flags},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in done.stdout.splitlines():
            name, compiled, run = line.split("\t")
            rows.setdefault(name, []).append((compiled, run))
    table = "\n".join(
        f"| {name} | {' | '.join(c for c, _ in each)} | {' | '.join(r for _, r in each)} |"
        for name, each in rows.items()
    )
    page = PAGE.format(table=table, jaxlib=version("jaxlib"), **machine())
    Path(__file__).with_suffix(".md").write_text(page)


if __name__ == "__main__":
    programs() if sys.argv[1:] else main()
