r"""Two tables with the same columns: can they be told apart, by how much, and where?

A discriminator is trained between them (`jensen.evaluation.discriminator`) and judged on rows that
took no part: a lower bound of the Jensen–Shannon divergence with its standard error, an exact
p-value of "no difference", and the check E_q[p/q] = 1. Where they differ is read off

* each column alone: a histogram classifier's held-out bound (`jensen.evaluation.marginals`);
* each column together with the others: how many nats of the bound are lost when that column is
  shuffled among the held-out rows — large where single columns agree but their relation does not;
* the pairs of the columns that matter most.

Equal rows always share a fold (unless the table has few different rows by nature), so that a row
copied into both tables, or repeated in one, is never seen before it is judged.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from jensen._errors import InputError
from jensen.data.source import open_table
from jensen.data.split import check_seed
from jensen.engine.config import Training
from jensen.evaluation.discriminator import (
    MIN_ROWS,
    TEST,
    TRAINING,
    Discriminator,
    train_discriminator,
)
from jensen.evaluation.divergences import LOG_2, Estimate, held_out_bound
from jensen.evaluation.marginals import Cells, Part
from jensen.evaluation.paired import Paired, read_both

_MOST_SHUFFLED, _SHUFFLED_ROWS, _ROWS_AT_ONCE = 128, 1000, 50_000
_PAIRED = 8
_WORST = 5
_ALPHA = 0.05


@dataclass(frozen=True)
class TwoSample:
    """The verdict on two tables A and B; divergences in nats, of at most log 2 = 0.6931.

    Args:
        jsd: held-out lower bound of their Jensen–Shannon divergence, cut to [0, log 2].
        se: its standard error.
        p_value: of the hypothesis that both have the same law.
        n: held-out rows that the figures rest on.
        rows: rows of A and of B.
        columns: for each column `name`, `jsd` of it alone with `se` and `p_value`, and `drop`: what
            the joint bound loses when the column is shuffled (None for columns not tried).
        pairs: `names`, `jsd` and `se` of the pairs of the columns that matter most, largest first.
        accuracy: balanced share of held-out rows told right, ½ by chance.
        normalisation: E_B[ratio], 1 where the log ratio is right and B covers A.
        divergences: held-out lower bounds of further divergences of A from B.
        worst: held-out rows of `a` that B lacks most and rows of `b` least like A: `row` (counted
            from 1) and `log_ratio` of A to B.
        remarks: what was adapted or is worth knowing.
        seconds: time taken.
        discriminator: the trained discriminator; its rows are encoded columns, levels as one-hot.
    """

    jsd: float
    se: float
    p_value: float
    n: int
    rows: tuple[int, int]
    columns: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    accuracy: Estimate
    normalisation: Estimate
    divergences: dict[str, Estimate]
    worst: dict[str, list[dict[str, Any]]]
    remarks: list[str]
    seconds: float
    discriminator: Discriminator = field(repr=False)

    @property
    def distinguishable(self) -> bool:
        """Whether the p-value is at most 5%."""
        return bool(self.p_value <= _ALPHA)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the discriminator, as plain data for JSON."""
        return {
            "jsd": self.jsd,
            "se": self.se,
            "p_value": self.p_value,
            "n": self.n,
            "columns": self.columns,
            "distinguishable": self.distinguishable,
            "rows": {"a": self.rows[0], "b": self.rows[1]},
            "pairs": self.pairs,
            "accuracy": self.accuracy._asdict(),
            "normalisation": self.normalisation._asdict(),
            "divergences": {name: e._asdict() for name, e in self.divergences.items()},
            "worst": self.worst,
            "detectable": self.detectable,
            "remarks": self.remarks,
            "verdict": self.lines(),
            "seconds": self.seconds,
        }

    @property
    def detectable(self) -> float:
        """The JSD, nats, that a perfect classifier finds with a chance of 80% in so many rows.

        For a small difference the log ratio has variance v = 8 JSD and its mean difference between
        n and m rows the size √(v n m/(n + m)) of its error; 1.64 + 0.84 errors are needed.
        """
        n, m = len(self.discriminator.on_p), len(self.discriminator.on_q)
        return min((1.645 + 0.842) ** 2 * (1 / n + 1 / m) / 8, LOG_2)

    def lines(self) -> list[str]:
        """Return the verdict in plain words, one sentence a line."""
        chance = f"p = {self.p_value:.2g}" if self.p_value >= 1e-3 else "p < 0.001"
        head = "Distinguishable" if self.distinguishable else "Not distinguished"
        told = (
            f"{head}: of {self.n} held-out rows {100 * self.accuracy.value:.1f}% are told right "
            f"(50% by chance; {chance})."
        )
        size = (
            f"Jensen-Shannon divergence at least {self.jsd:.4f} ± {self.se:.4f} nats "
            f"(0 if the same, at most {LOG_2:.4f})."
        )
        lines = [told, size, *(self._where() if self.distinguishable else [])]
        if not self.distinguishable:
            lines.append(
                f"With these rows even a perfect classifier misses a difference of "
                f"{self.detectable:.2g} nats one time in five; this one may miss larger ones."
            )
        return [*lines, *self.remarks]

    def _where(self) -> list[str]:
        """Return the sentences on columns and pairs."""
        limit = _ALPHA / len(self.columns)  # Bonferroni's
        ranked = sorted(self.columns, key=lambda c: -c["jsd"])
        alone = [c for c in ranked if c["p_value"] <= limit and c["jsd"] > 0]
        lines = []
        if alone:
            shown = ", ".join(f"{c['name']} ({c['jsd']:.3f})" for c in alone[:5])
            more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
            lines.append(
                f"Columns that differ on their own, {len(alone)} of {len(ranked)}, in nats: "
                f"{shown}{more}."
            )
        else:
            lines.append(
                "No column differs on its own by more than chance: what differs is how columns go "
                "together."
            )
        drops = sorted((c for c in ranked if c["drop"]), key=lambda c: -c["drop"])[:5]
        if drops and len(ranked) > 1:
            shown = ", ".join(f"{c['name']} ({c['drop']:.3f})" for c in drops if c["drop"] > 0)
            if shown:
                lines.append(
                    "The classifier leans most on (loss of its log score when shuffled, nats): "
                    f"{shown}."
                )
        largest = {c["name"]: c["jsd"] for c in self.columns}
        together = [
            pair
            for pair in self.pairs
            if pair["jsd"] - max(largest[name] for name in pair["names"]) > 2 * pair["se"]
        ]
        if together:
            shown = ", ".join(f"{' with '.join(p['names'])} ({p['jsd']:.3f})" for p in together[:3])
            lines.append(f"Pairs that differ beyond their columns, in nats: {shown}.")
        return lines


