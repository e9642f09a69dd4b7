"""nflows: masked autoregressive transforms between reversals, in an eager loop.

`num_blocks=2` plain blocks are two hidden layers with an activation each, after an input layer that
has none: one 128 × 128 product more than the others do.
"""

from __future__ import annotations

import numpy as np
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import (
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    ReversePermutation,
)
from serve import BINS, HIDDEN, N_LAYERS, TAIL_BOUND, serve
from torch_flow import TorchFlow


def build(family: str, data: np.ndarray) -> TorchFlow:
    """Return nflows' flow of a family, "affine" or "spline"."""
    dim = data.shape[1]
    net = {
        "features": dim,
        "hidden_features": HIDDEN[0],
        "num_blocks": len(HIDDEN),
        "use_residual_blocks": False,
    }
    transforms = []
    for _ in range(N_LAYERS):
        transforms.append(ReversePermutation(dim))
        if family == "affine":
            transforms.append(MaskedAffineAutoregressiveTransform(**net))
        else:
            transforms.append(
                MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                    num_bins=BINS, tails="linear", tail_bound=TAIL_BOUND, **net
                )
            )
    flow = Flow(CompositeTransform(transforms), StandardNormal([dim]))
    return TorchFlow(flow, flow.log_prob, flow.sample, data)


if __name__ == "__main__":
    serve(build, ("nflows", "torch", "numpy"))
