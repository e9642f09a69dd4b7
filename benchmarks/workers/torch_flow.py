"""The eager training loop that zuko and nflows share: Adam, fused, on batches laid out before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from serve import BATCH, LEARNING_RATE


class TorchFlow:
    """A torch module with its log-density and sampler, trained step by step.

    Args:
        module: holds the parameters.
        log_prob: `(N, D)` to `(N,)`.
        sample: number of rows to `(N, D)`.
        data: `(N, D)`, float32.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        log_prob: Callable[[torch.Tensor], torch.Tensor],
        sample: Callable[[int], torch.Tensor],
        data: np.ndarray,
    ) -> None:
        self._log_prob, self._sample = log_prob, sample
        self._data = torch.from_numpy(data)
        self._batches = self._data.split(BATCH)
        self._optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=True)

    def train(self, n_steps: int) -> None:
        """Take `n_steps` Adam steps."""
        for i in range(n_steps):
            loss = -self._log_prob(self._batches[i % len(self._batches)]).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def log_prob(self, n_rows: int) -> np.ndarray:
        """Return log_prob of the first rows, recording no gradient."""
        with torch.inference_mode():
            return self._log_prob(self._data[:n_rows]).numpy()

    def sample(self, n_rows: int) -> np.ndarray:
        """Return samples, recording no gradient."""
        with torch.inference_mode():
            return self._sample(n_rows).numpy()
