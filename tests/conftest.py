"""The law tables, and what every test of mathematics shares.

A table holds one row for each thing the library exports: a bijection, a flow builder, a rule. The
tests of a room run every law on every row; `test_*_tables.py` fails when something exported has no
row. Adding a method means adding its row here.

Compiling is the cost of these tests. So XLA is asked not to optimise, which halves it, and programs
are kept in JAX's persistent cache, in a folder of the user's own under the system's temporary
folder. The slow tests, `make test-slow`, run with XLA as users have it.
"""

from __future__ import annotations

import gc
import getpass
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jensen._xla import compile_quickly

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "XLA_FLAGS" not in os.environ:  # with `XLA_FLAGS=` the tests run with XLA as users have it
    compile_quickly(level=0)

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

jax.config.update(
    "jax_compilation_cache_dir",
    str(Path(tempfile.gettempdir()) / f"jensen-tests-{getpass.getuser()}" / "jax"),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
gc.set_threshold(100_000, 20, 20)  # tracing makes many objects, and few of them in circles
jax.config.update("jax_traceback_in_locations_limit", 0)  # nobody reads where an operation is from
jax.devices()  # from here on XLA's flags are those of this process, whatever a command asks for

from jensen.bijections import (  # noqa: E402
    Affine,
    AffineTransformer,
    Chain,
    Continuous,
    Coupling,
    Elementwise,
    Inverse,
    LULinear,
    MaskedAutoregressive,
    Permutation,
    Planar,
    Pointwise,
    Radial,
    Repeat,
    Rest,
    SplineTransformer,
    Sylvester,
)
from jensen.bijections.continuous import ROUNDINGS  # noqa: E402
from jensen.games.rules import (  # noqa: E402
    Alternating,
    Consensus,
    Extragradient,
    Optimistic,
    PastExtragradient,
    Proximal,
    Rule,
    Simultaneous,
    Symplectic,
)
from jensen.models.base import StudentTBase  # noqa: E402
from jensen.models.continuous import ContinuousFlow  # noqa: E402
from jensen.models.flow import (  # noqa: E402
    IAF,
    MAF,
    PlanarFlow,
    RadialFlow,
    RealNVP,
    SplineAutoregressive,
    SplineCoupling,
    SylvesterFlow,
)
from jensen.nn.mixer import PatchMixer  # noqa: E402
from jensen.nn.mlp import MLP  # noqa: E402
from jensen.nn.timed import TimedMLP  # noqa: E402


@pytest.fixture(autouse=True)
def _flags_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back XLA's flags that a command asked for: later tests start processes, too."""
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))


MOST_MAPS = 20_000


@pytest.fixture(autouse=True, scope="module")
def _few_programs():
    """Let go of compiled programs after a module, where there are many.

    XLA maps each into memory, and a process that holds tens of thousands of maps is killed by the
    system's limit on them (65,530 on Linux). Programs that another module needs too come back from
    the cache on disk.
    """
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


BOUND = 4.0
"""The bound of every spline in the tables, so that one set of points meets all their tails."""


@dataclass(frozen=True)
class Case:
    """One row of a law table.

    Args:
        make: constructor without arguments.
        dim: D.
        context_dim: length of the context; 0 for none.
        tolerance: of what is solved to no more than that; 0 for what is exact up to rounding.
        scale: factor on the scale of random parameters, where they stand in an exponent twice.
    """

    make: Callable[[], Any]
    dim: int
    context_dim: int = 0
    tolerance: float = 0.0
    scale: float = 1.0

    def error(self, dtype: Any) -> float:
        """Return the relative error of one operation in the dtype: rounding, or the tolerance."""
        eps = float(np.finfo(dtype).eps)
        return max(ROUNDINGS * eps, self.tolerance) if self.tolerance else eps


def key(seed: int = 0) -> jax.Array:
    return jax.random.key(seed)


def spline(bins: int = 4) -> SplineTransformer:
    return SplineTransformer(bins, BOUND)


