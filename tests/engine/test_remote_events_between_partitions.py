"""Several partitions that hear of each other's visits: each comes to know what one alone would."""

from collections import Counter
from zlib import crc32

import numpy as np
import pytest

from freshflow.engine.partition import Partition
from freshflow.engine.remote_events import MAX_BUFFERED_EVENTS
from freshflow.events.model import Interaction, ItemUpdate
from freshflow.items.popularity import FIRST_WINDOW, LATEST_MS, N_EVENTS
from freshflow.outputs.records import Output, RecommendationList
from freshflow.users.store import UserStore
from freshflow.users.updates import UserInteraction
from tests.builders.streams import (
    ORIGIN,
    SIZES,
    START_MS,
    batches,
    config,
    encoded,
    items,
    partition,
    read,
    request,
    steps,
    stream,
    view,
)


def split(
    events, partitions: int, size: int = 40, late: bool = False, *, publishes_related: bool = False
) -> tuple[list[Partition], list[Output]]:
    """Process events in several partitions, and return these and their outputs.

    If `late` is set, partitions receive the remote events of a batch only after their next batch.
    """
    settings = config(partitions)
    parts = [partition(settings, number, publishes_related=publishes_related) for number in range(partitions)]
    buckets = [UserStore(settings.users, 1000) for _ in parts]
    published, held = [], []
    for batch in batches(events, size):
        taken = [buckets[n].process(_of(batch, n, partitions)) for n in range(partitions)]
        signals = [
            (n, [step.visit for step in own if isinstance(step, UserInteraction)]) for n, own in enumerate(taken)
        ]
        held, now = (signals, held) if late else ([], signals)
        _hear(parts, now)
        for part, own in zip(parts, taken, strict=True):
            published += part.process(ORIGIN, own)
    _hear(parts, held)
    for part in parts:
        published += part.finish(ORIGIN)
    return parts, published


def _of(events, number: int, partitions: int) -> list:
    return [
        event
        for event in events
        if isinstance(event, ItemUpdate) or crc32(event.user_id.encode()) % partitions == number
    ]


def _hear(parts: list[Partition], signals) -> None:
    for part in parts:
        for number, visits in signals:
            if number != part.number:
                part.buffer_remote_events(ORIGIN, visits[::-1])


def knowledge(part: Partition) -> dict[str, tuple[float, ...]]:
    """What is known of each item, by id, but for the last 50 and 200 events: they differ where signals are late."""
    tables = part.item_statistics.tables
    return {
        item: (
            *tables.covisits.sums[row],
            *tables.revisits.counts[row],
            *np.delete(tables.popularity.counters[row], [FIRST_WINDOW, FIRST_WINDOW + 1]),
            *np.delete(tables.session_start_popularity.counters[row], [FIRST_WINDOW, FIRST_WINDOW + 1]),
            tables.available[row],
        )
        for row, item in enumerate(part.item_statistics.index.ids)
    }


def events_of(part: Partition) -> int:
    return part.item_statistics.tables.popularity.clock[N_EVENTS]


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
@pytest.mark.parametrize("partitions", [2, 3])
def test_every_partition_knows_all_items_as_one_alone_would(partitions, late):
    events = stream(1, 400)
    (alone,), _ = split(events, 1)
    expected = knowledge(alone)
    for part in split(events, partitions, late=late)[0]:
        known = knowledge(part)
        assert known.keys() == expected.keys()
        for item, values in known.items():
            np.testing.assert_allclose(values, expected[item], rtol=1e-5, err_msg=item)
        assert events_of(part) == events_of(alone)


def test_users_are_validated_and_learned_in_their_own_partition_only():
    events = stream(2, 200)
    parts, _ = split(events, 2)
    interactions = Counter(crc32(e.user_id.encode()) % 2 for e in events if isinstance(e, Interaction))
    assert [part.report().counts["events"] for part in parts] == [interactions[0], interactions[1]]
    assert min(interactions.values()) > 0


def test_every_event_gets_its_list_from_its_own_partition_once():
    published = read(split(stream(3, 200), 2)[1])
    lists = [one for one in published if hasattr(one, "model")]
    assert all(crc32(one.user_id.encode()) % 2 == one.model.partition for one in lists)
    assert len({one.list_id for one in lists}) == len(lists)


