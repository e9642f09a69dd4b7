"""Networks: activations by name, an MLP that starts at its bias."""

from __future__ import annotations

import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import key, randomise
from jensen._errors import InputError
from jensen.nn.activations import ACTIVATIONS, activation
from jensen.nn.masked import MaskedMLP
from jensen.nn.mlp import MLP, thinned


def test_an_unknown_activation_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'relu'") as error:
        activation("rellu")
    assert all(name in str(error.value) for name in ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_elementwise_increasing_far_out_and_differentiable(name):
    a = np.linspace(-3, 3, 25).astype(np.float32)
    out = np.asarray(activation(name)(a))
    assert out.shape == a.shape
    assert (np.diff(out[a > 0]) > 0).all()
    slopes = jax.vmap(jax.grad(activation(name)))(a)
    assert np.isfinite(slopes).all()


@pytest.mark.parametrize("hidden", [(8,), (8, 8), ()])
def test_an_mlp_starts_at_its_bias(hidden):
    net = MLP(key(), 3, 2, hidden)
    bias = jnp.array([0.5, -2.0])
    net = jax.tree.map(lambda leaf: bias if leaf is net.biases[-1] else leaf, net)
    assert (net(jnp.array([1.0, -7.0, 30.0])) == bias).all()


def test_an_mlp_is_the_formula():
    net = randomise(MLP(key(), 3, 2, (5, 4), "tanh"), 1.0)
    x = np.array([0.3, -1.0, 2.0])
    w, b = ([np.asarray(p, float) for p in ps] for ps in (net.weights, net.biases))
    want = w[2] @ np.tanh(w[1] @ np.tanh(w[0] @ x + b[0]) + b[1]) + b[2]
    assert np.allclose(net(jnp.asarray(x, jnp.float32)), want, rtol=1e-5, atol=1e-5)


def test_initial_weights_keep_the_variance_of_a_unit():
    # z-test of the mean square of 100 × 400 weights, U(±√(3·2/n)): variance 2/n; 5 sigma
    w = np.asarray(MLP(key(), 400, 1, (100,)).weights[0])
    square = w**2 * 400 / 2
    assert abs(square.mean() - 1) < 5 * square.std() / w.size**0.5


@pytest.mark.parametrize(
    "net", [MLP(key(), 2, 2, (4,), "gelu"), MaskedMLP(key(), 2, 3, (4, 4), context_dim=1)]
)
def test_networks_pickle(net):
    net = randomise(net, 1.0)
    again = pickle.loads(pickle.dumps(net))
    args = (jnp.ones(2), jnp.ones(1)) if isinstance(net, MaskedMLP) else (jnp.ones(2),)
    assert jax.tree.structure(again) == jax.tree.structure(net)
    assert (again(*args) == net(*args)).all()


NETS = {
    "plain": lambda: MLP(key(), 3, 2, (64,), last=1.0),
    "masked": lambda: randomise(MaskedMLP(key(), 3, 2, (64,)), 0.3),
}


@pytest.mark.parametrize("name", NETS)
def test_a_thinned_network_keeps_its_mean(name):
    net, x, n = NETS[name](), jnp.array([0.5, -1.0, 2.0]), 4000
    drawn = jax.vmap(lambda k: thinned(k, net, 0.25)(x))(jax.random.split(key(), n))
    # one hidden layer: the output is linear in what it is multiplied with
    away = (np.mean(drawn, axis=0) - net(x)) * n**0.5 / (np.std(drawn, axis=0) + 1e-6)
    assert np.abs(away).max() < 4  # once in 15,000 keys for one output; this key is fixed
    assert np.std(drawn, axis=0).max() > 0.01


def test_a_share_of_the_units_is_dropped_in_every_layer_of_a_stack():
    stack = eqx.filter_vmap(lambda k: MLP(k, 3, 2, (200, 100)))(jax.random.split(key(), 3))
    keep = thinned(key(), stack, 0.3).keep
    assert [layer.shape for layer in keep] == [(3, 200), (3, 100)]
    values = np.concatenate([np.asarray(layer).ravel() for layer in keep])
    np.testing.assert_allclose(np.unique(values), [0.0, 1 / 0.7], rtol=1e-6)
    # 4 standard errors of 900 units
    assert abs(np.mean(values == 0) - 0.3) < 4 * (0.21 / 900) ** 0.5
    assert (keep[0][0] != keep[0][1]).any()
