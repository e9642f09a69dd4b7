"""Names for the things that pass between rooms.

Shapes stand in the docstrings, in backticks: `(D,)` is one example, `(n, D)` a table of rows.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A JAX random key; the only source of randomness in model code."""
PyTree: TypeAlias = Any
