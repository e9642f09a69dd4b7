"""The study of amortised inference holds, and sees the mistakes that are easily made."""

from __future__ import annotations

from dataclasses import replace

import equinox as eqx
import numpy as np
import pytest

from jensen.studies import amortization_gap
from jensen.studies.autoencoders import Linear, gaussian_kl
from jensen.studies.notebook import Notebook


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    return Notebook(tmp_path, quick=True)


def failed(book: Notebook) -> set[str]:
    assert book.claims
    return {claim.id for claim in book.claims if not claim.holds}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_claim_holds(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    book = Notebook(tmp_path, quick=True, seed=seed)
    amortization_gap.study(book)
    assert failed(book) == set()


@pytest.mark.slow
def test_the_known_models_hold(book):
    known, random = amortization_gap.linear(0)
    amortization_gap._complete_data(book, known, random)
    shown = amortization_gap._known_gaps(book, known, random)
    shown += amortization_gap._rich_and_poor(book, known, random)
    assert failed(book) == set()
    assert [truth > 0.05 for *_, truth in shown] == [True, True, False, True]


def reversed_kl(m, S, other_m, other_S):
    """KL(p ‖ q) for KL(q ‖ p)."""
    return gaussian_kl(other_m, other_S, m, S)


def test_the_identity_sees_a_reversed_divergence(book, monkeypatch):
    monkeypatch.setattr(amortization_gap, "gaussian_kl", reversed_kl)
    amortization_gap._complete_data(book, *amortization_gap.linear(0))
    assert failed(book) == {"complete-data"}


def test_the_identity_sees_a_missing_entropy(book, monkeypatch):
    right = amortization_gap.complete_data

    def wrong(known, rows, m, S):
        entropy = 0.5 * (2 * (1 + np.log(2 * np.pi)) + np.linalg.slogdet(S)[1])
        return right(known, rows, m, S) - entropy

    monkeypatch.setattr(amortization_gap, "complete_data", wrong)
    amortization_gap._complete_data(book, *amortization_gap.linear(0))
    assert {"complete-data", "posterior-attains"} <= failed(book)


@pytest.mark.slow
def test_gaps_of_the_wrong_sign_are_seen(book, monkeypatch):
    right = amortization_gap.decompose

    def exchanged(*args, **options):
        gaps = right(*args, **options)
        return replace(gaps, best=gaps.amortised, amortised=gaps.best)

    monkeypatch.setattr(amortization_gap, "decompose", exchanged)
    amortization_gap._known_gaps(book, *amortization_gap.linear(0))
    assert {"known-approximation", "known-amortisation"} <= failed(book)


def test_an_encoder_that_does_not_learn_is_seen(book, monkeypatch):
    right = amortization_gap.trained_encoder

    def untrained(known, rows, seen, seed):
        net = right(known, rows[:200], seen, seed)
        return eqx.tree_at(lambda n: n.weights, net, (0 * net.weights[0],))

    monkeypatch.setattr(amortization_gap, "trained_encoder", untrained)
    amortization_gap._rich_and_poor(book, *amortization_gap.linear(0))
    assert {"encoder-sees-all", "encoder-sees-two"} <= failed(book)


def test_the_divergence_of_gaussians_in_one_dimension():
    """KL(N(1, 4) ‖ N(0, 1)) = ½(4 + 1 - 1 - log 4)."""
    one = np.ones((1, 1))
    found = gaussian_kl(one, 4 * one, 0 * one, one)
    np.testing.assert_allclose(found, 0.5 * (4 - np.log(4)), rtol=1e-12)


def test_a_linear_model_by_bayes_rule():
    """log p(x) = log p(x | z) + log p(z) - log p(z | x) at any z."""
    known = Linear(np.array([[0.7, -0.2], [0.1, 0.9]]), np.array([0.5, -1.0]), 0.6)
    x, z = np.array([[0.3, 1.2]]), np.array([0.4, -0.7])
    P, m = known.precision, known.posterior_means(x)[0]
    noise = (x[0] - known.W @ z - known.b) / known.sigma
    log_2pi = np.log(2 * np.pi)
    log_joint = -0.5 * noise @ noise - 2 * np.log(known.sigma) - log_2pi - 0.5 * z @ z - log_2pi
    log_posterior = -0.5 * (z - m) @ P @ (z - m) + 0.5 * np.linalg.slogdet(P)[1] - log_2pi
    np.testing.assert_allclose(known.log_prob(x), log_joint - log_posterior, atol=1e-12)
