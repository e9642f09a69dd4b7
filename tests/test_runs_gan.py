"""GAN runs: the same bytes however a run came to its end, both players kept, real types sampled."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from jensen._errors import InputError
from jensen.apply import evaluate_table, sample_table, score_table
from jensen.detecting import detect_table
from jensen.runs import Run, fit_run, open_run

SMALL = {"width": 8, "depth": 1, "batch_size": 64, "patience": 10**6, "evaluate_every": 10}
N = 300
RNG = np.random.default_rng(0)
CITY = RNG.choice(["lima", "oslo", "rome"], N, p=[0.2, 0.3, 0.5])
COLUMNS = {
    "x": RNG.standard_normal(N),
    "gain": np.where(RNG.uniform(size=N) < 0.6, 0.0, RNG.lognormal(3, 1, N)),
    "kids": RNG.poisson(1.5, N),
    "temp": np.round(RNG.normal(20, 2, N), 1),
    "city": CITY,
    "vip": CITY == "lima",
    "fixed": np.full(N, 2.5),
}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def train(data: Path, folder: Path, **changes: Any) -> Run:
    options = {key: changes.pop(key) for key in ("seed", "resume") if key in changes}
    return fit_run(data, folder, model="gan", settings={**SMALL, **changes}, **options)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mixed.parquet"
    pq.write_table(pa.table(COLUMNS), path)
    return path


@pytest.fixture(scope="module")
def whole(table: Path) -> Run:
    """A run of 12 epochs, never interrupted."""
    return train(table, table.parent / "whole", epochs=12)


def test_twice_and_any_chunk_give_the_same_bytes(table: Path, whole: Run, tmp_path: Path) -> None:
    train(table, tmp_path / "a", epochs=12, chunk=7)
    assert weights(tmp_path / "a") == weights(whole.folder)
    train(table, tmp_path / "b", epochs=12, seed=1)
    assert weights(tmp_path / "b") != weights(whole.folder)


def test_further_epochs_equal_epochs_at_once(table: Path, whole: Run, tmp_path: Path) -> None:
    for epochs in (5, 12):
        run = train(table, tmp_path / "a", epochs=epochs, resume=True)
    assert weights(tmp_path / "a") == weights(whole.folder)
    assert run.spec["figures"] == whole.spec["figures"]


def test_what_is_read_is_what_was_trained(whole: Run) -> None:
    read = open_run(whole.folder)
    for mine, theirs in (
        (whole.gan.discriminator, read.gan.discriminator),
        (whole.gan.generator, read.gan.generator),
    ):
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(a, b)
    assert read.gan.options == whole.gan.options
    np.testing.assert_array_equal(whole.gan.sample(5, 0), read.gan.sample(5, 0))
    calibration, validation = read.held_out()
    split = read.spec["split"]
    assert (len(calibration), len(validation)) == (split["calibration"], split["validation"])
    np.testing.assert_array_equal(whole.gan.logits(validation), read.gan.logits(validation))
    rows = read.gan.vectors(validation)
    players = (read.gan.discriminator, read.gan.generator)
    losses = read.gan.objective(players, rows, jax.random.key(0))
    assert len(losses) == 2
    assert np.isfinite(np.asarray(losses)).all()


def test_the_folder_holds_plain_files_and_both_players(whole: Run) -> None:
    names = {p.name for p in whole.folder.iterdir()}
    assert names == {
        "spec.json", "model.safetensors", "metrics.parquet", "heldout.parquet", "checkpoints",
        "samples",
    }  # fmt: skip
    kept = load_file(whole.folder / "model.safetensors")
    assert {name.split(".")[0] for name in kept} == {
        "discriminator", "generator", "preprocess", "examples"
    }  # fmt: skip
    metrics = pq.read_table(whole.folder / "metrics.parquet")
    assert {"train_loss", "train_loss_2", "validation_loss"} <= set(metrics.column_names)


def test_figures_say_how_far_apart_samples_are(whole: Run) -> None:
    figures = whole.spec["figures"]["validation"]
    assert {"jsd", "se", "p_value", "mmd", "n", "kind", "normalisation"} <= set(figures)
    assert figures["n"] == whole.spec["split"]["calibration"]
    assert 0 <= figures["jsd"] <= np.log(2)
    assert figures["se"] > 0


def test_samples_have_the_types_and_ranges_of_the_table(whole: Run, tmp_path: Path) -> None:
    sample_table(whole, 400, tmp_path / "new.parquet", 3)
    new, old = pq.read_table(tmp_path / "new.parquet"), pq.read_table(whole.spec["data"]["source"])
    assert [(f.name, f.type) for f in new.schema] == [(f.name, f.type) for f in old.schema]
    for name in ("x", "gain", "kids", "temp"):
        a, b = new[name].to_numpy(), old[name].to_numpy()
        assert np.isfinite(a).all()
        assert b.min() <= a.min() <= a.max() <= b.max()
    assert set(new["city"].to_pylist()) == set(CITY)
    assert set(new["fixed"].to_pylist()) == {2.5}
    tenths = new["temp"].to_numpy() * 10
    np.testing.assert_allclose(tenths, np.rint(tenths), atol=1e-9)
    zeros = (new["gain"].to_numpy() == 0).mean()
    assert abs(zeros - (COLUMNS["gain"] == 0).mean()) < 0.2  # hardly trained, yet an atom


def test_rows_with_given_values(whole: Run, tmp_path: Path) -> None:
    gan = whole.gan
    rows = whole.schema.decode(gan.sample(50, 0, {"city": "lima", "kids": 1}))
    assert Counter(rows["city"]) == {"lima": 50}
    assert set(rows["kids"]) == {1}
    np.testing.assert_array_equal(
        gan.sample(20, 0, {"city": "lima"})[:7], gan.sample(7, 0, {"city": "lima"})
    )
    # rejection: the rows are those of the model that have the value
    every = gan.sample(1024, 0)
    j = whole.schema.names.index("city")
    kept = every[every[:, j] == whole.schema.columns[j].levels.index("lima")]
    np.testing.assert_array_equal(gan.sample(len(kept), 0, {"city": "lima"}), kept)
    for given, message in (
        ({"town": "lima"}, "no column 'town'"),
        ({"city": "lim"}, "did not occur in training.*did you mean 'lima'"),
        ({"x": 0.5}, "column 'x' is continuous"),
        ({"kids": 1.5}, "whole-number"),
        ({"kids": 77}, "0 of .* generated rows"),
    ):
        with pytest.raises(InputError, match=message):
            sample_table(whole, 3, tmp_path / "none.csv", 0, given)
    assert not (tmp_path / "none.csv").exists()


def test_what_a_gan_cannot_do_is_said(whole: Run, table: Path, tmp_path: Path) -> None:
    for act in (
        lambda: score_table(whole, table, tmp_path / "s.csv", print),
        lambda: detect_table(whole, table, 0.1, tmp_path / "d.csv", print),
        lambda: whole.baseline,
    ):
        with pytest.raises(InputError, match=r"a GAN gives no log p.*--model flow"):
            act()
    assert not list(tmp_path.iterdir())
    flow = {"epochs": 1, "members": 1, "n_layers": 1, "width": 8}
    run = fit_run(table, tmp_path / "flow", settings=flow)
    with pytest.raises(InputError, match="this run is a flow"):
        run.gan  # noqa: B018
    with pytest.raises(InputError, match="given values"):
        sample_table(run, 3, tmp_path / "x.csv", 0, {"city": "lima"})


def test_evaluation_has_no_log_p_but_a_verdict(whole: Run, table: Path) -> None:
    result = evaluate_table(whole, table, print)
    assert result["log_prob"]["kind"] == "none"
    assert result["log_prob"]["mean"] is None
    assert result["n"] == N
    assert 0 <= result["two_sample"]["jsd"] <= np.log(2)
    json.dumps(result, allow_nan=False)


def test_adaptations_are_stated(table: Path, tmp_path: Path, whole: Run) -> None:
    assert whole.spec["adaptations"] == []
    rows = whole.spec["split"]["train"]
    run = train(table, tmp_path / "a", epochs=2, batch_size=1000, packing=2 + rows % 2)
    assert f"all of the {rows} training rows" in run.spec["adaptations"][0]
    if rows % (2 + rows % 2):
        assert "last pack" in run.spec["adaptations"][1]
    assert run.spec["steps"] == 2
    with pytest.raises(InputError, match="packing"):
        run.gan.logits(run.held_out()[0])


@pytest.mark.parametrize("rows", [3, 5])
def test_tiny_tables(rows: int, tmp_path: Path) -> None:
    data = tmp_path / "tiny.csv"
    data.write_text("a,b\n" + "\n".join(f"{i}.{i},{i * i}" for i in range(rows)) + "\n")
    run = train(data, tmp_path / "run", epochs=2)
    assert run.spec["figures"]["validation"]["kind"] == "none"
    assert run.gan.sample(4, 0).shape == (4, 2)
    assert open_run(tmp_path / "run").gan.sample(4, 0).shape == (4, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "hing"}, "did you mean 'hinge'"),
        ({"r1": "-1"}, "r1 must be at least 0"),
        ({"width": "0"}, "width must be at least 1"),
        ({"margins": "normal"}, "unknown margins"),
        ({"fake_weight": "2", "loss": "hinge"}, "no weight"),
        ({"packing": "0"}, "packing must be at least 1"),
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"bins": "8"}, "unknown option 'bins'"),
        ({"epochs": "x"}, "epochs must be a whole number"),
    ],
)
def test_bad_options_come_before_the_folder(
    settings: dict[str, str], message: str, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        fit_run(table, tmp_path / "run", model="gan", settings=settings)
    assert not (tmp_path / "run").exists()


def test_open_options_are_chosen_and_kept(table: Path, tmp_path: Path, whole: Run) -> None:
    recipe, rows = whole.spec["recipe"], whole.spec["split"]["train"]
    entries = 4 + len(set(CITY)) + 1  # numbers (a flag is one), and the levels of the city
    assert recipe["r1"] == recipe["r2"] == pytest.approx(6 * entries / rows)
    assert (recipe["latent_dim"], recipe["generator_width"]) == (6, 8)
    given = {"r1": "0.25", "r2": "0", "latent_dim": "1", "generator_depth": "2", "epochs": "1"}
    run = fit_run(table, tmp_path / "run", model="gan", settings={**SMALL, **given})
    options = open_run(run.folder).gan.options
    assert (options.r1, options.r2, options.latent_dim, options.generator_depth) == (
        0.25,
        0.0,
        1,
        2,
    )
    assert len(run.gan.objective.penalties) == 1


def test_a_run_resumes_as_its_own_family(whole: Run, table: Path) -> None:
    with pytest.raises(InputError, match="this run is a gan, not a flow"):
        fit_run(table, whole.folder, resume=True)


@pytest.mark.slow
def test_every_form_trains(table: Path, tmp_path: Path) -> None:
    forms: list[dict[str, Any]] = [
        {"loss": "wasserstein", "gradient_penalty": 10.0, "r1": 0.0, "r2": 0.0},
        {"loss": "hinge", "normalisation": "spectral", "packing": 2, "margins": "standard"},
        {"loss": "pearson", "start": "random", "latent_dim": 1, "generator_rate": 0.5},
    ]
    for i, form in enumerate(forms):
        run = train(table, tmp_path / f"{i}", epochs=2, **form)
        again = open_run(run.folder)
        assert np.isfinite(again.gan.sample(20, 0)).all()
        assert again.gan.options == run.gan.options
