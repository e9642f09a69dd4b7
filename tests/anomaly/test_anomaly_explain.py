"""Explanations: contributions against closed forms and enumeration, and the changes they name."""

from itertools import permutations

import numpy as np
import pytest

from jensen._errors import InputError
from jensen.anomaly.background import Background
from jensen.anomaly.changes import MOST, candidates, change_of, shown
from jensen.anomaly.explain import explain
from jensen.anomaly.shapley import EXACT, Orders, Subsets, game_of
from jensen.data.schema import Column

RNG = np.random.default_rng(0)


def gaussian(width, seed=0):
    """Return the log-density of a correlated Gaussian, its mean and its precision."""
    rng = np.random.default_rng(seed)
    root = np.eye(width) + 0.6 * rng.normal(size=(width, width)) / np.sqrt(width)
    mean, precision = rng.normal(size=width), root @ root.T
    norm = 0.5 * np.linalg.slogdet(precision / (2 * np.pi))[1]

    def score(rows):
        z = rows - mean
        # a sum of products, row by row: BLAS may round one row differently in another batch
        return norm - 0.5 * np.sum(z * np.sum(z[:, None, :] * precision, axis=2), axis=1)

    return score, mean, precision


def sampled(mean, precision, n, seed):
    rng = np.random.default_rng(seed)
    return mean + rng.normal(size=(n, len(mean))) @ np.linalg.inv(np.linalg.cholesky(precision))


def of_quadratic(x, r, mean, precision):
    """Return the Shapley values of -½ zᵀPz: the diagonal, and half of what each pair does."""
    a, b = x - mean, r - mean
    pair = -precision * (np.outer(a, a) - np.outer(b, b))
    # a pair's interaction is halved; with d alone moved, its partner rests at b or at a
    alone = -precision * np.outer(a - b, b)
    both = -precision * np.outer(a - b, a)
    shares = 0.5 * (alone + both)
    np.fill_diagonal(shares, 0.5 * np.diag(pair))
    return shares.sum(axis=1)


@pytest.mark.parametrize("width", [1, 2, 5, 8, 9, 20, 70])
def test_gaussian_contributions_are_the_closed_form(width):
    score, mean, precision = gaussian(width)
    normal = sampled(mean, precision, 200, 1)
    rows = sampled(mean, precision, 12, 2) + 2.0 * RNG.normal(size=(12, width))
    found = explain(score, rows, normal)
    expected = [
        of_quadratic(x, r, mean, precision) + s / width
        for x, r, s in zip(rows, found.reference, found.reference_score, strict=True)
    ]
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.score, rtol=1e-12)
    np.testing.assert_allclose(found.se, 0.0, atol=1e-9)  # pairs of orders agree on pairs


def test_additive_score_gives_each_column_its_own_term():
    def score(rows):
        return np.sum(-(np.abs(rows) ** 3) + np.sin(rows), axis=1)

    normal, rows = RNG.normal(size=(50, 12)), 4 * RNG.normal(size=(7, 12))
    found = explain(score, rows, normal)
    each = lambda t: -(np.abs(t) ** 3) + np.sin(t)  # noqa: E731
    expected = each(rows) - each(found.reference) + found.reference_score[:, None] / 12
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-10, atol=1e-10)


def rugged(rows):
    """Return a score with interactions of every order."""
    return np.sum(np.sin(rows), axis=1) * np.prod(np.cos(0.7 * rows), axis=1) - rows[:, 0] ** 2


def enumerated(score, x, r):
    """Return the mean gain over all orders, by a plain loop."""
    total = np.zeros(len(x))
    orders = list(permutations(range(len(x))))
    for order in orders:
        mixed, last = r.copy(), score(r[None])[0]
        for d in order:
            mixed[d] = x[d]
            new = score(mixed[None])[0]
            total[d] += new - last
            last = new
    return total / len(orders)


