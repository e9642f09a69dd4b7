r"""The scikit-learn face: densities and detectors with `fit`, `score_samples`, `sample`, `predict`.

    flow = FlowDensity(random_state=0).fit(X)
    flow.score_samples(X_new)                                 # log p(x), nats per row
    AnomalyDetector(flow, alpha=0.05).fit(X).predict(X_new)   # +1 normal, -1 flagged

Constructors only store; what `fit` learns ends in an underscore. Rows are scored one by one: a
score does not depend on the rows scored with it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from jensen.anomaly.calibrate import Conformal, check_alpha
from jensen.data.schema import Schema, read
from jensen.data.source import open_table
from jensen.data.split import calibration_size, check_seed, split_rows
from jensen.fitting import Recipe, fit_table

_LARGEST_SEED = np.iinfo(np.int32).max


def _seed(random_state: Any) -> int:
    """Return an integer seed: the given one, or one drawn from a generator."""
    if isinstance(random_state, int | np.integer):
        check_seed(int(random_state))
        return int(random_state)
    return int(check_random_state(random_state).randint(_LARGEST_SEED))


def _is_mixed_frame(X: Any) -> bool:
    """Return whether X is a table with a column that is not a number."""
    if isinstance(X, np.ndarray) or not hasattr(X, "__arrow_c_stream__"):
        return False
    from jensen.data.table import is_number, is_text

    batch = next(iter(open_table(X).batches(1)), None)
    kinds = [] if batch is None else batch.schema.types
    return any(is_text(kind) or not is_number(kind) for kind in kinds)


class FlowDensity(DensityMixin, BaseEstimator):
    """A density with exact likelihood: an ensemble of normalizing flows.

    Args:
        architecture: `spline-autoregressive`, `spline-coupling`, `maf`, `iaf` or `realnvp`.
        n_layers: number of blocks; None to choose by the number of rows.
        width: units of each hidden layer; None to choose by the number of rows.
        depth: hidden layers of each network.
        bins: bins of a spline.
        bound: where splines end, in standard deviations.
        tails: base distribution, `normal` or `student-t`.
        members: flows trained side by side and mixed equally; None to choose by the rows.
        epochs: passes over the training rows at most; None to choose by their number.
        batch_size: rows per step.
        learning_rate: step size of Adam.
        weight_decay: decoupled weight decay.
        patience: evaluations without a new best before the learning rate falls.
        random_state: integer, generator or None.

    Attributes:
        density_: the trained `jensen.models.table.TableDensity`.
        metrics_: one row (a dict) per evaluation.
        n_features_in_: number of columns.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> flow = FlowDensity(epochs=2, members=1, random_state=0).fit(X)
        >>> flow.score_samples(X[:3]).shape
        (3,)
    """

    def __init__(
        self,
        architecture: str = "spline-autoregressive",
        n_layers: int | None = None,
        width: int | None = None,
        depth: int = 2,
        bins: int = 8,
        bound: float = 5.0,
        tails: str = "normal",
        members: int | None = None,
        epochs: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        patience: int = 15,
        random_state: Any = None,
    ) -> None:
        self.architecture = architecture
        self.n_layers = n_layers
        self.width = width
        self.depth = depth
        self.bins = bins
        self.bound = bound
        self.tails = tails
        self.members = members
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> FlowDensity:
        """Fit the density to the rows of X `(n, D)`.

        Args:
            X: an array, or a pandas, polars or Arrow table; text columns are categorical.
            y: ignored.

        Raises:
            ValueError: for missing or infinite cells, fewer than two rows, or a bad option.
        """
        settings = self.get_params(deep=False)
        seed = _seed(settings.pop("random_state"))
        schema, matrix = self._read(X)
        recipe = Recipe.from_settings(settings)
        split = split_rows(len(matrix), seed, calibrate=False)
        self.density_, result = fit_table(schema, matrix, recipe, seed=seed, split=split)
        self.metrics_ = result.metrics
        self.n_iter_ = result.steps
        self._sample_seed = seed
        return self

    def _read(self, X: Any) -> tuple[Schema, np.ndarray]:
        if _is_mixed_frame(X):
            schema, matrix = read(open_table(X))
            self.n_features_in_ = len(schema.names)
            self.feature_names_in_ = np.array(schema.names, dtype=object)
            return schema, matrix
        values = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        schema, matrix = read(open_table(values))
        names = getattr(self, "feature_names_in_", None)
        if names is not None:
            columns = zip(schema.columns, names, strict=True)
            schema = replace(
                schema, named=True, columns=tuple(replace(c, name=str(n)) for c, n in columns)
            )
        return schema, matrix

    def _encode(self, X: Any) -> np.ndarray:
        schema = self.density_.preprocess.schema
        if _is_mixed_frame(X):
            row, blocks = 1, [np.empty((0, len(schema.columns)))]
            for batch in open_table(X).batches():
                blocks.append(schema.encode(batch, label="X", first_row=row))
                row += batch.num_rows
            return np.concatenate(blocks)
        return np.asarray(validate_data(self, X, dtype=np.float64, reset=False))

    def score_samples(self, X: Any) -> np.ndarray:
        """Return log p(x) `(n,)` in nats, one figure per row of X; higher is more normal."""
        check_is_fitted(self)
        return self.density_.log_prob(self._encode(X))[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log p(x) over the rows of X, nats."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Return new rows `(n_samples, D)` in the data's units.

        Args:
            n_samples: number of rows.
            random_state: integer, generator or None for the seed of the fit.

        Returns:
            An array; a dict of columns where the table has categorical columns.
        """
        check_is_fitted(self)
        seed = self._sample_seed if random_state is None else _seed(random_state)
        schema = self.density_.preprocess.schema
        columns = schema.decode(self.density_.sample(n_samples, seed))
        if schema.categorical:
            return columns
        return np.stack([np.asarray(c, np.float64) for c in columns.values()], axis=1)


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
        seed = _seed(self.random_state)
        mixed = _is_mixed_frame(X)
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
        if not _is_mixed_frame(X):
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
