"""The protocol of features: the hooks that a partition calls, and their order."""

from typing import Any

import pytest

from freshflow._state_tables import StateTable
from freshflow.engine.features import build_features
from freshflow.engine.partition import Partition
from freshflow.engine.snapshot import dump, load
from freshflow.events.model import Forget, ItemUpdate
from freshflow.feature import NO_ROWS, Feature, ListBatch, hidden_rows
from freshflow.ranking.kernel import RankingResults
from freshflow.ranking.query import Query
from freshflow.search.feature import SearchFeature
from freshflow.users.profile import NEW_USER, Context
from freshflow.users.store import UserStore
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    START_MS,
    config,
    feature,
    outputs,
    partition,
    request,
    search,
    stream,
    view,
)


class RecorderState(StateTable, frozen=True):
    calls: int


class Recorder(Feature):
    """A feature that changes nothing and records the name and first argument of each hook."""

    name = "recorder"
    state_type = RecorderState

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def on_items_added(self, item_ids):
        self.calls.append(("on_items_added", item_ids))

    def on_items_evicted(self, rows, trigger):
        self.calls.append(("on_items_evicted", rows.tolist()))
        return ()

    def on_item_updated(self, update, was_available, trigger, now_ms):
        self.calls.append(("on_item_updated", (update.item_id, was_available, trigger.position)))
        return ()

    def on_visits(self, visits, interactions):
        self.calls.append(("on_visits", ([visit.item_id for visit in visits], len(interactions))))

    def on_user_forgotten(self, user_id):
        self.calls.append(("on_user_forgotten", user_id))

    def choose_items(self, lists):
        self.calls.append(("choose_items", [event.user_id for event in lists.events]))

    def answer_searches(self, steps, lists):
        self.calls.append(("answer_searches", len(steps)))
        return {}

    def on_lists_recorded(self, slots, query_indices, rankings, remade_ms):
        self.calls.append(("on_lists_recorded", (len(slots), remade_ms)))

    def collect_due(self, check, list_maker):
        self.calls.append(("collect_due", (check.kind, check.now_ms, check.has_interactions)))
        return ()

    def counters(self):
        return {"recorded": len(self.calls)}

    def state(self):
        return RecorderState(len(self.calls))

    def restore(self, state):
        self.calls.append(("restore", state))


@pytest.fixture
def recording(monkeypatch) -> None:
    """Let every partition have a recorder beside its other features."""
    monkeypatch.setattr("freshflow.engine.partition.build_features", _with_recorder)


def _with_recorder(*arguments: Any, **options: Any) -> tuple[Feature, ...]:
    return (*build_features(*arguments, **options), Recorder())


def take(made: Partition, *events: Any) -> list[tuple[str, Any]]:
    """Process events, and return the calls of the recorder."""
    recorder = feature(made, Recorder)
    recorder.calls.clear()
    made.process(ORIGIN, UserStore(made.config.users, 1000).process(events))
    return recorder.calls


def test_hooks_follow_the_steps_of_an_interaction_in_order(recording):
    made = partition()
    assert take(made, view(1, "u", "a")) == [
        ("on_items_added", ["a"]),
        ("on_visits", (["a"], 1)),
        ("choose_items", ["u"]),
        ("on_lists_recorded", (1, None)),
    ]
    assert take(made, view(2, "v", "a"), request(3, "v")) == [
        ("on_visits", (["a"], 1)),
        ("choose_items", ["v", "v"]),
        ("on_lists_recorded", (1, None)),
    ]


def test_hooks_are_called_once_per_micro_batch(recording):
    calls = take(partition(), *(view(n, f"u{n}", "a") for n in range(1, 9)))
    assert [name for name, _ in calls] == [
        "on_items_added",
        "on_visits",
        "choose_items",
        "on_lists_recorded",
        "collect_due",
    ]
    assert calls[-1] == ("collect_due", ("events", START_MS + 8000, True))


