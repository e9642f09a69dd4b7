"""The command line: parses, calls, prints. No logic lives here.

Results go to standard output (with `--json` one JSON document and nothing else), progress and
remarks to standard error. Exit status: 0 done, 1 a claim failed, 2 usage or input, 3 the run
diverged, 130 interrupted. `--debug` anywhere on the line shows tracebacks.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from jensen._errors import InputError, JensenError

if TYPE_CHECKING:
    from jensen.runs import Run

app = typer.Typer(
    name="jensen",
    help=(
        "Deep generative models whose every number can be trusted.\n\n"
        "Fit a density to a table, score and sample it, and flag anomalies at a stated "
        "false-alarm rate. DATA is a file (.csv .tsv .parquet .arrow .npy .npz .idx[.gz]), a "
        "folder or glob of these, or a built-in set: digits, breast-cancer, wine, iris, "
        "swiss-roll, moons, ring, grid, spiral (NAME:train, :test, :normal, :anomaly where it "
        "has the part). Start with: jensen demo"
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Out = Annotated[Path, typer.Option("--out", help="Output file: .csv, .parquet or .npy.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `fit` wrote.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help="A file, folder, glob or built-in name.")]


def note(text: str) -> None:
    """Print a remark to standard error."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def _plain(value: Any) -> Any:
    """Return the value as JSON can hold it: no NaN, no infinity, no numpy scalar."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    if as_json:
        print(json.dumps(_plain(result), allow_nan=False))
    else:
        print("\n".join(lines))


def _settings(pairs: list[str] | None) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise InputError(f"cannot read {pair!r}", "--set", "write --set key=value")
        settings[name.strip()] = value.strip()
    return settings


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
    _show(result, as_json, result["lines"])


@app.command()
def fit(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The run folder to write.")],
    model: Annotated[str, typer.Option("--model", help="Model family: flow.")] = "flow",
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
    """Train a model on DATA and keep everything in a run folder."""
    from jensen.engine.progress import Progress
    from jensen.runs import fit_run

    settings = _settings(set_)
    if epochs is not None:
        settings["epochs"] = epochs
    with Progress(f"{model} on {data}") as progress:
        run = fit_run(
            data, out, model=model, settings=settings, seed=seed, resume=resume, report=progress
        )
    constant = [run.schema.names[i] for i in run.schema.constant]
    if constant:
        note(f"constant in every row, so any other value is impossible: {', '.join(constant[:10])}")
    result = _fit_result(run)
    held_out, base = result["validation"], run.spec["figures"]["baseline"]
    _show(
        result,
        as_json,
        [
            f"run          {run.folder}",
            f"trained      {result['steps']:,} steps in {result['seconds']:.1f} s",
            f"validation   log p = {held_out['log_prob']:.4f} ± {held_out['se']:.4f} nats per row "
            f"({held_out['kind']}, {held_out['n']} rows)",
            f"Gaussian     log p = {base['log_prob']:.4f} nats per row on the same rows",
            f"next         jensen report {run.folder}",
        ],
    )


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
def score(run: RunFolder, data: Data, out: Out, as_json: Json = False) -> None:
    """Write log p(x) of every row: `log_prob` (nats) and `log_prob_se` (0 where exact)."""
    from jensen.apply import score_table
    from jensen.runs import open_run

    result = score_table(open_run(run), data, out, note)
    _show(result, as_json, [f"{result['n']:,} rows scored to {out} in {result['seconds']:.1f} s"])


@app.command()
def sample(
    run: RunFolder,
    out: Out,
    n: Annotated[int, typer.Option("-n", help="How many rows.")],
    seed: Annotated[int, typer.Option("--seed", help="All randomness of the rows.")] = 0,
    as_json: Json = False,
) -> None:
    """Write new rows, in the columns and units of the training data."""
    from jensen.apply import sample_table
    from jensen.runs import open_run

    result = sample_table(open_run(run), n, out, seed)
    _show(result, as_json, [f"{n:,} rows written to {out} in {result['seconds']:.1f} s"])


@app.command()
def detect(
    run: RunFolder,
    data: Data,
    out: Out,
    alpha: Annotated[
        float, typer.Option("--alpha", help="False-alarm rate: share of normal rows flagged.")
    ] = 0.05,
    as_json: Json = False,
) -> None:
    """Flag anomalies: `log_prob`, `p_value` and `is_anomaly` of every row."""
    from jensen.apply import detect_table
    from jensen.runs import open_run

    result = detect_table(open_run(run), data, alpha, out, note)
    share = result["flagged"] / max(result["n"], 1)
    _show(
        result,
        as_json,
        [
            f"{result['flagged']:,} of {result['n']:,} rows flagged ({share:.1%}) at alpha = "
            f"{alpha:g}; written to {out}",
            f"normal rows are flagged at most {alpha:.2%} of the time, by "
            f"{result['calibration_n']:,} calibration rows",
        ],
    )


@app.command()
def evaluate(run: RunFolder, data: Data, as_json: Json = False) -> None:
    """Print held-out figures of DATA with standard errors."""
    from jensen.apply import evaluate_table
    from jensen.runs import open_run

    result = evaluate_table(open_run(run), data, note)
    figure, base = result["log_prob"], result["gaussian"]
    _show(
        result,
        as_json,
        [
            f"log p        {figure['mean']:.4f} ± {figure['se']:.4f} nats per row "
            f"({figure['kind']}, {result['n']:,} rows)",
            f"bits/dim     {result['bits_per_dim']:.4f}",
            f"Gaussian     {base['mean']:.4f} ± {base['se']:.4f} nats per row",
        ],
    )


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
    _show({"report": str(path)}, as_json, [f"report       {path}"])


def _use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder: the second run starts at once."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(home) / "jensen" / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # a full disk or a damaged entry costs the time of compiling, nothing else
    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")


def _fail(message: str, status: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def _explained(error: BaseException) -> tuple[str, int]:
    """Return the line that tells a user of an error, and the exit status."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return (
            "interrupted — a run that was training goes on with the same command and --resume",
            130,
        )
    if isinstance(error, JensenError):
        return str(error), error.exit_status
    if isinstance(error, OSError):
        return f"{error.strerror or error} — {error.filename or 'a file'} — check path and space", 2
    if isinstance(error, MemoryError):
        return "not enough memory — this machine — use fewer rows or a smaller model", 2
    usage = getattr(error, "format_message", None)
    if usage is not None:
        return f"{usage()} — see jensen --help", 2
    return (
        f"an unexpected {type(error).__name__}: {' '.join(str(error).split())[:300]} — this is "
        "a fault of jensen — please report it with the output of --debug",
        70,
    )


def main() -> None:
    """Run the command line; every failure is one line and an exit status."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"] or ["--help"]
    _use_compilation_cache()
    try:
        status = typer.main.get_command(app).main(
            arguments, prog_name="jensen", standalone_mode=False
        )
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - no traceback for a user
        if debug:
            traceback.print_exc()
        _fail(*_explained(error))
    if status == 130:  # typer turned Ctrl-C into this status
        _fail(*_explained(KeyboardInterrupt()))
    raise SystemExit(status if isinstance(status, int) else 0)
