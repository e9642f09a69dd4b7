"""Render the results of `flows.py` as Markdown: medians, ranges, ratios, machine limits."""

from __future__ import annotations

from statistics import median

ORDER = ("jensen", "zuko", "nflows", "flowjax")
TITLES = {
    "train": ("Training step", "µs per step of 256 rows", 1e6),
    "log_prob": ("`log_prob`", "µs per row, 10,000 rows at once", 1e6),
    "sample": ("Sampling", "µs per row, 1,000 rows at once", 1e6),
    "first": ("Time to first result", "s, nothing cached", 1.0),
    "first_cached": ("Time to first result again", "s, compiled programs on disk", 1.0),
}
N_LAYERS, WIDTH, BATCH = 5, 128, 256
N_PARAMS = {"affine": 2, "spline": 23}

PROTOCOL = """## Protocol

- MAF (affine) and spline MAF (rational-quadratic, 8 bins, linear tails outside ±5), 5 layers, each
  with a masked network of 2 × 128 hidden units; float32; default threads of each library.
- Each library runs in its own process and does nothing while another is measured. Every repetition
  takes the lines in a new random order, and within a line the libraries in random order. Figures
  are medians over {reps} repetitions (time to first result: {first_reps}), with [smallest –
  largest].
- *Training step*: one Adam step (learning rate 1e-3) on −mean `log_prob` of 256 rows, mean over a
  block of about {seconds:g} s, after compilation and {warm_steps} steps of training. torch: eager
  loop, fused Adam. FlowJAX: its own jitted `step`; nothing is read back before the block ends.
  Batches are laid out beforehand for the peers; Jensen runs the engine's compiled loop, with its
  shuffling, and with warm-up, clipping and moving average off.
- *log_prob* and *sampling*: the trained flow, no gradients recorded, result brought to NumPy, mean
  over a block of about {seconds:g} s. FlowJAX and Jensen are jitted, compilation excluded;
  Jensen takes the rows in the blocks in which it scores tables, the others all at once.
- *Time to first result*: a new process imports, builds, takes 100 steps and evaluates `log_prob` of
  1,000 rows, with an empty cache folder; *again*: with the programs compiled by an earlier process
  kept on disk by JAX's compilation cache (torch has none here).
- zuko: `flows.MAF`, `flows.NSF`. nflows: `Masked…AutoregressiveTransform` between reversals with
  `num_blocks=2, use_residual_blocks=False`, which is one 128 × 128 product a layer more than the
  others take; it is used unpatched. FlowJAX: `masked_autoregressive_flow(invert=True)`, the
  direction whose `log_prob` is one pass; `knots=7`, since it counts inner knots, makes 8 bins.
- *Bound*: multiplications of the dense network a step needs (forward, and backward by weights and
  by inputs), over the measured rate of float32 products. Everything elementwise, the optimiser and
  memory traffic come on top. A network that skips its masked half can go below it.
"""


def cells(results: dict) -> dict[tuple[str, str, int, str], list[float]]:
    """Return (library, family, dim, measure) to the list of seconds."""
    return {
        (c["library"], c["family"], c["dim"], c["measure"]): c["seconds"] for c in results["cells"]
    }


def number(x: float) -> str:
    """Write a number to three digits, without an exponent."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def spread(values: list[float], scale: float) -> str:
    """Write a median with its range."""
    low, mid, high = min(values) * scale, median(values) * scale, max(values) * scale
    return f"**{number(mid)}** [{number(low)} – {number(high)}]"


def ratio(peer: list[float] | None, own: list[float] | None) -> str:
    """Write how many times as long the peer takes."""
    return f"{median(peer) / median(own):.1f}×" if peer and own else "–"


def step_flops(family: str, dim: int) -> float:
    """Return the operations of the dense products in one training step.

    Each product is taken forward, for the weights' gradient, and for the inputs' gradient, which
    only the first product of the first layer does not need.
    """
    first = dim * WIDTH
    layer = first + WIDTH * WIDTH + WIDTH * dim * N_PARAMS[family]
    return 2.0 * BATCH * (3 * N_LAYERS * layer - first)


def measure_table(results: dict, measure: str) -> list[str]:
    """Return the lines of one measure's table."""
    data = cells(results)
    title, unit, scale = TITLES[measure]
    here = [n for n in ORDER if any(k[0] == n and k[3] == measure for k in data)]
    peers = [n for n in here if n != "jensen"] if "jensen" in here else []
    heads = ["flow", "D", *here, *(f"{p} ÷ jensen" for p in peers)]
    lines = [f"## {title} ({unit})", "", "| " + " | ".join(heads) + " |"]
    lines.append("|" + "---|" * len(heads))
    for family, dim in sorted({(k[1], k[2]) for k in data if k[3] == measure}):
        row = [family, str(dim)]
        for name in here:
            values = data.get((name, family, dim, measure))
            row.append(spread(values, scale) if values else "–")
        own = data.get(("jensen", family, dim, measure))
        row += [ratio(data.get((p, family, dim, measure)), own) for p in peers]
        lines.append("| " + " | ".join(row) + " |")
    return [*lines, ""]


