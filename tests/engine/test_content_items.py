"""Partitions with content on: items that nobody has touched are listed, explained and kept; off, nothing changes."""

import msgspec
import numpy as np
import pytest

from freshflow.config.schema import Config, ContentConfig, ExploreConfig, RulesConfig
from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Event, Interaction, ItemUpdate
from freshflow.users.store import UserStore
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    START_MS,
    batches,
    config,
    encoded,
    items,
    outputs,
    partition,
    read,
    request,
    search,
    stream,
    view,
)
from tests.refresh.test_scheduler import news, refreshing

CONTENT = ContentConfig(nearest=6, newest=3)
WIDTH = 8


def with_content(settings: Config, content: ContentConfig = CONTENT) -> Config:
    return msgspec.structs.replace(settings, content=content)


SETTINGS = with_content(config(contributions=True))


def launched(position: int, item: str, vector: np.ndarray | None = None, *categories: str, **fields) -> ItemUpdate:
    embedding = None if vector is None else tuple(vector.tolist())
    ts_ms = START_MS + 30_000 * position
    return ItemUpdate(position, item, ts_ms, categories=categories or None, embedding=embedding, **fields)


def shop(seed: int, events: int = 200) -> list[Event]:
    """A stream in which every item has a vector and a category, and every tenth event launches one nobody touches."""
    random, several = np.random.default_rng(seed), stream(seed, events)
    opening = [launched(0, f"i{n:02d}", random.normal(size=WIDTH), f"c{n % 5}") for n in range(41)]
    said = [*opening]
    for event in several:
        if event.position % 10 == 0:
            said.append(launched(0, f"new{event.position}", random.normal(size=WIDTH), f"c{event.position % 5}"))
            said[-1] = msgspec.structs.replace(said[-1], ts_ms=event.ts_ms)
        said.append(event)
    return [msgspec.structs.replace(event, position=n) for n, event in enumerate(said, 1)]


def run(settings: Config, events: list[Event], snapshots_after: tuple[int, ...] = ()):
    made, bucket, published = partition(settings), UserStore(settings.users, 1000), []
    for n, batch in enumerate(batches(events, 40)):
        published += made.process(ORIGIN, bucket.process(batch))
        if n in snapshots_after:
            made = load(dump(made), settings, lambda: COMPUTED_AT)
    return published, made


@pytest.mark.parametrize("by", ["vector", "category"])
def test_an_item_that_nobody_has_touched_is_listed_for_those_who_like_its_kind(by):
    kinds = np.eye(2, WIDTH)
    events: list[Event] = []
    for n in range(60):
        kind = n % 2
        said = (kinds[kind],) if by == "vector" else (None, f"kind{kind}")
        events += [launched(len(events), f"{'ab'[kind]}{n}", *said)]
    for n in range(8):
        events += [Interaction(len(events), "view", "u", f"a{2 * n}", START_MS + 30_000 * len(events))]
    last = outputs(events, with_content(config(k=50), ContentConfig(nearest=10)))[-1]
    listed = {item.item_id: item for item in last.items}
    untouched = [item for item in listed if item not in {f"a{2 * n}" for n in range(8)}]
    assert len(untouched) == 10
    assert {item[0] for item in untouched} == {"a"}
    assert {listed[item].reason for item in untouched} == {"similar"}
    assert all(listed[item].because and listed[item].because[0][0] == "a" for item in untouched)
    without = outputs(events, config(k=50))[-1]
    assert not {item.item_id for item in without.items} & set(untouched)


def test_contributions_add_up_to_the_score_with_content_on():
    explained = [item for one in outputs(shop(7), SETTINGS) for item in getattr(one, "items", ())]
    names = {name for item in explained for name in item.contributions}
    assert {"like_taste", "category_taste", "cold"} <= names
    for item in explained:
        assert sum(item.contributions.values()) == pytest.approx(item.score, abs=1e-9)


@pytest.mark.parametrize("snapshots_after", [(0,), (1, 3)], ids=str)
def test_a_partition_with_embeddings_goes_on_byte_for_byte_after_a_snapshot(snapshots_after):
    expected, uninterrupted = run(SETTINGS, shop(1))
    published, resumed = run(SETTINGS, shop(1), snapshots_after)
    assert encoded(published) == encoded(expected)
    assert resumed.report() == uninterrupted.report()
    assert b'"similar"' in b"".join(value or b"" for _, value in encoded(expected))


def test_lists_do_not_depend_on_how_events_are_batched():
    events = shop(2)
    assert outputs(events, SETTINGS, size=7) == outputs(events, SETTINGS, size=256)


def test_what_items_are_changes_nothing_while_content_is_off():
    events = shop(4)
    plain = [
        msgspec.structs.replace(event, embedding=None, categories=None) if isinstance(event, ItemUpdate) else event
        for event in events
    ]
    assert encoded(outputs(events)) == encoded(outputs(plain))
    assert encoded(outputs(events)) != encoded(outputs(events, with_content(config())))


def test_a_report_counts_embeddings_that_were_left_out():
    made = partition(SETTINGS)
    made.process(ORIGIN, [launched(1, "a", np.ones(3)), launched(2, "b", np.ones(4))])
    assert made.report().counts["embeddings_left_out"] == 1


