"""A shop window on the live page, for trying it out: what is clicked there goes into the job's events."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

__all__ = ["Click", "DemoShop", "ShopItem"]

Action = Literal["view", "cart", "purchase"]


class ShopItem(msgspec.Struct, frozen=True):
    """An item of the catalogue; the first of them stand in the window."""

    item_id: str
    title: str
    category: str
    price: float


class Click(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the visitor of the page did with an item."""

    item_id: str
    type: Action = "view"


class DemoShop:
    """A shop whose one visitor is whoever has the page open; `send` takes an event as a line of JSON."""

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
        """Send the event of a click; when it happened (epoch milliseconds), or None if there is no such item.

        No two have the same time, so that none is taken for a duplicate.
        """
        if click.item_id not in self.items:
            return None
        self._latest_ms = max(self._clock(), self._latest_ms + 1)
        event = {"type": click.type, "user_id": self.visitor, "item_id": click.item_id, "ts": self._latest_ms}
        self._send(msgspec.json.encode(event))
        return self._latest_ms
