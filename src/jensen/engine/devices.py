r"""Devices: each batch is spread over as many as there are; weights are on all of them."""

from __future__ import annotations

from functools import cache

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jensen._typing import PyTree


@cache
def mesh() -> Mesh:
    """Return the one-dimensional mesh of all local devices."""
    return jax.make_mesh((jax.local_device_count(),), ("batch",), axis_types=(AxisType.Auto,))


def shard_batch(batch: PyTree) -> PyTree:
    """Return the batch with its first axis spread over the devices, where they divide it.

    Example:
        >>> import jax.numpy as jnp
        >>> shard_batch(jnp.ones((4, 2))).shape
        (4, 2)
    """
    n = jax.local_device_count()
    if n == 1 or jax.tree.leaves(batch)[0].shape[0] % n:
        return batch
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh(), PartitionSpec("batch")))


def replicate(tree: PyTree) -> PyTree:
    """Return the tree with every array on every device."""
    if jax.local_device_count() == 1:
        return tree
    return jax.device_put(tree, NamedSharding(mesh(), PartitionSpec()))