@pytest.mark.parametrize("width", [1, 3, 5])
def test_few_columns_are_exact_for_any_score(width):
    normal, rows = RNG.normal(size=(40, width)), 2 * RNG.normal(size=(3, width))
    rows[0, 0] = normal[0, 0]
    found = explain(rugged, rows, normal)
    for i, x in enumerate(rows):
        expected = enumerated(rugged, x, found.reference[i]) + found.reference_score[i] / width
        np.testing.assert_allclose(found.contributions[i], expected, rtol=1e-10, atol=1e-12)


def test_many_columns_are_within_their_errors():
    width = EXACT + 1
    normal, rows = RNG.normal(size=(40, width)), RNG.normal(size=(200, width))
    found = explain(rugged, rows, normal)
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.score, rtol=1e-12, atol=1e-14)
    exact = Subsets(width)
    bits = exact.members(np.arange(exact.size))
    values = np.array(
        [rugged(np.where(bits, x, r)) for x, r in zip(rows, found.reference, strict=True)]
    )
    apart = found.contributions - (exact.shares(values)[0] + found.reference_score[:, None] / width)
    z = apart / found.se
    # 4 pairs: t with 3 degrees of freedom exceeds 3.18 in 5%; the pairs are fixed, so rows share
    # them and the share varies; 15% would be errors too small by a third
    assert np.mean(np.abs(z) > 3.18) < 0.15
    assert np.sqrt(np.mean(apart**2)) == pytest.approx(np.sqrt(np.mean(found.se**2)), rel=0.5)


def test_orders_are_antithetic_and_a_function_of_the_width():
    table = Orders(20).table
    assert table.shape == (8, 20)
    np.testing.assert_array_equal(table[1::2], table[::2, ::-1])
    np.testing.assert_array_equal(np.sort(table, axis=1), np.tile(np.arange(20), (8, 1)))
    np.testing.assert_array_equal(table, Orders(20).table)
    assert game_of(784).orders == 4


def test_shared_mixtures_are_scored_once():
    asked = []

    def counted(rows):
        asked.append(len(rows))
        return rugged(rows)

    normal = RNG.normal(size=(30, 20))
    known = Background.of(rugged, normal)
    row = known.rows[:1].copy()
    row[0, 3] += 2.0
    row[0, 11] -= 1.0
    found = explain(counted, row, known)
    assert sum(asked) <= 1 + 8 * 3  # the row, and of each order r, one or both cells
    others = np.delete(found.contributions[0], [3, 11])
    np.testing.assert_array_equal(others, np.full(18, found.reference_score[0] / 20))


def test_a_row_does_not_depend_on_the_rows_beside_it():
    score, mean, precision = gaussian(11)
    normal = sampled(mean, precision, 150, 1)
    rows = sampled(mean, precision, 300, 2) * 1.5
    threshold = float(np.quantile(score(normal), 0.05))
    whole = explain(score, rows, normal, threshold=threshold)
    order = RNG.permutation(300)
    shuffled = explain(score, rows[order], normal, threshold=threshold)
    np.testing.assert_array_equal(shuffled.contributions, whole.contributions[order])
    np.testing.assert_array_equal(shuffled.mended, whole.mended[order])
    for i in (0, 7, 299):
        alone = explain(score, rows[[i]], normal, threshold=threshold)
        np.testing.assert_array_equal(alone.contributions[0], whole.contributions[i])
        assert alone.sentences()[0] == whole.sentences()[i]


TABLE = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
MIXED = (
    Column("x", "continuous"),
    Column("town", "categorical", levels=("a", "b", "c", "d")),
    Column("unit", "constant", value=5.0),
    Column("note", "constant", value="ok", dtype="string"),
    Column("y", "integer", 1.0, dtype="int64"),
)


def mixed_score(table):
    def score(rows):
        town = rows[:, 1].astype(int)
        slope = np.array([0.0, 1.0, -1.0, 2.0])[np.argsort(np.argsort(-table))][town]
        value = table[town] - 0.5 * (rows[:, 0] - slope) ** 2 - 0.1 * (rows[:, 4] - 3) ** 2
        return np.where((rows[:, 2] == 5.0) & (rows[:, 3] == 0.0), value, -np.inf)

    return score


