"""−log p of MNIST under one-layer models trained with K = 1, 5 and 50 particles.

    python benchmarks/evidence.py --data FOLDER --work FOLDER

FOLDER of `--data` has `mnist/` with the four IDX files (or set JENSEN_DATA); `--work` keeps the
checkpoints: a run that was stopped goes on from the newest. Results are kept in
`results/evidence.json`, one entry for each K, and `evidence.md` is made of them. `--scale 0.2`
makes a fifth of the epochs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flows import machine

from jensen._typing import Array, Key
from jensen.engine.checkpoint import Checkpoints
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, Result, train
from jensen.evaluation.evidence import evidence
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Bernoulli
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.nn.mlp import MLP
from jensen.objectives.bounds import IWAE
from jensen.objectives.gradients import DoublyReparameterised
from jensen.objectives.likelihood import Mean
from jensen.objectives.variational import NegativeBound

HERE = Path(__file__).parent
PIXELS, LATENT, HIDDEN = 784, 50, (200, 200)
BATCH, PEAK, WARMUP, EMA = 200, 3e-3, 500, 0.999
TEST_SEED = 0  # of the test images' zeros and ones
RECIPES = {1: [(1, 45)] * 12, 5: [(5, 35)] * 12, 50: [(5, 35)] * 6 + [(50, 9)] * 6}
"""For each K the stages of training: (particles, epochs)."""
PUBLISHED = {1: (86.76, 86.08), 5: (85.54, 84.90), 50: (84.78, 84.32)}
"""−log p of the paper, and the best published for the network and protocol; nats."""

PAGE = """# −log p of MNIST

Made by `benchmarks/evidence.py`; do not edit.

{date}, {cpu}, {cores} cores, {system}, Python {python}; {versions}.

{head}
|---|---|---|---|---|---|---|---|---|---|---|
{rows}

−log p is the mean over test images of −log p̂ with so many samples of q, ± its standard error as an
estimate for all images; "of these images" is the Monte Carlo error alone: what another seed of the
samples would change. log p̂ is below log p in expectation. k̂ is the tail index of an image's
weights, above 0.7 where its own error cannot be trusted, and ESS their effective sample size.
{verdict}

## Protocol

* Data: the 60,000 training images of MNIST, grey values as probabilities of 1, binarised afresh at
  every step; all of them train and nothing is chosen by held-out data. Test: {asked},
  binarised once with NumPy's `default_rng({test_seed})`.
* Model: p(z) = N(0, I) with 50 latents; encoder 784-200-200-(50 means, 50 log-variances), decoder
  50-200-200-784, tanh, Bernoulli; the decoder's bias starts at the log-odds of the pixels' means.
* Recipe: the importance-weighted bound with doubly-reparameterised gradients, Adam, {warmup} steps
  of warm-up, a learning rate that falls in twelve stages along a cosine; the weights' moving
  average ({ema}) is what is judged. Particles × epochs, batch, highest learning rate:
  {stages}.
  The paper trains 3,280 epochs with batches of 20. {scaled}
