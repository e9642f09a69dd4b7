"""The page of a GAN: its cards and sections.

Losses of a game say nothing of quality by themselves: whoever is ahead, they may stay where they
are. So every section states the figure beside what it would be if samples followed the law of the
data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jensen.report.canvas import number, with_error
from jensen.report.columns import most_related
from jensen.report.content import Game, Report
from jensen.report.duel import game_curves, neighbours, told_apart
from jensen.report.images import tiles
from jensen.report.page import Finding, Layout, Picture, Section, Table, picture
from jensen.report.samples import growing
from jensen.report.sections import columns, fitted, images, levels
from jensen.report.words import figure_of, percent

_LOG_2 = math.log(2.0)
_SURE = 0.05
_MOST_COLUMNS = 12
_MEASURES = {
    "precision": "samples that lie among the held-out rows; low: they stray",
    "recall": "held-out rows that lie among the samples; low: some kinds of rows are never made",
    "density": "how crowded held-out rows are around the samples",
    "coverage": "held-out rows with a sample in their neighbourhood; low: modes are missing",
}


def distance_card(report: Report) -> Finding | None:
    """Return the card of the divergence: the larger of the bounds that two classifiers found."""
    game = report.game or Game()
    looked = _looked(game)
    if not looked:
        return None
    _, jsd, se, _ = max(looked, key=lambda one: one[1])
    meaning = (
        f"0: samples follow the law of the data; {_LOG_2:.4f} (log 2): none could be taken for a "
        "row. A lower bound from rows that were not trained on"
    )
    if len(looked) > 1:
        each = "; ".join(f"{how}, {with_error(bound, err)}" for how, bound, err, _ in looked)
        meaning += f", the larger of two: {each}"
    return Finding(
        "Divergence of samples from the data", f"{with_error(jsd, se)} nats", f"{meaning}."
    )


def verdict_card(report: Report) -> Finding | None:
    """Return the card that says whether samples can be told from rows of the data."""
    game = report.game or Game()
    looked = _looked(game)
    if not looked:
        return None
    p = min(1.0, len(looked) * min(one[3] for one in looked))  # Bonferroni's
    told = "Told apart" if p <= _SURE else "Not told apart"
    twice = ", corrected for two tries" if len(looked) > 1 else ""
    meaning = f"Samples of the same law would look as different this often: {_chance(p)}{twice}."
    if game.verdict is not None:
        right = percent(figure_of(game.verdict["accuracy"], "value"))
        meaning += f" Of unseen rows and samples {right} are told right, where 50% is guessing."
        if sure := _sure(game.verdict):
            meaning += f" The column that differs most by itself: {sure[0]['name']}."
    return Finding("Samples against held-out rows", told, meaning)


def precision_card(report: Report) -> Finding | None:
    """Return the card of precision: how many samples lie where the data do."""
    game = report.game or Game()
    if game.modes is not None:
        mine, real = game.modes["share"], game.modes["oracle"]["share"]
        where, others = "within 3σ of the modes", "rows of the true law"
        if _parts_of(game.modes) != "modes":
            where = "within 3σ of the curve"
    elif game.neighbours is not None:
        mine, real = (game.neighbours[name]["precision"] for name in ("samples", "real rows"))
        where, others = "in the neighbourhood of a held-out row", "fresh rows of the data"
    else:
        return None
    meaning = f"They lie {where}. Of {others} {percent(real)} do."
    return Finding("Samples where the data are", percent(mine), meaning)


def coverage_card(report: Report) -> Finding | None:
    """Return the card of coverage: of modes where they are known, else of the held-out rows."""
    game = report.game or Game()
    if game.modes is not None:
        what, oracle = _parts_of(game.modes), game.modes["oracle"]
        value = f"{game.modes['covered']} of {game.modes['total']} {what}"
        meaning = (
            f"They hold a sample within 3σ. As many rows of the true law reach {oracle['covered']}."
        )
        return Finding("Data where the samples are", value, meaning)
    if game.neighbours is None:
        return None
    mine, real = (game.neighbours[name]["coverage"] for name in ("samples", "real rows"))
    meaning = (
        "Held-out rows that have a sample in their neighbourhood. Fresh rows of the data reach "
        f"{percent(real)}."
    )
    return Finding("Data where the samples are", percent(mine), meaning)


def trail(report: Report) -> Section | None:
    """Return the section of samples through training."""
    found = (report.game or Game()).trail
    if found is None:
        return None
    tables = {name: np.asarray(rows) for name, rows in found.items()}
    first = next(iter(tables.values()))
    caption = (
        "The first panel is the data, the last what the run kept: the weights of least held-out "
        "divergence, which need not be the last ones."
    )
    if first.ndim > 2:
        drawn = tiles(tables, across=12, down=1)
        alt = f"Images of the data, and drawn at {len(tables) - 2} steps of training."
        return _one("training-samples", "Samples through training", picture(drawn, alt, caption))
    if first.shape[1] < 2:
        return None
    pair = most_related(first)
    names = [str(report.names[j]) for j in pair]
    planes = {name: rows[:, pair] for name, rows in tables.items()}
    drawn = growing(planes, axes=(names[0], names[1]), same_unit=first.shape[1] == 2)
    alt = f"{names[1]} against {names[0]}: the data, and samples as training goes on."
    if first.shape[1] > 2:
        caption += " Shown: the two columns whose ranks go together most in the data."
    return _one("training-samples", "Samples through training", picture(drawn, alt, caption))


def curves(report: Report) -> Section | None:
    """Return the section of the game's curves, and what they mean."""
    game = report.game or Game()
    if np.size(game.metrics.get("step", ())) == 0:
        return None
    implied = None
    if game.implied is not None:
        unit = game.implied["unit"]
        name = f"{game.implied['name']}\n({unit or 'no unit'})"
        implied = (name, game.implied["values"], float(game.implied["most"]))
    drawn = game_curves(game.metrics, losses_if_same=game.losses_if_same, implied=implied)
    alt = (
        "Held-out divergence of samples from data, losses of both players and gradient norm "
        "against the step."
    )
    caption = (
        "The uppermost panel is what chose the weights. The losses are those of a duel: they show "
        "who is ahead, and may stay level while samples improve. A gradient norm that keeps "
        "growing, or losses that swing ever wider, mean that the game does not settle."
    )
    return Section(
        "game", "The game", [_meanings(game)], [picture(drawn, alt, caption)], _words(game)
    )


