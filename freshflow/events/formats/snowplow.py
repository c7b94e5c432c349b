"""Snowplow: enriched events as JSON (the analytics SDKs' shape) with the e-commerce action and its product entities.

Sources: docs.snowplow.io, "Ecommerce events" and "Snowplow atomic event properties"; warehouse columns carry the
version of the schema, of which the SDKs write the first number only.
"""

from freshflow.events.formats.mapping import FormatMapping
from freshflow.events.formats.registry import register_format

ECOMMERCE_ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
PRODUCT_CONTEXT = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"

ENRICHED_EVENT = FormatMapping(
    format="snowplow",
    signatures=(frozenset({"event_id", "collector_tstamp"}),),
    type_paths=(
        *(f"{ECOMMERCE_ACTION}{version}.type" for version in ("", "_0_0", "_0_1", "_0_2")),
        "event_name",
        "event",
    ),
    types={
        "product_view": "view",
        "list_click": "click",
        "add_to_cart": "cart",
        "transaction": "purchase",
    },
    fields={
        "user_id": ("user_id", "domain_userid", "network_userid"),
        "ts": ("derived_tstamp", "collector_tstamp"),
        "event_id": ("event_id",),
        "session_id": ("domain_sessionid",),
    },
    item_list_paths=(PRODUCT_CONTEXT, f"{PRODUCT_CONTEXT}_0_0"),
    item_fields={"item_id": ("id",)},
    anonymous_id_paths=("domain_userid", "network_userid"),
    time_format="utc",
)

register_format(ENRICHED_EVENT)
