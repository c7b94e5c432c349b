"""What an event makes of a user: sessions, the history, the context of a moment, duplicates."""

from functools import reduce

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from freshflow.events.model import Interaction
from freshflow.users.profile import (
    FINGERPRINT_BYTES,
    NEW_USER,
    UserProfile,
    add_dismissal,
    add_event,
    add_search,
    context_at,
    intern_ids,
    is_duplicate,
)

START_MS = 1_700_000_000_000
GAP_MS = 1_800_000
MINUTE_MS = 60_000


def event(item: str, at_ms: int = 0, **fields: str) -> Interaction:
    """A view of `item` so many milliseconds after the start."""
    type_ = fields.pop("type", "view")
    return Interaction(0, type_, "user", item, START_MS + at_ms, **fields)


def after(*events: Interaction, context: int = 20, history: int = 100) -> UserProfile:
    """The state of a new user after `events`."""
    return reduce(
        lambda s, e: add_event(s, e, gap_ms=GAP_MS, max_context=context, max_history=history), events, NEW_USER
    )


def context(state: UserProfile, at_ms: int, limit: int = 20, session_id: str | None = None):
    return context_at(state, START_MS + at_ms, gap_ms=GAP_MS, max_items=limit, session_id=session_id)


def test_the_first_event_starts_a_session():
    state = after(event("a"))
    assert (state.session, state.session_length, state.last_ms) == (("a",), 1, START_MS)
    assert (state.items, state.seen_ms, state.counts) == (("a",), (START_MS,), (1,))


def test_an_event_exactly_at_the_gap_extends_the_session():
    state = after(event("a"), event("b", GAP_MS))
    assert (state.session, state.session_length) == (("a", "b"), 2)


def test_an_event_one_millisecond_beyond_the_gap_starts_a_session():
    state = after(event("a"), event("b", GAP_MS + 1))
    assert (state.session, state.session_length) == (("b",), 1)
    assert state.items == ("a", "b")


def test_the_gap_is_measured_from_the_latest_event_not_from_the_session_start():
    steps = [event(item, n * GAP_MS) for n, item in enumerate("abcd")]
    assert after(*steps).session == ("a", "b", "c", "d")


def test_the_same_session_id_extends_the_session_beyond_the_gap():
    state = after(event("a", session_id="s"), event("b", 10 * GAP_MS, session_id="s"))
    assert (state.session, state.session_id) == (("a", "b"), "s")


def test_another_session_id_starts_a_session_within_the_gap():
    state = after(event("a", session_id="s"), event("b", 1, session_id="t"))
    assert (state.session, state.session_id, state.session_length) == (("b",), "t", 1)


def test_an_event_without_session_id_stays_in_the_running_session_and_keeps_its_id():
    state = after(event("a", session_id="s"), event("b", GAP_MS))
    assert (state.session, state.session_id) == (("a", "b"), "s")


def test_an_event_without_session_id_beyond_the_gap_leaves_the_named_session():
    state = after(event("a", session_id="s"), event("b", GAP_MS + 1))
    assert (state.session, state.session_id) == (("b",), None)


def test_a_first_session_id_within_the_gap_names_the_running_session():
    state = after(event("a"), event("b", GAP_MS, session_id="s"))
    assert (state.session, state.session_id) == (("a", "b"), "s")


def test_a_repeated_item_moves_to_the_end_and_counts_twice():
    state = after(event("a"), event("b", 1), event("a", 2))
    assert (state.session, state.session_length) == (("b", "a"), 3)
    assert (state.items, state.counts) == (("b", "a"), (1, 2))
    assert state.seen_ms == (START_MS + 1, START_MS + 2)


def test_a_session_forgets_its_oldest_item_first():
    state = after(*(event(item, n) for n, item in enumerate("abcd")), context=3)
    assert (state.session, state.session_length) == (("b", "c", "d"), 4)


