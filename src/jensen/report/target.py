"""The report of a flow fitted to an unnormalised density: what log Z and its draws are worth."""

from __future__ import annotations

from typing import Any

import numpy as np

from jensen._errors import InputError
from jensen.report.canvas import number
from jensen.report.content import Report
from jensen.report.facts import Asked, in_table, metrics_of, training_facts
from jensen.report.page import Finding, Layout, Section, Table
from jensen.report.sections import columns, fitted, learning
from jensen.runs import Run


def target_content(run: Run, asked: Asked) -> Report:
    """Return the content of the report of a density.

    Args:
        run: a finished run.
        asked: nothing: there are no rows and no false alarms.

    Raises:
        InputError: if rows, anomalies or a false-alarm rate are given.
    """
    if asked.normal is not None or asked.anomalies is not None or asked.alpha is not None:
        raise InputError(
            "this run is of a density: it has no normal rows and flags no anomalies",
            str(run.folder),
            "leave --normal, --anomalies and --alpha out",
        )
    points = np.concatenate(run.held_out())
    samples = in_table(run.schema, run.density.sample(len(points), run.spec["seed"] + 1))
    names = run.schema.names
    recipe = run.spec["recipe"]
    size = f"{recipe['n_layers']} layers, {recipe['depth']} × {recipe['width']} units"
    return Report(
        title=f"{run.spec['data']['source']}: flow by reverse KL",
        subtitle="A flow fitted to an unnormalised density, judged by fresh draws and by chains.",
        data_facts=[
            ("Density", run.spec["data"]["source"]),
            ("Length of x", len(names)),
            ("Names", ", ".join(names[:10])),
            ("Chains start within", f"N(0, {recipe['scale']:g}² I)"),
            ("Fingerprint", run.spec["data"]["fingerprint"][:16]),
        ],
        model_facts=[
            ("Architecture", f"{recipe['architecture']}, {size}"),
            ("Start", recipe["start"]),
            *training_facts(run),
        ],
        metrics=_metrics(run),
        names=names,
        data=points,
        samples=samples,
        notes=[
            *run.spec["figures"]["warnings"],
            "Where the page says data, it shows the ends of annealed chains, drawn by their "
            "weights: they stand for draws of the target.",
        ],
        target=run.spec["figures"],
    )


def _metrics(run: Run) -> dict[str, np.ndarray] | None:
    found = metrics_of(run)
    if found is None:
        return None
    rate = found["rate"] * run.spec["recipe"]["learning_rate"]
    losses = {name: found[name][:, None] for name in ("train_loss", "validation_loss")}
    return {"step": found["step"], "learning_rate": rate, **losses}


def log_z_card(report: Report) -> Finding | None:
    """Return the card of the normalising constant."""
    if report.target is None:
        return None
    z = report.target["log_z"]
    return Finding("log Z", _pm(z), "The logarithm of the integral of the density, nats.")


def belief_card(report: Report) -> Finding | None:
    """Return the card that says whether the figures can be believed."""
    if report.target is None:
        return None
    value = "Can be believed" if report.target["trusted"] else "Do not rely on it"
    return Finding("Verdict", value, report.target["verdict"])


def ess_card(report: Report) -> Finding | None:
    """Return the card of the effective draws."""
    if report.target is None:
        return None
    ess, n = report.target["ess"], report.target["n"]
    meaning = f"Of {n:,} draws, weighted by target over flow; Pareto k-hat "
    return Finding(
        "Effective draws", f"{ess / n:.0%}", f"{meaning}{number(report.target['pareto_k'], 2)}."
    )


def worth(report: Report) -> Section | None:
    """Return the section of all figures, by the flow's draws and by the chains."""
    found = report.target
    if found is None:
        return None
    chains = {"value": found["chains_log_z"], "se": found["chains_se"]}
    missed = {"value": 100 * found["missed"], "se": 100 * found["missed_se"]}
    rows = [
        ("log Z by the flow's draws (nats)", _pm(found["log_z"])),
        ("log Z by independent annealed chains (nats)", _pm(chains)),
        ("Effective draws of the flow", f"{found['ess']:,.0f} of {found['n']:,}"),
        ("Pareto k-hat of their weights (to 0.7)", number(found["pareto_k"], 2)),
        ("Effective chains", f"{found['chains_ess']:,.0f} of {found['n_chains']:,}"),
        ("Share of the target's mass that the flow misses (%)", _pm(missed)),
        ("KL(flow ‖ target) (nats)", _pm(found["reverse_kl"])),
        ("KL(target ‖ flow) (nats)", _pm(found["forward_kl"])),
        ("Draws outside the support", f"{found['outside']:.1%}"),
    ]
    said = [
        found["verdict"],
        "The weights of a flow's own draws cannot show a mode that it never visits. Chains can: "
        "they start far out, know nothing of the flow, and are annealed to the target.",
    ]
    return Section(
        "worth", "What log Z is worth", [Table("Both estimates", ("", "value"), rows)], words=said
    )


def _pm(figure: Any) -> str:
    return f"{figure['value']:.4g} ± {figure['se']:.2g}"


TARGET = Layout(
    cards=(log_z_card, belief_card, ess_card),
    sections=(worth, learning, columns, fitted),
    footer="Figures are in nats; errors are standard errors.",
)
"""The page of a flow fitted to a density."""
