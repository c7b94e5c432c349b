"""Ids that many states hold: one text in memory, of as many as are known at once."""

import pytest

from freshflow.users import interning as ids
from freshflow.users.interning import intern_id


def spelled(*parts: str) -> str:
    """A text of its own, however often it is spelled."""
    return "".join(parts)


def test_equal_ids_are_one_text() -> None:
    first, second = spelled("item-", "1"), spelled("item-", "1")
    assert first is not second
    assert intern_id(first) is intern_id(second)


def test_ids_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "MAX_INTERNED_IDS", 10)
    for n in range(1000):
        assert intern_id(f"item-{n}") == f"item-{n}"
        assert len(ids._interned_ids) <= 10
