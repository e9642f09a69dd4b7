r"""A network of image patches that sees the whole image: products along channels and positions.

The input is C numbers at each of N positions, h ∈ R^{N×C} position by position. After an embedding
to a width of W with a vector of its own for every position, each of L blocks adds

    h ← h + a(T h + b)                       along positions: T is N × N
    h ← h + a(norm(h) U + c) V               along channels: U is W × 2W, V is 2W × W

with norm(h) = h/√(mean h²) at every position, and a last product gives the output, which begins at
zero. All of it is matrix products, which XLA's CPU loops run at full speed, and one block already
joins every patch to every other; a convolution would need many, and is slow there.

Source: Tolstikhin et al. 2021 (arXiv:2105.01601), eq. 1. Deviations: one product along positions in
place of two, root-mean-square norm without a gain, and before the channels' product alone; a vector
per position.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._errors import InputError
from jensen._typing import Array, Key
from jensen.nn.activations import activation
from jensen.nn.mlp import uniform_weights

_SMALL = 1e-5  # of the mean square, so that a position of zeros stays finite


class PatchMixer(eqx.Module):
    """Numbers at N positions to numbers at the same positions, starting at zero.

    Args:
        key: randomness of the initial weights.
        n_in: length of the input, a multiple of N.
        n_out: length of the output, a multiple of N.
        parts: lengths of the parts of the input, each a multiple of N with its channels together
            position by position; one part where empty.
        positions: N.
        width: W.
        depth: L.
        activation: its name.

    Raises:
        InputError: if N does not divide a length.

    Example:
        >>> net = PatchMixer(jax.random.key(0), 8, 12, positions=4, width=6, depth=1)
        >>> net(jnp.ones(8)).shape
        (12,)
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    parts: tuple[int, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: Key,
        n_in: int,
        n_out: int,
        *,
        parts: tuple[int, ...] = (),
        positions: int,
        width: int,
        depth: int,
        activation: str = "relu",
    ) -> None:
        self.parts = parts or (n_in,)
        if sum(self.parts) != n_in or any(n % positions for n in (*self.parts, n_out)):
            raise InputError(
                f"{positions} positions cannot share {self.parts} inputs and {n_out} outputs",
                "PatchMixer",
                "give multiples of the positions, the parts adding to the input",
            )
        W, N = width, positions
        shapes = [(n_in // N, W), *[(N, N), (W, 2 * W), (2 * W, W)] * depth]
        rough = [1.0, *[0.5, 2.0, 0.5] * depth]  # variance of a sum of n_in terms
        # `uniform_weights` divides by the second side, these products sum over the first
        gains = [gain * shape[1] / shape[0] for gain, shape in zip(rough, shapes, strict=True)]
        places = jax.random.normal(jax.random.fold_in(key, 1), (N, W))
        self.weights = (*uniform_weights(key, shapes, gains), jnp.zeros((W, n_out // N)))
        inner = [jnp.zeros((N, W)), jnp.zeros(2 * W)] * depth
        self.biases = (0.5 * places, *inner, jnp.zeros((N, n_out // N)))
        self.activation = activation

    def __call__(self, x: Array) -> Array:
        """Return the output `(n_out,)`, position by position, for one input `(n_in,)`."""
        act, N = activation(self.activation), self.biases[0].shape[0]
        ends = [sum(self.parts[:i]) for i in range(1, len(self.parts))]
        h = jnp.concatenate([part.reshape(N, -1) for part in jnp.split(x, ends)], axis=1)
        h = h @ self.weights[0] + self.biases[0]
        for i in range(1, len(self.weights) - 1, 3):
            along, up, down = self.weights[i : i + 3]
            j = 1 + 2 * (i // 3)
            h = h + act((h.T @ along).T + self.biases[j])
            h = h + act(_normalised(h) @ up + self.biases[j + 1]) @ down
        return (_normalised(h) @ self.weights[-1] + self.biases[-1]).ravel()


def _normalised(h: Array) -> Array:
    """Return h over the root of its mean square at every position."""
    return h * jax.lax.rsqrt(jnp.mean(h**2, axis=-1, keepdims=True) + _SMALL)