def test_refreshes_with_content_on_are_lists_in_order():
    several = [one for one in read(outputs(shop(5), with_content(config(refresh=True)))) if hasattr(one, "items")]
    assert several
    for one in several:
        scores = [item.score for item in one.items]
        assert scores == sorted(scores, reverse=True)


def test_no_list_says_of_an_item_that_somebody_has_come_for_that_it_is_new():
    settings, events = with_content(refreshing(), ContentConfig(newest=5)), []
    for n, event in enumerate(news(1, 450)):
        if n % 15 == 0:
            events.append(ItemUpdate(0, f"new{n}", event.ts_ms, categories=("c",)))
        events.append(event)
        if n % 15 == 8:
            events.append(Interaction(0, "view", event.user_id, f"new{n - 8}", event.ts_ms))
    settings = msgspec.structs.replace(settings, lists=config(k=40).lists)
    made, bucket, visited, causes = partition(settings), UserStore(settings.users, 1000), set(), set()
    for n, event in enumerate(events, 1):
        visited |= {event.item_id} if isinstance(event, Interaction) else set()
        for one in read(made.process(ORIGIN, bucket.process([msgspec.structs.replace(event, position=n)]))):
            new = {item.item_id for item in one.items if item.reason == "new"}
            causes |= {one.cause} if new else set()
            assert not new & visited
    assert causes == {"interaction", "refresh"}


# With what else chooses items


def launches(*names: str, category: str = "c") -> list[Event]:
    """A user on an old item, and then launches of items with these names."""
    events: list[Event] = [launched(1, "old", None, category), view(2, "u", "old", 30_000 * 2)]
    return events + [launched(n, name, None, category) for n, name in enumerate(names, 3)]


def asked(events: list[Event], settings: Config) -> list[str]:
    question = msgspec.structs.replace(request(99, "u"), ts_ms=START_MS + 30_000 * 99)
    return items(outputs([*events, question], settings)[-1])


NEWEST = ContentConfig(newest=2)


def test_what_must_not_be_shown_comes_through_no_content_and_takes_no_place_of_what_may():
    events = launches("first", "second", "gone", "blocked", "turned down")
    assert {"blocked", "turned down"} < set(asked(events, with_content(config(), NEWEST)))
    events.append(launched(10, "gone", available=False))
    events.append(Interaction(11, "dismiss", "u", "turned down", START_MS + 30_000 * 11, -1.0))
    settings = msgspec.structs.replace(with_content(config(), NEWEST), rules=RulesConfig(blocked=("blocked",)))
    assert set(asked(events, settings)) == {"old", "first", "second"}


def test_what_is_blocked_no_more_where_a_job_goes_on_is_listed_again():
    settings = with_content(config(), NEWEST)
    strict = msgspec.structs.replace(settings, rules=RulesConfig(blocked=("second",)))
    made, bucket = partition(strict), UserStore(settings.users, 1000)
    made.process(ORIGIN, bucket.process(launches("first", "second")))
    question = bucket.process([msgspec.structs.replace(request(99, "u"), ts_ms=START_MS + 30_000 * 99)])
    for now, expected in ((strict, {"first"}), (settings, {"first", "second"})):
        (one,) = read(load(dump(made), now, lambda: COMPUTED_AT).process(ORIGIN, question))
        assert set(items(one)) - {"old"} == expected


def test_a_bound_on_categories_counts_what_nobody_has_touched():
    events = launches("first", "second", "third")
    settings = msgspec.structs.replace(with_content(config(), NEWEST), rules=RulesConfig(per_category=1))
    assert len(asked(events, with_content(config(), NEWEST))) == 3
    assert len(asked(events, settings)) == 1


EVERYTHING = msgspec.structs.replace(
    with_content(config(k=10, refresh=True)),
    explore=ExploreConfig(share=0.25),
    rules=RulesConfig(blocked=("new50",), fresh=2, fresh_s=3600.0, per_category=4),
)


def test_an_item_stands_on_a_list_once_whoever_has_brought_it_there():
    several = [one for one in outputs(shop(8, 300), EVERYTHING) if hasattr(one, "items")]
    reasons = {item.reason for one in several for item in one.items}
    assert {"new", "similar", "fresh", "explore"} <= reasons
    for one in several:
        assert len(set(items(one))) == len(one.items)
        assert "new50" not in items(one)


@pytest.mark.parametrize("snapshots_after", [(0,), (1, 3)], ids=str)
def test_with_rules_and_exploration_too_it_goes_on_byte_for_byte_after_a_snapshot(snapshots_after):
    expected, uninterrupted = run(EVERYTHING, shop(9))
    published, resumed = run(EVERYTHING, shop(9), snapshots_after)
    assert encoded(published) == encoded(expected)
    assert resumed.report() == uninterrupted.report()


def test_a_search_finds_what_the_engine_found_and_nothing_else():
    events = launches("first", "second", "third")
    (*_, one) = outputs([*events, search(99, "u", "first", "old", "never heard of")], with_content(config(), NEWEST))
    assert sorted(items(one)) == ["first", "never heard of", "old"]
    assert {item.item_id: item.reason for item in one.items}["first"] == "unknown"
