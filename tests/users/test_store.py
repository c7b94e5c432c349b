"""The users of a bucket: what travels with an event, who goes first, and what a snapshot brings back."""

import pytest

from freshflow.config.schema import Config, JobConfig, RankerConfig, UsersConfig
from freshflow.errors import SnapshotError
from freshflow.events.model import Forget, Interaction, ItemUpdate, Request
from freshflow.items.visit import ItemVisit
from freshflow.users.idle_expiry import IDLE_CHECK_INTERVAL, MAX_IDLE_CHECKS
from freshflow.users.profile import NEW_USER
from freshflow.users.store import USER_SNAPSHOT, UserStore
from freshflow.users.updates import ListRequested, RemoteExample, UserEvicted, UserInteraction

START_MS = 1_700_000_000_000
CONFIG = UsersConfig(context=3, history=5)


def view(position: int, user: str, item: str, **fields) -> Interaction:
    return Interaction(position, "view", user, item, START_MS + position, **fields)


def bucket(*events, bound: int = 100) -> UserStore:
    """A bucket that has taken `events`."""
    made = UserStore(CONFIG, bound)
    made.process(events)
    return made


def test_an_interaction_carries_its_user_before_and_after_and_the_context_between():
    first, second = UserStore(CONFIG, 9).process([view(1, "u", "a"), view(2, "u", "b")])
    assert isinstance(first, UserInteraction)
    assert (first.profile_before, first.context.items) == (NEW_USER, ())
    assert second.profile_before == first.profile_after
    assert second.context.items == ("a",)
    assert second.profile_after.items == ("a", "b")
    assert second.visit == ItemVisit(2, "b", ("a",), START_MS + 2)


def test_users_do_not_see_each_other():
    steps = UserStore(CONFIG, 9).process([view(1, "u", "a"), view(2, "v", "b"), view(3, "u", "c")])
    assert [step.context.items for step in steps] == [(), (), ("a",)]


def test_the_session_gap_of_the_configuration_is_in_seconds():
    events = [view(0, "u", "a"), view(2_000, "u", "b"), view(4_001, "u", "c")]
    steps = UserStore(UsersConfig(session_gap_s=2.0), 9).process(events)
    assert [step.context.session_length for step in steps] == [0, 1, 0]
    assert [step.profile_after.session_length for step in steps] == [1, 2, 1]


def test_a_question_gets_the_user_as_of_now_and_changes_nothing():
    taken = bucket(view(1, "u", "a"))
    before = taken.snapshot()
    questions = [Request(2, "u", START_MS + 2), Request(3, "v", START_MS + 3)]
    steps = taken.process(questions)
    assert [type(step) for step in steps] == [ListRequested, ListRequested]
    assert steps[0].profile.items == ("a",)
    assert steps[1].profile == NEW_USER
    assert taken.snapshot() == before


def test_the_first_interactions_are_lessons_for_all_partitions_and_the_others_signal_a_visit():
    taken = UserStore(CONFIG, 9, n_broadcast=2)
    first, second, third = taken.process([view(1, "u", "a"), view(2, "v", "b"), view(3, "u", "c")])
    assert second.remote_event == RemoteExample(second.visit, second.profile_before, second.context)
    assert first.remote_event.position == 1
    assert third.remote_event == third.visit


def test_a_lesson_holds_nothing_that_its_partition_alone_needs():
    taken = UserStore(CONFIG, 9, n_broadcast=9)
    taken.process([view(1, "u", "a"), view(2, "u", "b", weight=-1.0)])
    (lesson,) = (step.remote_event for step in taken.process([view(3, "u", "c")]))
    assert (lesson.profile_before.fingerprints, lesson.profile_before.dismissed_items) == (b"", ())
    assert lesson.profile_before.items == ("a",)


def test_what_counts_nothing_is_no_lesson_and_takes_the_place_of_none():
    taken = UserStore(CONFIG, 9, n_broadcast=1)
    taken.process([view(1, "u", "a", weight=-1.0), view(2, "u", "a", weight=0.0), Request(3, "u", START_MS)])
    first, second = taken.process([view(4, "u", "a"), view(5, "u", "b")])
    assert (first.broadcast, second.broadcast) == (True, False)


def test_partitions_share_the_lessons_and_one_alone_gives_none():
    shared = [
        UserStore.for_partition(
            Config(job=JobConfig(partitions=partitions), ranker=RankerConfig(broadcast_examples=100))
        ).n_broadcast
        for partitions in (1, 2, 8)
    ]
    assert shared == [0, 50, 12]


