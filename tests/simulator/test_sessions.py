"""How visitors move: sessions, habits that can be learned, and the order of time."""

from collections import Counter, defaultdict, deque
from itertools import pairwise

import pytest

from freshflow.simulator.config import ShopConfig
from freshflow.simulator.shop import build_shop
from freshflow.simulator.visitors import MAX_SESSION_EVENTS, build_visitors, count_events_due
from freshflow.simulator.write import shop_lines

GAP_MS = 1_800_000


def by_user(events):
    rows = defaultdict(list)
    for event in events:
        rows[event["user_id"]].append(event)
    return rows


def test_lines_are_in_order_of_time(stream):
    assert all(first["ts"] <= second["ts"] for first, second in pairwise(stream))


@pytest.mark.parametrize("wanted", [1, 2, 17, 4_321])
def test_there_are_exactly_as_many_events_as_asked_for(wanted):
    config = ShopConfig(events=wanted, users=30, items=20)
    assert Counter(kind for _, kind, _ in shop_lines(config))["late"] < wanted
    clean = ShopConfig(events=wanted, users=30, items=20, dirty=False)
    assert Counter(kind for _, kind, _ in shop_lines(clean))["behaviour"] == wanted


def test_events_fill_the_days_and_little_more(events, config):
    span = (events[-1]["ts"] - config.start_ms) / config.span_ms
    assert 0.97 < span < 1.03


def test_single_visitor_is_never_in_two_sessions_at_once():
    config = ShopConfig(events=900, users=1, items=20, days=20, dirty=False)
    times = [ts for ts, kind, _ in shop_lines(config) if kind == "behaviour"]
    assert len(times) == 900
    assert all(first < second for first, second in pairwise(times))


def test_every_event_has_its_own_id_and_most_a_session(events):
    assert len({event["event_id"] for event in events}) == len(events)
    assert 0.8 < sum("session_id" in event for event in events) / len(events) < 0.97


def test_session_is_one_visitor_with_short_pauses_and_ends_before_the_next(events):
    owner = defaultdict(set)
    for event in events:
        owner[event.get("session_id")].add(event["user_id"])
    assert all(len(users) == 1 for session, users in owner.items() if session)
    for row in by_user(events).values():
        for first, second in pairwise(row):
            same = first.get("session_id") == second.get("session_id")
            gap_ms = second["ts"] - first["ts"]
            if "session_id" in first and "session_id" in second:
                assert (gap_ms < GAP_MS) == same


def test_sessions_have_one_to_fifteen_events_and_interleave(events):
    lengths = Counter(event["session_id"] for event in events if "session_id" in event)
    assert (min(lengths.values()), max(lengths.values())) == (1, MAX_SESSION_EVENTS)
    strangers = sum(first["user_id"] != second["user_id"] for first, second in pairwise(events))
    assert strangers > 0.3 * len(events)


def test_activity_has_a_heavy_tail(events):
    counts = sorted(Counter(event["user_id"] for event in events).values(), reverse=True)
    assert 0.25 < sum(counts[: len(counts) // 10]) / len(events) < 0.6


def test_evening_is_busier_than_morning(events):
    hours = Counter(event["ts"] // 3_600_000 % 24 for event in events)
    assert hours[20] > 3 * hours[8]


def test_rhythm_begins_at_nothing_and_ends_at_all_events():
    config = ShopConfig(events=1_000)
    assert count_events_due(config, config.start_ms) == pytest.approx(0, abs=1e-6)
    assert count_events_due(config, config.time_at_ms(1.0)) == pytest.approx(1_000)
    assert count_events_due(config, config.time_at_ms(7.0)) == pytest.approx(1_000)


def test_cart_follows_a_click_and_purchase_a_cart_of_the_same_item(events):
    before = {"click": {"view"}, "cart": {"click"}, "wishlist": {"click"}, "purchase": {"cart"}}
    last = {}
    for event in events:
        if event["type"] != "view":
            assert last[event["user_id"]]["item_id"] == event["item_id"]
            assert last[event["user_id"]]["type"] in before[event["type"]]
        last[event["user_id"]] = event
    types = Counter(event["type"] for event in events)
    assert types["view"] > types["click"] > types["cart"] > types["purchase"] > 0
    assert types["wishlist"] > 0


def test_visitors_come_back_to_items_in_later_sessions(events):
    back = chances = 0
    for row in by_user(events).values():
        seen, session = set(), None
        for event in row:
            if event.get("session_id") != session:
                session = event.get("session_id")
                chances += bool(seen)
                back += event["item_id"] in seen
            seen.add(event["item_id"])
    assert back / chances > 0.2


def test_visitors_keep_to_the_categories_they_like(events, config):
    shop = build_shop(config)
    tastes = build_visitors(config, len(shop.by_leaf)).tastes
    assert {len(row) for row in tastes} == {1, 2, 3}
    liked = by_others = 0
    for event in events:
        leaf, user = shop.catalogue.leaf[int(event["item_id"][1:]) - 1], int(event["user_id"][1:]) - 1
        liked += leaf in tastes[user]
        by_others += leaf in tastes[user - 1]
    assert liked > 1.5 * by_others


def test_what_comes_next_can_be_learned_better_than_by_popularity(events):
    """Of the next items that are not the last: how many the likeliest five after the last item hold."""
    after, popular, last = defaultdict(Counter), deque(maxlen=200), {}
    learned = guessed = total = 0
    for number, event in enumerate(events):
        item, previous = event["item_id"], last.get(event["user_id"])
        if previous and previous != item:
            if number > len(events) // 2:
                total += 1
                learned += item in dict(after[previous].most_common(5))
                guessed += item in dict(Counter(popular).most_common(5))
            after[previous][item] += 1
        popular.append(item)
        last[event["user_id"]] = item
    assert learned / total > 0.25
    assert learned > 2 * guessed


def test_requests_come_right_before_the_event_they_are_for(stream, events):
    asked = [(first, second) for first, second in pairwise(stream) if first["type"] == "request"]
    for request, event in asked:
        assert request["request_id"] == f"r-{event['event_id']}"
        assert (request["user_id"], request["ts"]) == (event["user_id"], event["ts"])
    assert 0.22 < len(asked) / len(events) < 0.28


@pytest.mark.parametrize(("share", "asked"), [(0.0, 0), (1.0, 300)])
def test_requests_precede_no_event_or_every_event(share, asked):
    config = ShopConfig(events=300, items=20, requests=share, dirty=False)
    assert Counter(kind for _, kind, _ in shop_lines(config))["request"] == asked


def test_requests_leave_what_visitors_do_as_it_is(events, config):
    other = ShopConfig(events=config.events, users=config.users, items=config.items, dirty=False)
    times = [ts for ts, kind, _ in shop_lines(other) if kind == "behaviour"]
    assert times == [event["ts"] for event in events]
