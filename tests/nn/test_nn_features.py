"""What an encoder sees: every cell once, and nothing of a missing one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.nn.features import Features, Leading

NAN = np.nan
X = jnp.array([[0.5, 3.0, 1.0, 0.0], [NAN, 0.0, 2.0, NAN], [-2.0, NAN, NAN, 1.0]])
NUMBERS = [[0.5, 3.0], [0.0, 0.0], [-2.0, 0.0]]
CODES = [[0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
GAPS = [[0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0]]


def test_numbers_codes_and_indicators_in_order():
    features = Features(2, (3, 2), missing=True)
    found = np.asarray(jax.jit(jax.vmap(features))(X))
    assert found.tolist() == np.hstack([NUMBERS, CODES, GAPS]).tolist()
    assert found.shape[1] == features.size == 11


def test_without_indicators():
    features = Features(2, (3, 2))
    found = np.asarray(jax.vmap(features)(X))
    assert found.tolist() == np.hstack([NUMBERS, CODES]).tolist()
    assert found.shape[1] == features.size == 7


def test_only_numbers_and_only_codes():
    assert Features(4)(X[0]).tolist() == X[0].tolist()
    assert Features(0, (4,))(jnp.array([2.0])).tolist() == [0.0, 0.0, 1.0, 0.0]


def test_counts_are_logarithmic():
    found = np.asarray(jax.vmap(Features(2, (3, 2), counts=(1,)))(X))
    assert found[:, :2] == pytest.approx(np.array([[0.5, np.log(4.0)], [0.0, 0.0], [-2.0, 0.0]]))


def test_gradients_pass_the_cells_that_are_there():
    """∂/∂v is 1, or 1/(1 + v) for a count; 0 and never NaN for a missing cell or a code."""
    features = Features(2, (3, 2), missing=True, counts=(1,))
    slopes = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(features(x)))))(X)
    assert np.asarray(slopes).tolist() == [[1, 0.25, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    negative = jax.grad(lambda x: jnp.sum(features(x)))(jnp.array([-1.0, 0.0, 0.0, 0.0]))
    assert negative.tolist() == [1, 1, 0, 0]


def test_a_count_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="counts"):
        Features(2, (3,), counts=(2,))


def test_leading_sees_the_first_coordinates():
    assert Leading(lambda z: 2 * z, 2)(jnp.array([1.0, 2.0, 4.0])).tolist() == [2.0, 4.0]
