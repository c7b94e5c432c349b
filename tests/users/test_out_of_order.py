"""Events that come out of order: they end up where they would have stood, as far as the state tells."""

from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from freshflow.events.model import Interaction
from freshflow.users.out_of_order import add_out_of_order_event, profile_at
from freshflow.users.profile import (
    NEW_USER,
    UserProfile,
    add_dismissal,
    add_event,
    context_at,
    is_duplicate,
)

START_MS = 1_700_000_000_000
GAP_MS = 1_800_000
MINUTE_MS = 60_000


def event(item: str, minute: float, session_id: str | None = None) -> Interaction:
    return Interaction(0, "view", "user", item, START_MS + int(minute * MINUTE_MS), session_id=session_id)


def add(state: UserProfile, one: Interaction, context: int = 20, history: int = 100) -> UserProfile:
    added = add_event if one.ts_ms >= state.last_ms else add_out_of_order_event
    return added(state, one, gap_ms=GAP_MS, max_context=context, max_history=history)


def after(*events: Interaction, **bounds: int) -> UserProfile:
    """The state of a new user after `events`, in the order in which they come."""
    return reduce(lambda state, one: add(state, one, **bounds), events, NEW_USER)


def known(state: UserProfile) -> tuple[object, ...]:
    """All that a state says, but for the order in which events came."""
    return structs.astuple(structs.replace(state, fingerprints=b""))


def same_as_in_order(*events: Interaction, **bounds: int) -> bool:
    return known(after(*events, **bounds)) == known(after(*sorted(events, key=lambda one: one.ts_ms), **bounds))


def test_an_event_between_two_of_the_session_stands_between_them():
    state = after(event("a", 0), event("c", 2), event("b", 1))
    assert (state.session, state.items, state.session_length) == (("a", "b", "c"), ("a", "b", "c"), 3)
    assert state.seen_ms == tuple(START_MS + n * MINUTE_MS for n in range(3))
    assert state.last_ms == START_MS + 2 * MINUTE_MS


@pytest.mark.parametrize(("minute", "session"), [(30, ("b", "a")), (29.99, ("a",))])
def test_an_event_up_to_the_gap_before_the_session_belongs_to_it(minute, session):
    state = after(event("a", 60), event("b", minute))
    assert (state.session, state.session_length) == (session, len(session))
    assert state.items == ("b", "a")


def test_an_event_between_two_sessions_joins_them():
    state = after(event("a", 0), event("b", 1), event("d", 50), event("c", 25))
    assert (state.session, state.session_length) == (("a", "b", "c", "d"), 4)


def test_an_event_that_is_too_far_from_the_session_before_joins_nothing_else():
    state = after(event("a", 0), event("d", 60), event("c", 31))
    assert (state.session, state.items) == (("c", "d"), ("a", "c", "d"))


def test_an_item_that_was_seen_later_stays_and_counts_once_more():
    state = after(event("a", 0), event("b", 5), event("b", 3))
    assert (state.items, state.counts, state.seen_ms[1]) == (("a", "b"), (1, 2), START_MS + 5 * MINUTE_MS)
    assert (state.session_position, state.n_immediate_repeats, state.session_length) == (0, 1, 3)


def test_an_item_that_was_seen_earlier_moves_to_where_it_was_seen_now():
    state = after(event("a", 0), event("b", 1), event("c", 5), event("a", 3))
    assert (state.items, state.session, state.counts) == (("b", "a", "c"), ("b", "a", "c"), (1, 2, 1))
    assert state.seen_ms[1] == START_MS + 3 * MINUTE_MS


def test_an_item_that_moves_within_its_session_brings_nothing_of_the_session_before():
    state = after(event("x", 0), event("a", 60), event("b", 61), event("c", 65), event("a", 63))
    assert (state.session, state.session_length) == (("b", "a", "c"), 4)


def test_of_two_earlier_events_the_latest_item_stands_where_the_later_left_it():
    events = [event("a", 0), event("b", 1), event("c", 2), event("a", 5)]
    assert (after(*events).session_position, after(*events, event("a", 1.5)).session_position) == (2, 1)
    assert same_as_in_order(*events, event("a", 1.5))


def test_the_session_as_of_a_moment_counts_its_repeats():
    state = after(event("a", 0), event("a", 1), event("b", 2), event("c", 3))
    assert profile_at(state, START_MS + int(2.5 * MINUTE_MS), gap_ms=GAP_MS).session_length == 3


def test_the_latest_item_stands_where_its_earlier_event_leaves_it():
    state = after(event("b", 1), event("a", 2), event("a", 0))
    assert (state.session, state.session_position, state.n_immediate_repeats) == (("b", "a"), 1, 0)


