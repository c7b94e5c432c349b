"""A partition: what its lists know, what is published, and what they say of themselves."""

from zlib import crc32

import msgspec
import pytest

from freshflow.config.schema import Config, ItemsConfig, MetricsConfig, UsersConfig
from freshflow.engine.control_events import IDLE_ITEM_CHECK_INTERVAL
from freshflow.engine.learning import EARLY_UPDATE_INTERVAL, N_EARLY_EXAMPLES, UPDATE_INTERVAL
from freshflow.engine.snapshot import dump
from freshflow.events.model import Forget, Interaction, ItemUpdate, Origin, Request, Search
from freshflow.items.popularity import N_EVENTS
from freshflow.metrics.report import Receipt, encode_receipt
from freshflow.outputs.records import ListDeletion, ListItem, Model, RecommendationList
from freshflow.users.store import UserStore
from freshflow.users.updates import ListRequested, UserEvicted
from tests.builders.streams import (
    COMPUTED_AT,
    ORIGIN,
    OTHER,
    SIZES,
    START_MS,
    availability,
    batches,
    config,
    encoded,
    items,
    outputs,
    partition,
    read,
    request,
    search,
    steps,
    stream,
    take,
    view,
)


def answers(several) -> dict[int, RecommendationList]:
    """Answers to requests and searches, by the line of the question."""
    return {one.source["line"]: one for one in several if getattr(one, "cause", "") in ("request", "search")}


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_knows_every_event_of_its_user_above_it(size):
    events = stream(1, 150, controls=False)
    given, seen = answers(outputs(events, size=size)), {}
    for event in events:
        mine = seen.setdefault(event.user_id, set())
        if isinstance(event, Interaction):
            mine.add(event.item_id)
        elif event.exclude_seen:
            assert not mine & set(items(given[event.position]))
        else:
            assert mine <= set(items(given[event.position]))


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_knows_the_visit_just_above_it_of_an_item_that_is_new_to_all(size):
    events = [view(1, "u", "a"), view(2, "v", "new"), request(3, "v", k=5), request(4, "w", k=5)]
    given = answers(outputs(events, size=size))
    assert "new" in items(given[3])
    assert set(items(given[4])) == {"a", "new"}


@pytest.mark.parametrize("size", SIZES)
def test_the_list_after_an_event_knows_how_popular_the_event_made_its_item(size):
    made = partition(config(contributions=True))
    take(made, stream(11, 100), size=size)
    (published,) = read(made.process(ORIGIN, steps([view(101, "u1", "new", after_ms=4_000_000)])))
    (new,) = (item for item in published.items if item.item_id == "new")
    assert {"last_200", "hour"} <= new.contributions.keys()


@pytest.mark.parametrize("size", SIZES)
def test_no_list_knows_anything_that_stands_below_it(size):
    events = stream(2, 130)
    settings = config(contributions=True)
    whole = outputs(events, settings, size=size)
    for end in (1, 2, 10, 64, 65, 129):
        above = outputs(events[:end], settings, size=size)
        assert whole[: len(above)] == above


@pytest.mark.parametrize("size", SIZES)
def test_the_model_of_a_list_has_learned_nothing_that_stands_below_it(size):
    events = [view(n, f"u{n}", "a") for n in range(1, 10)]
    events = [*events, request(10, "u1"), *(view(n, f"u{n}", "a") for n in range(11, 20))]
    whole, above = answers(outputs(events, size=size)), answers(outputs(events[:10], size=size))
    assert (
        whole[10].model == above[10].model == Model(0, 7)
    )  # of nine events the first saw no candidate, one is not yet in


