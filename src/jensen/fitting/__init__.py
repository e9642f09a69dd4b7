r"""Fitting a table: the recipe (what a user can set), and the run of the engine it stands for."""

from jensen.fitting.families import FAMILIES, family_named
from jensen.fitting.family import Family
from jensen.fitting.flow import FlowFit, fit_table, flow_init
from jensen.fitting.gan import fit_gan
from jensen.fitting.judge import judged
from jensen.fitting.options import GanOptions
from jensen.fitting.pair import TableGAN
from jensen.fitting.recipe import Recipe

__all__ = [
    "FAMILIES",
    "Family",
    "FlowFit",
    "GanOptions",
    "Recipe",
    "TableGAN",
    "family_named",
    "fit_gan",
    "fit_table",
    "flow_init",
    "judged",
]
