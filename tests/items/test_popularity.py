"""Popularity: against its definition by brute force, and as of each event of a chunk."""

from collections import Counter
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.items.popularity import HALF_LIVES_MS, RECENT, WINDOWS, Popularity, PopularityAt

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
ITEMS = 30

Events = list[tuple[int, int]]  # (row, event time)


def arrays(events: Events) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row for row, _ in events], np.int64), np.array([ts for _, ts in events], np.int64)


def popularity(events: Events, batch: int = 50) -> Popularity:
    """Popularity that was given `events` in batches."""
    made = Popularity(ITEMS)
    for start in range(0, len(events), batch):
        made.add(*arrays(events[start : start + batch]))
    return made


def shuffled(seed: int, count: int) -> Events:
    """Events on skewed rows, a minute apart and up to three hours late."""
    random = np.random.default_rng(seed)
    rows = np.minimum(random.geometric(0.15, count) - 1, ITEMS - 1).tolist()
    late_ms = random.integers(0, 3 * HOUR_MS, count).tolist()
    return [(row, START_MS + n * 60_000 - late) for n, (row, late) in enumerate(zip(rows, late_ms, strict=True))]


def decayed(times_ms: list[int], now_ms: int) -> np.ndarray:
    """The definition: sum of 2^(-(t - t_i) / h) for each half-life."""
    return sum((0.5 ** ((now_ms - ts) / HALF_LIVES_MS) for ts in times_ms), np.zeros(len(HALF_LIVES_MS)))


def check(made: Popularity, events: Events) -> None:
    """That `made` is what the definition says of `events`."""
    for n, window in enumerate(WINDOWS):
        counts = Counter(row for row, _ in events[-window:])
        assert made.in_window[n].tolist() == [counts[row] for row in range(ITEMS)]
    for row in range(ITEMS):
        times_ms = [ts for other, ts in events if other == row]
        assert (made.first_ms[row], made.last_ms[row]) == (min(times_ms, default=0), max(times_ms, default=0))
        np.testing.assert_allclose(made.decayed[row], decayed(times_ms, max(times_ms, default=0)), rtol=1e-9)
    latest = max(ts for _, ts in events)
    assert (made.events, made.total_ms) == (len(events), latest)
    np.testing.assert_allclose(made.total, decayed([ts for _, ts in events], latest), rtol=1e-9)


@pytest.mark.parametrize("batch", [1, 7, 64, 500])
def test_late_events_in_batches_of_any_size_count_as_the_definition_says(batch):
    events = shuffled(1, 2 * batch + 2_300)
    check(popularity(events, batch), events)


@pytest.mark.parametrize("count", [1, 199, 200, 201, 1_999, 2_000, 2_001])
def test_windows_hold_exactly_their_last_events(count):
    events = shuffled(2, count)
    check(popularity(events), events)


def test_a_count_halves_after_its_half_life():
    made = popularity([(0, START_MS), (0, START_MS + HOUR_MS)])
    np.testing.assert_allclose(made.decayed[0], [1.5, 1 + 0.5 ** (1 / 24), 1 + 0.5 ** (1 / 168)])


def test_a_late_event_counts_as_decayed_and_moves_only_the_first_time():
    made = popularity([(0, START_MS + HOUR_MS), (0, START_MS)], batch=1)
    assert (made.first_ms[0], made.last_ms[0]) == (START_MS, START_MS + HOUR_MS)
    assert made.decayed[0, 0] == pytest.approx(1.5)


def test_top_is_the_most_frequent_with_ties_by_row():
    made = popularity([(row, START_MS) for row in (7, 7, 5, 3, 3, 9)])
    assert made.top(0, 3).tolist() == [3, 7, 5]
    assert made.top(0, 2).tolist() == [3, 7]


def test_top_leaves_out_what_is_not_in_the_window():
    made = popularity([(1, START_MS)] + [(2, START_MS)] * 200)
    assert made.top(0, 10).tolist() == [2]
    assert made.top(1, 10).tolist() == [2, 1]


@pytest.mark.parametrize("n", [0, 1, ITEMS - 1, ITEMS, 1000])
def test_top_gives_at_most_so_many(n):
    made = popularity([(row, START_MS) for row in range(ITEMS)])
    assert made.top(0, n).tolist() == list(range(min(n, ITEMS)))


@pytest.mark.parametrize("n", [1, 4, 17])
def test_top_agrees_with_sorting(n):
    made = popularity(shuffled(3, 700))
    for window in (0, 1):
        counts = made.in_window[window]
        ordered = sorted(np.flatnonzero(counts).tolist(), key=lambda row: (-counts[row], row))
        assert made.top(window, n).tolist() == ordered[:n]


def test_recent_is_the_rows_of_the_last_events_each_once():
    rows = [1] + [2, 4] * (RECENT // 2)
    made = popularity([(row, START_MS) for row in rows])
    assert made.recent().tolist() == [2, 4]
    assert popularity([(5, START_MS), (3, START_MS), (5, START_MS)]).recent().tolist() == [3, 5]


def test_nothing_is_popular_before_the_first_event():
    made = Popularity(ITEMS)
    assert made.top(0, 5).tolist() == made.recent().tolist() == []


def test_dropped_rows_leave_windows_that_go_on_counting_places():
    events = shuffled(4, 300)
    made = popularity(events)
    made.drop(np.array([0, 2]))
    assert not made.in_window[:, [0, 2]].any()
    assert not made.decayed[[0, 2]].any()
    assert made.last_ms[[0, 2]].tolist() == made.first_ms[[0, 2]].tolist() == [0, 0]
    later = shuffled(5, 150)
    made.add(*arrays(later))
    counts = Counter(
        row for n, (row, _) in enumerate([*events, *later]) if n >= 250 and (n >= 300 or row not in (0, 2))
    )
    assert made.in_window[0].tolist() == [counts[row] for row in range(ITEMS)]
    assert not set(made.recent().tolist()) - {row for row, _ in later[-RECENT:]}


def test_growing_keeps_all_counts():
    events = shuffled(6, 250)
    made = popularity(events)
    made.grow(ITEMS + 10)
    assert made.in_window[:, ITEMS:].sum() == made.decayed[ITEMS:].sum() == 0
    made.add(*arrays([(ITEMS + 5, START_MS)]))
    assert made.in_window[0, ITEMS + 5] == 1
    assert made.in_window[0].sum() == 200


LATER_MS = START_MS + 400 * 24 * HOUR_MS
rows_of_chunks = st.integers(0, 4) | st.integers(0, ITEMS - 1)
chunks = st.lists(st.tuples(rows_of_chunks, st.integers(0, 24 * HOUR_MS)), max_size=64)
bases = st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 150, 199, 230, 1_990, 2_100]))


