"""RetailRocket data set, `events.csv`. Source: kaggle.com/datasets/retailrocket/ecommerce-dataset."""

from freshflow.events.formats.mapping import FormatMapping
from freshflow.events.formats.registry import register_format

RETAILROCKET_EVENT = FormatMapping(
    format="retailrocket",
    signatures=(frozenset({"timestamp", "visitorid", "event", "itemid"}),),
    type_paths=("event",),
    types={"view": "view", "addtocart": "cart", "transaction": "purchase"},
    fields={"user_id": ("visitorid",), "item_id": ("itemid",), "ts": ("timestamp",)},
)

register_format(RETAILROCKET_EVENT)
