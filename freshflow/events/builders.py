"""Each type of event from the fields of a record: which it needs, which it may have.

A missing field, or one that is not allowed, raises `RefusedError`.
"""

from collections.abc import Callable

from freshflow.events.fields import MAX_K, Fields
from freshflow.events.identity import build_identify
from freshflow.events.model import Event, Forget, Interaction, ItemUpdate, Request, Search

__all__ = ["CONTROL_BUILDERS", "build_interaction", "scale_weight"]


# The least share of its weight that an event keeps: one star says that something was watched, too.
MIN_WEIGHT_SHARE = 0.1


def scale_weight(weight: float, value: float | None, full_value: float | None) -> float:
    """The weight of an event with a value: as much of it as the value is of `full_value`, where there is such a thing.

    >>> scale_weight(2.0, 4, 5.0), scale_weight(1.0, 0, 1.0), scale_weight(1.0, 3, None)
    (1.6, 0.1, 1.0)
    """
    return (
        weight if value is None or full_value is None else weight * min(max(value / full_value, MIN_WEIGHT_SHARE), 1.0)
    )


def build_interaction(
    position: int, fields: Fields, type_: str, weight: float, full_value: float | None
) -> Interaction:
    """An interaction of a type whose weight is configured; `full_value` is the value with which it counts in full."""
    value = fields.number("value")
    return Interaction(
        position,
        type_,
        fields.require("user_id", fields.identifier),
        fields.require("item_id", fields.identifier),
        fields.require("ts", fields.event_time_ms),
        scale_weight(weight, value, full_value),
        fields.identifier("event_id"),
        fields.identifier("session_id"),
        value,
    )


def _build_request(position: int, fields: Fields) -> Request:
    return Request(
        position,
        fields.require("user_id", fields.identifier),
        fields.require("ts", fields.event_time_ms),
        fields.identifier("request_id"),
        fields.count("k", MAX_K),
        fields.flag("exclude_seen") or False,
    )


def _build_search(position: int, fields: Fields) -> Search:
    return Search(
        position,
        fields.require("user_id", fields.identifier),
        fields.require("ts", fields.event_time_ms),
        fields.require("query", fields.text),
        fields.require("items", fields.identifiers),
        fields.identifier("request_id"),
        fields.count("k", MAX_K),
        fields.flag("exclude_seen") or False,
    )


def _build_item_update(position: int, fields: Fields) -> ItemUpdate:
    return ItemUpdate(
        position,
        fields.require("item_id", fields.identifier),
        fields.require("ts", fields.event_time_ms),
        fields.text("title"),
        fields.identifiers("categories"),
        fields.number("price"),
        fields.flag("available"),
        fields.published_ms("published_at"),
        fields.vector("embedding"),
        fields.text("brand"),
        fields.number("margin"),
    )


def _build_forget(position: int, fields: Fields) -> Forget:
    return Forget(
        position,
        fields.require("user_id", fields.identifier),
        fields.require("ts", fields.event_time_ms),
    )


# By type, in the order in which they are named to people.
CONTROL_BUILDERS: dict[str, Callable[[int, Fields], Event]] = {
    "forget": _build_forget,
    "identify": build_identify,
    "item": _build_item_update,
    "request": _build_request,
    "search": _build_search,
}
