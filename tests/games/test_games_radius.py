"""Radii and largest stable steps against closed forms, eigenvalue by eigenvalue.

With z = ηλ, λ an eigenvalue of the velocity's Jacobian:

    simultaneous 1 + z,   extragradient 1 + z + z²,   proximal 1/(1 - z),
    optimistic and past-extragradient the roots of μ² - (1 + 2z) μ + z = 0;

alternating, consensus and symplectic depend on the matrix, which is written out. Where two
eigenvalues of a step meet (optimistic at z = ±i/2, the Dirac-GAN at γ = 1, alternating at its own
meeting points) only half the digits are there: those points are left out, or held to 1e-7.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import RULES
from jensen._errors import InputError
from jensen.games.builtin import dirac_gan
from jensen.games.field import Field
from jensen.games.radius import quadratic_game, radius_of, spectral_radius, step_matrix
from jensen.games.spectrum import Spectrum, eigenvalues, jacobian
from jensen.games.stationary import stationary_points

TURN = np.array([[0.0, -1.0], [1.0, 0.0]])
SPECTRAL = ("simultaneous", "extragradient", "past-extragradient", "optimistic", "proximal")


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def by_formula(name: str, z: complex) -> float:
    if name == "proximal":
        return abs(1 / (1 - z))
    if name in ("optimistic", "past-extragradient"):
        return np.abs(np.roots([1, -(1 + 2 * z), z])).max()
    return abs({"simultaneous": 1 + z, "extragradient": 1 + z + z * z}[name])


def by_matrix(name: str, J: np.ndarray, eta: float, first: int) -> np.ndarray:
    """Return the step of a rule that is not spectral; J of the velocity, γ as in the law table."""
    one, d = np.eye(len(J)), len(J)
    v = -J  # the field's Jacobian
    own = np.diag([1.0] * first + [0.0] * (d - first))
    turns = (one - eta * (one - own) @ v) @ (one - eta * own @ v)
    twist = (v - v.T) / 2
    return {
        "alternating": turns,
        "consensus": one - eta * (v + 0.3 * v.T @ v),
        "symplectic": one - eta * (v + 0.7 * twist.T @ v),
    }[name]


def radius(matrix: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def test_the_spectral_rules_are_those_with_a_formula():
    assert [name for name in RULES if RULES[name]().spectral] == list(SPECTRAL)


@pytest.mark.parametrize("name", SPECTRAL)
def test_the_radius_of_every_eigenvalue(name):
    random = np.random.default_rng(0)
    values = random.normal(size=40) + 1j * random.normal(size=40)
    for eta in (1e-3, 0.2, 0.9):
        want = [by_formula(name, eta * z) for z in values]
        found = spectral_radius(RULES[name](), values.reshape(5, 8), eta)
        assert found.shape == (5, 8)
        assert np.abs(found.ravel() / want - 1).max() < 1e-10


def test_a_rule_without_a_formula_is_refused():
    with pytest.raises(InputError, match="Alternating does not follow from eigenvalues"):
        spectral_radius(RULES["alternating"](), 1j, 0.1)


def analysed(J: np.ndarray, name: str, eta: float, sizes: tuple, **changed: np.ndarray):
    spectrum = eigenvalues(J)
    steps = (eta,) * len(sizes)
    return radius_of(RULES[name](), J, spectrum, sizes, steps, **changed)


@pytest.mark.parametrize("eta", [0.05, 0.2, 0.7])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.5, 3.0])
@pytest.mark.parametrize("name", RULES)
def test_the_dirac_gan(name, gamma, eta):
    """The three-dimensional game (ψ₀, ψ₁, θ): eigenvalues -½ and (-γ ± √(γ² - 1))/2, h = η."""
    J = np.array([[-gamma, 0, -0.5], [0, -0.5, 0], [0.5, 0, 0]])
    root = np.sqrt(complex(gamma**2 - 1))
    values = np.array([-0.5, (-gamma + root) / 2, (-gamma - root) / 2])
    if name in SPECTRAL:
        want = max(by_formula(name, eta * z) for z in values)
    else:
        want = radius(by_matrix(name, J, eta, 2))
    game = dirac_gan(gamma)
    at = stationary_points(game.losses, game.start, starts=1)[0]
    found = jacobian(game.losses, at.players)
    assert np.abs(found - J).max() < 1e-12
    S = np.asarray(step_matrix(RULES[name](), jnp.asarray(J), (2, 1), jnp.full(2, eta)))
    assert abs(radius(S) - want) < 1e-10


@pytest.mark.parametrize(
    ("gamma", "simultaneous", "alternating"),
    [(0.0, 1.0050, 1.0000), (0.3, 0.9747, 0.9695), (1.0, 0.9000, 0.9270)],
)
def test_known_radii_of_the_dirac_gan(gamma, simultaneous, alternating):
    J = np.array([[-gamma, 0, -0.5], [0, -0.5, 0], [0.5, 0, 0]])
    spectrum = eigenvalues(J)
    for name, known in (("simultaneous", simultaneous), ("alternating", alternating)):
        found = radius_of(RULES[name](), J, spectrum, (2, 1), (0.2, 0.2))
        assert abs(found.radius - known) < 5e-5 + 1e-7
        want = "stable" if known < 1 else "marginal" if known == 1 else "unstable"
        assert found.verdict == want


@pytest.mark.parametrize("name", RULES)
def test_the_step_on_a_general_game(name):
    """Two players with two and three entries: formulas applied to the whole matrix."""
    random = np.random.default_rng(3)
    J = random.normal(size=(5, 5))
    for part in (slice(0, 2), slice(2, 5)):
        J[part, part] = (J[part, part] + J[part, part].T) / 2
    S = np.asarray(step_matrix(RULES[name](), jnp.asarray(J), (2, 3), jnp.full(2, 0.2)))
    if name in SPECTRAL:
        want = max(by_formula(name, 0.2 * z) for z in np.linalg.eigvals(J))
    else:
        assert np.abs(S - by_matrix(name, J, 0.2, 2)).max() < 1e-13
        want = radius(by_matrix(name, J, 0.2, 2))
    assert abs(radius(S) - want) < 1e-10
    found = radius_of(RULES[name](), J, eigenvalues(J), (2, 3), (0.2, 0.2))
    assert abs(found.radius - want) < 1e-10


def test_the_quadratic_game_has_the_given_jacobian():
    J = np.array([[1.0, 2.0, 3.0], [2.0, -1.0, 0.5], [0.3, 0.7, 2.0]])
    game = quadratic_game(jnp.asarray(J), (2, 1))
    x = np.array([0.3, -0.2, 0.9])
    v = Field(game).v((jnp.asarray(x[:2]), jnp.asarray(x[2:])))
    assert np.abs(np.concatenate(v) + J @ x).max() < 1e-15


def test_two_timescales():
    J = np.array([[-0.2, -1.0], [1.0, -0.1]])
    want = np.eye(2) + np.diag([0.3, 0.05]) @ J
    found = radius_of(RULES["simultaneous"](), J, eigenvalues(J), (1, 1), (0.3, 0.05))
    assert abs(found.radius - radius(want)) < 1e-12
    # along steps (η, η/6): radius 1 at the first η with det S = 1, as the roots are a pair there
    a, b = 0.2 + 0.1 / 6, (0.02 + 1) / 6
    assert found.largest_stable_step == pytest.approx(a / b, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "values", "want"),
    [
        ("simultaneous", [-0.3 + 1j, -0.3 - 1j, -2.0], min(0.6 / 1.09, 1.0)),
        ("simultaneous", [-1e-4 + 1j, -1e-4 - 1j], 2e-4 / (1 + 1e-8)),
        ("simultaneous", [-3.0], 2 / 3),
        ("simultaneous", [1j, -1j], 0.0),
        ("simultaneous", [0.1, -1.0], 0.0),
        ("extragradient", [1j, -1j], 1.0),
        ("extragradient", [-2.0], 0.5),
        ("extragradient", [0.01 + 1j, 0.01 - 1j], 0.0),
        ("optimistic", [1j, -1j], 3**-0.5),
        ("past-extragradient", [2j, -2j], 3**-0.5 / 2),
        ("optimistic", [-1.0], 2 / 3),
        ("proximal", [1j, -1j, -5.0], np.inf),
        ("proximal", [0.5, -1.0], 0.0),
        ("simultaneous", [0.0], 0.0),
        ("optimistic", [0.0, -1.0], 0.0),
    ],
)
def test_the_largest_stable_step_from_eigenvalues(name, values, want):
    """1 + z leaves at -2 Re λ/|λ|²; extragradient's 1 + z + z² on ±i at 1 and on -a at 1/a."""
    blocks, i = np.zeros((len(values), len(values))), 0
    while i < len(values):
        z = complex(values[i])
        if z.imag:
            blocks[i : i + 2, i : i + 2] = [[z.real, -z.imag], [z.imag, z.real]]
            i += 2
        else:
            blocks[i, i] = z.real
            i += 1
    found = analysed(
        blocks, name, 0.01, (len(values),) if len(values) == 1 else (1, len(values) - 1)
    )
    assert found.largest_stable_step == pytest.approx(want, rel=1e-5 if want < 1e-3 else 1e-9)


