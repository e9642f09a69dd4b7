"""The study of the Swiss roll's autoencoder holds, and sees the mistakes that are easily made."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.data.toys import TOYS
from jensen.models.observations import Gaussian
from jensen.studies import autoencoders, swiss_roll_vae
from jensen.studies.notebook import Notebook

TOY = TOYS["swiss-roll"]


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    monkeypatch.setattr(swiss_roll_vae, "ACROSS", 61)
    return Notebook(tmp_path, quick=True)


def failed(book: Notebook) -> set[str]:
    assert book.claims
    return {claim.id for claim in book.claims if not claim.holds}


@pytest.fixture(scope="module")
def model():
    """A model after 20 epochs: bad, but every identity holds for it."""
    rows = TOY.sample(0, 2000)
    init = autoencoders.DocumentInit(1, swiss_roll_vae.SCALE)
    arguments = swiss_roll_vae.LOSS, rows, [20], swiss_roll_vae.OPTIMISATION, 0
    return autoencoders.trained(init, *arguments)[0][20]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_claim_holds(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    book = Notebook(tmp_path, quick=True, seed=seed)
    swiss_roll_vae.study(book)
    assert failed(book) == set()


@pytest.mark.slow
def test_training_in_pieces_is_training_at_once(model):
    init = autoencoders.DocumentInit(1, swiss_roll_vae.SCALE)
    arguments = swiss_roll_vae.LOSS, TOY.sample(0, 2000), [8, 20], swiss_roll_vae.OPTIMISATION, 0
    models, curve = autoencoders.trained(init, *arguments)
    assert list(models) == [8, 20]
    for once, pieces in zip(jax.tree.leaves(model), jax.tree.leaves(models[20]), strict=True):
        np.testing.assert_array_equal(once, pieces)
    assert curve["epoch"].tolist() == [10.0, 20.0]


def identities(book, model):
    data = TOY.sample(1, 500).astype(np.float32)
    swiss_roll_vae._likelihood(book, model, data)
    swiss_roll_vae._pictures(book, TOY, {1: model}, data)


def test_the_identities_hold(book, model):
    identities(book, model)
    assert failed(book) == set()


def mean_for_sum(self, x, params):
    """75 mean_d (x_d - f_d)², the constant as it should be."""
    mean, s2 = params[: self.dim], swiss_roll_vae.SCALE**2
    return -0.5 * (x - mean) ** 2 / s2 / self.dim - 0.5 * jnp.log(2 * jnp.pi * s2)


def without_constant(self, x, params):
    return -0.5 * (x - params[: self.dim]) ** 2 / swiss_roll_vae.SCALE**2


@pytest.mark.parametrize(
    ("log_probs", "seen"),
    [
        (mean_for_sum, {"sum-and-constant", "mean-is-beta-two", "integrates-to-one"}),
        (without_constant, {"sum-and-constant", "integrates-to-one"}),
    ],
)
def test_the_document_s_mistakes_are_seen(log_probs, seen, book, model, monkeypatch):
    monkeypatch.setattr(Gaussian, "log_probs", log_probs)
    jax.clear_caches()  # of the right likelihood
    identities(book, model)
    assert failed(book) == seen
    jax.clear_caches()


def test_a_wrong_truth_is_seen(book, monkeypatch):
    right = TOY.sample(0, 2000)
    swiss_roll_vae._truth(book, TOY, right)
    assert failed(book) == set()
    other = Notebook(book.out, quick=True)
    swiss_roll_vae._truth(other, TOY, 1.05 * right)
    assert {"truth-sampled"} <= failed(other)


def test_bounds_above_log_p_are_seen(book, model, monkeypatch):
    log_weights = swiss_roll_vae.log_weights
    monkeypatch.setattr(swiss_roll_vae, "PARTICLES", (1, 5, 50))
    data, held_out = (TOY.sample(seed, 300).astype(np.float32) for seed in (2, 3))
    swiss_roll_vae._evidence(book, TOY, model, data, held_out)
    assert not {name for name in failed(book) if name.startswith(("below", "quadrature"))}
    monkeypatch.setattr(swiss_roll_vae, "log_weights", lambda *args: -0.1 * log_weights(*args))
    other = Notebook(book.out, quick=True)
    swiss_roll_vae._evidence(other, TOY, model, data, held_out)
    assert {"below-exact-1", "below-exact-5", "below-exact-50"} <= failed(other)