def elementwise(transformer: Any, dim: int) -> Elementwise:
    return Elementwise(transformer, jnp.zeros((dim, transformer.n_params)))


def masked(transformer: Any, dim: int, **options: Any) -> MaskedAutoregressive:
    return MaskedAutoregressive(key(), dim, transformer, (6, 6), **options)


six = partial(MLP, hidden=(6,))
mixer = partial(PatchMixer, positions=2, width=6, depth=1)


def repeated() -> Repeat:
    """Spline blocks; the affine shifts are where a cloud moves what passes between them."""

    def block(k: jax.Array) -> Chain:
        between = elementwise(AffineTransformer(), 3)
        coupling = Coupling(k, 3, spline(), partial(MLP, hidden=(5,)))
        return Chain((coupling, between, Permutation((2, 0, 1)), LULinear(3)))

    return Repeat(eqx.filter_vmap(block)(jax.random.split(key(), 2)))


def repeated_affine() -> Repeat:
    def block(k: jax.Array) -> Chain:
        return Chain((elementwise(AffineTransformer(), 3), Permutation((2, 0, 1))))

    return Repeat(eqx.filter_vmap(block)(jax.random.split(key(), 2)))


def continuous() -> Continuous:
    field = TimedMLP(key(), 2, (6, 6), context_dim=2, activation="tanh")
    return Continuous(field, tolerance=1e-8)


BIJECTIONS: dict[str, Case] = {
    "Affine": Case(lambda: Affine(jnp.zeros(3), jnp.zeros(3)), 3),
    "LULinear": Case(lambda: LULinear(3), 3),
    "Permutation": Case(lambda: Permutation((2, 0, 1)), 3),
    "Elementwise-affine": Case(lambda: elementwise(AffineTransformer(), 3), 3),
    "Elementwise-spline": Case(lambda: elementwise(spline(8), 3), 3),
    "Coupling-affine": Case(lambda: Coupling(key(), 3, AffineTransformer(), six), 3),
    "Coupling-spline-context": Case(lambda: Coupling(key(), 3, spline(), six, context_dim=2), 3, 2),
    "Coupling-mixer": Case(lambda: Coupling(key(), 8, AffineTransformer(), mixer), 8),
    "MaskedAutoregressive-affine": Case(lambda: masked(AffineTransformer(), 3), 3),
    "MaskedAutoregressive-spline-residual": Case(lambda: masked(spline(), 3, residual=True), 3),
    "MaskedAutoregressive-spline-context": Case(lambda: masked(spline(), 3, context_dim=2), 3, 2),
    "MaskedAutoregressive-one-dimension": Case(lambda: masked(spline(), 1), 1),
    "Chain": Case(
        lambda: Chain(
            (
                elementwise(AffineTransformer(), 3),
                elementwise(spline(), 3),
                Permutation((1, 2, 0)),
            )
        ),
        3,
    ),
    "Repeat": Case(repeated_affine, 3),
    "Repeat-spline": Case(repeated, 3),
    "Inverse": Case(lambda: Inverse(masked(AffineTransformer(), 3, activation="tanh")), 3),
    "Rest": Case(lambda: Rest(elementwise(AffineTransformer(), 2), 1), 3),
    "Pointwise": Case(lambda: Pointwise(LULinear(3), 3), 6),
    "Planar": Case(lambda: Planar(key(), 3), 3),
    "Planar-one-dimension": Case(lambda: Planar(key(), 1), 1),
    "Planar-context": Case(lambda: Planar(key(), 3, context_dim=2, hidden=(6,)), 3, 2),
    "Radial": Case(lambda: Radial(key(), 3), 3),
    "Radial-one-dimension": Case(lambda: Radial(key(), 1), 1),
    "Radial-context": Case(lambda: Radial(key(), 3, context_dim=2, hidden=(6,)), 3, 2),
    "Sylvester": Case(lambda: Sylvester(key(), 3), 3),
    "Sylvester-rank": Case(lambda: Sylvester(key(), 3, rank=2), 3),
    "Sylvester-context": Case(lambda: Sylvester(key(), 3, context_dim=2, hidden=(6,)), 3, 2),
    "Continuous-context": Case(continuous, 2, 2, tolerance=1e-8, scale=0.06),
}
"""Each exported bijection, in each of its forms."""
HEAVY = {"Continuous-context", "ContinuousFlow-context"}
"""Rows whose programs take ten seconds each to compile: the everyday tests ask them less."""


