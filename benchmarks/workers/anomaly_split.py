"""The protocol, for every library alike: splits of a table of normal rows and anomalies.

Shuffle; half of the normal rows train; the other half and all anomalies test; no duplication;
standardisation from the training rows.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

ALPHA = 0.05


def split(path: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training rows, and test rows with their labels (1 = anomaly)."""
    with np.load(path, allow_pickle=False) as file:
        rows, labels = np.asarray(file["X"], np.float64), np.asarray(file["y"]).astype(int)
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(labels == 0))
    train = normal[: len(normal) // 2]
    test = np.concatenate([normal[len(normal) // 2 :], np.flatnonzero(labels == 1)])
    mean, scale = rows[train].mean(axis=0), rows[train].std(axis=0)
    rows = (rows - mean) / np.where(scale > 0, scale, 1.0)
    return rows[train], rows[test], labels[test]


def measured(scores: np.ndarray, flags: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the figures of scores (higher = anomalous) and flags of labelled rows, in percent."""
    return {
        "auroc": 100 * roc_auc_score(labels, scores),
        "ap": 100 * average_precision_score(labels, scores),
        "type1": 100 * float(np.mean(flags[labels == 0])),
        "type2": 100 * float(np.mean(~flags[labels == 1])),
    }


Fitted = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def serve(methods: dict[str, Callable[[np.ndarray, int], Fitted]]) -> None:
    """Answer the trials asked for on standard input, one JSON document a line.

    Args:
        methods: name → `fit(train rows, seed)`, which returns `judge(rows) -> (scores, flags)`.
    """
    for line in sys.stdin:
        asked = json.loads(line)
        for answer in _answers(asked, methods):
            print(json.dumps(answer), flush=True)
        print(json.dumps({"done": True}), flush=True)


def _answers(
    asked: dict, methods: dict[str, Callable[[np.ndarray, int], Fitted]]
) -> Iterator[dict]:
    train, test, labels = split(asked["path"], asked["seed"])
    for name in asked["methods"]:
        started = time.perf_counter()
        judge = methods[name](train, asked["seed"])
        fitted = time.perf_counter()
        scores, flags = judge(test)
        ended = time.perf_counter()
        yield {
            "method": name,
            "table": Path(asked["path"]).stem,
            "seed": asked["seed"],
            "rows": len(train),
            "columns": train.shape[1],
            **measured(scores, flags, labels),
            "fit": fitted - started,
            "score": ended - fitted,
        }
