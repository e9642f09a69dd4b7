"""Any density as a calibrated anomaly detector."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from jensen._errors import InputError, check_name
from jensen.anomaly.calibrate import Conformal, check_alpha
from jensen.anomaly.cross import CrossConformal
from jensen.anomaly.discoveries import benjamini_hochberg
from jensen.anomaly.rules import RULES, Rule
from jensen.anomaly.trim import check_share, suspects, trimmed
from jensen.data.split import calibration_size
from jensen.estimators.pool import PooledDensity
from jensen.estimators.shared import comparable, is_mixed_frame, seed_of

if TYPE_CHECKING:
    from jensen.anomaly.explain import Explanation

CALIBRATIONS = ("split", "cross")


class AnomalyDetector(OutlierMixin, BaseEstimator):
    r"""Flags rows at a false-alarm rate that holds: any density, calibrated.

    `fit` keeps calibration rows away from the density and turns scores into p-values
    (`jensen.anomaly.rules`): by the default rule a new normal row is flagged with probability at
    most α, whatever the density. α and the rule may be changed after `fit`. Where there are too few
    rows to reach α, `fit` warns and no row is flagged.

    Args:
        estimator: a density with `score_samples`, higher = more normal; cloned and fitted to the
            rows left after calibration. `PooledDensity()` if None.
        alpha: α, the false-alarm rate.
        rule: `conformal`, `conditional` (holds with 95% confidence for *this* detector, not only
            on average), `quantile`, `mean-sigma`, or a `jensen.anomaly.rules.Rule`.
        calibration: `split`, or `cross` for small tables: every row trains and calibrates, in
            `folds` densities (`jensen.anomaly.cross`).
        folds: K of the cross calibration.
        suspected: the largest share of the training rows that may be anomalies; twice as many,
            the ones that stand most alone, are left out (`jensen.anomaly.trim`), and a pooled
            density asks for company (its `crowd`). The rate then holds up to this share.
        random_state: integer, generator or None; which rows calibrate.

    Attributes:
        estimator_: the fitted density; a list of them with cross calibration.
        conformal_: the calibrated scores.
        n_calibration_: number of calibration rows.
        suspects_: numbers of the training rows left out as suspected anomalies.

    Example:
        >>> from sklearn.mixture import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> detector = AnomalyDetector(GaussianMixture(1), alpha=0.05, random_state=0).fit(X)
        >>> detector.predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
        [1, -1]
    """

    def __init__(
        self,
        estimator: Any = None,
        alpha: float = 0.1,
        rule: str | Rule = "conformal",
        calibration: str = "split",
        folds: int = 5,
        suspected: float = 0.0,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.rule = rule
        self.calibration = calibration
        self.folds = folds
        self.suspected = suspected
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Fit the density to a part of the rows of X and calibrate on the others.

        Raises:
            ValueError: for a bad option, fewer than two rows, or cells that are no numbers.
        """
        self._check(y)
        seed = seed_of(self.random_state)
        values = self._rows(X)
        n = len(values)
        order = np.random.default_rng([seed, n]).permutation(n)
        self._background = _take(values, np.sort(order[:_BACKGROUND]))
        if self.calibration == "cross":
            self._fit_cross(values, order, seed)
        else:
            size = min(calibration_size(n, self.alpha), n - 1)
            held, rest = np.sort(order[:size]), np.sort(order[size:])
            self.suspects_ = self._suspects(values, rest)
            kept = np.setdiff1d(rest, self.suspects_)
            self.estimator_ = self._new(seed).fit(_take(values, kept))
            scores = self.estimator_.score_samples(_take(values, held))
            self.conformal_ = Conformal(trimmed(scores, self.suspected))
            self._background = _take(values, held)
        self.n_calibration_ = self.conformal_.n
        if not self._reaches():
            warnings.warn(
                f"alpha {self.alpha:g} is below {self._smallest():.4g}, the smallest "
                f"that {self.n_calibration_} calibration rows can reach: no row will be flagged",
                stacklevel=2,
            )
        return self

    def _check(self, y: Any) -> None:
        check_alpha(self.alpha)
        check_share("suspected", self.suspected)
        if not isinstance(self.rule, Rule):
            check_name(self.rule, RULES, "rule")
        check_name(self.calibration, CALIBRATIONS, "calibration")
        if self.calibration == "cross" and (self.rule != "conformal" or self.suspected):
            raise InputError(
                "cross calibration goes with the conformal rule and suspected 0",
                "calibration",
                "set calibration='split', or leave rule and suspected out",
            )
        if y is not None and set(np.unique(np.asarray(y))) in ({0, 1}, {-1, 1}, {False, True}):
            warnings.warn(
                "labels are not used: fit on rows that you take to be normal, and measure the "
                "errors on labelled rows afterwards",
                stacklevel=3,
            )

    def _rows(self, X: Any) -> Any:
        """Return the rows as an array, or an Arrow table where there are categories."""
        if not is_mixed_frame(X):
            return validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        import pyarrow as pa

        table = pa.table(X)
        self.n_features_in_ = len(table.column_names)
        self.feature_names_in_ = np.array(table.column_names, dtype=object)
        return table

    def _new(self, seed: int) -> Any:
        estimator: Any = PooledDensity() if self.estimator is None else clone(self.estimator)
        if "random_state" in estimator.get_params() and estimator.random_state is None:
            estimator.set_params(random_state=seed)
        if self.suspected and "crowd" in estimator.get_params():
            estimator.set_params(crowd=self.suspected / 2)
        return estimator

    def _fit_cross(self, values: Any, order: np.ndarray, seed: int) -> None:
        n = len(values)
        folds = min(max(int(self.folds), 2), n)
        fold_of = np.empty(n, int)
        fold_of[order] = np.arange(n) % folds
        self.suspects_ = np.zeros(0, int)
        self.estimator_, scores = [], np.empty(n)
        for k in range(folds):
            inside = np.flatnonzero(fold_of == k)
            density = self._new(seed).fit(_take(values, np.flatnonzero(fold_of != k)))
            scores[inside] = density.score_samples(_take(values, inside))
            self.estimator_.append(density)
        self.conformal_ = CrossConformal.of(scores, fold_of)

    def _suspects(self, values: Any, rest: np.ndarray) -> np.ndarray:
        if not self.suspected:
            return np.zeros(0, int)
        return rest[suspects(comparable(_take(values, rest)), self.suspected)]

    def _scores(self, X: Any) -> np.ndarray:
        """Return the scores `(n,)`, or of K densities `(n, K)`."""
        check_is_fitted(self)
        if not is_mixed_frame(X):
            X = validate_data(self, X, dtype=np.float64, reset=False)
        if isinstance(self.estimator_, list):
            return np.stack([density.score_samples(X) for density in self.estimator_], axis=1)
        return self.estimator_.score_samples(X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Return the density's score of each row `(n,)`; higher is more normal.

        With cross calibration the mean of the K densities' scores.
        """
        scores = self._scores(X)
        return scores.mean(axis=1) if scores.ndim == 2 else scores

    def p_values(self, X: Any) -> np.ndarray:
        """Return the p-value of each row `(n,)` by the rule, in [0, 1]."""
        return self._p_values(self._scores(X))

    def _p_values(self, scores: np.ndarray) -> np.ndarray:
        if isinstance(self.conformal_, CrossConformal):
            return self.conformal_.p_values(scores)
        return self._rule().p_values(self.conformal_, scores)

    def discoveries(self, X: Any, q: float = 0.1) -> np.ndarray:
        """Return which rows of one batch to flag `(n,)` so that few flags are false.

        By the procedure of Benjamini and Hochberg on conformal p-values: at most a share q of the
        flagged rows is normal, on average over batches and calibration sets.

        Raises:
            InputError: for q outside (0, 1).
        """
        return benjamini_hochberg(self.p_values(X), q)

    def promise(self) -> str:
        """Return, in plain words, what holds at the present α and rule."""
        check_is_fitted(self)
        if isinstance(self.conformal_, CrossConformal):
            return self.conformal_.promise(self.alpha)
        promise = self._rule().promise(self.conformal_, self.alpha)
        if self.suspected:
            promise += f"; up to {self.suspected:g} more, for the calibration rows left out"
        return promise

    def explain(self, X: Any) -> Explanation:
        """Return each row's score as a sum over columns, and the nearest normal values.

        See `jensen.anomaly.explain`: `contributions` `(n, D)` sum to `score_samples(X)`.
        """
        from jensen.estimators.explained import explain_rows

        check_is_fitted(self)
        threshold = -np.inf if isinstance(self.conformal_, CrossConformal) else self.offset_
        return explain_rows(self, X, self._background, threshold)

    def self_check(self) -> tuple[str, ...]:
        """Return remarks in plain words where high scores may not mean normal rows.

        See `jensen.anomaly.selfcheck`: flat rows, and the density's own samples, are scored beside
        normal rows.
        """
        from jensen.estimators.explained import check_self

        check_is_fitted(self)
        crossed = isinstance(self.estimator_, list)
        density = self.estimator_[0] if crossed else self.estimator_
        return check_self(self, density, self._background)

    @property
    def offset_(self) -> float:
        """The threshold t: a row is flagged when its score is below t.

        -inf where α is below the smallest that the calibration rows reach: then no p-value is at
        most α, so that no row is flagged (`fit` has warned). Cross calibration has no threshold.
        """
        check_is_fitted(self)
        check_alpha(self.alpha)
        if isinstance(self.conformal_, CrossConformal):
            raise AttributeError("cross calibration has no single threshold: use p_values")
        return self._rule().threshold(self.conformal_, self.alpha) if self._reaches() else -np.inf

    def decision_function(self, X: Any) -> np.ndarray:
        """Return score - t `(n,)`, negative where flagged; with cross calibration p - α."""
        scores = self._scores(X)
        if isinstance(self.conformal_, CrossConformal):
            half = 0.5 / (self.conformal_.n + 1)  # p ≤ α is flagged, so that 0 must not be
            return (
                self.conformal_.p_values(scores) - self.alpha - half
                if self._reaches()
                else (np.full(len(scores), np.inf))
            )
        offset = self.offset_
        return np.full(len(scores), np.inf) if np.isneginf(offset) else scores - offset

    def predict(self, X: Any) -> np.ndarray:
        """Return +1 (normal) or -1 (flagged at level α) for each row `(n,)`."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _rule(self) -> Rule:
        return self.rule if isinstance(self.rule, Rule) else RULES[self.rule]()

    def _reaches(self) -> bool:
        if isinstance(self.conformal_, CrossConformal):
            return self.alpha >= self.conformal_.smallest_alpha * (1 - 1e-9)
        return self._rule().reaches(self.conformal_, self.alpha)

    def _smallest(self) -> float:
        if isinstance(self.conformal_, CrossConformal):
            return self.conformal_.smallest_alpha
        return self._rule().smallest_alpha(self.conformal_)


_BACKGROUND = 2000  # normal rows that explanations compare with


def _take(values: Any, rows: np.ndarray) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else values.take(rows)
