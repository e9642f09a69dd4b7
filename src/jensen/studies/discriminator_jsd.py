r"""The Jensen–Shannon divergence from a discriminator.

    JSD_π(p, q) = H(π) + max_D { π E_p log σ(b) + (1-π) E_q log σ(-b) },    b = C + log π/(1-π)

and for π = ½

    JSD(p, q) = log 2 + ½ max_D { E_p log D + E_q log(1 - D) }.

A trained D that is judged on rows it has not seen gives a lower bound with a standard error, and
never more than log 2; the same D serves every π.

Source: the course documents' question on the Jensen–Shannon divergence; Goodfellow et al. 2014.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from jensen.evaluation.discriminator import Discriminator, train_discriminator
from jensen.evaluation.divergences import LOG_2, quadrature
from jensen.objectives.divergences import jensen_shannon
from jensen.report.plots import pit_histogram
from jensen.report.spread import estimates
from jensen.studies.gan_optimum import PAIRS, normal
from jensen.studies.notebook import Notebook

KNOWN = (0.0303113005, 0.1114214822, 0.3368308203, 0.6327201937, 0.1281749730)
KNOWN_QUARTER = (0.0228946932, 0.0854493867, 0.2656533073, 0.5110597322)
BIAS = 0.01  # of a trained bound, below the truth


def truth(weight: float, mean: float, sd: float) -> float:
    """Return JSD_π of N(0, 1) and N(mean, sd²) by quadrature, nats."""
    p, q = normal(0, 1), normal(mean, sd)
    return quadrature(jensen_shannon(weight), p.logpdf, q.logpdf, (-14.0, 18.0))


def study(book: Notebook) -> None:
    """Compare trained discriminators with quadrature, and test equal laws."""
    n = 4000 if book.quick else 20_000
    _quadrature(book)
    found, entries = [], []
    for i, (mean, sd) in enumerate(PAIRS):
        random = np.random.default_rng([book.seed, i])
        p, q = random.normal(size=n), random.normal(mean, sd, size=n)
        found.append(train_discriminator(p, q, seed=book.seed))
        entries += _estimates(book, found[-1], mean, sd)
    book.at_most(
        "below-log-2", "largest estimate (nats)", max(one.jsd for one in found), LOG_2, 1e-12
    )
    _equal_laws(book)
    book.figure(
        estimates(entries, unit="Jensen–Shannon divergence (nats)", limit=(LOG_2, "log 2")),
        "discriminator-jsd",
    )
    book.used = "made: normal rows"


def _quadrature(book: Notebook) -> None:
    gaps = [abs(truth(0.5, *pair) - known) for pair, known in zip(PAIRS, KNOWN, strict=True)]
    quarter = zip(PAIRS[:4], KNOWN_QUARTER, strict=True)
    gaps += [abs(truth(0.25, *pair) - known) for pair, known in quarter]
    book.at_most(
        "quadrature", "quadrature against the nine published digits (nats)", max(gaps), 1e-9
    )


def _estimates(
    book: Notebook, found: Discriminator, mean: float, sd: float
) -> list[tuple[str, float, float, float]]:
    """Claim the estimates of one pair for π = ½ and ¼; return them with the truth."""
    entries = []
    for weight in (0.5, 0.25) if sd == 1 else (0.5,):
        value, se = found.jensen_shannon(weight)
        exact = truth(weight, mean, sd)
        name = f"N({mean:g}, {sd:g}²), π = {weight:g}"
        book.at_most(
            f"not-above-{mean:g}-{sd:g}-{weight:g}",
            f"{name}: estimate less truth, in standard errors",
            (value - exact) / se,
            3.0,
        )
        book.at_most(
            f"not-below-{mean:g}-{sd:g}-{weight:g}",
            f"{name}: truth less estimate (nats), within 3 standard errors or {BIAS}",
            exact - value,
            max(BIAS, 3 * se),
        )
        entries.append((name, value, se, exact))
    return entries


def _equal_laws(book: Notebook) -> None:
    """Test N(0, 1) against itself many times: the p-values are uniform."""
    repeats, n = (20, 400) if book.quick else (100, 1000)
    values = []
    for i in range(repeats):
        random = np.random.default_rng([book.seed, 1000 + i])
        found = train_discriminator(random.normal(size=n), random.normal(size=n), seed=i)
        values.append(found.p_value(seed=i))
    rejected = float(np.mean(np.array(values) <= 0.05))
    # an exact test gives more than this once in 200 runs
    bound = float(binom.ppf(0.995, repeats, 0.05)) / repeats
    book.at_most("equal-laws", f"share of {repeats} equal pairs rejected at 5%", rejected, bound)
    book.figure(pit_histogram(values), "discriminator-jsd-p-values")
