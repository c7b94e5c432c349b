"""The guests of a bucket: who they turn out to be, how long that holds, and what is handed on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.config.schema import Config, JobConfig, UsersConfig
from freshflow.errors import SnapshotError
from freshflow.events.model import Forget, Identify, Interaction, ItemUpdate, Origin, Request
from freshflow.users.anonymous import AnonymousStore
from freshflow.users.store import UserStore
from freshflow.users.updates import ListRequested, MergeRequested, ProfileMerged, UserEvicted, UserInteraction

START_MS, MINUTE_MS = 1_700_000_000_000, 60_000
ORIGIN = Origin("file", "events.jsonl")
CONFIG = Config(users=UsersConfig(guests=True))


def view(position: int, item: str, who: str = "guest:s", minute: float | None = None, **fields) -> Interaction:
    at_ms = START_MS + int((position if minute is None else minute) * MINUTE_MS)
    return Interaction(position, "view", who, item, at_ms, session_id="s", **fields)


def identify(position: int, user: str = "u", guest: str = "guest:s") -> Identify:
    return Identify(position, user, guest, START_MS + position * MINUTE_MS)


def kinds(several) -> list[str]:
    return [type(one).__name__ for one in several]


def bucket(config: Config = CONFIG) -> AnonymousStore:
    return AnonymousStore.for_partition(config)


def users_after(*events) -> UserStore:
    """The users of a job with one bucket after `events`."""
    users = UserStore.for_partition(CONFIG)
    users.process(bucket().process(events))
    return users


def test_a_guest_has_steps_as_a_user_has():
    _, step = bucket().process([view(1, "a"), view(2, "b")])
    assert isinstance(step, UserInteraction)
    assert (step.event.user_id, step.context.items, step.profile_after.items) == ("guest:s", ("a",), ("a", "b"))


def test_what_is_a_users_passes_as_it_is():
    events = [view(1, "a", "u"), Request(2, "u", START_MS), ItemUpdate(3, "a", START_MS)]
    assert bucket().process(events) == events


def test_who_asks_as_an_unknown_guest_is_asked_for_as_new():
    (asked,) = bucket().process([Request(1, "guest:x", START_MS)])
    assert isinstance(asked, ListRequested)
    assert asked.profile.items == ()


def test_identify_takes_the_guest_away_and_hands_the_history_to_the_user():
    guests = bucket()
    *_, left, join = guests.process([view(1, "a"), view(2, "b"), identify(3)])
    assert left == UserEvicted(3, "guest:s", is_idle=True)
    assert isinstance(join, MergeRequested)
    assert (join.user_id, join.anonymous_profile.items) == ("u", ("a", "b"))
    assert guests.store.users == {}


def test_a_user_who_was_a_guest_has_both_histories_and_gets_a_step():
    users = UserStore.for_partition(CONFIG)
    steps = users.process(bucket().process([view(1, "a", "u"), view(2, "b"), identify(3)]))
    assert kinds(steps) == ["UserInteraction", "UserInteraction", "UserEvicted", "ProfileMerged"]
    assert isinstance(steps[-1], ProfileMerged)
    assert steps[-1].profile_after.items == users.users["u"].items == ("a", "b")
    assert users.counts["guests_joined"] == 1


def test_to_identify_twice_is_to_identify_once():
    once = users_after(view(1, "a", "u"), view(2, "b"), identify(3))
    assert users_after(view(1, "a", "u"), view(2, "b"), identify(3), identify(4)).users == once.users


def test_to_identify_who_never_did_anything_makes_no_step():
    assert bucket().process([identify(1)]) == []


@pytest.mark.parametrize(("minutes", "who"), [(30, "u"), (30.01, "guest:s")])
def test_what_comes_under_the_guests_name_is_the_users_while_the_session_lasts(minutes, who):
    (later,) = bucket().process([identify(1), view(2, "a", minute=1 + minutes)])
    assert (later.user_id if isinstance(later, Interaction) else later.event.user_id) == who


def test_the_session_lasts_while_it_goes_on():
    *_, later = bucket().process([identify(1), view(2, "a", minute=30), view(3, "b", minute=60)])
    assert isinstance(later, Interaction)
    assert later.user_id == "u"


def test_an_event_from_before_the_guest_was_known_that_comes_later_is_the_users():
    (later,) = bucket().process([identify(5), view(6, "a", minute=1)])
    assert isinstance(later, Interaction)
    assert later.user_id == "u"


def test_who_asks_under_the_guests_name_is_answered_as_the_user():
    assert bucket().process([identify(1), Request(2, "guest:s", START_MS)]) == [Request(2, "u", START_MS)]


def test_the_next_to_be_identified_has_the_session_from_then_on():
    guests = bucket()
    first, second = guests.process([identify(1, "u"), view(2, "a"), identify(3, "v"), view(4, "b")])
    assert (first.user_id, second.user_id) == ("u", "v")


def test_an_event_sent_again_after_the_guest_was_identified_is_a_duplicate():
    users = users_after(view(1, "a"), identify(2), view(3, "a", minute=1))
    assert users.counts["duplicate"] == 1
    assert users.users["u"].counts == (1,)


def test_events_of_one_record_of_a_guest_are_not_duplicates_of_each_other():
    steps = bucket().process([view(1, "a", event_id="e"), view(1, "b", event_id="e", nth=1)])
    assert kinds(steps) == ["UserInteraction", "UserInteraction"]
    assert bucket().process([view(1, "a", event_id="e"), view(2, "b", event_id="e")])[1:] == []


def test_a_forgotten_guest_is_gone_and_so_is_who_they_were():
    guests = bucket()
    *_, forgotten = guests.process([view(1, "a"), Forget(2, "guest:s", START_MS)])
    assert forgotten == Forget(2, "guest:s", START_MS, is_known=True)
    assert users_after(view(1, "a"), Forget(2, "guest:s", START_MS)).users == {}
    assert kinds(guests.process([identify(3), Forget(4, "guest:s", START_MS), view(5, "a")])) == [
        "Forget",
        "UserInteraction",
    ]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_forgotten_user_was_no_guest(elsewhere):
    guests = bucket()
    forget, step = guests.process([identify(1), Forget(2, "u", START_MS, is_in_other_bucket=elsewhere), view(3, "a")])
    assert kinds([forget, step]) == ["Forget", "UserInteraction"]
    assert users_after(view(1, "a"), identify(2), Forget(3, "u", START_MS)).users == {}


def test_guests_leave_sooner_than_users():
    guests = bucket(Config(users=UsersConfig(guests=True, idle_s=0.0, guest_idle_s=600.0)))
    later = [view(n, f"i{n}", f"guest:{n}", minute=60) for n in range(2, 260)]
    steps = guests.process([view(1, "a"), *later])
    assert UserEvicted(256, "guest:s", is_idle=True) in steps
    assert guests.counts["users_idle"] == 1


def test_links_are_bounded_by_number_and_go_when_nothing_of_their_sessions_can_come_late():
    guests = bucket(Config(users=UsersConfig(guests=True, max=6, allowed_lateness_s=3600), job=JobConfig(partitions=2)))
    guests.process([identify(0, guest=f"guest:{n}") for n in range(10)])
    assert [*guests.links] == ["guest:7", "guest:8", "guest:9"]
    guests.process([identify(91)])
    assert [*guests.links] == ["guest:s"]


def test_guests_count_among_the_first_that_teach_everybody():
    users = UserStore(UsersConfig(), 9, n_broadcast=2)
    steps = users.process(bucket().process([view(1, "a"), view(2, "b", "u"), view(3, "c")]))
    assert [step.broadcast for step in steps] == [True, True, False]


def test_an_event_of_a_guest_ahead_of_its_stream_is_written_as_it_could_be_read():
    guests = bucket()
    ahead = view(2, "b", minute=10_000)
    _, refused, upto = guests.process_batch(
        ORIGIN, [view(1, "a"), ahead, *(view(n, "a", f"u{n}") for n in (3, 4))], 0, 4
    )
    assert b'"guest_id":"s"' in refused[0].raw and b"user_id" not in refused[0].raw
    assert upto == 4


def test_what_waits_at_the_end_is_handed_on_with_how_far_was_read():
    guests = bucket()
    handed, refused, upto = guests.process_batch(ORIGIN, [view(1, "a"), view(2, "b", minute=10_000)], 0, 7)
    assert (len(handed), refused, upto) == (1, [], 1)
    ((origin, handed, refused, upto),) = guests.finish()
    assert (origin, len(handed) + len(refused), upto) == (ORIGIN, 1, 7)


events = st.one_of(
    st.builds(
        view, st.just(0), st.sampled_from("abc"), st.sampled_from(["guest:s", "guest:t", "u"]), st.integers(0, 90)
    ),
    st.builds(identify, st.integers(0, 90), st.sampled_from("uv"), st.sampled_from(["guest:s", "guest:t"])),
    st.builds(Forget, st.just(0), st.sampled_from(["u", "v", "guest:s"]), st.just(START_MS)),
)


@settings(max_examples=50)
@given(st.lists(events, max_size=30), st.integers(0, 30))
def test_a_bucket_that_is_restored_goes_on_as_if_nothing_had_happened(stream, cut):
    whole, first, second = bucket(), bucket(), bucket()
    expected = [whole.process([one]) for one in stream]
    before = [first.process([one]) for one in stream[:cut]]
    second.load_snapshot(b"".join(first.prepare_snapshot()()))
    assert before + [second.process([one]) for one in stream[cut:]] == expected


@given(st.lists(events, max_size=30))
def test_nobody_is_a_guest_and_gone_at_once_and_no_event_is_lost(stream):
    guests = bucket()
    handed = guests.process(stream)
    assert not any(isinstance(one, Identify) for one in handed)
    behaviour = sum(isinstance(one, Interaction) for one in stream)
    assert sum(isinstance(one, Interaction | UserInteraction) for one in handed) + guests.counts.total() >= behaviour
    joined = {one.event.anonymous_id for one in handed if isinstance(one, MergeRequested)}
    assert {one.user_id for one in handed if isinstance(one, UserEvicted)} == joined


def test_a_snapshot_of_another_version_or_a_damaged_one_is_refused():
    snapshot = b"".join(bucket().prepare_snapshot()())
    with pytest.raises(SnapshotError, match="another version"):
        bucket().load_snapshot(b"freshflow-guests-0\n" + snapshot[19:])
    for cut in (20, 40, len(snapshot) - 1):
        with pytest.raises(SnapshotError, match="damaged"):
            bucket().load_snapshot(snapshot[:cut])
