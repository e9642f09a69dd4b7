r"""The players of a game as one vector each.

    x_i ∈ R^(n_i)  ↦  player i, a tree of arrays

A step does the same to each number of a player: moments, averages, clipping. Of a vector this is a
few kernels, of a tree that many for each of its arrays, and compiling them is what a short training
waits for. Losses take the trees.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen._errors import InputError
from jensen._typing import Array, PyTree


class Form(eqx.Module):
    """How a vector is cut into the arrays of a tree.

    Args:
        tree: the structure.
        leaves: shape and dtype of each array, in the structure's order.
    """

    tree: Any = eqx.field(static=True)
    leaves: tuple[jax.ShapeDtypeStruct, ...] = eqx.field(static=True)

    def __call__(self, vector: Any) -> PyTree:
        """Return the tree of a vector `(…, n)`; axes before the last stay in front."""
        out, start = [], 0
        for leaf in self.leaves:
            part = vector[..., start : start + leaf.size]
            out.append(part.reshape(vector.shape[:-1] + leaf.shape).astype(leaf.dtype))
            start += leaf.size
        return jax.tree.unflatten(self.tree, out)


class Whole(eqx.Module):
    """How the vectors become the players that a loss takes.

    Args:
        forms: one of each player.
        rest: what of the players is not trained, the same for every member.
    """

    forms: tuple[Form, ...]
    rest: tuple[Any, ...]

    def __call__(self, vectors: tuple[Array, ...]) -> tuple[Any, ...]:
        """Return the players of vectors `(n_i,)`."""
        trees = tuple(form(vector) for form, vector in zip(self.forms, vectors, strict=True))
        return eqx.combine(trees, self.rest)

    def stacked(self, vectors: tuple[Array, ...]) -> tuple[Any, ...]:
        """Return the players of vectors `(E, n_i)`, cut outside of any program."""
        n = vectors[0].shape[0]
        cut = [form(np.asarray(v)) for form, v in zip(self.forms, vectors, strict=True)]
        arrays, other = eqx.partition(self.rest, eqx.is_array)
        spread = jax.tree.map(lambda a: jnp.broadcast_to(a, (n, *a.shape)), arrays)
        return eqx.combine(jax.tree.map(jnp.asarray, tuple(cut)), spread, other)


def packed(players: tuple[Any, ...]) -> tuple[tuple[np.ndarray, ...], Whole]:
    """Return the vectors `(E, n_i)` of players with the members on their first axis.

    Raises:
        InputError: if a player holds whole numbers that are not the same for every member.

    Example:
        >>> vectors, whole = packed(({"a": jnp.ones((1, 2)), "b": jnp.zeros((1, 2, 2))},))
        >>> vectors[0].shape, whole((vectors[0][0],))[0]["b"].shape
        ((1, 6), (2, 2))
    """
    arrays, rest = eqx.partition(players, eqx.is_inexact_array)
    n = max((leaf.shape[0] for leaf in jax.tree.leaves(players) if eqx.is_array(leaf)), default=1)
    pairs = [_vectors(tree, n) for tree in arrays]
    rest = jax.tree.map(_of_all, rest)
    return tuple(v for v, _ in pairs), Whole(tuple(form for _, form in pairs), rest)


def _vectors(arrays: PyTree, n_members: int) -> tuple[np.ndarray, Form]:
    """Return the vectors `(E, n)` of a tree of arrays, and its form."""
    leaves, tree = jax.tree.flatten(arrays)
    form = Form(tree, tuple(jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in leaves))
    rows = [np.asarray(leaf).reshape(n_members, -1) for leaf in leaves]
    return np.concatenate(rows, axis=1) if rows else np.zeros((n_members, 0), np.float32), form


def _of_all(part: Any) -> Any:
    """Return a part that is not trained without the members' axis: it is the same for them all."""
    if not eqx.is_array(part):
        return part
    if not bool(jnp.all(part == part[:1])):
        raise InputError(
            "a player holds whole numbers that depend on the key",
            "Game.init",
            "let what is not trained be the same for every member",
        )
    return part[0]
