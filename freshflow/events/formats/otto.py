"""The OTTO data set: a session a line, with its events. Source: github.com/otto-de/recsys-dataset."""

from freshflow.events.formats.mapping import Table

__all__ = ["TABLES"]

SESSION = Table(
    format="otto",
    known_by=(frozenset({"session", "events"}),),
    type_at=("type",),
    types={"clicks": "click", "carts": "cart", "orders": "purchase"},
    fields={"user_id": ("session",), "item_id": ("aid",), "ts": ("ts",), "session_id": ("session",)},
    events="events",
)

TABLES = (SESSION,)
