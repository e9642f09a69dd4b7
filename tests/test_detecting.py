"""Scores against closed forms, blocks over processes, and what is said of other units."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import scoring
from jensen._errors import InputError
from jensen.anomaly.units import ROWS, Thinned, most, units_note
from jensen.bijections import Affine
from jensen.data.labels import label_notes
from jensen.data.schema import Column, Schema
from jensen.detecting import _among, _check_fresh
from jensen.models.base import NormalBase
from jensen.models.flow import Flow
from jensen.models.latent import Latent, Likelihood
from jensen.models.mixed import Mixed
from jensen.models.observations import Gaussian
from jensen.models.posteriors import DiagonalPosterior
from jensen.models.priors import StandardNormal
from jensen.parallel import apart, mapped


class Double:
    """Work of the tests; pickled by name into other processes."""

    def __call__(self) -> Any:
        return self.work

    @staticmethod
    def work(block: np.ndarray) -> np.ndarray:
        if (block == 13.0).any():
            raise InputError("unlucky", "row 13", "leave it out")
        if (block == 99.0).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return 2.0 * block


def blocks(n: int) -> list[np.ndarray]:
    return [np.full((2, 1), float(i)) for i in range(n)]


@pytest.mark.slow
def test_results_come_in_order_and_errors_as_they_are() -> None:
    here = np.concatenate(list(mapped(Double.work, Double(), blocks(9))))
    with closing(mapped(Double.work, Double(), blocks(9), 2)) as results:
        np.testing.assert_array_equal(np.concatenate(list(results)), here)
    until = []
    results = mapped(Double.work, Double(), blocks(99), 2)
    with pytest.raises(InputError, match="unlucky — row 13 — leave it out"), closing(results):
        until += results
    with pytest.raises(InputError, match="at least 1, got 0"):
        list(mapped(Double.work, Double(), blocks(1), 0))
    dead = mapped(Double.work, Double(), [np.full((1, 1), 99.0)], 2)
    with pytest.raises(InputError, match=r"ended before its work \(status -9\)"), closing(dead):
        list(dead)


def test_each_piece_has_a_process_and_its_own_error() -> None:
    pieces = [np.full((1, 1), value) for value in (99.0, 13.0, 1.0)]
    with closing(apart(Double.work, pieces, 2)) as results:
        found = {float(piece[0, 0]): result for piece, result in results}
    assert set(found) == {99.0, 13.0, 1.0}
    assert "ended before its work (status -9)" in str(found[99.0])
    assert str(found[13.0]) == "unlucky — row 13 — leave it out"
    np.testing.assert_array_equal(found[1.0], [[2.0]])
    with pytest.raises(InputError, match="at least 1, got 0"):
        list(apart(Double.work, pieces, 0))


class Linear(eqx.Module):
    """η = weight · z, whatever the shape."""

    weight: jax.Array

    def __call__(self, z: jax.Array) -> jax.Array:
        return self.weight @ z


def test_reconstruction_and_latent_are_the_parts_of_the_elbo() -> None:
    # x | z ~ N(2z, 1), z ~ N(0, 1), q(z | x) = N(x/2, 1): encoder gives mean and log-variance
    encoder = Linear(jnp.array([[0.5], [0.0]]))
    model = Latent(
        StandardNormal(1),
        Likelihood(Linear(jnp.array([[2.0]])), Gaussian(1, scale=1.0)),
        DiagonalPosterior(encoder),
    )
    density: Any = SimpleNamespace(model=model, seed=0)
    rows = np.repeat(np.array([[0.5], [3.0]], "f4"), 1, axis=0)
    many = np.array([[0.5 + 1e-6 * i] for i in range(2000)], "f4")
    made, code = scoring._latent_parts(density, many)
    # E_q log p = -½ log 2π - ½ E(x - 2z)², and x - 2z ~ N(0, 4); KL = ½ (x/2)²
    expected, kl = -0.5 * np.log(2 * np.pi) - 2.0, 0.5 * 0.25**2
    # 50 draws a row: sd 2√2/√50 = 0.4, over 2,000 rows 0.009; of the KL 0.25/√50, 0.0008
    assert abs(made.mean() - expected) < 4 * 0.009
    assert abs(code.mean() - kl) < 4 * 0.0009
    alone = [scoring._latent_parts(density, rows[i : i + 1]) for i in range(2)]
    both = scoring._latent_parts(density, rows)
    np.testing.assert_array_equal(both, np.concatenate(alone, axis=1))
    assert both[1][1] > both[1][0]  # the code of the odd row is odd


def test_the_noise_of_a_flow_is_scored_by_its_base() -> None:
    shift, scale = np.array([1.0, -1.0]), np.array([2.0, 0.5])
    affine = Affine(jnp.asarray(shift, "f4"), jnp.asarray(np.log(scale), "f4"))
    mixed = Mixed(Flow(affine, NormalBase(2)), None)
    members = jax.tree.map(lambda a: jnp.stack([a, a]) if eqx.is_array(a) else a, mixed)
    y = np.random.default_rng(0).normal(size=(7, 2)).astype("f4")
    z = (y - shift) / scale
    density: Any = SimpleNamespace(
        members=members, preprocess=SimpleNamespace(forward=lambda matrix: matrix)
    )
    expected = -0.5 * np.sum(z**2, axis=1) - np.log(2 * np.pi)
    np.testing.assert_allclose(scoring._noise_log_prob(density, y), expected, rtol=1e-5)


def gaussian_run(**changes: Any) -> Any:
    """Return the least that is a run: a standard normal column, and a constant one."""
    columns = (Column("a", "continuous"), Column("k", "constant", value=7.0))
    schema = Schema(columns)

    def log_prob(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = -0.5 * rows[:, 0] ** 2 - 0.5 * np.log(2 * np.pi)
        return np.where(rows[:, 1] == 7.0, value, -np.inf), np.zeros(len(rows))

    def sample(n: int, seed: int) -> np.ndarray:
        return np.column_stack([np.random.default_rng(seed).normal(size=n), np.full(n, 7.0)])

    density = SimpleNamespace(
        log_prob=log_prob, judge=lambda rows: (log_prob(rows)[0],) * 2, sample=sample
    )
    base = lambda rows: log_prob(rows / np.array([2.0, 1.0]))[0] - np.log(2.0)  # noqa: E731
    run = {"schema": schema, "density": density, "baseline_log_prob": base, "conformal": None}
    return SimpleNamespace(**{**run, "spec": {"model": "flow"}, "folder": "run", **changes})


ROWS_OF_A = np.array([[0.0, 7.0], [1.0, 7.0], [3.0, 7.0], [0.0, 8.0], [np.nan, 7.0]])


def test_typicality_is_low_on_both_sides_of_the_entropy() -> None:
    score, log_prob = scoring.scorer(gaussian_run(), "typicality")(ROWS_OF_A)
    entropy = 0.5 * np.log(2 * np.pi * np.e)
    # of 1,000 samples the mean of ½ z² has a standard error of 0.022
    np.testing.assert_allclose(score[:3], -np.abs(log_prob[:3] + entropy), atol=4 * 0.0224)
    assert score[1] > max(score[0], score[2])
    assert np.isneginf(score[3:]).all()


def test_the_ratio_takes_the_baseline_away() -> None:
    score, _ = scoring.scorer(gaussian_run(), "ratio")(ROWS_OF_A)
    expected = np.log(2.0) - 0.5 * ROWS_OF_A[:3, 0] ** 2 * (1 - 0.25)
    np.testing.assert_allclose(score[:3], expected, rtol=1e-12)
    assert np.isneginf(score[3:]).all()


def test_a_score_that_is_no_number_is_impossible() -> None:
    score, log_prob = scoring.scorer(gaussian_run())(ROWS_OF_A)
    assert np.isneginf(score[4])
    assert np.isneginf(log_prob[4])


def test_a_background_has_the_same_columns() -> None:
    ours = (Column("c", "categorical", levels=("x", "y")), Column("a", "continuous"))
    run = gaussian_run(schema=Schema(ours))
    theirs = (Column("a", "integer", 1.0), Column("c", "categorical", levels=("w", "y", "x")))
    other = gaussian_run(schema=Schema(theirs), takes_missing=False)
    rows = np.array([[0.0, 5.0], [1.0, 6.0]])
    translated = scoring._translation(run, other)(rows)
    np.testing.assert_array_equal(translated, [[5.0, 2.0], [6.0, 1.0]])
    with pytest.raises(InputError, match="missing cells"):
        scoring._translation(run, other)(np.array([[np.nan, 5.0]]))
    for columns, said in (
        ((theirs[0],), "'c' is not in both"),
        ((theirs[0], Column("c", "categorical", levels=("x", "z"))), "not the levels"),
        ((theirs[0], Column("c", "constant", value="x")), "not the type"),
    ):
        with pytest.raises(InputError, match=said):
            scoring._translation(run, gaussian_run(schema=Schema(columns)))


def test_thinned_rows_do_not_depend_on_the_blocks() -> None:
    rows = np.arange(20_000.0)[:, None]
    for cuts in ([], [1], [4097, 9000, 9001], range(100, 20_000, 777)):
        thinned = Thinned()
        for _ in thinned.watch(np.split(rows, list(cuts))):
            assert len(thinned.rows) <= ROWS
        np.testing.assert_array_equal(thinned.rows, rows[::8])


def test_units_are_asked_for_where_most_rows_are_flagged() -> None:
    rng = np.random.default_rng(0)
    normal, scale = rng.normal(size=(50, 5)), np.ones(5)
    far = normal + np.array([0.0, 9.0, -30.0, 4.0, 5.0])
    far[0, 1] = np.nan
    text = units_note(11, 20, far, normal, scale, list("abcde"))
    assert text.startswith("11 of 20 rows are flagged")
    assert [text.index(f"'{name}'") for name in "cbe"] == sorted(
        text.index(f"'{n}'") for n in "cbe"
    )
    assert "'d'" not in text
    assert (most(11, 20), most(10, 20), most(19, 19)) == (True, False, False)
    assert "no column's median" in units_note(20, 20, normal, normal, scale, list("abcde"))


def test_labels_are_told_by_their_names() -> None:
    assert label_notes(["x", "y", "z"]) == []
    assert "'y'" in label_notes(["x0", "y"])[0]
    assert label_notes([" CLASS ", "label", "a"])[0].startswith("columns ' CLASS ', 'label' are")


def fresh_run(held: np.ndarray) -> Any:
    return SimpleNamespace(
        schema=Schema((Column("a", "continuous"), Column("b", "continuous"))),
        spec={"data": {"fingerprint": "none"}},
        held_out=lambda: (held[: len(held) // 2], held[len(held) // 2 :]),
        density=None,
    )


def test_calibration_rows_that_hold_the_kept_rows_and_more_were_trained_on() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.raises(InputError, match="70 of the 100 calibration rows"):
        _check_fresh(fresh_run(rows[:30]), rows, "data")
    assert "0 of the 30 rows" in _check_fresh(fresh_run(rows[:30] + 1.0), rows, "data")
    assert "30 of the 30 rows" in _check_fresh(fresh_run(rows[:30]), rows[:30], "data")
    dice = np.round(rows)  # rows that repeat by chance prove nothing
    assert _check_fresh(fresh_run(dice[:30]), dice, "data")


def test_rows_are_compared_to_the_last_bit() -> None:
    rows = np.array([[1.0, -0.0], [np.nextafter(1.0, 2.0), 0.0]])
    assert _among(rows, np.array([[1.0, 0.0]])).tolist() == [True, False]


@pytest.mark.parametrize("name", ["default", "typicality"])
def test_a_score_is_opened_anywhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such run folder"):
        scoring.Scoring(tmp_path / "nowhere", name)()
