r"""What a user can set of a latent-variable model, and the default recipes of `vae` and `iwae`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from jensen._errors import InputError, check_name
from jensen.engine.config import Optimisation, Training
from jensen.fitting.recipe import Recipe
from jensen.models.scales import SCALES
from jensen.nn.activations import activation
from jensen.objectives.bounds import CIWAE, PIWAE, Bound, PowerMean
from jensen.objectives.gradients import GRADIENTS, Estimator

LIKELIHOODS = ("auto", "gaussian", "student-t", "bernoulli", "poisson", "logistic")
PRIORS = ("standard", "diagonal", "mixture", "vamp", "flow")
POSTERIORS = ("auto", "experts", "diagonal", "full", "flow", "hierarchical")
BOUNDS = ("elbo", "iwae", "miwae", "ciwae", "piwae", "renyi")
BINARISATIONS = ("none", "dynamic", "static", "threshold")
NETWORKS = ("dense", "patch")

_MOST_EXPERTS = 128  # entries of an example for which a full covariance per row is worth its price
_MOST_LATENTS, _MOST_FACTORS = 32, 16
SMALL_TABLE = 2000
"""Training rows below which a table is small."""


T = TypeVar("T")


@dataclass(frozen=True)
class LatentOptions:
    """What a user can set of a latent-variable model; `--set key=value` on the command line.

    Args:
        likelihood: `auto` (every column by its type), or one for all numeric columns: `gaussian`,
            `student-t`, `bernoulli`, `poisson`, `logistic` (on a grid).
        scale: of Gaussian, Student-t and logistic columns: `fixed`, `shared`, `per-coordinate`,
            `network`.
        scale_value: σ of a fixed scale, in units of each column's standard deviation.
        binarise: how grey levels become bits under `bernoulli`: `none`, `dynamic` (fresh at every
            step), `static` (once), `threshold` (at half of the largest).
        prior: `standard`, `diagonal`, `mixture`, `vamp` or `flow`.
        components: of a mixture or VampPrior.
        posterior: `experts`, `diagonal`, `full`, `flow` or `hierarchical`; `auto` for `experts`,
            or `diagonal` where an example has more than 128 entries.
        latent_dim: L, length of z; None for half the entries of an example and one more, at most
            16 with `experts`, else 32.
        network: `dense`, or `patch` for images.
        width: units of each hidden layer; None for a choice by the number of training rows.
        depth: hidden layers of each network.
        activation: name of the activation.
        bound: what is maximised: `elbo`, `iwae`, `miwae`, `ciwae`, `piwae` or `renyi`.
        n_particles: K, weights under one logarithm; 1 for an ELBO.
        n_samples: M, such groups averaged.
        alpha: α of the Rényi bound.
        beta: weight of the KL divergence of an ELBO; what is reported is never weighted.
        mix: share of the ELBO in `ciwae`.
        gradient: one of `jensen.objectives.gradients.GRADIENTS`.
        score_particles: K of `score`, `detect`, `evaluate` and `impute`.

    Raises:
        InputError: for a value outside its range, an unknown name, or a gradient that is not for
            the bound.
    """

    likelihood: str = "auto"
    scale: str = "per-coordinate"
    scale_value: float = 1.0
    binarise: str = "none"
    prior: str = "standard"
    components: int = 10
    posterior: str = "auto"
    latent_dim: int | None = None
    network: str = "dense"
    width: int | None = None
    depth: int = 2
    activation: str = "silu"
    bound: str = "elbo"
    n_particles: int = 1
    n_samples: int = 1
    alpha: float = 0.5
    beta: float = 1.0
    mix: float = 0.5
    gradient: str = "doubly-reparameterised"
    score_particles: int = 100

    def __post_init__(self) -> None:
        for name, choices in (
            ("likelihood", LIKELIHOODS),
            ("scale", SCALES),
            ("binarise", BINARISATIONS),
            ("prior", PRIORS),
            ("posterior", POSTERIORS),
            ("network", NETWORKS),
            ("bound", BOUNDS),
            ("gradient", GRADIENTS),
        ):
            check_name(getattr(self, name), choices, name, name)
        for name in ("components", "latent_dim", "width", "depth", "score_particles"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}", name)
        if not self.scale_value > 0:
            raise InputError(f"scale_value must be above 0, got {self.scale_value}", "scale_value")
        if self.binarise != "none" and self.likelihood != "bernoulli":
            raise InputError(
                f"binarise={self.binarise} makes bits, and the likelihood is {self.likelihood}",
                "binarise",
                "set likelihood=bernoulli as well",
            )
        activation(self.activation)
        self.estimator().check(self.lower_bound())

    def lower_bound(self) -> Bound:
        """Return the bound that is maximised."""
        k, m = self.n_particles, self.n_samples
        if self.bound in ("elbo", "renyi", "ciwae", "iwae") and (
            k > 1 if self.bound == "elbo" else m > 1
        ):
            name, value = ("n_particles", k) if self.bound == "elbo" else ("n_samples", m)
            raise InputError(
                f"{name}={value} has no meaning for the bound {self.bound}",
                name,
                "use bound=iwae (n_particles) or bound=miwae (both)",
            )
        if self.beta != 1 and self.bound != "elbo":
            raise InputError(
                f"beta={self.beta} weighs the KL divergence of an ELBO",
                "beta",
                "use bound=elbo, or beta=1",
            )
        if self.bound == "ciwae":
            return CIWAE(self.mix, k)
        if self.bound == "piwae":
            return PIWAE(m, k)
        alpha = self.alpha if self.bound == "renyi" else 0.0
        return PowerMean(m, k, alpha, self.beta)

    def estimator(self) -> Estimator:
        """Return the estimator of the bound's gradient."""
        return GRADIENTS[self.gradient]()

    def chosen_for(self, n_values: int, n_rows: int) -> LatentOptions:
        """Return the options with every None chosen.

        Args:
            n_values: F, entries of an example: numbers and levels.
            n_rows: training rows.

        Example:
            >>> chosen = LatentOptions().chosen_for(30, 400)
            >>> chosen.latent_dim, chosen.posterior, chosen.width
            (16, 'experts', 64)
        """
        small = n_values <= _MOST_EXPERTS
        fits = small and self.network == "dense"
        posterior = self.posterior
        if posterior == "auto":
            posterior = "experts" if fits else "diagonal"
        most = _MOST_FACTORS if posterior == "experts" else _MOST_LATENTS
        return replace(
            self,
            posterior=posterior,
            latent_dim=self.latent_dim or min(1 + n_values // 2, most),
            width=self.width or (64 if n_rows < SMALL_TABLE else 128 if small else 200),
        )


def chosen(value: T | None) -> T:
    """Return an option that is no longer open.

    Raises:
        InputError: if it still is.
    """
    if value is None:
        raise InputError("the model's sizes are not chosen yet", mend="use chosen_for")
    return value


def default_recipe(bound: str) -> Recipe:
    """Return the recipe of a user who sets nothing, for a VAE (`elbo`) or an IWAE (`iwae`)."""
    options = (
        LatentOptions(n_samples=4)
        if bound == "elbo"
        else LatentOptions(bound="iwae", n_particles=8)
    )
    optimisation = Optimisation(batch_size=128, weight_decay=None, ema=0.99)
    return Recipe(options, Training(evaluate_every=100, patience=8, optimisation=optimisation))
