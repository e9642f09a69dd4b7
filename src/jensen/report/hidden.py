"""The page of a model with latent variables: its cards and sections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jensen.report.canvas import number
from jensen.report.cases import cases
from jensen.report.content import Hidden, Report
from jensen.report.inner import (
    activities,
    bound_curves,
    gains,
    missing_shares,
    rebuilt_columns,
    responses,
)
from jensen.report.latents import bounds, latent_scatter, reconstructions, traversal
from jensen.report.page import Finding, Layout, Picture, Section, Table, picture
from jensen.report.regained import SHARE, Regained
from jensen.report.sections import (
    calibration,
    columns,
    detection,
    fitted,
    images,
    levels,
    likelihood,
)
from jensen.report.words import (
    area_card,
    false_alarm_card,
    likelihood_card,
    missed_card,
    percent,
)

_MOST_GAINS = 30
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def certificate_card(report: Report) -> Finding | None:
    """Return the card that says whether the likelihoods can be read as log p."""
    if report.hidden is None or report.hidden.certificate is None:
        return None
    certificate = report.hidden.certificate
    judged = not np.isnan(certificate["pareto_k"]).all()
    value = "Not judged"
    if judged:
        value = "Can be trusted" if certificate["trusted"] else "A lower bound only"
    return Finding("Evidence certificate", value, certificate["verdict"])


def active_card(report: Report) -> Finding | None:
    """Return the card of the latent variables in use."""
    if report.hidden is None or not np.size(report.hidden.activity):
        return None
    values = np.asarray(report.hidden.activity)
    active, limit = int(np.sum(values > report.hidden.active)), report.hidden.active
    meaning = (
        f"Their posterior mean varies from row to row by more than {limit:g} (variance). The "
        "others carry nothing: the model has switched them off."
    )
    if active == len(values):
        meaning = (
            f"All vary from row to row by more than {limit:g} (variance of the posterior mean)."
        )
    return Finding("Latent variables in use", f"{active} of {len(values)}", meaning)


def regained_card(report: Report) -> Finding | None:
    """Return the card of imputation: in how many columns it beats the mean or the mode."""
    if report.hidden is None or not report.hidden.regained:
        return None
    found = report.hidden.regained
    better = sum(one.low > 0 for one in found)
    worse = sum(one.high < 0 for one in found)
    cells = sum(one.n for one in found)
    meaning = (
        f"Columns in which hidden cells are filled in better than by the training mean or the most "
        f"frequent value, by more than chance ({cells:,} held-out cells hidden). "
        f"{'None is' if not worse else f'{worse} are' if worse > 1 else '1 is'} worse by more than "
        "chance."
    )
    return Finding("Missing cells regained", f"{better} of {len(found)} columns", meaning)


def learning(report: Report) -> Section | None:
    """Return the section of the bounds through training."""
    hidden = report.hidden
    if hidden is None or not np.size(hidden.curves.get("step", ())):
        return None
    drawn = bound_curves(hidden.curves, hidden.bound)
    alt = "Lower bounds of log p of training and validation rows, and learning rate, by step."
    caption = (
        "Higher is better. Held out is always the bound of 16 importance-weighted particles, which "
        "lies nearer to log p than an ELBO: it may be above the training curve. When it falls "
        "while training rises, the model is memorising; the diamond marks the weights kept. Both "
        "are in the units of the table."
    )
    return Section("learning", "Learning", pictures=[picture(drawn, alt, caption)])


def certificate(report: Report) -> Section | None:
    """Return the section of the evidence: what the figures of log p are worth."""
    hidden = report.hidden
    if hidden is None or hidden.certificate is None:
        return None
    found = hidden.certificate
    ess, k_hat = np.asarray(found["ess"]), np.asarray(found["pareto_k"])
    known = k_hat[~np.isnan(k_hat)]
    mean_k = f"{number(float(np.quantile(known, 0.95)), 2)}" if known.size else "—"
    flagged = f"{found['flagged']:,} of {k_hat.size:,} ({percent(found['flagged'] / k_hat.size)})"
    rows = [
        ("Weights in each estimate, K", f"{found['k']:,}"),
        (
            "Effective sample size: median, least",
            f"{number(float(np.median(ess)), 3)}, {number(float(ess.min()), 3)} of {found['k']:,}",
        ),
        ("Rows with a Pareto k-hat above 0.7, or unknown", flagged),
        ("Pareto k-hat that 95% of rows stay below", mean_k),
        (
            "Monte Carlo error of the mean for these very rows",
            f"{number(found['monte_carlo'], 2)} nats",
        ),
    ]
    table = Table("What log p̂ rests on", ("", "value"), rows)
    said = [
        "log p of a row is an integral over the latent variables. It is estimated by the mean of K "
        "importance weights: right on average for p, so a lower bound of log p on average. The "
        "estimate can be trusted where no few weights make up the mean.",
        found["verdict"],
    ]
    pictures = [_ladder(hidden)] if len(hidden.ladder) > 1 else []
    return Section("evidence", "Evidence certificate", [table], pictures, said)


def _ladder(hidden: Hidden) -> Picture:
    """Return the picture of the mean of log p̂ for several K."""
    counts = list(hidden.ladder)
    mean, error = np.array(list(hidden.ladder.values())).T
    drawn = bounds(
        counts,
        {"mean of log p̂": (mean, np.where(np.isfinite(error), error, 0.0))},
        exact=hidden.exact,
    )
    last = number(float(mean[-1] - mean[-2]), 2)
    alt = f"Mean of log p̂ over {hidden.ladder_rows:,} held-out rows against the number of weights."
    caption = (
        f"The same {hidden.ladder_rows:,} held-out rows throughout. K = 1 is the ELBO; the curve "
        f"rises to log p and is flat once it is there. From K = {counts[-2]:,} to {counts[-1]:,} "
        f"it rises by {last} nats. The intervals are those of the rows, the same for every K: a "
        "rise within them can be real."
    )
    if hidden.exact is not None:
        caption += f" The dashed line is the integral done numerically, {number(hidden.exact[0])}."
    return picture(drawn, alt, caption)


def rebuilt(report: Report) -> Section | None:
    """Return the section of reconstructions: images, or cells beside what they were."""
    hidden = report.hidden
    if hidden is None or not (hidden.pictures or hidden.rebuilt or hidden.told):
        return None
    tables, pictures = [], []
    what = "The decoder’s mean at the posterior mean of a held-out row"
    if hidden.pictures:
        names = list(hidden.pictures)
        first = hidden.pictures[names[0]]
        drawn = reconstructions(first, {name: hidden.pictures[name] for name in names[1:]})
        caption = f"{what}, below the image itself; the first ones, none chosen. Grey is a mean."
        pictures.append(picture(drawn, "Held-out images and their reconstructions.", caption))
    if hidden.rebuilt:
        caption = (
            f"{what} against the cell itself. On the dashed line a cell is rebuilt exactly; R² is "
            "the share of the variance that passes through the latent variables. A low one is no "
            "fault by itself: what a row does not share with its other cells is noise to the model."
        )
        alt = f"Rebuilt against observed cells of {len(hidden.rebuilt)} columns."
        pictures.append(picture(rebuilt_columns(hidden.rebuilt), alt, caption))
    if hidden.told:
        rows = [
            (name, f"{right / n:.1%}", f"{most / n:.1%}", f"{n:,}")
            for name, right, most, n in hidden.told
        ]
        header = ("column", "rebuilt right", "right by the most frequent value", "cells")
        tables.append(Table("Columns without distances", header, rows))
    return Section("rebuilt", "Reconstructions", tables, pictures)


def latent_plane(report: Report) -> Section | None:
    """Return the section of the latent variables: which are in use, and where rows lie."""
    hidden = report.hidden
    if hidden is None or not np.size(hidden.activity):
        return None
    values = np.asarray(hidden.activity)
    caption = (
        "A latent variable in use has another posterior mean for each row: at most about 1 under a "
        "standard normal prior. One whose posterior mean hardly varies repeats the prior."
    )
    count = int(np.sum(values > hidden.active))
    alt = f"Variances of the posterior means: {count} of {len(values)} latent variables in use."
    pictures = [picture(activities(values, hidden.active), alt, caption)]
    if hidden.plane is not None:
        plane = hidden.plane
        names = tuple(name_of(axis) for axis in plane["axes"])
        drawn = latent_scatter(
            plane["means"], plane["labels"], axes=(names[0], names[1]), density=plane["density"]
        )
        alt = f"Posterior means of held-out rows in {names[0]} and {names[1]}, by {plane['by']}."
        caption = (
            f"Each mark is a held-out row at its posterior mean, in the two most active latent "
            f"variables; marks tell {plane['by']}. The contours are the prior’s, at 90, 50 and 10% "
            "of its maximum: rows should fill them, and samples come from where they lie."
        )
        pictures.append(picture(drawn, alt, caption))
    return Section("latents", "Latent variables", pictures=pictures)


def sweeps(report: Report) -> Section | None:
    """Return the section of traversals: what each latent variable does."""
    hidden = report.hidden
    if hidden is None or not hidden.sweep:
        return None
    named = {name_of(axis): values for axis, values in hidden.sweep.items()}
    moved = (
        "one latent variable moves over ±2.5 standard deviations of the posterior means, the "
        "others rest at the mean code"
    )
    unit = "standard deviations of the posterior means"
    if hidden.pictures:
        drawn = traversal(named, np.asarray(hidden.sweep_at), unit=unit)
        caption = f"In each row {moved}. Shown: the most active ones, the most active first."
    else:
        drawn = responses(named, hidden.sweep_at)
        caption = (
            f"In each panel {moved}. A line is the decoder’s mean of a column, or the probability "
            "of a level; the six that move most are drawn. A line that never leaves 0 has nothing "
            "to do with this latent variable."
        )
    alt = f"What the decoder makes of {', '.join(named)} as each moves alone."
    return Section("sweeps", "What the latent variables do", (), [picture(drawn, alt, caption)])


def gaps(report: Report) -> Section | None:
    """Return the section of missing cells, and of hidden cells that were filled in."""
    hidden = report.hidden
    if hidden is None or not (hidden.missing or hidden.regained):
        return None
    tables, pictures, said = [], [], []
    if hidden.missing:
        drawn = missing_shares(hidden.missing, hidden.n)
        alt = f"Missing cells of {len(hidden.missing)} columns of the held-out rows."
        caption = "Missing cells are integrated out of log p, in training and in every score."
        pictures.append(picture(drawn, alt, caption))
    if hidden.regained:
        entries = [
            (one.name, one.gain, one.low, one.high, one.n)
            for one in hidden.regained
            if math.isfinite(one.gain)
        ]
        entries = sorted(entries, key=lambda entry: -entry[1])
        if entries:
            shown = entries[:_MOST_GAINS]
            alt = f"Share of the error that imputation takes away in {len(shown)} columns."
            caption = (
                "Error of the training mean (squared) or of the most frequent value (share wrong) "
                "that the model takes away, with 95% intervals. 0: no better than without looking "
                "at the row."
            )
            if len(shown) < len(entries):
                caption += f" Shown: the best {len(shown)} of {len(entries)} columns."
            pictures.append(picture(gains(shown), alt, caption))
        tables.append(_regained(hidden.regained))
        said.append(
            f"{percent(SHARE)} of the observed cells of held-out rows were hidden at random, by a "
            "fixed seed, and filled in from the rest of their rows. Such gaps do not depend on "
            "what is missing; where gaps do, figures may be worse."
        )
    return Section("gaps", "Missing cells", tables, pictures, said)


def _regained(found: Sequence[Regained]) -> Table:
    """Return the table of hidden cells: model beside mean or most frequent value."""
    rows = [_row(one) for one in found]
    header = ("column", "error or share right", "model", "mean or most frequent", "cells")
    note = "RMSE: root mean squared error, in the unit of the column; lower is better."
    return Table("Hidden cells, filled in", header, rows, note)


def _row(one: Regained) -> tuple[str, ...]:
    if one.number:
        return one.name, "RMSE", number(one.model, 3), number(one.simple, 3), f"{one.n:,}"
    return one.name, "right", f"{one.model:.1%}", f"{one.simple:.1%}", f"{one.n:,}"


def name_of(axis: int) -> str:
    """Return the name of a latent variable, counted from 0.

    Example:
        >>> name_of(9)
        'z₁₀'
    """
    return f"z{str(axis + 1).translate(_SUBSCRIPTS)}"


LATENT = Layout(
    cards=(
        likelihood_card,
        certificate_card,
        active_card,
        regained_card,
        false_alarm_card,
        missed_card,
        area_card,
    ),
    sections=(
        fitted,
        likelihood,
        certificate,
        learning,
        rebuilt,
        images,
        columns,
        levels,
        latent_plane,
        sweeps,
        gaps,
        calibration,
        detection,
        cases,
    ),
    footer=(
        "Likelihoods are natural logarithms (nats), in the units of the data: densities of "
        "continuous columns, probabilities of the others; errors after ± are standard errors."
    ),
)
"""The page of a model with latent variables."""
