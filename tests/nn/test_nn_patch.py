"""Patch networks: equal to the library's convolutions, any sides, every weight with a gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen._errors import InputError
from jensen.nn.patch import PatchDecoder, PatchEncoder, cut, lay

SHAPES = [(8, 8), (5, 7), (1, 1), (9, 6, 3)]


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def _normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def _random(net, seed):
    """Return the network with normal numbers in all of its arrays."""
    leaves, tree = jax.tree.flatten(net)
    return jax.tree.unflatten(tree, [_normal(seed + i, a.shape) for i, a in enumerate(leaves)])


def _image(x, shape):
    """Return a flattened image `(H·W·C,)` as `(C, H, W)`, pixel by pixel."""
    tall, wide, channels = (*shape, 1)[:3]
    image = np.zeros((channels, tall, wide))
    for at, value in enumerate(x):
        row, column, channel = np.unravel_index(at, (tall, wide, channels))
        image[channel, row, column] = value
    return jnp.asarray(image)


def _padded(image, step):
    _, tall, wide = image.shape
    return jnp.pad(image, ((0, 0), (0, -tall % step), (0, -wide % step)))


def _perceptron(net, x, act):
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        x = weight @ x + bias
        x = act(x) if i < len(net.weights) - 1 else x
    return x


@pytest.mark.parametrize("shape", SHAPES)
def test_an_encoder_is_a_chain_of_strided_convolutions(shape):
    net = _random(PatchEncoder(jax.random.key(0), shape, 3, (2, 2), (4, 5), (6,), "tanh"), 1)
    x = _normal(0, (int(np.prod(shape)),))
    h = _padded(_image(x, shape), 4)
    for p, weight, bias in zip((2, 2), net.weights, net.biases, strict=True):
        kernel = weight.reshape(weight.shape[0], -1, p, p)
        h = jax.lax.conv(h[None], kernel, (p, p), "VALID")[0]
        h = jnp.tanh(h + bias[:, None, None])
    expected = _perceptron(net.head, h.ravel(), jnp.tanh)
    np.testing.assert_allclose(net(x), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_decoder_is_a_chain_of_transposed_convolutions(shape):
    net = _random(
        PatchDecoder(jax.random.key(0), 3, shape, (2, 3), (4, 5), (6,), "tanh", final="softplus"), 1
    )
    z = _normal(0, (3,))
    tall, wide = shape[:2]
    h = jnp.tanh(_perceptron(net.head, z, jnp.tanh)).reshape(5, -(-tall // 6), -(-wide // 6))
    for p, weight, bias in zip((3, 2), net.weights[::-1], (net.biases[0], None), strict=True):
        kernel = weight.T.reshape(weight.shape[1], -1, p, p)
        # the transposed convolution is the derivative of the convolution with that kernel
        blank = jnp.zeros((1, kernel.shape[1], p * h.shape[1], p * h.shape[2]))
        _, back = jax.vjp(lambda a, k=kernel, p=p: jax.lax.conv(a, k, (p, p), "VALID"), blank)
        h = back(h[None])[0][0]
        h = h if bias is None else jnp.tanh(h + bias[:, None, None])
    h = h + _padded(_image(net.bias, shape), 6)
    found = _image(net(z), shape)
    np.testing.assert_allclose(found, jax.nn.softplus(h)[:, :tall, :wide], rtol=1e-11, atol=1e-11)


def test_patches_are_cut_in_the_order_of_rows_and_laid_back():
    image = _normal(3, (3, 6, 4))
    columns = cut(image, 2)
    assert columns.shape == (12, 6)
    np.testing.assert_array_equal(columns[:, 3].reshape(3, 2, 2), image[:, 2:4, 2:4])
    np.testing.assert_array_equal(lay(columns, 2, (3, 2)), image)


@pytest.mark.parametrize("shape", [(8, 8), (9, 6, 3)])
def test_every_weight_and_every_pixel_has_a_gradient(shape):
    dim = int(np.prod(shape))
    encoder = _random(PatchEncoder(jax.random.key(0), shape, 2, (2, 2), (4, 5), (6,), "tanh"), 1)
    decoder = _random(PatchDecoder(jax.random.key(0), 2, shape, (2, 2), (4, 5), (6,), "tanh"), 9)
    x = _normal(0, (dim,)) + 1.0
    slopes = jax.grad(lambda e, d, a: jnp.sum(d(e(a)) ** 2), argnums=(0, 1, 2))(encoder, decoder, x)
    for part in (slopes[0].head, slopes[0].biases, slopes[1].head, slopes[1].bias, slopes[2]):
        assert all(bool(jnp.all(a != 0)) for a in jax.tree.leaves(part))
    for weights in (slopes[0].weights, slopes[1].weights):  # of a padded cell's there is none
        assert all(bool(jnp.any(a != 0)) for a in jax.tree.leaves(weights))
    if shape == (8, 8):
        assert all(bool(jnp.all(a != 0)) for a in jax.tree.leaves(slopes))


def test_networks_start_at_their_biases_and_fit_a_batch_under_vmap():
    decoder = PatchDecoder(jax.random.key(0), 2, (28, 28))
    encoder = PatchEncoder(jax.random.key(1), (28, 28), 4)
    z, x = _normal(1, (7, 2)), _normal(2, (7, 784))
    np.testing.assert_array_equal(jax.vmap(decoder)(z), np.zeros((7, 784)))
    np.testing.assert_array_equal(jax.vmap(encoder)(x), np.zeros((7, 4)))
    begun = PatchEncoder(jax.random.key(1), (28, 28), 4, last=1.0)
    one = jax.vmap(begun)(x)
    assert float(jnp.std(one)) > 0.1
    np.testing.assert_allclose(one[3], begun(x[3]), rtol=1e-6)  # float32 weights


@pytest.mark.parametrize(
    ("shape", "patches", "widths"),
    [
        ((8,), (2,), (4,)),
        ((8, 0), (2,), (4,)),
        ((8, 8), (2, 2), (4,)),
        ((8, 8), (), ()),
        ((8, 8), (0,), (4,)),
        ((8, 8), (2,), (0,)),
    ],
)
def test_impossible_shapes_are_refused(shape, patches, widths):
    for build in (
        lambda: PatchEncoder(jax.random.key(0), shape, 2, patches, widths),
        lambda: PatchDecoder(jax.random.key(0), 2, shape, patches, widths),
    ):
        with pytest.raises(InputError):
            build()
