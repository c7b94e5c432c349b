"""The users of a bucket: what travels with an event, who goes first, and what a snapshot brings back."""

import pytest

from freshflow.config.schema import Config, JobConfig, RankerConfig, UsersConfig
from freshflow.errors import SnapshotError
from freshflow.events.model import Behaviour, Forget, ItemUpdate, Request
from freshflow.items.visit import Visit
from freshflow.users.idle_expiry import LOOK_EVERY, LOOKED_AT
from freshflow.users.profile import NEW_USER
from freshflow.users.store import SNAPSHOT_VERSION, UserBucket
from freshflow.users.updates import Ask, Departure, Interaction, Lesson

START_MS = 1_700_000_000_000
CONFIG = UsersConfig(context=3, history=5)


def view(position: int, user: str, item: str, **fields) -> Behaviour:
    return Behaviour(position, "view", user, item, START_MS + position, **fields)


def bucket(*events, bound: int = 100) -> UserBucket:
    """A bucket that has taken `events`."""
    made = UserBucket(CONFIG, bound)
    made.take(events)
    return made


def test_an_interaction_carries_its_user_before_and_after_and_the_context_between():
    first, second = UserBucket(CONFIG, 9).take([view(1, "u", "a"), view(2, "u", "b")])
    assert isinstance(first, Interaction)
    assert (first.before, first.context.items) == (NEW_USER, ())
    assert second.before == first.after
    assert second.context.items == ("a",)
    assert second.after.items == ("a", "b")
    assert second.visit == Visit(2, "b", ("a",), START_MS + 2)


def test_users_do_not_see_each_other():
    steps = UserBucket(CONFIG, 9).take([view(1, "u", "a"), view(2, "v", "b"), view(3, "u", "c")])
    assert [step.context.items for step in steps] == [(), (), ("a",)]


def test_the_session_gap_of_the_configuration_is_in_seconds():
    events = [view(0, "u", "a"), view(2_000, "u", "b"), view(4_001, "u", "c")]
    steps = UserBucket(UsersConfig(session_gap_s=2.0), 9).take(events)
    assert [step.context.session_length for step in steps] == [0, 1, 0]
    assert [step.after.session_length for step in steps] == [1, 2, 1]


def test_a_question_gets_the_user_as_of_now_and_changes_nothing():
    taken = bucket(view(1, "u", "a"))
    before = taken.snapshot()
    questions = [Request(2, "u", START_MS + 2), Request(3, "v", START_MS + 3)]
    steps = taken.take(questions)
    assert [type(step) for step in steps] == [Ask, Ask]
    assert steps[0].user.items == ("a",)
    assert steps[1].user == NEW_USER
    assert taken.snapshot() == before


def test_the_first_interactions_are_lessons_for_all_partitions_and_the_others_signal_a_visit():
    taken = UserBucket(CONFIG, 9, for_all=2)
    first, second, third = taken.take([view(1, "u", "a"), view(2, "v", "b"), view(3, "u", "c")])
    assert second.signal == Lesson(second.visit, second.before, second.context)
    assert first.signal.position == 1
    assert third.signal == third.visit


def test_a_lesson_holds_nothing_that_its_partition_alone_needs():
    taken = UserBucket(CONFIG, 9, for_all=9)
    taken.take([view(1, "u", "a"), view(2, "u", "b", weight=-1.0)])
    (lesson,) = (step.signal for step in taken.take([view(3, "u", "c")]))
    assert (lesson.before.fingerprints, lesson.before.dismissed) == (b"", ())
    assert lesson.before.items == ("a",)


def test_what_counts_nothing_is_no_lesson_and_takes_the_place_of_none():
    taken = UserBucket(CONFIG, 9, for_all=1)
    taken.take([view(1, "u", "a", weight=-1.0), view(2, "u", "a", weight=0.0), Request(3, "u", START_MS)])
    first, second = taken.take([view(4, "u", "a"), view(5, "u", "b")])
    assert (first.for_all, second.for_all) == (True, False)


