r"""A detector looks at itself: two signs that high scores do not mean normal rows.

**Constant inputs.** Density models of images are known to score flat images above real ones. Rows
with one value in every numeric column, where the values of each column allow it, are scored beside
normal rows.

**Own samples.** Rows drawn from the model should score as held-out normal rows do. The measure is
a = P(sample scores above a normal row) + ½ P(equal), ½ where both follow one law.

Either sign says that low scores may not be the only odd ones: two-sided typicality, or the distance
in a kernel density, is then the safer score.

Sources: Nalisnick et al. 2019 (arXiv:1810.09136); Serrà et al. 2020 (arXiv:1909.11480).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jensen.anomaly.errors import auroc

HIGH = 0.9
"""Share of normal rows that a constant row must outscore to be remarked on."""

APART = (0.25, 0.75)
"""a outside these bounds is remarked on."""


def constant_rows(rows: np.ndarray, numeric: np.ndarray) -> np.ndarray:
    """Return copies of the first row with one value in every numeric column, `(m, D)`.

    Args:
        rows: `(n, D)` encoded normal rows.
        numeric: `(D,)` bool, which columns are numbers that vary; at least four to say anything.

    Example:
        >>> grey = np.array([[0.0, 9.0, 0.0, 4.0], [9.0, 0.0, 9.0, 0.0]])
        >>> constant_rows(grey, np.full(4, True))[:, 0].tolist()
        [0.0, 2.0, 4.0]
    """
    values = rows[:, numeric]
    if values.shape[1] < 4:
        return rows[:0]
    low, high = np.nanmin(values, axis=0).max(), np.nanmax(values, axis=0).min()
    if low > high:
        return rows[:0]
    levels = np.unique([low, (low + high) / 2.0, high])
    flat = np.repeat(rows[:1], len(levels), axis=0)
    flat[:, numeric] = levels[:, None]
    return flat


def self_check(
    score: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    numeric: np.ndarray,
    samples: np.ndarray | None,
) -> tuple[str, ...]:
    """Return remarks in plain words, none where both signs are absent.

    Args:
        score: encoded rows `(m, D)` → scores `(m,)`, higher = more normal.
        rows: `(n, D)` encoded normal rows that the model was not trained on.
        numeric: `(D,)` bool, which columns are numbers that vary.
        samples: `(m, D)` rows drawn from the model, or None where it cannot be sampled.

    Example:
        >>> normal = np.random.default_rng(0).normal(size=(500, 5))
        >>> log_p = lambda x: -0.5 * np.sum(x**2, axis=1)
        >>> self_check(log_p, normal, np.full(5, True), normal[::-1])[0][:34]
        'rows with one value in all columns'
    """
    normal, remarks = score(rows), []
    flat = constant_rows(rows, numeric)
    if len(flat):
        of_flat = score(flat)
        best = int(np.argmax(of_flat))
        share = float(np.mean(normal < of_flat[best]))
        if share > HIGH:
            value = flat[best][numeric][0]
            remarks.append(
                f"rows with one value in all columns ({value:.3g}) score above {share:.0%} of "
                "normal rows: the model prefers constant inputs; look at the score typicality too"
            )
    if samples is not None and len(samples):
        above, _ = auroc(score(samples), normal)
        if not APART[0] <= above <= APART[1]:
            which = "above" if above > 0.5 else "below"
            remarks.append(
                f"the model's own samples score {which} normal rows (chance {above:.2f} to be "
                "above, 0.5 if alike): its scores do not describe typical rows; look at the score "
                "typicality too"
            )
    return tuple(remarks)
