r"""The families of models by name."""

from __future__ import annotations

from jensen._errors import check_name
from jensen.fitting.detector import DetectorFamily
from jensen.fitting.family import Family
from jensen.fitting.flow import FlowFamily
from jensen.fitting.gan import GanFamily
from jensen.fitting.latent import LatentFamily
from jensen.fitting.target_family import TargetFamily

FAMILIES: dict[str, Family] = {
    "flow": FlowFamily(),
    "detector": DetectorFamily(),
    "vae": LatentFamily("elbo"),
    "iwae": LatentFamily("iwae"),
    "gan": GanFamily(),
    "target": TargetFamily(),
}
"""Every family by its name in `--model`."""


def family_named(name: str) -> Family:
    """Return the family called `name`.

    Raises:
        InputError: if there is none.
    """
    check_name(name, FAMILIES, "model", "--model")
    return FAMILIES[name]
