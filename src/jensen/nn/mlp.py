r"""The multilayer perceptron: h₀ = x, h_{l+1} = a(W_l h_l + b_l), y = f(W_L h_L + b_L).

The products are written `W @ h`, with the example as a column: under `vmap` XLA then keeps the
batch in the last axis, and every elementwise operation runs over contiguous memory.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Protocol, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.nn.activations import activation


class Thinnable(Protocol):
    """A network of layers whose hidden units can be dropped."""

    biases: tuple[Array, ...]
    keep: tuple[Array, ...] | None


Net = TypeVar("Net", bound=Thinnable)


def uniform_weights(key: Key, shapes: list[tuple[int, int]], gains: list[float]) -> list[Array]:
    """Return weights `(n_out, n_in)` ~ U(±√(3·gain/n_in)), of variance gain/n_in.

    All are cut from one draw: one random-number program to compile instead of one per layer.
    """
    sizes = [a * b for a, b in shapes]
    draw = jax.random.uniform(key, (sum(sizes),), minval=-1.0, maxval=1.0)
    ends = list(accumulate(sizes))
    return [
        draw[end - size : end].reshape(shape) * (3.0 * gain / max(shape[1], 1)) ** 0.5
        for end, size, shape, gain in zip(ends, sizes, shapes, gains, strict=True)
    ]


def check_context(expected: int, context: Array | None) -> None:
    """Raise InputError unless the context is a vector of the expected length (None for 0)."""
    found = 0 if context is None else context.shape[-1]
    if found != expected:
        raise InputError(
            f"this model expects a context of length {expected}, got {found}",
            "context",
            "pass the context it was built with (context_dim)",
        )


def thinned(key: Key, net: Net, rate: float) -> Net:
    """Return a network that has lost each hidden unit with probability p, the others times 1/(1-p).

    Every unit keeps its mean. The layers of networks that are stacked on axes in front lose units
    of their own.

    Args:
        key: randomness.
        net: a network with `biases`, that of the output last, and `keep`.
        rate: p.

    Source: Srivastava et al. 2014. Deviation: the factor stands in training, not in evaluation.

    Example:
        >>> net = thinned(jax.random.key(0), MLP(jax.random.key(1), 2, 1, (4,)), 0.5)
        >>> net.keep[0].tolist()
        [0.0, 2.0, 2.0, 2.0]
    """
    keep = tuple(
        jax.random.bernoulli(jax.random.fold_in(key, i), 1.0 - rate, bias.shape) / (1.0 - rate)
        for i, bias in enumerate(net.biases[:-1])
    )
    return eqx.tree_at(lambda n: n.keep, net, keep, is_leaf=lambda a: a is None)


class MLP(eqx.Module):
    """A multilayer perceptron; by default its last layer is at zero: it starts at its bias.

    Args:
        key: randomness of the initial weights.
        n_in: length of the input.
        n_out: length of the output.
        hidden: width of each hidden layer.
        activation: name of the hidden layers' activation.
        last: n_in times the variance of the last layer's weights.
        final: name of the output's activation.

    Attributes:
        keep: what each hidden layer's units are multiplied with, see `thinned`; None but in
            training with dropout.

    Example:
        >>> net = MLP(jax.random.key(0), 3, 2, (8,))
        >>> net(jnp.ones(3)).shape
        (2,)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    keep: tuple[Array, ...] | None
    activation: str = eqx.field(static=True)
    final: str = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        n_in: int,
        n_out: int,
        hidden: tuple[int, ...],
        activation: str = "relu",
        *,
        last: float = 0.0,
        final: str = "identity",
    ) -> None:
        sizes = (n_in, *hidden)
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        gains = [2.0] * len(shapes)
        if last:
            shapes, gains = [*shapes, (n_out, sizes[-1])], [*gains, last]
        drawn = uniform_weights(key, shapes, gains)
        self.weights = tuple(drawn) if last else (*drawn, jnp.zeros((n_out, sizes[-1])))
        self.biases = tuple(jnp.zeros(w.shape[0]) for w in self.weights)
        self.keep = None
        self.activation, self.final = activation, final

    def __call__(self, x: Array) -> Array:
        """Return y `(n_out,)` for one input `(n_in,)`."""
        act = activation(self.activation)
        h = x
        layers = zip(self.weights[:-1], self.biases[:-1], strict=True)
        for i, (weight, bias) in enumerate(layers):
            h = act(weight @ h + bias)
            h = h if self.keep is None else self.keep[i] * h
        return activation(self.final)(self.weights[-1] @ h + self.biases[-1])
