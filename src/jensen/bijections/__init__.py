r"""Bijections: x = f(z; c) with log |det ∂x/∂z|, always named in the generative direction z → x.

Two verbs define one: `forward_and_log_det(z, context)` and `inverse_and_log_det(x, context)`,
each for a single example `(D,)`. The inverse returns log |det ∂z/∂x| at x, so the two
log-determinants of a round trip add to zero. The layers next to the pixels of images, whose x is
bounded, are in `jensen.bijections.pixels`.
"""

from jensen.bijections.affine import Affine, LULinear, Permutation
from jensen.bijections.autoregressive import MaskedAutoregressive
from jensen.bijections.base import Bijection
from jensen.bijections.compose import Chain, Inverse, Pointwise, Repeat, Rest
from jensen.bijections.continuous import Continuous
from jensen.bijections.coupling import Coupling
from jensen.bijections.elementwise import AffineTransformer, Elementwise, SplineTransformer
from jensen.bijections.planar import Planar
from jensen.bijections.radial import Radial
from jensen.bijections.sylvester import Sylvester

__all__ = [
    "Affine",
    "AffineTransformer",
    "Bijection",
    "Chain",
    "Continuous",
    "Coupling",
    "Elementwise",
    "Inverse",
    "LULinear",
    "MaskedAutoregressive",
    "Permutation",
    "Planar",
    "Pointwise",
    "Radial",
    "Repeat",
    "Rest",
    "SplineTransformer",
    "Sylvester",
]