def mixed_rows(n, seed):
    rng = np.random.default_rng(seed)
    town = rng.choice(4, size=n, p=np.exp(TABLE))
    slope = np.array([0.0, 1.0, -1.0, 2.0])[town]
    fixed = np.full(n, 5.0), np.zeros(n)
    return np.column_stack([slope + rng.normal(size=n), town, *fixed, rng.integers(0, 7, n)])


def test_codes_of_a_category_change_nothing():
    normal, rows = mixed_rows(300, 1), mixed_rows(40, 2)
    rows[:, 0] += 4.0
    code = np.array([2, 0, 3, 1])  # old code → new code
    told = list(MIXED)
    told[1] = Column("town", "categorical", levels=tuple(np.array(list("abcd"))[np.argsort(code)]))
    new_table = np.empty(4)
    new_table[code] = TABLE

    def recoded(rows):
        out = rows.copy()
        out[:, 1] = code[rows[:, 1].astype(int)]
        return out

    one = explain(mixed_score(TABLE), rows, normal, columns=MIXED, threshold=-4.0)
    two = explain(
        mixed_score(new_table), recoded(rows), recoded(normal), columns=told, threshold=-4.0
    )
    np.testing.assert_array_equal(one.score, two.score)
    np.testing.assert_array_equal(one.contributions, two.contributions)
    assert one.sentences() == two.sentences()


def test_a_new_value_of_a_constant_is_guilty_alone():
    score, normal = mixed_score(TABLE), mixed_rows(200, 1)
    rows = mixed_rows(3, 5)
    clean = explain(score, rows, normal, columns=MIXED, threshold=-9.0)
    rows[0, 2], rows[1, 3] = 6.0, 1.0
    rows[2, 2:4] = 6.0, 1.0
    found = explain(score, rows, normal, columns=MIXED, threshold=-9.0)
    assert not np.isnan(found.contributions).any()
    np.testing.assert_array_equal(
        np.isneginf(found.contributions),
        [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 1, 0]],
    )
    np.testing.assert_array_equal(found.contributions.sum(axis=1), [-np.inf] * 3)
    # the other columns contribute as they do in the row that differs in the guilty cells alone
    for d in (0, 1, 4):
        np.testing.assert_allclose(found.contributions[:, d], clean.contributions[:, d], atol=1e-12)
    assert [[c.column for c in row] for row in found.changes] == [
        ["unit"],
        ["note"],
        ["unit", "note"],
    ]
    told = found.sentences()
    assert told[0].startswith("unit 6 → 5 (the same in all normal rows); then log p is −")
    assert told[1].startswith("note another value → ok (the same in all normal rows); then")
    np.testing.assert_allclose(found.score_after, clean.score, rtol=1e-12)


def test_cells_impossible_together_leave_no_nan():
    def score(rows):
        joint = (rows[:, 0] > 1) & (rows[:, 1] > 1)
        return np.where(joint, -np.inf, -np.sum(rows**2, axis=1))

    normal = 0.3 * RNG.normal(size=(60, 3))
    found = explain(score, [[2.0, 2.0, 0.1], [2.0, 0.1, 0.2]], normal, threshold=-1.0)
    assert not np.isnan(found.contributions).any()
    np.testing.assert_array_equal(found.contributions.sum(axis=1), found.score)
    assert np.isneginf(found.contributions[0]).sum() == 1
    assert np.isfinite(found.contributions[1]).all()
    assert (found.score_after >= -1.0).all()


def test_an_impossible_mixture_of_possible_rows_keeps_the_sum():
    def score(rows):
        return np.where(
            np.sign(rows[:, 0]) == np.sign(rows[:, 1]), -np.sum(rows**2, axis=1), -np.inf
        )

    normal = np.abs(RNG.normal(size=(60, 3)))
    found = explain(score, [[-2.0, -3.0, 0.5]], normal)
    assert np.isfinite(found.contributions).all()
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.score, rtol=1e-12)


