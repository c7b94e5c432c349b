"""Types of published records: recommendation lists, related items and deletions, as JSON objects with a key.

The descriptions of fields are part of the JSON Schemas (`freshflow.cli.reference.json_schemas`).
"""

from collections.abc import Iterable
from typing import Annotated, Generic, Literal, TypeVar, final

import msgspec
from msgspec import Meta

from freshflow.events.model import SourceRef

Cause = Literal["interaction", "request", "search", "refresh", "identify"]
# Reasons of items: those of the ranking, of rules, of exploration, and of search results.
LIST_REASONS = (
    *("together", "again", "popular", "similar", "new", "searched"),
    *("pinned", "fresh", "explore", "engine", "unknown"),
)

EventMs = Annotated[int, Meta(description="Event time of the latest event included, in epoch milliseconds.")]
ComputedMs = Annotated[int, Meta(description="Processing time of the computation, in epoch milliseconds.")]


class ListItem(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An item of a list, with its score and reason."""

    item_id: Annotated[str, Meta(description="The item id.")]
    score: Annotated[
        float,
        Meta(
            description="The ranker's score plus the rules' adjustments. Items are in descending order of score, ties "
            "by item id, except at positions set by rules or exploration. Scores of different lists do not compare."
        ),
    ]
    reason: Annotated[
        str,
        Meta(
            description="`together`: co-visited with the items in `because`; `again`: the user returned to it before; "
            "`popular`; `similar`: similar content to the item in `because`; `new`: no interactions yet; "
            "`searched`: often chosen after the query; `pinned`, `fresh`: placed by a rule; "
            "`explore`: a young item on trial; in search results `engine`: position of the engine; `unknown`.",
            extra_json_schema={"enum": list(LIST_REASONS)},
        ),
    ]
    because: Annotated[tuple[str, ...], Meta(description="The user's items that explain the reason.")]
    contributions: Annotated[
        dict[str, float] | None,
        Meta(description="Contribution of each feature and rule; their sum is the score. With `lists.contributions`."),
    ] = None
    propensity: Annotated[
        float | None,
        Meta(
            description="Probability of the item at this position, for positions that are explored. With "
            "`explore.share`."
        ),
    ] = None


class Model(msgspec.Struct, frozen=True, gc=False):
    """The model that computed a list."""

    partition: Annotated[int, Meta(description="The partition of the model.")]
    updates: Annotated[int, Meta(description="Number of updates of its ranker so far.")]


Items = TypeVar("Items", tuple[ListItem, ...], msgspec.Raw)  # as decoded by consumers, and as encoded here


class RecommendationList(msgspec.Struct, Generic[Items], frozen=True, omit_defaults=True, gc=False):
    """An ordered list for a user."""

    user_id: Annotated[str, Meta(description="The user: a user id, the id of a guest, or a pseudonym.")]
    list_id: Annotated[
        str,
        Meta(
            description="Derived from the event that caused the list, so that a list published twice after a crash can "
            "be detected."
        ),
    ]
    surface: Annotated[
        Literal["feed", "search"], Meta(description="`feed`: recommendations; `search`: reordered search results.")
    ]
    cause: Annotated[
        Cause,
        Meta(
            description="`interaction`: an event of the user changed the list; `refresh`: events of others changed it; "
            "`request`, `search`: it answers a request; `identify`: a guest was identified."
        ),
    ]
    event_ts: EventMs
    computed_at: ComputedMs
    source: Annotated[SourceRef, Meta(description="Place of the event after which the list was computed.")]
    model: Annotated[Model, Meta(description="The model that computed it.")]
    items: Annotated[Items, Meta(description="The items, the best first.")]
    request_id: Annotated[
        str | None, Meta(description="Id of the request or search that the list answers, if it had one.")
    ] = None
    variant: Annotated[str | None, Meta(description="Name of the configuration variant, if it has one.")] = None
    policy: Annotated[str | None, Meta(description="The exploration policy, if positions were explored.")] = None


class PublishedList(RecommendationList[tuple[ListItem, ...]], frozen=True, omit_defaults=True, gc=False):
    """An ordered list for a user, as consumers read it."""


@final
class ListDeletion(msgspec.Struct, frozen=True):
    """The deletion of a user's list: a tombstone on the topic."""

    user_id: str


ListOutput = RecommendationList[msgspec.Raw] | ListDeletion


class RelatedItem(msgspec.Struct, frozen=True, gc=False):
    """An item related to another one."""

    item_id: Annotated[str, Meta(description="The item id.")]
    score: Annotated[float, Meta(description="Similarity to the other item, from 0 to 1.")]


class RelatedItems(msgspec.Struct, frozen=True, gc=False):
    """The items most similar to an item."""

    # Empty `items` delete the record: a tombstone on the topic.

    item_id: Annotated[str, Meta(description="The id of the item to which `items` are related.")]
    computed_at: ComputedMs
    event_ts: EventMs
    source: Annotated[SourceRef, Meta(description="Place of the event after which it was computed.")]
    model: Annotated[
        dict[str, int],
        Meta(
            description="`partition`: the partition of the model.",
            extra_json_schema={"properties": {"partition": {"type": "integer"}}, "required": ["partition"]},
        ),
    ]
    items: Annotated[tuple[RelatedItem, ...], Meta(description="At most `related.k` items, the most similar first.")]


Output = ListOutput | RelatedItems


class Tombstone(msgspec.Struct, frozen=True):
    """The deletion of a list, as a line of a file; on a topic, the value is null."""

    key: Annotated[str, Meta(description="The user id, or the item id for related items.")]
    value: None


_encode = msgspec.json.Encoder().encode


def encode(output: ListOutput) -> tuple[bytes, bytes | None]:
    """Return key and value of a record; the value of a deletion is None."""
    key = output.user_id.encode()
    return key, None if type(output) is ListDeletion else _encode(output)


def encode_all(outputs: Iterable[ListOutput]) -> list[tuple[bytes, bytes | None]]:
    """Encode records as `encode` does.

    Refreshed lists with the same source share all fields except user, id and items; encoding the shared part once takes
    less than half the time.
    """
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
    """Return key and value of a record of related items; the value is None if there are no items."""
    return related.item_id.encode(), _encode(related) if related.items else None