def test_the_largest_stable_step_from_matrices():
    found = analysed(TURN, "alternating", 0.5, (1, 1))
    assert (found.verdict, found.largest_stable_step) == ("marginal", 0.0)
    assert abs(found.radius - 1) < 1e-12
    # consensus on ±i: |1 - 0.3η + iη| = 1 at η = 0.6/1.09; symplectic at 1.4/1.49
    assert analysed(TURN, "consensus", 0.1, (1, 1)).largest_stable_step == pytest.approx(
        0.6 / 1.09, rel=1e-9
    )
    assert analysed(TURN, "symplectic", 0.1, (1, 1)).largest_stable_step == pytest.approx(
        1.4 / 1.49, rel=1e-9
    )


def test_alternating_on_the_dirac_gan_to_its_last_stable_step():
    """S has determinant 1 - ηγ and trace 2 - ηγ - η²/4; a root -1 enters at tr + det + 1 = 0."""
    gamma = 0.3
    J = np.array([[-gamma, -0.5], [0.5, 0.0]])
    want = np.roots([-0.25, -2 * gamma, 4]).max()
    assert analysed(J, "alternating", 0.1, (1, 1)).largest_stable_step == pytest.approx(
        want, rel=1e-9
    )


def test_verdicts_at_a_given_step():
    want = {
        "simultaneous": "unstable",
        "alternating": "marginal",
        "extragradient": "stable",
        "past-extragradient": "stable",
        "optimistic": "stable",
        "consensus": "stable",
        "symplectic": "stable",
        "proximal": "stable",
    }
    assert {name: analysed(TURN, name, 0.3, (1, 1)).verdict for name in RULES} == want


@pytest.mark.parametrize("name", RULES)
def test_an_uncertain_jacobian_gives_an_uncertain_verdict(name):
    """J = -1e-8 ± 1e-7: no rule's radius can be told from 1."""
    J = np.array([[-1e-8]])
    spectrum = Spectrum(np.array([-1e-8 + 0j]), np.array([1e-7]), True)
    found = radius_of(RULES[name](), J, spectrum, (1,), (0.2,))
    assert found.verdict == "marginal"
    assert found.largest_stable_step == 0


@pytest.mark.parametrize("name", ["alternating", "simultaneous"])
def test_a_defective_step_is_not_called_stable(name):
    """Next to a Jordan block of order 3 at 0, with another eigenvalue that is certain."""
    Q = np.array([[1, 2, 0, 1], [0, 1, 3, 0], [0, 0, 1, -2], [0, 0, 0, 1.0]])
    core = np.diag([0, 0, 0, -1.0]) + np.diag([1, 1, 0.0], 1)
    J = Q @ core @ np.linalg.inv(Q)
    found = radius_of(RULES[name](), J, eigenvalues(J), (1, 1, 1, 1), (0.1,) * 4)
    assert found.verdict == "marginal"
