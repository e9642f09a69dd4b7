"""log Z, its error, and coverage: against closed forms, and on flows that are wrong on purpose."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.evaluation.certificate import Certificate, certify
from jensen.evaluation.target import Chains, log_densities, search

LOG_Z = -2.0


def normal(x, mean, sd):
    return -0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd) - 0.5 * jnp.log(2 * jnp.pi)


def bimodal(x):
    """Three quarters at -4, one at 4, on the line; ∫ = exp(LOG_Z)."""
    return LOG_Z + jnp.logaddexp(
        jnp.log(0.75) + normal(x[0], -4.0, 1.0), jnp.log(0.25) + normal(x[0], 4.0, 0.5)
    )


@pytest.fixture(scope="module")
def chains() -> Chains:
    return search(bimodal, 1, n_chains=512, n_temperatures=100, seed=1)


def judged(log_q, draws: np.ndarray, chains: Chains) -> Certificate:
    at = chains.points
    return certify(
        log_densities(log_q, draws),
        log_densities(bimodal, draws),
        chains,
        log_densities(log_q, at),
        log_densities(bimodal, at),
    )


def test_chains_find_both_modes_and_log_z(chains: Chains) -> None:
    shares = chains.shares
    right = shares[chains.points[:, 0] > 0].sum()
    ess = 1 / np.sum(shares**2)
    assert ess > 100
    assert abs(right - 0.25) < 4 * math.sqrt(0.25 * 0.75 / ess)  # false alarms: 6e-5
    found = np.log(np.mean(np.exp(chains.log_weights)))
    assert abs(found - LOG_Z) < 4 / math.sqrt(ess)


def test_resampled_points_have_the_weights_shares() -> None:
    few = Chains(np.array([[0.0], [1.0], [2.0]]), np.log([0.5, 0.25, 0.25]))
    rows = few.resampled(1000, 3)[:, 0]
    assert [int(np.sum(rows == v)) for v in (0, 1, 2)] == [500, 250, 250]


def test_a_flow_that_is_right_is_believed(chains: Chains) -> None:
    random = np.random.default_rng(0)
    left = random.uniform(size=4000) < 0.75
    x = np.where(left, random.normal(-4, 1, 4000), random.normal(4, 0.5, 4000))[:, None]
    found = judged(lambda x: bimodal(x) - LOG_Z, x, chains)
    assert found.trusted
    assert not found.warnings()
    assert abs(found.log_z - LOG_Z) < 1e-5  # every weight is Z, in float32
    assert abs(found.reverse_kl[0]) < 1e-5
    assert abs(found.forward_kl[0]) < 1e-5
    assert "can be believed" in found.verdict()


def test_a_wide_flow_has_the_error_it_states(chains: Chains) -> None:
    misses = []
    for seed in range(40):
        x = np.random.default_rng(seed).normal(0, 5, size=(2000, 1))
        found = judged(lambda x: normal(x[0], 0.0, 5.0), x, chains)
        misses.append((found.log_z - LOG_Z) / found.se)
    # standard normal scores: mean square 1 ± 0.22, false alarms 1e-3 each side
    assert 0.4 < np.mean(np.square(misses)) < 1.8


def test_a_dropped_mode_is_blind_to_its_own_draws_and_seen_by_the_chains(chains: Chains) -> None:
    x = np.random.default_rng(0).normal(-4, 1, size=(4000, 1))
    found = judged(lambda x: normal(x[0], -4.0, 1.0), x, chains)
    assert found.pareto_k < 0.7
    assert found.ess > 3900
    assert abs(found.log_z - (LOG_Z + math.log(0.75))) < 1e-3
    assert abs(found.missed - 0.25) < 4 * found.missed_se
    assert not found.trusted
    assert "misses mass" in found.verdict()
    assert abs(found.missed_at[0] - 4) < 3
    # with the chains' log Z: KL(q ‖ p) = -log 0.75, far above the 0 of its own weights
    assert abs(found.reverse_kl[0] + math.log(0.75)) < 4 * found.reverse_kl[1]


def test_a_narrow_flow_is_flagged(chains: Chains) -> None:
    x = np.random.default_rng(0).normal(-4, 0.5, size=(4000, 1))
    assert not judged(lambda x: normal(x[0], -4.0, 0.5), x, chains).trusted


def test_the_plain_data_has_the_contract_s_keys(chains: Chains) -> None:
    x = np.random.default_rng(0).normal(0, 5, size=(2000, 1))
    told = judged(lambda x: normal(x[0], 0.0, 5.0), x, chains).to_dict()
    assert set(told["log_z"]) == {"value", "se"}
    assert {"ess", "pareto_k", "verdict", "missed", "warnings"} <= set(told)


BAD = {
    "nan": (lambda x: jnp.where(x[0] > 1, jnp.nan, 0.0), "gives nan"),
    "inf": (lambda x: jnp.where(x[0] > 1, jnp.inf, 0.0), "gives inf"),
    "shape": (lambda x: x, r"gives shape \(2,\)"),
    "nothing": (lambda x: None, "gives a NoneType"),
    "raises": (lambda x: x @ jnp.ones(3), "fails: TypeError"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_density_that_cannot_be_used_is_refused_with_the_point(name: str) -> None:
    function, message = BAD[name]
    with pytest.raises(InputError, match=message) as told:
        log_densities(function, np.array([[0.0, 0.0], [2.0, 3.5]]))
    point = r"(2, 3.5)" if name in ("nan", "inf") else "(0, 0)"
    assert point in told.value.where


def test_minus_infinity_is_legal_outside_the_support_but_not_everywhere() -> None:
    box = lambda x: jnp.where(jnp.abs(x[0]) < 1, 0.0, -jnp.inf)  # noqa: E731
    found = search(box, 1, scale=2.0, n_chains=512, n_temperatures=20)
    alive = np.isfinite(found.log_weights)
    assert np.all(np.abs(found.points[alive]) < 1)
    z = np.mean(np.exp(found.log_weights))
    error = np.std(np.exp(found.log_weights)) / math.sqrt(512)
    assert abs(z - 2.0) < 4 * error + 0.05  # a chain that starts outside stays there
    with pytest.raises(InputError, match="-inf at all"):
        search(lambda x: -jnp.inf * jnp.ones(()), 1, n_chains=64, n_temperatures=5)


def test_the_mutant_mean_of_logs_would_be_seen(chains: Chains, monkeypatch) -> None:
    from jensen.evaluation import certificate

    real = certificate.summarised

    def mean_of_logs(log_w):
        _, se, ess, k = real(log_w)
        return np.mean(np.where(np.isfinite(log_w), log_w, 0), axis=1), se, ess, k

    monkeypatch.setattr(certificate, "summarised", mean_of_logs)
    x = np.random.default_rng(0).normal(0, 5, size=(2000, 1))
    found = judged(lambda x: normal(x[0], 0.0, 5.0), x, chains)
    assert abs(found.log_z - LOG_Z) > 3 * found.se


def test_keys_are_a_function_of_the_seed() -> None:
    a, b = (search(bimodal, 1, n_chains=64, n_temperatures=5, seed=s) for s in (0, 0))
    assert np.array_equal(a.points, b.points)
