"""Chunks: bounded in size and in time, with catalogue and forget events between them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.events.types import Forget, ItemUpdate
from freshflow.items.visits import Visit
from freshflow.lists.partition import cut
from freshflow.users.interactions import Ask
from freshflow.users.state import NEW_USER

from .streams import START_MS, availability, request, steps, view

DAY_MS = 86_400_000
FORGET = Forget(1, "u", START_MS)
UPDATE = availability(1, "a", True)


def visit(at_ms: int = 0) -> Visit:
    return Visit(1, "a", (), START_MS + at_ms)


def lengths(parts) -> list[int | str]:
    return [len(part) if isinstance(part, list) else type(part).__name__ for part in parts]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
def test_chunks_are_as_large_as_allowed(count, expected):
    assert lengths(cut([visit()] * count, 3)) == expected


def test_catalogue_and_forget_events_stand_alone_in_their_place():
    parts = cut([visit(), UPDATE, UPDATE, visit(), visit(), FORGET, visit()], 64)
    assert lengths(parts) == [1, "ItemUpdate", "ItemUpdate", 2, "Forget", 1]


def test_a_chunk_of_exactly_a_day_stays_one_and_a_millisecond_more_starts_another():
    assert lengths(cut([visit(), visit(DAY_MS)], 64)) == [2]
    assert lengths(cut([visit(), visit(DAY_MS + 1)], 64)) == [1, 1]


def test_a_late_event_stretches_the_span_too():
    assert lengths(cut([visit(DAY_MS), visit(2 * DAY_MS), visit(DAY_MS - 1), visit(0)], 64)) == [2, 2]


def test_each_chunk_measures_its_own_span():
    assert lengths(cut([visit(n * DAY_MS // 2) for n in range(9)], 64)) == [3, 3, 3]


def test_after_a_catalogue_event_the_span_starts_anew():
    assert lengths(cut([visit(), UPDATE, visit(DAY_MS * 3), visit(DAY_MS * 4)], 64)) == [1, "ItemUpdate", 2]


def test_interactions_visits_and_questions_share_chunks():
    (interaction,) = steps([view(1, "u", "a")])
    assert lengths(cut([interaction, visit(), Ask(request(2, "u"), NEW_USER)], 64)) == [3]


several = st.lists(st.integers(0, 5 * DAY_MS).map(visit) | st.sampled_from([FORGET, UPDATE]), max_size=40)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(several, st.integers(1, 10))
def test_nothing_is_lost_or_moved_and_every_bound_holds(steps, size):
    parts = cut(steps, size)
    assert [step for part in parts for step in (part if isinstance(part, list) else [part])] == steps
    for part in parts:
        if isinstance(part, list):
            times_ms = [step.ts_ms for step in part]
            assert 1 <= len(part) <= size
            assert max(times_ms) - min(times_ms) <= DAY_MS
        else:
            assert isinstance(part, Forget | ItemUpdate)
