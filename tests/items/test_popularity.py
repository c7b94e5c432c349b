"""Popularity: against its definition by brute force."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.items.popularity import (
    FIRST_MS,
    FIRST_WINDOW,
    HALF_LIVES_MS,
    HOUR,
    LAST_MS,
    LATEST_MS,
    N_EVENTS,
    TOTAL_HOUR,
    TOTAL_WEEK,
    WEEK,
    WINDOWS,
    ItemPopularity,
    count_event,
    decay_factors,
    find_recent_rows,
    find_top_rows,
)

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
WEEK_MS = 168 * HOUR_MS
ITEMS = 30

Events = list[tuple[int, int]]  # (row, event time)


def add(made: ItemPopularity, events: Events) -> None:
    for row, ts_ms in events:
        count_event(made.counters, made.ring, made.clock, row, ts_ms)


def popularity(events: Events) -> ItemPopularity:
    made = ItemPopularity.empty(ITEMS)
    add(made, events)
    return made


def at_start(*rows: int) -> ItemPopularity:
    return popularity([(row, START_MS) for row in rows])


def top(made: ItemPopularity, window: int, n: int) -> list[int]:
    found = np.full(n, -7, np.int32)
    return found[: find_top_rows(made.counters, made.ring, made.clock, window, found)].tolist()


def latest(made: ItemPopularity, n: int) -> list[int]:
    found = np.full(n, -7, np.int32)
    return found[: find_recent_rows(made.ring, made.clock, found)].tolist()


def shuffled(seed: int, number: int) -> Events:
    """Events on skewed rows, a minute apart and up to three hours late."""
    random = np.random.default_rng(seed)
    rows = np.minimum(random.geometric(0.15, number) - 1, ITEMS - 1).tolist()
    late_ms = random.integers(0, 3 * HOUR_MS, number).tolist()
    return [(row, START_MS + n * 60_000 - late) for n, (row, late) in enumerate(zip(rows, late_ms, strict=True))]


def decayed(times_ms: list[int], now_ms: int) -> list[float]:
    """The definition: sum of 2^(-(t - t_i) / h) for each half-life."""
    return [sum(0.5 ** ((now_ms - ts) / half_life) for ts in times_ms) for half_life in HALF_LIVES_MS]


def led(events: Events, window: int) -> list[int]:
    """Rows of a window by falling count, ties to the latest."""
    rows = [row for row, _ in events[-WINDOWS[window] :]]
    counts = Counter(rows)
    return sorted(counts, key=lambda row: (-counts[row], rows[::-1].index(row)))


def check(made: ItemPopularity, events: Events) -> None:
    """That `made` is what the definition says of `events`."""
    for n, window in enumerate(WINDOWS):
        counts = Counter(row for row, _ in events[-window:])
        assert made.counters[:, FIRST_WINDOW + n].tolist() == [counts[row] for row in range(ITEMS)]
        assert top(made, n, ITEMS) == led(events, n)
    for row in range(ITEMS):
        times_ms = [ts for other, ts in events if other == row]
        memory = made.counters[row]
        assert (memory[FIRST_MS], memory[LAST_MS]) == (min(times_ms, default=0), max(times_ms, default=0))
        expected = decayed(times_ms, max(times_ms, default=0))
        np.testing.assert_allclose(memory[HOUR : WEEK + 1], expected, rtol=1e-9)
    newest = max((ts for _, ts in events), default=0)
    assert (made.clock[N_EVENTS], made.clock[LATEST_MS]) == (len(events), newest)
    expected = decayed([ts for _, ts in events], newest)
    np.testing.assert_allclose(made.clock[TOTAL_HOUR : TOTAL_WEEK + 1], expected, rtol=1e-9)
    for n in (1, 64):
        assert latest(made, n) == [row for row, _ in events[::-1][:n]]


@pytest.mark.parametrize("number", [0, 1, 49, 50, 51, 199, 200, 201, 1_999, 2_000, 2_001, 4_321])
def test_late_events_count_as_the_definition_says_on_both_sides_of_every_window(number):
    events = shuffled(number, number)
    check(popularity(events), events)


bases = st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 40, 190, 1_990, 2_100]))
rows_of_events = st.integers(0, 4) | st.integers(0, ITEMS - 1)
more = st.lists(st.tuples(rows_of_events, st.integers(-WEEK_MS, 4 * WEEK_MS)), max_size=64)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(bases, more)
def test_events_of_any_order_in_time_count_as_the_definition_says(base, more):
    events = [*shuffled(*base), *((row, START_MS + at_ms) for row, at_ms in more)]
    check(popularity(events), events)


def test_a_count_halves_after_its_half_life():
    made = popularity([(0, START_MS), (0, START_MS + HOUR_MS)])
    expected = [1.5, 1 + 0.5 ** (1 / 24), 1 + 0.5 ** (1 / 168)]
    np.testing.assert_allclose(made.counters[0, HOUR : WEEK + 1], expected)


@pytest.mark.parametrize("age_ms", [0, 1, 1000, HOUR_MS, 24 * HOUR_MS, WEEK_MS, 100 * WEEK_MS])
def test_decay_is_two_to_the_minus_age_over_half_life(age_ms):
    np.testing.assert_allclose(
        decay_factors(float(age_ms)), [0.5 ** (age_ms / half) for half in HALF_LIVES_MS], rtol=1e-9
    )


def test_a_late_event_counts_as_decayed_and_moves_only_the_first_time():
    memory = popularity([(0, START_MS + HOUR_MS), (0, START_MS)]).counters[0]
    assert (memory[FIRST_MS], memory[LAST_MS]) == (START_MS, START_MS + HOUR_MS)
    assert memory[HOUR] == pytest.approx(1.5)


def test_an_event_years_later_finds_all_counts_decayed_to_nothing():
    made = popularity([(0, START_MS), (0, START_MS + 5_000 * WEEK_MS)])
    np.testing.assert_allclose(made.counters[0, HOUR : WEEK + 1], [1, 1, 1])
    np.testing.assert_allclose(made.clock[TOTAL_HOUR : TOTAL_WEEK + 1], [1, 1, 1])


def test_event_times_before_1970_count_like_any_other():
    memory = popularity([(0, -5 * HOUR_MS), (0, -4 * HOUR_MS)]).counters[0]
    assert (memory[FIRST_MS], memory[LAST_MS], memory[HOUR]) == (-5 * HOUR_MS, -4 * HOUR_MS, pytest.approx(1.5))


def test_the_most_frequent_lead_with_ties_to_the_latest():
    made = at_start(7, 7, 5, 3, 3, 9)
    assert top(made, 1, 3) == [3, 7, 9]
    assert top(made, 1, 2) == [3, 7]


def test_what_has_left_a_window_does_not_lead_it():
    made = at_start(1, *[2] * 200)
    assert top(made, 1, 10) == [2]
    assert top(made, 2, 10) == [2, 1]


@pytest.mark.parametrize("n", [0, 1, ITEMS - 1, ITEMS, 1000])
def test_at_most_so_many_lead(n):
    made = at_start(*range(ITEMS))
    assert top(made, 1, n) == list(range(ITEMS))[::-1][:n]


@pytest.mark.parametrize("n", [1, 4, 17])
def test_leaders_are_the_first_of_the_sorted_order(n):
    events = shuffled(3, 700)
    made = popularity(events)
    for window in range(len(WINDOWS)):
        assert top(made, window, n) == led(events, window)[:n]


def test_looking_for_leaders_changes_nothing():
    made = popularity(shuffled(4, 700))
    before = made.counters.copy()
    for window in range(len(WINDOWS)):
        top(made, window, 5)
    assert (made.counters == before).all()


def test_recent_is_the_rows_of_the_last_events_the_latest_first():
    assert latest(at_start(5, 3, 5), 9) == [5, 3, 5]
    assert latest(at_start(1, *[2, 4] * 5), 4) == [4, 2, 4, 2]


def test_nothing_is_popular_before_the_first_event():
    made = ItemPopularity.empty(ITEMS)
    assert top(made, 0, 5) == latest(made, 5) == []


def test_dropped_rows_leave_windows_that_go_on_counting_places():
    events = shuffled(4, 300)
    made = popularity(events)
    made.drop(np.array([0, 2]))
    assert not made.counters[[0, 2]].any()
    assert not {0, 2} & {*top(made, 0, ITEMS), *top(made, 2, ITEMS), *latest(made, 64)}
    later = shuffled(5, 150)
    add(made, later)
    counts = Counter(
        row for n, (row, _) in enumerate([*events, *later]) if n >= 250 and (n >= 300 or row not in (0, 2))
    )
    assert made.counters[:, FIRST_WINDOW + 1].tolist() == [counts[row] for row in range(ITEMS)]
    assert latest(made, 64) == [row for row, _ in later[::-1][:64]]


def test_a_dropped_row_that_is_given_out_again_starts_from_nothing():
    made = at_start(0, 0, 1)
    made.drop(np.array([0]))
    add(made, [(0, START_MS + WEEK_MS)])
    memory = made.counters[0]
    assert (memory[FIRST_MS], memory[LAST_MS], memory[HOUR]) == (START_MS + WEEK_MS, START_MS + WEEK_MS, 1)
    add(made, [(1, START_MS + WEEK_MS)] * 48)
    assert made.counters[[0, 1], FIRST_WINDOW].tolist() == [1, 49]  # the two places of the dropped row count as gone


def test_growing_keeps_all_counts():
    made = popularity(shuffled(6, 250)).with_capacity(ITEMS + 10)
    assert not made.counters[ITEMS:].any()
    add(made, [(ITEMS + 5, START_MS)])
    assert made.counters[ITEMS + 5, FIRST_WINDOW + 1] == 1
    assert made.counters[:, FIRST_WINDOW + 1].sum() == 200