def test_partitions_share_the_lessons_and_one_alone_gives_none():
    shared = [
        UserBucket.of_partition(Config(job=JobConfig(partitions=partitions), ranker=RankerConfig(shared=100))).for_all
        for partitions in (1, 2, 8)
    ]
    assert shared == [0, 50, 12]


def test_how_many_lessons_were_given_is_part_of_the_state():
    taken, other = (UserBucket(CONFIG, 9, for_all=2) for _ in range(2))
    taken.take([view(1, "u", "a")])
    other.restore(taken.snapshot())
    assert [step.for_all for step in other.take([view(2, "u", "b"), view(3, "u", "c")])] == [True, False]


def test_catalogue_events_pass_as_they_are():
    update = ItemUpdate(1, "a", START_MS, title="A")
    assert UserBucket(CONFIG, 9).take([update]) == [update]


def test_a_duplicate_is_dropped_and_counted():
    taken = UserBucket(CONFIG, 9)
    steps = taken.take([view(1, "u", "a", event_id="e"), view(2, "u", "b", event_id="e"), view(3, "v", "b")])
    assert [step.position for step in steps] == [1, 3]
    assert taken.counts["duplicate"] == 1
    assert taken.users["u"].items == ("a",)


def test_the_same_event_id_of_another_user_is_no_duplicate():
    steps = UserBucket(CONFIG, 9).take([view(1, "u", "a", event_id="e"), view(2, "v", "a", event_id="e")])
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
    step, departure = taken.take([view(3, "u", "b")])
    assert (step.before, step.context.items) == (NEW_USER, ())
    assert departure == Departure(3, "v", idle=False)


def test_a_question_of_an_unknown_user_takes_no_place():
    taken = bucket(view(1, "u", "a"), Request(2, "v", START_MS + 2), bound=1)
    assert set(taken.users) == {"u"}


def test_a_forgotten_user_is_unknown_and_the_event_passes_on():
    taken = bucket(view(1, "u", "a"), view(2, "v", "a"))
    assert taken.take([Forget(3, "u", START_MS + 3)]) == [Forget(3, "u", START_MS + 3, known=True)]
    assert set(taken.users) == {"v"}
    assert b"\xa1u" not in taken.snapshot()  # msgpack's spelling of the text u


def test_a_second_forget_event_finds_nothing_and_passes_on_too():
    taken = bucket(view(1, "u", "a"))
    assert [step.known for step in taken.take([Forget(2, "u", START_MS), Forget(3, "u", START_MS)])] == [True, False]


def test_after_forgetting_an_event_seen_before_is_no_duplicate():
    steps = UserBucket(CONFIG, 9).take([view(1, "u", "a"), Forget(2, "u", START_MS), view(1, "u", "a")])
    assert [type(step) for step in steps] == [Interaction, Forget, Interaction]
    assert steps[2].before == NEW_USER


def test_a_lesson_does_not_say_in_which_session_it_was_given():
    taken = UserBucket(CONFIG, 9, for_all=9)
    taken.take([view(1, "u", "a", session_id="u-1")])
    (step,) = taken.take([view(2, "u", "b", session_id="u-1")])
    assert step.before.session_id == "u-1"
    assert step.signal.before.session_id is None


HOUR_MS = 3_600_000
IDLE = UsersConfig(idle_s=3600.0)


def crowd(first: int, count: int, after_ms: int = 0) -> list[Behaviour]:
    """Views of as many users, one each."""
    return [Behaviour(n, "view", f"user-{n}", "a", START_MS + after_ms) for n in range(first, first + count)]


def departed(steps) -> list[str]:
    assert all(step.idle for step in steps if isinstance(step, Departure))
    return [step.user_id for step in steps if isinstance(step, Departure)]


@pytest.mark.parametrize(("after_ms", "gone"), [(HOUR_MS, 0), (HOUR_MS + 1, 10)])
def test_users_leave_when_they_have_been_away_for_longer_than_allowed(after_ms, gone):
    taken = UserBucket(IDLE, 9_999)
    taken.take(crowd(0, 10))
    steps = taken.take(crowd(10, LOOK_EVERY - 10, after_ms))
    assert departed(steps) == [f"user-{n}" for n in range(gone)]
    assert len(taken.users) == LOOK_EVERY - gone
    assert taken.counts["users_idle"] == gone
    if gone:
        assert isinstance(steps[-1], Departure)
        assert steps[-1].position == LOOK_EVERY - 1  # behind the event that made them leave


