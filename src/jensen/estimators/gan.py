"""GANs with scikit-learn's conventions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from jensen.data.split import split_rows
from jensen.estimators.shared import decoded, encode_rows, read_rows, seed_of
from jensen.fitting import family_named


class GANSampler(BaseEstimator):
    """A GAN of a table: new rows, and a discriminator that is kept.

    It gives no log p. How good the rows are is what `jensen.evaluation.two_sample` says of them and
    of rows kept away from `fit`.

    Args:
        loss: `non-saturating`, `minimax`, `least-squares`, `hinge`, `wasserstein` or an
            f-divergence, see `jensen.objectives.adversarial.LOSSES`.
        r1: weight of the R₁ penalty; None to choose by the size of the table.
        r2: weight of the R₂ penalty; the same.
        packing: rows that the discriminator sees at once.
        latent_dim: length of the noise; None for as many as there are columns.
        width: units of each hidden layer of both networks.
        depth: hidden layers of both networks.
        margins: what numbers become, `normal-scores` or `standard`.
        epochs: passes over the training rows at most; None to choose by their number.
        batch_size: rows per step; None for 256, or all where there are fewer.
        learning_rate: step size of Adam.
        patience: evaluations without a new best before the learning rate falls.
        random_state: integer, generator or None.

    Attributes:
        gan_: the trained `jensen.fitting.TableGAN`.
        metrics_: one row (a dict) per evaluation.
        adaptations_: what was done otherwise than the parameters say.
        n_features_in_: number of columns.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> sampler = GANSampler(epochs=2, width=16, random_state=0).fit(X)
        >>> sampler.sample(5).shape
        (5, 2)
    """

    def __init__(
        self,
        loss: str = "non-saturating",
        r1: float | None = None,
        r2: float | None = None,
        packing: int = 1,
        latent_dim: int | None = None,
        width: int = 128,
        depth: int = 3,
        margins: str = "normal-scores",
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        patience: int = 30,
        random_state: Any = None,
    ) -> None:
        self.loss = loss
        self.r1 = r1
        self.r2 = r2
        self.packing = packing
        self.latent_dim = latent_dim
        self.width = width
        self.depth = depth
        self.margins = margins
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> GANSampler:
        """Fit both players to the rows of X `(n, D)`; a sixth of them at most chooses the weights.

        Warns where something is done otherwise than asked, such as a batch larger than the data.

        Args:
            X: an array, or a pandas, polars or Arrow table; text columns are categorical.
            y: ignored.

        Raises:
            ValueError: for missing or infinite cells, fewer than two rows, or a bad option.
        """
        settings = self.get_params(deep=False)
        seed = seed_of(settings.pop("random_state"))
        schema, matrix = read_rows(self, X)
        split = split_rows(len(matrix), seed, calibrate=False)
        if settings["batch_size"] is None:
            settings["batch_size"] = min(256, len(split.train))
        family = family_named("gan")
        recipe = family.recipe(settings)
        recipe = family.chosen_for(recipe, schema, len(split.train))
        self.adaptations_ = family.adaptations(recipe, len(split.train))
        for text in self.adaptations_:
            warnings.warn(text, stacklevel=2)
        self.gan_, result = family.fit(schema, matrix, recipe, seed=seed, split=split)
        self.metrics_ = result.metrics
        self.n_iter_ = result.steps
        self._sample_seed = seed
        return self

    def sample(
        self, n_samples: int = 1, random_state: Any = None, given: dict[str, Any] | None = None
    ) -> Any:
        """Return new rows `(n_samples, D)` in the data's units.

        Args:
            n_samples: number of rows.
            random_state: integer, generator or None for the seed of the fit.
            given: column name → value that every row is to have, for categorical and whole-number
                columns.

        Returns:
            An array; a dict of columns where the table has categorical columns.

        Raises:
            ValueError: for values that cannot be given, or that the model never gives together.
        """
        check_is_fitted(self)
        seed = self._sample_seed if random_state is None else seed_of(random_state)
        rows = self.gan_.sample(n_samples, seed, given)
        return decoded(self.gan_.preprocess.schema, rows)

    def discriminate(self, X: Any) -> np.ndarray:
        """Return the discriminator's logit of each row `(n,)`: above 0 where taken for real.

        For the logistic losses an estimate of log p_data(x)/p_GAN(x), uncalibrated.

        Raises:
            ValueError: for rows that do not fit the table, or a discriminator of packs.
        """
        check_is_fitted(self)
        schema = self.gan_.preprocess.schema
        return self.gan_.logits(encode_rows(self, X, schema), self._sample_seed)
