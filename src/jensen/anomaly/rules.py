r"""Rules of detection: from calibrated scores to a threshold, and what each of them promises.

With n calibration scores $s_{(1)} ≤ … ≤ s_{(n)}$ (higher = more normal), r(x) = #{i : s_i ≤ s(x)}
and level α, a row is flagged when its score lies strictly below t:

    conformal     t = s_(k), k = ⌊α(n+1)⌋                         p = (r+1)/(n+1)
    conditional   t = s_(k), k the largest with P(B_k ≤ α) ≥ c    p = c-quantile of B_(r+1)
    quantile      t = s_(k), k = ⌊αn⌋ + 1                         p = r/n
    mean-sigma    t = mean − Φ⁻¹(1−α) σ                           p = Φ((s − mean)/σ)

where $B_k \sim \mathrm{Beta}(k, n+1-k)$ is the law of the type I error of the threshold $s_{(k)}$
given the calibration rows, whatever the law of the scores (without ties; ties only lower it). Its
mean is k/(n+1): the first rule holds on average over calibration sets, the second for a share c of
them, the third exceeds α for most n, and the fourth asks the scores to be normally distributed.
A p-value is at most α exactly where the row is flagged, so α may change without retraining.

Sources: Vovk 2012 (conditional validity of inductive conformal predictors, arXiv:1209.2673);
Bates et al. 2023 (arXiv:2104.08279); Wilks 1941 for the law of $B_k$.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from jensen._errors import InputError, check_name
from jensen.anomaly.calibrate import Conformal, check_alpha

SLACK = 1e-9
"""Relative room for rounding where a p-value equals α: 0.05 · 20 is 1."""


class Rule(abc.ABC):
    """A way to turn calibration scores and a level into flags."""

    @abc.abstractmethod
    def threshold(self, calibration: Conformal, alpha: float) -> float:
        """Return t such that a row is flagged at level α exactly when its score is below t."""

    @abc.abstractmethod
    def p_values(self, calibration: Conformal, scores: np.ndarray) -> np.ndarray:
        """Return the p-value of each score, `(m,)` in [0, 1]: at most α where flagged."""

    @abc.abstractmethod
    def smallest_alpha(self, calibration: Conformal) -> float:
        """Return the smallest level at which a row can be flagged."""

    @abc.abstractmethod
    def promise(self, calibration: Conformal, alpha: float) -> str:
        """Return, in plain words, what holds at level α with these calibration rows."""

    def reaches(self, calibration: Conformal, alpha: float) -> bool:
        """Return whether there are enough calibration rows for some p-value to be at most α."""
        return alpha >= self.smallest_alpha(calibration) * (1.0 - SLACK)

    def flags(self, calibration: Conformal, scores: np.ndarray, alpha: float) -> np.ndarray:
        """Return whether each score is flagged at level α, `(m,)` of bool."""
        return np.asarray(scores) < self.threshold(calibration, alpha)


@dataclass(frozen=True)
class SplitConformal(Rule):
    """The split-conformal rule of `jensen.anomaly.calibrate`: holds on average.

    Example:
        >>> calibration = Conformal(np.arange(19.0))
        >>> SplitConformal().threshold(calibration, 0.1)
        1.0
    """

    def threshold(self, calibration: Conformal, alpha: float) -> float:
        """Return s_(k), k = ⌊α(n+1)⌋.

        Raises:
            InputError: for α outside (0, 1), or below 1/(n+1).
        """
        return calibration.threshold(alpha)

    def p_values(self, calibration: Conformal, scores: np.ndarray) -> np.ndarray:
        """Return (1 + #{s_i ≤ s(x)})/(n+1), `(m,)` in (0, 1]."""
        return calibration.p_values(scores)

    def smallest_alpha(self, calibration: Conformal) -> float:
        """Return 1/(n+1)."""
        return calibration.smallest_alpha

    def promise(self, calibration: Conformal, alpha: float) -> str:
        """Return the mean rate and the band of a single calibration set."""
        self.threshold(calibration, alpha)
        k = math.floor(alpha * (calibration.n + 1) + SLACK)
        low, high = error_band(k, calibration.n)
        return (
            f"on average over calibration sets at most {percent(k / (calibration.n + 1))} of new "
            f"normal rows are flagged; of one set of {calibration.n} rows the rate lies between "
            f"{percent(low)} and {percent(high)} 95 times in 100 where scores do not tie"
        )


@dataclass(frozen=True)
class TrainingConditional(Rule):
    r"""The training-conditional rule: holds for a stated share of calibration sets.

    The threshold is $s_{(k)}$, k the largest with $P(\mathrm{Beta}(k, n+1-k) ≤ α) ≥ c$: with
    probability at least c over the calibration rows, the rate of false alarms of *this* detector is
    at most α. This is a promise for one α chosen without a look at the calibration scores, not for
    all α at once.

    Args:
        confidence: c, in (0, 1).

    Source: Vovk 2012, with the exact Beta law of the error in place of its binomial form.

    Example:
        >>> rule, calibration = TrainingConditional(), Conformal(np.arange(59.0))
        >>> rule.threshold(calibration, 0.05)
        0.0
        >>> float(rule.p_values(calibration, np.array([-1.0]))[0]) <= 0.05
        True
    """

    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0.0 < self.confidence < 1.0:
            raise InputError(
                f"confidence must lie strictly between 0 and 1, got {self.confidence}",
                "confidence",
                "0.95 holds for 95 of 100 calibration sets",
            )

    def threshold(self, calibration: Conformal, alpha: float) -> float:
        """Return s_(k), k the largest with P(Beta(k, n+1−k) ≤ α) ≥ c.

        Raises:
            InputError: for α outside (0, 1), or one that needs more calibration rows.
        """
        return float(calibration.scores[self._allowed(calibration, alpha) - 1])

    def p_values(self, calibration: Conformal, scores: np.ndarray) -> np.ndarray:
        """Return the c-quantile of Beta(r+1, n−r), r = #{s_i ≤ s(x)}; 1 at r = n. `(m,)`."""
        below = np.searchsorted(calibration.scores, scores, side="right")
        ranks, of = np.unique(below, return_inverse=True)
        return self._quantile(ranks, calibration.n)[of].reshape(np.shape(scores))

    def smallest_alpha(self, calibration: Conformal) -> float:
        """Return 1 − (1−c)^(1/n)."""
        return float(self._quantile(np.zeros(1, int), calibration.n)[0])

    def promise(self, calibration: Conformal, alpha: float) -> str:
        """Return the bound, its confidence, and the mean rate that it costs."""
        k = self._allowed(calibration, alpha)
        return (
            f"with {percent(self.confidence)} confidence in the {calibration.n} calibration rows, "
            f"at most {percent(alpha)} of new normal rows are flagged "
            f"({percent(k / (calibration.n + 1))} on average)"
        )

    def _quantile(self, ranks: np.ndarray, n: int) -> np.ndarray:
        inside = np.minimum(ranks, n - 1)
        quantile = special.betaincinv(inside + 1.0, n - inside, self.confidence)
        return np.where(ranks >= n, 1.0, quantile)

    def _allowed(self, calibration: Conformal, alpha: float) -> int:
        check_alpha(alpha)
        smallest, n = self.smallest_alpha(calibration), calibration.n
        if not self.reaches(calibration, alpha):
            rows = math.log1p(-self.confidence) / math.log1p(-alpha)
            needed = math.ceil(rows - SLACK) if rows < 1e12 else f"{rows:.3g}"
            raise InputError(
                f"alpha {alpha:g} is below {smallest:.4g}, the smallest that {n} calibration rows "
                f"can reach with {percent(self.confidence)} confidence",
                "alpha",
                f"use a larger alpha, calibrate on at least {needed} rows, or use the rule "
                "'conformal', which holds on average",
            )
        low, high = 1, n  # P(B_k ≤ α) falls with k
        while low < high:
            middle = (low + high + 1) // 2
            if self._quantile(np.array([middle - 1]), n)[0] <= alpha * (1.0 + SLACK):
                low = middle
            else:
                high = middle - 1
        return low


@dataclass(frozen=True)
class Quantile(Rule):
    """The plug-in rule: the α-quantile of the calibration scores, with no correction.

    It treats the calibration rows as if they were the whole law: where conformal prediction counts
    the new row as one of n + 1, this rule does not, so that on average (⌊αn⌋ + 1)/(n + 1) of new
    normal rows are flagged, more than α for most n, and a p-value may be 0.

    Example:
        >>> Quantile().threshold(Conformal(np.arange(20.0)), 0.05)
        1.0
    """

    def threshold(self, calibration: Conformal, alpha: float) -> float:
        """Return s_(k), k = ⌊αn⌋ + 1: the largest α-quantile of the calibration scores.

        Raises:
            InputError: for α outside (0, 1).
        """
        return float(calibration.scores[self._allowed(calibration, alpha) - 1])

    def p_values(self, calibration: Conformal, scores: np.ndarray) -> np.ndarray:
        """Return #{s_i ≤ s(x)}/n, `(m,)` in [0, 1]."""
        return np.searchsorted(calibration.scores, scores, side="right") / calibration.n

    def smallest_alpha(self, calibration: Conformal) -> float:
        """Return 0: every level has a quantile, whatever it is worth."""
        return 0.0

    def promise(self, calibration: Conformal, alpha: float) -> str:
        """Return the mean rate, beside the level asked for."""
        k = self._allowed(calibration, alpha)
        rate = k / (calibration.n + 1)
        return (
            f"nothing is promised at {percent(alpha)}: the quantile has no finite-sample "
            f"correction, and with {calibration.n} calibration rows {percent(rate)} of new normal "
            "rows are flagged on average where scores do not tie"
        )

    def _allowed(self, calibration: Conformal, alpha: float) -> int:
        check_alpha(alpha)
        return min(math.floor(alpha * calibration.n + SLACK) + 1, calibration.n)


@dataclass(frozen=True)
class MeanSigma(Rule):
    """The textbook rule mean − kσ, σ with n − 1 degrees of freedom: no guarantee.

    Args:
        k: number of standard deviations, above 0; α then plays no part in the threshold, and the
            nominal level is Φ(−k) (0.13% at k = 3). None: k = Φ⁻¹(1−α), the rule of a normal law.

    Example:
        >>> round(MeanSigma(k=3).threshold(Conformal(np.array([-1.0, 1.0])), 0.05), 3)
        -4.243
    """

    k: float | None = None

    def __post_init__(self) -> None:
        if self.k is not None and not (math.isfinite(self.k) and self.k > 0.0):
            raise InputError(
                f"k must be a number above 0, got {self.k}", "k", "3 is the textbook's"
            )

    def threshold(self, calibration: Conformal, alpha: float) -> float:
        """Return mean − kσ.

        Raises:
            InputError: for α outside (0, 1), fewer than two calibration scores, or infinite ones.
        """
        mean, sigma = self._moments(calibration)
        return mean - self._k(alpha) * sigma

    def p_values(self, calibration: Conformal, scores: np.ndarray) -> np.ndarray:
        """Return the nominal p-value Φ((s − mean)/σ), `(m,)`: a p-value for normal scores alone."""
        mean, sigma = self._moments(calibration)
        scores = np.asarray(scores, np.float64)
        if sigma == 0.0:
            return np.where(scores < mean, 0.0, 1.0)
        return special.ndtr((scores - mean) / sigma)

    def smallest_alpha(self, calibration: Conformal) -> float:
        """Return 0: a normal law has quantiles at every level."""
        return 0.0

    def promise(self, calibration: Conformal, alpha: float) -> str:
        """Return that nothing is, what a normal law would give, and what any law may give."""
        self._moments(calibration)
        k = self._k(alpha)
        worst = 1.0 / (1.0 + k * k) if k > 0.0 else 1.0
        return (
            f"nothing is promised: {percent(special.ndtr(-k))} of new normal rows are flagged if "
            f"the scores are normally distributed, and up to {percent(worst)} for other laws of "
            "the same mean and sigma"
        )

    def _k(self, alpha: float) -> float:
        check_alpha(alpha)
        return float(-special.ndtri(alpha)) if self.k is None else float(self.k)

    def _moments(self, calibration: Conformal) -> tuple[float, float]:
        scores = calibration.scores
        infinite = int(np.isinf(scores).sum())
        if infinite or scores.size < 2:
            raise InputError(
                f"a mean and a sigma need two or more finite calibration scores, got {scores.size} "
                f"with {infinite} infinite (rows of zero density have the score -inf)",
                "rule 'mean-sigma'",
                "use the rule 'conformal', which only needs their order",
            )
        if scores[0] == scores[-1]:  # the mean of equal numbers may round to another number
            return float(scores[0]), 0.0
        return float(scores.mean()), float(scores.std(ddof=1))


RULES: dict[str, type[Rule]] = {
    "conformal": SplitConformal,
    "conditional": TrainingConditional,
    "quantile": Quantile,
    "mean-sigma": MeanSigma,
}


def rule(name: str) -> Rule:
    """Return the rule called `name`, with its default settings.

    Raises:
        InputError: for a name that is not in `RULES`.

    Example:
        >>> rule("conditional")
        TrainingConditional(confidence=0.95)
    """
    check_name(name, RULES, "rule")
    return RULES[name]()


def error_band(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the interval that holds the type I error of the threshold s_(k) with chance `level`.

    The quantiles (1 ∓ level)/2 of Beta(k, n+1−k): the law over calibration sets of n rows, where
    scores do not tie.

    Args:
        k: which calibration score is the threshold, 1 ≤ k ≤ n.
        n: number of calibration rows.
        level: in (0, 1).

    Raises:
        InputError: for k outside 1..n or a level outside (0, 1).

    Example:
        >>> low, high = error_band(5, 99)
        >>> round(low, 4), round(high, 4)
        (0.0166, 0.1002)
    """
    if not (1 <= k <= n and 0.0 < level < 1.0):
        raise InputError(
            f"a band needs 1 <= k <= n and a level in (0, 1), got k = {k}, n = {n}, {level}",
            "error_band",
        )
    tail = (1.0 - level) / 2.0
    low, high = special.betaincinv(k, n + 1 - k, [tail, 1.0 - tail])
    return float(low), float(high)


def percent(share: float) -> str:
    """Return a share as a percentage of three figures.

    Example:
        >>> percent(0.0594)
        '5.94%'
    """
    return f"{100.0 * share:.3g}%"
