"""What 5% of anomalies among the training rows cost, and what `suspected` gets back.

    python benchmarks/contamination.py --data ADBENCH          # writes contamination.md

Half of the normal rows train, as in `anomaly.py`; where rows are injected, a random half of the
anomalies may serve, and the other half tests, in every column of the table alike.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from flows import machine
from sklearn.metrics import roc_auc_score

import jensen as jn

HERE = Path(__file__).parent
SHARE = 0.05
TABLES = ("29_Pima", "4_breastw", "6_cardio", "18_Ionosphere", "40_vowels", "38_thyroid")

PAGE = """# Anomalies among the training rows

Made by `benchmarks/contamination.py`; do not edit.

{date}, {cpu}, {cores} cores, {system}, Python {python}.

AUROC, means of {seeds} seeds, of the default detector fitted to clean rows; to rows of which
{share} are anomalies; and to the same with `suspected={share_number}`. All share their test
rows. "Right" are the suspects that were anomalies (twice as many are left out as are stated, so at
most half); type I is that of the last detector at a stated
5%, which may rise to 10% by the option.

| table | clean | contaminated | with the option | right | type I |
|---|---|---|---|---|---|
{rows}
| **mean** | {means} |
"""


def trial(path: Path, seed: int) -> list[float]:
    """Return the three AUROCs, the share of right suspects and the type I error, in percent."""
    with np.load(path, allow_pickle=False) as file:
        rows, labels = np.asarray(file["X"], np.float64), np.asarray(file["y"]).astype(int)
    rng = np.random.default_rng([seed, 5])
    normal, odd = (rng.permutation(np.flatnonzero(labels == k)) for k in (0, 1))
    train, test = np.split(normal, [len(normal) // 2])
    n_bad = round(SHARE / (1 - SHARE) * len(train))
    bad = odd[: min(n_bad, len(odd) // 2)]
    left = odd[len(odd) // 2 :]
    judged = np.concatenate([test, left])
    truth = np.isin(judged, left)
    mixed = np.concatenate([train, bad])

    def fitted(which: np.ndarray, **options: float) -> tuple[float, jn.AnomalyDetector]:
        detector = jn.AnomalyDetector(alpha=0.05, random_state=seed, **options).fit(rows[which])
        return 100 * roc_auc_score(truth, -detector.score_samples(rows[judged])), detector

    clean, _ = fitted(train)
    dirty, _ = fitted(mixed)
    mended, detector = fitted(mixed, suspected=SHARE)
    right = np.mean(detector.suspects_ >= len(train)) if len(detector.suspects_) else np.nan
    alarms = np.mean(detector.predict(rows[test]) == -1)
    return [clean, dirty, mended, 100 * right, 100 * alarms]


def main() -> None:
    """Run every table and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    found = {}
    for name in TABLES:
        trials = [trial(asked.data / f"{name}.npz", seed) for seed in range(asked.seeds)]
        found[name] = np.mean(trials, axis=0)
        print(name, found[name].round(2), file=sys.stderr, flush=True)
    lines = [f"| {name} | {_cells(row)} |" for name, row in found.items()]
    page = PAGE.format(
        **machine(),
        seeds=asked.seeds,
        share=f"{SHARE:.0%}",
        share_number=SHARE,
        rows="\n".join(lines),
        means=_cells(np.mean(list(found.values()), axis=0)),
    )
    (HERE / "contamination.md").write_text(page)


def _cells(row: np.ndarray) -> str:
    clean, dirty, mended, right, alarms = row
    return f"{clean:.2f} | {dirty:.2f} | {mended:.2f} | {right:.0f}% | {alarms:.1f}%"


if __name__ == "__main__":
    main()
