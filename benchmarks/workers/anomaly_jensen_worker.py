"""Jensen's detector with default settings, and the parts that its score is made of."""

from __future__ import annotations

import numpy as np
from anomaly_split import ALPHA, Fitted, serve

import jensen as jn


def detector(train: np.ndarray, seed: int) -> Fitted:
    """Return the default detector, fitted."""
    fitted = jn.AnomalyDetector(alpha=ALPHA, random_state=seed).fit(train)
    return lambda rows: (-(s := fitted.score_samples(rows)), s < fitted.offset_)


def flow(train: np.ndarray, seed: int) -> Fitted:
    """Return a detector by the exact likelihood of the default flow."""
    density = jn.FlowDensity(random_state=seed)
    fitted = jn.AnomalyDetector(density, alpha=ALPHA, random_state=seed).fit(train)

    def judge(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = fitted.score_samples(rows)
        return -np.maximum(scores, -1e300), scores < fitted.offset_

    return judge


if __name__ == "__main__":
    serve({"Jensen": detector, "Jensen, flow alone": flow})
