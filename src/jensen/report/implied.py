r"""What the loss of a discriminator says of the distance of samples and data.

At the discriminator's best its loss L_D is minus a divergence of data p and samples q, but for a
constant (`jensen.objectives.adversarial`):

    minimax, non-saturating   JSD = log 2 - L_D/2;  with weight λ:  D_λ = c(λ) - L_D
    an f-divergence           D_f = -L_D
    least squares             ½ ∫ (p - q)²/(p + q) = 1 - 4 L_D/(b - c)²
    hinge                     total variation = 1 - L_D/2
    Wasserstein               W₁ = -L_D, of a critic whose slope is at most 1

A discriminator short of its best, and the penalties in its loss, make the figure too small; one
that knows its training rows by heart makes it too large. It is no estimate: the held-out
divergence is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jensen.objectives.adversarial import (
    FDivergence,
    Hinge,
    LeastSquares,
    Logistic,
    Loss,
    Wasserstein,
)

LOG_2 = math.log(2.0)
_MOST = {"jensen-shannon": LOG_2, "hellinger": 1.0, "total-variation": 1.0}
_NATS = {"kl", "reverse-kl", "jensen-shannon"}


@dataclass(frozen=True)
class Implied:
    """A distance of p and q as a function of the discriminator's loss.

    Args:
        name: what is measured; 0 where p and q are the same.
        unit: its unit, empty for none.
        most: its largest value; infinite where there is none.
        of: the distance at a loss L_D, elementwise.
    """

    name: str
    unit: str
    most: float
    of: Callable[[np.ndarray], np.ndarray]


def implied_by(loss: Loss) -> Implied | None:
    """Return what the discriminator's loss implies, None for a loss not in the table.

    Args:
        loss: the losses of both players.

    Example:
        >>> found = implied_by(Logistic())
        >>> found.name, found.of(np.array([2 * LOG_2, 0.0])).round(4).tolist()
        ('Jensen–Shannon divergence', [0.0, 0.6931])
    """
    match loss:
        case Logistic(weight=1.0):
            return Implied("Jensen–Shannon divergence", "nats", LOG_2, lambda of: LOG_2 - of / 2)
        case Logistic(weight=w):
            top = (1 + w) * math.log1p(w) - w * math.log(w)
            name = f"Jensen–Shannon divergence with weight {w:g}"
            return Implied(name, "nats", top, lambda of: top - of)
        case FDivergence(divergence=f):
            unit = "nats" if f.name in _NATS else ""
            return Implied(
                f"{f.name} divergence", unit, _MOST.get(f.name, math.inf), lambda of: -of
            )
        case LeastSquares(high=b, low=c):
            scale = 4 / (b - c) ** 2
            return Implied("triangular discrimination", "", 1.0, lambda of: 1 - scale * of)
        case Hinge():
            return Implied("total variation", "", 1.0, lambda of: 1 - of / 2)
        case Wasserstein():
            return Implied(
                "Wasserstein-1 distance", "unit of the examples", math.inf, lambda of: -of
            )
    return None


def losses_if_same(loss: Loss) -> tuple[float, float]:
    """Return the losses of discriminator and generator where p = q and C is at its best.

    Args:
        loss: the losses of both players.

    Returns:
        Two numbers; for the Wasserstein loss 0 and NaN, for there C is known but for a constant.

    Example:
        >>> [round(value, 4) for value in losses_if_same(Logistic())]  # 2 log 2, log 2
        [1.3863, 0.6931]
    """
    if isinstance(loss, Wasserstein):
        return 0.0, math.nan
    best = loss.optimum(jnp.zeros(()))
    return float(loss.real(best) + loss.fake(best)), float(loss.generator(best))