def limit_table(results: dict) -> list[str]:
    """Return the lines on matrix products, and the bounds that they imply for a step."""
    rates = {(p["backend"], p["size"]): p["gflops"] for p in results["products"]}
    lines = ["## The machine's limit", "", "| float32 product | jax, GFLOP/s | torch, GFLOP/s |"]
    lines.append("|---|---|---|")
    for size, name in ((128, "(256 × 128)(128 × 128)"), (2048, "(2048 × 2048)(2048 × 2048)")):
        row = [spread(rates[backend, size], 1.0) for backend in ("jax", "torch")]
        lines.append("| " + " | ".join([name, *row]) + " |")
    best = {
        size: max(median(v) for (_, s), v in rates.items() if s == size) for size in (128, 2048)
    }
    lines += ["", "| training step | D | MFLOP, dense | bound at the small product's rate, µs |"]
    lines[-1] += " bound at the large product's rate, µs |"
    lines.append("|---|---|---|---|---|")
    data = cells(results)
    for family, dim in sorted({(k[1], k[2]) for k in data}):
        flops = step_flops(family, dim)
        bounds = [number(flops / best[size] / 1e3) for size in (128, 2048)]
        lines.append(f"| {family} | {dim} | {flops / 1e6:.0f} | {bounds[0]} | {bounds[1]} |")
    return [*lines, ""]


def check_table(results: dict) -> list[str]:
    """Return the lines that show the libraries did the same work."""
    lines = ["## The same work", ""]
    lines.append("Mean `log_prob` (nats) of 1,000 training rows when the timed blocks begin;")
    lines.append("libraries have by then taken different numbers of steps.")
    lines += ["", "| flow | D | library | mean `log_prob` | sample std | all finite |"]
    lines.append("|---|---|---|---|---|---|")
    for c in sorted(results["checks"], key=lambda c: (c["family"], c["dim"])):
        row = [c["family"], str(c["dim"]), c["library"], f"{c['mean_log_prob']:.2f}"]
        row += [f"{c['sample_std']:.2f}", "yes" if c["finite"] else "no"]
        lines.append("| " + " | ".join(row) + " |")
    return [*lines, ""]


def render(results: dict) -> str:
    """Return the whole page."""
    m = results["machine"]
    lines = ["# Flows, side by side", "", "Made by `benchmarks/flows.py`; do not edit.", ""]
    lines.append(
        f"{m['date']}, {m['cpu']}, {m['cores']} cores, {m['system']}, Python {m['python']}."
    )
    for name, packages in results["versions"].items():
        lines.append(f"- {name}: " + ", ".join(f"{k} {v}" for k, v in packages.items()))
    lines.append("")
    measured = {c["measure"] for c in results["cells"]}
    for measure in TITLES:
        if measure in measured:
            lines += measure_table(results, measure)
    lines += limit_table(results)
    lines += check_table(results)
    reps = max(len(c["seconds"]) for c in results["cells"])
    firsts = [len(c["seconds"]) for c in results["cells"] if c["measure"] == "first"]
    protocol = PROTOCOL.format(reps=reps, first_reps=max(firsts, default=0), **results["protocol"])
    return "\n".join(lines) + "\n" + protocol
