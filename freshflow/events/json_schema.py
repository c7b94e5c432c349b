"""Wire types of events in FreshFlow's own format: the fields of each event type with their meaning and limits.

These types document the format, as a JSON Schema and in the reference; no record is decoded with them.
`freshflow.events.parser` accepts all records that they allow, accepts some other spellings (numbers as text, empty text
for absent fields), and rejects the rest. A test checks both parsers against these types.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from freshflow.events.fields import (
    EARLIEST_PUBLISHED_MS,
    MAX_DIMENSIONS,
    MAX_ID_CHARS,
    MAX_IDS,
    MAX_K,
    MAX_TEXT_CHARS,
)
from freshflow.events.identity import MAX_ANONYMOUS_ID_CHARS
from freshflow.events.timestamps import EARLIEST_MS, EPOCH_SECONDS_LIMIT, LATEST_MS

JsonNumber = int | float
IdText = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
AnonymousIdText = Annotated[str, Meta(min_length=1, max_length=MAX_ANONYMOUS_ID_CHARS)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]


def _time_schema(earliest_ms: int, *extra_schemas: dict[str, object]) -> dict[str, object]:
    """Return the schema of a time: ISO 8601 with an offset, epoch seconds, epoch milliseconds, or an extra schema."""
    return {
        "anyOf": [
            {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$"},
            {"type": "number", "minimum": earliest_ms / 1000, "exclusiveMaximum": LATEST_MS / 1000},
            {"type": "number", "minimum": max(earliest_ms, EPOCH_SECONDS_LIMIT), "exclusiveMaximum": LATEST_MS},
            *extra_schemas,
        ]
    }


EventTime = Annotated[
    Any,  # the schema lists the allowed types
    Meta(
        description="Event time, from 1990 to 2199 and at most `events.max_future_s` in the future.",
        extra_json_schema=_time_schema(EARLIEST_MS),
    ),
]
UserId = Annotated[IdText | int | float, Meta(description='The user id. A number equals its digits: 7 is "7".')]
ItemId = Annotated[IdText | int | float, Meta(description="The item id.")]
GuestId = Annotated[
    AnonymousIdText | int | float | None,
    Meta(description="The id of a guest: a cookie, a device. Replaces `user_id`; requires `users.guests`."),
]
SessionId = Annotated[
    IdText | int | float | None,
    Meta(
        description="The session id; a different one starts a new session. Without it a session ends after "
        "`users.session_gap_s`. With `users.guests` it names a guest if `user_id` and `guest_id` are absent."
    ),
]
GuestSession = Annotated[
    IdText | int | float | None, Meta(description="The id of a guest without a `guest_id`. Requires `users.guests`.")
]
RequestId = Annotated[
    IdText | int | float | None, Meta(description="Correlation id, copied to the list that answers the request.")
]
ListLength = Annotated[
    Annotated[int, Meta(ge=1, le=MAX_K)] | None, Meta(description="Length of the list; `lists.k` by default.")
]
ExcludeSeen = Annotated[bool | None, Meta(description="If true, items that the user has interacted with are left out.")]


class InteractionEvent(msgspec.Struct, frozen=True):
    """An action of a user on an item."""

    type: Annotated[str, Meta(description="The interaction type, one with a weight in `[events.weights]`.")]
    user_id: UserId
    item_id: ItemId
    ts: EventTime
    event_id: Annotated[
        IdText | int | float | None,
        Meta(
            description="The event id, by which duplicates are dropped. By default user, item, type and time "
            "identify an event."
        ),
    ] = None
    session_id: SessionId = None
    value: Annotated[
        JsonNumber | None,
        Meta(description="A rating, or the watched share; scales the event's weight (`[events.full_value]`)."),
    ] = None
    guest_id: GuestId = None


class RequestEvent(msgspec.Struct, frozen=True, tag_field="type", tag="request"):
    """A request for the user's current list. It is always answered, and is no training example."""

    user_id: UserId
    ts: EventTime
    request_id: RequestId = None
    k: ListLength = None
    exclude_seen: ExcludeSeen = None
    guest_id: GuestId = None
    session_id: GuestSession = None


class SearchEvent(msgspec.Struct, frozen=True, tag_field="type", tag="search"):
    """A request to order a search engine's results for a user."""

    user_id: UserId
    ts: EventTime
    query: Annotated[Text | int | float, Meta(description="The query text.")]
    items: Annotated[
        tuple[IdText | int | float, ...],
        Meta(description="The ids of the results, in the engine's order.", max_length=MAX_IDS),
    ]
    request_id: RequestId = None
    k: ListLength = None
    exclude_seen: ExcludeSeen = None
    guest_id: GuestId = None
    session_id: GuestSession = None


class ItemEvent(msgspec.Struct, frozen=True, tag_field="type", tag="item"):
    """A catalogue entry of an item. Absent fields keep their known values."""

    item_id: ItemId
    ts: EventTime
    title: Annotated[Text | int | float | None, Meta(description="The title.")] = None
    categories: Annotated[
        Annotated[tuple[IdText | int | float, ...], Meta(max_length=MAX_IDS)] | None,
        Meta(description="The categories, the most important first."),
    ] = None
    price: Annotated[JsonNumber | None, Meta(description="The price, in the same unit for all items.")] = None
    available: Annotated[
        bool | None, Meta(description="False removes the item from all lists, published ones included.")
    ] = None
    published_at: Annotated[
        Any,
        Meta(
            description="Publication time, in the formats of `ts`; from the year 1000 on.",
            extra_json_schema=_time_schema(EARLIEST_PUBLISHED_MS, {"type": "null"}),
        ),
    ] = None
    embedding: Annotated[
        Annotated[tuple[JsonNumber, ...], Meta(min_length=1, max_length=MAX_DIMENSIONS)] | None,
        Meta(description="A content vector of the item."),
    ] = None
    brand: Annotated[Text | int | float | None, Meta(description="The brand.")] = None
    margin: Annotated[JsonNumber | None, Meta(description="The margin of a sale, for `[business_value]`.")] = None


class IdentifyEvent(msgspec.Struct, frozen=True, tag_field="type", tag="identify"):
    """The identification of a guest: the guest's history is merged into the user's. Requires `users.guests`."""

    user_id: UserId
    ts: EventTime
    guest_id: GuestId = None
    session_id: GuestSession = None


class ForgetEvent(msgspec.Struct, frozen=True, tag_field="type", tag="forget"):
    """A request to delete a user: their state and list. A receipt confirms it."""

    user_id: UserId
    ts: EventTime
    guest_id: GuestId = None
    session_id: GuestSession = None


WIRE_EVENT_TYPES: tuple[type[msgspec.Struct], ...] = (
    InteractionEvent,
    RequestEvent,
    SearchEvent,
    ItemEvent,
    IdentifyEvent,
    ForgetEvent,
)
