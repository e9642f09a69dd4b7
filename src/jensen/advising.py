r"""What to use after a comparison, by purpose, with the reason.

Two log-likelihoods are compared row by row: with d_i = log p_A(x_i) - log p_B(x_i) on the same n
test rows the difference is mean(d) ± sd(d)/√n, whose error is much smaller than that of either
figure where both find the same rows hard. Within `TIE` errors of the best a family is called tied,
and of tied ones the simplest is advised. Divergences of samples rest on other draws for each
family; their errors add in squares, and where they tie, log p decides.

A figure of kind `iwae` is a lower bound: that family may be better than it says, not worse.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jensen.comparing import NETWORKS, ORACLE, Comparison, Judged
from jensen.evaluation.baselines import BASELINES
from jensen.evaluation.likelihood import mean_and_error

TIE = 2.6
"""Standard errors within which families are tied: one false winner in about 100 comparisons."""

_SIMPLEST = (*BASELINES, *NETWORKS)
_MISSING = ("vae", "iwae")


@dataclass(frozen=True)
class Advice:
    """What to use for one purpose.

    Args:
        purpose: `density`, `samples`, `missing cells` or `anomalies`.
        choice: the name of a family; empty where none can be advised.
        tied: the families that are as good within the error, the choice among them.
        reason: why, in plain words.
    """

    purpose: str
    choice: str
    tied: tuple[str, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as plain data."""
        return {**asdict(self), "tied": list(self.tied)}


def advise(found: Comparison) -> list[Advice]:
    """Return what to use for densities, samples, missing cells and anomalies.

    Args:
        found: a finished comparison.
    """
    density = _density(found)
    return [density, _samples(found, density.choice), _missing(found), _anomalies()]


def paired(first: Judged, second: Judged) -> tuple[float, float]:
    """Return the mean difference of log p, first less second, and its standard error, nats.

    Example:
        >>> rows = np.array([-1.0, -2.0])
        >>> paired(Judged("a", rows=rows), Judged("b", rows=rows - 0.5))
        (0.5, 0.0)
    """
    return mean_and_error(np.subtract(first.rows, second.rows))  # type: ignore[arg-type]


def _density(found: Comparison, among: tuple[str, ...] = _SIMPLEST) -> Advice:
    scored = [
        one
        for one in found.models
        if one.name in among and one.rows is not None and math.isfinite(one.log_prob[0])
    ]
    if not scored:
        return Advice("density", "", (), "no family gives the test rows a finite log p")
    best = max(scored, key=lambda one: one.log_prob[0])
    gaps = {one.name: paired(best, one) for one in scored if one is not best}
    tied = [best.name, *(name for name, (gap, se) in gaps.items() if not gap > TIE * se)]
    n = found.sizes[2]
    if len(tied) == 1:
        reason = f"the only family with a log p, {best.log_prob[0]:.3f} nats per row"
        if gaps:
            name, (gap, se) = min(gaps.items(), key=lambda one: one[1][0])
            reason = (
                f"its log p is above that of the next, {name}, by {gap:.3f} ± {se:.3f} nats per "
                f"row on the same {n} test rows"
            )
    else:
        shown = "; ".join(
            f"{best.name} less {name} {gaps[name][0]:.3f} ± {gaps[name][1]:.3f}"
            for name in tied[1:]
        )
        reason = f"tied on the same {n} test rows ({shown} nats per row); the simplest of them"
    choice = min(tied, key=_SIMPLEST.index)
    if choice in BASELINES and among == _SIMPLEST:
        reason += "; no network is ahead here: `jensen fit --model flow` starts at the Gaussian"
    return Advice("density", choice, tuple(tied), reason)


def _samples(found: Comparison, densest: str) -> Advice:
    """Return the family with the least divergence; of tied ones `densest`, if it is one of them."""
    judged = [one for one in found.models if one.samples and one.name != ORACLE]
    if not judged:
        return Advice("samples", "", (), "samples were not judged")
    best = min(judged, key=lambda one: one.samples["jsd"])

    def worse(one: Judged) -> bool:
        gap = one.samples["jsd"] - best.samples["jsd"]
        return gap > TIE * math.hypot(one.samples["se"], best.samples["se"])

    tied = [best.name, *(one.name for one in judged if one is not best and not worse(one))]
    choice = densest if densest in tied else best.name
    own = next(one.samples for one in judged if one.name == choice)
    reason = f"divergence of its samples from the test rows at least {_pm(own)} nats"
    if real := found.models[-1].samples:
        reason += f" (real rows: {_pm(real)})"
    if len(tied) > 1:
        others = ", ".join(name for name in tied if name != choice)
        why = "advised by log p" if choice == densest else "its figure is the least"
        reason += f"; tied with {others}: these rows cannot tell them apart, {why}"
    if choice == "kernel density":
        reason += "; its samples are training rows, slightly moved: they keep no secret"
    return Advice("samples", choice, tuple(tied), reason)


def _pm(samples: dict[str, float]) -> str:
    return f"{samples['jsd']:.3f} ± {samples['se']:.3f}"


def _missing(found: Comparison) -> Advice:
    best = _density(found, _MISSING)
    if not best.choice:
        return Advice("missing cells", "", (), "neither vae nor iwae could be judged")
    reason = f"only vae and iwae integrate over missing cells; of these, {best.reason}"
    return Advice("missing cells", best.choice, best.tied, reason)


def _anomalies() -> Advice:
    reason = (
        "`jensen fit --model detector` pools a flow of blurred rows with kernels and calibrates "
        "the error rate; a higher log p does not make a better detector, so nothing here ranks them"
    )
    return Advice("anomalies", "detector", ("detector",), reason)
