"""The local game of a trained GAN: matrix-free against dense, and what is said of it."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.data.toys import TOYS
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.games import local
from jensen.games.local import local_stability, products, turning_share
from jensen.games.rules import RULES
from jensen.games.spectrum import eigenvalues, extreme_eigenvalues, flatten, jacobian
from jensen.objectives.adversarial import Adversarial, Logistic
from jensen.studies.players import PairInit


@pytest.fixture(scope="module")
def gan() -> tuple[Any, Any]:
    """A Swiss-roll GAN after 40 epochs: its losses on a fixed batch, and its players' arrays."""
    rows = TOYS["swiss-roll"].sample(0, 1000)
    optimisation = Optimisation(
        batch_size=64, learning_rate=2e-3, clip=None, warmup=0, ema=0.0, rule="alternating"
    )
    init = PairInit(2, 1, (12, 12), generator=(12,), skip=False)
    objective = Adversarial(Logistic(saturating=True))
    result = train(
        Game(init, objective, lambda *_: 0.0),
        rows.astype(np.float32),
        None,
        Training(40, optimisation),
    )
    players = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, result.players)
    arrays, static = eqx.partition(players, eqx.is_inexact_array)

    def losses(players: Any) -> Any:
        batch = jnp.asarray(rows[:200], float)
        return objective(eqx.combine(players, static), batch, jax.random.key(1))

    return losses, arrays


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def exact(arrays: Any) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(np.asarray(a), float), arrays)


@pytest.mark.slow
def test_products_give_the_extremes_of_the_dense_jacobian(gan):
    losses, arrays = gan
    players = exact(arrays)
    velocity, x = flatten(losses, players)
    found = extreme_eigenvalues(products(velocity, x), x.size, count=3)
    dense = eigenvalues(jacobian(losses, players)).values
    assert x.size > 200
    size = np.abs(dense).max()
    for value in found.values:
        assert np.abs(dense - value).min() < 1e-4 * size
    assert abs(found.values.real.max() - dense.real.max()) < 1e-4 * size
    assert abs(np.abs(found.values).max() - size) < 1e-4 * size
    assert abs(found.values.imag.max() - dense.imag.max()) < 1e-4 * size


@pytest.mark.slow
def test_radii_without_matrices_are_those_with(gan, monkeypatch):
    losses, arrays = gan
    free = local_stability("gan", losses, arrays, step=0.05)
    assert not free.spectrum.whole
    monkeypatch.setattr(local, "LARGE", 10_000)
    monkeypatch.setattr("jensen.games.radius._largest_step", lambda *_: float("nan"))
    whole = local_stability("gan", losses, arrays, step=0.05)
    assert whole.spectrum.whole
    assert set(free.rules) == set(whole.rules) == set(RULES)
    for name in RULES:
        # matrix-free radii are lower bounds, here reached
        assert abs(free.rules[name].radius - whole.rules[name].radius) < 1e-6
    assert free.continuous == whole.continuous


@pytest.mark.slow
def test_the_share_that_turns(gan):
    losses, arrays = gan
    share, error = turning_share(losses, exact(arrays))
    J = jacobian(losses, exact(arrays))
    turning, rest = (J - J.T) / 2, (J + J.T) / 2
    truth = (turning**2).sum() / ((turning**2).sum() + (rest**2).sum())
    assert abs(share - truth) < 4 * error  # once in 15,000
    assert 0 < error < 0.2


def test_the_share_of_a_minimisation_is_zero():
    share, _ = turning_share(lambda p: (jnp.sum(p[0] ** 4),), (jnp.arange(1.0, 5.0),))
    assert share == 0
