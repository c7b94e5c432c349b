"""Two histories as one: what was seen when and how often, what is turned down, and which session runs."""

from functools import partial, reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow.events.model import Interaction
from freshflow.users import profile_merge as merging
from freshflow.users.out_of_order import add_out_of_order_event
from freshflow.users.profile import (
    FINGERPRINT_BYTES,
    MAX_FINGERPRINTS,
    NEW_USER,
    UserProfile,
    add_dismissal,
    add_event,
    is_duplicate,
)

START_MS, MINUTE_MS, GAP_MS = 1_700_000_000_000, 60_000, 1_800_000
HISTORY, CONTEXT = 12, 5


def event(item: str, minute: float, session_id: str | None = None, weight: float = 1.0) -> Interaction:
    return Interaction(0, "view", "u", item, START_MS + int(minute * MINUTE_MS), weight, session_id=session_id)


def add(state: UserProfile, one: Interaction, context: int = CONTEXT, history: int = HISTORY) -> UserProfile:
    if one.weight < 0:
        return add_dismissal(state, one, max_history=history)
    added = add_event if one.ts_ms >= state.last_ms else add_out_of_order_event
    return added(state, one, gap_ms=GAP_MS, max_context=context, max_history=history)


def after(*events: Interaction) -> UserProfile:
    return reduce(add, events, NEW_USER)


merged = partial(merging.merge_profiles, gap_ms=GAP_MS, max_context=CONTEXT, max_history=HISTORY)


def test_items_stand_in_the_order_in_which_they_were_last_seen_and_counts_add_up():
    both = merged(after(event("a", 0), event("b", 2)), after(event("b", 1), event("c", 3), event("a", 4)))
    assert both.items == ("b", "c", "a")
    assert both.counts == (2, 1, 2)
    assert both.seen_ms == tuple(START_MS + minute * MINUTE_MS for minute in (2, 3, 4))
    assert both.last_ms == START_MS + 4 * MINUTE_MS


@pytest.mark.parametrize(("minute", "session"), [(30, ("a", "b")), (30.01, ("b",))])
def test_sessions_are_one_up_to_the_gap_between_them(minute, session):
    both = merged(after(event("a", 0)), after(event("b", minute)))
    assert (both.session, both.session_length) == (session, len(session))


def test_sessions_of_one_name_are_one_whatever_the_gap():
    both = merged(after(event("a", 0, "s")), after(event("b", 90, "s")))
    assert (both.session, both.session_id, both.session_length) == (("a", "b"), "s", 2)


def test_of_sessions_of_two_names_the_later_one_runs():
    both = merged(after(event("a", 0, "s")), after(event("b", 1, "t")))
    assert (both.session, both.session_id, both.session_length) == (("b",), "t", 1)


def test_a_session_that_another_device_cuts_into_runs_from_there_on():
    phone, desk = after(event("b", 1, "s")), after(event("a", 0, "t"), event("c", 2, "t"))
    assert merged(phone, desk).session == ("c",)


def test_one_who_only_turned_something_down_does_not_end_the_others_session():
    both = merged(after(event("a", 0, "s")), after(event("x", 1, weight=-1)))
    assert (both.session, both.session_id, both.session_length) == (("a",), "s", 1)
    assert both.last_ms == START_MS + MINUTE_MS


@pytest.mark.parametrize(("seen", "dismissed"), [(1, ("a",)), (2, ("a",)), (3, ())])
def test_a_dismissal_holds_unless_the_item_was_seen_after_all_that_the_other_did(seen, dismissed):
    one, other = after(event("a", 1, weight=-1), event("b", 2)), after(event("a", seen))
    both = merged(one, other)
    assert both.dismissed_items == dismissed
    assert ("a" in both.items) == (not dismissed)


def test_events_of_both_are_recognised_when_they_come_again():
    ours, theirs = [event("a", 0), event("b", 1)], [event("c", 2), event("d", 3)]
    both = merged(after(*ours), after(*theirs))
    assert all(is_duplicate(both, one) for one in ours + theirs)
    assert not is_duplicate(both, event("a", 4))


def test_an_older_guest_does_not_push_out_the_latest_events_of_the_user():
    ours = [event(f"u{n}", n + 20) for n in range(MAX_FINGERPRINTS)]
    both = merged(after(*ours), after(*(event(f"g{n}", n) for n in range(MAX_FINGERPRINTS))))
    assert all(is_duplicate(both, one) for one in ours)


events = st.builds(
    event,
    st.sampled_from("abcdefgh"),
    st.integers(0, 200),
    st.sampled_from([None, None, "s", "t"]),
    st.sampled_from([1.0, 1.0, 1.0, -1.0]),
)
states = st.lists(events, max_size=20).map(lambda several: after(*several))


def history(state: UserProfile) -> dict[str, tuple[int, int]]:
    return {item: of for item, *of in zip(state.items, state.seen_ms, state.counts, strict=True)}


@given(states, states)
def test_it_does_not_matter_who_was_the_guest(one, other):
    assert merged(one, other) == merged(other, one)


@given(states)
def test_a_guest_without_a_history_changes_nothing(state):
    assert merged(state, NEW_USER) == merged(NEW_USER, state) == state


few = partial(add, context=2, history=4)
bounded = st.lists(events, max_size=20).map(lambda several: reduce(few, several, NEW_USER))


@given(bounded, bounded)
def test_bounds_hold_and_a_session_is_the_end_of_the_history(one, other):
    both = merged(one, other, max_history=4, max_context=2)
    assert len(both.items) == len(both.seen_ms) == len(both.counts) <= 4
    assert len(both.session) <= 2 and both.items[len(both.items) - len(both.session) :] == both.session
    assert len(both.dismissed_items) <= 4 and not {*both.dismissed_items} & {*both.items}
    assert len(both.fingerprints) <= MAX_FINGERPRINTS * FINGERPRINT_BYTES
    assert list(both.seen_ms) == sorted(both.seen_ms)
    assert both.last_ms == max(one.last_ms, other.last_ms)
    assert both.session_length >= len(both.session)


views = st.lists(st.builds(event, st.sampled_from("abcdefgh"), st.integers(0, 200)), max_size=20)


@given(st.lists(views, min_size=3, max_size=3), st.permutations(range(3)))
def test_the_order_in_which_guests_join_does_not_change_what_was_seen(streams, order):
    several = [after(*stream) for stream in streams]
    assert history(reduce(merged, several)) == history(reduce(merged, (several[n] for n in order)))


@given(views, st.data())
def test_what_was_seen_is_as_if_one_person_had_seen_it(stream, data):
    stream = sorted(stream, key=lambda one: one.ts_ms)
    cut = [data.draw(st.booleans()) for _ in stream]
    parts = [after(*(one for one, mine in zip(stream, cut, strict=True) if mine == whose)) for whose in (True, False)]
    assert history(merged(*parts)) == history(after(*stream))


@given(states, states, events)
def test_a_merged_state_goes_on_as_any_other(one, other, later):
    both = add(merged(one, other), later)
    assert len(both.items) == len(both.seen_ms) == len(both.counts)
    assert both.items[len(both.items) - len(both.session) :] == both.session
