"""Image flows from file to figures: bits of noise, runs that come back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import jensen as jn
from jensen._errors import InputError
from jensen.apply import evaluate_table
from jensen.data.source import open_table

QUICK = {"n_layers": 1, "width": 4, "bins": 2, "epochs": 1, "batch_size": 128}


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A run of bytes of noise."""
    images = np.random.default_rng(0).integers(0, 256, (1500, 8, 8), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("noise")
    np.save(folder / "train.npy", images[:1200])
    np.save(folder / "test.npy", images[1200:])
    return jn.fit_run(folder / "train.npy", folder / "run", settings=QUICK), folder


def test_noise_costs_eight_bits(noise):
    run, folder = noise
    found = evaluate_table(run, folder / "test.npy", lambda text: None)
    # exact at the start, but for the histograms; what is learned is kept if validation gains
    assert abs(found["bits_per_dim"] - 8.0) < 0.005
    assert found["log_prob"]["kind"] == "iwae"


def test_a_run_comes_back_as_it_was_and_draws_grey_levels(noise):
    run, folder = noise
    again = jn.open_run(folder / "run")
    rows = np.load(folder / "test.npy").reshape(300, 64).astype(float)[:20]
    assert (again.density.log_prob(rows)[0] == run.density.log_prob(rows)[0]).all()
    drawn = again.schema.decode(again.density.sample(50, 3))
    pixels = np.stack(list(drawn.values()), axis=1)
    assert pixels.dtype == np.uint8
    assert len(np.unique(pixels)) == 256
    assert again.spec["recipe"]["architecture"] == "multiscale"


def test_a_level_beyond_the_last_has_probability_zero(noise):
    run, _ = noise
    row = np.full((1, 64), 256.0)
    assert run.density.log_prob(row)[0][0] == -np.inf


def fit(data, folder, **settings):
    return jn.fit_run(open_table(data), folder / "run", settings={**QUICK, **settings})


def test_scaled_pixels_are_refused_and_can_be_taken_as_numbers(tmp_path):
    scaled = np.random.default_rng(1).integers(0, 256, (50, 8, 8)) / 255
    with pytest.raises(InputError, match=r"scaled to \[0, 1\]"):
        fit(scaled, tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        (np.arange(50 * 63).reshape(50, 9, 7) % 8, {"architecture": "multiscale"}, "even height"),
        (np.arange(50 * 64).reshape(50, 8, 8) % 9 - 4, {}, "grey levels run from -4"),
        (np.arange(50 * 64).reshape(50, 8, 8), {}, "grey levels run from 0 to 3199"),
        (np.arange(100).reshape(50, 2) % 7, {"architecture": "multiscale"}, "is a table"),
    ],
)
def test_what_is_no_stack_of_grey_images_is_refused(tmp_path, images, settings, message):
    with pytest.raises(InputError, match=message):
        fit(images, tmp_path, **settings)
    assert not (tmp_path / "run").exists()


def test_images_of_two_sizes_are_refused(tmp_path):
    for side in (8, 10):
        np.save(tmp_path / f"{side}.npy", np.zeros((5, side, side), np.uint8))
    with pytest.raises(InputError, match=r"10 × 10.*8 × 8"):
        open_table(tmp_path)


def test_an_image_shape_of_other_pixels_is_refused():
    flow = jn.FlowDensity(image_shape=(8, 8))
    with pytest.raises(InputError, match="do not have 60 pixels"):
        flow.fit(np.random.default_rng(2).integers(0, 9, (40, 60)))


@pytest.mark.slow
def test_learned_noise_is_no_worse_than_uniform():
    digits = open_table("digits:train")
    X = np.concatenate([np.stack(b.columns, axis=1) for b in digits.batches()]).astype(float)
    options = {**QUICK, "n_layers": 2, "width": 32, "bins": 8, "epochs": 40, "image_shape": (8, 8)}
    scores = [
        jn.FlowDensity(dequantisation=noise, random_state=0, **options).fit(X[:900]).score(X[900:])
        for noise in ("uniform", "variational")
    ]
    assert scores[1] > scores[0] - 0.5  # nats an image, of about 90
