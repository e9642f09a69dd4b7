r"""What a user can set of a fit to an unnormalised density, and the default recipe."""

from __future__ import annotations

from dataclasses import dataclass

from jensen._errors import InputError, check_name
from jensen.engine.config import Optimisation, Training
from jensen.fitting.recipe import Recipe
from jensen.models.families import FlowOptions

STARTS = ("chains", "annealed")
SCALE = 10.0
"""How far from 0 there may be mass, where nobody says."""

BATCHES = 100
"""Batches of fresh draws in an epoch."""


@dataclass(frozen=True)
class TargetOptions:
    """What a user can set of a fit to a density; `--set key=value` on the command line.

    Args:
        dim: D; None for the file's own `dim`.
        scale: s; chains look for mass from N(0, s² I), so s must reach it; None for the file's
            own `scale`, else 10.
        chains: C, annealed chains that look for mass.
        temperatures: T of each chain.
        start: what the flow learns first: `chains`, their ends by maximum likelihood, or
            `annealed`, a path from a Gaussian to the target.
        annealing: epochs of that start.
        draws: of the flow, for log Z.
        architecture: one of `jensen.models.families.ARCHITECTURES`; best one that is fast in both
            directions.
        n_layers: number of blocks.
        width: units of each hidden layer.
        depth: hidden layers of each network.
        bins: K, bins of a spline.
        bound: B, where splines end.
        tails: base distribution, `normal` or `student-t`.

    Raises:
        InputError: for a value outside its range or an unknown name.
    """

    dim: int | None = None
    scale: float | None = None
    chains: int = 1024
    temperatures: int = 400
    start: str = "chains"
    annealing: int = 20
    draws: int = 20_000
    architecture: str = "spline-coupling"
    n_layers: int = 5
    width: int = 32
    depth: int = 2
    bins: int = 8
    bound: float = 5.0
    tails: str = "normal"

    def __post_init__(self) -> None:
        check_name(self.start, STARTS, "start", "start")
        least = {"dim": 1, "chains": 64, "temperatures": 2, "annealing": 1, "draws": 1000}
        for name, value in least.items():
            given = getattr(self, name)
            if given is not None and given < value:
                raise InputError(f"{name} must be at least {value}, got {given}", name)
        if self.scale is not None and not self.scale > 0:
            raise InputError(f"scale must be above 0, got {self.scale}", "scale")
        self.flow()

    def flow(self) -> FlowOptions:
        """Return the options of the flow, one member."""
        return FlowOptions(
            architecture=self.architecture,
            n_layers=self.n_layers,
            width=self.width,
            depth=self.depth,
            bins=self.bins,
            bound=self.bound,
            tails=self.tails,
            members=1,
            margins=0,
            dropout=0.0,
        )


def default_recipe() -> Recipe:
    """Return the recipe of a user who sets nothing."""
    optimisation = Optimisation(batch_size=256, learning_rate=1e-3, warmup=20, ema=0.99)
    training = Training(epochs=40, evaluate_every=200, patience=6, optimisation=optimisation)
    return Recipe(TargetOptions(), training)
