"""Both stores: they keep the latest list of each key, with how far the input was read, for one writer alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshflow.errors import OutputError
from freshflow.serving.records import ChangeBatch, ListChange
from freshflow.serving.store import Store, open_list_store
from tests.serving.conftest import RedisServer


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store can be opened."""
    if request.param == "sqlite":
        return str(tmp_path / "store.sqlite")
    new_redis: Callable[[], RedisServer] = request.getfixturevalue("new_redis")
    return new_redis().url


def batch(position: bytes, *changes: ListChange, anew: bool = False, at_end: bool = False) -> ChangeBatch:
    return ChangeBatch([*changes], 0, position, anew, at_end)


def kept(store: Store, *keys: str) -> list[bytes | None]:
    reading = store.open_reader()
    found = [reading.get_list("recommendations", key) for key in keys]
    reading.close()
    return found


def counts(store: Store) -> tuple[int, int]:
    reading = store.open_reader()
    found = reading.count_lists()
    reading.close()
    return found


def test_the_latest_list_of_a_key_is_kept_and_a_tombstone_removes_it(place: str) -> None:
    store = open_list_store(place)
    assert (store.position("recommendations"), store.latest_computed_at("recommendations"), counts(store)) == (
        None,
        None,
        (0, 0),
    )
    changes = [
        ListChange("a/ü", b"1", 5),
        ListChange("b", b"2", 7),
        ListChange("a/ü", b"3", 6),
        ListChange("c", b"4"),
        ListChange("c", None),
    ]
    assert store.apply("recommendations", batch(b"p", *changes)) == changes
    store.apply("related", batch(b"q", ListChange("a/ü", b"5", 1)))
    assert kept(store, "a/ü", "b", "c", "\udc80") == [b"3", b"2", None, None]
    assert (store.position("recommendations"), store.latest_computed_at("recommendations"), counts(store)) == (
        b"p",
        7,
        (2, 1),
    )
    store.apply(
        "recommendations", batch(b"r", ListChange("b", None), ListChange("none", None), ListChange("a/ü", b"6", 4))
    )
    assert (kept(store, "a/ü", "b"), counts(store)) == ([b"6", None], (1, 1))
    store.close()


def test_a_store_that_is_opened_again_is_as_it_was(place: str) -> None:
    store = open_list_store(place)
    store.apply("recommendations", batch(b"p", ListChange("a", b"1", 5)))
    store.close()
    again = open_list_store(place)
    assert (kept(again, "a"), again.position("recommendations"), again.latest_computed_at("recommendations")) == (
        [b"1"],
        b"p",
        5,
    )
    assert counts(again) == (1, 0)
    again.close()


def test_what_is_read_anew_replaces_list_by_list_and_what_it_lacks_goes_at_its_end(place: str) -> None:
    store = open_list_store(place)
    store.apply(
        "recommendations", batch(b"p", ListChange("a", b"1"), ListChange("b", b"2"), ListChange("c", b"3"), at_end=True)
    )
    store.apply("recommendations", batch(b"q", ListChange("b", b"4"), ListChange("d", b"5"), anew=True))
    assert kept(store, "a", "b", "c", "d") == [b"1", b"4", b"3", b"5"]
    store.close()
    store = open_list_store(place)  # in the middle of it
    changed = store.apply("recommendations", batch(b"r", ListChange("c", b"6"), ListChange("d", None), at_end=True))
    assert changed == [ListChange("c", b"6"), ListChange("d", None), ListChange("a", None)]
    assert (kept(store, "a", "b", "c", "d"), counts(store)) == ([None, b"4", b"6", None], (2, 0))
    assert store.apply("recommendations", batch(b"s", at_end=True)) == []
    store.close()


def test_a_second_writer_is_refused_and_changes_nothing(place: str) -> None:
    first = open_list_store(place)
    first.apply("recommendations", batch(b"p", ListChange("a", b"1")))
    second = open_list_store(place)
    first.apply("recommendations", batch(b"q", ListChange("a", b"2")))
    for _ in range(2):
        with pytest.raises(OutputError, match=r"was written by another server.*give each server its own --store"):
            second.apply("recommendations", batch(b"r", ListChange("a", b"3")))
    assert (kept(first, "a"), first.position("recommendations")) == ([b"2"], b"q")
    first.apply("recommendations", batch(b"s", ListChange("a", b"4")))
    first.close()
    second.close()


CHANGES = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([b"1", b"2", None])), max_size=5)
BATCHES = st.lists(st.tuples(CHANGES, st.booleans(), st.booleans(), st.booleans()), max_size=8)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_batches_leave_what_a_dictionary_would_hold(place: str, batches) -> None:
    store = open_list_store(place)
    store.apply("recommendations", batch(b"start", anew=True, at_end=True))  # all that earlier examples left goes
    held: dict[str, tuple[bytes, int]] = {}
    generation = 0
    for number, (changes, anew, at_end, again) in enumerate(batches):
        generation += anew
        told = store.apply(
            "recommendations",
            batch(b"%d" % number, *(ListChange(key, value) for key, value in changes), anew=anew, at_end=at_end),
        )
        for key, value in changes:
            held.pop(key, None)
            if value is not None:
                held[key] = (value, generation)
        old = {key for key, (_, of) in held.items() if of < generation} if at_end else set()
        held = {key: kept for key, kept in held.items() if key not in old}
        assert {change.key for change in told[len(changes) :]} == old
        if again:
            store.close()
            store = open_list_store(place)
        assert kept(store, *"abcdef") == [held[key][0] if key in held else None for key in "abcdef"]
        assert counts(store)[0] == len(held)
    store.close()
