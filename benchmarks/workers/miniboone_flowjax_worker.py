"""FlowJAX's masked autoregressive spline flow on MINIBOONE: the library's own jitted `step`."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import masked_autoregressive_flow
from flowjax.train.losses import MaximumLikelihoodLoss
from flowjax.train.train_utils import step
from miniboone_data import BINS, BOUND, fit
from serve import answer_lines

_log_prob = eqx.filter_jit(lambda flow, x: flow.log_prob(x))


class FlowJaxFlow:
    """A flow, its optimiser and its best weights.

    Args:
        train: training rows `(n, D)`.
        setting: `layers`, `width`, `rate`, `decay`.
        seed: of the weights.
    """

    def __init__(self, train: np.ndarray, setting: dict, seed: int) -> None:
        flow = masked_autoregressive_flow(
            jax.random.key(seed),
            base_dist=Normal(jnp.zeros(train.shape[1])),
            transformer=RationalQuadraticSpline(knots=BINS - 1, interval=BOUND),
            flow_layers=setting["layers"],
            nn_width=setting["width"],
            nn_depth=2,
            invert=True,
        )
        self._params, self._static = eqx.partition(
            flow,
            eqx.is_inexact_array,
            is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable),
        )
        self._train = train
        self._optimiser = optax.chain(
            optax.clip_by_global_norm(5.0),
            optax.adamw(setting["rate"], weight_decay=setting["decay"]),
        )
        self._state = self._optimiser.init(self._params)
        self._loss, self._key = MaximumLikelihoodLoss(), jax.random.key(seed)
        self._best = self._params

    def epoch(self, batches: np.ndarray) -> None:
        """Take a step on each batch; nothing is read back."""
        for batch in batches:
            self._params, self._state, _ = step(
                self._params,
                self._static,
                jnp.asarray(self._train[batch]),
                optimizer=self._optimiser,
                opt_state=self._state,
                loss_fn=self._loss,
                key=self._key,
            )

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Return log p of the rows, from one compiled program."""
        flow = eqx.combine(self._params, self._static)
        return np.asarray(_log_prob(flow, jnp.asarray(rows)), np.float64)

    def keep(self) -> None:
        """Keep the weights; JAX's arrays do not change."""
        self._best = self._params

    def best(self) -> None:
        """Go back to the weights that were kept."""
        self._params = self._best


if __name__ == "__main__":
    names = ("flowjax", "jax", "jaxlib", "equinox", "optax", "numpy")
    answer_lines(
        {
            "versions": lambda: {name: version(name) for name in names},
            "fit": partial(fit, FlowJaxFlow),
        }
    )
