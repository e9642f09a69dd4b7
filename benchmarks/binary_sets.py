"""Binary density-estimation sets (DEBD): test log-likelihood of flows, VAEs and the chain rule.

    python benchmarks/binary_sets.py run --data FILE.npz --sets nltcs plants
    python benchmarks/binary_sets.py table      # writes its section of density.md

Each set comes split into training, validation and test rows; validation rows stop the training.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from density_page import put_section
from flows import machine

from jensen.data.schema import Schema, read
from jensen.data.source import open_table
from jensen.data.split import Split
from jensen.evaluation.likelihood import mean_and_error
from jensen.fitting import Recipe, family_named, fit_latent, fit_table

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "binary_sets.json"
PARTICLES = 500
MOST_FLOW_COLUMNS = 70
METHODS = {
    "flow": ("dequantised flow", "flow", {"members": 1}),
    "vae": ("VAE, K = 500", "vae", {"likelihood": "bernoulli"}),
    "iwae": ("IWAE, K = 500", "iwae", {"likelihood": "bernoulli"}),
    "chain": (
        "chain rule of categories",
        "flow",
        {"width": 256, "depth": 1, "members": 1, "dropout": 0.2},
    ),
}
PUBLISHED = {
    "nltcs": (-6.110, -6.02),
    "plants": (-12.977, -12.54),
    "baudio": (-40.503, -39.79),
    "jester": (-53.480, -52.86),
    "bnetflix": (-57.328, -56.36),
    "accidents": (-30.038, -26.98),
    "pumsb_star": (-24.781, -22.41),
    "dna": (-82.523, -81.21),
}
"""LearnSPN (Gens & Domingos 2013) and ID-SPN (Rooshenas & Lowd 2014), nats, from memory."""


def read_set(raw: dict, name: str, *, as_text: bool) -> tuple[Schema, dict[str, np.ndarray]]:
    """Return the schema and the encoded rows of `train`, `valid` and `test`.

    Args:
        raw: the file.
        name: of the set.
        as_text: two-valued columns as text, which are categories, not whole numbers.
    """
    parts, n_columns = {}, int(raw[f"{name}_nvars"])
    for part in ("train", "valid", "test"):
        bits = np.unpackbits(raw[f"{name}_{part}"], axis=1)[:, :n_columns]
        columns = np.where(bits.T, "yes", "no") if as_text else bits.T
        parts[part] = pa.table({f"x{j}": column for j, column in enumerate(columns)})
    known = pa.concat_tables([parts["train"], parts["valid"]])
    schema, _ = read(open_table(known))
    encoded = {}
    for part, rows in parts.items():
        batches = open_table(rows).batches()
        blocks = [schema.encode(b, label=part, first_row=1, missing=False) for b in batches]
        encoded[part] = np.concatenate(blocks)
    return schema, encoded


def measure(raw: dict, name: str, method: str, steps: int) -> dict:
    """Fit a model to a set; return its test log-likelihood, nats, and the seconds."""
    started = time.perf_counter()
    _, model, settings = METHODS[method]
    schema, rows = read_set(raw, name, as_text=method == "chain")
    n = len(rows["train"])
    matrix = np.concatenate([rows["train"], rows["valid"]])
    split = Split(np.arange(n), np.arange(n, len(matrix)), np.arange(0))
    start = family_named(model).start()
    epochs = math.ceil(steps * start.training.optimisation.batch_size / n)
    recipe = Recipe.from_settings({**settings, "epochs": epochs}, start)
    if model == "flow":
        density, result = fit_table(schema, matrix, recipe, seed=0, split=split)
        log_prob = density.log_prob(rows["test"])[0]
    else:
        latent, result = fit_latent(schema, matrix, recipe, seed=0, split=split)
        log_prob = latent.evidence(rows["test"], PARTICLES).log_prob
    mean, se = mean_and_error(log_prob)
    seconds = time.perf_counter() - started
    return {"mean": mean, "se": se, "steps": result.steps, "seconds": seconds, "asked": steps}


PAGE = """## Binary sets

Made by `benchmarks/binary_sets.py`: {date}, {cpu}, {cores} cores, Python {python}.

Mean log-likelihood of the test rows, nats, ± its standard error over the rows. The files' own
training rows train, their validation rows choose the best weights; seed 0; at most {steps:,} steps
of the defaults of `jensen fit`, one member. The flow takes the zeros and ones as whole numbers and
dequantises them: its figure is a lower bound from 16 points of each cell. VAE and IWAE have
Bernoulli likelihoods; their figures are lower bounds in expectation, from {particles} samples of
the posterior a row. The chain rule is what `jensen fit` makes of two-valued columns given as text
(`width=256`, `depth=1`, `dropout=0.2`): exact.

| set | columns | training rows | {heads} | LearnSPN | ID-SPN |
|---|---|---|{rules}---|---|
{rows}

LearnSPN (Gens & Domingos 2013) and ID-SPN (Rooshenas & Lowd 2014): published figures, cited from
memory. Left out for want of processor time: cells with a dash, flows of more than {columns}
columns, and the sets {missing}.
"""


def page(found: dict, raw: dict) -> str:
    """Return the section."""
    rows = []
    for name, figures in sorted(found["sets"].items(), key=lambda item: _size(raw, item[0])):
        cells = [name, str(int(raw[f"{name}_nvars"])), f"{len(raw[f'{name}_train']):,}"]
        for method in METHODS:
            one = figures.get(method)
            cells.append(f"{one['mean']:.2f} ± {one['se']:.2f}" if one else "—")
        published = PUBLISHED.get(name)
        cells += [f"{value:.2f}" for value in published] if published else ["—", "—"]
        rows.append(f"| {' | '.join(cells)} |")
    names = [key[: -len("_nvars")] for key in raw if key.endswith("_nvars")]
    left_out = [name for name in names if name not in found["sets"]]
    return PAGE.format(
        heads=" | ".join(label for label, _, _ in METHODS.values()),
        rules="---|" * len(METHODS),
        rows="\n".join(rows),
        particles=PARTICLES,
        columns=MOST_FLOW_COLUMNS,
        missing=", ".join(left_out) or "none",
        steps=max(one["asked"] for figures in found["sets"].values() for one in figures.values()),
        **found["machine"],
    )


def _size(raw: dict, name: str) -> int:
    return int(raw[f"{name}_nvars"]) * len(raw[f"{name}_train"])


def main() -> None:
    """Measure sets, or write the section."""
    parser = argparse.ArgumentParser(description="Binary sets")
    parser.add_argument("action", choices=("run", "table"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=[])
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    parser.add_argument("--steps", type=int, default=4000)
    args = parser.parse_args()
    raw = dict(np.load(args.data))
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"sets": {}}
    if args.action == "table":
        put_section(HERE / "density.md", page(found, raw))
        return
    for name in args.sets:
        for method in args.methods:
            if method == "flow" and int(raw[f"{name}_nvars"]) > MOST_FLOW_COLUMNS:
                continue
            figure = measure(raw, name, method, args.steps)
            print(name, method, json.dumps(figure), flush=True)
            found["sets"].setdefault(name, {})[method] = figure
            found["machine"] = machine()
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
