"""Families compared: figures against closed forms, ties called ties, and reasons for gaps."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.covariance import ledoit_wolf

from cli_tools import TINY, Cli, caller
from jensen import comparing
from jensen._errors import InputError
from jensen.advising import advise, paired
from jensen.comparing import ORACLE, Comparison, Judged, Setting, compare, judge
from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.data.split import split_rows
from jensen.engine.config import Training
from jensen.evaluation.baselines import BASELINES, kernel_mixture, mixture_density
from jensen.fitting.recipe import Recipe
from jensen.models.mixture import MixtureRows
from jensen.report.compared import comparison_rows

COVARIANCE = np.array([[4.0, 1.2], [1.2, 1.0]])


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return caller(monkeypatch, capsys)


def gaussian_rows(n: int) -> np.ndarray:
    return np.random.default_rng(0).multivariate_normal([100.0, -3.0], COVARIANCE, size=n)


def setting(table: object, **settings: object) -> Setting:
    schema, matrix = read(open_table(table), missing=True)
    return Setting(schema, matrix, split_rows(len(matrix), 0, calibrate=True), 0, settings)


def mixed(n: int) -> pa.Table:
    """Integers, a category that hangs on them, a number and a constant."""
    random = np.random.default_rng(1)
    counts = random.poisson(3.0, n)
    names = np.where(random.random(n) < np.where(counts > 3, 0.9, 0.2), "many", "few")
    sizes = random.normal(counts, 0.5)
    return pa.table({"count": counts, "name": names, "size": sizes, "one": np.ones(n)})


def test_the_gaussian_is_its_closed_form_in_data_units():
    given = setting(gaussian_rows(1000))
    found = judge(given, "Gaussian")
    train = given.matrix[given.split.train]
    mean, sd = train.mean(axis=0), train.std(axis=0)
    shrunk, _ = ledoit_wolf((train - mean) / sd, assume_centered=True)
    law = multivariate_normal(mean, shrunk * np.outer(sd, sd))
    assert found.kind == "exact"
    np.testing.assert_allclose(found.rows, law.logpdf(given.test), atol=1e-3)
    entropy = multivariate_normal([0, 0], COVARIANCE).entropy()
    value, se = found.log_prob
    assert abs(value + entropy) < 4 * se + 0.01
    # samples of the right law, and real rows, are told apart by neither figure (1 in 10,000)
    for one in (found, judge(given, ORACLE)):
        assert set(one.samples) == {"jsd", "se", "mmd", "mmd_p_value", "coverage", "n"}
        assert one.samples["jsd"] < 4 * one.samples["se"] + 0.005
        assert one.samples["mmd_p_value"] > 1e-4


def test_a_mixture_integrates_to_one_and_samples_itself():
    whiten = np.array([[[2.0]], [[1.0]]])
    levels = np.log([[0.9, 0.1], [0.3, 0.7]])
    model = MixtureRows(
        jnp.log(jnp.array([0.25, 0.75])),
        jnp.array([[-2.0], [1.0]]),
        jnp.asarray(whiten),
        (jnp.asarray(levels),),
    )
    x = np.linspace(-8, 8, 3201)
    rows = np.array([[v, c] for c in (0, 1) for v in x])
    ours = np.asarray(jax.vmap(model.log_prob)(jnp.asarray(rows)))
    parts = [
        np.log(w) + norm(m, s).logpdf(rows[:, 0]) + table[rows[:, 1].astype(int)]
        for w, m, s, table in zip((0.25, 0.75), (-2, 1), (0.5, 1), levels, strict=True)
    ]
    np.testing.assert_allclose(ours, logsumexp(parts, axis=0), atol=1e-4)
    assert abs(np.exp(ours).sum() * (x[1] - x[0]) - 1) < 1e-4
    drawn = np.asarray(jax.vmap(model.sample)(jax.random.split(jax.random.key(0), 20_000)))
    assert abs(drawn[:, 1].mean() - (0.25 * 0.1 + 0.75 * 0.7)) < 4 * 0.5 / 20_000**0.5
    assert abs(drawn[:, 0].mean() - 0.25) < 4 * 1.7 / 20_000**0.5


@pytest.mark.parametrize("name", BASELINES)
def test_whole_numbers_have_probabilities(name):
    """The figure of a cell is its probability: over all cells, of each level, they sum to 1."""
    given = setting(mixed(400).select(["count", "name"]))
    preprocess = fit_preprocess(given.schema, given.matrix[given.split.train])
    density, _ = BASELINES[name](preprocess, given.matrix, given.split, 0)
    cells = np.array([[float(n), level] for n in range(-20, 40) for level in (0.0, 1.0)])
    log_prob, _ = density.log_prob(cells)
    assert density.kind == "iwae"
    assert abs(np.exp(log_prob).sum() - 1) < 0.01  # 16 points to a cell


def test_parts_and_bandwidth_are_chosen_by_validation_rows():
    random = np.random.default_rng(2)
    centres = np.array([[-6.0, 0.0], [6.0, 0.0], [0.0, 9.0]])
    given = setting(centres[random.integers(3, size=900)] + random.normal(size=(900, 2)))
    preprocess = fit_preprocess(given.schema, given.matrix[given.split.train])
    told = (preprocess, given.matrix, given.split, 0)
    mixture, words = mixture_density(*told)
    assert words == "3 parts"
    kernels, _ = kernel_mixture(*told)
    truth = logsumexp([multivariate_normal(c).logpdf(given.test) for c in centres], axis=0)
    truth = truth - np.log(3)
    for density, room in ((mixture, 0.1), (kernels, 0.3)):
        gap = truth - density.log_prob(given.test)[0]
        assert abs(gap.mean()) < room
    broken = judge(given, "Gaussian").rows
    assert broken is not None
    assert (truth - broken).mean() > 0.3


def test_a_part_has_level_frequencies_of_its_own():
    given = setting(mixed(600))
    preprocess = fit_preprocess(given.schema, given.matrix[given.split.train])
    found, _ = mixture_density(preprocess, given.matrix, given.split, 0)
    plain, _ = BASELINES["Gaussian"](preprocess, given.matrix, given.split, 0)
    gain = found.log_prob(given.test)[0] - plain.log_prob(given.test)[0]
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5


def made(**rows: object) -> Comparison:
    samples = {"jsd": 0.01, "se": 0.01, "mmd": 0.0, "mmd_p_value": 0.5, "coverage": 1.0, "n": 4}
    models = [
        Judged(name, rows=None if r is None else np.asarray(r), kind="exact", samples=samples)
        for name, r in rows.items()
    ]
    return Comparison("made", (1, 1, 400), [*models, Judged(ORACLE, samples=samples)], [], 1, 1.0)


def test_a_tie_is_called_a_tie_and_a_small_paired_gain_is_seen():
    random = np.random.default_rng(3)
    hard = 5 * random.normal(size=400)  # rows that all families find as hard
    small = 0.1 * random.normal(size=400)
    won = advise(made(Gaussian=hard - 0.05 + small, flow=hard))[0]
    assert (won.choice, won.tied) == ("flow", ("flow",))
    assert "above that of the next, Gaussian, by 0.0" in won.reason
    tied = advise(made(Gaussian=hard, flow=hard + small - small.mean() + 1e-4))[0]
    assert tied.choice == "Gaussian"
    assert set(tied.tied) == {"Gaussian", "flow"}
    assert "tied" in tied.reason
    gap, se = paired(Judged("a", rows=hard + small), Judged("b", rows=hard))
    assert np.isclose(gap, small.mean())
    assert np.isclose(se, small.std(ddof=1) / 20)


def test_advice_of_every_purpose_has_a_reason():
    rows = np.array([-1.0, -2.0, -3.0])
    found = {one.purpose: one for one in advise(made(flow=rows, vae=rows - 1, iwae=rows, gan=None))}
    assert found["missing cells"].choice == "iwae"
    assert found["samples"].tied == ("flow", "vae", "iwae", "gan")
    assert found["samples"].choice == found["density"].choice == "flow"
    assert found["anomalies"].choice == "detector"
    none = advise(made(gan=None, flow=np.full(3, -np.inf)))
    assert none[0].choice == ""
    assert none[2].choice == ""
    assert all(one.reason for one in none)


@pytest.mark.slow
def test_a_network_is_judged_on_the_same_rows():
    given = setting(mixed(45), **TINY)
    found = judge(given, "flow")
    assert found.kind == "iwae"
    assert found.rows is not None
    assert found.rows.shape == (len(given.test),)
    assert found.seconds > 0
    assert found.memory > 50
    assert found.samples == {}  # 19 test rows are too few
    assert comparison_rows(Comparison("made", (1, 1, 1), [found], [], 1, 1.0))[0][2] == "iwae"


@pytest.mark.parametrize("name", ["flow", "gan", "Gaussian", "kernel density"])
def test_missing_cells_are_a_reason(name):
    rows = gaussian_rows(60)
    rows[3, 1] = np.nan
    with pytest.raises(InputError, match="1 missing cells"):
        judge(setting(rows), name)


def test_the_command_writes_all_and_names_what_cannot_be_fitted(tmp_path, cli, monkeypatch):
    words = np.random.default_rng(4).choice(["a", "b", "c"], size=(45, 2))
    table = pa.table({"x": words[:, 0], "y": words[:, 1]})
    import pyarrow.csv

    pyarrow.csv.write_csv(table, tmp_path / "words.csv")
    some = partial(compare, families=("Gaussian", "Gaussian mixture"))  # a process each
    monkeypatch.setattr(comparing, "compare", some)
    code, out, err = cli("compare", tmp_path / "words.csv", "--out", tmp_path / "c", "--json")
    found = json.loads(out)
    assert code == 0
    keys = {"data", "split", "models", "recommendation", "notes", "seconds", "table", "figures"}
    assert keys <= set(found)
    first, second, last = found["models"]
    assert first["log_prob"]["kind"] == "exact"
    assert first["log_prob"]["mean"] == pytest.approx(-2 * np.log(3), abs=0.3)
    assert "no column is a number" in second["reason"]
    assert second["log_prob"]["mean"] is None
    assert last["model"] == ORACLE
    assert found["recommendation"][0]["choice"] == "Gaussian"
    assert any("no column is a number" in line for line in err)
    assert {Path(path).name for path in found["figures"]} == {"compare.png", "compare.svg"}
    back = open_table(tmp_path / "c" / "compare.csv")
    assert "log_prob_se" in back.names


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none.csv", "--out", "c"), "none.csv"),
        (("iris", "--out", "file"), "is a file"),
        (("iris", "--out", "c", "--seed", "-1"), "seed"),
        (("iris", "--out", "c", "--epochs", "0"), "epochs"),
        (("iris", "--out", "c", "--jobs", "0"), "at least 1"),
    ],
)
def test_what_compare_refuses(arguments, says, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, out, err = cli("compare", *arguments)
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert says in err[0]


def test_large_tables_are_cut_and_it_says_so(monkeypatch):
    monkeypatch.setattr(comparing, "_samples", lambda *_: {})
    found = compare(gaussian_rows(400), families=("Gaussian",), most_rows=100, jobs=1)
    assert sum(found.sizes) == 100
    assert any("100 of 400 rows" in note for note in found.notes)
    with pytest.raises(InputError, match="at least 3"):
        compare(gaussian_rows(400), most_rows=2)


@pytest.mark.slow
def test_tables_that_are_small_enough_stay_whole(monkeypatch):
    monkeypatch.setattr(comparing, "_samples", lambda *_: {})
    same = compare(gaussian_rows(400), families=("Gaussian",), most_rows=400, jobs=1)
    assert sum(same.sizes) == 400
    assert not any("rows, drawn" in note for note in same.notes)


def test_steps_are_cut_to_as_many_as_are_told():
    split = split_rows(20_000, 0, calibrate=True)
    per_epoch = -(-len(split.train) // 256)
    short, cut = comparing._cut(Recipe(training=Training()), split, 1000)
    assert cut
    assert 1000 - per_epoch < short.training.most_steps(per_epoch) <= 1000
    few = Recipe(training=Training(epochs=2))
    assert comparing._cut(few, split, 1000) == (few, False)


@pytest.mark.slow
def test_networks_are_cut_only_where_no_epochs_are_asked_for(monkeypatch):
    """210 training rows are one step an epoch: of the many by default 4 are left."""
    monkeypatch.setattr(comparing, "STEPS", 4)
    sizes = {"members": 1, "n_layers": 1, "width": 8}
    short = judge(setting(gaussian_rows(300), **sizes), "flow")
    assert short.chosen == "4 steps, steps of a comparison used up"
    asked = judge(setting(gaussian_rows(300), **sizes, epochs=6), "flow")
    assert asked.chosen == "6 steps, epochs used up"
