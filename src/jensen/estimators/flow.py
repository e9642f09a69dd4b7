"""Flows with scikit-learn's conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted

from jensen.data.split import split_rows
from jensen.estimators.shared import decoded, encode_rows, read_rows, seed_of
from jensen.fitting import fit_table, flow_recipe
from jensen.fitting.images import as_images


class FlowDensity(DensityMixin, BaseEstimator):
    """A density with exact likelihood: an ensemble of normalizing flows.

    Args:
        architecture: `spline-autoregressive`, `spline-coupling`, `maf`, `iaf`, `realnvp`,
            `planar`, `radial`, `sylvester`, `continuous`, or of images `multiscale`; None for
            `multiscale` where `image_shape` is given, else `spline-autoregressive`.
        n_layers: number of blocks; None to choose by the number of rows.
        width: units of each hidden layer; None to choose by the number of rows.
        depth: hidden layers of each network; None for 4 of a continuous flow, 2 of others.
        bins: bins of a spline.
        bound: where splines end, in standard deviations.
        tails: base distribution, `normal` or `student-t`.
        members: flows trained side by side and mixed equally; None to choose by the rows.
        blur: standard deviation of noise on the numbers, in those of their columns; the density is
            then that of the blurred data.
        margins: bins of the splines that start at each column's own shape; 0 for none, None to
            choose by the rows.
        dropout: share of hidden units that each row loses in training; None to choose by the rows
            and the columns.
        residual: residual masked networks.
        objective: `likelihood`, or for a continuous flow `flow-matching`; `auto` for the latter
            where it can be.
        tolerance: of a continuous flow's solver.
        probes: of a continuous flow's divergence; 0 for the exact one.
        image_shape: (H, W) or (H, W, C) of the image that a row is, flattened; None for tables.
        pixels: first layer of an image flow, `histogram`, `logit` or `affine`.
        dequantisation: of an image flow, `uniform` or `variational`.
        epochs: passes over the training rows at most; None to choose by their number.
        batch_size: rows per step.
        learning_rate: step size of Adam; None for 1e-3, of flow matching 2e-3.
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
        architecture: str | None = None,
        n_layers: int | None = None,
        width: int | None = None,
        depth: int | None = None,
        bins: int = 8,
        bound: float = 5.0,
        tails: str = "normal",
        members: int | None = None,
        blur: float = 0.0,
        margins: int | None = None,
        dropout: float | None = None,
        residual: bool = False,
        objective: str = "auto",
        tolerance: float = 1e-5,
        probes: int = 0,
        image_shape: tuple[int, ...] | None = None,
        pixels: str = "histogram",
        dequantisation: str = "uniform",
        epochs: int | None = None,
        batch_size: int = 256,
        learning_rate: float | None = None,
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
        self.blur = blur
        self.margins = margins
        self.dropout = dropout
        self.residual = residual
        self.objective = objective
        self.tolerance = tolerance
        self.probes = probes
        self.image_shape = image_shape
        self.pixels = pixels
        self.dequantisation = dequantisation
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
        seed = seed_of(settings.pop("random_state"))
        shape = settings.pop("image_shape")
        schema, matrix = read_rows(self, X)
        if self.learning_rate is None:
            del settings["learning_rate"]
        recipe = flow_recipe(settings)
        if shape is not None:
            schema, recipe = as_images(schema, recipe, tuple(shape))
        split = split_rows(len(matrix), seed, calibrate=False)
        self.density_, result = fit_table(schema, matrix, recipe, seed=seed, split=split)
        self.metrics_ = result.metrics
        self.n_iter_ = result.steps
        self._sample_seed = seed
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return log p(x) `(n,)` in nats, one figure per row of X; higher is more normal."""
        check_is_fitted(self)
        return self.density_.log_prob(encode_rows(self, X, self.density_.preprocess.schema))[0]

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
        seed = self._sample_seed if random_state is None else seed_of(random_state)
        schema = self.density_.preprocess.schema
        return decoded(schema, self.density_.sample(n_samples, seed))
