r"""Continuous flows: a base distribution carried along a field, its density through the equation.

    dz/dt = v(t, z; c),   z(0) ~ p_Z,   x = z(1)
    log p(x | c) = log p_Z(z(0)) − ∫₀¹ tr ∂v/∂z (t, z(t); c) dt

One smooth network in place of a stack of layers, trained by maximum likelihood through the equation
or, much faster, by flow matching (`jensen.objectives.flow_matching`), which never solves it.
"""

from __future__ import annotations

import jax

from jensen._errors import InputError
from jensen._typing import Key, PyTree
from jensen.bijections import Bijection, Chain, Continuous
from jensen.models.base import Base, NormalBase
from jensen.models.flow import Flow
from jensen.nn.timed import TimedMLP


def ContinuousFlow(
    key: Key,
    dim: int,
    *,
    hidden: tuple[int, ...] = (128, 128, 128, 128),
    context_dim: int = 0,
    activation: str = "silu",
    tolerance: float = 1e-5,
    probes: int = 0,
    max_steps: int = 4096,
    base: Base | None = None,
) -> Flow:
    """Return a continuous flow; it starts as its base.

    Args:
        key: randomness of the initial weights.
        dim: D ≥ 1.
        hidden: widths of the field's network.
        context_dim: length of the context c; 0 for none.
        activation: name of its activation, a smooth one.
        tolerance: error of one step of the solver, absolute and relative.
        probes: M of Hutchinson's estimate of the divergence; 0 for the exact one.
        max_steps: of one solution; where they do not suffice, `log_prob` is not a number.
        base: distribution of z; standard normal if None.

    Raises:
        InputError: for a size or a number out of range.

    Source: Chen et al. 2018 (arXiv:1806.07366), sec. 4; Grathwohl et al. 2019 (arXiv:1810.01367).
    Deviations: the time enters as waves, in every layer.

    Example:
        >>> flow = ContinuousFlow(jax.random.key(0), 2, hidden=(8, 8))
        >>> round(float(flow.log_prob(jax.numpy.zeros(2))), 4)
        -1.8379
    """
    net = TimedMLP(key, dim, hidden, context_dim=context_dim, activation=activation)
    ode = Continuous(net, tolerance=tolerance, probes=probes, max_steps=max_steps)
    return Flow(ode, base or NormalBase(dim))


def parted(flow: Flow) -> tuple[Chain, Continuous]:
    """Return the maps between the data and the equation's end, and the equation's map.

    Raises:
        InputError: if the map next to the base is no `Continuous`.

    Example:
        >>> outer, ode = parted(ContinuousFlow(jax.random.key(0), 2, hidden=(8,)))
        >>> outer.bijections, type(ode).__name__
        ((), 'Continuous')
    """
    outer: tuple[Bijection, ...] = ()
    last = flow.bijection
    while isinstance(last, Chain):
        *before, last = last.bijections
        outer = (*outer, *before)
    if not isinstance(last, Continuous):
        raise InputError(
            f"the map next to the base is a {type(last).__name__}, which has no field",
            "the flow",
            "build it with ContinuousFlow, or with architecture=continuous",
        )
    return Chain(outer), last


def solved(model: PyTree, *, tolerance: float, probes: int) -> PyTree:
    """Return the model with its equations solved with another tolerance and other probes."""

    def other(part: PyTree) -> PyTree:
        if not isinstance(part, Continuous):
            return part
        return Continuous(part.field, tolerance, probes, part.seed, part.max_steps)

    return jax.tree.map(other, model, is_leaf=lambda part: isinstance(part, Continuous))


def equation_of(model: PyTree) -> Continuous | None:
    """Return the first equation of a model, or None where it has none."""
    parts = jax.tree.leaves(model, is_leaf=lambda part: isinstance(part, Continuous))
    return next((part for part in parts if isinstance(part, Continuous)), None)
