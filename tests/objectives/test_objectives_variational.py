r"""The training loss: a mean of per-example bounds; held-out figures; a known optimum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bound_laws import BOUNDS, X, far_model
from scipy.stats import norm

from jensen._errors import InputError
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.evaluation.linear_gaussian import log_prob
from jensen.models.latent import Latent, Likelihood
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.models.scales import LearnedScale
from jensen.nn.mlp import MLP
from jensen.objectives import variational
from jensen.objectives.bounds import ELBO, IWAE, MIWAE, PIWAE
from jensen.objectives.gradients import GRADIENTS, DoublyReparameterised, lower_bound
from jensen.objectives.likelihood import Mean
from jensen.objectives.variational import HeldOutBound, NegativeBound, binarised

KEY = jax.random.key(6)
ROWS = np.random.default_rng(0).normal(size=(7, X.size))
PLAIN = GRADIENTS["reparameterised"]()


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def losses(loss: Any, rows: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(lambda r: loss((far_model(2),), r, KEY))(jnp.asarray(rows)))


def test_the_loss_is_the_mean_of_per_example_bounds() -> None:
    """Each row's bound with its own key, its sign turned: nothing of N or B inside a weight."""
    bound, rows = MIWAE(2, 3), jnp.asarray(ROWS)
    loss = NegativeBound(bound, PLAIN)

    @jax.jit
    def both(rows: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        keys = jax.random.split(KEY, len(ROWS))
        one = [lower_bound(far_model(2), rows[i], keys[i], bound, PLAIN) for i in range(3)]
        return Mean(loss)((far_model(2),), rows, KEY)[0], one

    mean, one = both(rows)
    each = losses(loss, ROWS)
    assert each.shape == (len(ROWS),)
    np.testing.assert_allclose(each[:3], -np.asarray(one), rtol=1e-12)
    assert float(mean) == pytest.approx(each.mean(), rel=1e-12)


def test_a_row_does_not_depend_on_its_mates() -> None:
    others = np.concatenate([ROWS[:1], 50.0 * ROWS[1:]])
    loss = NegativeBound(PIWAE(3, 2), PLAIN)
    assert losses(loss, ROWS)[0] == losses(loss, others)[0]


def test_a_biased_pair_is_refused() -> None:
    with pytest.raises(InputError, match="sticking-the-landing"):
        NegativeBound(BOUNDS["IWAE-2"].bound(), GRADIENTS["sticking-the-landing"]())


def test_held_out_rows_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same figures in one block, in blocks that do not divide the rows, and row by row."""
    loss = HeldOutBound(NegativeBound(MIWAE(2, 3), DoublyReparameterised()))
    whole = losses(loss, ROWS)
    assert whole.shape == (len(ROWS),)
    for particles in (24, 1):
        monkeypatch.setattr(variational, "_PARTICLES_AT_ONCE", particles)
        np.testing.assert_allclose(losses(loss, ROWS), whole, rtol=1e-13)


def test_held_out_rows_have_the_mean_of_the_bound() -> None:
    """2,000 copies of a row against 2,000 of the training loss's: z-test, false alarm 10⁻⁶."""
    rows = np.tile(X, (2000, 1))
    plain = NegativeBound(IWAE(4), PLAIN)
    one, other = losses(plain, rows), losses(HeldOutBound(plain), rows)
    error = np.sqrt((one.var() + other.var()) / 2000)
    assert abs(one.mean() - other.mean()) < norm.isf(0.5e-6) * error
    assert len(np.unique(other)) == 2000  # every row has its own draws


def test_binarised_rows_are_drawn_afresh() -> None:
    """x ~ Bernoulli(r), independent between cells and keys; a missing one stays missing."""
    r = jnp.array([0.0, 0.2, 0.7, 1.0, jnp.nan])
    draws = np.asarray(jax.vmap(lambda k: binarised(k, r))(jax.random.split(KEY, 20_000)))
    assert set(np.unique(draws[:, :4])) == {0.0, 1.0}
    assert np.isnan(draws[:, 4]).all()
    np.testing.assert_array_equal(draws[:, [0, 3]].mean(0), [0.0, 1.0])
    z = norm.isf(1e-6 / 6)  # three z-tests
    for j, p in ((1, 0.2), (2, 0.7)):
        assert abs(draws[:, j].mean() - p) < z * np.sqrt(p * (1 - p) / 20_000)
    assert abs(np.corrcoef(draws[:, 1], draws[:, 2])[0, 1]) < z / 20_000**0.5


def test_dynamic_binarisation_of_the_loss() -> None:
    """Rows of 0 and 1 are what they were; grey ones give another loss with every key."""
    still, moving = (NegativeBound(ELBO(), PLAIN, dynamic=d) for d in (False, True))
    black = np.tile(np.round(np.linspace(0.0, 1.0, X.size)), (2000, 1))
    one, other = losses(moving, black), losses(still, black)
    error = np.sqrt((one.var() + other.var()) / len(black))
    assert abs(one.mean() - other.mean()) < norm.isf(0.5e-6) * error
    grey = np.full((2000, X.size), 0.5)
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * X.size), -1).reshape(-1, X.size)
    each = losses(still, np.repeat(corners, 250, axis=0))  # all eight, 250 times
    drawn = losses(moving, grey)
    error = np.sqrt(each.var() / len(each) + drawn.var() / len(drawn))
    assert abs(drawn.mean() - each.mean()) < norm.isf(0.5e-6) * error
    assert abs(drawn.mean() - losses(still, grey).mean()) > 3 * error  # not the mean image


