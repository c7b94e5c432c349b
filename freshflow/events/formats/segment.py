"""Segment: calls of the e-commerce spec (V2, and the names of V1), as RudderStack and others send them, too.

Source: segment.com/docs/connections/spec/ecommerce/v2 and segment.com/docs/connections/spec/common.
"""

from freshflow.events.formats.mapping import FormatMapping

__all__ = ["MAPPINGS"]

SEGMENT_CALL = FormatMapping(
    format="segment",
    signatures=(frozenset({"messageId", "userId"}), frozenset({"messageId", "anonymousId"})),
    type_paths=("event", "type"),  # a call that is no track call has no event: it is a page, an identify, …
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
    anonymous_id_paths=("previousId", "anonymousId"),  # the first is in alias calls alone
    anonymous_types={"identify": "identify", "alias": "identify"},
)

MAPPINGS = (SEGMENT_CALL,)