def test_nearest_reference_is_robust():
    normal = np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 9.0], [2.0, 2.0], [3.0, 3.0]])
    known = Background.of(lambda rows: np.zeros(len(rows)), normal)
    # Euclid would send the wild second cell to the row [5, 9], of which the first cell is far
    assert known.rows[known.nearest(np.array([[1.1, 50.0]]))[0]].tolist() == [1.0, 1.0]
    assert known.nearest(np.array([[0.5, 0.5]])).tolist() == [0]  # a tie: the first


def test_missing_cells_count_as_apart_and_contribute():
    def score(rows):
        return np.nansum(-(rows**2), axis=1)

    normal = RNG.normal(size=(50, 3))
    normal[:20, 1] = np.nan
    found = explain(score, [[0.1, np.nan, 6.0]], normal, threshold=-20.0)
    assert np.isnan(found.reference[0, 1])
    np.testing.assert_allclose(found.contributions.sum(axis=1), found.score, rtol=1e-12)
    assert [c.column for c in found.changes[0]] == ["column 3"]


def test_the_change_is_the_nearest_that_does():
    score, mean, precision = gaussian(6)
    normal = sampled(mean, precision, 400, 1)
    threshold = float(np.quantile(score(normal), 0.05))
    rows = sampled(mean, precision, 60, 2)
    rows[np.arange(60), RNG.integers(0, 6, 60)] += 7.0
    found = explain(score, rows, normal, threshold=threshold)
    np.testing.assert_array_equal(found.flagged, score(rows) < threshold)
    np.testing.assert_array_equal(score(found.mended), found.score_after)
    known, single = Background.of(score, normal), 0
    for i in np.flatnonzero(found.flagged):
        changed = [c.column for c in found.changes[i]]
        assert 1 <= len(changed) <= MOST
        assert found.score_after[i] >= threshold
        for name in changed:
            d = found.names.index(name)
            options = np.append(known.values[d], [found.reference[i, d], rows[i, d]])
            trial = np.repeat(found.mended[[i]], len(options), axis=0)
            trial[:, d] = options
            does = options[score(trial) >= threshold]
            if len(changed) == 1:
                single += 1
                nearest = does[np.argmin(np.abs(does - rows[i, d]))]
                assert abs(found.mended[i, d] - rows[i, d]) == abs(nearest - rows[i, d])
            assert rows[i, d] not in does  # no change that is not needed
    assert single > 20


def test_what_cannot_be_mended_is_told():
    score = lambda rows: -np.sum(rows**2, axis=1)  # noqa: E731
    normal = RNG.normal(size=(80, 12))
    found = explain(score, np.full((1, 12), 30.0), normal, threshold=-30.0)
    assert len(found.changes[0]) == MOST
    assert found.score_after[0] < -30.0
    assert "; then log p is still −" in found.sentences()[0]


def test_values_in_plain_words():
    grid = np.arange(10_000.0)
    assert len(candidates(MIXED[0], grid)) == 64
    assert set(candidates(MIXED[0], grid)) <= set(grid)
    close = change_of(MIXED[0], 1.00001, 1.00002, np.array([1.0]))
    assert close.text.startswith("x 1.00001 → 1.00002")
    assert change_of(MIXED[1], 0.0, 2.0, np.array([1.0, 2.0])).text == "town a → c"
    assert shown(MIXED[0], np.nan) == "missing"
    assert shown(Column("g", "continuous", 0.1), -2.0) == "−2"


@pytest.mark.parametrize(
    ("rows", "background", "score", "told"),
    [
        ([[1.0]], np.zeros((5, 2)), lambda r: np.zeros(len(r)), "background of 2 columns"),
        ([[1.0]], np.zeros((0, 1)), lambda r: np.zeros(len(r)), "needs normal rows"),
        ([[1.0]], np.zeros((5, 1)), lambda r: np.full(len(r), np.nan), "NaN and \\+inf excluded"),
        ([[1.0]], np.zeros((5, 1)), lambda r: np.full(len(r), -np.inf), "all normal rows"),
        ([[1.0]], np.zeros((5, 1)), lambda r: np.zeros((len(r), 1)), "as many numbers"),
    ],
)
def test_bad_input_is_refused(rows, background, score, told):
    with pytest.raises(InputError, match=told):
        explain(score, rows, background)
