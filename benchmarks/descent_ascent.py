"""Stochastic descent-ascent on robust logistic regression: jensen, numpy and PyTorch, one run.

    python benchmarks/descent_ascent.py --peers-python PEERS/bin/python

The same problem (N = 30, p = 20, λ = 30), the same start and the same rows in the same order; every
library ends at the same point, which is checked. PyTorch runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
EPOCHS, SLOW_EPOCHS = 5000, 60  # the peers' loops run fewer epochs: their time per step is constant
N, P, LAMBDA, ALPHA, BETA = 30, 20, 30.0, 0.3, 1e-4

PAGE = """# Descent-ascent on robust logistic regression

Made by `benchmarks/descent_ascent.py`; do not edit.

{date}, {cpu}, {cores} cores, {system}, Python {python}, jensen {jensen}, jax {jax}, numpy {numpy},
torch {torch}.

| | steps | first run, s | later runs, s | µs a step | times jensen's |
|---|---|---|---|---|---|
{table}

Protocol: {epochs:,} epochs of 30 steps, one row a step, both players from the same point, float64;
`jensen.play` records the players after every epoch. The first run includes compilation. The best of
{repeats} later runs counts. numpy and PyTorch (autograd, one thread, no optimiser object) are plain
loops of {slow_epochs} epochs over the same rows. All end within {gap:.0e} of each other after
{slow_epochs} epochs.
"""


def problem(epochs: int) -> tuple[np.ndarray, ...]:
    """Return X, Y, θ, φ and the row of each step."""
    random = np.random.RandomState(0)
    X = random.randn(N, P)
    Y = 2.0 * random.randint(2, size=N) - 1.0
    theta, phi = 0.1 * random.randn(P), 0.1 * random.randn(P)
    return X, Y, theta, phi, random.randint(N, size=epochs * N)


def run_numpy(X, Y, theta, phi, index):
    """Return the players after a plain loop, gradients by hand."""
    for i in index:
        margin = Y[i] * np.dot(X[i] - phi, theta)
        pull = Y[i] / (1.0 + np.exp(margin))
        slope = pull * theta - LAMBDA * phi
        theta = theta + ALPHA * pull * (X[i] - phi)
        phi = phi + BETA * slope
    return theta, phi


def run_torch(X, Y, theta, phi, index):
    """Return the players after a plain autograd loop."""
    import torch

    torch.set_num_threads(1)
    X, Y = torch.from_numpy(X), torch.from_numpy(Y)
    theta = torch.from_numpy(theta).requires_grad_()
    phi = torch.from_numpy(phi).requires_grad_()
    for i in index.tolist():
        loss = torch.nn.functional.softplus(-Y[i] * torch.dot(X[i] - phi, theta))
        loss = loss - LAMBDA / 2 * torch.dot(phi, phi)
        down, up = torch.autograd.grad(loss, (theta, phi))
        with torch.no_grad():
            theta -= ALPHA * down
            phi += BETA * up
    return theta.detach().numpy(), phi.detach().numpy()


def run_jensen(X, Y, theta, phi, index):
    """Return the players after `jensen.play`."""
    import jax

    from jensen.games.builtin import RobustLogistic
    from jensen.games.play import play

    with jax.enable_x64(True):
        path = play(
            RobustLogistic(X, Y, LAMBDA).sample,
            (theta, phi),
            step=(ALPHA, BETA),
            steps=len(index),
            every=N,
            data=(X, Y),
            index=index,
        )
        return tuple(np.asarray(player) for player in path.end)


RUNS = {"jensen": (run_jensen, EPOCHS), "numpy": (run_numpy, SLOW_EPOCHS)}
RUNS["torch"] = (run_torch, SLOW_EPOCHS)


def timed(name: str, repeats: int) -> dict:
    """Return the times of a library's runs, and where it is after SLOW_EPOCHS."""
    run, epochs = RUNS[name]
    inputs = problem(epochs)
    seconds = []
    for _ in range(1 + repeats):
        began = time.perf_counter()
        run(*(a.copy() for a in inputs))
        seconds.append(time.perf_counter() - began)
    X, Y, theta, phi, index = problem(EPOCHS)
    end = run(X, Y, theta, phi, index[: SLOW_EPOCHS * N])
    best = min(seconds[1:])
    return {
        "steps": epochs * N,
        "first": seconds[0],
        "later": best,
        "us": best / (epochs * N) * 1e6,
        "end": np.concatenate(end).tolist(),
    }


def main() -> None:
    """Run every library and write the table."""
    from flows import machine

    parser = argparse.ArgumentParser()
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker")
    options = parser.parse_args()
    if options.worker:
        json.dump(timed(options.worker, options.repeats), sys.stdout)
        return
    pythons = {"jensen": sys.executable, "numpy": sys.executable, "torch": options.peers_python}
    found = {}
    for name, python in pythons.items():
        command = [python, __file__, "--worker", name, "--repeats", str(options.repeats)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if name == "torch" else None
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found[name] = json.loads(done.stdout)
    gap = max(np.abs(np.subtract(f["end"], found["numpy"]["end"])).max() for f in found.values())
    rows = [
        f"| {name} | {f['steps']:,} | {f['first']:.3g} | {f['later']:.3g} | {f['us']:.3g} | "
        f"{f['us'] / found['jensen']['us']:.3g} |"
        for name, f in found.items()
    ]
    code = "from importlib.metadata import version; print(version('torch'))"
    torch = subprocess.run(
        [options.peers_python, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    page = PAGE.format(
        table="\n".join(rows),
        epochs=EPOCHS,
        slow_epochs=SLOW_EPOCHS,
        repeats=options.repeats,
        gap=max(gap, 1e-16),
        torch=torch,
        jensen=version("jensen"),
        jax=version("jax"),
        numpy=np.__version__,
        **machine(),
    )
    (HERE / "descent_ascent.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
