r"""Fitting a table: the recipe (what a user can set), and the run of the engine it stands for."""

from jensen.fitting.density import DensityFit
from jensen.fitting.families import FAMILIES, family_named
from jensen.fitting.family import Family
from jensen.fitting.flow import fit_table, flow_init
from jensen.fitting.gan import fit_gan
from jensen.fitting.judge import judged
from jensen.fitting.latent import fit_latent
from jensen.fitting.latent_options import LatentOptions
from jensen.fitting.latent_table import TableLatent
from jensen.fitting.options import GanOptions
from jensen.fitting.pair import TableGAN
from jensen.fitting.recipe import Recipe

__all__ = [
    "FAMILIES",
    "DensityFit",
    "Family",
    "GanOptions",
    "LatentOptions",
    "Recipe",
    "TableGAN",
    "TableLatent",
    "family_named",
    "fit_gan",
    "fit_latent",
    "fit_table",
    "flow_init",
    "judged",
]