def test_an_event_of_another_named_session_divides_the_running_one():
    state = after(event("a", 0, "s"), event("c", 2, "s"), event("b", 1, "t"))
    assert (state.session, state.session_id, state.session_length) == (("c",), "s", 1)
    assert same_as_in_order(event("a", 0, "s"), event("c", 2, "s"), event("b", 1, "t"))


def test_an_event_of_another_named_session_before_the_running_one_is_history():
    state = after(event("a", 1, "s"), event("b", 0, "t"))
    assert (state.session, state.items, state.session_id) == (("a",), ("b", "a"), "s")


def test_the_same_session_id_belongs_to_the_session_however_early():
    assert after(event("a", 600, "s"), event("b", 0, "s")).session == ("b", "a")


def test_a_name_that_comes_late_names_the_running_session():
    state = after(event("a", 1), event("b", 0, "s"))
    assert (state.session, state.session_id) == (("b", "a"), "s")


def test_what_a_full_history_has_no_place_for_is_not_in_it():
    state = after(event("b", 1), event("c", 2), event("a", 0), context=2, history=2)
    assert (state.items, state.session) == (("b", "c"), ("b", "c"))


def test_an_event_before_a_dismissal_does_not_undo_it():
    turned_down = add_dismissal(after(event("b", 0)), event("a", 5), max_history=9)
    state = add(turned_down, event("a", 3))
    assert (state.items, state.dismissed_items) == (("b",), ("a",))
    assert is_duplicate(state, event("a", 3))


def test_a_dismissal_before_the_user_came_back_to_the_item_is_out_of_date():
    seen = after(event("a", 0), event("a", 5))
    assert known(add_dismissal(seen, event("a", 3), max_history=9)) == known(seen)


def test_an_event_out_of_order_is_a_duplicate_when_it_comes_again():
    assert is_duplicate(after(event("a", 1), event("b", 0)), event("b", 0))


distinct = st.permutations("abcdefgh").flatmap(
    lambda items: st.lists(st.integers(0, 240), min_size=1, max_size=8, unique=True).map(
        lambda minutes: [event(item, minute) for item, minute in zip(items, minutes, strict=False)]
    )
)
repeated = st.lists(
    st.builds(event, st.sampled_from("abcd"), st.integers(0, 240), st.sampled_from([None, None, "s", "t"])),
    max_size=20,
)
bounds = st.integers(1, 4).flatmap(lambda context: st.tuples(st.just(context), st.integers(context, 6)))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(distinct)
def test_in_whatever_order_different_items_come_the_state_is_that_of_their_order(events):
    assert same_as_in_order(*events)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(repeated)
def test_every_event_counts_and_every_item_has_its_latest_time(events):
    state = after(*events)
    in_order = sorted(events, key=lambda one: one.ts_ms)
    assert dict(zip(state.items, state.seen_ms, strict=True)) == {one.item_id: one.ts_ms for one in in_order}
    assert sum(state.counts) == len(events)
    assert state.last_ms == max((one.ts_ms for one in events), default=0)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(repeated, bounds)
def test_states_keep_their_invariants(events, bounds):
    context, history = bounds
    state = NEW_USER
    for one in events:
        later = add(state, one, context=context, history=history)
        assert later.last_ms == max(state.last_ms, one.ts_ms)
        assert is_duplicate(later, one)
        state = later
        assert len(state.items) == len(state.seen_ms) == len(state.counts) <= history
        assert len(set(state.items)) == len(state.items)
        assert len(state.session) <= min(context, state.session_length)
        assert state.items[len(state.items) - len(state.session) :] == state.session
        assert sorted(state.seen_ms) == list(state.seen_ms)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(distinct, st.integers(-10, 250))
def test_the_state_as_of_a_moment_is_that_after_the_events_before_it(events, minute):
    """Also the context: that of a session where one was running."""
    in_order = sorted(events, key=lambda one: one.ts_ms)
    now_ms = START_MS + minute * MINUTE_MS
    then = profile_at(after(*in_order), now_ms, gap_ms=GAP_MS)
    expected = after(*(one for one in in_order if one.ts_ms <= now_ms))
    assert (then.items, then.seen_ms, then.counts, then.last_ms) == (
        *(expected.items, expected.seen_ms, expected.counts, expected.last_ms),
    )
    assert context_at(then, now_ms, gap_ms=GAP_MS, max_items=9) == context_at(
        expected, now_ms, gap_ms=GAP_MS, max_items=9
    )
