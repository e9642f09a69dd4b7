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
from scipy.special import expit, lambertw

from conftest import RULES
from jensen._errors import InputError
from jensen.games import rules
from jensen.games.field import Field
from jensen.games.rules import Alternating, Consensus, Optimistic, Rule, Symplectic, Update

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


def descent(eta: float) -> Update:
    return Update(
        lambda i, gradient, state, player: (jax.tree.map(lambda g: -eta * g, gradient), state)
    )


MEMORY = ("optimistic", "past-extragradient")
"""The rules that remember two numbers: the step before, and the field they saw last."""


def size(name: str) -> int:
    return 4 if name in MEMORY else 2


def step(rule: Rule, field: Field, eta: float) -> Any:
    """Return one step as a map of arrays: (x, y) or, with a memory, (x, y, memory)."""

    def run(point: jax.Array) -> jax.Array:
        players, memory = (point[0], point[1]), rule.init((point[0], point[1]))
        if point.shape[0] == 4:
            kept = (point[2], point[3])
            memory = (jnp.ones((), bool), kept) if isinstance(rule, Optimistic) else kept
        out = rule.step(field, descent(eta), players, ((), ()), memory)
        kept = [a for a in jax.tree.leaves(out.memory) if a.dtype != bool]
        return jnp.stack([*out.players, *kept])

    return run


def matrix(rule: Rule, field: Field, eta: float, n: int = 2) -> np.ndarray:
    return np.asarray(jax.jacfwd(step(rule, field, eta))(jnp.zeros(n)))


def radius(m: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(m)).max())


def closed_form(name: str, J: np.ndarray, eta: float) -> np.ndarray:
    """Return the rule's step matrix, from its definition in the papers."""
    (a, b), (d, c) = J
    A = (J - J.T) / 2
    ahead = np.hstack([ONE, -eta * ONE])  # x̃ = x - η g of (x, g)
    alternating = np.array([[1, 0], [-eta * d, 1 - eta * c]]) @ [[1 - eta * a, -eta * b], [0, 1]]
    return {
        "simultaneous": ONE - eta * J,
        "alternating": alternating,
        "extragradient": ONE - eta * J @ (ONE - eta * J),
        "past-extragradient": np.vstack([np.hstack([ONE, 0 * ONE]) - eta * J @ ahead, J @ ahead]),
        "optimistic": np.block([[ONE - 2 * eta * J, -ONE], [-eta * J, 0 * ONE]]),
        "consensus": ONE - eta * (J + 0.3 * J.T @ J),
        "symplectic": ONE - eta * (J + 0.7 * A.T @ J),
        "proximal": np.linalg.inv(ONE + eta * J),
    }[name]


