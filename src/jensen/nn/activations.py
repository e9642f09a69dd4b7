"""Activations by name.

A network stores the *name* of its activation, so that a model is plain data: it pickles, it
serialises to JSON, and two networks of the same spec share one compiled program.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jensen._errors import check_name
from jensen._typing import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda a: a,
    "relu": jax.nn.relu,
    "leaky_relu": lambda a: jnp.where(a > 0, a, 0.2 * a),
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
}


def activation(name: str) -> Callable[[Array], Array]:
    """Return the elementwise function called `name`.

    Args:
        name: a key of `ACTIVATIONS`.

    Returns:
        The function, applied elementwise.

    Raises:
        InputError: if there is no activation of that name.

    Example:
        >>> float(activation("relu")(jnp.float32(-1.0)))
        0.0
    """
    check_name(name, ACTIVATIONS, "activation")
    return ACTIVATIONS[name]
