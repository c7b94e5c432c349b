"""Event time that goes on by the clock, and lists that are refreshed by it."""

import pytest

from freshflow.engine.snapshot import dump, load
from freshflow.refresh.event_clock import REFRESH_CHECK_MS, EventClock
from tests.builders.streams import COMPUTED_AT, ORIGIN, START_MS, items, partition, read, take
from tests.refresh.test_scheduler import MINUTE_MS, news, refreshed, refreshing


def test_event_time_goes_on_by_the_clock_from_when_the_latest_event_was_read():
    time = EventClock(0, 1_000)
    time.advance(50_000, 2_000, 1, 2_100)
    assert time.now_ms(2_000) == 50_000
    assert time.now_ms(9_000) == 57_000


def test_a_late_event_does_not_stop_the_time():
    time = EventClock(50_000, 2_000)
    time.advance(50_000, 5_000, 1, 5_100)
    assert time.now_ms(6_000) == 54_000


def test_a_clock_that_was_set_back_does_not_set_back_event_time():
    assert EventClock(50_000, 2_000).now_ms(1_000) == 50_000


def test_a_look_is_due_a_while_after_the_last_one_however_many_events_came_that_made_none():
    time = EventClock(0, 0)
    time.advance(10, 500, 1, 500)
    assert time.next_check_ms == 500 + REFRESH_CHECK_MS
    time.advance(20, 900, 1, 900)
    assert time.next_check_ms == 500 + REFRESH_CHECK_MS
    time.record_check(1_600)
    assert time.next_check_ms == 1_600 + REFRESH_CHECK_MS


def test_lists_are_refreshed_after_the_last_event_when_time_passes():
    events, made = news(21, 767), partition(refreshing())
    shown = {one.user_id: items(one) for one in take(made, events)}
    several = read(made.check_by_clock(events[-1].ts_ms + 1_000))
    assert len(several) > 10
    for one in several:
        assert (one.cause, one.event_ts, one.source) == ("refresh", events[-1].ts_ms, ORIGIN.source_ref(767))
        assert items(one) != shown[one.user_id]
    assert made.report().counts["refreshed"] == len(refreshed(several)) + len(
        refreshed(take(partition(refreshing()), events))
    )


def test_every_look_gives_its_lists_other_ids():
    events, made, ids = news(21, 767), partition(refreshing()), []
    published = take(made, events)
    for minutes in range(0, 4_000, 40):
        published += read(made.check_by_clock(events[-1].ts_ms + minutes * MINUTE_MS))
    ids = [one.list_id for one in published]
    assert len(set(ids)) == len(ids)
    assert len({one.list_id for one in published if one.source["line"] == 767}) > 12


def test_a_partition_that_is_resumed_looks_from_the_event_it_had_seen_last():
    events, made, settings = news(21, 767), partition(refreshing()), refreshing()
    take(made, events)
    again = load(dump(made), settings, lambda: COMPUTED_AT)
    now_ms = events[-1].ts_ms + 1_000
    assert read(again.check_by_clock(now_ms)) == read(made.check_by_clock(now_ms)) != []


@pytest.mark.parametrize("settings", [refreshing(), refreshing(interval_s=0)], ids=["new", "refreshes off"])
def test_without_an_event_or_a_refresh_there_is_nothing_to_look_at(settings):
    made = partition(settings)
    assert made.check_by_clock(START_MS) == []
    if settings.refresh.interval_s == 0:
        take(made, news(21, 767))
        assert made.check_by_clock(START_MS + 3_000 * MINUTE_MS) == []
