"""The Taobao data set, `UserBehavior.csv`, without a header. Source: tianchi.aliyun.com/dataset/649."""

from freshflow.events.formats.mapping import Layout, Table

__all__ = ["TABLES"]

COLUMNS = ("user_id", "item_id", "category_id", "behavior_type", "timestamp")

BEHAVIOUR = Table(
    format="taobao",
    type_at=("behavior_type",),
    types={"pv": "view", "fav": "wishlist", "cart": "cart", "buy": "purchase"},
    fields={"user_id": ("user_id",), "item_id": ("item_id",), "ts": ("timestamp",)},
    layouts=(Layout(COLUMNS, r"\d+,\d+,\d+,(pv|fav|cart|buy),-?\d+"),),
)

TABLES = (BEHAVIOUR,)
