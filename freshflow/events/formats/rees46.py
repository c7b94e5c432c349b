"""REES46 data sets, `2019-Oct.csv` and others. Source: rees46.com/en/datasets."""

from freshflow.events.formats.mapping import FormatMapping
from freshflow.events.formats.registry import register_format

REES46_EVENT = FormatMapping(
    format="rees46",
    signatures=(frozenset({"event_time", "event_type", "product_id", "user_id"}),),
    type_paths=("event_type",),
    types={"view": "view", "cart": "cart", "purchase": "purchase"},
    fields={
        "user_id": ("user_id",),
        "item_id": ("product_id",),
        "ts": ("event_time",),
        "session_id": ("user_session",),
    },
    time_format="utc",
)

register_format(REES46_EVENT)