def unless_heavy(name: str, *values: Any, spare: bool) -> Any:
    """Return the parameters of a test, slow where `spare` holds of a heavy row."""
    marks = pytest.mark.slow if spare and name in HEAVY else ()
    return pytest.param(name, *values, marks=marks)


def flow_case(builder: Callable, dim: int, context_dim: int = 0, **options: Any) -> Case:
    options = {"n_layers": 2, "hidden": (8, 8), **options}
    return Case(lambda: builder(key(), dim, context_dim=context_dim, **options), dim, context_dim)


FLOWS: dict[str, Case] = {
    "RealNVP": flow_case(RealNVP, 2),
    "RealNVP-linear": flow_case(RealNVP, 2, linear=True),
    "SplineCoupling": flow_case(SplineCoupling, 2, linear=True, bins=5),
    "SplineCoupling-context": flow_case(SplineCoupling, 2, 1, bins=5),
    "MAF": flow_case(MAF, 2),
    "MAF-student-t": Case(
        lambda: MAF(key(), 2, n_layers=2, hidden=(8, 8), base=StudentTBase(2)), 2
    ),
    "MAF-context": flow_case(MAF, 2, 1, linear=True),
    "MAF-one-dimension": flow_case(MAF, 1),
    "IAF": flow_case(IAF, 2, linear=True),
    "SplineAutoregressive": flow_case(SplineAutoregressive, 2, linear=True, bins=5, residual=True),
    "SplineAutoregressive-one-dimension": flow_case(SplineAutoregressive, 1, bins=5),
    "PlanarFlow": flow_case(PlanarFlow, 2, n_layers=4),
    "PlanarFlow-context": flow_case(PlanarFlow, 2, 1, linear=True),
    "PlanarFlow-one-dimension": flow_case(PlanarFlow, 1),
    "RadialFlow": flow_case(RadialFlow, 2, n_layers=4),
    "RadialFlow-context": flow_case(RadialFlow, 2, 1),
    "SylvesterFlow": flow_case(SylvesterFlow, 2, n_layers=4),
    "SylvesterFlow-context": flow_case(SylvesterFlow, 2, 1, linear=True),
    "ContinuousFlow-context": Case(
        lambda: ContinuousFlow(key(), 1, hidden=(8, 8), context_dim=1, tolerance=1e-10), 1, 1
    ),
}
"""Each flow builder, in each of its forms; the name starts with the builder's."""

RULES: dict[str, Callable[[], Rule]] = {
    "simultaneous": Simultaneous,
    "alternating": Alternating,
    "extragradient": Extragradient,
    "past-extragradient": PastExtragradient,
    "optimistic": Optimistic,
    "consensus": lambda: Consensus(weight=0.3),
    "symplectic": lambda: Symplectic(weight=0.7),
    "proximal": Proximal,
}
"""Each update rule, by the name it has in a run's spec."""


def randomise(module: Any, scale: float, seed: int = 0, dtype: Any = np.float32) -> Any:
    """Return `module` with every floating leaf drawn from N(0, scale²).

    The numbers are float32 numbers whatever the dtype, so that both precisions hold the same
    module. For float64 call it inside `jax.enable_x64(True)`.
    """
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> Any:
        if not eqx.is_inexact_array(leaf):
            return leaf
        numbers = (scale * rng.standard_normal(leaf.shape)).astype(np.float32)
        return jnp.asarray(numbers.astype(dtype))

    return jax.tree.map(draw, module)
