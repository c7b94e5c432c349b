"""Records of the job's outputs as changes to what is kept: a value for a key, or none any more."""

from typing import NamedTuple

import msgspec

from freshflow.serve.types import Kind

__all__ = ["Batch", "Change", "of_line", "of_message"]


class Change(NamedTuple):
    """What is kept of a key from now on, as the job wrote it; None where that is nothing."""

    key: str
    value: bytes | None
    computed_at: int = 0


class Batch(NamedTuple):
    """Changes in order, and the `position` behind them.

    `anew` says that the input is another than it was and is read from its beginning; `at_end` that there was no more.
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


_decode = msgspec.json.Decoder(_Head).decode


def of_line(kind: Kind, line: bytes) -> Change | None:
    """The change that a line of a file is; None if it is none, as where it is a list of another kind."""
    try:
        head = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    key = head.user_id if kind == "recommendations" else head.item_id
    if key is not None:
        return Change(key, line, head.computed_at)
    return None if head.key is None else Change(head.key, None)


def of_message(kind: Kind, key: bytes | None, value: bytes | None) -> Change | None:
    """The change that a record of a topic is; None if it is none."""
    if value is not None:
        change = of_line(kind, value)
        return None if change is None or change.value is None else change
    try:
        return None if key is None else Change(key.decode(), None)
    except UnicodeDecodeError:
        return None
