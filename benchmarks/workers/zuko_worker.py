"""zuko: `MAF` and `NSF` (its NSF is the autoregressive spline), in an eager loop."""

from __future__ import annotations

import numpy as np
import zuko
from serve import BINS, HIDDEN, N_LAYERS, serve
from torch_flow import TorchFlow


def build(family: str, data: np.ndarray) -> TorchFlow:
    """Return zuko's flow of a family, "affine" or "spline"."""
    dim = data.shape[1]
    if family == "affine":
        flow = zuko.flows.MAF(dim, transforms=N_LAYERS, hidden_features=HIDDEN)
    else:
        flow = zuko.flows.NSF(dim, transforms=N_LAYERS, hidden_features=HIDDEN, bins=BINS)
    return TorchFlow(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)), data)


if __name__ == "__main__":
    serve(build, ("zuko", "torch", "numpy"))