def test_a_history_forgets_its_oldest_item_first_with_its_count():
    state = after(event("a", 0), event("a", 1), event("b", 2), event("c", 3), context=2, history=2)
    assert (state.items, state.counts, state.seen_ms) == (("b", "c"), (1, 1), (START_MS + 2, START_MS + 3))


def test_an_item_that_fell_out_of_the_history_counts_from_one_again():
    state = after(event("a", 0), event("b", 1), event("c", 2), event("a", 3), context=2, history=2)
    assert (state.items, state.counts) == (("c", "a"), (1, 1))


def test_the_context_of_a_new_user_is_empty():
    assert context(NEW_USER, 0).items == ()
    assert context(NEW_USER, 0).session_length == 0


def test_the_context_holds_the_running_session_most_recent_first():
    now = context(after(event("x"), event("a", GAP_MS + 1), event("b", GAP_MS + 2)), GAP_MS + 5)
    assert (now.items, now.session_length, now.idle_ms) == (("b", "a"), 2, 3)


@pytest.mark.parametrize(("idle_ms", "length"), [(GAP_MS, 1), (GAP_MS + 1, 0)])
def test_after_the_gap_the_context_is_the_history(idle_ms, length):
    state = after(event("x"), event("a", GAP_MS + 1))
    now = context(state, GAP_MS + 1 + idle_ms)
    assert (now.items, now.session_length) == ((("a",), 1) if length else (("a", "x"), 0))


def test_the_context_ends_at_its_limit_in_a_session_and_at_its_start():
    state = after(*(event(item, n) for n, item in enumerate("abcd")))
    assert context(state, 4, limit=2).items == ("d", "c")
    assert context(state, 2 * GAP_MS, limit=3).items == ("d", "c", "b")


def test_a_moment_before_the_latest_event_has_no_idle_time():
    now = context(after(event("a", MINUTE_MS)), 0)
    assert (now.items, now.idle_ms) == (("a",), 0)


def test_the_context_of_another_session_id_is_the_history():
    state = after(event("x"), event("a", 2 * GAP_MS, session_id="s"))
    assert context(state, 2 * GAP_MS, session_id="s").items == ("a",)
    assert context(state, 2 * GAP_MS, session_id="t").items == ("a", "x")


def test_an_event_id_identifies_an_event_whatever_else_it_says():
    state = after(event("a", event_id="e"))
    assert is_duplicate(state, event("b", 5, event_id="e"))
    assert not is_duplicate(state, event("a", event_id="f"))


def test_without_event_id_item_type_and_time_identify_an_event():
    state = after(event("a"))
    assert is_duplicate(state, event("a"))
    assert not is_duplicate(state, event("a", 1))
    assert not is_duplicate(state, event("b"))
    assert not is_duplicate(state, event("a", type="cart"))


def test_a_duplicate_is_known_after_seven_more_events_and_not_after_eight():
    events = [event(f"i{n}", n) for n in range(9)]
    assert is_duplicate(after(*events[:8]), events[0])
    assert not is_duplicate(after(*events), events[0])


def test_a_new_user_has_no_duplicates():
    assert not is_duplicate(NEW_USER, event("a"))


behaviours = st.builds(
    lambda item, at_ms, type_, session_id: event(item, at_ms, type=type_, session_id=session_id),
    st.sampled_from("abcdefg"),
    st.integers(0, 4).map(lambda n: n * GAP_MS) | st.integers(0, 5 * GAP_MS),
    st.sampled_from(["view", "cart"]),
    st.sampled_from([None, None, "s", "t"]),
)


def in_order(most: int) -> st.SearchStrategy[list[Interaction]]:
    """At most so many events, by time."""
    return st.lists(behaviours, max_size=most).map(lambda events: sorted(events, key=lambda one: one.ts_ms))


