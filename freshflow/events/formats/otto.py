"""OTTO data set: one session a line, with its events. Source: github.com/otto-de/recsys-dataset."""

from freshflow.events.formats.mapping import FormatMapping
from freshflow.events.formats.registry import register_format

OTTO_SESSION = FormatMapping(
    format="otto",
    signatures=(frozenset({"session", "events"}),),
    type_paths=("type",),
    types={"clicks": "click", "carts": "cart", "orders": "purchase"},
    fields={"user_id": ("session",), "item_id": ("aid",), "ts": ("ts",), "session_id": ("session",)},
    events_path="events",
)

register_format(OTTO_SESSION)
