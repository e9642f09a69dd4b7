"""The detector as users of PyOD expect one: high scores are anomalous, labels are 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from jensen.estimators.detector import AnomalyDetector


class PyODDetector(BaseEstimator):
    """An `AnomalyDetector` with the methods, attributes and signs of a PyOD detector.

    | here, as in PyOD | `AnomalyDetector` |
    |---|---|
    | `decision_function`, high = anomalous | `-score_samples` |
    | `predict` in {0, 1}, 1 = anomalous | `predict` in {+1, -1} |
    | `contamination` | `alpha` |
    | `threshold_`: anomalous above it | `-offset_` |

    Deviations, on purpose: the threshold comes from calibration rows that the density was not
    fitted to, not from the training scores, and `predict_proba` gives p-values, not scaled scores.

    Args:
        detector: cloned and fitted; `AnomalyDetector(alpha=contamination)` if None.
        contamination: α, the share of normal rows that may be flagged.

    Attributes:
        decision_scores_: `(n,)` scores of the rows of the fit, high = anomalous.
        labels_: `(n,)` 0 or 1, whether each of them is flagged.
        threshold_: rows with a score above it are flagged.
        detector_: the fitted `AnomalyDetector`.

    Source: the interface of PyOD's `BaseDetector` (Zhao, Nasrullah & Li 2019).

    Example:
        >>> from sklearn.mixture import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> inner = AnomalyDetector(GaussianMixture(1), random_state=0)
        >>> detector = PyODDetector(inner, contamination=0.05).fit(X)
        >>> detector.predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
        [0, 1]
    """

    def __init__(self, detector: Any = None, contamination: float = 0.1) -> None:
        self.detector = detector
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> PyODDetector:
        """Fit and calibrate the detector; y is not used."""
        detector: Any = AnomalyDetector() if self.detector is None else clone(self.detector)
        self.detector_ = detector.set_params(alpha=self.contamination).fit(X)
        self.n_features_in_ = self.detector_.n_features_in_
        self.decision_scores_ = self.decision_function(X)
        self.threshold_ = -self.detector_.offset_
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return how anomalous each row is `(n,)`, nats; higher is more anomalous."""
        check_is_fitted(self)
        return -self.detector_.score_samples(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return 1 for each flagged row, else 0, `(n,)`."""
        return (self.decision_function(X) > self.threshold_).astype(int)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return p and 1 - p of each row `(n, 2)`, p its p-value: not a chance to be anomalous."""
        check_is_fitted(self)
        p_values = self.detector_.p_values(X)
        return np.stack([p_values, 1.0 - p_values], axis=1)

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Return `labels_` of the rows of X after fitting to them."""
        return self.fit(X).labels_
