"""Builders of events: each reads the required and optional fields of one event type.

A missing required field or an invalid value raises `InvalidRecordError`.
"""

from collections.abc import Callable

from freshflow.events.fields import MAX_K, Fields
from freshflow.events.identity import build_identify
from freshflow.events.model import Event, Forget, Interaction, ItemUpdate, Request, Search

MIN_WEIGHT_SHARE = 0.1  # of the full weight: even a one-star rating means that the item was watched


def scale_weight(weight: float, value: float | None, full_value: float | None) -> float:
    """Return the weight of an event, scaled by its value: weight × min(max(value / full_value, 0.1), 1).

    >>> scale_weight(2.0, 4, 5.0), scale_weight(1.0, 0, 1.0), scale_weight(1.0, 3, None)
    (1.6, 0.1, 1.0)

    Args:
        weight: The weight of the event type.
        value: The value of the event (a rating, a watched share), or None.
        full_value: The value from which on the event has its full weight; None disables scaling.
    """
    return (
        weight if value is None or full_value is None else weight * min(max(value / full_value, MIN_WEIGHT_SHARE), 1.0)
    )


def build_interaction(
    position: int, fields: Fields, type_: str, weight: float, full_value: float | None
) -> Interaction:
    """Build an interaction.

    Args:
        position: The position of the record.
        fields: The fields of the record.
        type_: The event type.
        weight: The configured weight of the type.
        full_value: The value from which on an event of the type has its full weight, or None.
    """
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


# By event type, in the order of messages to the user.
CONTROL_BUILDERS: dict[str, Callable[[int, Fields], Event]] = {
    "forget": _build_forget,
    "identify": build_identify,
    "item": _build_item_update,
    "request": _build_request,
    "search": _build_search,
}
