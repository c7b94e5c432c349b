"""Rules over whole lists: after events, in answers, refreshed and withdrawn; and catalogue events between them."""

import msgspec
import pytest

from freshflow.config.schema import BusinessValueConfig, Config, RulesConfig
from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Event, ItemUpdate
from freshflow.outputs.records import RecommendationList
from freshflow.users.store import UserStore
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    START_MS,
    batches,
    config,
    encoded,
    items,
    partition,
    read,
    request,
)
from tests.refresh.test_scheduler import news, refreshing
from tests.rules.test_exclusions import visits

ALL = RulesConfig(
    hide_bought_s=86_400.0,
    blocked=("i03",),
    per_category=3,
    per_brand=3,
    diversity=0.3,
    fresh=1,
    fresh_s=3600.0,
    price_power=0.2,
    pinned={"i09": 2, "never seen": 4},
    boost_items={"i05": 2.0},
    boost_categories={"c1": 1.5},
)
VALUES = BusinessValueConfig(cart=2.0, purchase=10.0, margin=1.0)


def ruled(
    rules: RulesConfig, values: BusinessValueConfig = VALUES, *, refresh: bool = False, explains: bool = False
) -> Config:
    settings = refreshing() if refresh else config(k=5)
    lists = config(k=5, contributions=explains).lists
    return msgspec.structs.replace(settings, rules=rules, business_value=values, lists=lists)


def entry(position: int, item: str, **fields) -> ItemUpdate:
    return ItemUpdate(position, item, START_MS + 1000 * position, **fields)


def shop(seed: int, count: int) -> list[Event]:
    """Some news with a catalogue before it and changes in it, carts and purchases."""
    events: list[Event] = []
    for event in news(seed, count):
        n = event.position
        if n % 9 == 0:
            m = n // 9
            fields = {"categories": (f"c{m % 4}",), "brand": f"b{m % 3}", "price": 5.0 + m % 7, "margin": 1.0 + m % 2}
            events.append(entry(n, f"i{m % 12:02d}", **fields))
        type_ = ("cart", "purchase")[n % 2] if n % 5 == 0 else event.type
        events.append(msgspec.structs.replace(event, type=type_))
    return events


def published(
    settings: Config, events: list[Event], size: int = 256, dumped_after: int = -1
) -> list[RecommendationList]:
    made, bucket, lists = partition(settings), UserStore.for_partition(settings), []
    for n, batch in enumerate(batches(events, size)):
        lists += made.process(ORIGIN, bucket.process(batch))
        if n == dumped_after:
            made, old = load(dump(made), settings, lambda: COMPUTED_AT), bucket
            bucket = UserStore.for_partition(settings)
            bucket.load_snapshot(old.snapshot())
    return lists


@pytest.mark.parametrize("refresh", [False, True], ids=["without refreshes", "with refreshes"])
def test_where_batches_end_and_where_a_job_is_resumed_changes_nothing(refresh):
    settings, events = ruled(ALL, refresh=refresh), shop(1, 300)
    expected = encoded(published(settings, events))
    assert encoded(published(settings, events, 7)) == expected
    assert encoded(published(settings, events, 50, dumped_after=2)) == expected


def test_rules_hold_for_every_list_refreshed_and_withdrawn_ones_included():
    settings, events = ruled(ALL, refresh=True), shop(2, 400)
    events += [entry(401, "i01", available=False)]
    lists = read(published(settings, events))
    causes = {one.cause for one in lists}
    assert causes == {"interaction", "refresh"}
    assert sum(one.cause == "refresh" for one in lists) > 20
    for one in lists:
        assert "i03" not in items(one)
        assert items(one).index("never seen") == min(3, len(one.items) - 1)
        assert len(set(items(one))) == len(one.items) <= 5


def test_a_refreshed_list_is_published_only_where_it_is_another():
    settings = ruled(ALL, refresh=True)
    shown: dict[str, list[str]] = {}
    for one in read(published(settings, shop(3, 400))):
        assert shown.get(one.user_id) != items(one)
        shown[one.user_id] = items(one)


