"""Variational and importance-weighted autoencoders with scikit-learn's conventions."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from jensen.data.schema import Schema
from jensen.data.split import split_rows
from jensen.estimators.shared import decoded, encode_rows, read_rows, seed_of
from jensen.fitting import TableLatent, family_named, fit_latent


class LatentDensity(TransformerMixin, DensityMixin, BaseEstimator, abc.ABC):
    """What `VAEDensity` and `IWAEDensity` share: a latent-variable model of a table.

    Cells may be missing (NaN, None, nulls): they are integrated out. Columns are modelled by their
    type: numbers, numbers on a grid, whole numbers, counts, bits, categories.
    """

    density_: TableLatent

    @property
    @abc.abstractmethod
    def _family(self) -> str:
        """The family's name in `--model`."""

    def fit(self, X: Any, y: Any = None) -> LatentDensity:
        """Fit the model to the rows of X `(n, D)`.

        Args:
            X: an array, or a pandas, polars or Arrow table; text columns are categorical, missing
                cells are allowed.
            y: ignored.

        Raises:
            ValueError: for infinite cells, fewer than two rows, a column without a value, a value
                outside the likelihood's support, or a bad option.
        """
        settings = self.get_params(deep=False)
        seed = seed_of(settings.pop("random_state"))
        schema, matrix = read_rows(self, X, missing=True)
        recipe = family_named(self._family).recipe(settings)
        split = split_rows(len(matrix), seed, calibrate=False)
        self.density_, result = fit_latent(schema, matrix, recipe, seed=seed, split=split)
        self.metrics_ = result.metrics
        self.n_iter_ = result.steps
        self._sample_seed = seed
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return log p̂(x) `(n,)` in nats, one figure per row of X; higher is more normal.

        Each is the log of an unbiased estimate of p(x): a lower bound of log p(x) in expectation.
        Missing cells are integrated out.
        """
        return self.density_.log_prob(self._encoded(X))[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log p̂(x) over the rows of X, nats."""
        return float(np.mean(self.score_samples(X)))

    def transform(self, X: Any) -> np.ndarray:
        """Return the posterior means E[z | x] `(n, L)` of the rows of X."""
        return self.density_.codes(self._encoded(X))

    def impute(self, X: Any) -> Any:
        """Return X with every missing cell filled in, the others unchanged.

        Numbers become E[x_d | observed cells], categories and bits their most probable value.

        Returns:
            An array; a dict of columns where the table has categorical columns.
        """
        return decoded(self._schema, self.density_.impute(self._encoded(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Return new rows `(n_samples, D)` in the data's units and types.

        Args:
            n_samples: number of rows.
            random_state: integer, generator or None for the seed of the fit.

        Returns:
            An array; a dict of columns where the table has categorical columns.
        """
        check_is_fitted(self)
        seed = self._sample_seed if random_state is None else seed_of(random_state)
        return decoded(self._schema, self.density_.sample(n_samples, seed))

    @property
    def _schema(self) -> Schema:
        return self.density_.preprocess.schema

    def _encoded(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return encode_rows(self, X, self._schema, missing=True)

    def __sklearn_tags__(self) -> Any:
        """Say that missing cells are allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class VAEDensity(LatentDensity):
    """A variational autoencoder: the model is trained by the ELBO.

    Args:
        latent_dim: L, length of the latent vector; None to choose by the number of columns.
        likelihood: `auto` (every column by its type), `gaussian`, `student-t`, `bernoulli`,
            `poisson` or `logistic`.
        scale: of continuous columns, `fixed`, `shared`, `per-coordinate` or `network`.
        prior: `standard`, `diagonal`, `mixture`, `vamp` or `flow`.
        posterior: `auto`, `experts`, `diagonal`, `full`, `flow` or `hierarchical`.
        binarise: how grey levels become bits: `none`, `dynamic`, `static` or `threshold`.
        beta: weight of the KL divergence in training.
        n_samples: draws per row and step.
        gradient: estimator of the gradient, see `jensen.objectives.gradients.GRADIENTS`.
        width: units of each hidden layer; None to choose by the number of rows.
        depth: hidden layers of each network.
        score_particles: K of the scores.
        epochs: passes over the training rows at most; None to choose by their number.
        batch_size: rows per step.
        learning_rate: step size of Adam.
        patience: evaluations without a new best before the learning rate falls.
        random_state: integer, generator or None.

    Attributes:
        density_: the trained `jensen.fitting.TableLatent`.
        metrics_: one row (a dict) per evaluation.
        n_features_in_: number of columns.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> X[0, 1] = np.nan
        >>> vae = VAEDensity(epochs=2, width=16, random_state=0).fit(X)
        >>> vae.transform(X[:5]).shape, bool(np.isnan(vae.impute(X)).any())
        ((5, 2), False)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        likelihood: str = "auto",
        scale: str = "per-coordinate",
        prior: str = "standard",
        posterior: str = "auto",
        binarise: str = "none",
        beta: float = 1.0,
        n_samples: int = 4,
        gradient: str = "doubly-reparameterised",
        width: int | None = None,
        depth: int = 2,
        score_particles: int = 100,
        epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        patience: int = 8,
        random_state: Any = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.likelihood = likelihood
        self.scale = scale
        self.prior = prior
        self.posterior = posterior
        self.binarise = binarise
        self.beta = beta
        self.n_samples = n_samples
        self.gradient = gradient
        self.width = width
        self.depth = depth
        self.score_particles = score_particles
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.random_state = random_state

    @property
    def _family(self) -> str:
        return "vae"


class IWAEDensity(LatentDensity):
    """An importance-weighted autoencoder: the model is trained by the bound of K particles.

    Args:
        n_particles: K.
        bound: `iwae`, `miwae`, `ciwae`, `piwae` or `renyi`.
        n_samples: M, groups of K particles; for `miwae` and `piwae`.
        latent_dim: L, length of the latent vector; None to choose by the number of columns.
        likelihood: see `VAEDensity`; so are the arguments below.
        scale: of continuous columns.
        prior: p(z).
        posterior: q(z | x).
        binarise: how grey levels become bits.
        gradient: estimator of the gradient.
        width: units of each hidden layer.
        depth: hidden layers of each network.
        score_particles: K of the scores.
        epochs: passes over the training rows at most.
        batch_size: rows per step.
        learning_rate: step size of Adam.
        patience: evaluations without a new best before the learning rate falls.
        random_state: integer, generator or None.

    Attributes:
        density_: the trained `jensen.fitting.TableLatent`.
        metrics_: one row (a dict) per evaluation.
        n_features_in_: number of columns.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> iwae = IWAEDensity(n_particles=4, epochs=2, width=16, random_state=0).fit(X)
        >>> iwae.score_samples(X[:5]).shape
        (5,)
    """

    def __init__(
        self,
        n_particles: int = 8,
        bound: str = "iwae",
        n_samples: int = 1,
        latent_dim: int | None = None,
        likelihood: str = "auto",
        scale: str = "per-coordinate",
        prior: str = "standard",
        posterior: str = "auto",
        binarise: str = "none",
        gradient: str = "doubly-reparameterised",
        width: int | None = None,
        depth: int = 2,
        score_particles: int = 100,
        epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        patience: int = 8,
        random_state: Any = None,
    ) -> None:
        self.n_particles = n_particles
        self.bound = bound
        self.n_samples = n_samples
        self.latent_dim = latent_dim
        self.likelihood = likelihood
        self.scale = scale
        self.prior = prior
        self.posterior = posterior
        self.binarise = binarise
        self.gradient = gradient
        self.width = width
        self.depth = depth
        self.score_particles = score_particles
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.random_state = random_state

    @property
    def _family(self) -> str:
        return "iwae"
