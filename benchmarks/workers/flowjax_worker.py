"""FlowJAX: `masked_autoregressive_flow`, trained by the library's own jitted `step`.

`invert=True` is the direction in which `log_prob` takes one pass. `knots` counts inner knots: 7 of
them make 8 bins.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import paramax
from flowjax.bijections import Affine, RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import masked_autoregressive_flow
from flowjax.train.losses import MaximumLikelihoodLoss
from flowjax.train.train_utils import step
from serve import BATCH, BINS, HIDDEN, LEARNING_RATE, N_LAYERS, TAIL_BOUND, serve

_log_prob = eqx.filter_jit(lambda flow, x: flow.log_prob(x))
_sample = eqx.filter_jit(lambda flow, key, n: flow.sample(key, (n,)))


class FlowJaxFlow:
    """A FlowJAX distribution, split into parameters and the rest as `fit_to_data` splits it."""

    def __init__(self, flow: eqx.Module, data: np.ndarray) -> None:
        self._params, self._static = eqx.partition(
            flow,
            eqx.is_inexact_array,
            is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable),
        )
        self._data = jnp.asarray(data)
        self._batches = [jnp.asarray(data[i : i + BATCH]) for i in range(0, len(data), BATCH)]
        self._optimizer = optax.adam(LEARNING_RATE)
        self._opt_state = self._optimizer.init(self._params)
        self._loss = MaximumLikelihoodLoss()
        self._key = jax.random.key(1)

    def train(self, n_steps: int) -> None:
        """Take `n_steps` Adam steps; nothing is read back before the last one."""
        for i in range(n_steps):
            self._params, self._opt_state, _ = step(
                self._params,
                self._static,
                self._batches[i % len(self._batches)],
                optimizer=self._optimizer,
                opt_state=self._opt_state,
                loss_fn=self._loss,
                key=self._key,
            )
        jax.block_until_ready(self._params)

    def log_prob(self, n_rows: int) -> np.ndarray:
        """Return log_prob of the first rows, from one compiled program."""
        flow = eqx.combine(self._params, self._static)
        return np.asarray(_log_prob(flow, self._data[:n_rows]))

    def sample(self, n_rows: int) -> np.ndarray:
        """Return samples, from one compiled program."""
        self._key, key = jax.random.split(self._key)
        return np.asarray(_sample(eqx.combine(self._params, self._static), key, n_rows))


def build(family: str, data: np.ndarray) -> FlowJaxFlow:
    """Return FlowJAX's flow of a family, "affine" or "spline"."""
    transformer = (
        Affine()
        if family == "affine"
        else RationalQuadraticSpline(knots=BINS - 1, interval=TAIL_BOUND)
    )
    flow = masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(data.shape[1])),
        transformer=transformer,
        flow_layers=N_LAYERS,
        nn_width=HIDDEN[0],
        nn_depth=len(HIDDEN),
        invert=True,
    )
    return FlowJaxFlow(flow, data)


if __name__ == "__main__":
    serve(build, ("flowjax", "jax", "jaxlib", "equinox", "optax", "numpy"))