def base_and_chunk(base: tuple[int, int], chunk: Events, *, gap_ms: int = 0) -> tuple[Popularity, Events]:
    """Popularity after some events, and visits from its latest time on, in any order within a day."""
    events = shuffled(*base)
    latest = max((ts for _, ts in events), default=START_MS)
    return popularity(events), [(row, latest + gap_ms + at_ms) for row, at_ms in chunk]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(bases, chunks)
def test_a_position_knows_exactly_the_visits_before_it(base, chunk):
    start, chunk = base_and_chunk(base, chunk)
    at, rows = PopularityAt(start, *arrays(chunk)), np.arange(ITEMS)
    now = max((ts for _, ts in chunk), default=LATER_MS)
    after = deepcopy(start)
    for position in range(len(chunk) + 1):
        if position:
            after.add(*arrays(chunk[position - 1 : position]))
        here = np.full(ITEMS, position)
        assert (at.in_window(rows, here) == after.in_window).all()
        assert at.window_sizes(here)[:, 0].tolist() == [min(window, after.events) for window in WINDOWS]
        assert (at.last_ms(rows, here) == after.last_ms).all()
        expected = after.decayed * 0.5 ** ((now - after.last_ms)[:, None] / HALF_LIVES_MS)
        np.testing.assert_allclose(at.decayed(rows, here, np.full(ITEMS, now)), expected, rtol=1e-9, atol=1e-12)
        total = after.total * 0.5 ** ((now - after.total_ms) / HALF_LIVES_MS)
        np.testing.assert_allclose(at.total(here[:1], np.array([now]))[0], total, rtol=1e-9, atol=1e-12)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(bases, chunks)
def test_a_position_knows_the_first_time_of_the_visits_before_it(base, chunk):
    start, chunk = base_and_chunk(base, sorted(chunk, key=lambda visit: visit[1]))
    at, after = PopularityAt(start, *arrays(chunk)), deepcopy(start)
    for position in range(len(chunk) + 1):
        if position:
            after.add(*arrays(chunk[position - 1 : position]))
        assert at.first_ms(np.arange(ITEMS), np.full(ITEMS, position)).tolist() == after.first_ms.tolist()


@pytest.mark.parametrize("known", [[], [(0, START_MS + 10)]], ids=["new", "known"])
def test_a_late_visit_moves_the_first_time_from_its_position_on(known):
    chunk = [(0, START_MS + 20), (0, START_MS + 5), (1, START_MS)]
    at = PopularityAt(popularity(known), *arrays(chunk))
    expected = [popularity([*known, *chunk[:position]]).first_ms[0] for position in range(4)]
    assert at.first_ms(np.zeros(4, np.int64), np.arange(4)).tolist() == expected


@pytest.mark.parametrize("late_h", [0, 3, 12, 23])
@pytest.mark.parametrize("events", [0, 230])
def test_a_moment_that_is_late_sees_the_same_inside_a_chunk_as_at_the_next_one_s_start(events, late_h):
    visits = [(n % 5, n * HOUR_MS // 3) for n in range(60)]  # over twenty hours
    start, chunk = base_and_chunk((3, events), visits, gap_ms=1)
    after = deepcopy(start)
    after.add(*arrays(chunk))
    rows, now = np.arange(ITEMS), np.full(ITEMS, chunk[-1][1] - late_h * HOUR_MS)
    inside = PopularityAt(start, *arrays(chunk)).decayed(rows, np.full(ITEMS, len(chunk)), now)
    anew = PopularityAt(after, *arrays([])).decayed(rows, np.zeros(ITEMS, np.int64), now)
    np.testing.assert_allclose(inside, anew, rtol=1e-9, atol=1e-12)


def test_positions_say_which_rows_were_touched_before_them():
    at = PopularityAt(Popularity(ITEMS), *arrays([(4, START_MS), (2, START_MS), (4, START_MS)]))
    n, rows = at.touched_before(np.array([0, 1, 3, 2]))
    assert sorted(zip(n.tolist(), rows.tolist(), strict=True)) == [(1, 4), (2, 2), (2, 4), (3, 2), (3, 4)]


def test_looking_from_a_chunk_changes_nothing():
    start = popularity(shuffled(7, 230))
    before = deepcopy(vars(start))
    at = PopularityAt(start, *arrays(shuffled(8, 64)))
    rows, here = np.arange(ITEMS), np.full(ITEMS, 64)
    at.in_window(rows, here), at.decayed(rows, here, np.full(ITEMS, LATER_MS)), at.total(here, here + LATER_MS)
    at.first_ms(rows, here), at.last_ms(rows, here), at.touched_before(here)
    assert all(np.array_equal(value, before[name]) for name, value in vars(start).items())
