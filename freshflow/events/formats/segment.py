"""Segment: calls of the e-commerce spec (V2, and the names of V1), which RudderStack and others send, too.

Source: segment.com/docs/connections/spec/ecommerce/v2 and segment.com/docs/connections/spec/common.
"""

from freshflow.events.formats.mapping import FormatMapping
from freshflow.events.formats.registry import register_format

SEGMENT_CALL = FormatMapping(
    format="segment",
    signatures=(frozenset({"messageId", "userId"}), frozenset({"messageId", "anonymousId"})),
    type_paths=("event", "type"),  # only track calls have an event; other calls are a page, an identify, …
    types={
        "Product Viewed": "view",
        "Product Clicked": "click",
        "Product Added": "cart",
        "Product Added to Wishlist": "wishlist",
        "Wishlist Product Added to Cart": "cart",
        "Product Shared": "share",
        "Product Reviewed": "rate",
        "Order Completed": "purchase",
        "Products Searched": "search",
        "Viewed Product": "view",
        "Clicked Product": "click",
        "Added Product": "cart",
        "Completed Order": "purchase",
    },
    fields={
        "user_id": ("userId", "anonymousId"),
        "item_id": ("properties.product_id", "properties.sku"),
        "ts": ("timestamp", "originalTimestamp", "sentAt", "receivedAt"),
        "event_id": ("messageId",),
        "value": ("properties.rating",),
        "query": ("properties.query",),
    },
    item_list_paths=("properties.products",),
    item_fields={"item_id": ("product_id", "sku")},
    anonymous_id_paths=("previousId", "anonymousId"),  # the first is in alias calls only
    anonymous_types={"identify": "identify", "alias": "identify"},
)

register_format(SEGMENT_CALL)
