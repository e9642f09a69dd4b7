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
from jensen.bijections import Bijection, Chain, LULinear
from jensen.models import flow as flows
from jensen.models.base import Base, NormalBase, StudentTBase
from jensen.models.continuous import ContinuousFlow
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
    "continuous": ContinuousFlow,
}
MASKED = ("maf", "iaf", "spline-autoregressive")
"""Architectures of masked networks."""
FREE = {"planar": 16, "radial": 16, "sylvester": 8}
"""Architectures whose maps hold their own numbers, networks only for a context: their layers."""
OF_TABLES = "spline-autoregressive"
"""The architecture of tables, unless another is set."""
IMAGES = "multiscale"
"""The architecture of images, see `jensen.models.image`."""
PIXELS = ("histogram", "logit", "affine")
"""What takes the pixels of an image to the real line, see `jensen.bijections.pixels`."""
OBJECTIVES = ("auto", "likelihood", "flow-matching")
DEQUANTISATIONS = ("uniform", "variational")
"""The noise within a grey level, see `jensen.models.dequantised`."""
TAILS: dict[str, type[Base]] = {"normal": NormalBase, "student-t": StudentTBase}


@dataclass(frozen=True)
class FlowOptions:
    """What a user can set of a flow; `--set key=value` on the command line.

    Args:
        architecture: one of `ARCHITECTURES`; None for `multiscale` where the rows are images of
            whole grey levels, else `spline-autoregressive`.
        n_layers: number of blocks; None for a choice by the number of training rows.
        width: units of each hidden layer; None for a choice by the number of training rows.
        depth: hidden layers of each network; None for 4 of a continuous flow, 2 of others.
        bins: K, bins of a spline; None for a choice by the number of training rows.
        bound: B, where splines end.
        tails: base distribution, `normal` or `student-t`.
        members: E, flows trained side by side and mixed equally; None for a choice by the number
            of training rows.
        blur: standard deviation of noise on the numbers, in standard deviations of their columns:
            the density is then that of the blurred data, which is better at telling anomalies.
        margins: bins of the splines next to the data that start at each column's own shape, see
            `jensen.models.margins`; 0 for none; None for a choice by the number of training rows.
        dropout: share of the networks' hidden units that each example loses in training; None for
            a choice by the numbers of training rows and columns.
        residual: residual masked networks, for `maf`, `iaf` and `spline-autoregressive`.
        pixels: the first layer of an image flow, one of `PIXELS`.
        objective: what training minimises: `likelihood`, or `flow-matching` for a continuous flow
            alone; `auto` for the latter where it can be.
        tolerance: of a continuous flow's solver.
        probes: of a continuous flow's divergence; 0 for the exact one.
        dequantisation: of an image flow, one of `DEQUANTISATIONS`.

    Raises:
        InputError: for a value outside its range or an unknown name.
    """

    architecture: str | None = None
    n_layers: int | None = None
    width: int | None = None
    depth: int | None = None
    bins: int | None = 8
    bound: float = 5.0
    tails: str = "normal"
    members: int | None = None
    blur: float = 0.0
    margins: int | None = None
    dropout: float | None = None
    residual: bool = False
    pixels: str = "histogram"
    objective: str = "auto"
    tolerance: float = 1e-5
    probes: int = 0
    dequantisation: str = "uniform"

    def __post_init__(self) -> None:
        for name, choices in (
            ("architecture", (*ARCHITECTURES, IMAGES)),
            ("tails", TAILS),
            ("pixels", PIXELS),
            ("objective", OBJECTIVES),
            ("dequantisation", DEQUANTISATIONS),
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
        if self.margins is not None and self.margins != 0 and not 4 <= self.margins <= 100:
            raise InputError(f"margins must be 0 or lie in 4..100, got {self.margins}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"dropout must lie in [0, 1), got {self.dropout}")
        if self.residual and self.architecture not in (None, *MASKED):
            raise InputError(
                f"{self.architecture} has no masked networks to be residual",
                "residual",
                f"choose of {', '.join(MASKED)}, or leave residual out",
            )
        if not 0 <= self.blur < np.inf:
            raise InputError(f"blur must be at least 0, got {self.blur}")
        if self.objective == "flow-matching" and self.architecture != "continuous":
            raise InputError(
                f"a {self.architecture or OF_TABLES} flow has no field to match",
                "objective",
                "set architecture=continuous, or objective=likelihood",
            )
        if self.architecture == "continuous" and (self.n_layers or 1) > 1:
            raise InputError(
                f"a continuous flow is one map, got n_layers={self.n_layers}",
                "n_layers",
                "set depth or width, the size of its network",
            )
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must lie between 0 and 1, got {self.tolerance}")
        if self.probes < 0:
            raise InputError(f"probes must be at least 0, got {self.probes}")

    @property
    def matched(self) -> bool:
        """Whether training is by flow matching."""
        return self.architecture == "continuous" and self.objective != "likelihood"


CROWDED = 200
"""Training rows for each column below which hidden units are dropped in training."""


def chosen_for(options: FlowOptions, n_rows: int, n_columns: int) -> FlowOptions:
    """Return the options with every None chosen for a table.

    Small tables get small networks and more members: there averaging gains more than capacity.
    Larger ones start at the shape of each column, in 12 to 40 bins, one for every 300 rows (but
    under Student-t tails, which are a shape of their own), and lose hidden units in training where
    columns are many.

    Args:
        options: of the user.
        n_rows: training rows.
        n_columns: numeric and categorical columns.

    Example:
        >>> chosen_for(FlowOptions(width=16), 100, 5).n_layers
        2
        >>> [chosen_for(FlowOptions(), 3000, n_columns).dropout for n_columns in (2, 43)]
        [0.0, 0.2]
    """
    options = replace(options, architecture=options.architecture or OF_TABLES)
    _check_images(options)
    small = n_rows < 2000
    best = (
        {"n_layers": 2, "width": 32, "members": 4, "margins": 0, "dropout": 0.0}
        if small
        else {
            "n_layers": 4,
            "width": 64,
            "members": 2,
            "margins": int(np.clip(n_rows // 300, 12, 40)) if options.tails == "normal" else 0,
            "dropout": 0.2 if n_rows < CROWDED * n_columns else 0.0,
        }
    )
    best |= {"bins": 8, "depth": 2}
    if options.architecture == IMAGES:
        best |= {"n_layers": 4, "depth": 1, "members": 1, "margins": 0, "dropout": 0.0}
    if options.architecture in FREE:
        best |= {"n_layers": FREE[options.architecture], "members": 1, "margins": 0, "dropout": 0.0}
    if options.architecture == "continuous":
        best |= {"n_layers": 1, "depth": 4, "width": 64 if small else 128}
        best |= {"members": 4 if small else 1, "margins": 0, "dropout": 0.0}
    return replace(
        options, **{name: v for name, v in best.items() if getattr(options, name) is None}
    )


def _check_images(options: FlowOptions) -> None:
    """Raise InputError where an option is of the other kind: images, or tables."""
    images = options.architecture == IMAGES
    wrong = [
        name
        for name, usual in (("pixels", "histogram"), ("dequantisation", "uniform"))
        if not images and getattr(options, name) != usual
    ] + [name for name in ("dropout", "blur", "margins") if images and getattr(options, name)]
    if wrong:
        raise InputError(
            f"{wrong[0]} is {'not for images' if images else 'for images of grey levels alone'}",
            wrong[0],
            "leave it out",
        )


class FlowInit(eqx.Module):
    """How the one player of a flow's game begins: `init(key) -> (Mixed,)`.

    Args:
        options: the flow's options.
        whiten: `(D, D)` lower triangular, the linear map it starts as.
        margins: the layer before it, next to the data, or None.
        levels: number of levels of each categorical column.
    """

    whiten: Array
    margins: Bijection | None
    options: FlowOptions = eqx.field(static=True)
    levels: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, key: Key) -> tuple[Mixed]:
        """Return the model of one member."""
        return (build_flow(key, self.options, self.whiten, self.levels, self.margins),)


def build_flow(
    key: Key,
    options: FlowOptions,
    whiten: Array,
    levels: tuple[int, ...],
    margins: Bijection | None = None,
) -> Mixed:
    """Return the model of a table with D numeric columns and the given categorical ones.

    A coupling needs two columns to couple: a table with one numeric column gets the
    autoregressive form of the same transformer, which is then the same map without a network.
    """
    if options.width is None or options.n_layers is None or options.depth is None:
        raise InputError("width, n_layers or depth is not chosen yet", mend="use chosen_for")
    dim, hidden = whiten.shape[0], (options.width,) * options.depth
    flow = None
    if dim:
        name = options.architecture or OF_TABLES
        if name == IMAGES:
            raise InputError(
                f"architecture={IMAGES} is for images", "architecture", "leave the option out"
            )
        if dim == 1:
            name = {"realnvp": "maf", "spline-coupling": "spline-autoregressive"}.get(name, name)
        own: dict[str, Any] = {"n_layers": options.n_layers, "linear": name not in FREE}
        if name in MASKED:
            own["residual"] = options.residual
        if "spline" in name:
            own |= {"bins": options.bins, "bound": options.bound}
        if name == "continuous":
            own = {"tolerance": options.tolerance, "probes": options.probes}
        flow = ARCHITECTURES[name](
            key,
            dim,
            hidden=hidden,
            context_dim=sum(levels),
            base=TAILS[options.tails](dim),
            **own,
        )
        start = LULinear(dim, start=jnp.asarray(whiten))
        first = (start,) if margins is None else (margins, start)
        flow = flows.Flow(Chain((*first, flow.bijection)), flow.base)
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
