"""The world: a catalogue in a tree, launches, items that sell out, and a trend."""

from collections import Counter

import pytest

from freshflow.errors import ConfigError
from freshflow.simulator.catalogue import LEAF_CATEGORIES
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.shop import TREND_PEAK_SHARE, Trend, build_shop


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": 1.5},
        {"requests": float("nan")},
        {"events": 0},
        {"users": 0},
        {"items": 19},
        {"seed": -1},
        {"shift": 0},
        {"shift": 50_001},
        {"days": 0.0},
        {"days": float("nan")},
        {"start": "2025-03-03"},
        {"start": "soon"},
    ],
)
def test_refusal_names_the_key_the_value_and_what_is_allowed(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigError) as refused:
        ShopConfig(**wrong)
    assert str(refused.value).startswith(f"{name} = {value!r} is not allowed: expected ")


def test_more_than_visitors_can_do_in_the_days_given_is_refused():
    with pytest.raises(ConfigError, match="days = 1 is not allowed: expected at least 20 "):
        ShopConfig(events=1_000, users=1, days=1)


def test_days_grow_where_visitors_would_be_too_busy():
    fortnight = ShopConfig().span_ms
    assert ShopConfig(events=500).span_ms == fortnight
    assert ShopConfig(events=5_600_000, users=10_000).span_ms == 2 * fortnight


@pytest.mark.parametrize("items", [20, 21, 399, 1_000])
def test_every_item_stands_on_one_shelf_and_has_neighbours_other_than_itself(items):
    shop = build_shop(ShopConfig(items=items))
    assert sorted(item for shelf in shop.by_leaf for item in shelf) == list(range(items))
    assert all(shop.by_leaf)
    assert len(shop.neighbours) == items
    assert all(item not in row and set(row) <= set(range(items)) for item, row in enumerate(shop.neighbours))


def test_neighbours_are_of_the_own_category_and_of_one_that_goes_with_it():
    shop = build_shop(ShopConfig())
    leaf = shop.catalogue.leaf
    for item, row in enumerate(shop.neighbours):
        assert {leaf[other] for other in row[::2]} == {leaf[item]}
        assert len({leaf[other] for other in row[1::2]}) == 1
        assert leaf[row[1]] != leaf[item]


def test_trend_of_a_share_is_nothing_outside_and_most_in_the_middle():
    trend = Trend([1], start_ms=1_000, end_ms=2_000)
    shares = [trend.choice_share(now_ms) for now_ms in (0, 1_000, 1_125, 1_500, 1_875, 2_000, 9_000)]
    assert shares == [0, 0, TREND_PEAK_SHARE / 2, TREND_PEAK_SHARE, TREND_PEAK_SHARE / 2, 0, 0]


def test_catalogue_entries_are_complete_and_in_a_two_level_tree(stream, config):
    entries = [line for line in stream if line["type"] == "item" and "title" in line]
    assert len({entry["item_id"] for entry in entries}) == len(entries) > 0.95 * config.items
    for entry in entries:
        assert tuple(entry["categories"]) in LEAF_CATEGORIES
        assert entry["price"] > 0
        assert entry["available"] is True
        assert entry["published_at"].endswith("+00:00")


def test_most_of_the_catalogue_opens_the_stream_and_the_rest_is_launched_during_it(stream, config):
    entries = [line for line in stream if line["type"] == "item" and "title" in line]
    opening = [entry for entry in entries if entry["ts"] == config.start_ms]
    assert stream[: len(opening)] == opening
    assert 0.1 < 1 - len(opening) / len(entries) < 0.3


def test_no_item_is_seen_before_its_launch_and_a_launch_finds_attention(stream, config):
    launched, after = {}, Counter()
    for line in stream:
        if line["type"] == "item":
            launched.setdefault(line["item_id"], line["ts"])
        elif line["type"] != "request":
            assert line["item_id"] in launched
            since_ms = line["ts"] - launched[line["item_id"]]
            if launched[line["item_id"]] > config.start_ms and since_ms < 2 * 86_400_000:
                after[line["item_id"]] += 1
    late = [item for item, ts in launched.items() if ts > config.start_ms]
    assert len([item for item in late if after[item] >= 3]) > 0.8 * len(late)


def test_item_that_is_sold_out_is_left_alone_until_it_is_back(stream):
    out, gone, back = set(), 0, 0
    for line in stream:
        if line["type"] == "item":
            gone += not line["available"]
            back += line["item_id"] in out and line["available"]
            (out.discard if line["available"] else out.add)(line["item_id"])
        elif line["type"] != "request":
            assert line["item_id"] not in out
    assert gone >= 3
    assert back == gone


def test_trend_rises_and_dies(events, config):
    trend = build_shop(config).trend
    wanted = {f"i{item + 1}" for item in trend.items}
    hits, total = Counter(), Counter()
    for event in events:
        when = (event["ts"] >= trend.start_ms) + (event["ts"] >= trend.end_ms)
        total[when] += 1
        hits[when] += event["item_id"] in wanted
    before, during, after = (hits[when] / total[when] for when in range(3))
    assert during > 4 * before
    assert during > 4 * after
    assert during > 0.15