bounds = st.integers(1, 4).flatmap(lambda context: st.tuples(st.just(context), st.integers(context, 6)))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(in_order(25), bounds)
def test_states_keep_their_invariants_and_inputs_stay_as_they_were(events, bounds):
    context, history = bounds
    state = NEW_USER
    for one in events:
        before = msgspec.msgpack.encode((state, one))
        later = add_event(state, one, gap_ms=GAP_MS, max_context=context, max_history=history)
        assert msgspec.msgpack.encode((state, one)) == before
        assert later.last_ms == one.ts_ms
        assert later.items[-1] == later.session[-1] == one.item_id
        assert is_duplicate(later, one)
        assert later.session_length in (1, state.session_length + 1)
        state = later
    assert len(state.items) == len(state.seen_ms) == len(state.counts) <= history
    assert len(set(state.items)) == len(state.items)
    assert len(set(state.session)) == len(state.session) <= min(context, max(1, state.session_length))
    assert state.items[len(state.items) - len(state.session) :] == state.session
    assert sorted(state.seen_ms) == list(state.seen_ms)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(in_order(25))
def test_a_history_with_room_counts_every_event_and_its_latest_time(events):
    state = after(*events)
    seen_ms = {one.item_id: one.ts_ms for one in events}
    counted = {item: sum(one.item_id == item for one in events) for item in seen_ms}
    assert dict(zip(state.items, state.counts, strict=True)) == counted
    assert dict(zip(state.items, state.seen_ms, strict=True)) == seen_ms


@settings(deadline=None, derandomize=True, max_examples=50)
@given(in_order(25), st.integers(0, 8 * GAP_MS), st.integers(1, 5))
def test_a_context_is_the_end_of_the_session_or_of_the_history(events, at_ms, limit):
    state = after(*events)
    now = context(state, at_ms, limit)
    running = now.session_length > 0
    assert now.items == (state.session if running else state.items)[::-1][:limit]
    assert running == (bool(events) and START_MS + at_ms - state.last_ms <= GAP_MS)
    assert now.idle_ms == max(0, START_MS + at_ms - state.last_ms)


def test_a_dismissed_item_leaves_session_and_history_until_the_user_comes_back_to_it():
    state = add_dismissal(after(event("a"), event("b", 1), event("a", 2)), event("a", 9, type="dismiss"), max_history=5)
    assert (state.session, state.items, state.seen_ms, state.counts) == (("b",), ("b",), (START_MS + 1,), (1,))
    assert (state.dismissed_items, state.last_ms) == (("a",), START_MS + 9)
    back = add_event(state, event("a", 10), gap_ms=GAP_MS, max_context=20, max_history=100)
    assert (back.dismissed_items, back.items) == ((), ("b", "a"))


def test_no_more_items_are_dismissed_than_the_history_holds():
    state = reduce(lambda s, n: add_dismissal(s, event(f"i{n}", n), max_history=3), range(7), NEW_USER)
    assert state.dismissed_items == ("i4", "i5", "i6")


def test_a_dismissal_that_comes_again_is_a_duplicate():
    turned_down = event("a", type="dismiss")
    assert is_duplicate(add_dismissal(NEW_USER, turned_down, max_history=3), turned_down)


@pytest.mark.parametrize(
    ("items", "place"), [("a", -1), ("ab", -1), ("aa", 0), ("aba", 1), ("abca", 2), ("abab", 1), ("abb", 0)]
)
def test_the_place_is_where_the_latest_item_stood_in_the_session_before_it(items, place):
    assert after(*(event(item, n) for n, item in enumerate(items))).session_position == place


def test_in_a_new_session_every_first_item_is_new():
    state = after(event("a"), event("a", 1), event("a", 2 + GAP_MS))
    assert (state.session_length, state.session_position, state.n_immediate_repeats) == (1, -1, 0)


@pytest.mark.parametrize(("items", "stays"), [("a", 0), ("aa", 1), ("aaa", 2), ("aaab", 0), ("aaba", 0), ("abbb", 2)])
def test_stays_count_how_often_the_latest_item_came_again_at_once(items, stays):
    assert after(*(event(item, n) for n, item in enumerate(items))).n_immediate_repeats == stays


