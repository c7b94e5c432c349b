"""User Behavior Insights of OpenSearch and others: events, and queries with their results.

Source: the schemas 1.3.0 of github.com/o19s/ubi and docs.opensearch.org/latest/search-plugins/ubi.
"""

from freshflow.events.formats.mapping import FormatMapping
from freshflow.events.formats.registry import register_format

OBJECT_PATH = "event_attributes.object"
INTERACTION_TYPES = (
    "view",
    "click",
    "cart",
    "wishlist",
    "purchase",
    "like",
    "rate",
    "watch",
    "share",
    "comment",
    "follow",
)

UBI_EVENT = FormatMapping(
    format="ubi",
    signatures=(frozenset({"action_name", "timestamp"}),),
    type_paths=("action_name",),
    types={name: name for name in INTERACTION_TYPES}
    | {"click_through": "click", "add_to_cart": "cart", "dismiss": "dismiss"},
    fields={
        "user_id": ("user_id", "client_id", "event_attributes.user_id"),
        "item_id": (f"{OBJECT_PATH}.object_id", "object.object_id", f"{OBJECT_PATH}.internal_id"),
        "ts": ("timestamp",),
        "session_id": ("session_id", "event_attributes.session_id"),
    },
    anonymous_id_paths=("client_id",),
)

UBI_QUERY = FormatMapping(
    format="ubi",
    signatures=(frozenset({"user_query", "query_id"}),),
    type="search",
    fields={
        "user_id": ("user_id", "client_id"),
        "ts": ("timestamp",),
        "query": ("user_query",),
        "items": ("query_response_hit_ids", "query_response_objects_ids", "query_response_object_ids"),
        "request_id": ("query_id",),
    },
    anonymous_id_paths=("client_id",),
)

register_format(UBI_EVENT, UBI_QUERY)
