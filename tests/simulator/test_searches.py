"""Searches of a simulated shop: what is typed, found and taken."""

import json

import pytest

from freshflow.errors import ConfigError
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines

CONFIG = ShopConfig(events=2_000, users=100, items=200, searches=0.4, dirty=False)


@pytest.fixture(scope="module")
def lines():
    return [json.loads(raw) for _, _, raw in shop_lines(CONFIG)]


def test_each_search_comes_right_before_the_view_of_one_of_its_results(lines):
    pairs = [(line, lines[n + 1]) for n, line in enumerate(lines) if line["type"] == "search"]
    assert len(pairs) > 300
    for asked, then in pairs:
        assert (then["type"], then["user_id"]) == ("view", asked["user_id"])
        assert then["item_id"] in asked["items"]
        assert then["ts"] >= asked["ts"]


def test_several_visitors_search_for_the_same_in_several_spellings(lines):
    queries = [line["query"] for line in lines if line["type"] == "search"]
    same = {query for query in queries if query.strip().lower() == queries[0].strip().lower()}
    assert len(same) > 1


def test_what_is_taken_seldom_stands_on_top(lines):
    ranks = [line["items"].index(lines[n + 1]["item_id"]) for n, line in enumerate(lines) if line["type"] == "search"]
    assert 0.02 < ranks.count(0) / len(ranks) < 0.4


def test_the_same_options_give_the_same_lines_and_there_are_as_many_events_as_asked_for(lines):
    assert [json.loads(raw) for _, _, raw in shop_lines(CONFIG)] == lines
    assert sum(line["type"] not in ("item", "search") for line in lines) == CONFIG.events


def test_searches_are_a_share():
    with pytest.raises(ConfigError, match="searches = 1"):
        ShopConfig(searches=1.5)
