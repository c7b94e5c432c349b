"""Taobao data set, `UserBehavior.csv`, without a header. Source: tianchi.aliyun.com/dataset/649."""

from freshflow.events.formats.mapping import FormatMapping, Layout
from freshflow.events.formats.registry import register_format

BEHAVIOR_COLUMNS = ("user_id", "item_id", "category_id", "behavior_type", "timestamp")

USER_BEHAVIOR = FormatMapping(
    format="taobao",
    type_paths=("behavior_type",),
    types={"pv": "view", "fav": "wishlist", "cart": "cart", "buy": "purchase"},
    fields={"user_id": ("user_id",), "item_id": ("item_id",), "ts": ("timestamp",)},
    layouts=(Layout(BEHAVIOR_COLUMNS, r"\d+,\d+,\d+,(pv|fav|cart|buy),-?\d+"),),
)

register_format(USER_BEHAVIOR)
