"""The flow of images: exact in both directions, and every pixel in its place."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from conftest import randomise
from jensen._errors import InputError
from jensen.bijections.pixels import Histogram
from jensen.models.image import MultiscaleFlow, patch_order, patch_side

SHAPE, D = (4, 4), 16


def flow(**options):
    options = {"n_layers": 2, "width": 6, "depth": 1, "bins": 2, **options}
    return MultiscaleFlow(jax.random.key(0), SHAPE, **options)


@eqx.filter_jit
def score(model, x):
    return jax.vmap(model.log_prob)(jnp.asarray(x, jnp.float32))


def test_both_directions_agree_with_automatic_differentiation():
    with jax.enable_x64(True):
        model = randomise(flow(), 0.5, dtype=np.float64)
        z = jnp.asarray(np.random.default_rng(0).standard_normal((4, D)))

        def numbers(bijection, z):
            x, log_det = bijection.forward_and_log_det(z)
            back, log_back = bijection.inverse_and_log_det(x)
            there = jax.jacfwd(lambda v: bijection.forward_and_log_det(v)[0])(z)
            return back, log_det, log_back, there

        parts = eqx.filter_jit(eqx.filter_vmap(numbers, in_axes=(None, 0)))(model.bijection, z)
        back, log_det, log_back, there = map(np.asarray, parts)
    assert np.abs(back - z).max() < 1e-9
    assert np.abs(log_det - np.linalg.slogdet(there)[1]).max() < 1e-8
    assert np.abs(log_back + np.linalg.slogdet(there)[1]).max() < 1e-8
    assert np.ptp(log_det) > 0.1  # it is no isometry
    # with two couplings a pixel of either half sees all of the other half, and itself
    seen = (np.abs(there) > 1e-12).any(axis=0)
    assert seen.sum(axis=1).min() >= D // 2 + 1


def test_starts_as_independent_pixels():
    counts = np.random.default_rng(1).integers(1, 50, (8, D))
    first = Histogram(jnp.asarray(counts), jnp.zeros(D, int), jnp.array(0))
    x = np.random.default_rng(2).integers(0, 8, (20, D))
    model = flow(first=first, levels=1)
    log_prob = score(model, x + 0.3)
    known = np.log(counts / counts.sum(axis=0))[x, np.arange(D)].sum(axis=1)
    assert np.abs(np.asarray(log_prob) - known).max() < 1e-3


def test_without_a_first_layer_it_starts_as_its_base():
    x = np.random.default_rng(3).standard_normal((5, D)).astype(np.float32)
    log_prob = score(flow(), x)
    # the later level's linear maps start at 1, give or take the rounding of softplus
    assert np.abs(log_prob - norm.logpdf(x).sum(axis=1)).max() < 1e-3


@pytest.mark.parametrize(
    ("shape", "side"), [((28, 28), 4), ((8, 8), 2), ((8, 28), 2), ((32, 32, 3), 4)]
)
def test_patches_hold_every_pixel_once(shape, side):
    assert patch_side(shape) == side
    order = patch_order(shape, side)
    assert sorted(order.ravel()) == list(range(int(np.prod(shape))))
    channels = shape[2] if len(shape) == 3 else 1
    rows, columns = np.divmod(order // channels, shape[1])
    assert (np.ptp(rows, axis=1) < side).all()
    assert (np.ptp(columns, axis=1) < side).all()
    half = order.shape[1] // 2
    dark = (rows + columns) % 2 == 0
    assert dark[:, :half].all()
    assert not dark[:, half:].any()


@pytest.mark.parametrize("shape", [(7, 8), (8,), (8, 9, 3)])
def test_refuses_what_it_cannot_cut(shape):
    with pytest.raises(InputError, match="even height"):
        patch_side(shape)


def test_refuses_more_levels_than_channels_allow():
    with pytest.raises(InputError, match="halved"):
        flow(levels=3)
