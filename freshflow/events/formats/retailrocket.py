"""The RetailRocket data set, `events.csv`. Source: kaggle.com/datasets/retailrocket/ecommerce-dataset."""

from freshflow.events.formats.mapping import Table

__all__ = ["TABLES"]

EVENTS = Table(
    format="retailrocket",
    known_by=(frozenset({"timestamp", "visitorid", "event", "itemid"}),),
    type_at=("event",),
    types={"view": "view", "addtocart": "cart", "transaction": "purchase"},
    fields={"user_id": ("visitorid",), "item_id": ("itemid",), "ts": ("timestamp",)},
)

TABLES = (EVENTS,)
