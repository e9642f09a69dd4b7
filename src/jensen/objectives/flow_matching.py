r"""Flow matching: the field of a continuous flow by regression, without solving its equation.

Each row y is joined with a draw z of the base by a quarter of an ellipse, and the field learns the
mean velocity of all the ellipses that pass through a point at a time:

    y_t = cos(πt/2) z + sin(πt/2) y,     u_t = dy_t/dt = π/2 (cos(πt/2) y − sin(πt/2) z)
    L(θ) = E_{t, y, z} ‖v_θ(t, y_t; c) − u_t‖²

The minimiser v*(t, a) = E[u_t | y_t = a] carries the base to the data's law. Between the same
normal law at both ends it is 0: on whitened rows a field that starts at 0 starts as the best
Gaussian flow, in this loss as in likelihood.

The times have the density 1/(1 − t + δ), up to a constant: it is at the end that the law is
sharp and the field hard. Any density leaves the minimiser as it is. Rows divide the range among
themselves (systematic sampling), which takes most of the noise of the times out of a batch.

Maps between the data and the equation's end are passed first, and held still, as is the base: the
loss is a length, and a map that shrinks would lower it without being any better.

Sources: Lipman et al. 2023 (arXiv:2210.02747), theorem 2; the trigonometric path: Albergo &
Vanden-Eijnden 2023 (arXiv:2209.15571), eq. 5. Deviations: the density of the times; no coupling of
rows with draws (Tong et al. 2024), whose assignment costs more than the step.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen._typing import Array, Key
from jensen.models.continuous import parted
from jensen.models.flow import Flow
from jensen.models.mixed import Mixed
from jensen.objectives.likelihood import noisy

LATE = 0.05
"""δ: the last twentieth of the range has 23% of the times."""


class FlowMatching(eqx.Module):
    """The per-example loss of a one-player game whose flow is a `ContinuousFlow`.

    Args:
        step: `(D,)` resolution of the columns, or None where all are continuous.
        blur: `(D,)` standard deviation of the noise on each column, or None.
        draws: times and draws of the base for each row.

    Example:
        >>> from jensen.models.continuous import ContinuousFlow
        >>> flow = ContinuousFlow(jax.random.key(0), 2, hidden=(8,))
        >>> FlowMatching()((flow,), jnp.zeros((3, 2)), jax.random.key(1)).shape
        (3,)
    """

    step: Array | None = None
    blur: Array | None = None
    draws: int = eqx.field(static=True, default=1)

    def __call__(
        self, players: tuple[Any, ...], batch: Array | tuple[Array, Array], key: Key
    ) -> Array:
        """Return ‖v(t, y_t) − u_t‖² `(B,)`, and −log p(c) added where categories are modelled.

        Args:
            players: one flow, or a `Mixed` of one.
            batch: rows x `(B, D)`, or rows and contexts `(B, C)`.
            key: randomness of dequantisation, blur, times and draws.

        Raises:
            InputError: if the flow has no field.
        """
        x, context = batch if isinstance(batch, tuple) else (batch, None)
        x = noisy(key, x, self.step, self.blur)
        for_times, for_draws = jax.random.split(jax.random.fold_in(key, 2))
        times = _times(for_times, self.draws, x.shape[0], x.dtype)
        keys = jax.random.split(for_draws, times.shape)

        def one(x: Array, c: Array | None, times: Array, keys: Key) -> Array:
            return _row_loss(players[0], x, c, times, keys)

        axes = (0, None if context is None else 0, 1, 1)
        return jax.vmap(one, in_axes=axes)(x, context, times, keys)


def _row_loss(
    model: Flow | Mixed, x: Array, context: Array | None, times: Array, keys: Key
) -> Array:
    """Return the loss of one row, averaged over its times `(R,)`."""
    if isinstance(model, Mixed):
        x, context, log_prob = model.split(x, context)
        flow = model.flow
    else:
        log_prob, flow = jnp.zeros((), x.dtype), model
    if flow is None:
        return -log_prob
    outer, ode = parted(flow)
    outer, base = jax.lax.stop_gradient((outer, flow.base))
    y, _ = outer.inverse_and_log_det(x, context)

    def square(t: Array, key: Key) -> Array:
        z = base.sample(key)
        rise, fall = jnp.sin(jnp.pi / 2 * t), jnp.cos(jnp.pi / 2 * t)
        velocity = jnp.pi / 2 * (fall * y - rise * z)
        return jnp.sum((ode.field(t, fall * z + rise * y, context) - velocity) ** 2)

    return jnp.mean(jax.vmap(square)(times, keys)) - log_prob


def _times(key: Key, draws: int, rows: int, dtype: Any) -> Array:
    """Return times `(draws, rows)` in [0, 1] of density ∝ 1/(1 − t + δ), each row's far apart."""
    n = draws * rows
    u = (jnp.arange(n, dtype=dtype) + jax.random.uniform(key, (), dtype)) / n
    late = 1.0 + LATE - LATE * ((1.0 + LATE) / LATE) ** (1.0 - u)
    return jnp.clip(late, 0.0, 1.0).reshape(draws, rows)
