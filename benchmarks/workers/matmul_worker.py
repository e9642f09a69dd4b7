"""The machine's limit: float32 matrix products a second, with torch and with JAX.

JAX runs a chain of products in one compiled loop, torch an eager loop into a preallocated result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version

from serve import answer_lines


def torch_products(m: int, k: int, n: int) -> Callable[[int], None]:
    """Return a function that takes so many products (m × k)(k × n) with torch."""
    torch = import_module("torch")
    a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)

    def run(count: int) -> None:
        for _ in range(count):
            torch.mm(a, b, out=out)

    return run


def jax_products(m: int, k: int, n: int) -> Callable[[int], None]:
    """Return a function that takes so many products (m × k)(k × n), k = n, with JAX."""
    jax = import_module("jax")
    a = jax.random.normal(jax.random.key(0), (m, k))
    b = jax.random.normal(jax.random.key(1), (k, n)) / k**0.5

    @jax.jit
    def chain(count: int, a: object, b: object) -> object:
        return jax.lax.fori_loop(0, count, lambda _, x: x @ b, a)

    return lambda count: chain(count, a, b).block_until_ready()


def matmul(backend: str, shape: list[int], seconds: float) -> dict:
    """Return GFLOP/s of products of one shape [m, k, n] over about `seconds`."""
    run = {"torch": torch_products, "jax": jax_products}[backend](*shape)
    count, elapsed = 1, 0.0
    run(count)
    while elapsed < seconds / 4:
        count *= 2
        start = time.perf_counter()
        run(count)
        elapsed = time.perf_counter() - start
    count = max(1, round(count * seconds / elapsed))
    start = time.perf_counter()
    run(count)
    elapsed = time.perf_counter() - start
    m, k, n = shape
    return {"gflops": 2e-9 * m * k * n * count / elapsed, "backend_version": version(backend)}


if __name__ == "__main__":
    answer_lines({"matmul": matmul})
