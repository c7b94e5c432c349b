"""The core as a library: it learns and recommends as the job does."""

import doctest
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from freshflow import Recommender, recommender
from freshflow.config.schema import Config, ListsConfig, UsersConfig
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from freshflow.users.store import UserStore
from tests.builders.streams import ORIGIN, partition, read
from tests.builders.streams import items as items_of

TS_MS = 1_764_000_000_000
VIEW = {"type": "view", "user_id": "u1", "item_id": "tea", "ts": datetime(2026, 1, 1, tzinfo=UTC)}


def test_the_example_in_the_documentation_is_true():
    assert doctest.testmod(recommender).failed == 0
    assert doctest.testmod(recommender).attempted > 5


def test_it_recommends_what_a_job_answers():
    shop = ShopConfig(events=600, users=50, items=60, requests=0.3)
    lines = [raw for _, kind, raw in shop_lines(shop) if kind != "broken"]
    made, job, bucket = Recommender(), partition(Config()), UserStore.for_partition(Config())
    answers = 0
    for n, raw in enumerate(lines, start=1):
        event = json.loads(raw)
        (parsed,), _ = made._parser.parse(recommender.RawBatch(ORIGIN, ((n, raw),), 0))
        published = read(job.process(ORIGIN, bucket.process([parsed]), n))
        if event["type"] == "request":
            (answer,) = published
            ours = made.recommend(event["user_id"], event.get("k"), ts_ms=parsed.ts_ms)
            assert [item.item_id for item in ours] == items_of(answer)
            answers += 1
        else:
            made.learn_one(event)
    assert answers > 100
    assert made.report()["hr20"] == job.report().quality["hr20"] > 0.2


def test_recommending_changes_nothing():
    made, asked = Recommender(), Recommender()
    for n in range(40):
        event = VIEW | {"user_id": f"u{n % 5}", "item_id": f"i{n % 7}", "ts": 1_700_000_000 + 60 * n}
        made.learn_one(event)
        asked.learn_one(event)
        asked.recommend("u1")
    assert asked.recommend("u1") == made.recommend("u1") != []
    assert asked.report() == made.report()


def test_before_the_first_event_there_is_nothing_to_recommend():
    assert Recommender().recommend("u1") == []


def test_what_is_no_event_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="item_id is missing"):
        Recommender().learn_one({"type": "view", "user_id": "u1", "ts": 1_700_000_000})
    with pytest.raises(ValueError, match="k = 0"):
        Recommender().recommend("u1", 0)


def test_settings_are_those_of_a_job():
    made = Recommender(Config(lists=ListsConfig(k=1, contributions=True)))
    for item in ("tea", "cup"):
        made.learn_one(VIEW | {"item_id": item})
    (only,) = made.recommend("u1")
    assert sum(only.contributions.values()) == pytest.approx(only.score)


def test_the_command_line_does_not_load_it():
    told = "import sys, freshflow; print('freshflow.recommender' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_a_guest_is_recommended_to_and_becomes_a_user() -> None:
    made = Recommender(Config(users=UsersConfig(guests=True)))
    for n, item in enumerate(("tea", "cup")):
        made.learn_one({"type": "view", "session_id": "s", "item_id": item, "ts": 1_700_000_000 + n})
    assert "cup" not in {item.item_id for item in made.recommend(session_id="s", exclude_seen=True)}
    made.learn_one({"type": "identify", "session_id": "s", "user_id": "u", "ts": 1_700_000_002})
    assert made.recommend("u", exclude_seen=True) == []
    assert {item.item_id for item in made.recommend("u")} == {"tea", "cup"}


def test_a_search_is_answered_with_what_was_chosen_after_it_before() -> None:
    made, found = Recommender(), ["s1", "s2", "s3"]
    first = made.search("u1", "Red shoes", found, ts_ms=TS_MS)
    assert [item.item_id for item in first] == found
    made.learn_one(VIEW | {"item_id": "s3", "ts": TS_MS + 10_000})
    for minute, user in enumerate(("u2", "u3"), start=1):
        made.search(user, "shoes, red", found, ts_ms=TS_MS + 60_000 * minute)
        made.learn_one(VIEW | {"user_id": user, "item_id": "s3", "ts": TS_MS + 60_000 * minute + 10_000})
    second = made.search("u4", "red shoes", found, k=2)
    assert [(item.item_id, item.reason) for item in second] == [("s3", "searched"), ("s1", "unknown")]
    with pytest.raises(ValueError, match="query is missing"):
        made.search("u4", "", found)
