r"""The masked network (MADE): parameters of dimension d from the dimensions before it.

    θ_d = net_d(x_1, …, x_{d-1}; c),      d = 1, …, D

Every unit has a degree: input d has degree d, a hidden unit of degree m sees the inputs of degree
≤ m (and the context c, of degree 0), the output for dimension d sees hidden units of degree < d.
Hidden units are **sorted by degree**, so every mask is a staircase.

* *Density direction* (all of x known): one pass.
* *Sampling direction* (x found one dimension after the other): once x_d is known, the hidden units
  of degree d are final. `recursion` computes them then, each once: the whole recursion costs as
  many multiplications as **one** pass, where recomputing the network costs D passes.

Source: Germain et al. 2015 (arXiv:1502.03509), eqs. 8–9. Deviation: degrees are evenly spread and
sorted, not drawn at random, which makes the recursion above a sliding window.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._typing import Array, Key
from jensen.nn.activations import activation
from jensen.nn.mlp import check_context, uniform_weights


def hidden_degrees(width: int, dim: int, conditional: bool) -> np.ndarray:
    """Return the sorted degrees `(width,)` of a hidden layer.

    Degrees run over 1..D-1; with a context, or for D = 1, they start at 0 (context only).
    """
    low = 0 if conditional or dim == 1 else 1
    n_levels = max(dim - low, 1)
    return low + (np.arange(width) * n_levels) // width


class MaskedMLP(eqx.Module):
    """A masked network for D dimensions with P parameters each, starting at its bias.

    Args:
        key: randomness of the initial weights.
        dim: D.
        n_params: P.
        hidden: width of each hidden layer.
        context_dim: length of the context; 0 for none.
        activation: name of the activation.
        residual: add each hidden layer after the first to its input (equal widths).
        groups: how many inputs each dimension has (one each where empty): a category enters as
            its one-hot vector.

    Attributes:
        keep: what each hidden layer's units are multiplied with, see `jensen.nn.mlp.thinned`; None
            but in training with dropout.

    Example:
        >>> net = MaskedMLP(jax.random.key(0), dim=3, n_params=2, hidden=(16, 16))
        >>> net(jnp.ones(3)).shape
        (3, 2)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    context_weight: Array | None
    keep: tuple[Array, ...] | None
    dim: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    residual: bool = eqx.field(static=True)
    groups: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        dim: int,
        n_params: int,
        hidden: tuple[int, ...],
        *,
        context_dim: int = 0,
        activation: str = "relu",
        residual: bool = False,
        groups: tuple[int, ...] = (),
    ) -> None:
        self.dim, self.n_params, self.groups = dim, n_params, groups or (1,) * dim
        self.activation, self.residual = activation, residual
        masks = _masks(self.groups, n_params, hidden, context_dim > 0)[:-1]
        shapes = [mask.shape for mask in masks]
        # a unit sees only a share of its inputs: the gain keeps the variance of its sum
        gains = [2.0 / max(float(mask.mean()), 1.0 / mask.shape[1]) for mask in masks]
        if context_dim:
            shapes.append((hidden[0], context_dim))
            gains.append(2.0)
        drawn = uniform_weights(key, shapes, gains)
        inner = [weight * mask for weight, mask in zip(drawn, masks, strict=False)]
        self.weights = (*inner, jnp.zeros((dim * n_params, hidden[-1])))
        self.biases = tuple(jnp.zeros(w.shape[0]) for w in self.weights)
        self.context_weight = drawn[-1] if context_dim else None
        self.keep = None

    def __call__(self, x: Array, context: Array | None = None) -> Array:
        """Return the parameters `(D, P)` for one example `(D,)` and its context.

        Raises:
            InputError: if a context is missing, of another length, or not expected.
        """
        act = activation(self.activation)
        masks, from_context = self._masks(), self._from_context(context)
        h = x
        for i, (mask, weight, bias) in enumerate(
            zip(masks[:-1], self.weights[:-1], self.biases[:-1], strict=True)
        ):
            a = (weight * mask) @ h + bias
            if i == 0:
                a = a + from_context
            new = act(a) if self.keep is None else self.keep[i] * act(a)
            h = h + new if self.residual and i > 0 else new
        out = (self.weights[-1] * masks[-1]) @ h
        return (out + self.biases[-1]).reshape(self.dim, self.n_params)

    def recursion(self, context: Array | None = None) -> Callable:
        """Return the step that makes one more dimension's parameters known.

        The step takes the state (x `(D,)` known before dimension d, then each hidden layer) and
        d = 0, 1, …, D-1 in turn; it makes the hidden units of degree d final and returns the new
        state and the parameters `(P,)` of dimension d.
        """
        act = activation(self.activation)
        masks = self._masks()
        weights = [w * m for w, m in zip(self.weights, masks, strict=True)]
        biases = (self.biases[0] + self._from_context(context), *self.biases[1:])

        def step(state: tuple[Array, ...], d: Array) -> tuple[tuple[Array, ...], Array]:
            h, layers = state[0], [state[0]]
            for i, layer in enumerate(state[1:]):
                start, count = self._window(layer.shape[0], d)
                a = _rows(weights[i], start, count) @ h + _rows(biases[i], start, count)
                new = act(a)
                if self.keep is not None:
                    new = _rows(self.keep[i], start, count) * new
                if self.residual and i > 0:
                    new = new + _rows(h, start, count)
                h = jax.lax.dynamic_update_slice_in_dim(layer, new, start, 0)
                layers.append(h)
            out = _rows(weights[-1], d * self.n_params, self.n_params)
            bias = _rows(biases[-1], d * self.n_params, self.n_params)
            # units of a degree above d hold numbers of an earlier window: their weights are zero
            return tuple(layers), out @ h + bias

        return step

    def initial_state(self, x: Array) -> tuple[Array, ...]:
        """Return the state before any dimension is known: x and zero hidden layers."""
        return (x, *(jnp.zeros(w.shape[0], x.dtype) for w in self.weights[:-1]))

    def _from_context(self, context: Array | None) -> Array | float:
        """Return what the context adds to the first hidden layer."""
        weight = self.context_weight
        check_context(0 if weight is None else weight.shape[1], context)
        return 0.0 if weight is None or context is None else weight @ context

    def _masks(self) -> tuple[np.ndarray, ...]:
        hidden = tuple(w.shape[0] for w in self.weights[:-1])
        return _masks(self.groups, self.n_params, hidden, self.context_weight is not None)

    def _window(self, width: int, d: Array) -> tuple[Array, int]:
        """Return where the hidden units of degree d start, and the widest degree's count."""
        degrees = hidden_degrees(width, self.dim, self.context_weight is not None)
        starts = np.searchsorted(degrees, np.arange(self.dim))
        count = int(np.bincount(degrees).max())
        return jnp.minimum(jnp.asarray(starts)[d], width - count), count


def _masks(
    groups: tuple[int, ...], n_params: int, hidden: tuple[int, ...], conditional: bool
) -> tuple[np.ndarray, ...]:
    dim = len(groups)
    degrees = [
        np.repeat(np.arange(1, dim + 1), groups),
        *(hidden_degrees(width, dim, conditional) for width in hidden),
    ]
    masks = [(b[:, None] >= a[None, :]).astype(np.float32) for a, b in pairwise(degrees)]
    last = (np.arange(1, dim + 1)[:, None] > degrees[-1][None, :]).astype(np.float32)
    return (*masks, np.repeat(last, n_params, axis=0))


def _rows(array: Array, start: Array, count: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(array, start, count, 0)
