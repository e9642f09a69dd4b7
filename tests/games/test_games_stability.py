"""Verdicts of the built-in games against their closed forms, and games at the edge of certainty."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import RULES
from jensen._errors import InputError
from jensen.games.builtin import NamedGame, bilinear, dirac_gan, gaussian_gan, robust_logistic
from jensen.games.stability import stability


def game(losses, *start: float) -> NamedGame:
    names = tuple(f"player {i}" for i in range(len(start)))
    return NamedGame("made here", losses, tuple(np.array(s) for s in start), names)


def ordered(values: np.ndarray) -> np.ndarray:
    return values[np.lexsort((values.imag, -values.real.round(9)))]


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 1.5, 3.0])
def test_the_dirac_gan(gamma):
    """{-½, (-γ ± √(γ² - 1))/2}; at γ = 1 the root is double and defective."""
    found = stability(dirac_gan(gamma), starts=8)
    root = np.sqrt(complex(gamma**2 - 1))
    want = ordered(np.array([-0.5, (-gamma + root) / 2, (-gamma - root) / 2]))
    tolerance = 1e-7 if gamma == 1 else 1e-10
    assert np.abs(ordered(found.spectrum.values) - want).max() < tolerance
    assert np.abs(found.point).max() < 1e-12
    assert found.continuous == ("marginal" if gamma == 0 else "stable")
    if gamma:
        assert {r.verdict for r in found.rules.values()} == {"stable"}
    inconclusive = any("inconclusive" in line for line in found.remarks)
    assert inconclusive == (gamma == 0)
    assert any("rotates" in line for line in found.remarks) == (gamma < 0.7)


def test_the_rules_of_the_undamped_dirac_gan():
    found = stability(dirac_gan(0.0), starts=4)
    assert set(found.rules) == set(RULES)
    verdicts = {name: rule.verdict for name, rule in found.rules.items()}
    assert verdicts["simultaneous"] == "unstable"
    assert verdicts["alternating"] == "marginal"
    for name in ("extragradient", "past-extragradient", "optimistic", "proximal"):
        assert verdicts[name] == "stable"
    # λ = ±i/2 and -½: extragradient's edge is η = 2, optimistic's 2/√3 before -½'s 4/3
    assert found.rules["extragradient"].largest_stable_step == pytest.approx(2.0, rel=1e-9)
    assert found.rules["optimistic"].largest_stable_step == pytest.approx(2 / 3**0.5, rel=1e-9)
    assert found.rules["proximal"].largest_stable_step == np.inf
    assert found.spectrum.rotation == np.inf


def test_the_bilinear_game_has_the_known_radii():
    found = stability(bilinear(dim=3), step=0.2, starts=2)
    want = {
        "simultaneous": 1.04**0.5,
        "alternating": 1.0,
        "extragradient": (1 - 0.04 + 0.0016) ** 0.5,
        "proximal": 1.04**-0.5,
        "consensus": (0.98**2 + 0.04) ** 0.5,  # γ = 0.1, the rule's default
        "symplectic": (0.98**2 + 0.04) ** 0.5,
    }
    for name, radius in want.items():
        assert abs(found.rules[name].radius - radius) < 1e-10
    assert found.rules["alternating"].verdict == "marginal"
    assert found.rules["alternating"].largest_stable_step == 0


@pytest.mark.slow
def test_robust_logistic_is_stable_and_its_largest_step_is_the_formula():
    found = stability(robust_logistic(rows=12, columns=4), starts=2)
    assert found.continuous == "stable"
    values = found.spectrum.values
    edge = np.min(-2 * values.real / np.abs(values) ** 2)
    plain = found.rules["simultaneous"]
    assert plain.largest_stable_step == pytest.approx(edge, rel=1e-9)
    assert found.steps == (0.02, 0.02)  # λ = 30 asks for a smaller step than the other games
    assert plain.verdict == ("stable" if edge > 0.02 else "unstable")


@pytest.mark.slow
def test_the_penalty_damps_the_gaussian_gan():
    """Stable without one already, by the discriminator's own curvature; but it turns far longer."""
    bare, damped = (stability(gaussian_gan(gamma=g), starts=2) for g in (0.0, 1.0))
    assert bare.continuous == damped.continuous == "stable"
    assert damped.spectrum.rotation < bare.spectrum.rotation


