"""Flow matching: the Gaussian's field is known, and so are the loss there and its likelihood."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jensen._errors import InputError
from jensen._typing import Array
from jensen.bijections import Affine, Chain, Continuous
from jensen.models.base import NormalBase
from jensen.models.continuous import ContinuousFlow
from jensen.models.flow import MAF, Flow
from jensen.models.mixed import Categories, Mixed
from jensen.objectives.flow_matching import FlowMatching, _times
from jensen.objectives.likelihood import Mean

MEAN = np.array([0.7, -0.4])
SPREAD = np.array([[0.5, 0.0], [0.9, 1.6]])  # lower triangular: rows are MEAN + SPREAD ε
ALARM = 1e-4
KEY = jax.random.key(3)
MATCHING = FlowMatching()


class GaussianField(eqx.Module):
    """The marginal field from N(0, I) to N(m, S Sᵀ): E[u_t | y_t] is linear in y_t.

    y_t = f z + r y with f = cos, r = sin: y_t ~ N(r m, f² I + r² S Sᵀ), and
    E[u_t | y_t] = π/2 f m + π/2 f r (S Sᵀ − I) (f² I + r² S Sᵀ)⁻¹ (y_t − r m).
    """

    mean: Array
    spread: Array

    def __call__(self, t: Array, y: Array, context: Array | None = None) -> Array:
        f, r = jnp.cos(jnp.pi / 2 * t), jnp.sin(jnp.pi / 2 * t)
        cov, eye = self.spread @ self.spread.T, jnp.eye(2)
        a = f**2 * eye + r**2 * cov
        adjugate = jnp.trace(a) * eye - a
        determinant = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
        inner = adjugate @ (y - r * self.mean) / determinant
        return jnp.pi / 2 * f * (self.mean + r * (cov - eye) @ inner)


def gaussian_flow(shift: float = 0.0, **options) -> Flow:
    field = GaussianField(jnp.asarray(MEAN + shift), jnp.asarray(SPREAD))
    return Flow(Continuous(field, **options), NormalBase(2))


@eqx.filter_jit
def losses(model: object, x: object, loss: FlowMatching = MATCHING) -> Array:
    return loss((model,), x, KEY)


@eqx.filter_jit
def log_probs(flow: Flow, x: Array) -> Array:
    return jax.vmap(flow.log_prob)(x)


def rows(n: int, seed: int = 0) -> np.ndarray:
    return MEAN + np.random.default_rng(seed).standard_normal((n, 2)) @ SPREAD.T


@eqx.filter_jit
def gradients(flow: Flow, x: Array, key: Array) -> Array:
    """Return the loss's gradient in the field's numbers for each batch of x `(k, B, 2)`."""

    def one(x: Array, key: Array) -> Array:
        slope = eqx.filter_grad(lambda flow: Mean(FlowMatching())((flow,), x, key)[0])(flow)
        field = slope.bijection.field
        return jnp.concatenate([field.mean, field.spread[jnp.tril_indices(2)]])

    return jax.vmap(one)(x, jax.random.split(key, x.shape[0]))


def z_scores(flow: Flow) -> np.ndarray:
    found = np.asarray(gradients(flow, jnp.asarray(rows(64_000).reshape(250, 256, 2)), KEY))
    return found.mean(0) / (found.std(0, ddof=1) / len(found) ** 0.5)


def test_the_loss_is_least_at_the_marginal_field():
    limit = stats.norm.isf(ALARM / 10)  # five numbers, two sides
    assert np.abs(z_scores(gaussian_flow())).max() < limit
    assert np.abs(z_scores(gaussian_flow(0.1))).max() > 2 * limit


def test_the_marginal_field_has_the_gaussians_log_prob():
    with jax.enable_x64(True):
        x = rows(50, 1)
        want = stats.multivariate_normal(MEAN, SPREAD @ SPREAD.T).logpdf(x)
        flow = gaussian_flow(tolerance=1e-9)
        got = np.asarray(log_probs(flow, jnp.asarray(x)))
        # a dozen steps of error 1e-9, conditioned by |∂ log p/∂z| ≤ 20
        assert np.abs(got - want).max() < 1e-6


def test_between_normal_laws_the_field_is_zero():
    """The loss of whitened normal rows has no slope at v = 0, where a flow starts."""
    flow = ContinuousFlow(jax.random.key(0), 2, hidden=(4,))
    x = jax.random.normal(jax.random.key(1), (250, 256, 2))

    @eqx.filter_jit
    def slope(x: Array, key: Array) -> Array:
        found = eqx.filter_grad(lambda f: Mean(FlowMatching())((f,), x, key)[0])(flow)
        return found.bijection.field.weights[-1].ravel()

    found = np.asarray(jax.lax.map(lambda a: slope(*a), (x, jax.random.split(KEY, 250))))
    z = found.mean(0) / (found.std(0, ddof=1) / 250**0.5)
    assert np.abs(z).max() < stats.norm.isf(ALARM / 2 / z.size)


def test_times_fill_the_range_late_and_each_rows_are_apart():
    times = np.asarray(_times(KEY, 4, 1000, np.float32))
    assert times.shape == (4, 1000)
    assert ((times >= 0) & (times <= 1)).all()
    # F(t) = 1 − log((1 − t + δ)/δ) / log((1 + δ)/δ), δ = 0.05: one time in each of 4,000 cells
    u = np.sort(1 - np.log((1.05 - times.ravel()) / 0.05) / np.log(21))
    assert np.abs(u - (np.arange(4000) + 0.5) / 4000).max() < 1e-3
    assert (np.diff(times, axis=0) > 0.01).all()


def test_maps_next_to_the_data_are_passed_first_and_held_still():
    inner = gaussian_flow()
    outer = Affine(jnp.array([3.0, -2.0]), jnp.log(jnp.array([10.0, 0.1])))
    whole = Flow(Chain((outer, inner.bijection)), inner.base)
    y = rows(64)
    x = jnp.asarray(y * np.array([10.0, 0.1]) + np.array([3.0, -2.0]), jnp.float32)
    # the ends of the velocities are float32 numbers of size 3, seen through a scale of 0.1
    assert np.allclose(losses(whole, x), losses(inner, jnp.asarray(y, jnp.float32)), atol=1e-3)
    slope = eqx.filter_jit(eqx.filter_grad(lambda f: losses(f, x).mean()))(whole)
    assert (np.asarray(slope.bijection.bijections[0].log_scale) == 0).all()
    assert np.abs(np.asarray(slope.bijection.bijections[1].field.mean)).max() > 0


def test_categories_are_learned_beside_the_field():
    flow = ContinuousFlow(jax.random.key(0), 1, hidden=(4,), context_dim=5)
    model = Mixed(flow, Categories(jax.random.key(1), (2, 3), (4,)))
    x = jnp.array([[0.3, 1.0, 2.0], [0.1, 0.0, 0.0]])
    context = jnp.array([[0.0, 1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0, 0.0]])
    alone = losses(flow, (x[:, :1], context))
    # uniform over 2 × 3 levels at the start
    assert np.allclose(losses(model, x), alone + np.log(6), atol=1e-5)
    assert np.allclose(losses(Mixed(None, model.categories), x[:, 1:]), np.log(6), atol=1e-5)


@pytest.mark.parametrize("noise", ["step", "blur"])
def test_noise_is_added_to_the_rows(noise):
    flow, x = gaussian_flow(), jnp.zeros((256, 2))
    wide = FlowMatching(**{noise: jnp.array([50.0, 0.0])})
    assert float(losses(flow, x, wide).mean()) > 10 * float(losses(flow, x).mean())


def test_a_flow_without_a_field_is_refused():
    flow = MAF(jax.random.key(0), 2, n_layers=1, hidden=(4,))
    with pytest.raises(InputError, match="no field"):
        losses(flow, jnp.zeros((3, 2)))
