r"""Fitting a table: the recipe (what a user can set), and the run of the engine it stands for."""

from jensen.fitting.density import DensityFit
from jensen.fitting.families import FAMILIES, family_named
from jensen.fitting.family import Family
from jensen.fitting.flow import fit_table, flow_init, flow_recipe
from jensen.fitting.gan import fit_gan
from jensen.fitting.judge import judged
from jensen.fitting.latent import fit_latent
from jensen.fitting.latent_options import LatentOptions
from jensen.fitting.latent_table import TableLatent
from jensen.fitting.options import GanOptions
from jensen.fitting.pair import TableGAN
from jensen.fitting.recipe import Recipe
from jensen.fitting.target import TargetFit, fit_log_density
from jensen.fitting.target_family import TargetFamily, TargetModel
from jensen.fitting.target_file import Target, load_density

__all__ = [
    "FAMILIES",
    "DensityFit",
    "Family",
    "GanOptions",
    "LatentOptions",
    "Recipe",
    "TableGAN",
    "TableLatent",
    "Target",
    "TargetFamily",
    "TargetFit",
    "TargetModel",
    "family_named",
    "fit_gan",
    "fit_latent",
    "fit_log_density",
    "fit_table",
    "flow_init",
    "flow_recipe",
    "judged",
    "load_density",
]