def _words(game: Game) -> list[str]:
    """Say in plain words what the curves measure."""
    rows = "packs of rows" if game.packing > 1 else "rows"
    said = [
        "Two networks play: the discriminator tells rows of the data from samples, the generator "
        "makes samples that it takes for rows. How far apart they are is measured on rows that "
        "neither was trained on, by a small classifier: 0 where samples follow the law of the "
        f"data, log 2 = {_LOG_2:.4f} nats where each can be told. It is quick, and a lower bound: "
        "the larger classifiers of the finished run may find more.",
    ]
    if game.implied is not None:
        said.append(
            f"At its best, the discriminator’s loss gives the {game.implied['name']} between "
            f"{rows} and samples. What it implies on the way is no estimate: too low where the "
            "discriminator lags or pays a penalty, too high where it has learned its training "
            "rows by heart."
        )
    kept = _kept(game)
    if kept == 0 and np.size(game.metrics["step"]) > 1:
        said.append(
            "The weights before the first step were kept: no later ones had a smaller held-out "
            "divergence. More epochs, or a smaller learning_rate, may find better ones."
        )
    return said


def _kept(game: Game) -> int:
    """Return which evaluation has the least held-out divergence."""
    jsd = np.asarray(game.metrics["jsd"], np.float64)
    return int(np.argmin(np.where(np.isfinite(jsd), jsd, np.inf)))


def _meanings(game: Game) -> Table:
    """Return the table of the last and the best figures beside those of perfect samples."""
    columns = {name: np.asarray(column, np.float64) for name, column in game.metrics.items()}
    kept = _kept(game)
    entries = [
        ("Held-out divergence, small classifier (nats)", columns["jsd"], "0", _or_dash(_LOG_2)),
        ("Discriminator’s loss", columns["discriminator"], _or_dash(game.losses_if_same[0]), "—"),
        ("Generator’s loss", columns["generator"], _or_dash(game.losses_if_same[1]), "—"),
    ]
    if game.implied is not None:
        most = float(game.implied["most"])
        unit = f" ({game.implied['unit']})" if game.implied["unit"] else ""
        values = np.asarray(game.implied["values"], np.float64)
        name = f"{game.implied['name']} that the loss implies{unit}"
        entries.insert(1, (name, values, "0", _or_dash(most)))
    rows = [
        (name, _or_dash(float(values[kept])), _or_dash(float(values[-1])), same, apart)
        for name, values, same, apart in entries
    ]
    step = columns["step"]
    header = ("", f"kept (step {step[kept]:,.0f})", f"last (step {step[-1]:,.0f})")
    return Table(
        "What the curves say",
        (*header, "if the laws were the same", "if told apart"),
        rows,
        "Losses are means over the steps since the evaluation before, penalties included; the "
        "divergence is that of the averaged weights.",
    )