def test_scores_follow_what_was_learned_after_every_eighth_event():
    events = [event for n in range(1, 50) for event in (view(2 * n, f"u{n}", "a"), request(2 * n + 1, "u1"))]
    given = answers(outputs(events))
    learned = [given[2 * n + 1].model.updates for n in range(1, 50)]
    assert learned == [max(0, n // EARLY_UPDATE_INTERVAL * EARLY_UPDATE_INTERVAL - 1) for n in range(1, 50)]


def test_scores_follow_more_seldom_once_much_was_learned(monkeypatch):
    monkeypatch.setattr("freshflow.engine.learning.N_EARLY_EXAMPLES", 64)
    events = [event for n in range(1, 201) for event in (view(2 * n, f"u{n}", "a"), request(2 * n + 1, "u1"))]
    given = answers(outputs(events))
    learned = [given[2 * n + 1].model.updates for n in range(65, 201)]
    assert learned == [max(64, n // UPDATE_INTERVAL * UPDATE_INTERVAL) - 1 for n in range(65, 201)]
    assert N_EARLY_EXAMPLES % UPDATE_INTERVAL == 0


def test_the_model_of_a_list_is_the_one_its_scores_are_from():
    first, second = answers(outputs([view(1, "u", "a"), view(2, "u", "a"), request(3, "u"), request(4, "u")])).values()
    assert first.items[0].score == second.items[0].score == 0  # nothing had been learned
    assert first.model == second.model == Model(0, 0)


@pytest.mark.parametrize("size", SIZES)
def test_a_search_knows_nothing_of_an_item_first_visited_below_it(size):
    events = [view(1, "u", "a"), view(2, "u", "b"), search(3, "u", "new", "a"), view(4, "v", "new")]
    for warm_up in ([], [view(-n, "u", f"x{n}") for n in range(9, 0, -1)]):
        whole = outputs([*warm_up, *events], size=size)
        above = outputs([*warm_up, *events[:-1]], size=size)
        assert answers(whole) == answers(above)


@pytest.mark.parametrize("size", SIZES)
def test_requests_teach_nothing(size):
    events = [event for event in stream(3, 150) if not isinstance(event, ItemUpdate | Forget | Search)]
    silent = [event for event in events if isinstance(event, Interaction)]
    taken = [one for one in outputs(events, size=size) if one.cause == "interaction"]
    assert len(taken) > 80
    assert encoded(taken) == encoded(outputs(silent, size=size))


def test_a_question_changes_nothing_but_the_counts_of_answers_and_searches():
    settings, events = config(), stream(4, 150)
    one, other = partition(settings), partition(settings)
    asked = [
        step
        for step in steps([*events, request(151, "u1"), search(152, "u1", "i01")])
        if isinstance(step, ListRequested)
    ]
    for each in (one, other):
        each.process(ORIGIN, steps(events))
    one.process(ORIGIN, asked[-2:])
    counts = other.report().counts
    assert one.report().counts == counts | {"answers": counts["answers"] + 2, "searches": counts["searches"] + 1}
    more = [event for event in stream(5, 150) if isinstance(event, Interaction)]
    assert encoded(one.process(ORIGIN, steps(more))) == encoded(other.process(ORIGIN, steps(more)))


@pytest.mark.parametrize("size", SIZES)
def test_a_list_that_did_not_change_is_not_published_again(size):
    made = partition()
    events = [view(1, "u", "a"), view(2, "u", "a"), view(3, "v", "a"), view(4, "u", "b")]
    published = take(made, events, size=size)
    assert [one.source["line"] for one in published] == [1, 3, 4]
    assert (made.metrics.counts["lists"], made.metrics.counts["unchanged"]) == (3, 1)


def test_answers_are_given_always_and_do_not_count_as_published():
    events = [view(1, "u", "a"), request(2, "u", k=1), request(3, "u"), search(4, "u", "a"), view(5, "u", "a")]
    published = outputs(events)
    assert [one.cause for one in published] == ["interaction", "request", "request", "search"]
    assert items(published[1]) == items(published[2])


def test_a_question_of_a_user_nobody_knows_gets_what_is_popular():
    (_, answer) = outputs([view(1, "u", "a"), request(2, "stranger")])
    assert (answer.user_id, items(answer)) == ("stranger", ["a"])
    assert answer.items[0].reason == "popular"


def test_the_very_first_question_gets_an_empty_list():
    (answer,) = outputs([request(1, "u")])
    assert answer.items == ()


def test_nothing_gives_nothing():
    assert partition().process(ORIGIN, []) == []


def test_a_list_says_for_whom_why_when_from_what_and_by_which_model():
    (answer,) = outputs([request(7, "u", request_id="r")], origin=OTHER)
    assert answer == RecommendationList(
        user_id="u",
        list_id=answer.list_id,
        surface="feed",
        cause="request",
        event_ts=START_MS + 7000,
        computed_at=COMPUTED_AT,
        source={"topic": "events", "partition": 3, "offset": 7},
        model=Model(0, 0),
        items=(),
        request_id="r",
    )


@pytest.mark.parametrize("refresh", [False, True], ids=["unrefreshed", "refreshed"])
def test_a_dismissed_item_is_never_listed_until_its_user_comes_back_to_it(refresh):
    events, gone = [], set()
    for event in stream(12, 300):
        turned_down = isinstance(event, Interaction) and event.position % 5 == 0
        events.append(msgspec.structs.replace(event, type="dismiss", weight=-1.0) if turned_down else event)
    lists = [one for one in outputs(events, config(refresh=refresh)) if isinstance(one, RecommendationList)]
    for event in events:
        if isinstance(event, Forget):
            gone = {pair for pair in gone if pair[0] != event.user_id}
        elif isinstance(event, Interaction):
            change = gone.add if event.weight < 0 else gone.discard
            change((event.user_id, event.item_id))
        for one in lists:
            if one.source["line"] == event.position and one.cause not in ("refresh", "search"):
                assert not gone & {(one.user_id, item) for item in items(one)}
    assert gone


def test_a_refreshed_list_holds_nothing_that_its_user_has_dismissed_or_that_is_unavailable():
    out: set[tuple[str, str]] = set()  # (user, item), or ("", item) for everyone
    made, refreshed = partition(config(refresh=True)), 0
    bucket = UserStore(made.config.users, 1000)
    for event in stream(13, 600):
        if isinstance(event, Interaction) and event.position % 5 == 0:
            event = msgspec.structs.replace(event, type="dismiss", weight=-1.0)
        if isinstance(event, Forget):
            out = {pair for pair in out if pair[0] != event.user_id}
        elif isinstance(event, ItemUpdate):
            (out.discard if event.available else out.add)(("", event.item_id))
        elif isinstance(event, Interaction):
            (out.add if event.weight < 0 else out.discard)((event.user_id, event.item_id))
        for one in read(made.process(ORIGIN, bucket.process([event]))):
            if getattr(one, "cause", "") == "refresh":
                refreshed += 1
                assert not out & {(user, item) for user in ("", one.user_id) for item in items(one)}
    assert refreshed > 10


def test_a_list_is_as_long_as_configured_or_asked_for():
    events = [
        *(view(n, "u", f"i{n}") for n in range(10)),
        request(10, "u"),
        request(11, "u", k=2),
        request(12, "u", k=9),
    ]
    given = outputs(events, config(k=3))
    assert [len(one.items) for one in given[-3:]] == [3, 2, 9]
    assert max(len(one.items) for one in given[:-3]) == 3


@pytest.mark.parametrize("refresh", [False, True], ids=["unrefreshed", "refreshed"])
def test_scores_fall_and_ties_stand_in_the_order_of_ids(refresh):
    for one in outputs(stream(6, 200), config(refresh=refresh)):
        if isinstance(one, RecommendationList):
            keys = [(-item.score, item.item_id) for item in one.items]
            assert keys == sorted(keys)
            assert len(set(items(one))) == len(one.items)


@pytest.mark.parametrize("refresh", [False, True], ids=["unrefreshed", "refreshed"])
def test_contributions_add_up_to_the_score_and_are_there_only_if_wanted(refresh):
    events = stream(7, 150)
    explained = [
        item
        for one in outputs(events, config(contributions=True, refresh=refresh))
        for item in getattr(one, "items", ())
    ]
    assert any(item.score for item in explained)
    for item in explained:
        assert sum(item.contributions.values()) == pytest.approx(item.score, abs=1e-9)
    plain = [item for one in outputs(events) for item in getattr(one, "items", ())]
    assert {item.contributions for item in plain} == {None}


def test_list_ids_are_repeatable_and_no_two_lists_share_one():
    events = stream(8, 200)
    ids = [one.list_id for one in outputs(events) if isinstance(one, RecommendationList)]
    assert ids == [one.list_id for one in outputs(events) if isinstance(one, RecommendationList)]
    assert len(set(ids)) == len(ids) > 100


def test_list_ids_tell_origins_positions_and_causes_apart():
    origins = (ORIGIN, OTHER, Origin("topic", "events", 4), Origin("topic", "events-3", 0), Origin("file", "e.jsonl"))
    questions = ([request(1, "u")], [request(2, "u")], [search(1, "u", "a")], [view(1, "u", "a")])
    ids = [outputs(question, origin=origin)[0].list_id for origin in origins for question in questions]
    assert len(set(ids)) == len(origins) * len(questions)


def test_the_list_id_of_an_event_does_not_depend_on_what_else_is_taken():
    alone = outputs([request(3, "u")])[0]
    among = outputs([view(1, "u", "a"), view(2, "v", "b"), request(3, "u")])[-1]
    assert alone.list_id == among.list_id


@pytest.mark.parametrize("size", SIZES)
def test_forgetting_gives_a_tombstone_in_its_place_and_starts_anew(size):
    forget = Forget(3, "u", START_MS + 3000)
    events = [view(1, "u", "a"), view(2, "v", "a"), forget, view(4, "u", "a"), request(5, "v")]
    published = outputs(events, size=size)
    assert published[2] == ListDeletion("u")
    assert [getattr(one, "user_id", None) for one in published] == ["u", "v", "u", "u", "v"]
    assert published[3].source["line"] == 4  # the same list as at line 1, and yet published


def test_forgetting_a_user_nobody_knows_gives_a_tombstone_too():
    assert outputs([Forget(1, "nobody", START_MS)]) == [ListDeletion("nobody")]


def test_forgetting_leaves_a_receipt_without_the_name():
    made = partition()
    take(made, [view(1, "zz-user", "a"), Forget(2, "zz-user", START_MS + 5), Forget(3, "zz-user", START_MS + 6)])
    receipts = made.drain_receipts()
    assert receipts == [
        Receipt(0, START_MS + 5, {"file": "events.jsonl", "line": 2}, known=True, forgotten=1),
        Receipt(0, START_MS + 6, {"file": "events.jsonl", "line": 3}, known=False, forgotten=2),
    ]
    assert made.drain_receipts() == []
    assert made.report().counts["forgotten"] == 2
    assert not any(b"zz-user" in (encode_receipt(receipt, 1)[1]) for receipt in receipts)


def test_nothing_of_a_forgotten_user_is_in_the_partition():
    made = partition(config(refresh=True))
    take(made, [view(n, f"zz-user-{n % 9}", f"i{n % 7}") for n in range(200)])
    assert b"zz-user-3" in dump(made)
    take(made, [Forget(200, "zz-user-3", START_MS)])
    assert b"zz-user-3" not in dump(made)
    assert b"zz-user-4" in dump(made)
    assert crc32(b"zz-user-3") not in {user for _, user in made.metrics.drift_detector._latest_outcomes}


@pytest.mark.parametrize(("idle", "told"), [(True, [ListDeletion("u")]), (False, [])])
def test_a_user_who_leaves_is_active_no_longer_and_is_unlisted_where_they_were_idle(idle, told):
    made = partition(config(refresh=True))
    take(made, [view(1, "u", "a"), view(2, "v", "a")])
    assert made.process(ORIGIN, [UserEvicted(3, "u", idle)]) == told
    assert list(made.active_users.slots) == ["v"]


def test_a_user_who_leaves_right_after_an_event_of_the_same_batch_is_not_active_either():
    made = partition(config(refresh=True))
    several = [*steps([view(1, "u", "a"), view(2, "v", "a")]), UserEvicted(2, "u", False), *steps([view(3, "w", "a")])]
    assert [one.user_id for one in read(made.process(ORIGIN, several))] == ["u", "v", "w"]
    assert sorted(made.active_users.slots) == ["v", "w"]


@pytest.mark.parametrize("size", SIZES)
def test_idle_users_and_items_go_wherever_batches_end(size):
    settings = msgspec.structs.replace(
        config(refresh=True),
        users=UsersConfig(idle_s=3600.0),
        items=ItemsConfig(max=1000, idle_s=3600.0),
    )
    early = [view(n, f"early-{n}", f"old-{n % 50}", n) for n in range(100)]
    later = [
        view(n, f"later-{n % 80}", f"new-{n % 60}", 2 * 3_600_000 + n) for n in range(100, IDLE_ITEM_CHECK_INTERVAL)
    ]
    made = partition(settings)
    published = take(made, [*early, *later], size=size)
    assert {one.user_id for one in published if isinstance(one, ListDeletion)} == {f"early-{n}" for n in range(100)}
    assert made.active_users.slots.keys() == {f"later-{n}" for n in range(80)}
    assert {item for item in made.item_statistics.index.ids if item} == {f"new-{n}" for n in range(60)}
    counts = made.report().counts
    assert (counts["items_idle"], counts["items"]) == (50, 60)
    assert not len(made.item_statistics.evicted_rows)  # no list shows them
    whole = take(partition(settings), [*early, *later])
    assert published == whole


@pytest.mark.parametrize("size", SIZES)
def test_an_unavailable_item_leaves_all_later_lists_until_it_is_back(size):
    events = [
        *(view(1, "u", "a"), view(2, "u", "b"), request(3, "u")),
        *(availability(4, "a", False), request(5, "u"), view(6, "u", "c"), search(7, "u", "a", "b")),
        *(availability(8, "a", True), request(9, "u")),
    ]
    lists = {one.source["line"]: items(one) for one in outputs(events, size=size)}
    assert "a" in lists[3]
    assert not [line for line in (5, 6) if "a" in lists[line]]
    assert lists[7] == ["b", "a"]  # a search keeps it, at the end
    assert "a" in lists[9]


@pytest.mark.parametrize("size", SIZES)
def test_a_first_event_with_an_unavailable_item_gives_no_list_and_no_error(size):
    made = partition()
    assert take(made, [availability(1, "a", False), view(2, "u", "a"), view(3, "u", "a")], size=size) == []
    assert made.report().counts["events"] == 2


@pytest.mark.parametrize("size", SIZES)
def test_a_search_returns_the_engine_s_items_and_no_others_each_once(size):
    events = [view(1, "u", "a"), view(2, "u", "b"), search(3, "u", "new", "b", "new", "a", request_id="r")]
    answer = outputs(events, size=size)[-1]
    assert (answer.surface, answer.cause, answer.request_id) == ("search", "search", "r")
    assert sorted(items(answer)) == ["a", "b", "new"]
    assert ListItem("new", 0.0, "unknown", ()) in answer.items


def test_a_search_of_unknown_items_keeps_all_of_them_in_the_engine_s_order():
    (answer,) = outputs([search(1, "u", "c", "a", "b")])
    assert items(answer) == ["c", "a", "b"]


def test_a_search_longer_than_the_configured_list_is_answered_in_full_unless_it_asks_for_less():
    asked = [f"i{n:03d}" for n in range(180)]
    known = [view(n, "u", item) for n, item in enumerate(asked[::2])]
    full, short = outputs([*known, search(500, "u", *asked), search(501, "u", *asked, k=7)])[-2:]
    assert sorted(items(full)) == asked
    assert items(short) == items(full)[:7]


def test_a_search_that_is_cut_short_calls_nothing_unknown_that_is_known():
    known = [view(n, "u", f"i{n % 9}") for n in range(100)]
    answer = outputs([*known, search(500, "u", *(f"i{n}" for n in range(9)), "new", k=3)])[-1]
    assert len(answer.items) == 3
    assert all((item.reason == "unknown") == (item.item_id == "new") for item in answer.items)


def test_an_item_known_from_the_catalogue_alone_is_unknown_to_a_search():
    events = [view(1, "u", "a"), availability(2, "there", True), availability(3, "gone", False)]
    answer = outputs([*events, search(4, "u", "a", "there", "gone")])[-1]
    assert sorted((item.item_id, item.reason) for item in answer.items if item.item_id != "a") == [
        *(("gone", "unknown"), ("there", "unknown"))
    ]
    assert items(answer) == ["a", "there", "gone"]


def test_a_search_leaves_out_what_the_user_has_seen_if_it_asks_to():
    answer = outputs([view(1, "u", "a"), view(2, "v", "b"), search(3, "u", "a", "b", "c", exclude_seen=True)])[-1]
    assert sorted(items(answer)) == ["b", "c"]


def test_a_report_counts_events_lists_answers_and_what_was_learned():
    made = partition()
    made.process(ORIGIN, steps([view(1, "u", "a"), view(2, "u", "a"), view(3, "v", "b"), request(4, "u")]))
    report = made.report()
    expected = {"events": 3, "lists": 2, "unchanged": 1, "answers": 1, "updates": 1, "items": 2, "users_active": 2}
    assert {name: report.counts[name] for name in expected} == expected
    assert (report.partition, report.event_ts) == (0, START_MS + 3000)
    assert report.quality["hr20"] == pytest.approx(1 / 3)


def test_each_event_is_judged_by_the_list_before_it():
    made = partition()
    made.process(ORIGIN, steps([view(1, "u", "a"), view(2, "v", "a")]))
    quality = made.report().quality
    assert (quality["hr20"], quality["mrr20"]) == (0.5, 0.5)
    assert (quality["popularity_hr20"], quality["popularity_mrr20"]) == (0.5, 0.5)


def test_a_report_is_due_each_time_so_many_events_have_passed():
    made = partition(Config(metrics=MetricsConfig(report_every_events=10)))
    reported = []
    for batch in batches([view(n, "u", f"i{n}") for n in range(35)], 4):
        made.process(ORIGIN, steps(batch))
        report = made.report_if_due()
        reported += [report.counts["events"]] if report else []
    assert reported == [12, 24, 35]


def test_a_late_event_does_not_set_the_partition_s_clock_back():
    made = partition()
    for n in (5, 3):
        made.process(ORIGIN, steps([view(n, "u", "a")]))
    assert made.report().event_ts == START_MS + 5000


@pytest.mark.parametrize("size", SIZES)
def test_all_that_is_asked_is_answered_once_and_in_order(size):
    events = stream(9, 150)
    asked = [event for event in events if isinstance(event, Request | Search)]
    given = answers(outputs(events, size=size))
    assert [(line, answer.request_id) for line, answer in given.items()] == [
        (event.position, event.request_id) for event in asked
    ]


@pytest.mark.parametrize("refresh", [False, True], ids=["unrefreshed", "refreshed"])
def test_a_replay_is_repeatable_byte_for_byte(refresh):
    events = stream(10, 200)
    settings = config(refresh=refresh)
    assert encoded(outputs(events, settings)) == encoded(outputs(events, settings))


def test_what_comes_after_an_item_again_and_again_comes_to_stand_first():
    """Before anything is learned the order is that of ids, and z is last."""
    sessions = [(f"m{n % 20:02d}", "q", "z") for n in range(60)]
    events = [
        view(3 * n + place, f"u{n}", item) for n, items_ in enumerate(sessions) for place, item in enumerate(items_)
    ]
    asked = [view(500, "new", "q"), request(501, "new", exclude_seen=True)]
    made = partition()
    made.process(ORIGIN, steps(events))
    (*_, answer) = read(made.process(ORIGIN, steps(asked)))
    assert items(answer)[0] == "z"
    assert (answer.items[0].reason, answer.items[0].because) == ("together", ("q",))


@pytest.mark.parametrize("size", SIZES)
def test_a_dismissal_takes_the_item_off_the_users_lists_and_teaches_nothing(size):
    seen = [view(1, "u", "a"), view(2, "v", "a"), view(3, "u", "b"), view(4, "v", "b")]
    dismissal = msgspec.structs.replace(view(5, "u", "a"), type="dismiss", weight=-1.0)
    made = partition()
    events = [*seen, dismissal, request(6, "u"), request(7, "v"), search(8, "u", "a", "b")]
    published = take(made, events, size=size)
    after_it, asked, other, searched = published[-4:]
    assert (after_it.cause, after_it.source["line"], items(after_it)) == ("interaction", 5, ["b"])
    assert (items(asked), items(searched)) == (["b"], ["b", "a"])
    assert set(items(other)) == {"a", "b"}
    assert (made.report().counts["events"], made.item_statistics.tables.popularity.clock[N_EVENTS]) == (4, 4)


def test_an_event_of_no_weight_says_nothing():
    without_weight = msgspec.structs.replace(view(2, "u", "b"), weight=0.0)
    assert steps([view(1, "u", "a"), without_weight]) == steps([view(1, "u", "a")])
