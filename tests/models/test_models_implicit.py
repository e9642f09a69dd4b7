"""Implicit models: the law they start with, categories and their gradients, discriminators."""

from __future__ import annotations

import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from jensen._errors import InputError
from jensen.models.implicit import Discriminator, Generator
from jensen.nn.activations import ACTIVATIONS

KEY = jax.random.key(0)
SHARES = np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.1])
N = 4000


def generator(**options: object) -> Generator:
    defaults = {"latent_dim": 4, "levels": (3, 2), "logits": np.log(np.concatenate(SHARES))}
    return Generator(KEY, 2, (8, 8), **{**defaults, **options})


def draws(model: Generator, n: int = N) -> np.ndarray:
    return np.asarray(jax.vmap(model)(model.noise(jax.random.key(1), (n,))))


def randomised(model: eqx.Module) -> eqx.Module:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda a: jnp.asarray(rng.standard_normal(a.shape), a.dtype) if eqx.is_array(a) else a,
        model,
    )


def test_it_starts_as_the_normal_law_and_the_frequencies() -> None:
    """False alarms: once in 10,000 keys for each of the tests; the key is fixed."""
    x = draws(generator())
    assert x.shape == (N, 7)
    for d in (0, 1):
        assert kstest(x[:, d], "norm").pvalue > 1e-4
    assert abs(np.corrcoef(x[:, 0], x[:, 1])[0, 1]) < 3.9 / N**0.5
    for part, share in zip((x[:, 2:5], x[:, 5:]), SHARES, strict=True):
        assert chisquare(part.sum(axis=0), N * share).pvalue > 1e-4


def test_categories_are_one_hot_whatever_the_weights() -> None:
    x = draws(randomised(generator()))
    for part in (x[:, 2:5], x[:, 5:]):
        assert set(np.unique(part)) <= {0.0, 1.0}
        assert (part.sum(axis=1) == 1).all()
    assert np.unique(x[:, 0]).size > 0.99 * N


def test_numbers_see_the_categories_that_were_drawn() -> None:
    """The same z with another category gives other numbers."""
    model = eqx.tree_at(lambda m: m.net, generator(), randomised(generator().net))
    noise = np.asarray(model.noise(KEY))
    out = []
    for chosen in range(3):
        gumbel = np.full(5, -50.0)
        gumbel[[chosen, 3]] = 50.0
        out.append(np.asarray(model(jnp.asarray(np.concatenate([noise[:4], gumbel]), "f4"))))
        assert out[-1][2 + chosen] == 1.0
    assert np.ptp([row[0] for row in out]) > 1e-3
    # … and nothing else of the Gumbel noise
    gumbel[[chosen, 3]] = 70.0
    again = model(jnp.asarray(np.concatenate([noise[:4], gumbel]), "f4"))
    np.testing.assert_array_equal(again, out[-1])


def test_the_gradient_of_a_category_is_that_of_its_softmax() -> None:
    model = generator(temperature=0.7)
    noise = model.noise(KEY)
    weights = jnp.asarray([1.0, -2.0, 0.5])

    def through(logits: jax.Array) -> jax.Array:
        net = eqx.tree_at(lambda m: m.category_net.biases[-1], model, logits)
        return weights @ net(noise)[2:5]

    def softmax(logits: jax.Array) -> jax.Array:
        return weights @ jax.nn.softmax((logits[:3] + noise[4:7]) / 0.7)

    logits = model.category_net.biases[-1]
    assert float(through(logits)) in weights.tolist()
    np.testing.assert_allclose(jax.grad(through)(logits), jax.grad(softmax)(logits), rtol=1e-5)
    assert np.abs(jax.grad(softmax)(logits)).max() > 1e-3


@pytest.mark.parametrize(("latent_dim", "dim"), [(1, 3), (5, 2), (3, 3)])
def test_any_number_of_latent_variables(latent_dim: int, dim: int) -> None:
    model = Generator(KEY, dim, (6,), latent_dim=latent_dim)
    z = np.asarray(model.noise(KEY))
    expected = np.zeros(dim)
    expected[: min(latent_dim, dim)] = z[:dim]
    np.testing.assert_array_equal(model(jnp.asarray(z)), expected.astype("f4"))
    other = Generator(KEY, dim, (6,), latent_dim=latent_dim, skip=False)
    assert np.std(draws(other, 200), axis=0).min() > 1e-3


def test_tables_of_categories_alone_or_of_numbers_alone() -> None:
    assert draws(Generator(KEY, 0, (6,), latent_dim=2, levels=(3,)), 5).shape == (5, 3)
    assert draws(Generator(KEY, 3, (6,), latent_dim=2), 5).shape == (5, 3)


def test_the_documents_networks() -> None:
    """Discriminator 2-128-128-1 and generator 1-32-2, both with tanh."""
    judge = Discriminator(KEY, 2, (128, 128), activation="tanh")
    model = Generator(KEY, 2, (32,), latent_dim=1, activation="tanh", skip=False)
    shapes = [w.shape for w in judge.net.weights], [w.shape for w in model.net.weights]
    assert shapes == ([(128, 2), (128, 128), (1, 128)], [(32, 1), (2, 32)])
    w, b = model.net.weights, model.net.biases
    z = jnp.asarray([0.3])
    np.testing.assert_allclose(model(z), w[1] @ jnp.tanh(w[0] @ z + b[0]) + b[1], rtol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_discriminator_starts_undecided(activation: str) -> None:
    judge = Discriminator(KEY, 4, (5, 5), activation=activation)
    assert float(judge(jnp.arange(4.0))) == 0.0


def test_features_are_what_the_logit_is_linear_in() -> None:
    for spectral in (False, True):
        judge = randomised(Discriminator(KEY, 3, (5, 6), spectral=spectral))
        x = jnp.asarray([0.4, -1.0, 2.0])
        h, last = judge.features(x), judge.net.weights[-1][0]
        last = last / jnp.linalg.norm(last) if spectral else last
        assert h.shape == (6,)
        np.testing.assert_allclose(judge(x), last @ h + judge.net.biases[-1][0], rtol=1e-4)


def test_a_spectral_discriminator_is_lipschitz() -> None:
    """Its bound is reached from below: the norms of its matrices are known to 0.2% each."""
    judge = randomised(Discriminator(KEY, 3, (16, 16), spectral=True))
    wild = randomised(Discriminator(KEY, 3, (16, 16)))
    rows = jnp.asarray(np.random.default_rng(3).standard_normal((500, 3)), "f4")
    slopes = np.linalg.norm(jax.vmap(jax.grad(judge))(rows), axis=1)
    assert 0.01 < slopes.max() < 1.006
    assert np.linalg.norm(jax.vmap(jax.grad(wild))(rows), axis=1).max() > 5


def test_players_pickle() -> None:
    model, judge = randomised(generator()), randomised(Discriminator(KEY, 7, (5,)))
    again = pickle.loads(pickle.dumps((judge, model)))
    noise = model.noise(KEY)
    np.testing.assert_array_equal(again[1](noise), model(noise))
    assert float(again[0](model(noise))) == float(judge(model(noise)))


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="latent_dim"):
        generator(latent_dim=0)
    with pytest.raises(InputError, match="temperature"):
        generator(temperature=0.0)
    with pytest.raises(InputError, match="activation"):
        Discriminator(KEY, 2, (4,), activation="tan")