def test_an_item_that_the_session_has_forgotten_is_new_again():
    state = after(*(event(item, n) for n, item in enumerate("abca")), context=2)
    assert (state.session, state.session_position) == (("c", "a"), -1)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(in_order(25), st.integers(1, 4))
def test_place_and_stays_follow_from_the_session_before(events, limit):
    state = NEW_USER
    for one in events:
        later = add_event(state, one, gap_ms=GAP_MS, max_context=limit, max_history=6)
        before = state.session[::-1] if later.session_length > 1 else ()
        assert later.session_position == (before.index(one.item_id) if one.item_id in before else -1)
        assert later.n_immediate_repeats == (state.n_immediate_repeats + 1 if later.session_position == 0 else 0)
        state = later


def test_after_a_dismissal_the_next_item_stands_to_the_session_that_is_left():
    turned_down = add_dismissal(after(event("a"), event("b", 1)), event("b", 2, type="dismiss"), max_history=5)
    state = add_event(turned_down, event("a", 3), gap_ms=GAP_MS, max_context=20, max_history=100)
    assert (state.session_position, state.n_immediate_repeats) == (0, 1)


def test_where_two_fingerprints_meet_there_is_no_third():
    events = [event("i", event_id=event_id) for event_id in ("a", "b", "c")]
    state = after(*events)
    assert all(is_duplicate(state, one) for one in events)
    for shift in range(1, FINGERPRINT_BYTES):
        moved = structs.replace(state, fingerprints=state.fingerprints[shift:][: 2 * FINGERPRINT_BYTES])
        assert not any(is_duplicate(moved, one) for one in events)


def test_users_of_one_item_share_its_id():
    states = [after(event("".join(("it", "em")))) for _ in "ab"]
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(states), type=list[UserProfile])
    one, other, *restored = (*states, *map(intern_ids, decoded))
    assert restored == [one, other]
    assert len({id(item) for state in (one, other, *restored) for item in (*state.items, *state.session)}) == 1


def searched(state: UserProfile, at_ms: int, *keys: str) -> UserProfile:
    return add_search(state, keys or ("q",), START_MS + at_ms, gap_ms=GAP_MS)


def then(state: UserProfile, item: str, at_ms: int) -> UserProfile:
    return add_event(state, event(item, at_ms), gap_ms=GAP_MS, max_context=20, max_history=100)


def test_a_search_counts_for_what_comes_up_to_the_gap_after_it_and_no_longer():
    state = searched(NEW_USER, 0)
    assert then(state, "a", GAP_MS).search is not None
    assert then(state, "a", GAP_MS + 1).search is None
    assert then(then(state, "a", GAP_MS), "b", 2 * GAP_MS).search.n_visits == 2


def test_a_search_counts_for_ten_visits():
    state = searched(NEW_USER, 0)
    for n in range(10):
        state = then(state, f"i{n}", n)
        assert state.search.n_visits == n + 1
    assert then(state, "one too many", 11).search is None


def test_a_search_of_long_before_the_latest_event_or_the_latest_search_changes_nothing():
    state = after(event("a", GAP_MS + 1))
    assert searched(state, 0) is state
    assert searched(state, 1).search.ts_ms == START_MS + 1
    later = searched(state, GAP_MS + 2, "later")
    assert searched(later, GAP_MS + 2, "again") is later
    assert searched(later, GAP_MS, "earlier") is later


def test_an_event_before_a_search_leaves_it_for_later_unless_it_lies_far_ahead():
    assert then(searched(NEW_USER, 1000), "a", 500).search.n_visits == 0
    assert then(searched(NEW_USER, GAP_MS + 501), "a", 500).search is None


def test_a_query_without_words_is_no_search():
    assert add_search(NEW_USER, (), START_MS, gap_ms=GAP_MS) is NEW_USER
