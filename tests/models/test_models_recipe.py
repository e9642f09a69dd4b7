"""The default recipe of flows: what is chosen for which table, and what it reaches."""

from __future__ import annotations

import numpy as np
import pytest

import jensen as jn
from jensen._errors import InputError
from jensen.data.toys import TOYS
from jensen.fitting.detector import detector_options
from jensen.fitting.target_options import TargetOptions
from jensen.models.families import FlowOptions, chosen_for


@pytest.mark.parametrize(
    ("options", "n_rows", "n_columns", "margins", "dropout"),
    [
        (FlowOptions(), 1999, 43, 0, 0.0),
        (FlowOptions(), 2000, 2, 12, 0.0),
        (FlowOptions(), 2792, 43, 12, 0.2),
        (FlowOptions(), 6000, 2, 20, 0.0),
        (FlowOptions(), 30_000, 43, 40, 0.0),
        (FlowOptions(dropout=0.1, margins=0), 2792, 43, 0, 0.1),
        (FlowOptions(tails="student-t"), 2792, 43, 0, 0.2),
        (FlowOptions(architecture="planar"), 2792, 43, 0, 0.0),
        (detector_options(), 2792, 43, 0, 0.0),
        (TargetOptions().flow(), 2792, 43, 0, 0.0),
    ],
)
def test_what_is_chosen(
    options: FlowOptions, n_rows: int, n_columns: int, margins: int, dropout: float
) -> None:
    chosen = chosen_for(options, n_rows, n_columns)
    assert (chosen.margins, chosen.dropout) == (margins, dropout)


@pytest.mark.parametrize(
    "bad",
    [
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"margins": 3},
        {"margins": 101},
        {"residual": True, "architecture": "realnvp"},
    ],
)
def test_options_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        FlowOptions(**bad)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [16, 64])
def test_uniform_bytes_have_eight_bits(dim: int) -> None:
    rng = np.random.default_rng(0)
    flow = jn.FlowDensity(random_state=0).fit(rng.integers(0, 256, (4000, dim)))
    bits = -flow.score(rng.integers(0, 256, (4000, dim))) / dim / np.log(2)
    assert bits == pytest.approx(8.0, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_made_sets_are_learned_to_a_twentieth_of_a_nat(name: str) -> None:
    toy = TOYS[name]
    flow = jn.FlowDensity(random_state=0).fit(toy.sample(0, 20_000))
    fresh = toy.sample(1, 10_000)
    short = toy.log_prob(fresh) - flow.score_samples(fresh)
    assert -0.01 < short.mean() < 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        {"dequantisation": "variational"},
        {"pixels": "logit"},
        {"architecture": "multiscale", "dropout": 0.1},
    ],
)
def test_options_of_images_and_tables_are_not_mixed(wrong):
    with pytest.raises(InputError, match="images"):
        chosen_for(FlowOptions(**wrong), 100, 64)
