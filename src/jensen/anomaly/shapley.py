r"""Shapley values of mixtures of two rows, exact or from a fixed set of orders.

A row x and a reference r make a game: a coalition S of columns is worth

    v(S) = s(x_S, r_{-S}),            v(∅) = s(r),   v(all) = s(x),

the score of the row with the cells of x in S and those of r elsewhere. The Shapley value of a
column is its mean gain when the columns go over from r to x one by one, over all orders π,

    φ_d = mean_π  v({before d in π} ∪ {d}) - v({before d in π}),        Σ_d φ_d = s(x) - s(r).

Up to eight columns all 2^D coalitions are scored and φ is exact. Beyond, the mean is over a fixed
set of orders that is a function of the number of columns alone. In every order the gains telescope,
so they sum to s(x) - s(r) whichever orders are taken. Each order comes with its reverse: of two
columns, one comes first in the one and last in the other, so that what the two do together is
halved between them. φ is then exact for every score whose interactions are between pairs, such as
a Gaussian log-density.

A cell that x and r share changes nothing: coalitions that differ in such cells are scored once.

Source: Shapley 1953; sampling of orders Castro et al. 2009; reversed orders Mitchell et al. 2022
(Journal of Machine Learning Research 23, §3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

EXACT = 8
"""Up to this many columns every coalition is scored."""

WIDE, PAIRS, WIDE_PAIRS = 64, 4, 2
"""Up to WIDE columns PAIRS orders and their reverses are taken, beyond them WIDE_PAIRS."""


@dataclass(frozen=True)
class Subsets:
    """All coalitions of a few columns; coalition c holds column d where bit d of c is set.

    Args:
        width: number of columns, at most EXACT.
    """

    width: int

    @property
    def size(self) -> int:
        """The number of coalitions."""
        return 1 << self.width

    @property
    def orders(self) -> int:
        """The number of orders behind each value: all of them."""
        return math.factorial(self.width)

    def members(self, coalitions: np.ndarray) -> np.ndarray:
        """Return which columns `(c, D)` the coalitions `(c,)` hold."""
        return (coalitions[:, None] >> np.arange(self.width)) & 1 == 1

    def standing_for(self, changed: np.ndarray) -> np.ndarray:
        """Return, for rows that differ from r in `changed` `(m, D)`, which coalition to score.

        Returns:
            `(m, size)`: for each coalition the one that makes the same mixture and is scored.
        """
        differing = (changed * (1 << np.arange(self.width))).sum(axis=1)
        return np.arange(self.size) & differing[:, None]

    def shares(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return φ `(m, D)` of games `(m, size)`, and its error: 0."""
        total = np.zeros((len(values), self.width))
        bit = 1 << np.arange(self.width)
        for rest in range(self.size // 2):
            # put a zero at bit d: each `rest` names one coalition without d, for every d
            without = (rest // bit) * bit * 2 + rest % bit
            size = rest.bit_count()
            weight = 1.0 / (self.width * math.comb(self.width - 1, size))
            total += weight * (values[:, without | bit] - values[:, without])
        return total, np.zeros_like(total)


@dataclass(frozen=True)
class Orders:
    """The prefixes of a fixed set of orders; coalition o (D + 1) + p holds the first p of order o.

    Args:
        width: number of columns.
    """

    width: int

    @property
    def orders(self) -> int:
        """The number of orders behind each value."""
        return 2 * (PAIRS if self.width <= WIDE else WIDE_PAIRS)

    @property
    def size(self) -> int:
        """The number of coalitions, those that occur more than once counted each time."""
        return self.orders * (self.width + 1)

    @property
    def table(self) -> np.ndarray:
        """The orders `(orders, D)`: even rows drawn once and for all, each reversed in the next."""
        rng = np.random.default_rng([self.width, 6021953])
        drawn = [rng.permutation(self.width) for _ in range(self.orders // 2)]
        return np.array([order for one in drawn for order in (one, one[::-1])])

    def members(self, coalitions: np.ndarray) -> np.ndarray:
        """Return which columns `(c, D)` the coalitions `(c,)` hold."""
        place = np.argsort(self.table, axis=1)
        order, prefix = np.divmod(coalitions, self.width + 1)
        return place[order] < prefix[:, None]

    def standing_for(self, changed: np.ndarray) -> np.ndarray:
        """Return, for rows that differ from r in `changed` `(m, D)`, which coalition to score.

        Returns:
            `(m, size)`: for each coalition the one that makes the same mixture and is scored.
        """
        steps = np.where(changed[:, self.table], np.arange(1, self.width + 1), 0)
        prefix = np.maximum.accumulate(np.pad(steps, ((0, 0), (0, 0), (1, 0))), axis=2)
        found = prefix + np.arange(self.orders)[:, None] * (self.width + 1)
        found = np.where(prefix == 0, 0, found)  # r itself, the same in all orders
        found = np.where(
            (prefix == prefix[:, :, -1:]) & (prefix > 0), self.width, found
        )  # x itself
        return found.reshape(len(changed), -1)

    def shares(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return φ `(m, D)` of games `(m, size)`, and its standard error between the pairs."""
        gains = np.diff(values.reshape(len(values), self.orders, -1), axis=2)
        place = np.argsort(self.table, axis=1)
        pairs = [
            0.5 * (gains[:, o][:, place[o]] + gains[:, o + 1][:, place[o + 1]])
            for o in range(0, self.orders, 2)
        ]
        mean = sum(pairs[1:], pairs[0]) / len(pairs)
        squares = sum(((pair - mean) ** 2 for pair in pairs), np.zeros_like(mean))
        return mean, np.sqrt(squares / (len(pairs) * (len(pairs) - 1)))


def game_of(width: int) -> Subsets | Orders:
    """Return the coalitions that are scored for rows of `width` columns.

    Example:
        >>> game_of(8).size, game_of(20).orders, game_of(784).orders
        (256, 8, 4)
    """
    return Subsets(width) if width <= EXACT else Orders(width)
