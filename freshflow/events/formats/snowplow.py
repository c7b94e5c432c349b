"""Snowplow: enriched events as JSON (the analytics SDKs' shape) with the e-commerce action and its product entities.

Sources: docs.snowplow.io, "Ecommerce events" and "Snowplow atomic event properties"; columns of warehouses carry the
version of the schema, which the SDKs leave at its first number.
"""

from freshflow.events.formats.mapping import Table

__all__ = ["TABLES"]

ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
PRODUCT = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"

ENRICHED = Table(
    format="snowplow",
    known_by=(frozenset({"event_id", "collector_tstamp"}),),
    type_at=(*(f"{ACTION}{version}.type" for version in ("", "_0_0", "_0_1", "_0_2")), "event_name", "event"),
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
    items=(PRODUCT, f"{PRODUCT}_0_0"),
    in_item={"item_id": ("id",)},
    guest_id=("domain_userid", "network_userid"),
    time="utc",
)

TABLES = (ENRICHED,)
