"""What a report is made of: plain values and arrays, no model, no file.

Everything but the title may be missing; a section whose values are missing is left out of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Game:
    """What a report says of a game of a discriminator and a generator.

    Args:
        metrics: columns `(n,)`: `step`, the losses `discriminator` and `generator`,
            `gradient_norm`, and the held-out `jsd` (nats) with its standard error `jsd_se`.
        losses_if_same: the losses of both where samples follow the law of the data and the
            discriminator is at its best; NaN where the loss has no such value.
        implied: what the discriminator's loss would say of the distance of samples and data if the
            discriminator were at its best: `name`, `unit`, the `least` and the `most` it can be
            (None: no end), and its `values` `(n,)`.
        packing: rows that the discriminator sees at once.
        judged: the figures of the finished run on rows that took no part: `jsd`, `se`, `p_value`,
            `normalisation`, `mmd`, `mmd_p_value`, `n`.
        verdict: the comparison by columns of held-out rows with samples, as
            `jensen.evaluation.two_sample.TwoSample.to_dict` gives it.
        origin: which rows were held out, in plain words.
        neighbours: `samples` and `real rows` → precision, recall, density and coverage against
            the same held-out rows; the second is what two samples of one law have.
        n_neighbours: rows of either kind behind them.
        modes: of a made set, `name` and the coverage of its modes, or of parts of its curve, as
            `jensen.evaluation.coverage.Coverage.to_dict` gives it.
        trail: name → rows drawn during training, `(n, D)` or images `(n, H, W)`, in order.
    """

    metrics: Mapping[str, ArrayLike] = field(default_factory=dict)
    losses_if_same: tuple[float, float] = (float("nan"), float("nan"))
    implied: Mapping[str, Any] | None = None
    packing: int = 1
    judged: Mapping[str, Any] | None = None
    verdict: Mapping[str, Any] | None = None
    origin: str = "held-out rows"
    neighbours: Mapping[str, Mapping[str, float]] | None = None
    n_neighbours: int = 0
    modes: Mapping[str, Any] | None = None
    trail: Mapping[str, ArrayLike] | None = None


@dataclass(frozen=True)
class Hidden:
    """What a report says of a model with latent variables.

    Args:
        bound: the bound that was trained, in plain words.
        curves: columns `(n,)`: `step`, the bounds `training` and `validation` in nats per row
            (higher is better), and the `rate` of learning.
        certificate: the evidence of held-out rows: `k`, `ess` and `pareto_k` `(n,)`,
            `monte_carlo` (error of the mean as a figure of these rows, nats), `flagged`, `trusted`
            and the `verdict` in plain words.
        ladder: K → mean of log p̂ over the same rows and its standard error, nats.
        exact: the same mean by numerical integration, and its error, where there is one.
        ladder_rows: rows behind both.
        activity: `(L,)` variance over rows of the posterior means.
        active: the variance above which a latent variable is in use.
        plane: `means` `(n, 2)` of the two latent variables in `axes` (numbers from 0), the prior's
            `density` on a grid, and `labels` `(n,)` of the rows with what they are, `by`.
        rebuilt: column → `observed` and `rebuilt` `(n,)` cells of numbers.
        told: `(column, right, right by the most frequent value, cells)` of the others.
        pictures: name → images `(n, H, W)`: originals first, then what the decoder makes of them.
        sweep: latent variable → column, or level → its value along `sweep_at`, in standard
            deviations of the column; or latent variable → images.
        sweep_at: `(s,)`, in standard deviations of the posterior means.
        missing: column → missing cells of the held-out rows.
        regained: for each column what imputation made of cells that were hidden from the model, see
            `jensen.report.regained.Regained`.
        n: held-out rows behind `missing`.
    """

    bound: str
    curves: Mapping[str, ArrayLike] = field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None
    ladder: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    exact: tuple[float, float] | None = None
    ladder_rows: int = 0
    activity: ArrayLike = ()
    active: float = 0.01
    plane: Mapping[str, Any] | None = None
    rebuilt: Mapping[str, Mapping[str, ArrayLike]] = field(default_factory=dict)
    told: Sequence[tuple[str, int, int, int]] = ()
    pictures: Mapping[str, ArrayLike] | None = None
    sweep: Mapping[int, Any] | None = None
    sweep_at: ArrayLike = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    regained: Sequence[Any] = ()
    n: int = 0


@dataclass(frozen=True)
class Case:
    """What a report says of one row that scores low.

    Args:
        row: its place in its table, counted from 1.
        score: its log-likelihood, nats; -∞ where it is impossible.
        p_value: its p-value.
        reference_score: log-likelihood of the nearest normal row, nats.
        shares: `(column, this row's value, the nearest normal row's, nats)`, guiltiest first: what
            the column adds in going over from the normal row to this one.
        others: nats that the columns not among `shares` add, and how many they are.
        told: what would make the row normal, in one sentence; empty where it is not flagged.
        image: `(H, W)` or `(H, W, C)` where rows are images, else None.
        heat: what each pixel adds, nats, of the image's shape; -∞ where it is impossible.
    """

    row: int
    score: float
    p_value: float
    reference_score: float
    shares: Sequence[tuple[str, str, str, float]]
    others: tuple[float, int]
    told: str = ""
    image: ArrayLike | None = None
    heat: ArrayLike | None = None


@dataclass(frozen=True)
class Explained:
    """What a report says of the rows that score lowest.

    Args:
        origin: which rows they are from, in plain words.
        n: how many rows those are.
        cases: the lowest, lowest first.
        orders: orders of columns behind each share.
    """

    origin: str
    n: int
    cases: Sequence[Case]
    orders: int


@dataclass(frozen=True)
class Report:
    """The content of one report page.

    Args:
        title: heading of the page.
        subtitle: one sentence, what was fitted on what.
        data_facts: `(label, value)` rows about the data: source, rows, columns, kinds, constant
            columns, fingerprint.
        model_facts: `(label, value)` rows about the model: family, architecture, parameters,
            seed, seconds, versions.
        metrics: columns of training, see `jensen.report.learning_curves`.
        loss_unit: of the losses among them.
        log_prob: held-out log-likelihood: `mean` and `se` in nats per row, `kind` (`exact`,
            `iwae`, `quadrature`, `ais`) and `n`, the number of rows.
        baseline: the same for a simpler model: `name`, `mean`, `se`, and `difference_se`, the
            paired standard error of the difference of the means, where it is known.
        names: the `D` column names.
        data: `(n, D)` rows of the data, in their own units.
        samples: `(m, D)` rows drawn from the model.
        levels: categorical column → level → its share in the data and in the samples.
        images: `data` and `samples` as `(n, H, W)` or `(n, H, W, C)`, where rows are images.
        pit: `(n,)` probability integral transforms of held-out rows, in [0, 1].
        calibration_scores: `(c,)` log-likelihoods that set the threshold, nats.
        normal_scores: `(n,)` log-likelihoods of held-out normal rows.
        anomaly_scores: `(m,)` log-likelihoods of known anomalies.
        alpha: stated false-alarm rate, in (0, 1).
        threshold: rows with a log-likelihood at or below it are flagged.
        notes: warnings in plain words.
        explained: the rows that score lowest, and why.
        game: what belongs to a GAN alone.
        hidden: what belongs to a model with latent variables alone.
        target: the figures of a flow fitted to a density, see
            `jensen.evaluation.certificate.Certificate.to_dict`.

    Example:
        >>> Report(title="A flow of two moons").notes
        ()
    """

    title: str
    subtitle: str = ""
    data_facts: Sequence[tuple[str, object]] = ()
    model_facts: Sequence[tuple[str, object]] = ()
    metrics: Mapping[str, ArrayLike] | None = None
    loss_unit: str = "nats per example"
    log_prob: Mapping[str, object] | None = None
    baseline: Mapping[str, object] | None = None
    names: Sequence[str] = ()
    data: ArrayLike | None = None
    samples: ArrayLike | None = None
    levels: Mapping[str, Mapping[str, tuple[float, float]]] | None = None
    images: Mapping[str, ArrayLike] | None = None
    pit: ArrayLike | None = None
    calibration_scores: ArrayLike | None = None
    normal_scores: ArrayLike | None = None
    anomaly_scores: ArrayLike | None = None
    alpha: float | None = None
    threshold: float | None = None
    notes: Sequence[str] = ()
    explained: Explained | None = None
    game: Game | None = None
    hidden: Hidden | None = None
    target: Mapping[str, Any] | None = None