def test_how_many_lessons_were_given_is_part_of_the_state():
    taken, other = (UserStore(CONFIG, 9, n_broadcast=2) for _ in range(2))
    taken.process([view(1, "u", "a")])
    other.load_snapshot(taken.snapshot())
    assert [step.broadcast for step in other.process([view(2, "u", "b"), view(3, "u", "c")])] == [True, False]


def test_catalogue_events_pass_as_they_are():
    update = ItemUpdate(1, "a", START_MS, title="A")
    assert UserStore(CONFIG, 9).process([update]) == [update]


def test_a_duplicate_is_dropped_and_counted():
    taken = UserStore(CONFIG, 9)
    steps = taken.process([view(1, "u", "a", event_id="e"), view(2, "u", "b", event_id="e"), view(3, "v", "b")])
    assert [step.position for step in steps] == [1, 3]
    assert taken.counts["duplicate"] == 1
    assert taken.users["u"].items == ("a",)


def test_the_same_event_id_of_another_user_is_no_duplicate():
    steps = UserStore(CONFIG, 9).process([view(1, "u", "a", event_id="e"), view(2, "v", "a", event_id="e")])
    assert len(steps) == 2


def test_a_full_bucket_gives_up_the_least_recently_active_user():
    taken = bucket(view(1, "u", "a"), view(2, "v", "a"), view(3, "u", "b"), view(4, "w", "a"), bound=2)
    assert set(taken.users) == {"u", "w"}
    assert taken.counts["users_evicted"] == 1


def test_a_bucket_of_exactly_its_bound_evicts_nobody():
    taken = bucket(view(1, "u", "a"), view(2, "v", "a"), view(3, "u", "b"), bound=2)
    assert (set(taken.users), taken.counts["users_evicted"]) == ({"u", "v"}, 0)


def test_an_evicted_user_starts_anew():
    taken = bucket(view(1, "u", "a"), view(2, "v", "a"), bound=1)
    step, departure = taken.process([view(3, "u", "b")])
    assert (step.profile_before, step.context.items) == (NEW_USER, ())
    assert departure == UserEvicted(3, "v", is_idle=False)


def test_a_question_of_an_unknown_user_takes_no_place():
    taken = bucket(view(1, "u", "a"), Request(2, "v", START_MS + 2), bound=1)
    assert set(taken.users) == {"u"}


def test_a_forgotten_user_is_unknown_and_the_event_passes_on():
    taken = bucket(view(1, "u", "a"), view(2, "v", "a"))
    assert taken.process([Forget(3, "u", START_MS + 3)]) == [Forget(3, "u", START_MS + 3, is_known=True)]
    assert set(taken.users) == {"v"}
    assert b"\xa1u" not in taken.snapshot()  # msgpack's spelling of the text u


def test_a_second_forget_event_finds_nothing_and_passes_on_too():
    taken = bucket(view(1, "u", "a"))
    assert [step.is_known for step in taken.process([Forget(2, "u", START_MS), Forget(3, "u", START_MS)])] == [
        True,
        False,
    ]


def test_after_forgetting_an_event_seen_before_is_no_duplicate():
    steps = UserStore(CONFIG, 9).process([view(1, "u", "a"), Forget(2, "u", START_MS), view(1, "u", "a")])
    assert [type(step) for step in steps] == [UserInteraction, Forget, UserInteraction]
    assert steps[2].profile_before == NEW_USER


def test_a_lesson_does_not_say_in_which_session_it_was_given():
    taken = UserStore(CONFIG, 9, n_broadcast=9)
    taken.process([view(1, "u", "a", session_id="u-1")])
    (step,) = taken.process([view(2, "u", "b", session_id="u-1")])
    assert step.profile_before.session_id == "u-1"
    assert step.remote_event.profile_before.session_id is None


HOUR_MS = 3_600_000
IDLE = UsersConfig(idle_s=3600.0)


def crowd(first: int, count: int, after_ms: int = 0) -> list[Interaction]:
    """Views of as many users, one each."""
    return [Interaction(n, "view", f"user-{n}", "a", START_MS + after_ms) for n in range(first, first + count)]


def departed(steps) -> list[str]:
    assert all(step.is_idle for step in steps if isinstance(step, UserEvicted))
    return [step.user_id for step in steps if isinstance(step, UserEvicted)]