def two_sample(
    X: Any,
    Y: Any,
    *,
    random_state: int = 0,
    max_rows: int = 100_000,
    hidden: tuple[int, ...] = (64, 64),
    members: int = 1,
    trees: int = 200,
    calibration: str = "platt",
    training: Training = TRAINING,
) -> TwoSample:
    """Say whether two tables can be told apart, by how much, and where.

    Args:
        X: the table A: anything `jensen.open_table` opens.
        Y: the table B, with the same columns (by name in any order, by position without names).
        random_state: seed of the split, the training and the permutations.
        max_rows: rows of either table that are used at most, drawn at random.
        hidden: width of each hidden layer of the discriminator.
        members: networks in it.
        trees: of the forest it may start from; 0 for none, else at least 20.
        calibration: `platt`, `isotonic` or `none`.
        training: its optimisation, evaluation and stopping.

    Returns:
        The verdict.

    Raises:
        InputError: for different columns, missing or infinite cells, text among numbers, fewer than
            20 rows of either, or columns that are all constant and the same in both.
        DivergedError: if training leaves the finite numbers.

    Example:
        >>> two_sample("iris:train", "iris:test").distinguishable
        False
    """
    started = time.monotonic()
    check_seed(random_state)
    if max_rows < MIN_ROWS:
        raise InputError(f"max_rows must be at least {MIN_ROWS}, got {max_rows}", "max_rows")
    both = read_both(open_table(X), open_table(Y), max_rows=max_rows, seed=random_state)
    sign = both.sign
    folds, remarks = both.folds(random_state)
    inputs = both.inputs(both.matrix)
    found = train_discriminator(
        inputs[sign > 0],
        inputs[sign < 0],
        seed=random_state,
        hidden=hidden,
        members=members,
        trees=trees,
        calibration=calibration,
        training=training,
        folds=folds,
    )
    for size, name in zip(both.sizes, "AB", strict=True):
        if size > max_rows:
            remarks.append(f"{max_rows} of the {size} rows of {name} were used, drawn at random.")
    return _verdict(both, found, remarks, random_state, started)


