r"""Every rule against its closed form, on linear games and on the Dirac-GAN.

A linear game has the field v(x) = J x with J = [[a, b], [d, c]]; one step of a rule is a matrix,
which automatic differentiation reads off the code. The bilinear game min_x max_y xy has
J = [[0, 1], [-1, 0]]. The Dirac-GAN (Mescheder et al. 2018, arXiv:1801.04406) with R₁ weight γ
has, at its equilibrium, J = [[0, ½], [-½, γ]].
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit

from conftest import RULES
from jensen._errors import InputError
from jensen.games import rules
from jensen.games.field import Field
from jensen.games.rules import Alternating, Consensus, Rule, Symplectic

BILINEAR = np.array([[0.0, 1.0], [-1.0, 0.0]])
GENERAL = np.array([[0.7, 1.3], [-0.4, 0.2]])
ONE = np.eye(2)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def linear(J: np.ndarray) -> Field:
    (a, b), (d, c) = J.tolist()

    def losses(players: tuple) -> tuple:
        x, y = players
        return a * x**2 / 2 + b * x * y, c * y**2 / 2 + d * x * y

    return Field(losses)


def dirac_gan(gamma: float) -> Field:
    """Player 0 is the generator θ, player 1 the discriminator's slope ψ, its logit ψx."""

    def losses(players: tuple) -> tuple:
        theta, psi = players
        value = -jax.nn.softplus(-theta * psi)
        return value, -value + gamma * psi**2 / 2

    return Field(losses)


def descent(eta: float) -> Any:
    return lambda i, gradient, state, player: (player - eta * gradient, state)


def step(rule: Rule, field: Field, eta: float) -> Any:
    """Return one step as a map of arrays: (x, y) or, with a memory, (x, y, v⁻)."""

    def run(point: jax.Array) -> jax.Array:
        players, memory = (point[0], point[1]), rule.init((point[0], point[1]))
        if point.shape[0] == 4:
            memory = (jnp.ones((), bool), (point[2], point[3]))
        out = rule.step(field, descent(eta), players, ((), ()), memory)
        kept = jax.tree.leaves(out.memory)[1:]
        return jnp.stack([*out.players, *kept][: point.shape[0]])

    return run


def matrix(rule: Rule, field: Field, eta: float, n: int = 2) -> np.ndarray:
    return np.asarray(jax.jacfwd(step(rule, field, eta))(jnp.zeros(n)))


def radius(m: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(m)).max())


def closed_form(name: str, J: np.ndarray, eta: float) -> np.ndarray:
    """Return the rule's step matrix, from its definition in the papers."""
    (a, b), (d, c) = J
    A = (J - J.T) / 2
    alternating = np.array([[1, 0], [-eta * d, 1 - eta * c]]) @ [[1 - eta * a, -eta * b], [0, 1]]
    return {
        "simultaneous": ONE - eta * J,
        "alternating": alternating,
        "extragradient": ONE - eta * J @ (ONE - eta * J),
        "optimistic": np.block([[ONE - 2 * eta * J, eta * ONE], [J, 0 * ONE]]),
        "consensus": ONE - eta * (J + 0.3 * J.T @ J),
        "symplectic": ONE - eta * (J + 0.7 * A.T @ J),
    }[name]


def bilinear_radius(name: str, eta: float) -> float:
    roots = np.roots([1, -(1 - 2j * eta), -1j * eta])
    return {
        "simultaneous": np.sqrt(1 + eta**2),
        "alternating": 1.0,
        "extragradient": np.sqrt(1 - eta**2 + eta**4),
        "optimistic": np.abs(roots).max(),
        "consensus": np.sqrt((1 - 0.3 * eta) ** 2 + eta**2),
        "symplectic": np.sqrt((1 - 0.7 * eta) ** 2 + eta**2),
    }[name]


def test_every_rule_has_a_row():
    defined = {c for c in vars(rules).values() if isinstance(c, type) and issubclass(c, Rule)}
    assert set(RULES) == set(rules.RULES)
    assert {type(make()) for make in RULES.values()} == defined - {Rule}
    assert all(type(RULES[name]()) is type(rules.rule(name)) for name in RULES)