@pytest.mark.parametrize(("after_ms", "gone"), [(HOUR_MS, 0), (HOUR_MS + 1, 10)])
def test_users_leave_when_they_have_been_away_for_longer_than_allowed(after_ms, gone):
    taken = UserStore(IDLE, 9_999)
    taken.process(crowd(0, 10))
    steps = taken.process(crowd(10, IDLE_CHECK_INTERVAL - 10, after_ms))
    assert departed(steps) == [f"user-{n}" for n in range(gone)]
    assert len(taken.users) == IDLE_CHECK_INTERVAL - gone
    assert taken.counts["users_idle"] == gone
    if gone:
        assert isinstance(steps[-1], UserEvicted)
        assert steps[-1].position == IDLE_CHECK_INTERVAL - 1  # behind the event that made them leave


def test_an_event_keeps_a_user_from_leaving():
    taken = UserStore(IDLE, 9_999)
    taken.process(crowd(0, 10))
    taken.process([Interaction(10, "view", "user-3", "b", START_MS + HOUR_MS)])
    assert departed(taken.process(crowd(11, IDLE_CHECK_INTERVAL - 11, 2 * HOUR_MS))) == [
        f"user-{n}" for n in range(10) if n != 3
    ]


def test_a_user_who_left_starts_anew():
    taken = UserStore(IDLE, 9_999)
    taken.process(crowd(0, 10) + crowd(10, IDLE_CHECK_INTERVAL - 10, 2 * HOUR_MS))
    (step,) = taken.process([Interaction(999, "view", "user-3", "b", START_MS + 2 * HOUR_MS)])
    assert step.profile_before == NEW_USER


def test_nobody_leaves_where_no_time_is_set():
    taken = UserStore(CONFIG, 9_999)
    years_ms = 100 * 365 * 24 * HOUR_MS
    assert departed(taken.process(crowd(0, 10) + crowd(10, 3 * IDLE_CHECK_INTERVAL, years_ms))) == []


def test_a_crowd_that_left_long_ago_goes_a_bounded_number_at_a_time():
    taken = UserStore(IDLE, 9_999)
    taken.process(crowd(0, 5 * MAX_IDLE_CHECKS))
    now, left = 5 * MAX_IDLE_CHECKS, []
    while "user-0" in taken.users or not left or left[-1]:
        left.append(len(departed(taken.process(crowd(now, IDLE_CHECK_INTERVAL, 2 * HOUR_MS)))))
        now += IDLE_CHECK_INTERVAL
    assert left == [MAX_IDLE_CHECKS] * 5 + [0]


def test_one_event_from_the_future_makes_nobody_leave_and_its_user_holds_nobody_back():
    taken = UserStore(IDLE, 9_999)
    future_ms = 100 * 365 * 24 * HOUR_MS
    taken.process([*crowd(1, IDLE_CHECK_INTERVAL - 1), Interaction(0, "view", "user-0", "a", START_MS + future_ms)])
    assert len(taken.users) == IDLE_CHECK_INTERVAL
    steps = taken.process(crowd(IDLE_CHECK_INTERVAL, IDLE_CHECK_INTERVAL, 2 * HOUR_MS))
    assert departed(steps) == [f"user-{n}" for n in range(1, IDLE_CHECK_INTERVAL)]


def test_who_leaves_does_not_depend_on_where_batches_end_nor_on_a_snapshot_between():
    events = crowd(0, 300) + crowd(300, 700, 2 * HOUR_MS)
    whole, cut = UserStore(IDLE, 9_999), UserStore(IDLE, 9_999)
    expected, found = whole.process(events), []
    for start in range(0, len(events), 37):
        found += cut.process(events[start : start + 37])
        resumed = UserStore(IDLE, 9_999)
        resumed.load_snapshot(cut.snapshot())
        cut = resumed
    assert found == expected
    assert len(departed(expected)) == 300


def test_forgetting_an_unknown_user_passes_on():
    assert len(UserStore(CONFIG, 9).process([Forget(1, "nobody", START_MS)])) == 1


def test_a_restored_bucket_goes_on_as_the_old_one_would_have():
    taken = bucket(
        view(1, "u", "a", session_id="s"), view(2, "v", "ü", event_id="e"), view(3, "u", "b", session_id="s"), bound=3
    )
    restored = UserStore(CONFIG, 3)
    restored.load_snapshot(taken.snapshot())
    more = [
        view(4, "v", "c", event_id="e"),  # a duplicate
        *(view(n, user, "d") for n, user in enumerate("uwxv", start=5)),  # evicts v, then u
    ]
    assert restored.process(more) == taken.process(more)
    assert restored.snapshot() == taken.snapshot()
    assert list(restored.users) == ["w", "x", "v"]


