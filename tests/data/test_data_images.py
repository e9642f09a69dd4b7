"""IDX, NPY and NPZ files: read right, and refused clearly when damaged."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.data.images import IDX_TYPES
from jensen.data.source import open_table

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def idx_bytes(array: np.ndarray, code: int) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(IDX_TYPES[code]).tobytes()


def rows_of(path) -> np.ndarray:
    batches = list(open_table(path).batches(3))
    return np.concatenate(
        [np.column_stack([c.to_numpy(False) for c in b.columns]) for b in batches]
    )


@pytest.mark.parametrize("code", IDX_TYPES)
@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz", "images-idx3-ubyte", "images-idx3-ubyte.gz"])
def test_idx_round_trip(tmp_path, code, name):
    stack = np.arange(40).reshape(10, 2, 2)
    data = idx_bytes(stack, code)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    source = open_table(tmp_path / name)
    assert (source.shape, source.n_rows, source.named) == ((2, 2), 10, False)
    assert rows_of(tmp_path / name).reshape(stack.shape).tolist() == stack.tolist()


def test_idx_labels_are_one_column(tmp_path):
    (tmp_path / "l.idx").write_bytes(idx_bytes(np.arange(5), 8))
    source = open_table(tmp_path / "l.idx")
    assert (source.names, source.shape) == (("x0",), None)


GOOD = idx_bytes(np.arange(40).reshape(10, 2, 2), 8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends before"),
        (GOOD[:10], "ends before"),
        (GOOD[:-1], "ends before its last cell"),
        (GOOD + b"x", "more bytes than its shape"),
        (b"\x01\x00" + GOOD[2:], "not those of an IDX file"),
        (b"\x00\x00\x07" + GOOD[3:], "not those of an IDX file"),
        (b"\x00\x00\x08\x00" + GOOD[4:], "not those of an IDX file"),
        (gzip.compress(GOOD, mtime=0)[:-9], "cannot be read"),
        (gzip.compress(GOOD, mtime=0)[:12] + b"garbage" * 9, "cannot be read"),
        (struct.pack(">HBB3I", 0, 8, 3, 2, 2**31, 2**31), "more than .* cells"),
        (struct.pack(">HBB5I", 0, 8, 5, 1, 1, 1, 1, 1) + b"0", "neither a table nor"),
        (struct.pack(">HBB3I", 0, 8, 3, 0, 2, 2), "no rows"),
    ],
)
def test_damaged_idx(tmp_path, data, message):
    path = tmp_path / "a.idx"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        rows_of(path)


def test_damaged_arrays(tmp_path):
    x = np.random.default_rng(0).standard_normal((50, 4))
    np.save(tmp_path / "a.npy", x)
    np.savez_compressed(tmp_path / "a.npz", X=x)
    for name in ("a.npy", "a.npz"):
        whole = (tmp_path / name).read_bytes()
        for data in (b"", whole[:6], whole[:60], whole[: len(whole) // 2], b"garbage" * 30):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(InputError, match="cannot be read"):
                rows_of(tmp_path / name)
    np.save(tmp_path / "a.npy", np.asfortranarray(x))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-8])
    with pytest.raises(InputError, match="cannot be read"):
        rows_of(tmp_path / "a.npy")


def test_flipped_bytes_in_a_packed_array(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.random.default_rng(0).standard_normal((500, 4)))
    data = bytearray(path.read_bytes())
    data[5000:5010] = b"0123456789"
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read"):
        rows_of(path)


def test_pickles_are_refused(tmp_path):
    objects = np.array([[{"a": 1}, None]], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", X=objects)
    np.save(tmp_path / "s.npy", np.zeros(3, dtype=[("a", "f8")]))
    for name, message in (("a.npy", "objects"), ("a.npz", "objects"), ("s.npy", "real numbers")):
        with pytest.raises(InputError, match=message):
            open_table(tmp_path / name)


@pytest.mark.skipif(not MNIST.is_dir(), reason="the MNIST files are not beside the repository")
def test_mnist_itself():
    source = open_table(MNIST / "t10k-images-idx3-ubyte.gz")
    assert (source.shape, source.n_rows) == ((28, 28), 10000)
    first = next(source.batches(1000))
    assert first.num_rows == 1000
    pixels = np.column_stack([c.to_numpy() for c in first.columns])
    assert (pixels.min(), pixels.max(), pixels.dtype) == (0, 255, np.uint8)
    labels = rows_of_labels(MNIST / "t10k-labels-idx1-ubyte.gz")
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def rows_of_labels(path: Path) -> np.ndarray:
    return np.concatenate([batch.column(0).to_numpy() for batch in open_table(path).batches()])