def where(report: Report) -> Section | None:
    """Return the section of the two-sample verdict: by how much, and in which columns."""
    game = report.game or Game()
    if game.verdict is None:
        return None
    verdict = game.verdict
    ranked, sure = _ranked(verdict), _sure(verdict)
    entries = [
        ("all columns together", verdict["jsd"], verdict["se"], bool(verdict["distinguishable"])),
        *((c["name"], c["jsd"], c["se"], c in sure) for c in ranked[:_MOST_COLUMNS]),
    ]
    drawn = told_apart(entries)
    shown = "every column" if len(ranked) <= _MOST_COLUMNS else "the columns that differ most"
    alt = f"Held-out divergence of samples from rows: all columns together, and {shown} alone."
    caption = (
        f"Shown: all columns together, then {shown}, one by one, largest first. 0 is the same law, "
        f"log 2 = {_LOG_2:.4f} nats told apart without error. A column may be right alone and "
        "wrong beside the others: then only the first entry sees it."
    )
    said = [
        f"A classifier saw some of the {verdict['rows']['a']:,} {game.origin} and of as many "
        "samples, and is judged on the others; every figure is a lower bound.",
        " ".join(line.replace("Jensen-Shannon", "Jensen–Shannon") for line in verdict["verdict"]),
    ]
    return Section("where", "Where samples differ", (), [picture(drawn, alt, caption)], said)


def spread(report: Report) -> Section | None:
    """Return the section of coverage: neighbours, and the modes of a made set."""
    game = report.game or Game()
    tables, pictures = [], []
    if game.modes is not None:
        tables.append(_modes(game.modes))
    if game.neighbours is not None:
        kept = {
            name: {measure: figures[measure] for measure in _MEASURES}
            for name, figures in game.neighbours.items()
        }
        alt = (
            "Precision, recall, density and coverage of samples, and of real rows for comparison. "
        )
        alt += "; ".join(
            f"{measure} {kept['samples'][measure]:.2f} against {kept['real rows'][measure]:.2f}"
            for measure in _MEASURES
        )
        explained = "; ".join(f"{name}: {meaning}" for name, meaning in _MEASURES.items())
        caption = (
            f"{explained[0].upper()}{explained[1:]}. The squares are what {game.n_neighbours:,} "
            "real rows reach against as many others: samples of the right law lie there, not at 1, "
            "and samples that are too spread out have a recall beyond it. "
            "Neighbourhoods reach to a row’s fifth neighbour, among the examples that the "
            "networks see."
        )
        pictures.append(picture(neighbours(kept), alt, caption))
    if not tables and not pictures:
        return None
    return Section("coverage", "Coverage", tables, pictures)


def _modes(modes: Mapping[str, Any]) -> Table:
    """Return the table of the coverage of a made set beside the oracle's."""
    oracle, what = modes["oracle"], _parts_of(modes)
    entries = [
        (f"{what} with a sample within 3σ, of {modes['total']}", "covered", "{:d}"),
        ("share of the samples within 3σ", "share", "{:.1%}"),
        ("spread of those, over that of the true law", "spread", "{:.3f}"),
        (f"KL of the shares of the {what} from the true ones (nats)", "imbalance", "{:.4f}"),
    ]
    return Table(
        f"The {what} of {modes['name']}, which are known",
        ("", "samples", "as many rows of the true law"),
        [(name, form.format(modes[key]), form.format(oracle[key])) for name, key, form in entries],
        "A spread below 1 means that samples shrink towards the middle; even perfect samples do "
        "not all lie within 3σ.",
    )


def _parts_of(modes: Mapping[str, Any]) -> str:
    return "modes" if modes["name"] in ("ring", "grid") else "parts of the curve"


def _looked(game: Game) -> list[tuple[str, float, float, float]]:
    """Return what each classifier found: how it was trained, the bound, its error and p-value."""
    found = []
    for how, figures in (
        ("trained on the training rows", game.judged),
        ("trained on held-out rows", game.verdict),
    ):
        one = [figure_of(figures or {}, name) for name in ("jsd", "se", "p_value")]
        if np.isfinite(one).all():
            found.append((how, *one))
    return found


def _ranked(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(verdict["columns"], key=lambda column: -column["jsd"])


def _sure(verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the columns that differ by themselves by more than chance, largest first."""
    limit = _SURE / len(verdict["columns"])  # Bonferroni's
    return [c for c in _ranked(verdict) if c["p_value"] <= limit and c["jsd"] > 0]


def _chance(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-3 else "p < 0.001"


def _or_dash(value: float) -> str:
    if not math.isfinite(value):
        return "—"
    return f"{round(value, 4) + 0.0:.4f}".replace("-", "−") if abs(value) < 1000 else number(value)


def _one(anchor: str, title: str, drawn: Picture) -> Section:
    return Section(anchor, title, pictures=[drawn])


GAME = Layout(
    cards=(distance_card, verdict_card, precision_card, coverage_card),
    sections=(fitted, images, columns, levels, trail, curves, where, spread),
    footer=(
        "Divergences are natural logarithms (nats) and held-out lower bounds; errors after ± are "
        "standard errors."
    ),
)
"""The page of a GAN."""
