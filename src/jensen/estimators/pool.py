"""The default score of the anomaly detector, with scikit-learn's conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from jensen.anomaly.trim import check_share
from jensen.data.split import split_rows
from jensen.estimators.shared import decoded, encode_rows, read_rows, seed_of
from jensen.fitting.detector import BLUR, DetectorFamily, fit_pool


class PooledDensity(BaseEstimator):
    r"""A flow and a kernel density, pooled: what `AnomalyDetector` fits if nothing else is asked.

        s(x) = ½ log p_flow(x) + ½ log p_kernel(x)

    Not a normalised density: a score in nats that is low where either density is, finite for every
    row. See `jensen.models.pool`.

    Args:
        blur: standard deviation of noise on the flow's training rows, in those of their columns.
        crowd: the share of training rows near a row that do not count in the kernel density, so
            that a few odd training rows cannot vouch for their like; 0 for a clean table.
        epochs: passes of the flow over the training rows at most; None to choose by their number.
        random_state: integer, generator or None.

    Attributes:
        pool_: the fitted `jensen.models.pool.TablePool`; `pool_.flow` and `pool_.kernel` have
            `log_prob`.
        n_features_in_: number of columns.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> scores = PooledDensity(epochs=2, random_state=0).fit(X).score_samples([[0, 0], [9, 9]])
        >>> bool(scores[0] > scores[1])
        True
    """

    def __init__(
        self,
        blur: float = BLUR,
        crowd: float = 0.0,
        epochs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.blur = blur
        self.crowd = crowd
        self.epochs = epochs
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> PooledDensity:
        """Fit both densities to the rows of X `(n, D)`: an array, or a table with categories too.

        Raises:
            ValueError: for missing or infinite cells, fewer than two rows, or a bad option.
        """
        seed = seed_of(self.random_state)
        schema, matrix = read_rows(self, X)
        recipe = DetectorFamily().recipe({"blur": self.blur, "epochs": self.epochs})
        split = split_rows(len(matrix), seed, calibrate=False)
        check_share("crowd", self.crowd)
        self.pool_, result = fit_pool(
            schema, matrix, recipe, seed=seed, split=split, crowd=self.crowd
        )
        self.n_iter_ = result.steps
        self._sample_seed = seed
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return s(x) `(n,)`, nats, finite; higher is more normal."""
        check_is_fitted(self)
        return self.pool_.judge(encode_rows(self, X, self.pool_.preprocess.schema))[0]

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Return rows `(n_samples, D)` of the flow, in the data's units; a dict with categories."""
        check_is_fitted(self)
        seed = self._sample_seed if random_state is None else seed_of(random_state)
        return decoded(self.pool_.preprocess.schema, self.pool_.sample(n_samples, seed))