def test_an_empty_bucket_comes_back_empty():
    taken = bucket(view(1, "u", "a"))
    taken.load_snapshot(UserStore(CONFIG, 3).snapshot())
    assert taken.users == {}


@pytest.mark.parametrize("snapshot", [b"", b"freshflow-users-0\n\x80", b"freshflow-partition-1\n\x80", b"\x80"])
def test_a_foreign_snapshot_is_refused_with_what_to_do(snapshot):
    with pytest.raises(SnapshotError, match=r"another version.*start anew"):
        UserStore(CONFIG, 3).load_snapshot(snapshot)


LATE = UsersConfig(context=3, history=5, allowed_lateness_s=10)


def at(position: int, item: str, ts_ms: int, **fields) -> Interaction:
    return Interaction(position, "view", "u", item, START_MS + ts_ms, **fields)


def test_an_event_exactly_as_late_as_allowed_takes_its_place_in_the_history():
    taken = UserStore(LATE, 9)
    *_, step = taken.process([at(1, "a", 0), at(2, "c", 20_000), at(3, "b", 10_000)])
    assert taken.users["u"].items == ("a", "b", "c")
    assert (step.profile_after, taken.counts) == (taken.users["u"], {"reordered": 1})


def test_an_event_a_millisecond_later_is_counted_and_changes_nothing():
    taken = UserStore(LATE, 9)
    taken.process([at(1, "a", 0), at(2, "c", 20_000)])
    before = taken.users["u"]
    assert taken.process([at(3, "b", 9_999)]) == []
    assert (taken.users["u"], taken.counts) == (before, {"late": 1})


def test_an_event_out_of_order_teaches_what_it_would_have_in_order():
    in_order = UserStore(LATE, 9).process([at(1, "a", 0), at(3, "b", 5_000)])[-1]
    taken = UserStore(LATE, 9).process([at(1, "a", 0), at(2, "c", 9_000), at(3, "b", 5_000)])[-1]
    assert (taken.visit, taken.context) == (in_order.visit, in_order.context)
    assert (taken.profile_before.items, taken.profile_before.last_ms) == (
        in_order.profile_before.items,
        in_order.profile_before.last_ms,
    )


def test_a_dismissal_out_of_order_takes_the_item_off():
    *_, step = UserStore(LATE, 9).process([at(1, "a", 0), at(2, "c", 9_000), at(3, "a", 5_000, weight=-1.0)])
    assert (step.profile_after.items, step.profile_after.dismissed_items, step.profile_after.last_ms) == (
        ("c",),
        ("a",),
        START_MS + 9_000,
    )


def test_lateness_is_told_by_the_users_own_clock():
    taken = UserStore(LATE, 9)
    steps = taken.process([view(90_000, "v", "x"), at(2, "a", 0)])
    assert (len(steps), taken.counts) == (2, {})


def test_counts_are_part_of_the_state():
    taken = bucket(view(1, "u", "a", event_id="e"), view(2, "u", "a", event_id="e"))
    restored = UserStore(CONFIG, 9)
    restored.load_snapshot(taken.snapshot())
    assert restored.counts == taken.counts == {"duplicate": 1}


@pytest.mark.parametrize("at", range(len(USER_SNAPSHOT.version_line), len(bucket(view(1, "u", "a")).snapshot())))
def test_a_snapshot_of_which_a_byte_changed_is_refused(at):
    damaged = bytearray(bucket(view(1, "u", "a")).snapshot())
    damaged[at] ^= 0x80
    with pytest.raises(SnapshotError, match=r"damaged user states .*; restore it, or give an empty one\.$"):
        UserStore(CONFIG, 3).load_snapshot(damaged)


def test_a_snapshot_without_anything_is_refused():
    with pytest.raises(SnapshotError, match="damaged user states"):
        UserStore(CONFIG, 3).load_snapshot(UserStore(CONFIG, 3).snapshot()[: len(USER_SNAPSHOT.version_line)])


def test_a_bucket_that_is_resumed_with_less_room_keeps_those_who_acted_last():
    smaller = UserStore(CONFIG, 2)
    smaller.load_snapshot(bucket(*(view(n, f"u{n}", "a") for n in range(1, 6))).snapshot())
    assert (list(smaller.users), smaller.counts["users_evicted"]) == (["u4", "u5"], 3)
