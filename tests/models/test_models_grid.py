"""Columns on a grid: however long a flow is trained, its cells share a probability of one."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jensen.data.preprocess import fit_preprocess
from jensen.data.schema import read
from jensen.data.source import open_table
from jensen.engine.config import Optimisation, Training
from jensen.engine.run import Game, train
from jensen.fitting import Recipe, flow_init
from jensen.models.margins import start_of
from jensen.models.table import TableDensity
from jensen.objectives.likelihood import Mean, NegativeLogProb

OPTIONS = {"n_layers": 1, "width": 16, "depth": 1, "members": 1, "margins": 12, "dropout": 0.0}
TRAINING = Training(epochs=300, optimisation=Optimisation(learning_rate=1e-2))


def test_log_density_does_not_diverge_on_integer_and_rounded_columns() -> None:
    rng = np.random.default_rng(0)
    columns = np.stack([rng.poisson(2.0, 128), np.round(rng.normal(0, 0.3, 128), 1)], axis=1)
    schema, matrix = read(open_table(columns))
    steps = np.array([schema.columns[i].step for i in schema.continuous])
    np.testing.assert_allclose(steps, [1.0, 0.1])
    preprocess = fit_preprocess(schema, matrix)
    vectors = preprocess.forward(matrix)
    init = flow_init(
        Recipe.from_settings(OPTIONS), schema, start_of(preprocess, vectors, vectors, 12)
    )

    def trained(step: np.ndarray) -> tuple[float, TableDensity]:
        """Return the training loss at the end, nats in data units, and the density."""
        loss = NegativeLogProb(jnp.asarray(step, jnp.float32))
        result = train(Game(init, Mean(loss), loss), vectors, None, TRAINING)
        loss_of_epoch = result.metrics[-1]["train_loss"] - preprocess.log_det
        return loss_of_epoch, TableDensity(result.players[0], preprocess)

    _, counts = np.unique(matrix, axis=0, return_counts=True)
    shares = counts / counts.sum()
    # Gibbs: cells that share a probability of one cannot be likelier than the rows' own frequencies
    most = float(np.sum(shares * np.log(shares)) - np.log(steps).sum())
    log_prob, error = trained(preprocess.noise)[1].log_prob(matrix)
    within = 4 * np.sqrt(np.mean(error**2) / len(error))
    assert most - 2.0 < log_prob.mean() < most + within
    # the mutant: without dequantisation the density of the values themselves rises beyond
    assert -trained(0 * preprocess.noise)[0] > most + 1.0
