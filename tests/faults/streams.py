"""What the jobs are given: events of a simulated shop, and of one with many users."""

import json
from functools import cache

from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from tests.bench.streams import growing

__all__ = ["many_users", "shop"]


@cache
def shop(events: int) -> tuple[bytes, ...]:
    """Lines of a shop: behaviour, a catalogue, requests, duplicates, late events and what is no event."""
    several = ShopConfig(events=events, users=max(50, events // 25), items=1000, requests=0.1)
    return tuple(raw for _, _, raw in shop_lines(several))


def many_users(users: int) -> list[bytes]:
    """Lines of a shop with so many users, of which each looks at two items."""
    return [
        json.dumps({"type": "view", "user_id": f"u{n // 2}", "item_id": item, "ts": ts}).encode()
        for n, (_, item, ts) in enumerate(growing(2 * users, events_per_item=20))
    ]