* Of each image: {verdicts}
* Seconds are those of training, evaluation excluded, on a machine that may have had other work.
"""


COLUMNS = (
    *("K", "−log p, nats", "of these images", "IWAE paper", "best published", "epochs"),
    *("training, s", "k̂ > 0.7", "mean ESS", "images", "samples"),
)


class ImageInit(eqx.Module):
    """How the model begins: `init(key) -> (Latent,)`.

    Args:
        bias: log-odds of the pixels `(784,)`.
    """

    bias: Array

    def __call__(self, key: Key) -> tuple[Latent]:
        """Return the model, alone in a tuple."""
        for_encoder, for_decoder = jax.random.split(key)
        encoder = MLP(for_encoder, PIXELS, 2 * LATENT, HIDDEN, "tanh", last=0.1)
        decoder = MLP(for_decoder, LATENT, PIXELS, HIDDEN, "tanh", last=0.1)
        decoder = eqx.tree_at(lambda net: net.biases[-1], decoder, self.bias)
        likelihood = Likelihood(decoder, Bernoulli(PIXELS))
        return (Latent(StandardNormal(LATENT), likelihood, DiagonalPosterior(encoder)),)


@dataclass(frozen=True)
class Figures:
    """What was measured for one K; nats."""

    particles: int
    negative_log_p: float
    se: float
    monte_carlo: float
    flagged: float
    ess: float
    images: int
    samples: int
    epochs: int
    seconds: float
    train_loss: float
    stages: list[list[int]]
    batch: int
    peak: float
    scale: float
    verdict: str


def grey(folder: Path, part: str) -> np.ndarray:
    """Return the images of a part (train or t10k) as intensities `(n, 784)` in [0, 1]."""
    with gzip.open(folder / "mnist" / f"{part}-images-idx3-ubyte.gz") as file:
        cells = np.frombuffer(file.read(), np.uint8, offset=16)
    return cells.reshape(-1, PIXELS).astype(np.float32) / np.float32(255)


def stages_of(particles: int, scale: float) -> list[tuple[int, int]]:
    """Return the stages (particles, epochs), at least one epoch each."""
    return [(k, max(round(scale * epochs), 1)) for k, epochs in RECIPES[particles]]


def fit(rows: np.ndarray, stages: list[tuple[int, int]], work: Path, seed: int) -> Result:
    """Train through all stages, from the newest checkpoint where there is one."""
    init = ImageInit(jnp.asarray(Bernoulli(PIXELS).bias(rows), jnp.float32))
    data, checkpoints, epochs = jnp.asarray(rows), Checkpoints(work), 0
    result: Any = None
    per_epoch = -(-len(rows) // BATCH)
    for i, (particles, more) in enumerate(stages):
        epochs += more
        last = i == len(stages) - 1
        if not last and (checkpoints.latest() or 0) >= epochs * per_epoch:
            continue  # behind us
        rate = PEAK * math.cos(0.5 * math.pi * i / len(stages)) ** 2
        optimisation = Optimisation(
            batch_size=BATCH, learning_rate=rate, clip=None, warmup=WARMUP, ema=EMA
        )
        loss = NegativeBound(IWAE(particles), DoublyReparameterised(), dynamic=True)
        game = Game(init, Mean(loss), lambda *_: 0.0)
        training = Training(epochs, optimisation, chunk=per_epoch // 2)
        result = train(game, data, None, training, seed=seed, checkpoints=checkpoints)
        row = result.metrics[-1]
        print(
            f"{particles} particles, epoch {row['epoch']:.0f}, rate {rate:.2g}: "
            f"{row['train_loss']:.3f} nats, {seconds_of(result.metrics):.0f} s",
            file=sys.stderr,
        )
    checkpoints.close()
    return result


def seconds_of(rows: list[dict[str, Any]]) -> float:
    """Return the seconds of training, summed over the stages and the parts between two stops."""
    total, before = 0.0, 0.0
    for row in rows:
        now = row["seconds"]
        total += now - before if now >= before else now
        before = now
    return total


def judge(
    result: Result, test: np.ndarray, particles: int, stages: list[tuple[int, int]], args: Any
) -> Figures:
    """Estimate −log p of the test images."""
    model = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, result.players[0])
    start = time.monotonic()
    found = evidence(model, test[: args.images], args.samples, seed=args.seed)
    print(f"evidence: {time.monotonic() - start:.0f} s", file=sys.stderr)
    mean, se = found.mean()
    return Figures(
        particles=particles,
        negative_log_p=-mean,
        se=se,
        monte_carlo=found.monte_carlo_error(),
        flagged=float(np.mean(found.flagged)),
        ess=float(np.mean(found.ess)),
        images=len(found.log_prob),
        samples=found.k,
        epochs=sum(epochs for _, epochs in stages),
        seconds=seconds_of(result.metrics),
        train_loss=result.metrics[-1]["train_loss"],
        stages=[list(stage) for stage in stages],
        batch=BATCH,
        peak=PEAK,
        scale=args.scale,
        verdict=found.verdict(),
    )


def page(found: list[Figures]) -> str:
    """Return the page of the figures."""
    rows = []
    for f in found:
        paper, best = PUBLISHED[f.particles]
        cells = (
            f"{f.particles}",
            f"{f.negative_log_p:.2f} ± {f.se:.2f}",
            f"± {f.monte_carlo:.3f}",
            f"{paper}",
            f"{best}",
            f"{f.epochs}",
            f"{f.seconds:,.0f}",
            f"{100 * f.flagged:.1f}%",
            f"{f.ess:,.0f}",
            f"{f.images:,}",
            f"{f.samples:,}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    stages = "; ".join(
        f"K = {f.particles}: {_joined(f.stages)}, {f.batch}, {f.peak:g}" for f in found
    )
    verdicts = " ".join(f"K = {f.particles}: {f.verdict}" for f in found)
    asked = ", ".join(sorted({f"the first {f.images:,} test images" for f in found}))
    scales = {f.particles: f.scale for f in found if f.scale != 1}
    scaled = " ".join(f"K = {k} was given {s:g} of the full epochs." for k, s in scales.items())
    beaten = [f.particles for f in found if f.negative_log_p < PUBLISHED[f.particles][1]]
    said = ", ".join(f"K = {k}" for k in beaten)
    verdict = f"The best published figure is beaten for {said}." if said else ""
    packages = ("jensen", "jax", "jaxlib", "equinox", "optax", "numpyro", "numpy")
    return PAGE.format(
        head=f"| {' | '.join(COLUMNS)} |",
        rows="\n".join(rows),
        verdict=verdict or "No published figure is beaten.",
        asked=asked,
        stages=stages,
        scaled=scaled,
        test_seed=TEST_SEED,
        verdicts=verdicts,
        warmup=WARMUP,
        ema=EMA,
        versions=", ".join(f"{p} {version(p)}" for p in packages),
        **machine(),
    )


def _joined(stages: list[list[int]]) -> str:
    """Return the particles and epochs of stages, equal ones together."""
    epochs: dict[int, int] = {}
    for k, n in stages:
        epochs[k] = epochs.get(k, 0) + n
    return " then ".join(f"{k} × {n}" for k, n in epochs.items())


def main() -> None:
    """Train and judge each K, keep the figures and write the page."""
    parser = argparse.ArgumentParser(description="−log p of MNIST for K = 1, 5, 50")
    parser.add_argument("--data", type=Path, default=os.environ.get("JENSEN_DATA"))
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--particles", type=int, nargs="*", default=[1, 5, 50], choices=RECIPES)
    parser.add_argument("--scale", type=float, default=1.0, help="of the recipes' epochs")
    parser.add_argument("--images", type=int, default=10_000, help="test images to judge by")
    parser.add_argument("--samples", type=int, default=5000, help="of each test image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "evidence.json")
    parser.add_argument("--out", type=Path, default=HERE / "evidence.md")
    args = parser.parse_args()
    if args.data is None:
        parser.error("give --data, or set JENSEN_DATA")
    data = Path(args.data)
    training, test = grey(data, "train"), grey(data, "t10k")
    draw = np.random.default_rng(TEST_SEED).random(test.shape, np.float32)
    test = (draw < test).astype(np.float32)
    for particles in args.particles:
        stages = stages_of(particles, args.scale)
        work = args.work / f"particles-{particles}-scale-{args.scale:g}-seed-{args.seed}"
        figures = judge(fit(training, stages, work, args.seed), test, particles, stages, args)
        kept = json.loads(args.results.read_text()) if args.results.exists() else {}
        kept[str(particles)] = asdict(figures)
        args.results.write_text(json.dumps(kept, indent=1) + "\n")
    kept = json.loads(args.results.read_text())
    text = page([Figures(**kept[key]) for key in sorted(kept, key=int)])
    args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
