"""Commands on anomalies: which rows are, why, and since when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jensen.cli.shared import Data, Jobs, Json, Out, RunFolder, app, note, show

_DEFAULT_ALPHA = 0.05

_Alpha = Annotated[
    float | None,
    typer.Option("--alpha", help="False-alarm rate: share of normal rows flagged (0.05)."),
]
_Rule = Annotated[
    str,
    typer.Option(
        "--rule",
        help="conformal (holds on average), conditional (holds with 95% confidence), quantile or "
        "mean-sigma (promise nothing).",
    ),
]
_Discoveries = Annotated[
    float | None,
    typer.Option(
        "--discoveries",
        metavar="Q",
        help="In place of --alpha: the share of the flagged rows that may be normal.",
    ),
]
_Score = Annotated[
    str,
    typer.Option(
        "--score",
        help="default, log-prob, typicality, ratio, latent; of vae and iwae: reconstruction.",
    ),
]
_Background = Annotated[
    Path | None, typer.Option("--background", metavar="RUN", help="What --score ratio takes away.")
]
_Calibration = Annotated[
    str | None,
    typer.Option("--calibration", metavar="DATA", help="Fresh normal rows to calibrate on."),
]


@app.command()
def detect(
    run: RunFolder,
    data: Data,
    out: Out,
    alpha: _Alpha = None,
    rule: _Rule = "conformal",
    discoveries: _Discoveries = None,
    score: _Score = "default",
    background: _Background = None,
    calibration: _Calibration = None,
    jobs: Jobs = 1,
    as_json: Json = False,
) -> None:
    """Flag anomalies: `log_prob`, `p_value` and `is_anomaly` of every row."""
    from jensen.detecting import detect_table
    from jensen.runs import open_run

    result = detect_table(
        open_run(run),
        data,
        _DEFAULT_ALPHA if alpha is None and discoveries is None else alpha,
        out,
        note,
        rule_name=rule,
        discoveries=discoveries,
        score=score,
        background=background,
        calibration=calibration,
        jobs=jobs,
    )
    level = f"alpha = {result['alpha']:g}" if discoveries is None else f"Q = {discoveries:g}"
    show(
        result,
        as_json,
        [
            f"{result['flagged']:,} of {result['n']:,} rows flagged "
            f"({result['flagged'] / max(result['n'], 1):.1%}) at {level}; written to {out} in "
            f"{result['seconds']:.1f} s",
            f"promise      {result['promise']}",
        ],
    )


@app.command()
def monitor(
    run: RunFolder,
    data: Data,
    out: Out,
    rate: Annotated[
        float,
        typer.Option("--rate", help="Chance that rows that never change ever raise the alarm."),
    ] = 0.01,
    as_json: Json = False,
) -> None:
    """Watch the rows of DATA, oldest first, and raise an alarm when they are no longer normal."""
    from jensen.detecting import monitor_table
    from jensen.runs import open_run

    result = monitor_table(open_run(run), data, out, note, rate)
    delay = result["stated_delay"]
    change = f"where {delay['share']:.0%} of rows turn as odd as the oddest {delay['level']:.0%}"
    found = (
        f"no alarm in {result['n']:,} rows"
        if result["alarm_row"] is None
        else f"alarm at row {result['alarm_row']:,} of {result['n']:,}; the change seems to have "
        f"begun at row {result['change_row']:,}"
    )
    show(
        result,
        as_json,
        [
            f"{found}; written to {out} in {result['seconds']:.1f} s",
            f"promise      {result['promise']}",
            f"delay        {change} the alarm comes "
            + (
                f"within {delay['rows']} rows, 95 times in 100"
                if delay["rows"] is not None
                else "late or never: calibrate on more rows"
            ),
        ],
    )


@app.command()
def explain(
    run: RunFolder,
    data: Data,
    out: Out,
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="False-alarm rate: share of rows flagged.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say why rows are flagged: each column's contribution to log p, and the nearest normal values.

    The contributions sum to log_prob, the lowest are to blame.
    """
    from jensen.explaining import explain_table
    from jensen.runs import open_run

    result = explain_table(open_run(run), data, out, note, alpha)
    show(
        result,
        as_json,
        [
            f"{result['flagged']:,} of {result['n']:,} rows flagged at alpha = "
            f"{result['alpha']:g}; contributions of every column written to {out} in "
            f"{result['seconds']:.1f} s"
        ],
    )
