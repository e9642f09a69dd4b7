r"""What a user can set of a GAN, and the default recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jensen._errors import InputError, check_name
from jensen.data.examples import MARGINS
from jensen.engine.config import Optimisation, Training
from jensen.fitting.recipe import Recipe
from jensen.nn.activations import activation
from jensen.objectives.adversarial import Adversarial, loss_named
from jensen.objectives.penalties import GradientPenalty, ZeroCentred

STARTS = ("gaussian", "random")
NORMALISATIONS = ("none", "spectral")


@dataclass(frozen=True)
class GanOptions:
    """What a user can set of a GAN; `--set key=value` on the command line.

    Args:
        loss: one of `jensen.objectives.adversarial.LOSSES`.
        fake_weight: λ, the weight of generated rows in a logistic loss.
        r1: γ of the R₁ penalty; 0 for none; None for a choice by the size of the table.
        r2: γ of the R₂ penalty; the same.
        gradient_penalty: λ of the gradient penalty; 0 for none.
        normalisation: of the discriminator's weights, `none` or `spectral`.
        packing: rows that the discriminator sees at once.
        latent_dim: length of z; None for as many as there are varying columns, but at least 2.
        width: units of each hidden layer of the discriminator.
        depth: hidden layers of the discriminator.
        generator_width: units of each hidden layer of the generator; None for `width`.
        generator_depth: hidden layers of the generator; None for `depth`.
        activation: name of the activation of both.
        start: the generator's start, `gaussian` (N(0, I) and the frequencies of the levels) or
            `random`.
        margins: what numbers become, `normal-scores` or `standard`.
        temperature: τ of the gradient through categories.
        generator_rate: the generator's step size over the discriminator's.

    Raises:
        InputError: for a value outside its range or an unknown name.
    """

    loss: str = "non-saturating"
    fake_weight: float = 1.0
    r1: float | None = None
    r2: float | None = None
    gradient_penalty: float = 0.0
    normalisation: str = "none"
    packing: int = 1
    latent_dim: int | None = None
    width: int = 128
    depth: int = 3
    generator_width: int | None = None
    generator_depth: int | None = None
    activation: str = "relu"
    start: str = "gaussian"
    margins: str = "normal-scores"
    temperature: float = 0.5
    generator_rate: float = 1.0

    def __post_init__(self) -> None:
        for name, choices in (
            ("start", STARTS),
            ("margins", MARGINS),
            ("normalisation", NORMALISATIONS),
        ):
            value = getattr(self, name)
            check_name(value, choices, name, name)
        for name in ("latent_dim", "width", "depth", "generator_width", "generator_depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}", name)
        for name in ("r1", "r2", "gradient_penalty"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError(f"{name} must be at least 0, got {value}", name)
        for name in ("temperature", "generator_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}", name)
        if self.packing < 1:
            raise InputError(f"packing must be at least 1, got {self.packing}", "packing")
        activation(self.activation)
        loss_named(self.loss, self.fake_weight)

    def chosen_for(self, n_columns: int, dim: int, n_rows: int) -> GanOptions:
        """Return the options with every None chosen.

        γ = 6 D/n, between 0.003 and 1: the fewer rows and the more entries in each, the sooner a
        discriminator knows the rows by heart, and the smoother it has to be.

        Args:
            n_columns: columns that vary.
            dim: D, length of an example.
            n_rows: n, training rows.

        Example:
            >>> GanOptions().chosen_for(2, 2, 100_000).r1
            0.003
        """
        gamma = min(max(6.0 * dim / n_rows, 0.003), 1.0)
        return replace(
            self,
            r1=gamma if self.r1 is None else self.r1,
            r2=gamma if self.r2 is None else self.r2,
            latent_dim=self.latent_dim or max(2, n_columns),
            generator_width=self.generator_width or self.width,
            generator_depth=self.generator_depth or self.depth,
        )

    def objective(self) -> Adversarial:
        """Return the losses of the two players.

        Raises:
            InputError: where the penalties are not chosen yet.
        """
        if self.r1 is None or self.r2 is None:
            raise InputError("r1 and r2 are not chosen yet", mend="use chosen_for")
        penalties = (
            *([ZeroCentred(self.r1, "real")] if self.r1 else []),
            *([ZeroCentred(self.r2, "fake")] if self.r2 else []),
            *([GradientPenalty(self.gradient_penalty)] if self.gradient_penalty else []),
        )
        return Adversarial(loss_named(self.loss, self.fake_weight), penalties, self.packing)


def default_recipe() -> Recipe:
    """Return the recipe of a GAN of a user who sets nothing."""
    optimisation = Optimisation(rule="alternating", ema=0.999, batch_size=256, beta1=0.5)
    training = Training(evaluate_every=100, patience=30, optimisation=optimisation)
    return Recipe(GanOptions(), training)
