"""A shift: from one event on other items go together and are popular, and nothing else is different."""

import json
import re
from collections import Counter
from itertools import pairwise, takewhile

import pytest

from freshflow.simulator.config import ShopConfig
from freshflow.simulator.shop import build_shop, shift_shop
from freshflow.simulator.write import shop_lines

SHOP = {"events": 20_000, "users": 500, "items": 400}
AT = 10_000
EVENT = re.compile(rb'"event_id":"e(\d+)"')


def lines(**named):
    return [raw for _, _, raw in shop_lines(ShopConfig(**SHOP | named))]


def before(number, stream):
    """The lines that precede all of the events from `number` on, those that arrive late included."""
    return list(takewhile(lambda raw: not (found := EVENT.search(raw)) or int(found[1]) < number, stream))


def behaviour(stream):
    events = [json.loads(raw) for raw in stream]
    return [event for event in events if event["type"] not in ("item", "request")]


@pytest.fixture(scope="module")
def shifted_events():
    return behaviour(lines(dirty=False, shift=AT))


def pairs(events):
    """How often one item was looked at directly after another by the same user."""
    by_user = {}
    for event in events:
        by_user.setdefault(event["user_id"], []).append(event["item_id"])
    return Counter(pair for items in by_user.values() for pair in pairwise(items) if pair[0] != pair[1])


def popular(events):
    return Counter(event["item_id"] for event in events)


def in_common(first, second, count):
    """The share of the most frequent `count` that two counts have in common."""
    return len({name for name, _ in first.most_common(count)} & {name for name, _ in second.most_common(count)}) / count


def test_same_seed_gives_the_same_bytes_with_a_shift():
    assert lines(shift=AT) == lines(shift=AT)
    assert lines(shift=AT) != lines()
    assert lines(shift=AT) != lines(shift=AT, seed=8)


@pytest.mark.parametrize("dirty", [False, True])
@pytest.mark.parametrize("shift", [2, AT, 20_000])
def test_all_lines_before_the_shift_are_as_without_it(shift, dirty):
    plain, moved = (lines(dirty=dirty, requests=0.2, shift=at) for at in (None, shift))
    first = before(shift, plain)
    assert before(shift, moved) == first
    events = {found[1] for raw in first if (found := EVENT.search(raw))}
    assert len(events) > 0.98 * (shift - 1)  # some of the dirty ones arrive after it


def test_shift_begins_with_its_own_event():
    """Whether an event differs is a matter of chance; of ten shifts one at least shows at once, and none before."""

    def first_difference(at):
        plain, moved = (shop_lines(ShopConfig(**SHOP, dirty=False, shift=shift)) for shift in (None, at))
        return next(int(EVENT.search(b[2])[1]) for a, b in zip(plain, moved, strict=False) if a != b)

    assert min(first_difference(at) - at for at in range(100, 110)) == 0


def test_other_items_go_together_after_a_shift(shifted_events):
    plain = behaviour(lines(dirty=False))
    stays = in_common(pairs(plain[: AT - 1]), pairs(plain[AT - 1 :]), 200)
    changes = in_common(pairs(shifted_events[: AT - 1]), pairs(shifted_events[AT - 1 :]), 200)
    assert stays > 0.3
    assert changes < 0.1


def test_other_items_are_popular_after_a_shift(shifted_events):
    plain = behaviour(lines(dirty=False))
    stays = in_common(popular(plain[: AT - 1]), popular(plain[AT - 1 :]), 40)
    changes = in_common(popular(shifted_events[: AT - 1]), popular(shifted_events[AT - 1 :]), 40)
    assert stays > 0.5
    assert changes < 0.35


def test_users_and_items_are_the_same_after_a_shift(shifted_events):
    for name, most in (("user_id", 500), ("item_id", 400)):
        first, second = ({event[name] for event in part} for part in (shifted_events[:AT], shifted_events[AT:]))
        assert len(first & second) > 0.8 * most
        assert len(first | second) <= most


def test_catalogue_says_the_same_with_a_shift():
    plain, moved = ([raw for raw in lines(shift=at) if b'"type":"item"' in raw] for at in (None, AT))
    shorter = min(len(plain), len(moved))  # what changes after the last event is not written
    assert shorter > 400
    assert plain[:shorter] == moved[:shorter]


@pytest.mark.parametrize("items", [20, 400])
def test_shifted_world_is_the_old_one_with_every_item_in_the_place_of_another(items):
    config = ShopConfig(items=items)
    old = build_shop(config)
    new = shift_shop(old, config)
    place = dict(zip(old.by_popularity, new.by_popularity, strict=True))
    assert sorted(place.values()) == list(range(items))
    assert sum(place[item] == item for item in place) < items / 4
    assert new.by_leaf == [[place[item] for item in shelf] for shelf in old.by_leaf]
    assert all(new.neighbours[place[item]] == [place[other] for other in old.neighbours[item]] for item in place)


def test_shifted_world_keeps_what_is_always_there_and_what_happens():
    config = ShopConfig(items=400)
    old = build_shop(config)
    new = shift_shop(old, config)
    assert set(new.evergreens) == set(old.evergreens)
    assert new.evergreens == [item for item in new.by_popularity if item in set(old.evergreens)]
    assert (new.catalogue, new.changes, new.trend) == (old.catalogue, old.changes, old.trend)
