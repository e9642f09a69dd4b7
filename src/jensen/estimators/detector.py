"""Any density as a calibrated anomaly detector."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from jensen.anomaly.calibrate import Conformal, check_alpha
from jensen.data.split import calibration_size
from jensen.estimators.flow import FlowDensity
from jensen.estimators.shared import is_mixed_frame, seed_of


class AnomalyDetector(OutlierMixin, BaseEstimator):
    r"""Flags rows at a false-alarm rate that holds: any density, calibrated.

    `fit` keeps calibration rows away from the density and turns scores into p-values by split
    conformal prediction (`jensen.anomaly.calibrate`): a new normal row is flagged with probability
    at most α, whatever the density. Where there are too few rows to reach α, `fit` warns and no row
    is flagged.

    Args:
        estimator: a density with `score_samples`, higher = more normal; cloned and fitted to the
            rows left after calibration. `FlowDensity()` if None.
        alpha: α, the false-alarm rate.
        random_state: integer, generator or None; which rows calibrate.

    Attributes:
        estimator_: the fitted density.
        conformal_: the calibrated scores.
        n_calibration_: number of calibration rows.

    Example:
        >>> from sklearn.mixture import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> detector = AnomalyDetector(GaussianMixture(1), alpha=0.05, random_state=0).fit(X)
        >>> detector.predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
        [1, -1]
    """

    def __init__(self, estimator: Any = None, alpha: float = 0.1, random_state: Any = None) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Fit the density to a part of the rows of X and calibrate on the others.

        Raises:
            ValueError: for α outside (0, 1), fewer than two rows, or cells that are no numbers.
        """
        check_alpha(self.alpha)
        seed = seed_of(self.random_state)
        mixed = is_mixed_frame(X)
        values = X if mixed else validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        n = len(values)
        size = min(calibration_size(n, self.alpha), n - 1)
        order = np.random.default_rng([seed, n]).permutation(n)
        held, rest = np.sort(order[:size]), np.sort(order[size:])
        estimator: Any = FlowDensity() if self.estimator is None else clone(self.estimator)
        if "random_state" in estimator.get_params() and estimator.random_state is None:
            estimator.set_params(random_state=seed)
        if mixed:
            values = _rows_of(X)
            self.n_features_in_ = len(values.column_names)
            self.feature_names_in_ = np.array(values.column_names, dtype=object)
        self.estimator_ = estimator.fit(_take(values, rest))
        self.conformal_ = Conformal(self.estimator_.score_samples(_take(values, held)))
        self.n_calibration_ = self.conformal_.n
        if not self.conformal_.reaches(self.alpha):
            warnings.warn(
                f"alpha {self.alpha:g} is below {self.conformal_.smallest_alpha:.4g}, the smallest "
                f"that {self.n_calibration_} calibration rows can reach: no row will be flagged",
                stacklevel=2,
            )
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return the density's score of each row `(n,)`; higher is more normal."""
        check_is_fitted(self)
        if not is_mixed_frame(X):
            X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.estimator_.score_samples(X)

    def p_values(self, X: Any) -> np.ndarray:
        """Return the conformal p-value of each row `(n,)`, in (0, 1]."""
        return self._conformal().p_values(self.score_samples(X))

    def _conformal(self) -> Conformal:
        check_is_fitted(self)
        return self.conformal_

    @property
    def offset_(self) -> float:
        """The threshold t: a row is flagged when its score is below t.

        -inf where α is below the smallest that the calibration rows reach: then no p-value is at
        most α, so that no row is flagged (`fit` has warned).
        """
        conformal = self._conformal()
        check_alpha(self.alpha)
        return conformal.threshold(self.alpha) if conformal.reaches(self.alpha) else -np.inf

    def decision_function(self, X: Any) -> np.ndarray:
        """Return score - t `(n,)`: negative where flagged."""
        scores, offset = self.score_samples(X), self.offset_
        return np.full(len(scores), np.inf) if np.isneginf(offset) else scores - offset

    def predict(self, X: Any) -> np.ndarray:
        """Return +1 (normal) or -1 (flagged at level α) for each row `(n,)`."""
        return np.where(self.score_samples(X) < self.offset_, -1, 1)


def _rows_of(X: Any) -> Any:
    """Return a table as one Arrow table, whose rows can be taken by number."""
    import pyarrow as pa

    return pa.table(X)


def _take(values: Any, rows: np.ndarray) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else values.take(rows)
