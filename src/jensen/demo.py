r"""The demonstration: benign tumours are normal, malignant ones are the anomalies to find.

Real data, embedded with scikit-learn (Wolberg et al. 1995): 30 measurements of cell nuclei. The
flow sees 70% of the benign cases and no malignant one; the other 30% measure the type I error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jensen.anomaly.errors import auroc, binomial_interval
from jensen.apply import Note, log_probs
from jensen.engine.progress import Report
from jensen.evaluation.likelihood import mean_and_error
from jensen.report.run import report_run
from jensen.runs import fit_run

ALPHA = 0.05


def run_demo(folder: Path, progress: Report, note: Note) -> dict[str, Any]:
    """Fit, evaluate, detect and report; a finished demonstration is read back, not repeated.

    Args:
        folder: the run folder.
        progress: called while training.
        note: receives remarks.

    Returns:
        The figures, and `lines` that state them.

    Raises:
        InputError: if the folder holds another run.
    """
    run = fit_run("breast-cancer:train", folder, resume=True, report=progress)
    normal, _, base = log_probs(run, "breast-cancer:test", note)
    anomalous, _, _ = log_probs(run, "breast-cancer:anomaly", note)
    mean, error = mean_and_error(normal)
    base_mean, _ = mean_and_error(base)
    false_alarms = int(run.conformal.flags(normal, ALPHA).sum())
    missed = int((~run.conformal.flags(anomalous, ALPHA)).sum())
    area, area_error = auroc(normal, anomalous)
    page = report_run(
        run, normal="breast-cancer:test", anomalies="breast-cancer:anomaly", alpha=ALPHA, note=note
    )
    result = {
        "run": str(run.folder),
        "report": str(page),
        "log_prob": {"mean": mean, "se": error, "kind": run.density.kind, "n": len(normal)},
        "gaussian": base_mean,
        "alpha": ALPHA,
        "type_1_error": false_alarms / len(normal),
        "type_1_interval": binomial_interval(false_alarms, len(normal)),
        "type_2_error": missed / len(anomalous),
        "type_2_interval": binomial_interval(missed, len(anomalous)),
        "auroc": area,
        "auroc_se": area_error,
    }
    return {**result, "lines": _lines(result, run.spec, len(normal), len(anomalous))}


def _lines(r: dict[str, Any], spec: dict[str, Any], n_normal: int, n_anomalous: int) -> list[str]:
    figure, (low, high) = r["log_prob"], r["type_1_interval"]
    low2, high2 = r["type_2_interval"]
    return [
        f"fitted       a flow to {spec['split']['train']} benign cases of breast-cancer "
        f"({spec['data']['columns']} measurements), {spec['seconds']:.1f} s",
        f"log p        {figure['mean']:.2f} ± {figure['se']:.2f} nats per held-out benign case "
        f"(a Gaussian: {r['gaussian']:.2f})",
        f"type I       stated {r['alpha']:.1%}, measured {r['type_1_error']:.1%} "
        f"(95% interval {low:.1%} to {high:.1%}, {n_normal} held-out benign cases)",
        f"type II      {r['type_2_error']:.1%} of {n_anomalous} malignant cases missed "
        f"(95% interval {low2:.1%} to {high2:.1%})",
        f"AUROC        {r['auroc']:.4f} ± {r['auroc_se']:.4f}, benign against malignant",
        f"report       {r['report']}",
    ]
