r"""A density from a discriminator: f₁ = f₀ D/(1 - D), whatever the class sizes.

With n₁ rows of f₁ and n₀ of f₀ the best D has the logit

    C(x) = log n₁/n₀ + log f₁(x)/f₀(x),

so the ratio is D/(1-D) times n₀/n₁: forgetting the class sizes is wrong by log n₁/n₀ everywhere.
With f₀ known, f₁ follows; E_f₀[ratio] = 1 checks it, and so does the calibration of D.

Source: the course document's question on density ratios; Sugiyama et al. 2012.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from jensen.evaluation.discriminator import Discriminator, train_discriminator
from jensen.report.spread import calibration, densities
from jensen.studies.notebook import Notebook

VISIBLE = 0.01  # densities above this share of their maximum are compared


class Mixture:
    """The law f₁: two round normals.

    Args:
        dim: 1 or 2.
    """

    def __init__(self, dim: int) -> None:
        self.centres = (
            np.array([[-1.0], [1.2]]) if dim == 1 else np.array([[-1.0, 0.4], [1.0, -0.6]])
        )
        self.spreads, self.shares = (0.5, 0.7), (0.4, 0.6)

    def sample(self, random: np.random.Generator, n: int) -> np.ndarray:
        """Return rows `(n, dim)`."""
        which = random.choice(2, size=n, p=self.shares)
        noise = random.normal(size=(n, self.centres.shape[1]))
        return self.centres[which] + np.array(self.spreads)[which, None] * noise

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Return log f₁ `(n,)`, nats."""
        parts = [
            np.log(share) + norm.logpdf(x, centre, spread).sum(axis=1)
            for share, centre, spread in zip(self.shares, self.centres, self.spreads, strict=True)
        ]
        return np.logaddexp(*parts)


def study(book: Notebook) -> None:
    """Recover a density in one and two dimensions, from equal and from unequal samples."""
    n = 5000 if book.quick else 20_000
    shown = {}
    for dim in (1, 2):
        for share in (1, 4):
            random = np.random.default_rng([book.seed, dim, share])
            law = Mixture(dim)
            f1 = law.sample(random, n)
            f0 = random.normal(scale=1.5, size=(n // share, dim))
            found = train_discriminator(f1, f0, seed=book.seed)
            _claims(book, found, law, dim, share)
            shown[dim, share] = found
    line = np.linspace(-4, 4, 401)
    base = norm.logpdf(line, 0, 1.5)
    book.figure(
        densities(
            line,
            {
                "f₁, true": np.exp(Mixture(1).log_density(line[:, None])),
                "from equal samples": np.exp(shown[1, 1].log_density(line, base)),
                "from n₁ = 4 n₀": np.exp(shown[1, 4].log_density(line, base)),
                "f₀, known": np.exp(base),
            },
        ),
        "density-ratio",
    )
    book.figure(
        calibration(
            {
                "equal samples": shown[1, 1].calibration_curve(),
                "n₁ = 4 n₀": shown[1, 4].calibration_curve(),
            }
        ),
        "density-ratio-calibration",
    )
    book.used = "made: a mixture of two normals beside a wide normal"


def _claims(book: Notebook, found: Discriminator, law: Mixture, dim: int, share: int) -> None:
    name = f"{dim}-D, n₁ = {share} n₀" if share > 1 else f"{dim}-D, equal samples"
    axis = np.linspace(-4.5, 4.5, 901 if dim == 1 else 121)
    grid = axis[:, None] if dim == 1 else np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    log_f1 = law.log_density(grid)
    log_f0 = norm.logpdf(grid, 0, 1.5).sum(axis=1)
    seen = (log_f1 > log_f1.max() + np.log(VISIBLE)) & (log_f0 > log_f0.max() + np.log(VISIBLE))
    error = (found.log_ratio(grid) - (log_f1 - log_f0))[seen]
    book.at_most(
        f"unbiased-{dim}-{share}",
        f"{name}: |mean error| of the log ratio where both densities exceed 1% (nats)",
        abs(error.mean()),
        0.1 if book.quick else 0.05,
    )
    book.at_most(
        f"close-{dim}-{share}",
        f"{name}: root mean square error of the log ratio there (nats)",
        np.sqrt(np.mean(error**2)),
        0.35 if book.quick else 0.2,
    )
    total, se = found.normalisation
    book.equal(
        f"normalised-{dim}-{share}",
        f"{name}: E_f₀[ratio] on held-out rows; tolerance 3 standard errors and 0.02",
        total,
        1.0,
        3 * se + 0.02,
    )
    curve = found.calibration_curve()
    # ten intervals at once: 3.5 standard errors are left by a right D once in 200 runs
    gap = np.abs(curve[:, 1] - curve[:, 0]) / np.maximum(curve[:, 2], 1e-9)
    book.at_most(
        f"calibrated-{dim}-{share}",
        f"{name}: largest distance of the calibration curve from the diagonal, standard errors",
        gap.max(),
        3.5,
    )
