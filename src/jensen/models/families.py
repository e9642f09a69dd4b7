r"""Model families by name: the options a user sets, and the model they build.

A spec is plain data (JSON), so a run folder and a pickle hold a spec and arrays, never code. A new
family is one entry here: its options and a builder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError, check_name
from jensen._typing import Array, Key
from jensen.bijections import Chain, LULinear
from jensen.models import flow as flows
from jensen.models.base import Base, NormalBase, StudentTBase
from jensen.models.mixed import Categories, Mixed

ARCHITECTURES = {
    "spline-autoregressive": flows.SplineAutoregressive,
    "spline-coupling": flows.SplineCoupling,
    "maf": flows.MAF,
    "iaf": flows.IAF,
    "realnvp": flows.RealNVP,
    "planar": flows.PlanarFlow,
    "radial": flows.RadialFlow,
    "sylvester": flows.SylvesterFlow,
}
FREE = {"planar": 16, "radial": 16, "sylvester": 8}
"""Architectures whose maps hold their own numbers, networks only for a context: their layers."""
IMAGES = "multiscale"
"""The architecture of images, see `jensen.models.image`."""
PIXELS = ("histogram", "logit", "affine")
"""What takes the pixels of an image to the real line, see `jensen.bijections.pixels`."""
TAILS: dict[str, type[Base]] = {"normal": NormalBase, "student-t": StudentTBase}


@dataclass(frozen=True)
class FlowOptions:
    """What a user can set of a flow; `--set key=value` on the command line.

    Args:
        architecture: one of `ARCHITECTURES`; None for `multiscale` where the rows are images of
            whole grey levels, else `spline-autoregressive`.
        n_layers: number of blocks; None for a choice by the number of training rows.
        width: units of each hidden layer; None for a choice by the number of training rows.
        depth: hidden layers of each network.
        bins: K, bins of a spline; None for a choice by the number of training rows.
        bound: B, where splines end.
        tails: base distribution, `normal` or `student-t`.
        members: E, flows trained side by side and mixed equally; None for a choice by the number
            of training rows.
        blur: standard deviation of noise on the numbers, in standard deviations of their columns:
            the density is then that of the blurred data, which is better at telling anomalies.
        pixels: the first layer of an image flow, one of `PIXELS`.

    Raises:
        InputError: for a value outside its range or an unknown name.
    """

    architecture: str | None = None
    n_layers: int | None = None
    width: int | None = None
    depth: int = 2
    bins: int | None = 8
    bound: float = 5.0
    tails: str = "normal"
    members: int | None = None
    blur: float = 0.0
    pixels: str = "histogram"

    def __post_init__(self) -> None:
        for name, choices in (
            ("architecture", (*ARCHITECTURES, IMAGES)),
            ("tails", TAILS),
            ("pixels", PIXELS),
        ):
            value = getattr(self, name)
            if value is not None:
                check_name(value, choices, name)
        for name in ("n_layers", "width", "depth", "members"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if self.bins is not None and not 2 <= self.bins <= 100:
            raise InputError(f"bins must lie in 2..100, got {self.bins}")
        if self.bound <= 0:
            raise InputError(f"bound must be above 0, got {self.bound}")
        if not 0 <= self.blur < np.inf:
            raise InputError(f"blur must be at least 0, got {self.blur}")


def chosen_for(options: FlowOptions, n_rows: int) -> FlowOptions:
    """Return the options with every None chosen for a table with `n_rows` training rows.

    Small tables get small networks and more members: there averaging gains more than capacity.

    Example:
        >>> chosen_for(FlowOptions(width=16), 100).n_layers
        2
    """
    options = replace(options, architecture=options.architecture or "spline-autoregressive")
    small = n_rows < 2000
    best = (
        {"n_layers": 2, "width": 32, "members": 4}
        if small
        else {
            "n_layers": 4,
            "width": 64,
            "members": 2,
        }
    )
    best["bins"] = 8
    if options.architecture == IMAGES:
        best |= {"n_layers": 4, "width": 32 if small else 64, "members": 1}
    if options.architecture in FREE:
        best |= {"n_layers": FREE[options.architecture], "members": 1}
    return replace(
        options, **{name: v for name, v in best.items() if getattr(options, name) is None}
    )


class FlowInit(eqx.Module):
    """How the one player of a flow's game begins: `init(key) -> (Mixed,)`.

    Args:
        options: the flow's options.
        whiten: `(D, D)` lower triangular, the linear map it starts as.
        levels: number of levels of each categorical column.
    """

    whiten: Array
    options: FlowOptions = eqx.field(static=True)
    levels: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, key: Key) -> tuple[Mixed]:
        """Return the model of one member."""
        return (build_flow(key, self.options, self.whiten, self.levels),)


def build_flow(key: Key, options: FlowOptions, whiten: Array, levels: tuple[int, ...]) -> Mixed:
    """Return the model of a table with D numeric columns and the given categorical ones.

    A coupling needs two columns to couple: a table with one numeric column gets the
    autoregressive form of the same transformer, which is then the same map without a network.
    """
    if options.width is None or options.n_layers is None or options.architecture is None:
        raise InputError(
            "architecture, width and n_layers are not chosen yet", mend="use chosen_for"
        )
    dim, hidden = whiten.shape[0], (options.width,) * options.depth
    flow = None
    if dim:
        name = options.architecture
        if name == IMAGES:
            raise InputError(
                f"architecture={IMAGES} is for images", "architecture", "leave the option out"
            )
        if dim == 1:
            name = {"realnvp": "maf", "spline-coupling": "spline-autoregressive"}.get(name, name)
        spline = {"bins": options.bins, "bound": options.bound} if "spline" in name else {}
        flow = ARCHITECTURES[name](
            key,
            dim,
            n_layers=options.n_layers,
            hidden=hidden,
            context_dim=sum(levels),
            linear=name not in FREE,
            base=TAILS[options.tails](dim),
            **spline,
        )
        start = LULinear(dim, start=jnp.asarray(whiten))
        flow = flows.Flow(Chain((start, flow.bijection)), flow.base)
    return Mixed(flow, Categories(key, levels, hidden) if levels else None)


def read_value(name: str, value: Any, default: Any) -> Any:
    """Return `value`, text or not, as the type of `default`.

    Raises:
        InputError: if it cannot be read so.

    Example:
        >>> read_value("bins", "16", 8)
        16
    """
    if not isinstance(value, str) or isinstance(default, str):
        return value
    if value.lower() in ("none", "null") and (default is None or name == "clip"):
        return None
    default = 1 if default is None else default
    if isinstance(default, float | int) and not isinstance(default, bool):
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if np.isfinite(number) and (isinstance(default, float) or number == int(number)):
            return type(default)(number)
        kind = "a number" if isinstance(default, float) else "a whole number"
        raise InputError(
            f"{name} must be {kind}, got {value!r}",
            f"--set {name}",
            f"for example {name}={default}",
        )
    return value
