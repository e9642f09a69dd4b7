"""The study of trainable priors: its parts hold, and each sees the mistakes easily made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.models.priors import DiagonalNormal
from jensen.objectives.gradients import Estimator, Reparameterised, ScoreFunction, stopped
from jensen.studies import prior_gradients, trainable_prior
from jensen.studies.notebook import Notebook


def claims_of(part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **kinds: Any) -> set[str]:
    """Run one part of the study without figures; return the claims that fail."""
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    book = Notebook(tmp_path, quick=True, **kinds)
    part(book)
    assert book.claims
    return {claim.id for claim in book.claims if not claim.holds}


def test_the_exact_bound_is_the_evidence_less_the_divergence():
    """For L = 1 the posterior is diagonal: with it the bound is log p(x), and moves below it."""
    W, x = jnp.array([[1.0], [2.0], [-0.5]]), jnp.array([0.3, -1.0, 2.0])
    with jax.enable_x64(True):
        precision = float(jnp.sum(W**2)) / 0.25 + 1
        encoder = prior_gradients.AffineEncoder(
            W.T / 0.25 / precision, jnp.zeros(1), jnp.array([-np.log(precision)])
        )
        model = model_of(W, encoder)
        covariance = np.asarray(W @ W.T) + 0.25 * np.eye(3)
        inverse, log_det = np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]
        exact = -0.5 * (np.asarray(x) @ inverse @ np.asarray(x) + log_det + 3 * np.log(2 * np.pi))
        assert float(prior_gradients.exact_bound(model, x, 0.5)) == pytest.approx(exact, rel=1e-12)
        off = model_of(W, prior_gradients.AffineEncoder(encoder.weight, jnp.ones(1), encoder.shift))
        assert float(prior_gradients.exact_bound(off, x, 0.5)) < exact - 0.5


def model_of(W, encoder):
    likelihood = trainable_prior.Likelihood(
        prior_gradients.Affine(W, None), trainable_prior.Gaussian(3, scale=0.5)
    )
    posterior = trainable_prior.DiagonalPosterior(encoder)
    return trainable_prior.Latent(DiagonalNormal(1), likelihood, posterior)


def test_gradients_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(prior_gradients, "REPEATS", 4000)
    assert claims_of(prior_gradients.gradients, tmp_path, monkeypatch) == set()


class NoScore(Estimator):
    """The log-derivative trick that forgets the score: no gradient for the encoder's fit."""

    def check(self, bound):
        """Accept every bound."""

    def terms(self, model, x, key, bound):
        """Return V, and a surrogate whose draws and densities of q are held fixed."""
        held = trainable_prior.Latent(model.prior, model.likelihood, stopped(model.posterior))
        return Reparameterised().terms(held, x, key, bound)


class PriorHeld(Estimator):
    """A gradient that never reaches λ."""

    def check(self, bound):
        """Accept every bound."""

    def terms(self, model, x, key, bound):
        """Return V, and a surrogate with the prior held fixed."""
        held = trainable_prior.Latent(stopped(model.prior), model.likelihood, model.posterior)
        return Reparameterised().terms(held, x, key, bound)


class WrongSign(Estimator):
    """The score with the wrong sign."""

    def check(self, bound):
        """Accept every bound."""

    def terms(self, model, x, key, bound):
        """Return V, and the surrogate less twice its part of the score."""
        value, surrogate = ScoreFunction().terms(model, x, key, bound)
        _, direct = NoScore().terms(model, x, key, bound)
        return value, 2 * direct - surrogate


@pytest.mark.parametrize("planted", [NoScore, PriorHeld, WrongSign])
def test_a_biased_gradient_is_seen(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(prior_gradients, "REPEATS", 4000)

    def part(book):
        with jax.enable_x64(True):
            model, x = prior_gradients.example(book.seed)
            gradient = prior_gradients.eqx.filter_grad(prior_gradients.exact_bound)
            exact = prior_gradients._blocks(gradient(model, x, prior_gradients.NOISE))
            prior_gradients._checked(book, "planted", model, x, exact)

    monkeypatch.setitem(prior_gradients.ESTIMATORS, "planted", (planted(), 1))
    assert claims_of(part, tmp_path, monkeypatch) == {"unbiased-planted"}


def test_the_best_bound_is_that_of_the_right_covariance():
    """Far more rows than columns: V* is the log-likelihood of the law that made them."""
    rows = trainable_prior.linear_rows(0, "trained", 100_000, bias=1.0).astype(float)
    W, s = trainable_prior.WEIGHT, np.array(trainable_prior.SPREAD)
    covariance = (W * s**2) @ W.T + 0.25 * np.eye(4)
    entropy = 0.5 * (np.linalg.slogdet(covariance)[1] + 4 * np.log(2 * np.pi * np.e))
    # the log-likelihood of 100,000 rows has a standard error of √(D/2n) = 0.0045
    assert trainable_prior.best_bound(rows, 2) == pytest.approx(-entropy, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["_shifted", "_same_bound"])
def test_linear_parts_hold(part, tmp_path, monkeypatch):
    assert claims_of(getattr(trainable_prior, part), tmp_path, monkeypatch) == set()


def test_a_prior_that_does_not_learn_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(trainable_prior, "LINEAR", (200, 1e-2))
    real = trainable_prior.LinearInit
    monkeypatch.setattr(
        trainable_prior, "LinearInit", lambda dims, _, bias: real(dims, False, bias)
    )
    part = trainable_prior._shifted
    assert {"shift-gain", "shift-beats"} <= claims_of(part, tmp_path, monkeypatch)


@pytest.mark.slow
def test_a_gradient_that_stops_short_of_the_prior_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(trainable_prior, "LINEAR", (200, 1e-2))
    part = trainable_prior._same_bound
    assert {"reaches-optimum-reparameterised"} <= claims_of(part, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_study_holds_for_two_seeds(seed, tmp_path):
    book = Notebook(tmp_path, quick=True, seed=seed)
    trainable_prior.study(book)
    assert {claim.id for claim in book.claims if not claim.holds} == set()
    assert len(book.figures) == 6
