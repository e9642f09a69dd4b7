"""Kernel densities against sums written out, and the choice of bandwidth against a plain search."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jensen.models.kernel import DIRECT, KernelRows, kernel_rows


def plain(rows: np.ndarray, h: float, x: np.ndarray) -> float:
    return float(np.log(np.mean(np.prod(stats.norm.pdf(x, rows, h), axis=1))))


@pytest.mark.parametrize("dim", [1, 2, DIRECT, DIRECT + 4])
def test_log_prob_is_the_mean_of_the_kernels(dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows, x = rng.normal(size=(30, dim)), rng.normal(size=(5, dim))
    model = KernelRows(jnp.asarray(rows, jnp.float32), jnp.log(jnp.float32(0.7)), jnp.zeros(0), ())
    found = jax.vmap(model.log_prob)(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, [plain(rows, 0.7, each) for each in x], atol=3e-5)


def test_the_density_integrates_to_one_over_numbers_and_codes() -> None:
    rows = np.array([[0.0, 0, 1], [1.0, 2, 0], [-0.5, 2, 1]])
    model = KernelRows(
        jnp.asarray(rows, jnp.float32),
        jnp.log(jnp.float32(0.4)),
        jnp.asarray([0.2, 0.3], jnp.float32),
        (3, 2),
    )
    grid = np.linspace(-6.0, 6.0, 2001)
    total = 0.0
    for a in range(3):
        for b in range(2):
            x = np.stack([grid, np.full_like(grid, a), np.full_like(grid, b)], axis=1)
            density = np.exp(jax.vmap(model.log_prob)(jnp.asarray(x, jnp.float32)))
            total += integrate.simpson(density, x=grid)
    assert total == pytest.approx(1.0, abs=1e-5)


def test_samples_follow_the_kernels() -> None:
    """Chi-squared of codes and a Kolmogorov–Smirnov test of numbers; each fails 1 time in 1,000."""
    rows = np.array([[-4.0, 0], [4.0, 2]])
    model = KernelRows(
        jnp.asarray(rows, jnp.float32), jnp.zeros(()), jnp.asarray([0.4], jnp.float32), (3,)
    )
    drawn = np.asarray(jax.vmap(model.sample)(jax.random.split(jax.random.key(0), 4000)))
    left = drawn[drawn[:, 0] < 0]
    assert stats.kstest(left[:, 0], stats.norm(-4.0, 1.0).cdf).pvalue > 1e-3
    counts = np.bincount(left[:, 1].astype(int), minlength=3)
    assert stats.chisquare(counts, len(left) * np.array([0.6, 0.2, 0.2])).pvalue > 1e-3


def test_the_bandwidth_maximises_the_likelihood_of_left_out_rows() -> None:
    rows = np.random.default_rng(3).normal(size=(80, 2))
    chosen = float(np.exp(kernel_rows(rows, (), 0).log_bandwidth))

    def left_out(h: float) -> float:
        each = [plain(np.delete(rows, i, axis=0), h, rows[i]) for i in range(len(rows))]
        return float(np.mean(sorted(each)[4:]))  # without the 5% that stand most alone

    best = left_out(chosen)
    assert all(left_out(chosen * factor) <= best + 1e-9 for factor in (0.75, 1.3))
    assert best > max(left_out(chosen / 4), left_out(chosen * 4)) + 0.1


def test_a_few_far_rows_do_not_blur_the_others() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(300, 2))
    far = np.concatenate([rows, 1000.0 * rng.normal(size=(6, 2))])
    plain_h, with_far = (float(kernel_rows(r, (), 0).log_bandwidth) for r in (rows, far))
    assert with_far == pytest.approx(plain_h, abs=0.3)


def test_copies_of_rows_do_not_pull_the_bandwidth_to_zero() -> None:
    rows = np.random.default_rng(4).normal(size=(60, 2))
    once = float(kernel_rows(rows, (), 0).log_bandwidth)
    twice = float(kernel_rows(np.concatenate([rows, rows, rows]), (), 0).log_bandwidth)
    assert twice == pytest.approx(once, abs=0.3)


def test_one_row_and_only_copies_are_fitted_too() -> None:
    for rows in (np.zeros((1, 2)), np.ones((5, 2))):
        assert np.isfinite(kernel_rows(rows, (), 0).log_prob(jnp.zeros(2)))


def test_codes_that_hang_together_are_told_from_codes_that_do_not() -> None:
    rng = np.random.default_rng(5)
    code = rng.integers(0, 4, 400).astype(float)
    model = kernel_rows(np.stack([code, code], axis=1), (4, 4), 0)
    together, apart = model.log_prob(jnp.array([1.0, 1.0])), model.log_prob(jnp.array([1.0, 2.0]))
    assert float(together - apart) > 2.0


def test_permuting_the_codes_of_a_category_changes_no_score() -> None:
    rng = np.random.default_rng(6)
    numbers, codes = rng.normal(size=(100, 1)), rng.integers(0, 3, (100, 1)).astype(float)
    order = np.array([2.0, 0.0, 1.0])
    renamed = order[codes.astype(int)]
    first = kernel_rows(np.hstack([numbers, codes]), (3,), 0)
    second = kernel_rows(np.hstack([numbers, renamed]), (3,), 0)
    for code in range(3):
        a = first.log_prob(jnp.array([0.3, code]))
        b = second.log_prob(jnp.array([0.3, order[code]]))
        assert float(a) == float(b)
