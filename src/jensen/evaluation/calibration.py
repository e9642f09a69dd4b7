r"""Calibration of a logit on rows it was not trained on, both kinds of rows weighing the same.

Platt's line a ↦ slope · a + shift is fitted by the logistic loss with smoothed targets
(n + 1)/(n + 2); isotonic regression takes any rising curve. Both leave the order of rows as it is.

Sources: Platt 1999; Zadrozny & Elkan 2002. Deviations: the slope is not below 0, and the line is
kept only where it pays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jensen._errors import check_name

CALIBRATIONS = ("platt", "isotonic", "none")


def balanced_loss(log_ratio: np.ndarray, sign: np.ndarray) -> float:
    """Return the logistic loss, nats, with equal weight on both kinds of rows.

    Args:
        log_ratio: a `(n,)`.
        sign: +1 for rows of p, -1 for rows of q.
    """
    losses = np.logaddexp(0.0, -sign * log_ratio)
    return 0.5 * float(losses[sign > 0].mean() + losses[sign < 0].mean())


@dataclass(frozen=True)
class Calibration:
    """A monotone correction of a logit: slope · a + shift, or steps between knots.

    Args:
        slope: of Platt's line.
        shift: of Platt's line, nats.
        knots: `(2, m)`, isotonic logits at raw logits, linear between them; None for Platt's line.
    """

    slope: float = 1.0
    shift: float = 0.0
    knots: np.ndarray | None = None

    def __call__(self, logit: np.ndarray) -> np.ndarray:
        """Return the corrected logit, nats, the shape of `logit`."""
        if self.knots is not None:
            return np.interp(logit, *self.knots)
        return self.slope * logit + self.shift


def check_kind(kind: str) -> None:
    """Raise InputError unless there is a calibration of that name."""
    check_name(kind, CALIBRATIONS, "calibration", "calibration")


def calibrate(kind: str, logit: np.ndarray, sign: np.ndarray) -> Calibration:
    """Return the calibration of validation rows.

    Platt's line (slope not below 0, smoothed targets) is kept only where its two numbers earn more
    than log n nats of log-likelihood (the Bayesian criterion): correcting a right logit adds noise.

    Args:
        kind: one of `CALIBRATIONS`.
        logit: a `(n,)`.
        sign: +1 for rows of p, -1 for rows of q.

    Raises:
        InputError: for an unknown kind.
    """
    check_kind(kind)
    if kind == "none":
        return Calibration()
    n_p, n_q = int((sign > 0).sum()), int((sign < 0).sum())
    weight = np.where(sign > 0, 0.5 / n_p, 0.5 / n_q)
    if kind == "isotonic":
        return _isotonic(logit, sign, weight)
    return _platt(logit, sign, weight)


def _isotonic(logit: np.ndarray, sign: np.ndarray, weight: np.ndarray) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    least = 1.0 / (len(sign) + 2.0)  # no logit beyond what so many rows can show
    fit = IsotonicRegression(y_min=least, y_max=1.0 - least, out_of_bounds="clip")
    fit.fit(logit, sign > 0, sample_weight=weight)
    share = np.asarray(fit.y_thresholds_)
    return Calibration(knots=np.stack([fit.X_thresholds_, np.log(share) - np.log1p(-share)]))


def _platt(logit: np.ndarray, sign: np.ndarray, weight: np.ndarray) -> Calibration:
    from scipy.optimize import minimize

    n_p, n_q = int((sign > 0).sum()), int((sign < 0).sum())
    target = np.where(sign > 0, (n_p + 1.0) / (n_p + 2.0), 1.0 / (n_q + 2.0))

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        a = line[0] * logit + line[1]
        value = np.sum(weight * (np.logaddexp(0.0, a) - target * a))
        slope = weight * (0.5 * (1.0 + np.tanh(0.5 * a)) - target)
        return float(value), np.array([slope @ logit, slope.sum()])

    raw = np.array([1.0, 0.0])
    line = minimize(loss, raw, jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)]).x
    gain = (loss(raw)[0] - loss(line)[0]) * len(sign)
    if not gain > math.log(len(sign)):
        return Calibration()
    return Calibration(float(line[0]), float(line[1]))
