"""What a report is made of: plain values and arrays, no model, no file.

Everything but the title may be missing; a section whose values are missing is left out of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike


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
        log_prob: held-out log-likelihood: `mean` and `se` in nats per row, `kind` (`exact`,
            `iwae`, `quadrature`, `ais`) and `n`, the number of rows.
        baseline: the same for a simpler model: `name`, `mean`, `se`, and `difference_se`, the
            paired standard error of the difference of the means, where it is known.
        names: the `D` column names.
        data: `(n, D)` rows of the data, in their own units.
        samples: `(m, D)` rows drawn from the model.
        pit: `(n,)` probability integral transforms of held-out rows, in [0, 1].
        calibration_scores: `(c,)` log-likelihoods that set the threshold, nats.
        normal_scores: `(n,)` log-likelihoods of held-out normal rows.
        anomaly_scores: `(m,)` log-likelihoods of known anomalies.
        alpha: stated false-alarm rate, in (0, 1).
        threshold: rows with a log-likelihood at or below it are flagged.
        notes: warnings in plain words.

    Example:
        >>> Report(title="A flow of two moons").notes
        ()
    """

    title: str
    subtitle: str = ""
    data_facts: Sequence[tuple[str, object]] = ()
    model_facts: Sequence[tuple[str, object]] = ()
    metrics: Mapping[str, ArrayLike] | None = None
    log_prob: Mapping[str, object] | None = None
    baseline: Mapping[str, object] | None = None
    names: Sequence[str] = ()
    data: ArrayLike | None = None
    samples: ArrayLike | None = None
    pit: ArrayLike | None = None
    calibration_scores: ArrayLike | None = None
    normal_scores: ArrayLike | None = None
    anomaly_scores: ArrayLike | None = None
    alpha: float | None = None
    threshold: float | None = None
    notes: Sequence[str] = ()
