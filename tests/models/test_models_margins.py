"""The layer of margins: where a flow starts, against densities known in closed form."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import expon, t

from jensen.bijections import Chain, SplineTransformer
from jensen.data.preprocess import Preprocess, fit_preprocess
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.models.margins import Start, no_change, start_of

RNG = np.random.default_rng(0)
N, HELD_OUT, FRESH = 3500, 500, 4000


def start(columns: np.ndarray, bins: int = 12) -> tuple[Start, Preprocess]:
    """Return the start of a table whose last `HELD_OUT` rows validate."""
    schema, matrix = read(open_table(columns))
    preprocess = fit_preprocess(schema, matrix[:N])
    vectors = preprocess.forward(matrix)
    return start_of(preprocess, vectors[:N], vectors[N:], bins), preprocess


def log_prob(found: tuple[Start, Preprocess], rows: np.ndarray) -> np.ndarray:
    """Return log p of fresh rows at the start, dequantised where the columns are, nats."""
    begin, preprocess = found
    noise = preprocess.noise * RNG.uniform(-0.5, 0.5, rows.shape)
    y = ((rows - preprocess.mean) / preprocess.scale + noise).astype("f4")
    extra = preprocess.log_det
    if begin.margins is not None:
        y, log_det = jax.vmap(begin.margins.inverse_and_log_det)(jnp.asarray(y))
        extra = extra + np.asarray(log_det)
    z = np.asarray(y, float) @ begin.whiten.T
    normal = -0.5 * np.sum(z**2, axis=1) - 0.5 * z.shape[1] * np.log(2 * np.pi)
    return normal + np.log(np.diag(begin.whiten)).sum() + extra


def changed(margins: Chain | None) -> bool:
    return margins is not None and any(np.any(leaf != 0) for leaf in jax.tree.leaves(margins))


def test_uniform_bytes_have_eight_bits_but_for_the_quantiles_before_any_training() -> None:
    dim = 4
    found = start(RNG.integers(0, 256, (N + HELD_OUT, dim)))
    fresh = RNG.integers(0, 256, (FRESH, dim))
    bits = -log_prob(found, fresh).mean() / dim / np.log(2)
    # K/2n nats, 0.0025 bits, for the quantiles, and as much again for their slopes and the ends
    assert bits == pytest.approx(8.0, abs=0.0075)
    gaussian = -log_prob((Start(found[0].whiten), found[1]), fresh).mean() / dim / np.log(2)
    assert gaussian > 8.2  # 0.254 bits, Gaussian against uniform


KNOWN: dict[str, tuple[Any, float]] = {
    # tolerances: K/2n = 0.002 nats a column for the quantiles, the rest for the shape between them
    "exponential": (expon(scale=3.0), 0.03),
    "heavy tails": (t(2.5), 0.03),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_start_is_near_the_truth(name: str) -> None:
    law, tolerance = KNOWN[name]
    found = start(law.rvs(size=(N + HELD_OUT, 4), random_state=1))
    fresh = law.rvs(size=(FRESH, 4), random_state=2)
    truth = law.logpdf(fresh).sum(axis=1)
    short = (truth - log_prob(found, fresh)).mean() / 4
    assert -0.005 < short < tolerance
    gaussian = (truth - log_prob((start(fresh, 0)), fresh)).mean() / 4
    assert gaussian > 5 * tolerance  # what the layer is for


def test_normal_columns_keep_their_shape() -> None:
    mixed = RNG.normal(size=(N + HELD_OUT, 4)) @ RNG.normal(size=(4, 4))
    begin, _ = start(mixed)
    plain, _ = start(mixed, 0)
    # the layer, or one of its columns by chance, costs next to nothing
    assert np.abs(begin.whiten - plain.whiten).max() < 0.05 * np.abs(plain.whiten).max()
    assert plain.margins is None


def test_a_layer_that_loses_on_validation_rows_is_not_used() -> None:
    # the validation rows are of another law than the training rows
    columns = np.concatenate([RNG.exponential(size=(N, 4)), RNG.normal(1, 1, (HELD_OUT, 4))])
    begin, _ = start(columns)
    assert begin.margins is not None
    assert not changed(begin.margins)


def test_the_layer_is_a_bijection() -> None:
    begin, _ = start(RNG.exponential(size=(N + HELD_OUT, 4)))
    layer = begin.margins
    assert layer is not None
    assert changed(layer)
    x = jnp.asarray([0.3, -0.5, 2.0, 6.0], jnp.float32)
    z, log_det = layer.inverse_and_log_det(x)
    back, other = layer.forward_and_log_det(z)
    jacobian = jax.jit(jax.jacfwd(lambda v: layer.inverse_and_log_det(v)[0]))(x)
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-4)
    np.testing.assert_allclose(other, -log_det, atol=1e-3)


def test_values_outside_the_training_rows_have_a_density() -> None:
    found = start(RNG.integers(0, 256, (N + HELD_OUT, 4)))
    assert np.isfinite(log_prob(found, np.array([[-40.0, 900.0, 3.0, 3.0]]))).all()


@pytest.mark.parametrize("n", [3, 7, 3500])
def test_few_values_and_few_rows(n: int) -> None:
    schema, matrix = read(open_table(RNG.integers(0, 2, (N, 4))))
    preprocess = fit_preprocess(schema, matrix[:n])
    vectors = preprocess.forward(matrix)
    found = start_of(preprocess, vectors[:n], vectors, 12)
    assert np.isfinite(found.whiten).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.margins))


def test_the_spline_goes_through_its_knots_with_their_slopes() -> None:
    with jax.enable_x64(True):
        spline = SplineTransformer(4, 2.0)
        u = np.array([[-2.0, -1.5, 0.0, 1.0, 2.0], [-2.0, -0.3, 0.1, 0.4, 2.0]])
        v = np.array([[-2.0, -1.0, 0.5, 1.9, 2.0], [-2.0, -1.9, 0.0, 1.0, 2.0]])
        slopes = np.array([[0.5, 3.0, 0.2], [10.0, 0.01, 1.0]])
        raw = jnp.asarray(spline.params_through(u, v, slopes))
        for k in (1, 2, 3):
            reached, log_slope = spline.apply(raw, jnp.asarray(u[:, k]))
            np.testing.assert_allclose(reached, v[:, k], atol=1e-10)
            np.testing.assert_allclose(np.exp(log_slope), slopes[:, k - 1], rtol=1e-6)


def test_no_change_changes_nothing() -> None:
    x = jnp.asarray([-9.0, 0.1, 3.9])
    z, log_det = no_change(3, 8).inverse_and_log_det(x)
    np.testing.assert_allclose(z, x, atol=1e-6)
    assert abs(float(log_det)) < 1e-6
