"""What comes out: the recommendation list as consumers read it, one JSON object, keyed by user id.

What a field means stands with it, and goes from here into the JSON Schemas (`freshflow.cli.reference.json_schemas`).
"""

from collections.abc import Iterable
from typing import Annotated, Generic, Literal, TypeVar, final

import msgspec
from msgspec import Meta

from freshflow.events.model import SourceRef

__all__ = [
    "LIST_REASONS",
    "Cause",
    "ListDeletion",
    "ListItem",
    "ListOutput",
    "Model",
    "Output",
    "PublishedList",
    "RecommendationList",
    "RelatedItem",
    "RelatedItems",
    "Tombstone",
    "encode",
    "encode_all",
    "encode_related",
]

Cause = Literal["interaction", "request", "search", "refresh", "identify"]
# Why an item is on a list: what the ranking says, the rules, exploration, and the order of search results.
LIST_REASONS = (
    *("together", "again", "popular", "similar", "new", "searched"),
    *("pinned", "fresh", "explore", "engine", "unknown"),
)

EventMs = Annotated[int, Meta(description="When the latest event that it knows happened, in epoch milliseconds.")]
ComputedMs = Annotated[int, Meta(description="When it was made, in epoch milliseconds.")]


class ListItem(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One item of a list, with its score and what speaks for it."""

    item_id: Annotated[str, Meta(description="The item.")]
    score: Annotated[
        float,
        Meta(
            description="The ranker's score and what rules add. It orders the list, descending, ties by item id, "
            "unless rules or exploration give places. Only the order of one list means something."
        ),
    ]
    reason: Annotated[
        str,
        Meta(
            description="`together`: it comes with the items in `because`; `again`: the user came back to it before; "
            "`popular`; `similar`: it resembles the item in `because`; `new`: nobody has touched it yet; "
            "`searched`: people choose it after a search; `pinned`, `fresh`: a rule put it there; "
            "`explore`: a young item that is tried; of search results `engine`: the engine has it there; `unknown`.",
            extra_json_schema={"enum": list(LIST_REASONS)},
        ),
    ]
    because: Annotated[tuple[str, ...], Meta(description="The items of the user that speak for it.")]
    contributions: Annotated[
        dict[str, float] | None,
        Meta(
            description="What each feature or rule added to the score; they add up to it. With `lists.contributions`."
        ),
    ] = None
    propensity: Annotated[
        float | None,
        Meta(
            description="How likely it was that the item stands here, of places that may be explored. With "
            "`explore.share`."
        ),
    ] = None


class Model(msgspec.Struct, frozen=True, gc=False):
    """Which model made a list."""

    partition: Annotated[int, Meta(description="The partition whose model it is.")]
    updates: Annotated[int, Meta(description="How many updates its ranker had seen.")]


Items = TypeVar("Items", tuple[ListItem, ...], msgspec.Raw)  # as they are read, and as they are written


class RecommendationList(msgspec.Struct, Generic[Items], frozen=True, omit_defaults=True, gc=False):
    """An ordered list for a user."""

    user_id: Annotated[str, Meta(description="Whose list it is: a user's id, a guest's, or a pseudonym.")]
    list_id: Annotated[
        str,
        Meta(
            description="Follows from the event that caused the list, so a list that is published twice after a crash "
            "can be recognised."
        ),
    ]
    surface: Annotated[
        Literal["feed", "search"], Meta(description="`feed`: what to show by itself; `search`: the order of results.")
    ]
    cause: Annotated[
        Cause,
        Meta(
            description="`interaction`: the user did something and the list changed; `refresh`: the world did; "
            "`request`, `search`: someone asked; `identify`: it is known who a guest is."
        ),
    ]
    event_ts: EventMs
    computed_at: ComputedMs
    source: Annotated[SourceRef, Meta(description="The place of that event.")]
    model: Annotated[Model, Meta(description="Which model made it.")]
    items: Annotated[Items, Meta(description="The items, the best first.")]
    request_id: Annotated[
        str | None, Meta(description="That of the request or search it answers, if that had one.")
    ] = None
    variant: Annotated[
        str | None, Meta(description="The name of the configuration it was made under, if that has one.")
    ] = None
    policy: Annotated[str | None, Meta(description="What explored in it, if something did.")] = None


class PublishedList(RecommendationList[tuple[ListItem, ...]], frozen=True, omit_defaults=True, gc=False):
    """An ordered list for a user, as consumers read it."""


@final
class ListDeletion(msgspec.Struct, frozen=True):
    """The user's list is to be deleted wherever it is kept: a tombstone on the topic."""

    user_id: str


ListOutput = RecommendationList[msgspec.Raw] | ListDeletion


class RelatedItem(msgspec.Struct, frozen=True, gc=False):
    """An item that others also came to."""

    item_id: Annotated[str, Meta(description="The item.")]
    score: Annotated[float, Meta(description="How similar the two are, from 0 to 1.")]


class RelatedItems(msgspec.Struct, frozen=True, gc=False):
    """The items nearest to an item."""

    # Without `items` it is to be deleted wherever it is kept: a tombstone on the topic.

    item_id: Annotated[str, Meta(description="The item whose neighbours these are.")]
    computed_at: ComputedMs
    event_ts: EventMs
    source: Annotated[SourceRef, Meta(description="The place of that event.")]
    model: Annotated[
        dict[str, int],
        Meta(
            description="`partition`: the one that made it.",
            extra_json_schema={"properties": {"partition": {"type": "integer"}}, "required": ["partition"]},
        ),
    ]
    items: Annotated[tuple[RelatedItem, ...], Meta(description="At most `related.k`, the nearest first.")]


Output = ListOutput | RelatedItems


class Tombstone(msgspec.Struct, frozen=True):
    """A list that is to be deleted wherever it is kept, as a line of a file; on a topic its value is null."""

    key: Annotated[str, Meta(description="The user, or the item of related items.")]
    value: None


_encode = msgspec.json.Encoder().encode


def encode(output: ListOutput) -> tuple[bytes, bytes | None]:
    """Key and value of an output record; the value of a tombstone is None."""
    key = output.user_id.encode()
    return key, None if type(output) is ListDeletion else _encode(output)


def encode_all(outputs: Iterable[ListOutput]) -> list[tuple[bytes, bytes | None]]:
    """`encode` for each, in less than half the time for those of one look, which share all but user, id and items."""
    records: list[tuple[bytes, bytes | None]] = []
    source, shared_bytes, tail = None, b"", b"}"
    for output in outputs:
        if type(output) is ListDeletion or output.cause != "refresh":
            records.append(encode(output))
            continue
        head = b'{"user_id":%b,"list_id":%b' % (_encode(output.user_id), _encode(output.list_id))
        if output.source is not source:
            full_record = _encode(output)
            tail = b"}" if output.variant is None else b',"variant":%b}' % _encode(output.variant)
            source, shared_bytes = output.source, full_record[len(head) : -len(bytes(output.items)) - len(tail)]
        records.append((output.user_id.encode(), b"".join((head, shared_bytes, output.items, tail))))
    return records


def encode_related(related: RelatedItems) -> tuple[bytes, bytes | None]:
    """Key and value of a record of related items; the value of a tombstone is None."""
    return related.item_id.encode(), _encode(related) if related.items else None
