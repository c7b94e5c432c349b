"""Nearest items, whose company has changed, and how much of a list is another."""

import numpy as np
import pytest

from freshflow.items.covisitation import COOCCURRENCE
from freshflow.items.index import NO_ROW
from freshflow.related.similarity import (
    SHRINKAGE,
    SIMILARITY_SCALE,
    discounted_list_change,
    find_due_rows,
    find_related_rows,
)
from tests.builders.streams import config, partition, stream, take

NOW_MS, LONG_AGO_MS = 1_000_000, 0


@pytest.fixture(scope="module")
def tables():
    made = partition(config())
    take(made, stream(1, 400, controls=False))
    return made.item_statistics.tables


def similarity(tables, x: int, y: int) -> float:
    slot = tables.covisits.neighbours[x].tolist().index(y)
    n = float(tables.covisits.weights[x, slot, COOCCURRENCE])
    sums = tables.covisits.sums
    return n / (sums[x, COOCCURRENCE] * sums[y, COOCCURRENCE]) ** 0.5 * n / (n + SHRINKAGE)


def found(tables, row: int, support: float = 0.0) -> tuple[list[int], list[float]]:
    slots = tables.covisits.neighbours.shape[1]
    rows, scores = np.empty(slots, np.int32), np.empty(slots)
    count = find_related_rows(tables, row, support, rows, scores)
    return rows[:count].tolist(), scores[:count].tolist()


def test_the_nearest_are_all_neighbours_by_falling_similarity(tables):
    for row in range(10):
        rows, scores = found(tables, row)
        assert set(rows) == set(tables.covisits.neighbours[row].tolist()) - {NO_ROW}
        assert scores == sorted(scores, reverse=True)
        assert [score / SIMILARITY_SCALE for score in scores] == pytest.approx(
            [similarity(tables, row, other) for other in rows], abs=1 / SIMILARITY_SCALE
        )
        assert all(0 < score <= SIMILARITY_SCALE and score == round(score) for score in scores)


def test_a_neighbour_with_exactly_the_support_is_one_and_with_less_is_none(tables):
    weights = tables.covisits.weights[0, :, COOCCURRENCE]
    support = float(np.median(weights[weights > 0]))
    rows, _ = found(tables, 0, support)
    assert len(rows) == np.count_nonzero(weights >= support) < np.count_nonzero(weights > 0)


def test_what_is_not_available_is_nobodys_neighbour_and_has_none(tables):
    rows, _ = found(tables, 0)
    tables.available[rows[0]] = False
    try:
        assert found(tables, 0)[0] == rows[1:]
        assert rows[0] not in changed(tables, np.zeros(len(tables.available)))
    finally:
        tables.available[rows[0]] = True


def changed(
    tables, seen, *, published_ms: int = LONG_AGO_MS, interval_ms: int = 1000, support: float = 1.0
) -> list[int]:
    count = len(tables.available)
    rows, changes = np.empty(count, np.int32), np.empty(count)
    times = np.full(count, published_ms, np.int64)
    return rows[: find_due_rows(tables, seen, times, 0, count, NOW_MS, interval_ms, support, rows, changes)].tolist()


def test_an_item_is_due_when_a_tenth_of_its_company_is_new_and_its_interval_has_passed(tables):
    sums = tables.covisits.sums[:, COOCCURRENCE]
    known = np.flatnonzero(sums >= 1).tolist()
    assert changed(tables, sums * 0) == known
    assert changed(tables, sums.copy()) == []
    assert changed(tables, sums / 1.09) == []
    assert changed(tables, sums / 1.11) == known
    assert changed(tables, sums * 10) == known  # item knowledge has faded
    assert changed(tables, sums * 0, published_ms=NOW_MS - 999) == []
    assert changed(tables, sums * 0, published_ms=NOW_MS - 1000) == known
    assert changed(tables, sums * 0, support=1e9) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 0.0),
        ([-1, -1, -1], [-1, -1, -1], 0.0),
        ([-1, -1, -1], [1, 2, 3], 1.0),
        ([1, 2, 3], [2, 1, 3], (1 + 0.63093) / 2.13093),
        ([1, 2, 3], [1, 2, 4], 0.5 / 2.13093),
        ([1, 2, -1], [1, -1, -1], 0.63093 / 1.63093),
    ],
)
def test_a_difference_weighs_places_as_dcg_does(old, new, expected):
    assert discounted_list_change(np.array(old, np.int32), np.array(new, np.int32)) == pytest.approx(expected, abs=1e-4)