def test_a_list_knows_the_signals_above_it_and_none_below():
    visits = [step.visit for step in steps([view(1, "v", "above"), view(9, "w", "below")])]
    made = partition(config(partitions=2))
    made.buffer_remote_events(ORIGIN, visits)
    answer = read(made.process(ORIGIN, steps([view(2, "u", "own"), request(5, "u")])))[-1]
    assert sorted(items(answer)) == ["above", "own"]
    answer = read(made.process(ORIGIN, steps([request(10, "u")])))[-1]
    assert sorted(items(answer)) == ["above", "below", "own"]


def test_a_batch_without_own_events_lets_signals_in_as_far_as_it_was_read():
    made = partition(config(partitions=2))
    made.buffer_remote_events(ORIGIN, [step.visit for step in steps([view(1, "v", "above"), view(9, "w", "below")])])
    assert made.process(ORIGIN, [], 5) == []
    assert sorted(made.item_statistics.index.ids) == ["above"]


def test_signals_publish_nothing_and_teach_the_ranker_nothing():
    made = partition(config(partitions=2))
    made.buffer_remote_events(ORIGIN, [step.visit for step in steps([view(n, "v", f"i{n % 3}") for n in range(1, 50)])])
    made.finish(ORIGIN)
    counts = made.report().counts
    assert (counts["items"], counts["updates"], counts["users_active"]) == (3, 0, 0)
    assert made.report().counts.get("events", 0) == 0


def test_lessons_teach_the_ranker_what_it_would_learn_from_its_own_and_count_for_no_quality():
    events = [event for event in stream(6, 200) if isinstance(event, Interaction) and event.weight > 0]
    alone, taught = partition(config()), partition(config(partitions=2))
    alone.process(ORIGIN, steps(events))
    taught.buffer_remote_events(ORIGIN, [step.remote_event for step in steps(events, for_all=200)])
    taught.finish(ORIGIN)
    np.testing.assert_array_equal(taught.ranker.weights.linear, alone.ranker.weights.linear)
    np.testing.assert_array_equal(taught.ranker.weights.units, alone.ranker.weights.units)
    assert alone.ranker.weights.linear.any()
    counts = taught.report().counts
    assert (counts["remote_examples"], counts.get("events", 0)) == (len(events), 0)
    assert taught.report().quality["hr20"] == 0


def test_too_many_signals_are_taken_in_without_an_event_of_their_own():
    made = partition(config(partitions=2))
    one = [step.visit for step in steps([view(n, "v", f"i{n % 3}") for n in range(MAX_BUFFERED_EVENTS)])]
    made.buffer_remote_events(ORIGIN, one)
    made.flush_if_full(ORIGIN)
    assert made.report().counts["items"] == 0
    made.buffer_remote_events(
        ORIGIN,
        [step.visit for step in steps([view(MAX_BUFFERED_EVENTS, "v", "last", after_ms=MAX_BUFFERED_EVENTS * 1000)])],
    )
    made.flush_if_full(ORIGIN)
    assert events_of(made) == MAX_BUFFERED_EVENTS + 1
    assert made.item_statistics.tables.popularity.clock[LATEST_MS] == START_MS + MAX_BUFFERED_EVENTS * 1000


@pytest.mark.parametrize("partitions", [2, 3])
def test_lists_of_several_partitions_know_nothing_that_stands_below_them(partitions):
    events = stream(4, 200)
    whole = read(split(events, partitions, size=20)[1])
    for end in (1, 20, 33, 100, 161):
        above = read(split(events[:end], partitions, size=20)[1])
        later = {one.list_id for one in above if isinstance(one, RecommendationList)}
        same = [one for one in whole if isinstance(one, RecommendationList) and one.list_id in later]
        assert encoded(same) == encoded(one for one in above if isinstance(one, RecommendationList))


@pytest.mark.parametrize("size", SIZES)
def test_a_partition_that_hears_in_time_gives_the_same_lists_whatever_the_size_of_batches(size):
    events = stream(5, 150)
    expected, taken = (read(split(events, 2, size=each)[1]) for each in (30, size))
    for number in range(2):
        one, other = (
            [each for each in published if isinstance(each, RecommendationList) and each.model.partition == number]
            for published in (expected, taken)
        )
        assert encoded(one) == encoded(other)