@pytest.mark.parametrize("J", [BILINEAR, GENERAL], ids=["bilinear", "general"])
@pytest.mark.parametrize("eta", [0.1, 0.7])
@pytest.mark.parametrize("name", RULES)
def test_the_step_is_the_closed_form(name, J, eta):
    n = 4 if name == "optimistic" else 2
    assert (
        np.abs(matrix(RULES[name](), linear(J), eta, n) - closed_form(name, J, eta)).max() < 1e-12
    )


@pytest.mark.parametrize("eta", [0.05, 0.1, 0.4])  # ½ is a double root of optimistic
@pytest.mark.parametrize("name", RULES)
def test_the_radius_on_the_bilinear_game(name, eta):
    n = 4 if name == "optimistic" else 2
    found = radius(matrix(RULES[name](), linear(BILINEAR), eta, n))
    assert abs(found - bilinear_radius(name, eta)) < 1e-10


def test_optimistic_diverges_past_one_over_root_three():
    edge = 3**-0.5
    for eta, sign in ((edge - 1e-3, -1), (edge + 1e-3, 1)):
        assert sign * (radius(matrix(RULES["optimistic"](), linear(BILINEAR), eta, 4)) - 1) > 0
    assert abs(radius(matrix(RULES["optimistic"](), linear(BILINEAR), edge, 4)) - 1) < 1e-10


def run(rule: Rule, field: Field, eta: float, n: int) -> np.ndarray:
    def one(carry: tuple, _: None) -> tuple:
        out = rule.step(field, descent(eta), carry[0], ((), ()), carry[1])
        return (out.players, out.memory), jnp.stack(out.players)

    start = (jnp.ones(()), jnp.ones(()))
    return np.asarray(jax.lax.scan(one, (start, rule.init(start)), None, n)[1])


@pytest.mark.parametrize(
    ("name", "want"),
    [("simultaneous", 2 * 1.01**200), ("extragradient", 2 * 0.9901**200)],
)
def test_two_hundred_steps_from_one_one(name, want):
    end = run(RULES[name](), linear(BILINEAR), 0.1, 200)[-1]
    assert abs((end**2).sum() / want - 1) < 1e-12
    known = {"simultaneous": "14.632", "extragradient": "0.2734"}[name]
    assert f"{want:.{len(known.split('.')[1])}f}" == known


def test_optimistic_follows_its_definition_and_does_not_alias_its_previous_gradient():
    x, before, want = np.ones(2), None, []
    for _ in range(6):
        v = GENERAL @ x
        x = x - 0.2 * (v if before is None else 2 * v - before)
        before = v
        want.append(x)
    assert np.abs(run(RULES["optimistic"](), linear(GENERAL), 0.2, 6) - want).max() < 1e-13


@pytest.mark.parametrize(
    ("gamma", "simultaneous", "alternating"),
    [(0.0, 1.0050, 1.0000), (0.3, 0.9747, 0.9695), (1.0, 0.9000, 0.9270)],
)
def test_the_dirac_gan(gamma, simultaneous, alternating):
    J = np.array([[0, 0.5], [-0.5, gamma]])
    for name, known in (("simultaneous", simultaneous), ("alternating", alternating)):
        m = matrix(RULES[name](), dirac_gan(gamma), 0.2)
        assert np.abs(m - closed_form(name, J, 0.2)).max() < 1e-10
        # at a double root (gamma = 1, simultaneous) an eigenvalue has half the digits
        assert abs(radius(m) - known) < 5e-5 + 1e-7


@pytest.mark.parametrize("name", ["consensus", "symplectic", "extragradient"])
def test_off_the_equilibrium_of_the_dirac_gan(name):
    """A field with a curved Jacobian: J at the point, not at the equilibrium."""
    p, gamma, eta = np.array([0.8, -0.5]), 0.3, 0.2

    def v(q: np.ndarray) -> np.ndarray:
        s = expit(-q[0] * q[1])
        return np.array([s * q[1], -s * q[0] + gamma * q[1]])

    s = expit(-p[0] * p[1])
    slope = -s * (1 - s)
    cross = s + slope * p[0] * p[1]
    J = np.array([[slope * p[1] ** 2, cross], [-cross, -slope * p[0] ** 2 + gamma]])
    direction = {
        "consensus": v(p) + 0.3 * J.T @ v(p),
        "symplectic": v(p) + 0.7 * (J - J.T).T @ v(p) / 2,
        "extragradient": v(p - eta * v(p)),
    }[name]
    found = step(RULES[name](), dirac_gan(gamma), eta)(jnp.asarray(p))
    assert np.abs(np.asarray(found) - (p - eta * direction)).max() < 1e-13


