"""Google Analytics 4: rows of the BigQuery export as JSON, and requests of the Measurement Protocol.

Sources: support.google.com/analytics/answer/7029846 (the export's columns) and
developers.google.com/analytics/devguides/collection/protocol/ga4/reference.
"""

from freshflow.events.formats.mapping import FormatMapping
from freshflow.events.formats.registry import register_format

GA4_EVENT_TYPES = {
    "view_item": "view",
    "select_item": "click",
    "add_to_cart": "cart",
    "add_to_wishlist": "wishlist",
    "purchase": "purchase",
    "view_search_results": "search",
}
ITEM_FIELDS = {"item_id": ("item_id", "item_name")}  # one of the two is required

BIGQUERY_EXPORT = FormatMapping(
    format="ga4",
    signatures=(frozenset({"event_name", "event_timestamp", "user_pseudo_id"}),),
    type_paths=("event_name",),
    types=GA4_EVENT_TYPES,
    fields={
        "user_id": ("user_id", "user_pseudo_id"),
        "ts": ("event_timestamp",),
        # A session number is unique within its user only, and is compared within its user only.
        "session_id": ("event_params.ga_session_id.int_value",),
        "query": ("event_params.search_term.string_value",),
    },
    item_list_paths=("items",),
    item_fields=ITEM_FIELDS,
    anonymous_id_paths=("user_pseudo_id",),
    time_format="microseconds",
)

MEASUREMENT_PROTOCOL = FormatMapping(
    format="ga4",
    signatures=(frozenset({"client_id", "events"}), frozenset({"app_instance_id", "events"})),
    type_paths=("name",),
    types=GA4_EVENT_TYPES,
    fields={
        "user_id": ("user_id", "client_id", "app_instance_id"),
        "ts": ("timestamp_micros",),  # of the event, or of the request
        "session_id": ("params.session_id",),
        "query": ("params.search_term",),
    },
    events_path="events",
    item_list_paths=("params.items",),
    item_fields=ITEM_FIELDS,
    anonymous_id_paths=("client_id", "app_instance_id"),
    time_format="microseconds",
)

register_format(BIGQUERY_EXPORT, MEASUREMENT_PROTOCOL)
