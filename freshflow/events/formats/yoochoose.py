"""The YooChoose data set (RecSys Challenge 2015), `yoochoose-clicks.dat` and `yoochoose-buys.dat`, without headers.

It knows no users but sessions. Source: the data set's README, dataset-README.txt.
"""

from freshflow.events.formats.mapping import Layout, Table

__all__ = ["TABLES"]

FIELDS = {"user_id": ("session_id",), "item_id": ("item_id",), "ts": ("timestamp",), "session_id": ("session_id",)}
START = r"\d+,\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z,\d+"

CLICKS = Table(
    format="yoochoose-clicks",
    type="click",
    fields=FIELDS,
    layouts=(Layout(("session_id", "timestamp", "item_id", "category"), START + r",\w*"),),
)
BUYS = Table(
    format="yoochoose-buys",
    type="purchase",
    fields=FIELDS,
    layouts=(Layout(("session_id", "timestamp", "item_id", "price", "quantity"), START + r",\d+,\d+"),),
)

TABLES = (CLICKS, BUYS)
