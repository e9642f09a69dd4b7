r"""The held-out JSD that selects weights, against quadrature: N(0, I) made, N(m, I) held out."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.models.implicit import Discriminator, Generator
from jensen.objectives.validation import HeldOutJSD

N = 3000


def players(packing: int = 1) -> tuple[Discriminator, Generator]:
    """The generator starts as N(0, I)."""
    return (
        Discriminator(jax.random.key(0), 2 * packing, (8,)),
        Generator(jax.random.key(1), 2, (8,), latent_dim=2),
    )


def rows(m: float, n: int, seed: int) -> jax.Array:
    shift = np.array([m, 0.0])
    return jnp.asarray(np.random.default_rng(seed).standard_normal((n, 2)) + shift, jnp.float32)


def estimate(
    m: float, n: int = N, pair: tuple | None = None, packing: int = 1
) -> tuple[float, float]:
    judge = eqx.filter_jit(HeldOutJSD(packing=packing))
    shares = np.asarray(
        judge(pair or players(packing), (rows(m, n, 2), rows(m, n, 3)), jax.random.key(5))
    )
    assert shares.shape == (n,)
    return float(shares.mean()), float(shares.std() / n**0.5)


@pytest.mark.parametrize(
    ("m", "exact"), [(0.0, 0.0), (0.5, 0.0303113005), (1.0, 0.1114214822), (4.0, 0.6327201937)]
)
def test_it_is_near_the_divergence_and_not_above_it(m: float, exact: float) -> None:
    """The error of the generated half is about that of the data half: √2 se, 4 of them.

    A false alarm once in 15,000 keys; the key is fixed. The fit's 70 weights on 6,000 rows cost at
    most 70/12,000 nats.
    """
    found, se = estimate(m)
    assert found < exact + 4 * 2**0.5 * se
    assert found > exact - 4 * 2**0.5 * se - 0.006
    assert found <= np.log(2.0)


@pytest.mark.slow
def test_it_sees_how_two_of_many_columns_go_together() -> None:
    """Margins agree, the correlation of one pair does not: 0.9 against independence."""
    rng, dim = np.random.default_rng(0), 12
    z = rng.standard_normal((2, N, dim))
    z[..., 7] = 0.9 * z[..., 3] + 0.19**0.5 * z[..., 7]
    data = jnp.asarray(z, jnp.float32)
    pair = (
        Discriminator(jax.random.key(0), dim, (8,)),
        Generator(jax.random.key(1), dim, (8,), latent_dim=dim),
    )
    assert float(HeldOutJSD()(pair, (data[0], data[1]), jax.random.key(0)).mean()) > 0.1


def test_a_row_is_not_judged_by_a_fit_that_has_seen_it() -> None:
    """Changing a row changes what is said of the other half, and of no other row of its own."""
    train, held_out = rows(0.5, 200, 2), rows(0.5, 200, 3)
    changed = held_out.at[0].set(jnp.array([40.0, -40.0]))
    judge = eqx.filter_jit(HeldOutJSD())
    before, after = (
        np.asarray(judge(players(), (train, part), jax.random.key(1)))
        for part in (held_out, changed)
    )
    np.testing.assert_array_equal(before[1:100], after[1:100])
    assert before[0] != after[0]
    assert (before[100:] != after[100:]).mean() > 0.9


@pytest.mark.slow
def test_it_does_not_trust_a_discriminator_that_knows_the_training_rows() -> None:
    """A logit that is large on training rows alone changes nothing."""

    class Memory(eqx.Module):
        known: jax.Array

        def __call__(self, x: jax.Array) -> jax.Array:
            return 50.0 * jnp.any(jnp.all(self.known == x, axis=1))

    train, held_out = rows(0.0, 500, 2), rows(0.0, 500, 3)
    pair = (Memory(train), players()[1])
    found = float(HeldOutJSD()(pair, (train, held_out), jax.random.key(1)).mean())
    assert abs(found) < 0.02


@pytest.mark.slow
def test_it_repeats_with_its_key_and_takes_packs_and_few_rows() -> None:
    assert estimate(1.0, 200) == estimate(1.0, 200)
    assert abs(estimate(1.0, 200, packing=3)[0] - estimate(1.0, 200)[0]) < 0.1
    for n in (1, 2, 3):
        shares = HeldOutJSD()(players(), (rows(0.0, 2, 0), rows(0.0, n, 1)), jax.random.key(0))
        assert shares.shape == (n,)
        assert np.isfinite(np.asarray(shares)).all()
