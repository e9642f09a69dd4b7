r"""A network of a vector and a time: what moves points in a continuous flow.

    φ(t) = (t − ½, cos πt, sin πt, …, cos mπt, sin mπt)
    h_1 = a(W_1 (z, φ(t), c) + b_1),    h_{l+1} = a(W_l h_l + U_l φ(t) + b_l),    v = W_L h_L + b_L

Every hidden layer sees the time, so that the field can change its shape and not its size alone.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.nn.activations import activation
from jensen.nn.mlp import check_context, uniform_weights

WAVES = 4
"""m, the highest frequency of the time, in half turns."""


def time_features(t: Array) -> Array:
    """Return φ(t) `(2m + 1,)` for a time in [0, 1].

    Example:
        >>> time_features(jnp.array(0.5)).shape
        (9,)
    """
    angles = jnp.pi * jnp.arange(1, WAVES + 1, dtype=t.dtype) * t
    return jnp.concatenate([t[None] - 0.5, jnp.cos(angles), jnp.sin(angles)])


class TimedMLP(eqx.Module):
    """A multilayer perceptron v(t, z, c) on R^D; its last layer is at zero: v = 0 at the start.

    Args:
        key: randomness of the initial weights.
        dim: D ≥ 1.
        hidden: width of each hidden layer, at least one.
        context_dim: length of the context c; 0 for none.
        activation: name of the activation; a smooth one, where the field is to be integrated.

    Raises:
        InputError: for D < 1 or no hidden layer.

    Example:
        >>> import jax
        >>> net = TimedMLP(jax.random.key(0), 2, (8, 8))
        >>> net(jnp.array(0.3), jnp.ones(2)).tolist()
        [0.0, 0.0]
    """

    weights: tuple[Array, ...]
    from_time: tuple[Array, ...]
    biases: tuple[Array, ...]
    context_dim: int = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        dim: int,
        hidden: tuple[int, ...],
        *,
        context_dim: int = 0,
        activation: str = "silu",
    ) -> None:
        if dim < 1 or not hidden:
            raise InputError(
                f"a field needs dim ≥ 1 and a hidden layer, got dim={dim}, hidden={hidden}",
                "TimedMLP(dim, hidden)",
            )
        features = 2 * WAVES + 1
        sizes = (dim + features + context_dim, *hidden)
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        times = [(width, features) for width in hidden[1:]]
        drawn = uniform_weights(key, shapes + times, [2.0] * len(shapes) + [1.0] * len(times))
        self.weights = (*drawn[: len(hidden)], jnp.zeros((dim, hidden[-1])))
        self.from_time = tuple(drawn[len(hidden) :])
        self.biases = tuple(jnp.zeros(w.shape[0]) for w in self.weights)
        self.context_dim, self.activation = context_dim, activation

    def __call__(self, t: Array, z: Array, context: Array | None = None) -> Array:
        """Return v `(D,)` at time t, a scalar, and z `(D,)`.

        Raises:
            InputError: if a context is missing, of another length, or not expected.
        """
        check_context(self.context_dim, context)
        act, time = activation(self.activation), time_features(t)
        inputs = [z, time] if context is None else [z, time, context]
        h = act(self.weights[0] @ jnp.concatenate(inputs) + self.biases[0])
        for weight, moved, bias in zip(
            self.weights[1:-1], self.from_time, self.biases[1:-1], strict=True
        ):
            h = act(weight @ h + moved @ time + bias)
        return self.weights[-1] @ h + self.biases[-1]
