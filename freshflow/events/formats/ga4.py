"""Google Analytics 4: rows of the BigQuery export as JSON, and requests of the Measurement Protocol.

Sources: support.google.com/analytics/answer/7029846 (the export's columns) and
developers.google.com/analytics/devguides/collection/protocol/ga4/reference.
"""

from freshflow.events.formats.mapping import Table

__all__ = ["TABLES"]

TYPES = {
    "view_item": "view",
    "select_item": "click",
    "add_to_cart": "cart",
    "add_to_wishlist": "wishlist",
    "purchase": "purchase",
    "view_search_results": "search",
}
IN_ITEM = {"item_id": ("item_id", "item_name")}  # one of the two is required

EXPORT = Table(
    format="ga4",
    known_by=(frozenset({"event_name", "event_timestamp", "user_pseudo_id"}),),
    type_at=("event_name",),
    types=TYPES,
    fields={
        "user_id": ("user_id", "user_pseudo_id"),
        "ts": ("event_timestamp",),
        # A session's number is unique within its user only, and compared within its user only.
        "session_id": ("event_params.ga_session_id.int_value",),
        "query": ("event_params.search_term.string_value",),
    },
    items=("items",),
    in_item=IN_ITEM,
    guest_id=("user_pseudo_id",),
    time="microseconds",
)

PROTOCOL = Table(
    format="ga4",
    known_by=(frozenset({"client_id", "events"}), frozenset({"app_instance_id", "events"})),
    type_at=("name",),
    types=TYPES,
    fields={
        "user_id": ("user_id", "client_id", "app_instance_id"),
        "ts": ("timestamp_micros",),  # of the event, or of the request
        "session_id": ("params.session_id",),
        "query": ("params.search_term",),
    },
    events="events",
    items=("params.items",),
    in_item=IN_ITEM,
    guest_id=("client_id", "app_instance_id"),
    time="microseconds",
)

TABLES = (EXPORT, PROTOCOL)