def test_searches_reach_their_hook(recording):
    calls = take(partition(), search(1, "u", "a", "b"))
    assert calls == [("on_visits", ([], 0)), ("choose_items", ["u"]), ("answer_searches", 1)]


def test_catalogue_events_reach_their_hooks_before_lists_are_made_again(recording):
    made = partition()
    take(made, view(1, "u", "a"), view(2, "v", "b"))
    assert take(made, ItemUpdate(3, "a", START_MS + 3000, available=False)) == [
        ("on_item_updated", ("a", True, 3)),
        ("choose_items", []),
        ("on_lists_recorded", (2, START_MS + 2000)),
    ]
    assert take(made, ItemUpdate(4, "new", START_MS + 4000)) == [
        ("on_items_added", ["new"]),
        ("on_item_updated", ("new", True, 4)),
    ]


def test_forgotten_users_reach_their_hook(recording):
    made = partition()
    take(made, view(1, "u", "a"))
    assert take(made, Forget(2, "u", START_MS + 2000)) == [("on_user_forgotten", "u")]


def test_evicted_rows_reach_their_hook(recording):
    events = [view(n, f"u{n % 5}", f"i{n}") for n in range(1, 1100)]
    calls = take(partition(config()), *events)
    evicted = [rows for name, rows in calls if name == "on_items_evicted"]
    assert evicted and len(set(evicted[0])) == len(evicted[0]) > 10


def test_clock_and_end_of_input_are_checks_after_the_first_interaction(recording):
    made = partition()
    recorder = feature(made, Recorder)
    assert made.check_by_clock(START_MS) == []
    assert recorder.calls == []
    take(made, view(1, "u", "a"))
    recorder.calls.clear()
    made.check_by_clock(START_MS + 60_000)
    made.finish(ORIGIN)
    assert recorder.calls == [
        ("collect_due", ("clock", START_MS + 60_000, False)),
        ("collect_due", ("end", START_MS + 1000, False)),
    ]


def test_counters_and_state_are_kept_under_the_name_of_the_feature(recording):
    made = partition()
    take(made, view(1, "u", "a"))
    assert made.report().counts["recorded"] == 4
    resumed = load(dump(made), made.config, lambda: COMPUTED_AT)
    assert feature(resumed, Recorder).calls == [("restore", RecorderState(4))]


def test_feature_that_was_off_restores_from_none(monkeypatch):
    snapshot = dump(partition())
    monkeypatch.setattr("freshflow.engine.partition.build_features", _with_recorder)
    resumed = load(snapshot, config(), lambda: COMPUTED_AT)
    assert feature(resumed, Recorder).calls == [("restore", None)]


def test_feature_without_hooks_changes_no_list(monkeypatch):
    events = stream(5, 200)
    expected = outputs(events)
    monkeypatch.setattr("freshflow.engine.partition.build_features", lambda *_, **__: (*_searching(*_), Feature()))
    assert outputs(events) == expected


def _searching(number, settings, clock, item_statistics, *_: Any) -> tuple[Feature, ...]:
    return (SearchFeature(settings, item_statistics),)


def test_defaults_of_a_feature_do_nothing():
    absent = Feature()
    query = Query(NEW_USER, Context((), 0, 0), START_MS)
    rankings = RankingResults.empty(1, 1, 1, 0, keep_features=False, n_features=1)
    lists = ListBatch([], [], [query], rankings, (absent,))
    assert absent.ranking_depth(7) == 7
    assert absent.extend_query(query) is query
    assert absent.search_candidates(search(1, "u", "a"), NEW_USER, ("a",)) == ("a",)
    assert absent.on_items_evicted(NO_ROWS, None) == ()
    assert absent.answer_searches([], lists) == {}
    assert not absent.tracks_user("u")
    assert (absent.counters(), absent.quality(), absent.state()) == ({}, {}, None)
    assert len(hidden_rows([absent, absent])) == 0
