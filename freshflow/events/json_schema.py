"""Events as they are written, in our own shape: each type's fields with what they mean and what is allowed.

Nothing is read with these types; `freshflow.events.parser` takes what they allow, and some spellings more (numbers as
text, empty texts for what is absent), and refuses the rest. They are there to be shown: as a JSON Schema, and in the
reference. A test holds both readers to them.
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

__all__ = [
    "WIRE_EVENT_TYPES",
    "InteractionEvent",
    "ForgetEvent",
    "IdentifyEvent",
    "ItemEvent",
    "RequestEvent",
    "SearchEvent",
]

JsonNumber = int | float
IdText = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
AnonymousIdText = Annotated[str, Meta(min_length=1, max_length=MAX_ANONYMOUS_ID_CHARS)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]


def _time_schema(earliest_ms: int, *extra_schemas: dict[str, object]) -> dict[str, object]:
    """The spellings of a time: ISO 8601 with an offset, epoch seconds, epoch milliseconds, and others."""
    return {
        "anyOf": [
            {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$"},
            {"type": "number", "minimum": earliest_ms / 1000, "exclusiveMaximum": LATEST_MS / 1000},
            {"type": "number", "minimum": max(earliest_ms, EPOCH_SECONDS_LIMIT), "exclusiveMaximum": LATEST_MS},
            *extra_schemas,
        ]
    }


EventTime = Annotated[
    Any,  # what it may be, its schema says
    Meta(
        description="When it happened; from 1990 to 2199, and at most `events.max_future_s` ahead.",
        extra_json_schema=_time_schema(EARLIEST_MS),
    ),
]
UserId = Annotated[IdText | int | float, Meta(description='The user. A number is taken as its digits: 7 is "7".')]
ItemId = Annotated[IdText | int | float, Meta(description="The item.")]
GuestId = Annotated[
    AnonymousIdText | int | float | None,
    Meta(description="What names a guest: a cookie, a device. Only with `users.guests`; it can stand for `user_id`."),
]
SessionId = Annotated[
    IdText | int | float | None,
    Meta(
        description="The session; another one ends it. Without it a session ends after `users.session_gap_s`. With "
        "`users.guests` it names a guest where nothing else does."
    ),
]
GuestSession = Annotated[
    IdText | int | float | None, Meta(description="Names a guest who has no `guest_id`. Only with `users.guests`.")
]
RequestId = Annotated[IdText | int | float | None, Meta(description="Stands in the answer, to know it by.")]
ListLength = Annotated[
    Annotated[int, Meta(ge=1, le=MAX_K)] | None, Meta(description="Items to answer with; `lists.k` without it.")
]
ExcludeSeen = Annotated[bool | None, Meta(description="Whether items that the user had to do with are left out.")]


class InteractionEvent(msgspec.Struct, frozen=True):
    """A user did something with an item."""

    type: Annotated[str, Meta(description="What the user did: a type that has a weight (`[events.weights]`).")]
    user_id: UserId
    item_id: ItemId
    ts: EventTime
    event_id: Annotated[
        IdText | int | float | None,
        Meta(
            description="Names the event, so that one that is sent again is dropped. Without it user, item, type and "
            "time do."
        ),
    ] = None
    session_id: SessionId = None
    value: Annotated[
        JsonNumber | None,
        Meta(description="A rating, or the share that was watched; scales what the event counts (`[events.full_value]`)."),
    ] = None
    guest_id: GuestId = None


class RequestEvent(msgspec.Struct, frozen=True, tag_field="type", tag="request"):
    """Someone asks for the user's list as of now; it is answered whether it changed or not, and teaches nothing."""

    user_id: UserId
    ts: EventTime
    request_id: RequestId = None
    k: ListLength = None
    exclude_seen: ExcludeSeen = None
    guest_id: GuestId = None
    session_id: GuestSession = None


class SearchEvent(msgspec.Struct, frozen=True, tag_field="type", tag="search"):
    """Someone asks for a search engine's results in the order that suits this user."""

    user_id: UserId
    ts: EventTime
    query: Annotated[Text | int | float, Meta(description="What was searched for.")]
    items: Annotated[
        tuple[IdText | int | float, ...],
        Meta(description="The results, in the engine's order.", max_length=MAX_IDS),
    ]
    request_id: RequestId = None
    k: ListLength = None
    exclude_seen: ExcludeSeen = None
    guest_id: GuestId = None
    session_id: GuestSession = None


class ItemEvent(msgspec.Struct, frozen=True, tag_field="type", tag="item"):
    """What the catalogue says of an item. A field that is not there leaves what was known as it is."""

    item_id: ItemId
    ts: EventTime
    title: Annotated[Text | int | float | None, Meta(description="Its name.")] = None
    categories: Annotated[
        Annotated[tuple[IdText | int | float, ...], Meta(max_length=MAX_IDS)] | None,
        Meta(description="What it is of, the most telling first."),
    ] = None
    price: Annotated[JsonNumber | None, Meta(description="Its price, in whatever unit; the same of all items.")] = None
    available: Annotated[bool | None, Meta(description="False takes it off all lists, those that stand included.")] = (
        None
    )
    published_at: Annotated[
        Any,
        Meta(
            description="When it came out, spelled as `ts`; from the year 1000 on.",
            extra_json_schema=_time_schema(EARLIEST_PUBLISHED_MS, {"type": "null"}),
        ),
    ] = None
    embedding: Annotated[
        Annotated[tuple[JsonNumber, ...], Meta(min_length=1, max_length=MAX_DIMENSIONS)] | None,
        Meta(description="What it is like, as numbers."),
    ] = None
    brand: Annotated[Text | int | float | None, Meta(description="Who makes it.")] = None
    margin: Annotated[JsonNumber | None, Meta(description="What a sale of it earns, for `[business_value]`.")] = None


class IdentifyEvent(msgspec.Struct, frozen=True, tag_field="type", tag="identify"):
    """It is known who a guest is: the guest's history becomes the user's. Only with `users.guests`."""

    user_id: UserId
    ts: EventTime
    guest_id: GuestId = None
    session_id: GuestSession = None


class ForgetEvent(msgspec.Struct, frozen=True, tag_field="type", tag="forget"):
    """A user is to be forgotten: state, list, and a receipt that says so."""

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
