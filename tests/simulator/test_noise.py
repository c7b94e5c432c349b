"""What goes wrong on the way: every kind of noise is there, and nothing else has changed."""

import json
from collections import Counter

import pytest

from freshflow.config.schema import EventsConfig
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.noise import CORRUPTIONS, bot_user
from freshflow.simulator.write import shop_lines

CONFIG = ShopConfig(events=8_000, users=200, items=100, days=2)


@pytest.fixture(scope="module")
def dirty():
    return list(shop_lines(CONFIG))


def of(kind, lines):
    return [line for line in lines if line[1] == kind]


def test_all_kinds_of_noise_occur(dirty):
    kinds = Counter(kind for _, kind, _ in dirty)
    assert set(kinds) == {"item", "behaviour", "duplicate", "late", "bot", "broken"}
    assert kinds["behaviour"] + kinds["late"] == CONFIG.events
    assert kinds["broken"] == len(CORRUPTIONS)


def test_noise_hides_nothing_that_the_clean_shop_writes(dirty):
    clean = shop_lines(ShopConfig(events=8_000, users=200, items=100, days=2, dirty=False))
    noisy = [line for line in dirty if line[1] in ("item", "behaviour", "late")]
    assert Counter(raw for _, _, raw in noisy) == Counter(raw for _, _, raw in clean)


def test_duplicate_repeats_an_earlier_line_shortly_after_it(dirty):
    place = {raw: number for number, (_, kind, raw) in enumerate(dirty) if kind == "behaviour"}
    for number, (_, kind, raw) in enumerate(dirty):
        if kind == "duplicate":
            assert place[raw] < number
            between = [ts for ts, other, _ in dirty[place[raw] : number] if other == "behaviour"]
            assert between[-1] - between[0] <= 5_000


def test_late_events_arrive_up_to_a_quarter_of_an_hour_behind_their_time(dirty):
    now_ms, behind = 0, []
    for ts_ms, kind, _ in dirty:
        if kind == "late":
            behind.append(now_ms - ts_ms)
        now_ms = max(now_ms, ts_ms)
    assert sum(ms >= 0 for ms in behind) > 0.9 * len(behind)
    assert sum(ms > 60_000 for ms in behind) > 0.5 * len(behind)
    assert max(behind) < 900_000


def test_all_other_lines_are_in_order_of_time(dirty):
    times = [ts for ts, kind, _ in dirty if kind in ("item", "behaviour", "bot")]
    assert times == sorted(times)


def test_bot_views_hundreds_of_items_a_minute_and_has_no_session(dirty):
    lines = of("bot", dirty)
    events = [json.loads(raw) for _, _, raw in lines]
    minutes = Counter(ts // 60_000 for ts, _, _ in lines)
    assert max(minutes.values()) <= 300
    assert len(lines) / ((lines[-1][0] - lines[0][0]) / 60_000) > 200
    assert {event["user_id"] for event in events} == {f"u{bot_user(CONFIG) + 1}"}
    assert len({event["item_id"] for event in events}) > 0.5 * CONFIG.items
    assert not any("session_id" in event for event in events)


def test_broken_lines_are_refused_each_kind_for_its_reason_and_nothing_else_is(dirty):
    records = tuple((number, raw) for number, (_, _, raw) in enumerate(dirty))
    _, rejected = EventParser(EventsConfig()).parse(RawBatch(Origin("file", "shop"), records, 0))
    assert {refusal.position for refusal in rejected} == {
        number for number, (_, kind, _) in enumerate(dirty) if kind == "broken"
    }
    assert Counter(refusal.code for refusal in rejected) == {
        "not_json": 2,
        "not_an_object": 1,
        "missing_field": 1,
        "bad_time": 1,
        "not_finite": 1,
        "unknown_type": 1,
        "not_utf8": 1,
    }


@pytest.mark.parametrize("events", [1, 2, 50])
def test_shop_of_few_events_still_has_a_broken_line_of_each_kind(events):
    kinds = Counter(kind for _, kind, _ in shop_lines(ShopConfig(events=events, items=20)))
    assert kinds["broken"] == len(CORRUPTIONS)
    assert kinds["behaviour"] + kinds["late"] == events
