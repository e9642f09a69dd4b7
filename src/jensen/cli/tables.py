"""Commands on tables: learn one, score, sample, fill in, evaluate, report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jensen._errors import InputError
from jensen._xla import compile_quickly
from jensen.cli.shared import (
    Data,
    Jobs,
    Json,
    Out,
    RunFolder,
    aligned,
    app,
    note,
    settings_of,
    show,
)

if TYPE_CHECKING:
    from jensen.comparing import Judged
    from jensen.runs import Run


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Learn benign tumours, flag malignant ones: the main job on real, embedded data."""
    from jensen.demo import run_demo
    from jensen.engine.progress import Progress

    with Progress("breast-cancer") as progress:
        result = run_demo(out, progress, note)
    show(result, as_json, result["lines"])


@app.command()
def fit(
    out: Annotated[Path, typer.Option("--out", help="The run folder to write.")],
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="A file, folder, glob or built-in name.")
    ] = None,
    density: Annotated[
        str | None,
        typer.Option(
            "--density",
            metavar="PATH.py:FUNCTION",
            help="In place of DATA: an unnormalised log-density of one x; a flow learns it.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Model family: flow (if left out), vae, iwae or gan."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the model or its training."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="All randomness of the run.")] = 0,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes over the data at most.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Train a model on DATA, or on a density, and keep everything in a run folder."""
    from jensen.engine.progress import Progress, losses_of
    from jensen.runs import fit_run

    settings = settings_of(set_)
    if epochs is not None:
        settings["epochs"] = epochs
    if density is not None:
        _check_alone(data, model)
        _fit_density(density, out, settings, seed, resume, as_json)
        return
    if data is None:
        raise InputError(
            "there is nothing to fit", "DATA", "give a table, or --density path.py:log_density"
        )
    model = model or "flow"
    with Progress(f"{model} on {data}", losses_of(model, settings)) as progress:
        run = fit_run(
            data, out, model=model, settings=settings, seed=seed, resume=resume, report=progress
        )
    constant = [run.schema.names[i] for i in run.schema.constant]
    if constant:
        note(f"constant in every row, so any other value is impossible: {', '.join(constant[:10])}")
    for text in run.spec.get("adaptations", []):
        note(text)
    result = _fit_result(run)
    lines = [
        f"run          {run.folder}",
        f"trained      {result['steps']:,} steps in {result['seconds']:.1f} s",
        *(_gan_lines(result) if model == "gan" else _density_lines(result, run)),
    ]
    show(result, as_json, lines)


def _check_alone(data: str | None, model: str | None) -> None:
    """Raise if something stands beside --density that has no place there."""
    if data is not None:
        raise InputError(
            f"both DATA ({data}) and --density are given", "--density", "leave one of them out"
        )
    if model not in (None, "target"):
        raise InputError(
            f"a {model} learns rows, not a density",
            "--model",
            "leave --model out: a flow is fitted",
        )


def _fit_density(
    density: str, out: Path, settings: dict[str, Any], seed: int, resume: bool, as_json: bool
) -> None:
    from jensen.densities import fit_density_run
    from jensen.engine.progress import Progress

    with Progress(f"flow on {density}") as progress:
        run = fit_density_run(
            density, out, settings=settings, seed=seed, resume=resume, report=progress
        )
    result = _fit_result(run)
    log_z = result["log_z"]
    for text in result["warnings"]:
        note(text)
    lines = [
        f"run          {run.folder}",
        f"trained      {result['steps']:,} steps in {result['seconds']:.1f} s",
        f"log Z        {log_z['value']:.4f} ± {log_z['se']:.4f} nats ({result['n']:,} draws, "
        f"{result['ess']:,.0f} effective, Pareto k-hat {result['pareto_k']:.2f})",
        f"verdict      {result['verdict']}",
        f"next         jensen sample {run.folder} -n 1000 --out new.csv; "
        f"jensen report {run.folder}",
    ]
    show(result, as_json, lines)


def _density_lines(result: dict[str, Any], run: Run) -> list[str]:
    held_out, base = result["validation"], run.spec["figures"]["baseline"]
    blur = run.spec["recipe"].get("blur")
    blurred = f"; density of rows blurred by {blur:g} sd" if blur else ""
    return [
        f"validation   log p = {held_out['log_prob']:.4f} ± {held_out['se']:.4f} nats per row "
        f"({held_out['kind']}, {held_out['n']} rows{blurred})",
        f"baseline     log p = {base['log_prob']:.4f} nats per row on the same rows "
        f"({base.get('name', 'Gaussian')})",
        f"next         jensen report {run.folder}",
    ]


def _sample_lines(judged: dict[str, Any]) -> list[str]:
    if judged["kind"] == "none":
        return ["samples      not judged: there are too few rows to keep some apart"]
    return [
        f"samples      Jensen-Shannon divergence from these rows at least {judged['jsd']:.4f} "
        f"± {judged['se']:.4f} nats ({judged['n']} rows; 0 if the same, at most 0.6931)",
        f"             squared MMD {judged['mmd']:.4g}",
    ]


def _gan_lines(result: dict[str, Any]) -> list[str]:
    return [
        *_sample_lines(result["validation"]),
        f"next         jensen sample {result['run']} -n 1000 --out new.csv; "
        f"jensen stability {result['run']}",
    ]


def _fit_result(run: Run) -> dict[str, Any]:
    spec = run.spec
    return {
        "run": str(run.folder),
        "model": spec["model"],
        "seed": spec["seed"],
        "steps": spec["steps"],
        "seconds": spec["seconds"],
        **spec["figures"],
        "split": spec["split"],
    }


@app.command()
def score(run: RunFolder, data: Data, out: Out, jobs: Jobs = 1, as_json: Json = False) -> None:
    """Write log p(x) of every row: `log_prob` (nats) and `log_prob_se` (0 where exact)."""
    from jensen.apply import score_table
    from jensen.runs import open_run

    result = score_table(open_run(run), data, out, note, jobs)
    show(result, as_json, [f"{result['n']:,} rows scored to {out} in {result['seconds']:.1f} s"])


@app.command()
def sample(
    run: RunFolder,
    out: Out,
    n: Annotated[int, typer.Option("-n", help="How many rows.")],
    seed: Annotated[int, typer.Option("--seed", help="All randomness of the rows.")] = 0,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--given",
            metavar="COLUMN=VALUE",
            help="A value that every row is to have (a GAN's categories and whole numbers).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write new rows, in the columns and units of the training data."""
    from jensen.apply import sample_table
    from jensen.runs import open_run

    result = sample_table(open_run(run), n, out, seed, _given_of(given))
    show(result, as_json, [f"{n:,} rows written to {out} in {result['seconds']:.1f} s"])


def _given_of(pairs: list[str] | None) -> dict[str, str]:
    """Return column → text of every `--given column=value`; the value may hold `=` signs."""
    given: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"cannot read {pair!r}", "--given", "write --given column=value")
        if name in given:
            raise InputError(
                f"column {name!r} is given twice", "--given", "give one value for each column"
            )
        given[name] = value
    return given


@app.command()
def impute(run: RunFolder, data: Data, out: Out, as_json: Json = False) -> None:
    """Fill missing cells with what a VAE or IWAE expects of them; other cells stay."""
    from jensen.apply import impute_table
    from jensen.runs import open_run

    result = impute_table(open_run(run), data, out, note)
    line = f"{result['filled']:,} cells of {result['n']:,} rows filled in to {out}"
    show(result, as_json, [f"{line} in {result['seconds']:.1f} s"])


@app.command()
def evaluate(run: RunFolder, data: Data, as_json: Json = False) -> None:
    """Print held-out figures of DATA with standard errors."""
    from jensen.apply import evaluate_table
    from jensen.runs import open_run

    result = evaluate_table(open_run(run), data, note)
    figure = result["log_prob"]
    if figure["kind"] == "none":
        lines = ["log p        none: a GAN has no density", *_sample_lines(result["two_sample"])]
    else:
        name = result["baseline"]
        base = result[name.replace(" ", "_").lower()]
        lines = [
            f"log p        {figure['mean']:.4f} ± {figure['se']:.4f} nats per row "
            f"({figure['kind']}, {result['n']:,} rows)",
            f"bits/dim     {result['bits_per_dim']:.4f}",
            f"baseline     {base['mean']:.4f} ± {base['se']:.4f} nats per row ({name})",
            *(
                [f"certificate  {result['certificate']['verdict']}"]
                if "certificate" in result
                else []
            ),
            *(_equation_lines(result["equation"]) if "equation" in result else []),
        ]
    show(result, as_json, lines)


def _equation_lines(solved: dict[str, Any]) -> list[str]:
    probes = f" ({solved['probes']} probes)" if solved["probes"] else ""
    line = (
        f"equation     tolerance {solved['tolerance']:g}, {solved['divergence']} divergence{probes}"
    )
    error = solved["log_prob_error"]
    if error is None:
        return [line]
    return [
        f"{line}: log p is off by {error['mean']:.1g} nats on average, by {error['largest']:.1g} "
        f"at most ({error['n']} rows)"
    ]


@app.command()
def report(
    run: RunFolder,
    normal: Annotated[
        str | None, typer.Option("--normal", metavar="DATA", help="Fresh normal rows.")
    ] = None,
    anomalies: Annotated[
        str | None, typer.Option("--anomalies", metavar="DATA", help="Known anomalies.")
    ] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="False-alarm rate.")] = None,
    as_json: Json = False,
) -> None:
    """Write RUN/report.html: one self-contained page."""
    from jensen.report.run import report_run
    from jensen.runs import open_run

    path = report_run(open_run(run), normal=normal, anomalies=anomalies, alpha=alpha, note=note)
    show({"report": str(path)}, as_json, [f"report       {path}"])


