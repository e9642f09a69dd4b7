"""Latent-variable models: training steps beside PyTorch and pythae, and beside bare products.

    python benchmarks/latent.py --peers-python PEERS/bin/python

Writes `latent.md`. PEERS holds torch and pythae. A library that cannot be started there is said to
be missing in its row.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from flows import machine
from gan import Contest, Contestant, lines, short, table

from jensen.data.toys import TOYS

HERE = Path(__file__).parent
ROLL_ROWS, ROLL_STEPS, ROLL_PEER_STEPS, PYTHAE_STEPS = 2000, 6400, 960, 320
DOCUMENT_STEPS = 64_000
SIZES = {(20, 1): (1600, 480), (100, 1): (800, 240), (100, 5): (320, 120), (20, 50): (240, 80)}
"""(batch, K): steps of a run of ours, and of a peer's."""
PER_EPOCH = 40
PATCH_BATCH, PATCH_STEPS, CONVOLUTION_STEPS = 64, 160, 80

PAGE = """# Latent-variable models beside the peers

Made by `benchmarks/latent.py`; do not edit.

{date}, {cpu}, {cores} cores, {system}, Python {python}; {versions}.

Each library is in a process of its own; one is at work at a time, in a random order in each of
{repeats} repetitions. The first run includes compilation (and not the start of Python); µs a step
are those of later runs, their start included. Numbers of threads of torch, pythae and NumPy:
{threads}; where there is a choice, the number that was faster in a second run goes on. The last
column compares the best runs; above 1 jensen is faster.

## The Swiss-roll VAE of the documents

| | steps | threads | first run, s | µs a step, median | best | times jensen's |
|---|---|---|---|---|---|---|
{roll}

2,000 rows; encoder 2-128-128-2, decoder 1-64-64-2, LeakyReLU(0.2), the decoder ends in tanh;
Gaussian of variance 1/150, KL divergence in closed form, batch 64, Adam 5e-4. Plain: a shuffling
`DataLoader` (whose last batch has 16 rows; jensen completes it) and `Adam`. Fused: batches from one
permutation an epoch and `Adam(fused=True)`. pythae: `BaseTrainer.train`, which copies the best
model after an epoch. jensen: the engine's `train`, which looks at the weights at the end. The
document's {document:,} steps take jensen {jensen_document:.0f} s and the plain loop
{plain_document:.0f} s at the best rate. The mean loss is {jensen_loss:.2f} nats over
{roll_steps:,} steps (jensen), and in the last epoch {plain_loss:.2f} (plain) and {pythae_loss}.
{roll_verdict}

## An importance-weighted autoencoder of binary images

{images}

784-200-200-(2 × 50) and 50-200-200-784, tanh, Bernoulli, Adam 1e-3, weights and rows in float32;
K particles of each of the batch's rows. jensen: the engine's `train`, with the reparameterised
gradient as PyTorch's, and with the doubly-reparameterised one. PyTorch: plain and fused as above.
Products: all matrix products of the step, forward and backward, and the weights' change, without
anything else; the faster of JAX (one compiled loop) and NumPy is the limit.
{images_verdict}

## Image networks from patches

| | steps | threads | first run, s | µs a step, median | best | times jensen's |
|---|---|---|---|---|---|---|
{patches}

A VAE of 28 × 28 pixels with 16 latents: two levels of 2 × 2 patches with 16 and 32 channels, batch
{patch_batch}. The same function, from `PatchEncoder` and `PatchDecoder`, and from Equinox's
`Conv2d` and `ConvTranspose2d` of stride 2, which the engine runs step by step.
"""


def roll(contest: Contest, folder: Path, repeats: int) -> dict[str, object]:
    """Measure the Swiss-roll VAE; return what the page says of it."""
    data = folder / "swiss-roll.npy"
    np.save(data, TOYS["swiss-roll"].sample(0, ROLL_ROWS))
    request = {"op": "run", "data": str(data), "batch": 64, "particles": 1}
    peer = {**request, "steps": ROLL_PEER_STEPS}
    ours = Contestant(
        "jensen", "latent_jensen", {**request, "name": "swiss-roll", "steps": ROLL_STEPS}
    )
    plain, fused = (
        Contestant(f"PyTorch, {n} loop", "latent_torch", {**peer, "name": n}, "jensen")
        for n in ("plain", "fused")
    )
    pythae = {**request, "name": "pythae", "steps": PYTHAE_STEPS}
    named = Contestant("pythae", "latent_pythae", pythae, "jensen")
    contest.run([ours, plain, fused, named], repeats)
    best, plain_best = min(ours.later), min(plain.later, default=float("nan"))
    ratio = plain_best / best
    return {
        "roll": lines(table([ours, plain, fused, named], steps=True)),
        "document": DOCUMENT_STEPS,
        "jensen_document": DOCUMENT_STEPS * best,
        "plain_document": DOCUMENT_STEPS * plain_best,
        "roll_steps": ROLL_STEPS,
        "jensen_loss": ours.reply["loss"],
        "plain_loss": plain.reply.get("loss", float("nan")),
        "pythae_loss": f"{named.reply['loss']:.2f} (pythae)" if named.reply else "unknown (pythae)",
        "roll_verdict": _verdict("8 times the plain loop", f"{ratio:.1f} times", ratio >= 8),
    }


