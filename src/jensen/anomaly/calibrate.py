r"""Split-conformal calibration: a p-value from any score, valid whatever the model.

With calibration scores s_1, …, s_n of rows the model has not seen (higher = more normal),

    p(x) = (1 + #{i : s_i ≤ s(x)}) / (n + 1),        flag x when p(x) ≤ α.

If x is exchangeable with the calibration rows, P(p(x) ≤ α) ≤ α: a false-alarm rate that holds in
finite samples, for any model, averaged over calibration sets. Ties count against flagging.

Source: Vovk et al. 2005; Bates et al. 2023 (arXiv:2104.08279), eq. 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np

from jensen._errors import InputError


@dataclass(frozen=True)
class Conformal:
    """Calibrated scores.

    Args:
        scores: `(n,)` scores of the calibration rows, nats, higher = more normal; -inf is legal.

    Raises:
        InputError: without scores, or for a NaN.

    Example:
        >>> conformal = Conformal(np.arange(19.0))
        >>> conformal.p_values(np.array([-1.0, 18.0])).tolist()
        [0.05, 1.0]
        >>> conformal.threshold(0.1)
        1.0
    """

    scores: np.ndarray

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, np.float64).ravel()
        if scores.size == 0 or np.isnan(scores).any():
            raise InputError(
                f"calibration needs scores that are numbers, got {scores.size} "
                f"with {int(np.isnan(scores).sum())} NaN",
                "calibration rows",
                "give rows of normal data that the model was not trained on",
            )
        object.__setattr__(self, "scores", np.sort(scores))

    @property
    def n(self) -> int:
        """The number of calibration rows."""
        return self.scores.size

    @property
    def smallest_alpha(self) -> float:
        """1/(n+1): the smallest level that can be reached."""
        return 1.0 / (self.n + 1)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """Return p(x) for each score, `(m,)` in (0, 1]."""
        at_or_below = np.searchsorted(self.scores, scores, side="right")
        return (1.0 + at_or_below) / (self.n + 1.0)

    def threshold(self, alpha: float) -> float:
        """Return t such that p(x) ≤ α exactly when s(x) < t.

        Raises:
            InputError: for α outside (0, 1), or below the smallest that n rows can reach.
        """
        check_alpha(alpha)
        if not self.reaches(alpha):
            rows = 1.0 / alpha - 1.0
            needed = math.ceil(rows - 1e-9) if rows < 1e12 else f"{rows:.3g}"
            raise InputError(
                f"alpha {alpha:g} is below {self.smallest_alpha:.4g}, the smallest that "
                f"{self.n} calibration rows can reach",
                "alpha",
                f"use alpha ≥ {self.smallest_alpha:.4g}, or calibrate on at least {needed} rows",
            )
        return float(self.scores[self._allowed(alpha) - 1])

    def reaches(self, alpha: float) -> bool:
        """Return whether there are enough calibration rows for some p-value to be at most α."""
        return self._allowed(alpha) >= 1

    def _allowed(self, alpha: float) -> int:
        # the tolerance keeps α = 0.05, n = 19 exact: 0.05 * 20 is 1 up to rounding
        return math.floor(alpha * (self.n + 1) + 1e-9)

    def flags(self, scores: np.ndarray, alpha: float) -> np.ndarray:
        """Return whether each score is flagged at level α, `(m,)` of bool."""
        return np.asarray(scores) < self.threshold(alpha)


def check_alpha(alpha: float) -> None:
    """Raise InputError unless α is a number in (0, 1)."""
    if not (isinstance(alpha, Real) and 0.0 < alpha < 1.0):
        raise InputError(
            f"alpha must lie strictly between 0 and 1, got {alpha}",
            "alpha",
            "0.05 flags 5% of normal rows",
        )
