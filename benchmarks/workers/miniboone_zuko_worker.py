"""zuko's `NSF`, the autoregressive spline flow, on MINIBOONE: an eager loop with AdamW."""

from __future__ import annotations

import copy
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
import zuko
from miniboone_data import BINS, fit
from serve import answer_lines


class ZukoFlow:
    """A flow, its optimiser and its best weights.

    Args:
        train: training rows `(n, D)`.
        setting: `layers`, `width`, `rate`, `decay`.
        seed: of the weights.
    """

    def __init__(self, train: np.ndarray, setting: dict, seed: int) -> None:
        torch.manual_seed(seed)
        self._train = torch.from_numpy(train)
        hidden = (setting["width"],) * 2
        self._flow = zuko.flows.NSF(
            train.shape[1], transforms=setting["layers"], hidden_features=hidden, bins=BINS
        )
        self._optimiser = torch.optim.AdamW(
            self._flow.parameters(), lr=setting["rate"], weight_decay=setting["decay"], fused=True
        )
        self._best = copy.deepcopy(self._flow.state_dict())

    def epoch(self, batches: np.ndarray) -> None:
        """Take a step on each batch, its gradient clipped at 5."""
        for batch in batches:
            loss = -self._flow().log_prob(self._train[batch]).mean()
            self._optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._flow.parameters(), 5.0)
            self._optimiser.step()

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        """Return log p of the rows, recording no gradient."""
        with torch.inference_mode():
            return self._flow().log_prob(torch.from_numpy(rows)).numpy().astype(np.float64)

    def keep(self) -> None:
        """Copy the weights."""
        self._best = copy.deepcopy(self._flow.state_dict())

    def best(self) -> None:
        """Load the copy."""
        self._flow.load_state_dict(self._best)


if __name__ == "__main__":
    torch.set_num_threads(1)
    names = ("zuko", "torch", "numpy")
    answer_lines(
        {
            "versions": lambda: {name: version(name) for name in names},
            "fit": partial(fit, ZukoFlow),
        }
    )
