"""Records of the job's outputs as changes to what is kept: a value for a key, or none any more."""

from typing import NamedTuple, TypeVar

import msgspec

from freshflow.serving.responses import ListKind

__all__ = ["ChangeBatch", "ListChange", "decode_position", "first_items", "parse_line", "parse_message"]

PositionT = TypeVar("PositionT")


class ListChange(NamedTuple):
    """What is kept of a key from now on, as the job wrote it; None where that is nothing."""

    key: str
    value: bytes | None
    computed_at: int = 0


class ChangeBatch(NamedTuple):
    """Changes in order, how many records were `n_skipped`, and the `position` behind all of them.

    `is_full_reload` says that the input is read from its beginning, to replace what was read of it before; `is_at_end` that there
    was no more.
    """

    changes: list[ListChange]
    n_skipped: int
    position: bytes
    is_full_reload: bool
    is_at_end: bool


class _RecordHead(msgspec.Struct):
    """What is read of a record; the rest is kept as it stands. In a file a tombstone has a `key` of its own."""

    user_id: str | None = None
    item_id: str | None = None
    key: str | None = None
    computed_at: int = 0
    surface: str = "feed"
    items: tuple[msgspec.Raw, ...] | None = None


_decode = msgspec.json.Decoder(_RecordHead).decode


def parse_line(kind: ListKind, line: bytes) -> ListChange | None:
    """The change that a line of a file is; None if it is none.

    An answer to a search is none: it was for whoever searched, and must not take the place of the user's list.
    """
    try:
        head = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    key = head.user_id if kind == "recommendations" else head.item_id
    if key is None:
        return None if head.key is None else ListChange(head.key, None)
    if head.items is None or head.surface == "search":
        return None
    return ListChange(key, line, head.computed_at)


def parse_message(kind: ListKind, key: bytes | None, value: bytes | None) -> ListChange | None:
    """The change that a record of a topic is; None if it is none."""
    if value is not None:
        change = parse_line(kind, value)
        return None if change is None or change.value is None else change
    try:
        return None if key is None else ListChange(key.decode(), None)
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


def decode_position(position: bytes | None, position_type: type[PositionT]) -> PositionT | None:
    """What a store says of how far an input was read; None if that is nothing, or of an input of another sort."""
    try:
        return None if position is None else msgspec.json.decode(position, type=position_type)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
