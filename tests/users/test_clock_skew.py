"""Events far ahead of their stream: pauses are believed and lose nothing, wrong clocks are refused."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from freshflow.config.schema import EventsConfig, UsersConfig
from freshflow.events.model import Event, Forget, Interaction, ItemUpdate, Origin, Request
from freshflow.events.parser import parse_record
from freshflow.users.clock_skew import MAX_PENDING_EVENTS, SkewDetector, StreamClock
from freshflow.users.store import UserStore

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000
ORIGIN = Origin("file", "events.jsonl")
OTHER = Origin("topic", "events", 1)
CONFIG = EventsConfig()


def view(position: int, user: str, day: float) -> Interaction:
    return Interaction(position, "view", user, f"i{position}", START_MS + int(day * DAY_MS))


def ask(position: int, user: str, day: float) -> Request:
    return Request(position, user, START_MS + int(day * DAY_MS))


def judged(*events: Event, clocks: SkewDetector | None = None, read_ms: int = 0) -> tuple[list[int], list[int]]:
    """Positions that are believed, and those that are refused, so far."""
    believed, refused = (clocks or SkewDetector(CONFIG)).process(ORIGIN, list(events), read_ms)
    return [one.position for one in believed], [one.position for one in refused]


def at_end(*events: Event) -> tuple[list[int], list[int]]:
    """The same when nothing follows."""
    clocks = SkewDetector(CONFIG)
    believed, refused = judged(*events, clocks=clocks)
    for _, more, others in clocks.finish():
        believed += [one.position for one in more]
        refused += [one.position for one in others]
    return believed, refused


def test_an_event_up_to_a_jump_ahead_of_its_stream_is_believed_at_once():
    assert judged(view(1, "u", 0), view(2, "v", 1)) == ([1, 2], [])


def test_an_event_further_ahead_waits_for_what_two_other_users_say():
    clocks = SkewDetector(CONFIG)
    assert judged(view(1, "u", 0), view(2, "v", 1.1), view(3, "u", 1.2), view(4, "u", 1.2), clocks=clocks) == ([1], [])
    assert judged(view(5, "w", 1.2), clocks=clocks) == ([2, 3, 4, 5], [])


def test_a_pause_of_years_is_believed_with_the_next_users():
    assert judged(view(1, "u", 0), view(2, "u", 900), view(3, "v", 900), view(4, "w", 901)) == ([1, 2, 3, 4], [])


def test_one_wrong_clock_is_refused_once_two_others_disagree():
    clocks = SkewDetector(CONFIG)
    assert judged(view(1, "u", 0), view(2, "v", 730), view(3, "u", 0.1), clocks=clocks) == ([1], [])
    assert judged(view(4, "w", 0.2), clocks=clocks) == ([3, 4], [2])


def test_a_wrong_clock_is_refused_as_often_as_it_speaks():
    events = [view(n, "v" if n % 3 == 2 else f"u{n}", 730 if n % 3 == 2 else 0) for n in range(1, 31)]
    assert at_end(*events)[1] == [n for n in range(1, 31) if n % 3 == 2]


def test_a_user_repeated_does_not_outvote_the_rest():
    assert judged(view(1, "u", 0), view(2, "v", 730), *(view(n, "v", 730) for n in range(3, 9))) == ([1], [])


def test_one_late_event_after_a_pause_refuses_nothing():
    assert judged(view(1, "u", 0), view(2, "v", 5), view(3, "w", 0), view(4, "u", 5), view(5, "x", 5)) == (
        *([1, 2, 3, 4, 5], []),
    )


def test_a_request_speaks_as_well_and_moves_no_clock():
    assert judged(view(1, "u", 0), view(2, "v", 5), ask(3, "w", 5), ask(4, "u", 5)) == ([1, 2, 3, 4], [])
    assert judged(ask(1, "u", 900), view(2, "v", 0), view(3, "w", 900)) == ([1, 2], [])


def test_catalogue_events_and_forgets_keep_their_place_and_say_nothing():
    clocks = SkewDetector(CONFIG)
    between = [ItemUpdate(3, "x", START_MS), Forget(4, "u", START_MS), Forget(5, "w", START_MS)]
    assert judged(view(1, "u", 0), view(2, "v", 5), *between, clocks=clocks) == ([1], [])
    assert judged(view(6, "u", 5), view(7, "w", 5), clocks=clocks) == ([2, 3, 4, 5, 6, 7], [])


def test_a_stream_that_begins_with_the_catalogue_has_no_clock_yet():
    clocks = SkewDetector(CONFIG)
    judged(ItemUpdate(1, "x", START_MS - 900 * DAY_MS), clocks=clocks)
    assert judged(view(2, "u", 0), clocks=clocks) == ([2], [])


def test_at_the_end_an_event_is_believed_unless_more_spoke_against_it():
    assert at_end(view(1, "u", 0), view(2, "v", 730)) == ([1, 2], [])
    assert at_end(view(1, "u", 0), view(2, "v", 730), view(3, "u", 0)) == ([1, 3], [2])
    assert at_end(view(1, "u", 0), view(2, "v", 5), view(3, "u", 0), view(4, "w", 5)) == ([1, 2, 3, 4], [])


def test_no_more_events_wait_than_are_held():
    clocks = SkewDetector(CONFIG)
    waiting = [view(n, "u", 5) for n in range(2, 2 + MAX_PENDING_EVENTS)]
    assert judged(view(1, "u", 0), *waiting, clocks=clocks) == ([1], [])
    assert judged(view(2 + MAX_PENDING_EVENTS, "u", 5), clocks=clocks) == (list(range(2, 3 + MAX_PENDING_EVENTS)), [])


def test_an_event_as_new_as_its_reading_never_waits():
    events = [view(1, "u", 0), view(2, "u", 900)]
    hour_ms = 3_600_000
    assert judged(*events, read_ms=events[1].ts_ms + hour_ms) == ([1, 2], [])
    assert judged(*events, read_ms=events[1].ts_ms + hour_ms + 1) == ([1], [])


def test_a_new_event_frees_what_waits_before_it_whoever_it_is_of():
    clocks = SkewDetector(CONFIG)
    now = view(3, "v", 900)
    assert judged(view(1, "u", 0), view(2, "v", 899), clocks=clocks, read_ms=now.ts_ms) == ([1], [])
    assert judged(now, clocks=clocks, read_ms=now.ts_ms) == ([2, 3], [])


def test_each_origin_has_its_own_clock():
    clocks = SkewDetector(CONFIG)
    clocks.process(ORIGIN, [view(1, "u", 0)], 0)
    assert clocks.process(OTHER, [view(1, "v", 900)], 0) == ([view(1, "v", 900)], [])
    assert clocks.process(ORIGIN, [view(2, "w", 0.5)], 0)[0] == [view(2, "w", 0.5)]


def test_a_stream_is_reached_up_to_what_waits():
    clocks = SkewDetector(CONFIG)
    assert clocks.processed_position(ORIGIN, 7) == 7
    judged(view(1, "u", 0), view(5, "v", 900), clocks=clocks)
    assert (clocks.processed_position(ORIGIN, 9), clocks.processed_position(OTHER, 9)) == (4, 9)


def test_a_refusal_says_what_was_wrong_and_holds_the_event():
    wrong = Interaction(2, "view", "v", "ü", START_MS + 730 * DAY_MS, event_id="e", value=2.0)
    _, (refused,) = SkewDetector(CONFIG).process(ORIGIN, [view(1, "u", 0), wrong, view(3, "u", 0), view(4, "w", 0)], 0)
    assert (refused.origin, refused.position, refused.code) == (ORIGIN, 2, "ahead")
    assert "is 730 days ahead" in refused.reason
    assert parse_record(ORIGIN, 2, refused.raw, columns=None, config=CONFIG) == wrong


def record(position: int, user: str, *days: float) -> list[Interaction]:
    """The events of one record, which share its id."""
    times = [START_MS + int(day * DAY_MS) for day in days]
    return [
        Interaction(position, "view", user, f"i{n}", ms, event_id=f"r{position}", nth=n) for n, ms in enumerate(times)
    ]


def test_what_a_record_holds_of_later_days_is_believed_and_leaves_the_streams_clock():
    clocks = SkewDetector(CONFIG)
    assert judged(*record(1, "u", 0, 20, 0.1), view(2, "v", 0.2), clocks=clocks) == ([1, 1, 1, 2], [])
    assert judged(view(3, "w", 20), clocks=clocks) == ([], [])  # is ahead of the first events
    assert judged(*record(1, "u", 0, 0.9), view(2, "v", 1.5)) == ([1, 1], [])


def test_a_record_waits_is_believed_and_refused_as_one():
    clocks, ahead = SkewDetector(CONFIG), record(2, "v", 5, 0, 6)
    assert judged(view(1, "u", 0), *ahead, clocks=clocks) == ([1], [])
    assert clocks.processed_position(ORIGIN, 2) == 1
    agreed = SkewDetector(CONFIG, clocks.streams.values())
    assert judged(view(3, "w", 5), view(4, "x", 5), clocks=agreed) == ([2, 2, 2, 3, 4], [])
    assert judged(view(3, "w", 0), view(4, "x", 0), clocks=clocks) == ([3, 4], [2, 2, 2])


def test_a_long_record_does_not_outvote_those_behind_it():
    wrong = record(2, "v", *[730] * (MAX_PENDING_EVENTS + 9))
    assert judged(view(1, "u", 0), *wrong, view(3, "w", 0), view(4, "x", 0)) == ([1, 3, 4], [2] * len(wrong))


def test_the_events_of_a_refused_record_are_no_duplicates_once_their_clocks_are_set():
    events = [view(1, "u", 0), *record(2, "v", 730, 0, 730), view(3, "w", 0), view(4, "x", 0)]
    _, refused = SkewDetector(CONFIG).process(ORIGIN, events, 0)
    assert all("record's first event" in one.reason and "730 days ahead" in one.reason for one in refused[1:])
    again = [parse_record(ORIGIN, 5 + n, one.raw, columns=None, config=CONFIG) for n, one in enumerate(refused)]
    bucket = UserStore(UsersConfig(), 9)
    assert [step.position for step in bucket.process(again)] == [5, 7]
    assert bucket.counts == {"late": 1}


@pytest.mark.parametrize("restored", [False, True])
def test_a_record_that_waited_is_no_duplicate_of_itself(restored):
    bucket = UserStore(UsersConfig(), 9)
    steps, _ = bucket.process_batch(ORIGIN, [view(1, "u", 0), *record(2, "v", 5, 5.1, 5.2)], 0)
    assert len(steps) == 1
    if restored:
        snapshot, bucket = bucket.snapshot(), UserStore(UsersConfig(), 9)
        bucket.load_snapshot(snapshot)
    steps, _ = bucket.process_batch(ORIGIN, [view(3, "w", 5), view(4, "x", 5)], 0)
    assert [(step.position, step.nth) for step in steps] == [(2, 0), (2, 1), (2, 2), (3, 0), (4, 0)]
    steps, _ = bucket.process_batch(
        ORIGIN, [structs.replace(one, position=5) for one in record(2, "v", 5, 5.1, 5.2)], 0
    )
    assert (steps, bucket.counts["duplicate"]) == ([], 3)


def test_what_waits_is_part_of_a_buckets_state():
    bucket, other = (UserStore(UsersConfig(), 9) for _ in range(2))
    held = [view(2, "v", 900), ask(3, "v", 900), ItemUpdate(4, "x", START_MS), Forget(5, "q", START_MS)]
    bucket.process_batch(ORIGIN, [view(1, "u", 0), *held], 0)
    other.load_snapshot(bucket.snapshot())
    assert other.skew_detector.streams == bucket.skew_detector.streams
    assert other.skew_detector.streams[ORIGIN.key] == StreamClock(ORIGIN, START_MS, tuple(held))
    assert [step.position for step in other.process_batch(ORIGIN, [view(6, "u", 900), view(7, "w", 900)], 0)[0]] == [
        *range(2, 8),
    ]


def test_a_bucket_takes_what_waits_at_the_end():
    bucket = UserStore(UsersConfig(), 9)
    bucket.process_batch(ORIGIN, [view(1, "u", 0), view(2, "v", 900)], 0)
    assert "v" not in bucket.users
    ((origin, steps, refused),) = bucket.finish()
    assert (origin, [step.position for step in steps], refused) == (ORIGIN, [2], [])
    assert bucket.finish() == []


# Steps between events, in days: mostly none, now and then a long pause, and events that come late.
pauses = st.lists(st.sampled_from([0, 0, 0.01, 0.5, 1, 3, 400]), min_size=1, max_size=40)
users = st.lists(st.sampled_from("uvw"), min_size=40, max_size=40)
late = st.lists(st.sampled_from([0, 0, 0, 0.2, 0.9]), min_size=40, max_size=40)
cuts = st.lists(st.integers(0, 40), max_size=6).map(sorted)


def stream(pauses: list[float], users: list[str], late: list[float]) -> list[Interaction]:
    day, events = 0.0, []
    for n, (pause, user, behind) in enumerate(zip(pauses, users, late, strict=False), start=1):
        day += pause
        events.append(view(n, user, day - behind))
    return events


def in_batches(events: list[Event], cuts: list[int]) -> tuple[list[int], list[int]]:
    """What is believed and refused of events that come in batches, with a snapshot after each."""
    clocks = SkewDetector(CONFIG)
    believed, refused = [], []
    for start, end in pairwise([0, *cuts, len(events)]):
        some, others = clocks.process(ORIGIN, events[start:end], 0)
        believed += [one.position for one in some]
        refused += [one.position for one in others]
        kept = msgspec.msgpack.encode(list(clocks.streams.values()))
        clocks = SkewDetector(CONFIG, msgspec.msgpack.decode(kept, type=list[StreamClock]))
    for _, some, others in clocks.finish():
        believed += [one.position for one in some]
        refused += [one.position for one in others]
    return believed, refused


@settings(deadline=None, derandomize=True, max_examples=300)
@given(pauses, users, late, cuts)
def test_no_pause_loses_an_event_or_changes_its_place(pauses, users, late, cuts):
    events = stream(pauses, users, late)
    assert in_batches(events, cuts) == ([one.position for one in events], [])


@settings(deadline=None, derandomize=True, max_examples=300)
@given(pauses, users, st.lists(st.integers(1, 39), min_size=1, max_size=6, unique=True), cuts)
def test_a_wrong_clock_among_others_is_refused_wherever_batches_end(pauses, users, places, cuts):
    """Its events are those of one user, who says what nobody else says; others go on after it."""
    events = stream(pauses, users, [0] * 40)
    last = events[-1].ts_ms
    others = [Interaction(100 + n, "view", user, "i", last) for n, user in enumerate("uvw")]
    wrong = {n for n in places if n < len(events)}
    mixed: list[Event] = [
        one
        for n, event in enumerate([*events, *others])
        for one in ([Interaction(1000 + n, "view", "bad", "i", last + 730 * DAY_MS)] if n in wrong else []) + [event]
    ]
    believed, refused = in_batches(mixed, cuts)
    assert refused == [1000 + n for n in sorted(wrong)]
    assert believed == [one.position for one in [*events, *others]]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_three_wrong_clocks_in_a_row_that_agree_are_believed_and_that_is_the_limit_of_it(count):
    wrong = [view(2 + n, f"bad{n}", 730) for n in range(count)]
    refused = at_end(view(1, "u", 0), *wrong, view(5, "v", 0), view(6, "w", 0))[1]
    assert refused == ([one.position for one in wrong] if count < 3 else [])
