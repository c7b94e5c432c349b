"""The users of a bucket: what travels with an event, who goes first, and what a snapshot brings back."""

import pytest

from freshflow.config import Config, JobConfig, RankerConfig, UsersConfig
from freshflow.errors import SnapshotError
from freshflow.events.types import Behaviour, Forget, ItemUpdate, Request, Search
from freshflow.items.visits import Visit
from freshflow.users.bucket import UserBucket
from freshflow.users.interactions import Ask, Interaction, Lesson
from freshflow.users.state import NEW_USER

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
    questions = [Request(2, "u", START_MS + 2), Search(3, "v", START_MS + 3, "text", ("a",))]
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
    assert taken.counts["evicted"] == 1


def test_a_bucket_of_exactly_its_bound_evicts_nobody():
    taken = bucket(view(1, "u", "a"), view(2, "v", "a"), view(3, "u", "b"), bound=2)
    assert (set(taken.users), taken.counts["evicted"]) == ({"u", "v"}, 0)


def test_an_evicted_user_starts_anew():
    taken = bucket(view(1, "u", "a"), view(2, "v", "a"), bound=1)
    (step,) = taken.take([view(3, "u", "b")])
    assert (step.before, step.context.items) == (NEW_USER, ())


def test_a_question_of_an_unknown_user_takes_no_place():
    taken = bucket(view(1, "u", "a"), Request(2, "v", START_MS + 2), bound=1)
    assert set(taken.users) == {"u"}


def test_a_forgotten_user_is_unknown_and_the_event_passes_on():
    taken = bucket(view(1, "u", "a"), view(2, "v", "a"))
    forget = Forget(3, "u", START_MS + 3)
    assert taken.take([forget]) == [forget]
    assert set(taken.users) == {"v"}


def test_after_forgetting_an_event_seen_before_is_no_duplicate():
    steps = UserBucket(CONFIG, 9).take([view(1, "u", "a"), Forget(2, "u", START_MS), view(1, "u", "a")])
    assert [type(step) for step in steps] == [Interaction, Forget, Interaction]
    assert steps[2].before == NEW_USER


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


@pytest.mark.parametrize("at", range(len(b"freshflow-users-5\n"), len(bucket(view(1, "u", "a")).snapshot())))
def test_a_snapshot_of_which_a_byte_changed_is_refused(at):
    damaged = bytearray(bucket(view(1, "u", "a")).snapshot())
    damaged[at] ^= 0x80
    with pytest.raises(SnapshotError, match=r"damaged user states .*; restore it, or give an empty one\.$"):
        UserBucket(CONFIG, 3).restore(damaged)


def test_a_snapshot_without_anything_is_refused():
    with pytest.raises(SnapshotError, match="damaged user states"):
        UserBucket(CONFIG, 3).restore(UserBucket(CONFIG, 3).snapshot()[:18])
