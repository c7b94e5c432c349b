"""Where one batch ends and the next begins changes nothing: not lists, nor weights, nor what is known of items."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.events.model import Event, Interaction
from freshflow.items.visit import ItemVisit
from tests.builders.streams import (
    ORIGIN,
    SIZES,
    START_MS,
    config,
    encoded,
    partition,
    request,
    search,
    stream,
    take,
    view,
)


def known(made: Partition) -> list:
    """All that a partition has learned: rows, tables, weights in use, and what the models have learned since."""
    ranker, knowledge = made.ranker, made.item_statistics
    tables = [array for table in knowledge.tables for array in (table if isinstance(table, tuple) else (table,))]
    learned = [dict(model.weights) for model in ranker.models]
    return [
        knowledge.index.ids,
        knowledge.index.state().free_rows,
        *tables,
        *ranker.weights,
        ranker.units,
        learned,
        ranker.n_updates,
    ]


def compare(events: list[Event], settings: Config | None = None, sizes: tuple[int, ...] = SIZES) -> None:
    """That batches of all `sizes` come to exactly the same."""
    parts = [partition(settings) for _ in sizes]
    published = [encoded(take(part, events, size=size)) for part, size in zip(parts, sizes, strict=True)]
    first = known(parts[0])
    for part, lists in zip(parts[1:], published[1:], strict=True):
        assert lists == published[0]
        for one, other in zip(known(part), first, strict=True):
            assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other
        assert part.report() == parts[0].report()


def bounded(items: int, neighbours: int = 64) -> Config:
    """Settings under which items are evicted."""
    settings = config(contributions=True)
    return msgspec.structs.replace(
        settings, items=msgspec.structs.replace(settings.items, max=items, neighbours=neighbours)
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_batches_of_any_size_give_the_same_lists_weights_and_knowledge(seed):
    compare(stream(seed, 400), config(contributions=True), (*SIZES, 400))


def test_without_hidden_units_too():
    settings = config(contributions=True)
    compare(
        stream(3, 200),
        msgspec.structs.replace(settings, ranker=msgspec.structs.replace(settings.ranker, hidden_units=0)),
    )


def test_batches_of_any_size_give_the_same_where_rows_are_full():
    compare(stream(4, 400), bounded(1000, neighbours=3))


@pytest.mark.parametrize("items", [12, 32, 36])
def test_batches_of_any_size_give_the_same_where_items_are_evicted(items):
    compare(stream(items, 400), bounded(items, neighbours=4))


def full(*first: Event) -> list[Event]:
    """Events that fill a table of 32 items, `first` and then every other twice; the next new one evicts two."""
    seen = {event.item_id for event in first}
    others = [f"i{n:02d}" for n in range(32 - len(seen))]
    return [*first, *(view(100 + n, "w", item) for n, item in enumerate(item for item in others for _ in range(2)))]


def test_what_was_evicted_and_comes_back_later_in_a_batch_is_no_candidate_until_then():
    events = full(view(1, "u", "x"), view(2, "v", "y"))
    events += [view(200, "v", "new"), request(201, "u"), search(202, "u", "x", "i29"), view(203, "v", "x")]
    compare([*events, request(204, "u")], bounded(32))


def test_what_was_evicted_and_comes_back_later_in_a_batch_is_no_company_until_then():
    events = full(view(1, "u", "x"), view(2, "v", "y"))
    events += [view(199, "w", "i00"), view(200, "v", "new")]  # after the 64th a batch ends in any case
    events += [view(201, "u", "i05"), view(202, "v", "x"), request(203, "u")]
    compare(events, bounded(32))


def test_visits_of_other_partitions_may_come_in_one_batch_or_in_many():
    def heard(made: Partition, size: int) -> list:
        visits = [
            ItemVisit(
                n,
                f"i{n % 9}",
                tuple(f"i{m % 9}" for m in range(n))[-n % 5 :][:7],
                START_MS + n,
                is_session_start=n % 4 == 0,
            )
            for n in range(200)
        ]
        for start in range(0, 200, size):
            made.buffer_remote_events(ORIGIN, visits[start : start + size])
            made.process(ORIGIN, [], end_position=start + size - 1)
        return known(made)

    one, *others = (heard(partition(config(partitions=2)), size) for size in SIZES)
    for other in others:
        assert all(
            np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(one, other, strict=True)
        )


kinds = st.sampled_from(["view", "view", "view", "request", "search", "dismiss"])
drawn = st.lists(st.tuples(kinds, st.sampled_from("uvw"), st.sampled_from("abcdefghijklmnop")), max_size=60)


def event(position: int, kind: str, user: str, item: str) -> Event:
    if kind == "request":
        return request(position, user, exclude_seen=item < "e")
    if kind == "search":
        return search(position, user, item, "a", "b", "zz")
    seen = view(position, user, item, after_ms=position * 400_000)
    return seen if kind == "view" else msgspec.structs.replace(seen, type="dismiss", weight=-1.0)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(drawn, st.sampled_from([11, 1000]))
def test_whatever_happens_in_whatever_batches(drawn, items):
    compare([event(n, *one) for n, one in enumerate(drawn, start=1)], bounded(items))


@pytest.mark.parametrize("size", [1, 3, 8, 11])
def test_weights_lag_at_fixed_counts_of_interactions_whatever_stands_between(size):
    events = stream(8, 120, controls=False)
    silent = [one for one in events if isinstance(one, Interaction)]
    one, other = partition(), partition()
    take(one, events, size=size)
    take(other, silent, size=1)
    assert one.ranker.n_applied_updates == other.ranker.n_applied_updates < other.ranker.n_updates
    for some, same in zip(one.ranker.weights, other.ranker.weights, strict=True):
        assert np.array_equal(some, same)


def test_with_refreshes_too():
    compare(stream(9, 400), config(refresh=True))