@pytest.mark.slow
def test_a_learned_scale_finds_probabilistic_principal_components() -> None:
    """σ² = the mean of the discarded eigenvalues; W Wᵀ = U (Λ - σ²) Uᵀ (Tipping & Bishop 1999).

    The posterior is diagonal in the principal axes, which the ELBO prefers: there it is log p, and
    sticking the landing has no noise left, so that a constant learning rate ends at the optimum.
    """
    rng = np.random.default_rng(8)
    axes = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    rows = rng.normal(size=(500, 5)) * np.sqrt([5.0, 2.5, 0.7, 0.5, 0.3]) @ axes.T + 1.5
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    noise = values[:3].mean()

    def init(key: jax.Array) -> tuple[Latent]:
        for_decoder, for_encoder = jax.random.split(key)
        decoder = MLP(for_decoder, 2, 5, (), last=1.0)
        encoder = DiagonalPosterior(MLP(for_encoder, 5, 4, ()))
        return (
            Latent(StandardNormal(2), Likelihood(decoder, Gaussian(5, LearnedScale())), encoder),
        )

    loss = NegativeBound(ELBO(), GRADIENTS["sticking-the-landing"]())
    game = Game(init, Mean(loss), HeldOutBound(loss))
    recipe = Optimisation(batch_size=500, learning_rate=0.01, ema=0.0)
    with jax.enable_x64(False):
        data = rows.astype(np.float32)
        found = train(game, data, None, Training(3000, recipe)).players[0]
    model: Any = jax.tree.map(lambda a: a[0] if hasattr(a, "shape") else a, found)
    learned = float(np.exp(model.likelihood.observation.scale.log_variance))
    assert learned == pytest.approx(noise, rel=0.02)
    w = np.asarray(model.likelihood.decoder.weights[0], float)
    expected = (vectors[:, 3:] * (values[3:] - noise)) @ vectors[:, 3:].T
    assert np.abs(w @ w.T - expected).max() < 0.02 * values[-1]
    assert np.abs(np.asarray(model.likelihood.decoder.biases[0]) - rows.mean(0)).max() < 0.05
    # the largest log-likelihood that any model of this kind has, and no more
    best = -0.5 * (5 * np.log(2 * np.pi) + np.log(values[3:]).sum() + 3 * np.log(noise) + 5)
    mean = log_prob(model, rows).mean()
    assert best - 1e-3 < mean < best + 1e-6