def test_an_event_keeps_a_user_from_leaving():
    taken = UserBucket(IDLE, 9_999)
    taken.take(crowd(0, 10))
    taken.take([Behaviour(10, "view", "user-3", "b", START_MS + HOUR_MS)])
    assert departed(taken.take(crowd(11, LOOK_EVERY - 11, 2 * HOUR_MS))) == [f"user-{n}" for n in range(10) if n != 3]


def test_a_user_who_left_starts_anew():
    taken = UserBucket(IDLE, 9_999)
    taken.take(crowd(0, 10) + crowd(10, LOOK_EVERY - 10, 2 * HOUR_MS))
    (step,) = taken.take([Behaviour(999, "view", "user-3", "b", START_MS + 2 * HOUR_MS)])
    assert step.before == NEW_USER


def test_nobody_leaves_where_no_time_is_set():
    taken = UserBucket(CONFIG, 9_999)
    years_ms = 100 * 365 * 24 * HOUR_MS
    assert departed(taken.take(crowd(0, 10) + crowd(10, 3 * LOOK_EVERY, years_ms))) == []


def test_a_crowd_that_left_long_ago_goes_a_bounded_number_at_a_time():
    taken = UserBucket(IDLE, 9_999)
    taken.take(crowd(0, 5 * LOOKED_AT))
    now, left = 5 * LOOKED_AT, []
    while "user-0" in taken.users or not left or left[-1]:
        left.append(len(departed(taken.take(crowd(now, LOOK_EVERY, 2 * HOUR_MS)))))
        now += LOOK_EVERY
    assert left == [LOOKED_AT] * 5 + [0]


def test_one_event_from_the_future_makes_nobody_leave_and_its_user_holds_nobody_back():
    taken = UserBucket(IDLE, 9_999)
    future_ms = 100 * 365 * 24 * HOUR_MS
    taken.take([*crowd(1, LOOK_EVERY - 1), Behaviour(0, "view", "user-0", "a", START_MS + future_ms)])
    assert len(taken.users) == LOOK_EVERY
    steps = taken.take(crowd(LOOK_EVERY, LOOK_EVERY, 2 * HOUR_MS))
    assert departed(steps) == [f"user-{n}" for n in range(1, LOOK_EVERY)]


def test_who_leaves_does_not_depend_on_where_batches_end_nor_on_a_snapshot_between():
    events = crowd(0, 300) + crowd(300, 700, 2 * HOUR_MS)
    whole, cut = UserBucket(IDLE, 9_999), UserBucket(IDLE, 9_999)
    expected, found = whole.take(events), []
    for start in range(0, len(events), 37):
        found += cut.take(events[start : start + 37])
        resumed = UserBucket(IDLE, 9_999)
        resumed.restore(cut.snapshot())
        cut = resumed
    assert found == expected
    assert len(departed(expected)) == 300


def test_forgetting_an_unknown_user_passes_on():
    assert len(UserBucket(CONFIG, 9).take([Forget(1, "nobody", START_MS)])) == 1


def test_a_restored_bucket_goes_on_as_the_old_one_would_have():
    taken = bucket(
        view(1, "u", "a", session_id="s"), view(2, "v", "ü", event_id="e"), view(3, "u", "b", session_id="s"), bound=3
    )
    restored = UserBucket(CONFIG, 3)
    restored.restore(taken.snapshot())
    more = [
        view(4, "v", "c", event_id="e"),  # a duplicate
        *(view(n, user, "d") for n, user in enumerate("uwxv", start=5)),  # evicts v, then u
    ]
    assert restored.take(more) == taken.take(more)
    assert restored.snapshot() == taken.snapshot()
    assert list(restored.users) == ["w", "x", "v"]


