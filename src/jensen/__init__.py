"""Deep generative models whose every number can be trusted.

    model       a distribution over one example: `log_prob`, `sample`
    objective   players, a batch and a key in; one loss per player out
    rule        the players' gradients in; one step out, repeated by the engine

`import jensen as jn` is light: what a name needs is loaded when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jensen._errors import DivergedError, InputError, JensenError
    from jensen.anomaly.calibrate import Conformal
    from jensen.data.source import open_table
    from jensen.engine.config import Optimisation, Training
    from jensen.engine.run import Game, train
    from jensen.estimators import (
        AnomalyDetector,
        FlowDensity,
        GANSampler,
        IWAEDensity,
        PooledDensity,
        PyODDetector,
        VAEDensity,
    )
    from jensen.evaluation.two_sample import two_sample
    from jensen.examine import stability_of
    from jensen.fitting.target import fit_log_density
    from jensen.games.learning import learn_game
    from jensen.games.matrix import solve_game
    from jensen.games.play import play
    from jensen.models.continuous import ContinuousFlow
    from jensen.models.flow import (
        IAF,
        MAF,
        Flow,
        PlanarFlow,
        RadialFlow,
        RealNVP,
        SplineAutoregressive,
        SplineCoupling,
        SylvesterFlow,
    )
    from jensen.models.latent import Latent, Likelihood
    from jensen.runs import fit_run, open_run
    from jensen.studies.run import run_study

__version__ = "0.1.0"

_HOME = {
    "AnomalyDetector": "jensen.estimators",
    "Conformal": "jensen.anomaly.calibrate",
    "ContinuousFlow": "jensen.models.continuous",
    "DivergedError": "jensen._errors",
    "Flow": "jensen.models.flow",
    "FlowDensity": "jensen.estimators",
    "GANSampler": "jensen.estimators",
    "Game": "jensen.engine.run",
    "IAF": "jensen.models.flow",
    "IWAEDensity": "jensen.estimators",
    "InputError": "jensen._errors",
    "JensenError": "jensen._errors",
    "Latent": "jensen.models.latent",
    "Likelihood": "jensen.models.latent",
    "MAF": "jensen.models.flow",
    "Optimisation": "jensen.engine.config",
    "PlanarFlow": "jensen.models.flow",
    "PooledDensity": "jensen.estimators",
    "PyODDetector": "jensen.estimators",
    "RadialFlow": "jensen.models.flow",
    "RealNVP": "jensen.models.flow",
    "SplineAutoregressive": "jensen.models.flow",
    "SplineCoupling": "jensen.models.flow",
    "SylvesterFlow": "jensen.models.flow",
    "Training": "jensen.engine.config",
    "VAEDensity": "jensen.estimators",
    "fit_log_density": "jensen.fitting.target",
    "fit_run": "jensen.runs",
    "learn_game": "jensen.games.learning",
    "open_run": "jensen.runs",
    "open_table": "jensen.data.source",
    "play": "jensen.games.play",
    "run_study": "jensen.studies.run",
    "solve_game": "jensen.games.matrix",
    "stability_of": "jensen.examine",
    "train": "jensen.engine.run",
    "two_sample": "jensen.evaluation.two_sample",
}

__all__ = [
    "IAF",
    "MAF",
    "AnomalyDetector",
    "Conformal",
    "ContinuousFlow",
    "DivergedError",
    "Flow",
    "FlowDensity",
    "GANSampler",
    "Game",
    "IWAEDensity",
    "InputError",
    "JensenError",
    "Latent",
    "Likelihood",
    "Optimisation",
    "PlanarFlow",
    "PooledDensity",
    "PyODDetector",
    "RadialFlow",
    "RealNVP",
    "SplineAutoregressive",
    "SplineCoupling",
    "SylvesterFlow",
    "Training",
    "VAEDensity",
    "fit_log_density",
    "fit_run",
    "learn_game",
    "open_run",
    "open_table",
    "play",
    "run_study",
    "solve_game",
    "stability_of",
    "train",
    "two_sample",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jensen' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