@pytest.mark.parametrize(
    "losses",
    [
        lambda p: (p[0] ** 4 / 4,),
        lambda p: (-(p[0] ** 4) / 4,),
        lambda p: (p[0] ** 3 / 3,),
        lambda p: (p[0] ** 6 / 6,),
    ],
    ids=["x4", "-x4", "x3", "x6"],
)
def test_at_a_degenerate_root_no_verdict_is_certain(losses):
    """The true Jacobian is 0; what is computed beside the root is not, and must not be trusted."""
    found = stability(game(losses, 0.7), starts=4)
    assert abs(found.point[0]) < 1e-3
    assert found.continuous == "marginal"
    assert {r.verdict for r in found.rules.values()} == {"marginal"}


def test_a_degenerate_player_beside_a_stable_one():
    found = stability(game(lambda p: (p[0] ** 4 / 4, p[1] ** 2), 0.7, 0.7), starts=4)
    assert found.continuous == "marginal"
    assert {r.verdict for r in found.rules.values()} <= {"marginal"}


def test_a_singular_jacobian_on_a_line_of_equilibria():
    found = stability(game(lambda p: ((p[0] + p[1] - 1) ** 2,) * 2, 0.3, 0.4), starts=2)
    assert found.continuous == "marginal"
    assert np.abs(ordered(found.spectrum.values) - [0, -4]).max() < 1e-12
    unstable = stability(game(lambda p: (-((p[0] + p[1] - 1) ** 2),) * 2, 0.3, 0.4), starts=2)
    assert unstable.continuous == "unstable"


def test_a_saddle_and_its_other_points():
    """x² (x² - 2) has minima at ±1 and a maximum at 0."""
    found = stability(game(lambda p: (p[0] ** 4 - 2 * p[0] ** 2,), 0.01), starts=16)
    assert abs(found.point[0]) < 1e-9
    assert found.continuous == "unstable"
    assert sorted(round(float(x[0])) for x, _ in found.points) == [-1, 1]
    assert {verdict for _, verdict in found.points} == {"stable"}


def test_two_timescales_reach_the_rules():
    found = stability(bilinear(curvature=0.5), step=[0.3, 0.05], starts=2)
    S = np.eye(2) + np.diag([0.3, 0.05]) @ np.array([[-0.5, -1], [1, -0.5]])
    assert found.rules["simultaneous"].radius == pytest.approx(
        np.abs(np.linalg.eigvals(S)).max(), abs=1e-12
    )
    assert found.steps == (0.3, 0.05)


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), [0.1], [0.1, 0.0]])
def test_steps_that_are_refused(step):
    with pytest.raises(InputError, match="one number above 0"):
        stability(bilinear(), step=step)


def test_plain_data():
    found = stability(dirac_gan(0.3), starts=2).to_dict()
    assert found["game"] == "dirac-gan"
    assert found["continuous"] == "stable"
    assert len(found["eigenvalues"]) == 3
    assert all(
        {"radius", "verdict", "largest_stable_step"} <= set(r) for r in found["rules"].values()
    )


def test_no_largest_step_is_told_from_a_missing_one():
    found = stability(bilinear(), starts=2).to_dict()["rules"]
    assert found["proximal"]["largest_stable_step"] is None
    assert found["proximal"]["no_largest_step"]
    assert not found["simultaneous"]["no_largest_step"]


def test_a_game_without_a_stationary_point_is_refused():
    with pytest.raises(InputError, match="no stationary point"):
        stability(game(lambda p: (jax.nn.softplus(-p[0]) + 0 * jnp.sum(p[0]),), 0.5), starts=4)
