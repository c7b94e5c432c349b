"""Lists of related items: which are published, when, by whom, and that none shows what is gone."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from freshflow.config.schema import Config, RelatedConfig
from freshflow.engine.partition import Partition
from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Event, ItemUpdate
from freshflow.items.covisitation import COOCCURRENCE
from freshflow.outputs.records import RelatedItems, encode_related
from freshflow.related.feature import RelatedFeature
from freshflow.related.publisher import MAX_RELATED_TOKENS, RELATED_CHECK_INTERVAL, owner_partition
from freshflow.related.similarity import SHRINKAGE
from freshflow.users.store import UserStore
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    SIZES,
    START_MS,
    availability,
    batches,
    config,
    feature,
    partition,
    related,
    stream,
    view,
)
from tests.engine.test_remote_events_between_partitions import split

ALL = {"interval_s": 0.0, "max_updates_per_100_events": 1e6, "min_change": 0.0}


def relating(partitions: int = 1, *, items: int = 1000, **settings: float) -> Config:
    base = config(partitions)
    return msgspec.structs.replace(
        base, related=RelatedConfig(**settings), items=msgspec.structs.replace(base.items, max=items)
    )


def made_with(settings: Config, number: int = 0) -> Partition:
    return partition(settings, number, publishes_related=True)


def relations(made: Partition, events: Sequence[Event], *, size: int = 256) -> list[RelatedItems]:
    """What a partition publishes of items, of events in batches of `size`, after a user stage that starts here."""
    bucket, several = UserStore(made.config.users, 1000), []
    for batch in batches(events, size):
        several += related(made.process(ORIGIN, bucket.process(batch)))
    return several


def standing(several: Sequence[RelatedItems]) -> dict[str, list[str]]:
    """What a consumer is left with."""
    lists: dict[str, list[str]] = {}
    for one in several:
        lists.pop(one.item_id, None)
        if encode_related(one)[1] is not None:
            lists[one.item_id] = [item.item_id for item in one.items]
    return lists


def views(seed: int, count: int, items: int = 40) -> list[Event]:
    random = np.random.default_rng(seed)
    return [view(n, f"u{random.integers(12)}", f"i{random.integers(items):02d}") for n in range(1, count + 1)]


def naive(made: Partition, item: str, k: int) -> list[tuple[str, float]]:
    rows, covisits = made.item_statistics.index, made.item_statistics.tables.covisits
    x, sums = rows.get(item), covisits.sums[:, COOCCURRENCE]
    scored = []
    for y, weights in zip(covisits.neighbours[x].tolist(), covisits.weights[x].tolist(), strict=True):
        n = weights[COOCCURRENCE]
        if y >= 0 and n >= made.config.related.min_support and made.item_statistics.is_available(rows.ids[y]):
            scored.append((rows.ids[y], round(n / (sums[x] * sums[y]) ** 0.5 * n / (n + SHRINKAGE), 6)))
    return sorted(scored, key=lambda one: (-one[1], one[0]))[:k]


def test_a_list_holds_the_nearest_items_as_of_the_event_it_names():
    made = made_with(relating(k=5, **ALL))
    bucket, looks = UserStore(made.config.users, 1000), 0
    for events in batches(views(1, 5 * RELATED_CHECK_INTERVAL), RELATED_CHECK_INTERVAL):
        several = related(made.process(ORIGIN, bucket.process(events)))
        looks += bool(several)
        for one in several:
            assert [(item.item_id, item.score) for item in one.items] == naive(made, one.item_id, 5)
            assert (one.source, one.event_ts) == (ORIGIN.source_ref(events[-1].position), events[-1].ts_ms)
            assert (one.computed_at, one.model) == (COMPUTED_AT, {"partition": 0})
    assert looks == 5
    assert made.report().counts["related"] > 100


def test_nothing_is_computed_where_nobody_asked():
    made = partition(relating(**ALL))
    assert relations(made, views(1, 300)) == []
    assert "related" not in made.report().counts


def test_what_is_left_is_published_at_the_end_of_the_input():
    made = made_with(relating(**ALL))
    assert relations(made, views(2, RELATED_CHECK_INTERVAL - 1)) == []
    assert len(related(made.finish(ORIGIN))) > 10


def test_batches_change_nothing():
    events = stream(3, 500)
    several = {size: relations(made_with(relating(**ALL)), events, size=size) for size in SIZES}
    assert several[1] == several[7] == several[256] != []


def test_what_is_published_stays_within_the_budget_and_new_items_come_first():
    events = views(4, 4000, items=400)
    several = relations(made_with(relating(max_updates_per_100_events=2.0, interval_s=0.0, min_change=0.0)), events)
    assert MAX_RELATED_TOKENS + 50 < len(several) <= MAX_RELATED_TOKENS + 80
    free = relations(made_with(relating(**ALL)), events)
    assert len(free) > 5 * len(several)


def test_an_item_waits_for_its_interval():
    times: dict[str, list[int]] = {}
    for one in relations(made_with(relating(**ALL | {"interval_s": 300.0})), views(5, 1500)):
        times.setdefault(one.item_id, []).append(one.event_ts)
    gaps = [later - earlier for of_item in times.values() for earlier, later in pairwise(of_item)]
    assert len(gaps) > 20
    assert min(gaps) >= 300_000


def test_a_list_that_changed_little_is_not_published():
    events = views(6, 3000)
    every = relations(made_with(relating(**ALL)), events)
    some = relations(made_with(relating(**ALL | {"min_change": 0.6})), events)
    assert len(some) < 0.8 * len(every)
    assert standing(some).keys() == standing(every).keys()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_list_that_stands_shows_or_is_of_what_is_not_available(seed):
    random, made, several, gone = np.random.default_rng(seed), made_with(relating(k=5)), [], set()
    bucket, withdrawn = UserStore(made.config.users, 1000), 0
    for event in views(seed, 900):
        events: list[Event] = [event]
        if random.random() < 0.1:
            item, back = f"i{random.integers(40):02d}", random.random() < 0.4
            (gone.discard if back else gone.add)(item)
            events.append(ItemUpdate(event.position, item, event.ts_ms, available=back))
        fresh = related(made.process(ORIGIN, bucket.process(events)))
        withdrawn += sum(one.source == ORIGIN.source_ref(event.position) and not one.items for one in fresh)
        several += fresh
        lists = standing(several)
        assert not gone & (lists.keys() | {item for shown in lists.values() for item in shown})
    assert withdrawn > 5


def test_an_item_that_comes_back_stands_on_lists_again():
    made = made_with(relating(k=40, **ALL))
    bucket = UserStore(made.config.users, 1000)

    def after(*events: Event) -> list[RelatedItems]:
        return related([*made.process(ORIGIN, bucket.process(events)), *made.finish(ORIGIN)])

    several = after(*views(7, 300))
    holders = {item for item, shown in standing(several).items() if "i03" in shown}
    assert len(holders) > 5
    several += after(availability(301, "i03", False))
    assert "i03" not in standing(several)
    several += after(availability(302, "i03", True))
    assert {item for item, shown in standing(several).items() if "i03" in shown} >= holders
    assert "i03" in standing(several)


def test_the_list_of_an_item_that_is_evicted_ends_and_its_row_means_another():
    made = made_with(relating(items=100, **ALL))
    events = views(8, 300, items=60)
    late = [view(n, f"v{n % 9}", f"new{n // 3}") for n in range(301, 1200)]
    several = relations(made, [*events, *late])
    lists = standing(several + related(made.finish(ORIGIN)))
    known = {item for item in made.item_statistics.index.ids if item}
    assert made.item_statistics.n_evicted > 100
    assert lists.keys() <= known
    assert any(not one.items for one in several)
    of_row = feature(made, RelatedFeature).publisher.ids
    assert all(made.item_statistics.index.ids[row] == item for row, item in enumerate(of_row) if item)


@pytest.mark.parametrize("partitions", [2, 3])
def test_each_item_is_published_by_one_partition_and_none_is_left_out(partitions):
    _, published = split(views(9, 900), partitions, publishes_related=True)
    several = related(published)
    assert all(owner_partition(one.item_id, partitions) == one.model["partition"] for one in several)
    alone = made_with(relating())
    single = relations(alone, views(9, 900), size=40) + related(alone.finish(ORIGIN))
    assert {one.item_id for one in several} == {one.item_id for one in single}


@pytest.mark.parametrize("after", [1, 100, 300])
def test_a_partition_that_is_resumed_publishes_what_one_that_ran_on_does(after):
    settings = relating(items=100, max_updates_per_100_events=5.0)
    events = [*stream(10, 400), *[view(n, f"v{n % 9}", f"new{n // 3}") for n in range(401, 900)]]
    whole, resumed = made_with(settings), made_with(settings)
    bucket, several = UserStore(settings.users, 1000), ([], [])
    for n, batch in enumerate(batches(events, 1)):
        steps = bucket.process(batch)
        for made, published in zip((whole, resumed), several, strict=True):
            published += related(made.process(ORIGIN, steps))
        if n == after:
            resumed = load(dump(resumed), settings, lambda: COMPUTED_AT)
    assert several[0] == several[1] != []
    assert any(not one.items for one in several[0])


def test_lists_of_another_length_are_published_anew_after_a_resume():
    made = made_with(relating(k=3, **ALL))
    relations(made, views(11, 300))
    longer = load(dump(made), relating(k=6, **ALL), lambda: COMPUTED_AT)
    several = related(longer.finish(ORIGIN))
    assert {len(one.items) for one in several} == {6}
    assert several[0].event_ts > START_MS
