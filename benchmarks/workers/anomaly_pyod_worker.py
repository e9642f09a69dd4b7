"""PyOD's detectors and a Gaussian likelihood; thresholds from the training scores, as in PyOD."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import torch
from anomaly_split import ALPHA, Fitted, serve
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.base import BaseDetector
from pyod.models.deep_svdd import DeepSVDD
from pyod.models.dif import DIF
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from pyod.models.lunar import LUNAR
from pyod.models.ocsvm import OCSVM
from pyod.models.vae import VAE
from sklearn.covariance import LedoitWolf

warnings.filterwarnings("ignore")


def of_pyod(make) -> object:
    """Return the `fit` of a PyOD detector."""

    def fit(train: np.ndarray, seed: int) -> Fitted:
        np.random.seed(seed)
        torch.manual_seed(seed)
        with contextlib.redirect_stdout(io.StringIO()):
            detector: BaseDetector = make(train.shape[1], seed).fit(train)

        def judge(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with contextlib.redirect_stdout(io.StringIO()):
                scores = np.nan_to_num(detector.decision_function(rows), posinf=1e300)
            return scores, scores > detector.threshold_

        return judge

    return fit


def gaussian(train: np.ndarray, seed: int) -> Fitted:
    """Return the likelihood of a Gaussian with the Ledoit–Wolf covariance."""
    model = LedoitWolf().fit(train)
    threshold = np.quantile(model.mahalanobis(train), 1 - ALPHA)
    return lambda rows: ((d := model.mahalanobis(rows)), d > threshold)


METHODS = {
    "kNN (k = 5)": of_pyod(lambda d, seed: KNN(n_neighbors=5, contamination=ALPHA)),
    "isolation forest": of_pyod(lambda d, seed: IForest(contamination=ALPHA, random_state=seed)),
    "LOF": of_pyod(lambda d, seed: LOF(contamination=ALPHA, novelty=True)),
    "OCSVM": of_pyod(lambda d, seed: OCSVM(contamination=ALPHA)),
    "ECOD": of_pyod(lambda d, seed: ECOD(contamination=ALPHA)),
    "Gaussian": gaussian,
    "PyOD AutoEncoder": of_pyod(
        lambda d, seed: AutoEncoder(contamination=ALPHA, random_state=seed, verbose=0)
    ),
    "PyOD VAE": of_pyod(lambda d, seed: VAE(contamination=ALPHA, random_state=seed, verbose=0)),
    "PyOD DeepSVDD": of_pyod(
        lambda d, seed: DeepSVDD(n_features=d, contamination=ALPHA, random_state=seed, verbose=0)
    ),
    "PyOD LUNAR": of_pyod(lambda d, seed: LUNAR(contamination=ALPHA, verbose=0)),
    "PyOD DIF": of_pyod(lambda d, seed: DIF(contamination=ALPHA, random_state=seed)),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(METHODS)
