"""Records of the job's outputs as changes to what is kept: a value for a key, or none any more."""

from typing import NamedTuple, TypeVar

import msgspec

from freshflow.serving.responses import Kind

__all__ = ["Batch", "Change", "first_items", "of_line", "of_message", "read_position"]

Place = TypeVar("Place")


class Change(NamedTuple):
    """What is kept of a key from now on, as the job wrote it; None where that is nothing."""

    key: str
    value: bytes | None
    computed_at: int = 0


class Batch(NamedTuple):
    """Changes in order, how many records were `skipped`, and the `position` behind all of them.

    `anew` says that the input is read from its beginning, to replace what was read of it before; `at_end` that there
    was no more.
    """

    changes: list[Change]
    skipped: int
    position: bytes
    anew: bool
    at_end: bool


class _Head(msgspec.Struct):
    """What is read of a record; the rest is kept as it stands. In a file a tombstone has a `key` of its own."""

    user_id: str | None = None
    item_id: str | None = None
    key: str | None = None
    computed_at: int = 0
    surface: str = "feed"
    items: tuple[msgspec.Raw, ...] | None = None


_decode = msgspec.json.Decoder(_Head).decode


def of_line(kind: Kind, line: bytes) -> Change | None:
    """The change that a line of a file is; None if it is none.

    An answer to a search is none: it was for whoever searched, and must not take the place of the user's list.
    """
    try:
        head = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    key = head.user_id if kind == "recommendations" else head.item_id
    if key is None:
        return None if head.key is None else Change(head.key, None)
    if head.items is None or head.surface == "search":
        return None
    return Change(key, line, head.computed_at)


def of_message(kind: Kind, key: bytes | None, value: bytes | None) -> Change | None:
    """The change that a record of a topic is; None if it is none."""
    if value is not None:
        change = of_line(kind, value)
        return None if change is None or change.value is None else change
    try:
        return None if key is None else Change(key.decode(), None)
    except UnicodeDecodeError:
        return None


def first_items(value: bytes, k: int) -> bytes:
    """A list with its first k items, and all else as it was published.

    >>> first_items(b'{"user_id":"u1","items":[{"item_id":"i1"},{"item_id":"i2"}],"variant":"b"}', 1)
    b'{"user_id":"u1","items":[{"item_id":"i1"}],"variant":"b"}'
    """
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    items = msgspec.json.decode(fields["items"], type=list[msgspec.Raw])
    return msgspec.json.encode(fields | {"items": items[:k]})


def read_position(position: bytes | None, type: type[Place]) -> Place | None:
    """What a store says of how far an input was read; None if that is nothing, or of an input of another sort."""
    try:
        return None if position is None else msgspec.json.decode(position, type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
