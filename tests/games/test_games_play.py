"""Whole paths of games: closed forms, independent loops in numpy, and what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit

from conftest import RULES
from jensen._errors import InputError
from jensen.games.builtin import RobustLogistic, robust_logistic_data
from jensen.games.play import as_players, check_losses, play
from jensen.games.rules import Alternating
from jensen.games.sets import Ball, Box, Simplex

RPS = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
BIASED = np.array([[0.0, -1.0, 2.0], [1.0, 0.0, -1.0], [-2.0, 1.0, 0.0]])  # plays (¼, ½, ¼)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def bilinear(players: tuple) -> tuple:
    x, y = players
    return x * y, -x * y


@pytest.mark.parametrize(
    ("rule", "radius", "known"),
    [
        ("simultaneous", 1.01, "14.632"),
        ("extragradient", 0.9901, "0.2734"),
        ("proximal", 1 / 1.01, "0.2734"),  # 1/(1 + η²) is 1 - η² + η⁴ up to η⁶
    ],
)
def test_two_hundred_steps_from_one_one(rule, radius, known):
    """Each step multiplies the squared norm by √(1+η²)², 1 - η² + η⁴ or 1/(1+η²)."""
    path = play(bilinear, (1.0, 1.0), rule=rule, step=0.1, steps=200)
    squares = (path.flat() ** 2).sum(axis=1)
    assert np.abs(squares / (2 * radius**path.steps) - 1).max() < 1e-12
    assert f"{squares[-1]:.{len(known.split('.')[1])}f}" == known


def test_records_are_every_so_many_steps_of_one_path():
    whole = play(bilinear, (1.0, 2.0), rule="optimistic", steps=12)
    some = play(bilinear, (1.0, 2.0), rule="optimistic", steps=12, every=4)
    assert some.steps.tolist() == [0, 4, 8, 12]
    assert np.array_equal(some.flat(), whole.flat()[::4])
    assert np.array_equal(np.array(some.end), whole.flat()[-1])


def test_a_path_in_float32_stays_float32():
    path = play(bilinear, (np.float32(1), np.float32(1)), step=0.1, steps=4)
    assert [p.dtype for p in path.points] == [np.float32, np.float32]


def test_losses_and_gradient_norms_along_the_path():
    path = play(bilinear, (3.0, 4.0), steps=2)
    losses, norms = path.curves(bilinear)
    x, y = path.flat().T
    assert np.array_equal(losses, np.stack([x * y, -x * y], axis=1))
    assert np.array_equal(norms, np.abs(np.stack([y, x], axis=1)))


def test_a_path_that_leaves_the_finite_numbers_says_when():
    path = play(lambda p: (-(p[0] ** 4),), (1.0,), step=1.0, steps=40, every=2)
    assert path.diverged_at is not None
    at = path.steps.tolist().index(path.diverged_at)
    assert np.isfinite(path.flat()[:at]).all()
    assert play(bilinear, (1.0, 1.0), steps=2).diverged_at is None


def test_two_timescales():
    path = play(bilinear, (1.0, 1.0), step=(0.3, 0.05), steps=3)
    S = np.array([[1, -0.3], [0.05, 1]])
    assert np.abs(path.flat()[-1] - np.linalg.matrix_power(S, 3) @ [1, 1]).max() < 1e-14


def test_a_number_is_sgd_and_optimisers_may_be_mixed():
    by_number = play(bilinear, (1.0, 1.0), rule="extragradient", step=(0.1, 0.2), steps=5)
    mixed = play(bilinear, (1.0, 1.0), rule="extragradient", step=(optax.sgd(0.1), 0.2), steps=5)
    assert np.abs(by_number.flat() - mixed.flat()).max() < 1e-15


def robust(step: int = 0) -> tuple:
    X, Y = robust_logistic_data()
    start = np.random.default_rng(1).normal(scale=0.1, size=(2, 20))
    return X, Y, RobustLogistic(X, Y, 30.0), (start[0], start[1])


def test_stochastic_play_is_an_independent_loop():
    X, Y, game, start = robust()
    index = np.random.default_rng(2).integers(30, size=300)
    path = play(game.sample, start, step=(0.3, 1e-4), steps=300, data=(X, Y), index=index)
    theta, phi = start[0].copy(), start[1].copy()
    for i in index:
        weight = -Y[i] * expit(-Y[i] * (X[i] - phi) @ theta)
        d_theta, d_phi = weight * (X[i] - phi), -weight * theta - 30 * phi
        theta, phi = theta - 0.3 * d_theta, phi + 1e-4 * d_phi
    assert np.abs(path.flat()[-1] - np.concatenate([theta, phi])).max() < 1e-10


def test_stochastic_play_in_batches_and_with_records():
    X, Y, game, start = robust()
    index = np.random.default_rng(3).integers(30, size=(6, 4))
    path = play(game.sample, start, step=0.01, steps=6, every=3, data=(X, Y), index=index)
    theta, phi = start[0].copy(), start[1].copy()
    for rows in index:
        x, y = X[rows], Y[rows]
        weight = -y * expit(-y * ((x - phi) @ theta))
        d_theta, d_phi = (weight[:, None] * (x - phi)).mean(0), -weight.mean() * theta - 30 * phi
        theta, phi = theta - 0.01 * d_theta, phi + 0.01 * d_phi
    assert path.flat().shape == (3, 40)
    assert np.abs(path.flat()[-1] - np.concatenate([theta, phi])).max() < 1e-13


def test_without_an_index_every_step_sees_all_the_data():
    X, Y, game, start = robust()
    whole = play(game, start, step=0.01, steps=3)
    given = play(game.sample, start, step=0.01, steps=3, data=(X, Y))
    assert np.abs(whole.flat() - given.flat()).max() < 1e-15


def zero_sum(M: np.ndarray):
    return lambda p: (p[0] @ M @ p[1], -(p[0] @ M @ p[1]))


@pytest.mark.parametrize(
    ("M", "mix"), [(RPS, [1 / 3] * 3), (BIASED, [0.25, 0.5, 0.25])], ids=["rps", "biased"]
)
def test_the_simplex_game(M, mix):
    """Simultaneous and alternating steps stay off the mixture; those that look ahead find it."""
    start = (np.array([0.8, 0.1, 0.1]), np.array([0.2, 0.5, 0.3]))
    gap = {}
    for rule in (
        "simultaneous",
        "alternating",
        "extragradient",
        "past-extragradient",
        "optimistic",
    ):
        path = play(
            zero_sum(M), start, rule=rule, step=0.1, steps=4000, every=400, sets=(Simplex(),) * 2
        )
        flat = path.flat()
        assert flat.min() >= 0
        assert np.abs(flat.reshape(-1, 2, 3).sum(axis=2) - 1).max() < 1e-12
        gap[rule] = np.abs(flat[-1] - [*mix, *mix]).max()
    for rule in ("extragradient", "past-extragradient", "optimistic"):
        assert gap[rule] < 1e-8
    assert gap["simultaneous"] > 0.1
    assert gap["alternating"] > 0.01


def test_projected_steps_are_the_definition():
    """Extragradient projects both points; optimistic projects once."""
    x0, y0 = np.array([0.8, 0.1, 0.1]), np.array([0.0, 0.5, 0.5])

    def nearest(v: np.ndarray) -> np.ndarray:  # by bisection on the threshold
        low, high = v.min() - 1, v.max()
        for _ in range(100):
            mid = (low + high) / 2
            low, high = (mid, high) if np.maximum(v - mid, 0).sum() > 1 else (low, mid)
        return np.maximum(v - low, 0)

    def v(x: np.ndarray, y: np.ndarray) -> tuple:
        return BIASED @ y, -BIASED.T @ x

    def moved(x: np.ndarray, y: np.ndarray, gx: np.ndarray, gy: np.ndarray) -> tuple:
        return nearest(x - 0.4 * gx), nearest(y - 0.4 * gy)

    options = {"step": 0.4, "steps": 2, "sets": (Simplex(), Simplex())}
    x, y, past = x0, y0, None
    for _ in range(2):
        x, y = moved(x, y, *v(*moved(x, y, *v(x, y))))
    found = play(zero_sum(BIASED), (x0, y0), rule="extragradient", **options).flat()[-1]
    assert np.abs(found - [*x, *y]).max() < 1e-12
    x, y = x0, y0
    for _ in range(2):
        g = v(x, y)
        push = g if past is None else tuple(2 * a - b for a, b in zip(g, past, strict=True))
        x, y = moved(x, y, *push)
        past = g
    found = play(zero_sum(BIASED), (x0, y0), rule="optimistic", **options).flat()[-1]
    assert np.abs(found - [*x, *y]).max() < 1e-12


def test_adam_on_a_box_rests_at_the_constrained_optimum():
    """min (x-2)² + (y+3)² on [-1, 1]² is at (1, -1)."""
    path = play(
        lambda p: (jnp.sum((p[0] - jnp.array([2.0, -3.0])) ** 2),),
        (np.zeros(2),),
        step=optax.adam(0.1),
        steps=100,
        sets=(Box(-1.0, 1.0),),
    )
    assert path.flat()[-1].tolist() == [1.0, -1.0]


def test_one_set_for_one_player():
    path = play(bilinear, (3.0, 1.0), steps=50, sets=(Ball(0.5), None))
    x, y = path.flat()[1:].T
    assert np.abs(x).max() < 0.5 + 1e-15
    assert np.abs(y).max() > 0.9


BOTH = (1.0, 1.0)
SAMPLES = {"data": np.arange(5.0), "steps": 2}
MOVING = (Simplex(), Simplex())


SAM = optax.contrib.sam(optax.sgd(1.0), optax.sgd(1.0), opaque_mode=True)


def sampled(players: tuple, sample: jax.Array) -> tuple:
    return players[0] * players[1] * jnp.mean(sample), -players[0] * players[1]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"step": 0.0}, "above 0"),
        ({"step": -0.1}, "above 0"),
        ({"step": float("nan")}, "above 0"),
        ({"step": float("inf")}, "above 0"),
        ({"step": None}, "above 0"),
        ({"step": "0.1"}, "above 0"),
        ({"step": (0.1, 0.1, 0.1)}, "3 step sizes for 2 players"),
        ({"step": optax.lbfgs()}, "needs more than a gradient"),
        ({"step": optax.polyak_sgd()}, "needs more than a gradient"),
        ({"step": (0.1, SAM)}, "more than a gradient"),
        ({"steps": 0}, "whole numbers"),
        ({"steps": 10.0}, "whole numbers"),
        ({"steps": 10, "every": 3}, "multiple of every"),
        ({"rule": "extragradiant"}, "did you mean 'extragradient'"),
        ({"rule": "proximal", "step": optax.adam(0.1)}, "plain gradient steps"),
        ({"rule": "proximal", "sets": (Box(0.0, 1.0), None)}, "no projected form"),
        ({"rule": "consensus", "sets": (Box(0.0, 1.0), None)}, "more than the field"),
        ({"rule": "symplectic", "sets": (Box(0.0, 1.0), None)}, "more than the field"),
        ({"sets": MOVING, "step": optax.adam(0.1)}, "Simplex"),
        ({"sets": (None, Ball(1.0)), "step": optax.adam(0.1)}, "Ball"),
        ({"sets": (None,)}, "1 sets for 2 players"),
        ({"index": [0] * 1000}, "index without data"),
    ],
)
def test_what_is_refused(options, match):
    with pytest.raises(InputError, match=match):
        play(bilinear, BOTH, **options)


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ([0, 1, 2], r"index \(3,\) of int64 for 2 steps"),
        (3, "for 2 steps"),
        ([0.0, 1.0], "whole numbers"),
        ([0, 5], r"from 0 to 5 for \[5\] samples"),
        ([-1, 0], "count from 0"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(index, match):
    with pytest.raises(InputError, match=match):
        play(sampled, BOTH, index=index, **SAMPLES)


def test_data_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="same number of samples"):
        play(
            lambda p, s: sampled(p, s[0]),
            BOTH,
            data=(np.arange(5.0), np.arange(4.0)),
            index=[0, 3],
            steps=2,
        )


def test_losses_written_for_batches_are_tried_on_a_batch():
    play(
        lambda p, s: sampled(p, jax.vmap(jnp.sin)(s)),
        BOTH,
        data=np.arange(5.0),
        index=[[0, 1], [2, 3]],
        steps=2,
    )


@pytest.mark.parametrize(
    ("start", "match"),
    [
        ((), "must be a tuple"),
        (np.ones(2), "must be a tuple"),
        ((1.0, np.zeros(0)), "player 2 is empty"),
        ((1.0, ()), "player 2 is empty"),
        ((None, 1.0), "player 1 is empty"),
        ((1.0, np.nan), "player 2 is empty or not finite"),
        ((1.0, "a"), "not numeric"),
        ((1.0, 1j), "not numeric"),
        ((np.array([[1, 2], [3]], dtype=object), 1.0), "not numeric"),
    ],
)
def test_players_that_are_refused(start, match):
    with pytest.raises(InputError, match=match):
        as_players(start)


@pytest.mark.parametrize(
    ("losses", "match"),
    [
        (lambda p: p[0] * p[1], "2 players but a single float64"),
        (lambda p: (p[0] * p[1],), "2 players but a tuple of float64"),
        (lambda p: (p[0], p[1], p[0]), "2 players but a tuple of"),
        (lambda p: (p[0] * jnp.ones(2), p[1]), r"float64\[2\]"),
        (lambda p: (p[0] * p[1], 0), r"int\d+\[\]"),
        (lambda p: {"a": p[0], "b": p[1]}, "a single dict"),
        (lambda p: (np.log(p[0]), p[1]), "TracerArrayConversionError"),
        (lambda p: (p[2], p[0]), "IndexError"),
    ],
)
def test_losses_that_are_refused(losses, match):
    with pytest.raises(InputError, match=match):
        check_losses(losses, as_players(BOTH))


def test_one_player_and_rules_with_settings():
    path = play(lambda p: (p[0] ** 2,), (1.0,), rule="extragradient", step=0.1, steps=3)
    assert np.abs(path.flat()[-1] - (1 - 0.2 + 0.04) ** 3).max() < 1e-15
    path = play(bilinear, BOTH, rule=Alternating(inner=2), step=0.1, steps=1)
    assert path.flat()[-1] == pytest.approx([0.8, 1.08], abs=1e-15)


def test_every_rule_plays_from_every_kind_of_tree():
    def losses(players: tuple) -> tuple:
        value = jnp.sum(players[0]["w"] * players[1][0])
        return value, -value

    start = ({"w": np.ones(3)}, [np.arange(3.0)])
    for rule in RULES:
        assert play(losses, start, rule=rule, steps=2).flat().shape == (3, 6)