@pytest.mark.parametrize("J", [BILINEAR, GENERAL], ids=["bilinear", "general"])
@pytest.mark.parametrize("make", [Consensus, Symplectic])
def test_weight_zero_is_simultaneous(make, J):
    plain = matrix(RULES["simultaneous"](), linear(J), 0.3)
    assert np.abs(matrix(make(weight=0.0), linear(J), 0.3) - plain).max() < 1e-15


def test_alternating_makes_its_inner_steps():
    (a, b), (d, c) = GENERAL
    first = np.array([[1 - 0.1 * a, -0.1 * b], [0, 1]])
    second = np.array([[1, 0], [-0.1 * d, 1 - 0.1 * c]])
    want = second @ first @ first @ first
    assert np.abs(matrix(Alternating(inner=3), linear(GENERAL), 0.1) - want).max() < 1e-13


def adam_run(rule: Rule, n: int) -> tuple[Any, list[tuple], list[Any]]:
    optimiser = optax.adam(0.1)
    seen: list[tuple] = []

    def update(i: int, gradient: Any, state: Any, player: Any) -> tuple:
        seen.append((i, float(gradient), int(state[0].count)))
        change, state = optimiser.update(gradient, state, player)
        return optax.apply_updates(player, change), state

    players = (jnp.asarray(1.0), jnp.asarray(1.0))
    states, memory = tuple(optimiser.init(p) for p in players), rule.init(players)
    for _ in range(n):
        out = rule.step(linear(BILINEAR), update, players, states, memory)
        players, states, memory = out.players, out.states, out.memory
    return players, seen, list(states)


@pytest.mark.parametrize("name", RULES)
def test_adam_advances_once_a_step(name):
    _, _, states = adam_run(RULES[name](), 3)
    assert [int(state[0].count) for state in states] == [3, 3]


def test_extragradient_keeps_the_extrapolation_out_of_adams_moments():
    _, seen, states = adam_run(RULES["extragradient"](), 2)
    assert [count for _, _, count in seen] == [0] * 4 + [1] * 4
    # the moments are those of the two gradients at the points ahead, calls 3, 4 and 7, 8
    for i in (0, 1):
        ahead = [g for j, (player, g, _) in enumerate(seen) if player == i and j % 4 >= 2]
        mean = 0.9 * 0.1 * ahead[0] + 0.1 * ahead[1]
        assert abs(float(states[i][0].mu) - mean) < 1e-12


def test_losses_and_gradients_are_those_at_the_point():
    for name in ("simultaneous", "extragradient", "optimistic", "consensus", "symplectic"):
        rule, players = RULES[name](), (jnp.asarray(2.0), jnp.asarray(3.0))
        out = rule.step(linear(GENERAL), descent(0.1), players, ((), ()), rule.init(players))
        assert np.allclose(jnp.stack(out.gradients), GENERAL @ [2, 3])
        assert np.allclose(out.losses[0], 0.7 * 2 + 1.3 * 6)


def test_players_may_be_trees():
    field = Field(lambda p: (jnp.sum(p[0]["w"] * p[1][0]), -jnp.sum(p[0]["w"] * p[1][0])))
    players = ({"w": jnp.ones(3)}, (jnp.arange(3.0),))

    def update(i: int, gradient: Any, state: Any, player: Any) -> tuple:
        return jax.tree.map(lambda p, g: p - 0.1 * g, player, gradient), state

    for make in RULES.values():
        rule = make()
        out = rule.step(field, update, players, ((), ()), rule.init(players))
        assert jax.tree.structure(out.players) == jax.tree.structure(players)
    minimised = Field(lambda p: (p[0] ** 2,))
    assert float(minimised.v((jnp.asarray(3.0),))[0]) == 6


@pytest.mark.parametrize(
    ("name", "meant"), [("extragradiant", "extragradient"), ("Optimistic", "optimistic")]
)
def test_an_unknown_rule_is_refused_with_the_nearest(name, meant):
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        rules.rule(name)
