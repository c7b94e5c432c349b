"""Parsing of the job's output records into changes of stored lists."""

from typing import NamedTuple

import msgspec

from freshflow.serving.responses import ListKind


class ListChange(NamedTuple):
    """The new list of a key, as the bytes that the job published; `value` is None if the list is deleted."""

    key: str
    value: bytes | None
    computed_at: int = 0


class ChangeBatch(NamedTuple):
    """Changes in order, the number of skipped records, and the input position after all of them.

    `is_full_reload` marks a batch that begins a new read from the start of the input; its lists replace those read
    before. `is_at_end` marks a batch that reaches the end of the input.
    """

    changes: list[ListChange]
    n_skipped: int
    position: bytes
    is_full_reload: bool
    is_at_end: bool


class _RecordHead(msgspec.Struct):
    """The decoded fields of a record; the record itself is stored as published."""

    user_id: str | None = None
    item_id: str | None = None
    computed_at: int = 0
    surface: str = "feed"
    items: tuple[msgspec.Raw, ...] | None = None


_decode = msgspec.json.Decoder(_RecordHead).decode


def parse_record(kind: ListKind, key: bytes | None, value: bytes | None) -> ListChange | None:
    """Return a record as a change of a list.

    Args:
        kind: The kind of lists in the log.
        key: The record's key; only needed for a tombstone.
        value: The record's value; None is a tombstone.

    Returns:
        The change; None if the record is not a list, or answers a search: that list was for one query, and must not
        replace the user's list.
    """
    if value is None:
        try:
            return None if key is None else ListChange(key.decode(), None)
        except UnicodeDecodeError:
            return None
    try:
        head = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    list_key = head.user_id if kind == "recommendations" else head.item_id
    if list_key is None or head.items is None or head.surface == "search":
        return None
    return ListChange(list_key, value, head.computed_at)


def first_items(value: bytes, k: int) -> bytes:
    """Return a list cut to its first k items; all other fields stay as published.

    >>> first_items(b'{"user_id":"u1","items":[{"item_id":"i1"},{"item_id":"i2"}],"variant":"b"}', 1)
    b'{"user_id":"u1","items":[{"item_id":"i1"}],"variant":"b"}'
    """
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    items = msgspec.json.decode(fields["items"], type=list[msgspec.Raw])
    return msgspec.json.encode(fields | {"items": items[:k]})
