"""Demo shop window on the live page; clicks on it are sent to the job as events."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

Action = Literal["view", "cart", "purchase"]


class ShopItem(msgspec.Struct, frozen=True):
    """An item of the catalogue."""

    item_id: str
    title: str
    category: str
    price: float


class Click(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An action of the page's visitor on an item."""

    item_id: str
    type: Action = "view"


class DemoShop:
    """Shop with one visitor, the user of the page.

    Args:
        visitor: The visitor's user id in events.
        items: The catalogue.
        window_item_ids: The ids of the items in the window.
        send: Called with each event as a line of JSON.
        clock: Returns the time in epoch milliseconds.
    """

    def __init__(
        self,
        visitor: str,
        items: Sequence[ShopItem],
        window_item_ids: Sequence[str],
        send: Callable[[bytes], None],
        clock: Callable[[], int],
    ) -> None:
        self.visitor = visitor
        self.items = {item.item_id: item for item in items}
        self.window_item_ids = tuple(window_item_ids)
        self._send = send
        self._clock = clock
        self._latest_ms = 0

    def send_click(self, click: Click) -> int | None:
        """Send the event of a click and return its time (epoch milliseconds), or None if the item is unknown.

        Times are strictly increasing, so no click counts as a duplicate.
        """
        if click.item_id not in self.items:
            return None
        self._latest_ms = max(self._clock(), self._latest_ms + 1)
        event = {"type": click.type, "user_id": self.visitor, "item_id": click.item_id, "ts": self._latest_ms}
        self._send(msgspec.json.encode(event))
        return self._latest_ms
