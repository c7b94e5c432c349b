"""YooChoose data set (RecSys Challenge 2015), `yoochoose-clicks.dat` and `yoochoose-buys.dat`, without headers.

Sessions stand for users. Source: the data set's README, dataset-README.txt.
"""

from freshflow.events.formats.mapping import FormatMapping, Layout
from freshflow.events.formats.registry import register_format

SESSION_FIELDS = {
    "user_id": ("session_id",),
    "item_id": ("item_id",),
    "ts": ("timestamp",),
    "session_id": ("session_id",),
}
LINE_PREFIX_PATTERN = r"\d+,\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z,\d+"

CLICKS = FormatMapping(
    format="yoochoose-clicks",
    type="click",
    fields=SESSION_FIELDS,
    layouts=(Layout(("session_id", "timestamp", "item_id", "category"), LINE_PREFIX_PATTERN + r",\w*"),),
)
BUYS = FormatMapping(
    format="yoochoose-buys",
    type="purchase",
    fields=SESSION_FIELDS,
    layouts=(Layout(("session_id", "timestamp", "item_id", "price", "quantity"), LINE_PREFIX_PATTERN + r",\d+,\d+"),),
)

register_format(CLICKS)
register_format(BUYS)