@pytest.mark.parametrize("refresh", [False, True], ids=["without refreshes", "with refreshes"])
def test_contributions_add_up_to_scores_that_rules_have_changed(refresh):
    settings = ruled(ALL, refresh=refresh, explains=True)
    lists = read(published(settings, [*shop(4, 300), entry(301, "i01", available=False)]))
    names = set()
    for one in lists:
        for item in one.items:
            assert sum(item.contributions.values()) == pytest.approx(item.score, abs=1e-8)
            names |= set(item.contributions)
    assert {"boost", "price", "value"} <= names


@pytest.mark.parametrize(
    ("rules", "change", "goes"),
    [
        ({"per_category": 1}, {"categories": ("one",)}, True),
        ({"per_brand": 1}, {"brand": "one"}, True),
        ({"boost_categories": {"low": 1e-9}}, {"categories": ("low",)}, True),
        ({"boost_brands": {"low": 1e-9}}, {"brand": "low"}, True),
        ({"price_power": 5.0}, {"price": 1e-9}, True),
        ({"price_power": 5.0}, {"title": "another"}, False),
        ({}, {"available": False}, True),
    ],
)
def test_what_the_catalogue_changes_counts_in_the_next_list(rules, change, goes):
    settings = ruled(RulesConfig(**{"boost_items": {"none": 2.0}} | rules), BusinessValueConfig())
    made, bucket = partition(settings), UserStore.for_partition(settings)
    first = entry(61, "i1", categories=("one",), brand="one", price=10.0)
    made.process(ORIGIN, bucket.process([*visits(), first, entry(62, "i8", price=10.0)]))

    def answer(position: int) -> list[str]:
        return items(read(made.process(ORIGIN, bucket.process([request(position, "u1")])))[0])

    before = answer(63)
    assert {"i8", "i1"} <= set(before)
    made.process(ORIGIN, bucket.process([entry(64, "i8", **change)]))
    assert ("i8" not in answer(65)) == goes


def test_a_margin_counts_from_the_next_list_on():
    settings = ruled(RulesConfig(), BusinessValueConfig(click=0.0, margin=1.0))
    made, bucket = partition(settings), UserStore.for_partition(settings)
    made.process(ORIGIN, bucket.process([*visits(), entry(61, "i1", margin=5.0), entry(62, "i8", margin=5.0)]))
    made.process(ORIGIN, bucket.process([entry(63, "i0", margin=1e9)]))
    assert items(read(made.process(ORIGIN, bucket.process([request(64, "u1")])))[0])[0] == "i0"


def test_a_new_item_that_nobody_has_touched_stands_on_the_next_list():
    settings = ruled(RulesConfig(fresh=1, fresh_s=60.0))
    made, bucket = partition(settings), UserStore.for_partition(settings)
    made.process(ORIGIN, bucket.process([*visits(), entry(200, "new")]))
    (one,) = read(made.process(ORIGIN, bucket.process([request(201, "u1")])))
    assert (one.items[-1].item_id, one.items[-1].reason, one.items[-1].score) == ("new", "fresh", 0.0)
    (later,) = read(made.process(ORIGIN, bucket.process([request(300, "u1")])))
    assert "new" not in items(later)


def test_a_pin_that_is_not_available_gives_up_its_place():
    settings = ruled(RulesConfig(pinned={"editors": 1}))
    made, bucket = partition(settings), UserStore.for_partition(settings)
    made.process(ORIGIN, bucket.process(visits()))
    (one,) = read(made.process(ORIGIN, bucket.process([request(61, "u1")])))
    assert (one.items[0].item_id, one.items[0].reason, len(one.items)) == ("editors", "pinned", 5)
    made.process(ORIGIN, bucket.process([entry(62, "editors", available=False)]))
    assert "editors" not in items(read(made.process(ORIGIN, bucket.process([request(63, "u1")])))[0])


def test_all_rules_are_counted_in_the_report():
    settings = ruled(msgspec.structs.replace(ALL, per_category=1, per_brand=1))
    made = partition(settings)
    made.process(ORIGIN, UserStore.for_partition(settings).process(shop(5, 400)))
    counts = made.report().counts
    for rule in ("blocked", "bought", "category", "brand", "diversity", "fresh", "pinned", "boost", "price", "value"):
        assert counts[f"rule_{rule}"] + counts[f"rule_{rule}_moved"] > 0, rule


def test_without_rules_there_is_no_step_and_no_count():
    made = partition(config(k=5))
    assert "rules" not in {one.name for one in made.features}
    assert not [name for name in made.report().counts if name.startswith("rule")]
