r"""The scikit-learn face: densities, samplers and detectors with `fit`, `sample`, `predict`.

    flow = FlowDensity(random_state=0).fit(X)
    flow.score_samples(X_new)                                 # log p(x), nats per row
    AnomalyDetector(flow, alpha=0.05).fit(X).predict(X_new)   # +1 normal, -1 flagged
    VAEDensity(random_state=0).fit(X).impute(X)               # missing cells filled in
    GANSampler(random_state=0).fit(X).sample(100)             # new rows

Constructors only store; what `fit` learns ends in an underscore. Rows are scored one by one: a
score does not depend on the rows scored with it.
"""

from jensen.estimators.detector import AnomalyDetector
from jensen.estimators.flow import FlowDensity
from jensen.estimators.gan import GANSampler
from jensen.estimators.latent import IWAEDensity, VAEDensity
from jensen.estimators.pool import PooledDensity
from jensen.estimators.pyod import PyODDetector

__all__ = [
    "AnomalyDetector",
    "FlowDensity",
    "GANSampler",
    "IWAEDensity",
    "PooledDensity",
    "PyODDetector",
    "VAEDensity",
]