def _verdict(
    both: Paired, found: Discriminator, remarks: list[str], seed: int, started: float
) -> TwoSample:
    """Return what the discriminator, the columns and the pairs say."""
    cells = Cells(both.matrix, both.sign, found.folds, both.levels)
    parts = {j: cells.judge((j,)) for j in both.used}
    drops = _drops(found, both, parts, seed)
    names = both.schema.names
    return TwoSample(
        jsd=found.jsd,
        se=found.se,
        p_value=found.p_value(seed),
        n=len(found.on_p) + len(found.on_q),
        rows=both.sizes,
        columns=[_column(name, parts.get(j), drops.get(j)) for j, name in enumerate(names)],
        pairs=_pairs(cells, names, drops),
        accuracy=found.accuracy,
        normalisation=found.normalisation,
        divergences={name: found.divergence(name) for name in ("hellinger", "total-variation")},
        worst=_worst(found, both),
        remarks=[*both.remarks(), *remarks],
        seconds=time.monotonic() - started,
        discriminator=found,
    )


def _cut(value: float) -> float:
    return min(max(value, 0.0), LOG_2)


def _column(name: str, part: Part | None, drop: float | None) -> dict[str, Any]:
    """Return the figures of one column; those of a constant one are known."""
    if part is None:
        return {"name": name, "jsd": 0.0, "se": 0.0, "p_value": 1.0, "drop": 0.0}
    bound = part.bound
    return {
        "name": name,
        "jsd": _cut(bound.value),
        "se": bound.se,
        "p_value": part.p_value,
        "drop": drop,
    }


def _drops(
    found: Discriminator, both: Paired, parts: dict[int, Part], seed: int
) -> dict[int, float]:
    """Return what the joint bound loses, nats, when each column is shuffled, on some judged rows.

    Of very many columns only those that differ most on their own are tried.
    """
    rng = np.random.default_rng([seed, len(both.sign)])
    at = np.sort(rng.permutation(np.flatnonzero(found.folds == TEST))[:_SHUFFLED_ROWS])
    matrix, sign = both.matrix[at], both.sign[at]
    if min(np.sum(sign > 0), np.sum(sign < 0)) < 2:
        return {}
    columns = sorted(parts, key=lambda j: -parts[j].bound.value)[:_MOST_SHUFFLED]
    blocks = [matrix]
    for j in columns:
        blocks.append(matrix.copy())
        blocks[-1][:, j] = rng.permutation(matrix[:, j])
    together = max(1, _ROWS_AT_ONCE // len(matrix))
    bounds: list[float] = []
    for start in range(0, len(blocks), together):
        part = blocks[start : start + together]
        ratios = found.log_ratio(both.inputs(np.concatenate(part)))
        bounds += [
            held_out_bound("jensen-shannon", a[sign > 0], a[sign < 0]).value
            for a in np.split(ratios, len(part))
        ]
    return {j: bounds[0] - bound for j, bound in zip(columns, bounds[1:], strict=True)}


def _pairs(cells: Cells, names: tuple[str, ...], drops: dict[int, float]) -> list[dict[str, Any]]:
    """Return the held-out bounds of the pairs of the columns with the largest drops."""
    top = sorted(drops, key=lambda j: -drops[j])[:_PAIRED]
    parts = [cells.judge(tuple(sorted(pair))) for pair in combinations(top, 2)]
    return [
        {
            "names": [names[j] for j in part.columns],
            "jsd": _cut(part.bound.value),
            "se": part.bound.se,
        }
        for part in sorted(parts, key=lambda part: -part.bound.value)
    ]


def _worst(found: Discriminator, both: Paired) -> dict[str, list[dict[str, Any]]]:
    """Return the held-out rows with the most extreme log ratios."""
    out = {}
    for name, label, ratio in (("a", 1.0, found.on_p), ("b", -1.0, found.on_q)):
        numbers = both.row[(both.sign == label) & (found.folds == TEST)]
        order = np.argsort(-label * ratio, kind="stable")[:_WORST]
        out[name] = [{"row": int(numbers[i]), "log_ratio": float(ratio[i])} for i in order]
    return out
