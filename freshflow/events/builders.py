"""Each type of event from the fields of a record: which it needs, which it may have.

A missing field, or one that is not allowed, raises `RefusedError`.
"""

from collections.abc import Callable

from freshflow.events.fields import MAX_K, Fields
from freshflow.events.identity import identify
from freshflow.events.model import Behaviour, Event, Forget, ItemUpdate, Request, Search

__all__ = ["CONTROLS", "build_behaviour", "counted"]


# The least share of its weight that an event keeps: one star says that something was watched, too.
LEAST_SHARE = 0.1


def counted(weight: float, value: float | None, full: float | None) -> float:
    """The weight of an event with a value: as much of it as the value is of `full`, where there is such a thing.

    >>> counted(2.0, 4, 5.0), counted(1.0, 0, 1.0), counted(1.0, 3, None)
    (1.6, 0.1, 1.0)
    """
    return weight if value is None or full is None else weight * min(max(value / full, LEAST_SHARE), 1.0)


def build_behaviour(position: int, fields: Fields, type_: str, weight: float, full: float | None) -> Behaviour:
    """An interaction of a type whose weight is configured; `full` is the value with which it counts in full."""
    value = fields.number("value")
    return Behaviour(
        position,
        type_,
        fields.required("user_id", fields.identifier),
        fields.required("item_id", fields.identifier),
        fields.required("ts", fields.event_time_ms),
        counted(weight, value, full),
        fields.identifier("event_id"),
        fields.identifier("session_id"),
        value,
    )


def _request(position: int, fields: Fields) -> Request:
    return Request(
        position,
        fields.required("user_id", fields.identifier),
        fields.required("ts", fields.event_time_ms),
        fields.identifier("request_id"),
        fields.count("k", MAX_K),
        fields.flag("exclude_seen") or False,
    )


def _search(position: int, fields: Fields) -> Search:
    return Search(
        position,
        fields.required("user_id", fields.identifier),
        fields.required("ts", fields.event_time_ms),
        fields.required("query", fields.text),
        fields.required("items", fields.identifiers),
        fields.identifier("request_id"),
        fields.count("k", MAX_K),
        fields.flag("exclude_seen") or False,
    )


def _item(position: int, fields: Fields) -> ItemUpdate:
    return ItemUpdate(
        position,
        fields.required("item_id", fields.identifier),
        fields.required("ts", fields.event_time_ms),
        fields.text("title"),
        fields.identifiers("categories"),
        fields.number("price"),
        fields.flag("available"),
        fields.published_ms("published_at"),
        fields.vector("embedding"),
        fields.text("brand"),
        fields.number("margin"),
    )


def _forget(position: int, fields: Fields) -> Forget:
    return Forget(
        position,
        fields.required("user_id", fields.identifier),
        fields.required("ts", fields.event_time_ms),
    )


# By type, in the order in which they are named to people.
CONTROLS: dict[str, Callable[[int, Fields], Event]] = {
    "forget": _forget,
    "identify": identify,
    "item": _item,
    "request": _request,
    "search": _search,
}
