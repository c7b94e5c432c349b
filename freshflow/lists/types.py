"""What comes out: the recommendation list as consumers read it, one JSON object, keyed by user id."""

from collections.abc import Iterable
from typing import Generic, Literal, TypeVar

import msgspec

__all__ = [
    "Cause",
    "Forgotten",
    "ListItem",
    "Model",
    "Output",
    "RecommendationList",
    "RelatedItem",
    "RelatedItems",
    "encode",
    "encode_all",
    "encode_related",
]

Cause = Literal["interaction", "request", "search", "refresh", "identify"]


class ListItem(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One item of a list, with its score and what speaks for it.

    `reason` is "together" (it comes with the items in `because`), "again" (the user came back to it before) or
    "popular"; of items that a rule has put there, "pinned" or "fresh"; of a young item that is tried, "explore"; of a
    search also "searched" (people choose it after the query), "engine" (it stands where the engine has it) or
    "unknown". `contributions`, by feature or rule, add up to `score`; they are there if `lists.contributions` is set.
    `propensity`, of items at places that may be explored, is how likely they were to stand there.
    """

    item_id: str
    score: float
    reason: str
    because: tuple[str, ...]
    contributions: dict[str, float] | None = None
    propensity: float | None = None


class Model(msgspec.Struct, frozen=True, gc=False):
    """Which model made a list: the partition's, after so many updates."""

    partition: int
    updates: int


Items = TypeVar("Items", tuple[ListItem, ...], msgspec.Raw)


class RecommendationList(msgspec.Struct, Generic[Items], frozen=True, omit_defaults=True, gc=False):
    """An ordered list for a user. `event_ts` and `computed_at` are epoch milliseconds.

    `items` are published as JSON text that is already written, a `msgspec.Raw`, and read as a tuple of `ListItem`.

    `list_id` follows from the event that caused the list, so a list that is published twice after a crash can be
    recognised. `source` is the place of that event. `variant` is the name of the configuration it was made under, and
    `policy` what explored in it.
    """

    user_id: str
    list_id: str
    surface: Literal["feed", "search"]
    cause: Cause
    event_ts: int
    computed_at: int
    source: dict[str, str | int]
    model: Model
    items: Items
    request_id: str | None = None
    variant: str | None = None
    policy: str | None = None


class Forgotten(msgspec.Struct, frozen=True):
    """The user's list is to be deleted wherever it is kept: a tombstone on the topic."""

    user_id: str


Output = RecommendationList[msgspec.Raw] | Forgotten


class RelatedItem(msgspec.Struct, frozen=True, gc=False):
    """An item that others also came to, and how similar the two are, from 0 to 1 (`freshflow.items.related`)."""

    item_id: str
    score: float


class RelatedItems(msgspec.Struct, frozen=True, gc=False):
    """The items nearest to an item, in order. `event_ts` and `computed_at` are epoch milliseconds.

    `source` is the place of the latest event that the list knows, `model` says which partition made it. Without
    `items` it is to be deleted wherever it is kept: a tombstone on the topic.
    """

    item_id: str
    computed_at: int
    event_ts: int
    source: dict[str, str | int]
    model: dict[str, int]
    items: tuple[RelatedItem, ...]


_encode = msgspec.json.Encoder().encode


def encode(output: Output) -> tuple[bytes, bytes | None]:
    """Key and value of an output record; the value of a tombstone is None."""
    key = output.user_id.encode()
    return key, None if isinstance(output, Forgotten) else _encode(output)


def encode_all(outputs: Iterable[Output]) -> list[tuple[bytes, bytes | None]]:
    """`encode` for each, in less than half the time for those of one look, which share all but user, id and items."""
    records: list[tuple[bytes, bytes | None]] = []
    source, shared, tail = None, b"", b"}"
    for output in outputs:
        if isinstance(output, Forgotten) or output.cause != "refresh":
            records.append(encode(output))
            continue
        head = b'{"user_id":%b,"list_id":%b' % (_encode(output.user_id), _encode(output.list_id))
        if output.source is not source:
            whole = _encode(output)
            tail = b"}" if output.variant is None else b',"variant":%b}' % _encode(output.variant)
            source, shared = output.source, whole[len(head) : -len(bytes(output.items)) - len(tail)]
        records.append((output.user_id.encode(), b"".join((head, shared, output.items, tail))))
    return records


def encode_related(related: RelatedItems) -> tuple[bytes, bytes | None]:
    """Key and value of a record of related items; the value of a tombstone is None."""
    return related.item_id.encode(), _encode(related) if related.items else None