def bilinear_radius(name: str, eta: float) -> float:
    roots = np.roots([1, -(1 - 2j * eta), -1j * eta])
    return {
        "simultaneous": np.sqrt(1 + eta**2),
        "alternating": 1.0,
        "extragradient": np.sqrt(1 - eta**2 + eta**4),
        "past-extragradient": np.abs(roots).max(),
        "optimistic": np.abs(roots).max(),
        "consensus": np.sqrt((1 - 0.3 * eta) ** 2 + eta**2),
        "symplectic": np.sqrt((1 - 0.7 * eta) ** 2 + eta**2),
        "proximal": 1 / np.sqrt(1 + eta**2),
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
    found = matrix(RULES[name](), linear(J), eta, size(name))
    assert np.abs(found - closed_form(name, J, eta)).max() < 1e-12


@pytest.mark.parametrize("eta", [0.05, 0.1, 0.4])  # ½ is a double root of optimistic
@pytest.mark.parametrize("name", RULES)
def test_the_radius_on_the_bilinear_game(name, eta):
    found = radius(matrix(RULES[name](), linear(BILINEAR), eta, size(name)))
    assert abs(found - bilinear_radius(name, eta)) < 1e-10


@pytest.mark.parametrize("name", MEMORY)
def test_optimistic_diverges_past_one_over_root_three(name):
    edge = 3**-0.5
    for eta, sign in ((edge - 1e-3, -1), (edge + 1e-3, 1)):
        assert sign * (radius(matrix(RULES[name](), linear(BILINEAR), eta, 4)) - 1) > 0
    assert abs(radius(matrix(RULES[name](), linear(BILINEAR), edge, 4)) - 1) < 1e-10


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


def test_optimistic_follows_its_definition_and_does_not_alias_its_previous_step():
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


def popov(v: Any, x: np.ndarray, eta: float, n: int) -> np.ndarray:
    """Popov's method as he writes it: the leading point first, then the step along its field."""
    lead, path = x, []
    for t in range(n):
        lead = x if t == 0 else x - eta * v(lead)
        x = x - eta * v(lead)
        path.append(x)
    return np.array(path)


def test_past_extragradient_is_popovs_method():
    want = popov(lambda x: GENERAL @ x, np.ones(2), 0.2, 6)
    assert np.abs(run(RULES["past-extragradient"](), linear(GENERAL), 0.2, 6) - want).max() < 1e-13


def test_the_leading_points_of_past_extragradient_step_as_optimistic_does():
    x = np.vstack([np.ones(2), run(RULES["past-extragradient"](), linear(GENERAL), 0.2, 6)])
    lead = 2 * x[1:] - x[:-1]  # x̃⁺ = x⁺ - η v(x̃), and x⁺ - x = -η v(x̃)
    want = lead[1:-1] - 0.4 * lead[1:-1] @ GENERAL.T + 0.2 * lead[:-2] @ GENERAL.T
    assert np.abs(lead[2:] - want).max() < 1e-13


def test_past_extragradient_sees_one_field_a_step_and_extragradient_two():
    seen: list[int] = []

    def losses(players: tuple) -> tuple:
        seen.append(1)
        return players[0] * players[1], -players[0] * players[1]

    counts = {}
    for name in ("simultaneous", "past-extragradient", "optimistic", "extragradient"):
        rule, players = RULES[name](), (jnp.ones(()), jnp.ones(()))
        seen.clear()
        rule.step(Field(losses), descent(0.1), players, ((), ()), rule.init(players))
        counts[name] = len(seen) / 2  # two players
    assert counts == {
        "simultaneous": 1,
        "past-extragradient": 1,
        "optimistic": 1,
        "extragradient": 2,
    }


@pytest.mark.parametrize(("J", "eta"), [(BILINEAR, 3.0), (GENERAL, 0.4)])
def test_proximal_solves_its_equation_off_the_origin(J, eta):
    end = run(RULES["proximal"](), linear(J), eta, 1)[0]
    assert np.abs(end + eta * J @ end - 1).max() < 1e-13


def test_proximal_on_a_curved_field():
    """x⁺ + η e^{x⁺} = x has the solution x - W(η eˣ), W Lambert's function."""
    field, eta, x = Field(lambda p: (jnp.exp(p[0]),)), 0.7, 2.0
    out = RULES["proximal"]().step(field, descent(eta), (jnp.asarray(x),), ((),), ())
    assert abs(float(out.players[0]) - (x - lambertw(eta * np.exp(x)).real)) < 1e-13


def test_proximal_solves_large_systems_from_products():
    """d = 100 is past the dense solver; min_x max_y xᵀMy."""
    M = np.random.default_rng(0).normal(size=(50, 50)) / 7
    field = Field(lambda p: (p[0] @ M @ p[1], -(p[0] @ M @ p[1])))
    x, y = np.ones(50), np.linspace(0, 1, 50)
    start = (jnp.asarray(x), jnp.asarray(y))
    rule = RULES["proximal"]()
    end = jax.jit(lambda p: rule.step(field, descent(0.5), p, ((), ()), ()).players)(start)
    S = np.block([[np.eye(50), 0.5 * M], [-0.5 * M.T, np.eye(50)]])
    want = np.linalg.solve(S, np.concatenate([x, y]))
    assert np.abs(np.concatenate([np.asarray(p) for p in end]) - want).max() < 1e-12


def adam_run(rule: Rule, n: int) -> tuple[Any, list[tuple], list[Any]]:
    optimiser = optax.adam(0.1)
    seen: list[tuple] = []

    def change(i: int, gradient: Any, state: Any, player: Any) -> tuple:
        seen.append((i, float(gradient), int(state[0].count)))
        return optimiser.update(gradient, state, player)

    players = (jnp.asarray(1.0), jnp.asarray(1.0))
    states, memory = tuple(optimiser.init(p) for p in players), rule.init(players)
    for _ in range(n):
        out = rule.step(linear(BILINEAR), Update(change), players, states, memory)
        players, states, memory = out.players, out.states, out.memory
    return players, seen, list(states)


@pytest.mark.parametrize("name", [name for name in RULES if name != "proximal"])
def test_adam_advances_once_a_step(name):
    _, _, states = adam_run(RULES[name](), 3)
    assert [int(state[0].count) for state in states] == [3, 3]


def test_only_the_proximal_rule_needs_plain_steps():
    assert [name for name in RULES if RULES[name]().plain_steps_only] == ["proximal"]


@pytest.mark.parametrize("name", ["extragradient", "past-extragradient"])
def test_the_extrapolation_stays_out_of_adams_moments(name):
    _, seen, states = adam_run(RULES[name](), 2)
    assert [count for _, _, count in seen] == [0] * 4 + [1] * 4
    # the moments are those of the two gradients at the points ahead, calls 3, 4 and 7, 8
    for i in (0, 1):
        ahead = [g for j, (player, g, _) in enumerate(seen) if player == i and j % 4 >= 2]
        mean = 0.9 * 0.1 * ahead[0] + 0.1 * ahead[1]
        assert abs(float(states[i][0].mu) - mean) < 1e-12


def optimistic_adam(eta: float, n: int) -> np.ndarray:
    """Algorithm 1 of Daskalakis et al. 2018, written from the paper: w - 2ηa_t + ηa_{t-1}."""
    w, m, s, before = np.ones(2), np.zeros(2), np.zeros(2), None
    for t in range(1, n + 1):
        g = np.array([w[1], -w[0]])
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
        a = (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        w = w - eta * a if before is None else w - 2 * eta * a + eta * before
        before = a
    return w


def test_optimistic_over_adam_is_optimistic_adam():
    players, _, _ = adam_run(RULES["optimistic"](), 7)
    assert np.abs(np.array(players) - optimistic_adam(0.1, 7)).max() < 1e-12


def test_losses_and_gradients_are_those_at_the_point():
    for name in ("simultaneous", "extragradient", "optimistic", "consensus", "symplectic"):
        rule, players = RULES[name](), (jnp.asarray(2.0), jnp.asarray(3.0))
        out = rule.step(linear(GENERAL), descent(0.1), players, ((), ()), rule.init(players))
        assert np.allclose(jnp.stack(out.gradients), GENERAL @ [2, 3])
        assert np.allclose(out.losses[0], 0.7 * 2 + 1.3 * 6)


def test_players_may_be_trees():
    field = Field(lambda p: (jnp.sum(p[0]["w"] * p[1][0]), -jnp.sum(p[0]["w"] * p[1][0])))
    players = ({"w": jnp.ones(3)}, (jnp.arange(3.0),))
    for make in RULES.values():
        rule = make()
        out = rule.step(field, descent(0.1), players, ((), ()), rule.init(players))
        assert jax.tree.structure(out.players) == jax.tree.structure(players)
    minimised = Field(lambda p: (p[0] ** 2,))
    assert float(minimised.v((jnp.asarray(3.0),))[0]) == 6


@pytest.mark.parametrize(
    ("name", "meant"), [("extragradiant", "extragradient"), ("Optimistic", "optimistic")]
)
def test_an_unknown_rule_is_refused_with_the_nearest(name, meant):
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        rules.rule(name)
