"""The study of a VAE on digits holds, says which data it used, and sees planted mistakes."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.models.distributions import normal
from jensen.models.latent import Likelihood
from jensen.models.posteriors import Posterior
from jensen.objectives.bounds import ELBO
from jensen.studies import bound_terms, mnist_vae
from jensen.studies.notebook import Notebook


def claims_of(part: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Run one part of the study without figures; return the claims that fail."""
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    book = Notebook(tmp_path, quick=True)
    with jax.enable_x64(True):
        part(book)
    assert book.claims
    return {claim.id for claim in book.claims if not claim.holds}


TERMS = [
    bound_terms.divergences,
    bound_terms.log_variance,
    bound_terms.likelihoods,
    bound_terms.many_draws,
]


@pytest.mark.parametrize("part", TERMS, ids=lambda f: f.__name__)
def test_every_term_holds(part, tmp_path, monkeypatch):
    monkeypatch.setattr(bound_terms, "REPEATS", 4000)
    assert claims_of(part, tmp_path, monkeypatch) == set()


class SigmaIsExpV(Posterior):
    """The confusion of a log-variance with the logarithm of a standard deviation."""

    encoder: Any

    def __call__(self, x):
        mean, v = jnp.split(self.encoder(x), 2)
        return normal(mean, jnp.exp(v))


def test_a_log_variance_taken_for_a_log_deviation_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(bound_terms, "REPEATS", 2000)
    monkeypatch.setattr(bound_terms, "DiagonalPosterior", SigmaIsExpV)
    bad = claims_of(bound_terms.log_variance, tmp_path, monkeypatch)
    assert bad == {"spread-of-draws", "density-at-mean"}
    assert "variance" in claims_of(bound_terms.many_draws, tmp_path, monkeypatch)


def test_a_divergence_the_wrong_way_round_is_seen(tmp_path, monkeypatch):
    real = bound_terms.kl_divergence
    monkeypatch.setattr(bound_terms, "kl_divergence", lambda q, p: real(p, q))
    bad = claims_of(bound_terms.divergences, tmp_path, monkeypatch)
    assert bad == {"kl-quadrature", "kl-monte-carlo", "kl-general"}  # equal spreads: symmetric


def test_a_divergence_without_its_half_is_seen(tmp_path, monkeypatch):
    real = bound_terms.kl_divergence
    monkeypatch.setattr(bound_terms, "kl_divergence", lambda q, p: 2 * real(q, p))
    bad = claims_of(bound_terms.divergences, tmp_path, monkeypatch)
    assert bad == {"kl-equal-spread", "kl-quadrature", "kl-monte-carlo", "kl-general"}


@pytest.mark.parametrize(
    ("mistake", "seen"),
    [
        (lambda each, x, f: each + 0.5 * jnp.log(2 * jnp.pi), {"gaussian", "gaussian-mass"}),
        (lambda each, x, f: 2 * each, {"gaussian", "gaussian-mass"}),
        (lambda each, x, f: each / x.shape[0], {"gaussian", "bernoulli"}),  # a mean for a sum
    ],
    ids=["no log 2π", "no half", "mean"],
)
def test_likelihoods_see(mistake, seen, tmp_path, monkeypatch):
    real = Likelihood.log_prob

    def planted(self, x, z):
        value = real(self, x, z)
        if x.shape[0] == 8 and "bernoulli" not in seen:
            return value
        return mistake(value, x, None)

    monkeypatch.setattr(Likelihood, "log_prob", planted)
    assert seen <= claims_of(bound_terms.likelihoods, tmp_path, monkeypatch)


def test_the_same_draw_taken_m_times_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(bound_terms, "REPEATS", 4000)
    monkeypatch.setattr(bound_terms, "ELBO", lambda m: ELBO(1))
    bad = claims_of(bound_terms.many_draws, tmp_path, monkeypatch)
    assert {"falls-as-1/M", "variance"} <= bad


def test_a_sum_of_m_draws_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(bound_terms, "REPEATS", 4000)
    real = bound_terms._recon
    monkeypatch.setattr(bound_terms, "_recon", lambda model, x, m, s: m * real(model, x, m, s))
    bad = claims_of(bound_terms.many_draws, tmp_path, monkeypatch)
    assert {"unbiased", "falls-as-1/M", "variance"} <= bad


@pytest.fixture
def small(monkeypatch):
    """The embedded digits, a few epochs of them."""
    monkeypatch.setattr(Notebook, "figure", lambda *_: None)
    real = mnist_vae.load

    def short(book):
        images = real(book)
        return replace(images, epochs=12)

    monkeypatch.setattr(mnist_vae, "load", short)
    monkeypatch.setattr(bound_terms, "REPEATS", 4000)


@pytest.mark.slow
def test_without_mnist_it_says_so_and_holds_on_digits(small, tmp_path):
    book = Notebook(tmp_path, quick=True)
    mnist_vae.study(book)
    assert {claim.id for claim in book.claims if not claim.holds} == set()
    assert "document" not in {claim.id for claim in book.claims}
    assert "MNIST is absent" in book.used
    assert any("MNIST is absent (no --data" in remark for remark in book.remarks)


def test_a_data_folder_without_mnist_is_named(tmp_path):
    book = Notebook(tmp_path, quick=True, data=tmp_path)
    images = mnist_vae.load(book)
    assert images.train.shape[1] == 64
    assert str(tmp_path) in book.remarks[0]


def write_mnist(folder: Path, n: int) -> None:
    """Write two small files in MNIST's format."""
    folder.mkdir()
    for part, rows in (("train", n), ("t10k", n // 6)):
        pixels = np.random.default_rng(rows).integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        header = struct.pack(">HBBIII", 0, 8, 3, rows, 28, 28)
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(header + pixels.tobytes())


@pytest.mark.parametrize("below", ["mnist", "."])
def test_mnist_is_found_in_the_data_folder(below, tmp_path):
    data = tmp_path / "data"
    if below == "mnist":
        data.mkdir()
    write_mnist(data / below, 6000)
    images = mnist_vae.load(Notebook(tmp_path, quick=True, data=data))
    assert images.name.startswith("MNIST")
    assert (images.train.shape, images.test.shape) == ((5000, 784), (1000, 784))
    assert 0 <= images.train.min() < images.train.max() <= 1
    assert not images.full  # the document's figure is for the whole


def test_the_bound_sees_a_model_that_did_not_train(small, tmp_path, monkeypatch):
    real = mnist_vae.trained

    def untrained(images, seed):
        _, _, curve = real(replace(images, epochs=1), seed)
        init = mnist_vae.VAEInit(jnp.zeros(64), 8, 2)
        return init(jax.random.key(0))[0], init(jax.random.key(0))[0], curve

    monkeypatch.setattr(mnist_vae, "trained", untrained)
    monkeypatch.setattr(mnist_vae, "_draw", lambda *_: None)
    book = Notebook(tmp_path, quick=True)
    mnist_vae.study(book)
    bad = {claim.id for claim in book.claims if not claim.holds}
    assert bad == {"falls", "beats-independent-pixels"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_study_holds_for_two_seeds(seed, tmp_path):
    book = Notebook(tmp_path, quick=True, seed=seed)
    mnist_vae.study(book)
    assert {claim.id for claim in book.claims if not claim.holds} == set()
    assert len(book.figures) == 10
    assert all(path.stat().st_size > 1000 for path in book.figures)