def test_an_empty_bucket_comes_back_empty():
    taken = bucket(view(1, "u", "a"))
    taken.restore(UserBucket(CONFIG, 3).snapshot())
    assert taken.users == {}


@pytest.mark.parametrize("snapshot", [b"", b"freshflow-users-0\n\x80", b"freshflow-partition-1\n\x80", b"\x80"])
def test_a_foreign_snapshot_is_refused_with_what_to_do(snapshot):
    with pytest.raises(SnapshotError, match=r"another version.*start anew"):
        UserBucket(CONFIG, 3).restore(snapshot)


LATE = UsersConfig(context=3, history=5, lateness_s=10)


def at(position: int, item: str, ts_ms: int, **fields) -> Behaviour:
    return Behaviour(position, "view", "u", item, START_MS + ts_ms, **fields)


def test_an_event_exactly_as_late_as_allowed_takes_its_place_in_the_history():
    taken = UserBucket(LATE, 9)
    *_, step = taken.take([at(1, "a", 0), at(2, "c", 20_000), at(3, "b", 10_000)])
    assert taken.users["u"].items == ("a", "b", "c")
    assert (step.after, taken.counts) == (taken.users["u"], {"reordered": 1})


def test_an_event_a_millisecond_later_is_counted_and_changes_nothing():
    taken = UserBucket(LATE, 9)
    taken.take([at(1, "a", 0), at(2, "c", 20_000)])
    before = taken.users["u"]
    assert taken.take([at(3, "b", 9_999)]) == []
    assert (taken.users["u"], taken.counts) == (before, {"late": 1})


def test_an_event_out_of_order_teaches_what_it_would_have_in_order():
    in_order = UserBucket(LATE, 9).take([at(1, "a", 0), at(3, "b", 5_000)])[-1]
    taken = UserBucket(LATE, 9).take([at(1, "a", 0), at(2, "c", 9_000), at(3, "b", 5_000)])[-1]
    assert (taken.visit, taken.context) == (in_order.visit, in_order.context)
    assert (taken.before.items, taken.before.last_ms) == (in_order.before.items, in_order.before.last_ms)


def test_a_dismissal_out_of_order_takes_the_item_off():
    *_, step = UserBucket(LATE, 9).take([at(1, "a", 0), at(2, "c", 9_000), at(3, "a", 5_000, weight=-1.0)])
    assert (step.after.items, step.after.dismissed, step.after.last_ms) == (("c",), ("a",), START_MS + 9_000)


def test_lateness_is_told_by_the_users_own_clock():
    taken = UserBucket(LATE, 9)
    steps = taken.take([view(90_000, "v", "x"), at(2, "a", 0)])
    assert (len(steps), taken.counts) == (2, {})


def test_counts_are_part_of_the_state():
    taken = bucket(view(1, "u", "a", event_id="e"), view(2, "u", "a", event_id="e"))
    restored = UserBucket(CONFIG, 9)
    restored.restore(taken.snapshot())
    assert restored.counts == taken.counts == {"duplicate": 1}


@pytest.mark.parametrize("at", range(len(SNAPSHOT_VERSION), len(bucket(view(1, "u", "a")).snapshot())))
def test_a_snapshot_of_which_a_byte_changed_is_refused(at):
    damaged = bytearray(bucket(view(1, "u", "a")).snapshot())
    damaged[at] ^= 0x80
    with pytest.raises(SnapshotError, match=r"damaged user states .*; restore it, or give an empty one\.$"):
        UserBucket(CONFIG, 3).restore(damaged)


def test_a_snapshot_without_anything_is_refused():
    with pytest.raises(SnapshotError, match="damaged user states"):
        UserBucket(CONFIG, 3).restore(UserBucket(CONFIG, 3).snapshot()[: len(SNAPSHOT_VERSION)])


def test_a_bucket_that_is_resumed_with_less_room_keeps_those_who_acted_last():
    smaller = UserBucket(CONFIG, 2)
    smaller.restore(bucket(*(view(n, f"u{n}", "a") for n in range(1, 6))).snapshot())
    assert (list(smaller.users), smaller.counts["users_evicted"]) == (["u4", "u5"], 3)
