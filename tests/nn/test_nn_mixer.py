"""The network of patches: where it starts, what it sees, and how it refuses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import randomise
from jensen._errors import InputError
from jensen.nn.mixer import PatchMixer


def net(**options):
    return PatchMixer(jax.random.key(0), 12, 8, positions=4, width=6, depth=2, **options)


def test_starts_at_zero():
    x = jnp.asarray(np.random.default_rng(0).standard_normal(12), jnp.float32)
    assert (np.asarray(net()(x)) == 0).all()


def test_every_output_sees_every_input():
    model = randomise(net(activation="tanh"), 0.5)
    slopes = jax.jacfwd(model)(jnp.ones(12))
    assert slopes.shape == (8, 12)
    assert (np.abs(np.asarray(slopes)) > 1e-9).all()


def test_positions_are_told_apart_by_their_own_vectors():
    model = randomise(net(), 0.5)
    same = np.asarray(model(jnp.ones(12))).reshape(4, 2)
    assert np.ptp(same, axis=0).min() > 1e-4


def test_parts_are_joined_position_by_position():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((4, 1)), rng.standard_normal((4, 2))
    joined = np.concatenate([first, second], axis=1)
    apart = randomise(net(parts=(4, 8)), 0.5)
    whole = randomise(net(), 0.5)
    x = jnp.asarray(np.concatenate([first.ravel(), second.ravel()]), jnp.float32)
    expected = whole(jnp.asarray(joined.ravel(), jnp.float32))
    assert np.allclose(apart(x), expected, atol=1e-6)


@pytest.mark.parametrize("parts", [(5, 7), (4, 4)])
def test_refuses_parts_that_positions_cannot_share(parts):
    with pytest.raises(InputError, match="positions"):
        net(parts=parts)
