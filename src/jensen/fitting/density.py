r"""A fitted density of a table, with what every such family keeps beside it.

The Gaussian baseline says what a table gets without a network; the conformal scores of calibration
rows, which took no part in training, turn log p into p-values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from jensen.anomaly.calibrate import Conformal
from jensen.data.preprocess import Preprocess
from jensen.data.split import Split
from jensen.evaluation.likelihood import Gaussian, fit_gaussian, mean_and_error
from jensen.fitting.family import Arrays, preprocess_arrays, preprocess_of
from jensen.fitting.latent_table import TableLatent
from jensen.models.pool import TablePool
from jensen.models.table import TableDensity

_TRAIN_ROWS = 5000  # whose log-likelihood is stated
_BASELINE = "baseline."


T = TypeVar("T", TableDensity, TableLatent, TablePool)


@dataclass(frozen=True)
class DensityFit(Generic[T]):
    """A fitted density and what is read from it.

    Args:
        density: the trained model in data units.
        baseline: the Gaussian fitted to the same rows.
        conformal: the calibrated scores.
    """

    density: T
    baseline: Gaussian
    conformal: Conformal

    @property
    def preprocess(self) -> Preprocess:
        """The map between the table's units and the model's."""
        return self.density.preprocess

    @property
    def baseline_name(self) -> str:
        """What the density is compared with: `Gaussian`, or `independent bits`."""
        return "independent bits" if self._of_bits() else "Gaussian"

    def baseline_log_prob(self, matrix: np.ndarray, n_train: int) -> np.ndarray:
        """Return log p `(n,)` of encoded rows without a network, nats.

        Args:
            matrix: encoded rows `(n, columns)`.
            n_train: training rows, which smooth the frequencies of bits.
        """
        if self._of_bits() and isinstance(self.density, TableLatent):
            return self.density.independent_bits(matrix, self.baseline.preprocess.mean, n_train)
        return self.baseline.log_prob(matrix)

    def _of_bits(self) -> bool:
        density = self.density
        return isinstance(density, TableLatent) and density.plan.options.binarise != "none"


def calibrated(density: T, standard: Preprocess, matrix: np.ndarray, split: Split) -> DensityFit[T]:
    """Return the density with its baseline and its calibration.

    Args:
        density: the trained model.
        standard: the standardisation of the table, for the baseline.
        matrix: encoded rows `(n, columns)`.
        split: which rows train and which calibrate.
    """
    scores, _ = density.judge(matrix[split.calibration])
    return DensityFit(density, fit_gaussian(standard, matrix[split.train]), Conformal(scores))


def beside_arrays(fit: DensityFit[T]) -> Arrays:
    """Return the arrays of the baseline and the calibration, by name.

    The baseline's standardisation is kept where it is not the density's.
    """
    tables = enumerate(fit.baseline.frequencies)
    standard = fit.baseline.preprocess
    return {
        **({} if standard is fit.preprocess else preprocess_arrays(standard, _BASELINE)),
        "baseline.whiten": fit.baseline.whiten,
        **{f"baseline.frequencies.{i}": table for i, table in tables},
        "calibration.scores": fit.conformal.scores,
    }


def with_beside(density: T, arrays: Arrays) -> DensityFit[T]:
    """Return the density with the baseline and the calibration of the arrays.

    Raises:
        KeyError: if an array is missing.
    """
    schema = density.preprocess.schema
    tables = [arrays[f"baseline.frequencies.{i}"] for i in range(len(schema.categorical))]
    own = f"{_BASELINE}preprocess.mean" in arrays
    standard = preprocess_of(arrays, schema, _BASELINE) if own else density.preprocess
    baseline = Gaussian(standard, arrays["baseline.whiten"], tuple(tables))
    return DensityFit(density, baseline, Conformal(arrays["calibration.scores"]))


def density_figures(fit: DensityFit[T], matrix: np.ndarray, split: Split) -> dict[str, Any]:
    """Return the log-likelihood of (at most 5,000) training rows and of the validation rows."""
    density = fit.density
    train_mean, _ = mean_and_error(density.log_prob(matrix[split.train[:_TRAIN_ROWS]])[0])
    log_prob, _ = density.log_prob(matrix[split.validation])
    mean, error = mean_and_error(log_prob)
    base = fit.baseline_log_prob(matrix[split.validation], len(split.train))
    base_mean, base_error = mean_and_error(base)
    _, difference = mean_and_error(log_prob - base)
    return {
        "train": {"log_prob": train_mean, "kind": density.kind},
        "validation": {"log_prob": mean, "se": error, "kind": density.kind, "n": len(log_prob)},
        "baseline": {
            "name": fit.baseline_name,
            "log_prob": base_mean,
            "se": base_error,
            "difference_se": difference,
        },
    }
