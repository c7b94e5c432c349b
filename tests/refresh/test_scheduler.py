"""Refreshed lists: who gets one, when, why, how many, and that they are worth it."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from freshflow.config.schema import Config, RankerConfig, RefreshConfig
from freshflow.engine.learning import EARLY_UPDATE_INTERVAL
from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Event, Forget, Interaction
from freshflow.outputs.records import RecommendationList
from freshflow.refresh.feature import RefreshFeature
from freshflow.users.store import UserStore
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    START_MS,
    batches,
    config,
    encoded,
    feature,
    items,
    outputs,
    partition,
    read,
    take,
    view,
)

MINUTE_MS = 60_000
ISSUE = 150  # events from one piece of news to the next
SHORT = 5  # items of a list, of more than thirty


def news(seed: int, count: int, users: int = 40) -> list[Event]:
    """An event a minute; every 150 events a new item appears, and half of what follows is for it."""
    random, events = np.random.default_rng(seed), []
    for n in range(1, count + 1):
        known = f"i{min(random.geometric(0.1), 30):02d}"
        item = f"news{n // ISSUE}" if random.random() < 0.5 and n % ISSUE > 10 else known
        events.append(view(n, f"u{random.integers(users)}", item, n * MINUTE_MS))
    return events


def refreshing(**settings: float) -> Config:
    return msgspec.structs.replace(config(k=SHORT), refresh=RefreshConfig(**settings))


def refreshed(several) -> list[RecommendationList]:
    return [one for one in several if getattr(one, "cause", "") == "refresh"]


def times(event: Interaction, weight: float) -> Interaction:
    return msgspec.structs.replace(event, type="dismiss" if weight < 0 else event.type, weight=weight)


def by_line(several) -> dict[int, list[RecommendationList]]:
    """The refreshed ones of several lists, by the line of the event that caused them."""
    lists: dict[int, list[RecommendationList]] = {}
    for one in refreshed(several):
        lists.setdefault(one.source["line"], []).append(one)
    return lists


@pytest.mark.parametrize("seed", [1, 2])
def test_a_user_who_does_nothing_is_sent_what_becomes_popular(seed):
    events, acted, told = news(seed, 6 * ISSUE), {}, set()
    several = by_line(outputs(events, refreshing()))
    for event in events:
        acted[event.user_id] = event.position
        issue = event.position // ISSUE
        for one in several.get(event.position, ()):
            if f"news{issue}" in items(one) and acted[one.user_id] < ISSUE * issue:
                told.add((one.user_id, issue))
    assert len(told) > 20


def test_a_refreshed_list_says_why_and_after_which_event():
    events = news(3, 600)
    published = outputs(events, refreshing())
    own = {one.user_id: one for one in published if one.cause == "interaction"}
    several = refreshed(published)
    assert len(several) > 100
    for one in several:
        after = events[one.source["line"] - 1]
        assert one.source == ORIGIN.source_ref(after.position)
        assert after.position % EARLY_UPDATE_INTERVAL == 0
        assert (one.event_ts, one.computed_at) == (after.ts_ms, COMPUTED_AT)
        assert (one.surface, one.request_id, one.model.partition) == ("feed", None, 0)
        assert one.user_id in own
        assert 0 < len(one.items) <= SHORT


def test_no_two_lists_share_an_id_and_ids_are_repeatable():
    events = news(4, 600)
    ids = [one.list_id for one in outputs(events, refreshing())]
    assert len(set(ids)) == len(ids) > 700
    assert ids == [one.list_id for one in outputs(events, refreshing(), size=7)]


def test_a_refreshed_list_holds_other_items_than_the_one_before():
    shown: dict[str, set[str]] = {}
    compared = 0
    for one in outputs(news(5, 600), refreshing()):
        if one.cause == "refresh":
            assert set(items(one)) != shown[one.user_id]
            compared += 1
        shown[one.user_id] = set(items(one))
    assert compared > 100


def test_an_interval_of_zero_switches_refreshes_off_and_changes_no_other_list():
    events = news(6, 1200)
    off, on = outputs(events, refreshing(interval_s=0)), outputs(events, refreshing())
    assert refreshed(off) == []
    assert len(refreshed(on)) > 100
    answered = {one.list_id: items(one) for one in on}
    same = [answered[one.list_id] == items(one) for one in off if one.list_id in answered]
    assert all(same)
    assert len(same) > 900


@pytest.mark.parametrize("interval_s", [60.0, 1800.0, 7200.0])
def test_no_list_follows_another_of_the_same_user_within_the_interval(interval_s):
    several, last_ms = 0, {}
    for one in outputs(news(7, 1200), refreshing(interval_s=interval_s)):
        if one.cause == "refresh":
            assert one.event_ts - last_ms[one.user_id] >= interval_s * 1000
            several += 1
        last_ms[one.user_id] = one.event_ts
    assert several > 10


def test_nobody_is_sent_a_list_beyond_the_horizon():
    horizon_s, last_ms, idle_ms = 2400.0, {}, []
    events = news(8, 1200)
    several = by_line(outputs(events, refreshing(horizon_s=horizon_s)))
    for event in events:
        last_ms[event.user_id] = event.ts_ms
        idle_ms += [event.ts_ms - last_ms[one.user_id] for one in several.get(event.position, ())]
    assert len(idle_ms) > 50
    assert max(idle_ms) <= horizon_s * 1000
    assert max(idle_ms) > horizon_s * 500


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_at_most_so_large_a_share_of_the_lists_is_refreshed(share):
    events = news(9, 600)
    published = outputs(events, refreshing(max_share=share))
    free = len(refreshed(outputs(events, refreshing())))
    several = len(refreshed(published))
    assert several <= share / (1 - share) * len(events)
    assert several < free
    assert (several > 0) == (share > 0)


def test_a_dismissed_item_is_in_no_refreshed_list_of_its_user():
    """Half of the users turn down the news as soon as it is there; the others go on reading it."""
    events, gone = news(10, 1500), set()
    for n, event in enumerate(events):
        if event.item_id.startswith("news") and int(event.user_id[1:]) % 2:
            events[n] = times(event, -1.0)
    several, seen = by_line(outputs(events, refreshing())), Counter()
    for event in events:
        if event.weight < 0:
            gone.add((event.user_id, event.item_id))
        for one in several.get(event.position, ()):
            for item in items(one):
                seen[item.startswith("news")] += 1
                assert (one.user_id, item) not in gone
    assert len(gone) > 20
    assert seen[True] > 50


def test_a_forgotten_user_is_sent_nothing():
    events = news(11, 450)
    forgotten = [Forget(n, f"u{n - 300}", START_MS + 300 * MINUTE_MS) for n in range(300, 320)]
    later = [event for event in events[320:] if int(event.user_id[1:]) >= 20]
    made = partition(refreshing())
    take(made, events[:300])
    published = take(made, [*forgotten, *later])
    assert made.active_users.slots.keys() == {f"u{n}" for n in range(20, 40)}
    told = {one.user_id for one in refreshed(published)}
    assert len(told) > 3
    assert not told & {event.user_id for event in forgotten}


def test_refreshed_lists_hit_more_often():
    """Users come back to what is new: they hit it at the moment of need, and with refreshes before it, too."""
    figures = {}
    for interval_s in (0.0, 60.0):
        made = partition(refreshing(interval_s=interval_s))
        take(made, news(12, 1500, users=60))
        figures[interval_s] = made.report().quality
    asked = figures[0.0]["hr20"]
    assert asked == figures[60.0]["hr20"]
    gap = asked - figures[0.0]["published_hr20"]
    assert gap > 0.2
    assert figures[60.0]["published_hr20"] > figures[0.0]["published_hr20"] + 0.05


@pytest.mark.parametrize("snapshots_after", [(14,), (1, 2, 3, 17, 29)], ids=str)
def test_a_snapshot_in_mid_stream_goes_on_byte_for_byte(snapshots_after):
    events, settings = news(13, 1200), refreshing()
    expected, published = partition(settings), []
    wanted = take(expected, events, size=37)
    made, bucket = partition(settings), UserStore(settings.users, 1000)
    for n, batch in enumerate(batches(events, 37)):
        published += read(made.process(ORIGIN, bucket.process(batch)))
        if n in snapshots_after:
            made = load(dump(made), settings, lambda: COMPUTED_AT)
    assert len(refreshed(published)) > 100
    assert encoded(published) == encoded(wanted)
    assert made.report() == expected.report()


def test_where_batches_end_changes_no_refreshed_list():
    events = news(14, 300)
    assert encoded(outputs(events, refreshing(), size=1)) == encoded(outputs(events, refreshing(), size=256))


def test_a_model_that_is_no_sum_of_scores_refreshes_nothing():
    events = news(15, 120)
    settings = msgspec.structs.replace(refreshing(), ranker=RankerConfig("freshflow.ranking.model_factories:tree"))
    assert "refresh" not in {one.name for one in partition(settings).features}
    assert refreshed(outputs(events, settings)) == []
    assert refreshed(outputs(events, refreshing())) != []


def test_a_job_that_resumes_with_refreshes_switched_on_refreshes_nothing_it_has_no_ranking_of():
    off, on, events = refreshing(interval_s=0), refreshing(), news(14, 1500)
    made = partition(off)
    take(made, events[:600])
    made = load(dump(made), on, lambda: COMPUTED_AT)
    assert not made.active_users.ids
    back = {event.user_id for event in events[600:]}
    published = take(made, events[600:])
    assert {one.user_id for one in refreshed(published)} <= back
    assert len(refreshed(published)) > 50


def test_a_job_that_resumes_with_refreshes_switched_off_knows_what_was_shown():
    events = news(15, 700)
    made = partition(refreshing())
    take(made, events[:600])
    shown = made.active_users.baselines.list_rows[:10].tolist()
    made = load(dump(made), refreshing(interval_s=0), lambda: COMPUTED_AT)
    assert made.active_users.baselines.list_rows[:10].tolist() == shown
    assert refreshed(take(made, events[600:])) == []


@pytest.mark.parametrize("at_once", [10, 25])
def test_where_there_are_many_users_their_lists_are_looked_at_in_turn(monkeypatch, at_once):
    monkeypatch.setattr("freshflow.refresh.scheduler.MAX_USERS_PER_CHECK", at_once)
    made = partition(refreshing())
    looked: list[list[int]] = []
    scheduler = feature(made, RefreshFeature).scheduler
    in_turn = scheduler._select_in_turn

    def noted(slots, chances):
        chosen, of_chosen = in_turn(slots, chances)
        assert len(chosen) == len(of_chosen) == min(len(slots), at_once)
        assert (
            dict(zip(chosen.tolist(), of_chosen.tolist(), strict=True)).items()
            <= dict(zip(slots.tolist(), chances.tolist(), strict=True)).items()
        )
        looked.append(chosen.tolist())
        return chosen, of_chosen

    scheduler._select_in_turn = noted
    take(made, news(16, 1500))
    assert len({slot for slots in looked for slot in slots}) > 30
    assert len(looked) > 20
