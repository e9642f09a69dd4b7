"""Planar, radial and Sylvester flows as families: any table, and two moons by both directions."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from sklearn.datasets import make_moons

from jensen.models.families import FREE, FlowOptions, build_flow, chosen_for
from jensen.models.flow import PlanarFlow


@pytest.mark.parametrize("n_rows", [100, 10_000])
@pytest.mark.parametrize("architecture", FREE)
def test_sizes_are_chosen(architecture, n_rows):
    chosen = chosen_for(FlowOptions(architecture=architecture), n_rows, 2)
    assert (chosen.n_layers, chosen.members) == (FREE[architecture], 1)
    assert chosen_for(FlowOptions(architecture=architecture, n_layers=3), n_rows, 2).n_layers == 3


@pytest.mark.parametrize(("dim", "levels"), [(1, ()), (2, (3,)), (1, (2, 2))])
@pytest.mark.parametrize("architecture", FREE)
def test_any_table_has_a_density(architecture, dim, levels):
    options = chosen_for(FlowOptions(architecture=architecture, n_layers=2), 100, 2)
    model = build_flow(jax.random.key(0), options, jnp.eye(dim), levels)
    model = jax.tree.map(lambda a: a + 0.3 if eqx.is_inexact_array(a) else a, model)
    x = jnp.concatenate([jnp.full(dim, 0.3), jnp.zeros(len(levels))])
    other = jnp.concatenate([jnp.full(dim, 0.3), jnp.ones(len(levels))])
    one, two = (float(eqx.filter_jit(model.log_prob)(v)) for v in (x, other))
    assert np.isfinite([one, two]).all()
    assert model.sample(jax.random.key(1)).shape == (dim + len(levels),)


@pytest.mark.slow
def test_reverse_kl_finds_a_density_that_the_flow_can_hold():
    """The target is itself planar: KL(q‖p) falls to 0, and log Z = 0 is known."""
    with jax.enable_x64(True):
        target = PlanarFlow(jax.random.key(1), 2, n_layers=1)
        target = eqx.tree_at(
            lambda f: (f.bijection.stacked.bijections[0].w, f.bijection.stacked.bijections[0].u),
            target,
            (jnp.array([[1.0, -1.0]]), jnp.array([[1.5, -1.0]])),
        )
        flow = PlanarFlow(jax.random.key(3), 2, n_layers=2)
        arrays, static = eqx.partition(flow, eqx.is_inexact_array)
        method = optax.adam(0.02)

        def terms(arrays, key):
            model = eqx.combine(arrays, static)
            x, log_q = jax.vmap(model.sample_and_log_prob)(jax.random.split(key, 256))
            return log_q - jax.vmap(target.log_prob)(x)

        def step(carry, key):
            arrays, state = carry
            slopes = jax.grad(lambda a: terms(a, key).mean())(arrays)
            moves, state = method.update(slopes, state, arrays)
            return (optax.apply_updates(arrays, moves), state), None

        start = float(terms(arrays, jax.random.key(9)).mean())
        keys = jax.random.split(jax.random.key(4), 1500)
        (arrays, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))(
            (arrays, method.init(arrays))
        )
        end = np.asarray(jax.jit(terms)(arrays, jax.random.key(9)))
    assert start > 0.5
    assert abs(end.mean()) < 0.02
    assert abs(np.log(np.exp(-end).mean())) < 0.02  # log Z


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["planar", "sylvester"])
def test_forward_kl_recovers_two_moons(architecture):
    """Held-out rows gain at least half a nat over a full-covariance Gaussian."""
    from jensen.estimators import FlowDensity

    x, held_out = (
        np.asarray(make_moons(n, noise=0.1, random_state=seed)[0])
        for n, seed in ((2000, 0), (4000, 1))
    )
    flow = FlowDensity(architecture=architecture, random_state=0).fit(x)
    gaussian = stats.multivariate_normal.logpdf(held_out, x.mean(0), np.cov(x.T))
    gain = flow.score_samples(held_out) - gaussian
    assert gain.mean() - 4 * gain.std() / np.sqrt(len(gain)) > 0.5
