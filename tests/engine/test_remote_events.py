"""Signals of other partitions: taken in by position, each once, and never before the own stream has come as far."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.engine.remote_events import MAX_BUFFERED_EVENTS, RemoteEventBuffer
from freshflow.items.visit import ItemVisit
from tests.builders.streams import START_MS, steps, view


def visits(*positions: int) -> list[ItemVisit]:
    return [ItemVisit(position, f"i{position}", (), START_MS + position) for position in positions]


def own(*positions: int):
    """Interactions of the partition's own users."""
    return steps([view(position, f"u{position}", "a") for position in positions])


def positions(several) -> list[int]:
    return [step.position for step in several]


def held(*positions: int, origin: str = "a") -> RemoteEventBuffer:
    signals = RemoteEventBuffer()
    signals.add(origin, visits(*positions))
    return signals


def test_without_signals_steps_pass_as_they_are():
    mine = own(1, 2)
    assert RemoteEventBuffer().merge("a", mine) == mine


def test_signals_stand_before_and_between_the_steps_by_position():
    assert positions(held(5, 1, 3).merge("a", own(2, 4, 6))) == [1, 2, 3, 4, 5, 6]


def test_signals_below_the_last_step_wait_for_it_to_pass():
    signals = held(1, 3, 9)
    assert positions(signals.merge("a", own(2))) == [1, 2]
    assert positions(signals.merge("a", own(4))) == [3, 4]
    assert positions(signals.merge("a", own(10))) == [9, 10]
    assert signals.drain() == []


def test_signals_wait_while_there_are_no_steps():
    signals = held(1)
    assert signals.merge("a", []) == []
    assert positions(signals.drain()) == [1]


def test_signals_are_due_as_far_as_the_origin_was_read_even_without_own_steps():
    signals = held(5, 3, 6)
    assert positions(signals.merge("a", [], end_position=5)) == [3, 5]
    assert positions(signals.merge("a", own(7), end_position=9)) == [6, 7]


def test_a_signal_that_arrives_after_its_place_was_passed_is_due_at_once():
    signals = RemoteEventBuffer()
    signals.merge("a", own(9))
    signals.add("a", visits(4))
    assert positions(signals.merge("b", own(1))) == [4, 1]


def test_an_origin_that_is_read_again_from_further_up_gives_back_nothing_it_reached():
    signals = RemoteEventBuffer()
    signals.merge("a", own(9))
    signals.merge("a", own(2))
    signals.add("a", visits(8, 10))
    assert positions(signals.merge("a", own(3))) == [3, 8]


def test_signals_of_another_origin_keep_their_order_among_themselves():
    signals = held(9, 7, 8, origin="b")
    taken = [*signals.merge("a", own(1)), *signals.drain()]
    assert [position for position in positions(taken) if position != 1] == [7, 8, 9]


def test_no_signal_is_taken_in_before_the_own_stream_of_its_origin_has_come_as_far():
    signals = held(10, origin="b")
    taken = [*signals.merge("a", own(1)), *signals.merge("b", own(5)), *signals.merge("b", own(11))]
    assert positions(taken) == [1, 5, 10, 11]


def test_up_to_their_bound_signals_are_held_and_beyond_it_all_are_given():
    signals = held(*range(MAX_BUFFERED_EVENTS))
    assert signals.drain_overflow() == []
    signals.add("b", visits(3))
    assert len(signals.drain_overflow()) == MAX_BUFFERED_EVENTS + 1
    assert signals.drain() == []


def test_what_is_drained_is_in_the_order_of_origins_and_positions():
    signals = held(2, 1, origin="b")
    signals.add("a", visits(9, 8))
    assert positions(signals.drain()) == [8, 9, 1, 2]
    assert signals.drain() == []


def test_signals_that_are_restored_go_on():
    signals = held(1, 5)
    signals.merge("a", own(3))
    restored = RemoteEventBuffer()
    restored.restore(signals.state())
    restored.add("a", visits(2))
    assert positions(restored.merge("b", own(1))) == [2, 1]
    assert positions(restored.drain()) == [5]


actions = st.lists(
    st.tuples(st.sampled_from(["hear", "take", "overflow"]), st.sampled_from("ab"), st.integers(1, 4)), max_size=20
)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(actions, st.randoms(use_true_random=False))
def test_nothing_is_lost_or_doubled_and_own_steps_keep_their_order(actions, random):
    signals, given_, taken, position = RemoteEventBuffer(), [], [], 0
    for action, origin, count in actions:
        fresh = [position + 2 * n for n in range(1, count + 1)]
        position = fresh[-1]
        if action == "hear":
            heard = visits(*(at + 1 for at in fresh))
            random.shuffle(heard)
            signals.add(origin, heard)
            given_ += heard
        elif action == "take":
            mine = own(*fresh)
            merged = signals.merge(origin, mine)
            assert [step for step in merged if not isinstance(step, ItemVisit)] == mine
            taken += [step for step in merged if isinstance(step, ItemVisit)]
        else:
            taken += signals.drain_overflow()
    taken += signals.drain()
    assert Counter(taken) == Counter(given_)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_heard_in_parts_is_merged_like_one_heard_at_once(count):
    signals = RemoteEventBuffer()
    for start in range(count):
        signals.add("a", visits(*range(1 + start, 20, count)))
    assert positions(signals.merge("a", own(30))) == [*range(1, 20), 30]
