"""The lines a simulated shop writes: JSON objects as `freshflow.events` reads them."""

from datetime import UTC, datetime

import msgspec

__all__ = [
    "Line",
    "encode_interaction",
    "format_item_id",
    "encode_item_launch",
    "encode_availability",
    "encode_request",
    "encode_search",
    "format_user_id",
]

# (event time in epoch milliseconds, what kind of line it is, the line without its end)
Line = tuple[int, str, bytes]


class InteractionLine(msgspec.Struct, omit_defaults=True, gc=False):
    """A visitor did something with an item."""

    type: str
    user_id: str
    item_id: str
    ts: int
    event_id: str
    session_id: str | None = None


class RequestLine(msgspec.Struct, tag_field="type", tag="request", gc=False):
    """A visitor's page asks for the list as of now."""

    user_id: str
    ts: int
    request_id: str


class SearchLine(msgspec.Struct, tag_field="type", tag="search", gc=False):
    """A visitor's search, with what the engine found."""

    user_id: str
    ts: int
    query: str
    items: tuple[str, ...]
    request_id: str


class ItemLine(msgspec.Struct, tag_field="type", tag="item", omit_defaults=True, gc=False):
    """An entry of the catalogue, or a change of its availability alone."""

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
    """The name of a user; 0 is the first."""
    return f"u{user + 1}"


def format_item_id(item: int) -> str:
    """The name of an item; 0 is the first."""
    return f"i{item + 1}"


def encode_interaction(
    ts_ms: int, type_: str, user: int, item: int, event_id: str, session_id: str | None = None
) -> bytes:
    """The line of one thing a visitor does."""
    return _encode(InteractionLine(type_, format_user_id(user), format_item_id(item), ts_ms, event_id, session_id))


def encode_request(ts_ms: int, user: int, request_id: str) -> bytes:
    """The line of a request for a user's list."""
    return _encode(RequestLine(format_user_id(user), ts_ms, request_id))


def encode_search(ts_ms: int, user: int, query: str, items: list[int], request_id: str) -> bytes:
    """The line of a search."""
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
    """The line of an item that appears in the catalogue."""
    published_at = datetime.fromtimestamp(published_ms / 1000, UTC).isoformat(timespec="seconds")
    return _encode(ItemLine(format_item_id(item), ts_ms, True, title, categories, price, published_at, embedding))


def encode_availability(ts_ms: int, item: int, available: bool) -> bytes:
    """The line of an item that can no longer, or again, be bought; it says nothing else."""
    return _encode(ItemLine(format_item_id(item), ts_ms, available))