@app.command()
def compare(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for the table and the figure.")],
    seed: Annotated[int, typer.Option("--seed", help="Of the split and of every fit.")] = 0,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes of each network over the data at most.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", help="Of a larger table as many are drawn [20000].")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Families at a time [one per processor].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit several families to one split of DATA: one table, one figure, a recommendation."""
    from jensen.comparing import ROWS
    from jensen.comparing import compare as run_all
    from jensen.data.output import output_folder
    from jensen.report.compared import HEADER, comparison_rows, write_comparison

    compile_quickly()
    output_folder(out)
    settings = {} if epochs is None else {"epochs": epochs}
    most = ROWS if rows is None else rows
    found = run_all(data, seed=seed, settings=settings, most_rows=most, jobs=jobs, told=_judged)
    result = write_comparison(found, out)
    for text in found.notes:
        note(text)
    split = result["split"]
    lines = [
        *aligned([HEADER, *comparison_rows(found)]),
        "",
        f"split        {split['train']:,} training, {split['validation']:,} validation, "
        f"{split['test']:,} test rows, the same for all; log p and JSD in nats",
        f"fit s, MiB   by the clock, compilation included, {found.jobs} at a time; the most memory "
        "of the family's own process",
        *(
            f"{advice['purpose']:15}{advice['choice'] or 'no advice'}: {advice['reason']}"
            for advice in result["recommendation"]
        ),
        f"table        {result['table']}",
        *(f"figure       {path}" for path in result["figures"]),
    ]
    show(result, as_json, lines)


def _judged(one: Judged) -> None:
    """Say on standard error that a family is done."""
    took = "" if math.isnan(one.seconds) else f"{one.seconds:.1f} s"
    done = ", ".join(filter(None, [one.chosen, took])) or "real rows, for the samples"
    note(f"{one.name}: {one.reason or done}")


@app.command("compare-samples")
def compare_samples(
    first: Annotated[str, typer.Argument(metavar="A", help="A table, say the real one.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another with the same columns.")],
    seed: Annotated[int, typer.Option("--seed", help="All randomness of the comparison.")] = 0,
    as_json: Json = False,
) -> None:
    """Say whether two tables can be told apart, by how much, and by which columns."""
    from jensen.evaluation.two_sample import two_sample

    found = two_sample(first, second, random_state=seed)
    show(found.to_dict(), as_json, found.lines())