def images(contest: Contest, folder: Path, repeats: int) -> dict[str, object]:
    """Measure the image model at every size; return what the page says of it."""
    head = "| batch {}, K = {} | steps | threads | first run, s | µs a step, median | best | {} |"
    out, said = [], []
    for (batch, k), (steps, peer_steps) in SIZES.items():
        data = folder / f"images-{batch}-{k}.npy"
        random = np.random.default_rng(0)
        frequencies = 0.5 * random.random(784) ** 3
        np.save(data, (random.random((PER_EPOCH * batch, 784)) < frequencies).astype(np.float32))
        size = {"batch": batch, "particles": k}
        run = {"op": "run", "data": str(data), **size}
        products = {"op": "limit", "steps": peer_steps, **size}
        ours, other = ({**run, "steps": steps, "name": n} for n in ("reparameterised", _DOUBLY))
        name = "jensen"
        contestants = [
            Contestant(name, "latent_jensen", ours),
            Contestant("jensen, doubly reparameterised", "latent_jensen", other),
        ]
        for n in ("plain", "fused"):
            asked = {**run, "steps": peer_steps, "name": n}
            contestants.append(Contestant(f"PyTorch, {n} loop", "latent_torch", asked, name))
        for n in ("jax", "numpy"):
            asked = {**products, "backend": n}
            contestants.append(Contestant(f"products, {n}", "latent_products", asked, name))
        contest.run(contestants, repeats)
        rows = table(contestants, steps=True)
        best = [min(c.later, default=float("inf")) for c in contestants]
        rows[1][-1] = short(best[1] / best[0])
        out += [head.format(batch, k, "times jensen's"), "|" + "---|" * 7, lines(rows), ""]
        said.append((batch, k, min(best[2:4]) / best[0], best[0] / min(best[4:])))
    ratios = ", ".join(f"{r:.2f} at ({b}, {k})" for b, k, r, _ in said)
    above = ", ".join(f"{r:.2f} at ({b}, {k})" for b, k, _, r in said)
    least = min(r for _, _, r, _ in said)
    verdict = (
        f"PyTorch's best over jensen's: {ratios}. jensen's over the limit: {above}. "
        + _verdict("being ahead on each", f"{least:.2f} at least", least > 1)
        + " "
        + _verdict("2 times the limit on the largest", f"{said[-1][3]:.2f} times", said[-1][3] <= 2)
    )
    return {"images": "\n".join(out).strip(), "images_verdict": verdict}


_DOUBLY = "doubly-reparameterised"


def patches(contest: Contest, folder: Path, repeats: int) -> dict[str, object]:
    """Measure patch networks beside convolutions; return the table."""
    data = folder / "patches.npy"
    rows = np.random.default_rng(0).random((PER_EPOCH * PATCH_BATCH, 784)) < 0.13
    np.save(data, rows.astype(np.float32))
    request = {"op": "networks", "data": str(data), "batch": PATCH_BATCH}
    contestants = [
        Contestant(f"jensen, {kind}", "latent_products", {**request, "kind": kind, "steps": steps})
        for kind, steps in (("patches", PATCH_STEPS), ("convolutions", CONVOLUTION_STEPS))
    ]
    contest.run(contestants, repeats)
    cells = table(contestants, steps=True)
    cells[1][-1] = short(min(contestants[1].later) / min(contestants[0].later))
    return {"patches": lines(cells), "patch_batch": PATCH_BATCH}


def _verdict(aim: str, measured: str, met: bool) -> str:
    """Return a sentence on an aim."""
    return f"The aim of {aim} is {'met' if met else 'missed'} ({measured})."


def main() -> None:
    """Measure the three sections and write the page."""
    parser = argparse.ArgumentParser(description="Latent-variable models beside the peers")
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="that peers try")
    parser.add_argument("--out", type=Path, default=HERE / "latent.md")
    args = parser.parse_args()
    pythons: dict[str, str] = dict.fromkeys(("latent_torch", "latent_pythae"), args.peers_python)
    pythons |= dict.fromkeys(("latent_jensen", "latent_products"), sys.executable)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contest = Contest(pythons, f"{name}/cache", args.threads)
        found = {
            **roll(contest, folder, args.repeats),
            **images(contest, folder, args.repeats),
            **patches(contest, folder, args.repeats),
        }
    page = PAGE.format(
        **found,
        repeats=args.repeats,
        threads=" or ".join(map(str, args.threads)),
        versions=", ".join(f"{p} {v}" for p, v in contest.versions.items()),
        **machine(),
    )
    args.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
