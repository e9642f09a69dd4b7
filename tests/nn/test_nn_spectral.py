"""Spectral normalisation against the singular value decomposition."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.nn.spectral import normalised, spectral_norm


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (8, 8), (64, 17), (17, 64), (128, 128)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_norm_is_the_largest_singular_value(shape: tuple[int, int], scale: float) -> None:
    for seed in range(5):
        w = scale * np.random.default_rng(seed).standard_normal(shape)
        exact = np.linalg.norm(w, 2)
        found = float(spectral_norm(jnp.asarray(w)))
        # from below, as every Rayleigh quotient
        assert 0.998 * exact < found <= exact * (1 + 1e-12)


def test_the_gradient_is_the_outer_product_of_the_singular_vectors() -> None:
    w = np.random.default_rng(0).standard_normal((6, 4))
    u, _, v = np.linalg.svd(w)
    found = jax.grad(spectral_norm)(jnp.asarray(w))
    np.testing.assert_allclose(found, np.outer(u[:, 0], v[0]), atol=1e-4)


def test_scale_does_not_matter_and_zero_stays_zero() -> None:
    w = jnp.asarray(np.random.default_rng(1).standard_normal((5, 3)))
    np.testing.assert_allclose(normalised(1e5 * w), normalised(w), rtol=1e-10)
    assert float(spectral_norm(0 * w)) == 0.0
    assert (np.asarray(normalised(0 * w)) == 0).all()
    slope = jax.grad(lambda a: jnp.sum(normalised(a)))(0 * w)
    assert np.isfinite(np.asarray(slope)).all()


def test_float32_weights_of_any_size_do_not_overflow() -> None:
    with jax.enable_x64(False):
        w = np.random.default_rng(2).standard_normal((32, 32)).astype("f4")
        for scale in (1e-12, 1e12):
            found = float(spectral_norm(jnp.asarray(scale * w, jnp.float32)))
            assert abs(found / (scale * np.linalg.norm(w, 2)) - 1) < 2e-3
