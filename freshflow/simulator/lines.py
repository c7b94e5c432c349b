"""Lines of a simulated event stream: JSON objects in FreshFlow's own format."""

from datetime import UTC, datetime

import msgspec

# (event time in epoch milliseconds, kind of line, line without its line break)
Line = tuple[int, str, bytes]


class InteractionLine(msgspec.Struct, omit_defaults=True, gc=False):
    """An interaction of a visitor with an item."""

    type: str
    user_id: str
    item_id: str
    ts: int
    event_id: str
    session_id: str | None = None


class RequestLine(msgspec.Struct, tag_field="type", tag="request", gc=False):
    """A request for a visitor's current list."""

    user_id: str
    ts: int
    request_id: str


class SearchLine(msgspec.Struct, tag_field="type", tag="search", gc=False):
    """A search of a visitor, with the results of the engine."""

    user_id: str
    ts: int
    query: str
    items: tuple[str, ...]
    request_id: str


class ItemLine(msgspec.Struct, tag_field="type", tag="item", omit_defaults=True, gc=False):
    """A catalogue entry, or a change of an item's availability."""

    item_id: str
    ts: int
    available: bool
    title: str | None = None
    categories: tuple[str, ...] | None = None
    price: float | None = None
    published_at: str | None = None
    embedding: list[float] | None = None


_encode = msgspec.json.Encoder().encode


def format_user_id(user: int) -> str:
    """Return the id of user number `user` (from 0)."""
    return f"u{user + 1}"


def format_item_id(item: int) -> str:
    """Return the id of item number `item` (from 0)."""
    return f"i{item + 1}"


def encode_interaction(
    ts_ms: int, type_: str, user: int, item: int, event_id: str, session_id: str | None = None
) -> bytes:
    """Encode an interaction.

    Args:
        ts_ms: Event time, in epoch milliseconds.
        type_: Event type.
        user: Number of the user.
        item: Number of the item.
        event_id: Id of the event.
        session_id: Id of the session, if it has one.
    """
    return _encode(InteractionLine(type_, format_user_id(user), format_item_id(item), ts_ms, event_id, session_id))


def encode_request(ts_ms: int, user: int, request_id: str) -> bytes:
    """Encode a request for a user's list.

    Args:
        ts_ms: Event time, in epoch milliseconds.
        user: Number of the user.
        request_id: Id of the request.
    """
    return _encode(RequestLine(format_user_id(user), ts_ms, request_id))


def encode_search(ts_ms: int, user: int, query: str, items: list[int], request_id: str) -> bytes:
    """Encode a search.

    Args:
        ts_ms: Event time, in epoch milliseconds.
        user: Number of the user.
        query: Text of the query.
        items: Numbers of the results, in order.
        request_id: Id of the request.
    """
    return _encode(SearchLine(format_user_id(user), ts_ms, query, tuple(map(format_item_id, items)), request_id))


def encode_item_launch(
    ts_ms: int,
    item: int,
    title: str,
    categories: tuple[str, ...],
    price: float,
    published_ms: int,
    embedding: list[float] | None = None,
) -> bytes:
    """Encode the catalogue entry of a new item.

    Args:
        ts_ms: Event time, in epoch milliseconds.
        item: Number of the item.
        title: Title.
        categories: Categories.
        price: Price.
        published_ms: Publication time, in epoch milliseconds.
        embedding: Content vector, if the item has one.
    """
    published_at = datetime.fromtimestamp(published_ms / 1000, UTC).isoformat(timespec="seconds")
    return _encode(ItemLine(format_item_id(item), ts_ms, True, title, categories, price, published_at, embedding))


def encode_availability(ts_ms: int, item: int, available: bool) -> bytes:
    """Encode a change of an item's availability.

    Args:
        ts_ms: Event time, in epoch milliseconds.
        item: Number of the item.
        available: False if the item is sold out.
    """
    return _encode(ItemLine(format_item_id(item), ts_ms, available))
